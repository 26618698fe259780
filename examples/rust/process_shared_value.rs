//! Nine processes count to fifty each, in one number that they share (row M4).
//!
//! Read, add and write are three steps: what another process has written in between is lost.
//! `add` is one step, and nothing is lost.

use manyhands::{Process, Shared, Task};

const N_PROCESSES: u64 = 9;
const N_STEPS: u64 = 50;

#[manyhands::task]
fn read_and_write(total: Shared<u64>) {
    for _ in 0..N_STEPS {
        let n = total.get();
        // As if there were something to compute.
        std::thread::yield_now();
        total.set(n + 1);
    }
}

#[manyhands::task]
fn add(total: Shared<u64>) {
    for _ in 0..N_STEPS {
        total.add(1).expect("the sum fits");
    }
}

fn count_with<T>(task: fn() -> T) -> Result<u64, Box<dyn std::error::Error>>
where
    T: Task<Args = Shared<u64>, Output = ()>,
{
    let total = Shared::new(0)?;
    let start = |_| Process::spawn(task(), total.clone());
    let processes = (0..N_PROCESSES).map(start).collect::<Result<Vec<_>, _>>()?;
    for process in processes {
        process.join()?;
    }
    Ok(total.get())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    manyhands::init();
    let expected = N_PROCESSES * N_STEPS;
    let lossy = count_with(|| read_and_write::task)?;
    println!("read, then write: {} of {expected} or fewer", lossy.min(expected));
    println!("add: {}", count_with(|| add::task)?);
    Ok(())
}
