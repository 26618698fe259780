//! Three updates of one value by two workers, without and with a lock (row T4).
//!
//! Each update reads the value, thinks for a while, and writes the value plus one. Without the lock
//! two workers read the same value, and one update is lost. With the lock, given back at the end of
//! a block or by hand, all three count.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use manyhands::ThreadPool;
use manyhands::sync::Mutex;

const THOUGHT: Duration = Duration::from_millis(200);

/// No data race, and yet a lost update: reading and writing are two steps.
static UNLOCKED: AtomicU32 = AtomicU32::new(0);
static LOCKED: Mutex<u32> = Mutex::named("data store", 0);

#[manyhands::task]
fn update_unlocked(_idx: u32) {
    let value = UNLOCKED.load(Ordering::Relaxed);
    thread::sleep(THOUGHT);
    UNLOCKED.store(value + 1, Ordering::Relaxed);
}

#[manyhands::task]
fn update_in_a_block(_idx: u32) {
    let mut value = LOCKED.lock();
    let read = *value;
    thread::sleep(THOUGHT);
    *value = read + 1;
}

#[manyhands::task]
fn update_and_give_back(_idx: u32) {
    let mut value = LOCKED.lock();
    let read = *value;
    thread::sleep(THOUGHT);
    *value = read + 1;
    drop(value);
    // What comes here runs beside the others again.
    thread::yield_now();
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = ThreadPool::new(2)?;
    pool.map(update_unlocked::task, 0..3).try_for_each(|done| done)?;
    println!("without the lock: {}", UNLOCKED.load(Ordering::Relaxed));
    pool.map(update_in_a_block::task, 0..3).try_for_each(|done| done)?;
    println!("with the lock, until the end of a block: {}", *LOCKED.lock());
    *LOCKED.lock() = 0;
    pool.map(update_and_give_back::task, 0..3).try_for_each(|done| done)?;
    println!("with the lock, given back by hand: {}", *LOCKED.lock());
    pool.shutdown();
    Ok(())
}
