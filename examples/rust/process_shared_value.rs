//! Nine processes count to fifty each, in one number that they share (row M4).
//!
//! Read, add and write are three steps: what another process has written in between is lost.
//! `add` is one step, and nothing is lost. Where there is more to do than one such step, a mutex
//! makes one of them all.

use manyhands::{OwnerDied, Process, Shared, SharedMutex, Task};

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

#[manyhands::task]
fn lock(total: SharedMutex<u64>) {
    for _ in 0..N_STEPS {
        // A process that died inside has counted this step, or it has not: nothing is to be mended.
        let mut total = total.lock().unwrap_or_else(OwnerDied::into_inner);
        let n = *total;
        std::thread::yield_now();
        *total = n + 1;
    }
}

/// Runs `task` with `total` in all processes.
fn count<T>(task: T, total: &T::Args) -> Result<(), Box<dyn std::error::Error>>
where
    T: Task<Output = ()>,
    T::Args: Clone,
{
    let start = |_| Process::spawn(task, total.clone());
    let processes = (0..N_PROCESSES).map(start).collect::<Result<Vec<_>, _>>()?;
    for process in processes {
        process.join()?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    manyhands::init();
    let expected = N_PROCESSES * N_STEPS;
    let (lossy, atomic, locked) = (Shared::new(0)?, Shared::new(0)?, SharedMutex::new(0)?);
    count(read_and_write::task, &lossy)?;
    println!("read, then write: {} of {expected} or fewer", lossy.get().min(expected));
    count(add::task, &atomic)?;
    println!("add: {}", atomic.get());
    count(lock::task, &locked)?;
    println!("under a lock: {}", *locked.lock().unwrap_or_else(OwnerDied::into_inner));
    Ok(())
}
