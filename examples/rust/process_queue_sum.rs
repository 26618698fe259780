//! Five processes count to ten million each, and put what they have counted into a queue (row M5).

use manyhands::{Process, SharedQueue};

const N_PROCESSES: usize = 5;
const N: u64 = 10_000_000;

#[manyhands::task]
fn count(totals: SharedQueue<u64>) {
    let mut n = 0_u64;
    while n < N {
        n = std::hint::black_box(n + 1);
    }
    totals.put(&n).expect("the queue is open");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    manyhands::init();
    let totals = SharedQueue::unbounded()?;
    let start = |_| Process::spawn(count::task, totals.clone());
    let processes = (0..N_PROCESSES).map(start).collect::<Result<Vec<_>, _>>()?;
    let mut sum = 0;
    for _ in &processes {
        sum += totals.get()?;
    }
    for process in processes {
        process.join()?;
    }
    println!("{sum}");
    Ok(())
}
