//! A process is started, stopped and joined (row M1).

use manyhands::{Process, TaskError};

/// Sleeps until it is stopped from outside.
#[manyhands::task]
fn sleep() {
    loop {
        std::thread::park();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    manyhands::init();
    let sleeper = Process::builder().name("sleeper").spawn(sleep::task, ())?;
    let pid = sleeper.pid();
    println!("alive: {}", sleeper.is_alive());
    println!("another process: {}", pid.is_some_and(|pid| pid != std::process::id()));
    sleeper.kill();
    let Err(TaskError::Crashed(report)) = sleeper.join() else {
        return Err("a process that was killed has no result".into());
    };
    println!("joined, ended by signal {:?}; the same process: {}", report.signal, {
        Some(report.pid) == pid
    });
    Ok(())
}
