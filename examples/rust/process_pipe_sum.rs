//! Five processes count to ten million each, and send what they have counted through a pipe (row
//! M5).

use manyhands::{Pipe, Process};

const N_PROCESSES: usize = 5;
const N: u64 = 10_000_000;

#[manyhands::task]
fn count(total: Pipe<u64, ()>) {
    let mut n = 0_u64;
    while n < N {
        n = std::hint::black_box(n + 1);
    }
    total.send(&n).expect("the program listens");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    manyhands::init();
    let (totals, end) = Pipe::<(), u64>::one_way()?;
    let start = |_| Process::spawn(count::task, end.clone());
    let processes = (0..N_PROCESSES).map(start).collect::<Result<Vec<_>, _>>()?;
    // The pipe ends when the last process does.
    drop(end);
    let mut sum = 0;
    while let Ok(n) = totals.receive() {
        sum += n;
    }
    for process in processes {
        process.join()?;
    }
    println!("{sum}");
    Ok(())
}
