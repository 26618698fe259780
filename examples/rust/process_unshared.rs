//! Nine processes count in a variable of this program, and each counts in a copy of its own
//! (row M3).

use std::sync::atomic::{AtomicU32, Ordering};

use manyhands::{Process, SpawnError};

static COUNT: AtomicU32 = AtomicU32::new(0);

#[manyhands::task]
fn add(n: u32) -> u32 {
    COUNT.fetch_add(n, Ordering::Relaxed) + n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    manyhands::init();
    let start = |n| Process::spawn(add::task, n);
    let processes = (1..=9).map(start).collect::<Result<Vec<_>, SpawnError>>()?;
    for process in processes {
        println!("a process has counted to {}", process.join()?);
    }
    println!("here it is {}", COUNT.load(Ordering::Relaxed));
    Ok(())
}
