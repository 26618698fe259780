//! Sums on a pool of threads, in two styles (row F1).
//!
//! Four named tasks each add up 0..=10000. The first style submits every task by itself and keeps
//! its future; the second hands the whole list to `map`. Both give 50005000 for every task, in the
//! order in which the tasks were named.

use std::error::Error;
use std::thread;

use manyhands::ThreadPool;

const NAMES: [&str; 4] = ["Anna", "Ben", "Carla", "David"];

/// Adds up 0..=10000, and says on standard error which thread did it.
#[manyhands::task]
fn sum_up(name: String) -> (String, u64) {
    let total = (0..=10_000).sum();
    eprintln!("task {name} on {}: {total}", thread::current().name().unwrap_or("a thread"));
    (name, total)
}

fn submit_style(pool: &ThreadPool) -> Result<(), Box<dyn Error>> {
    let submit = |name: &str| pool.options().name(name).submit(sum_up::task, name.to_owned());
    let futures = NAMES.into_iter().map(submit).collect::<Result<Vec<_>, _>>()?;
    for future in futures {
        let (name, total) = future.result()?;
        println!("submit_style: {name} = {total}");
    }
    Ok(())
}

fn map_style(pool: &ThreadPool) -> Result<(), Box<dyn Error>> {
    for sum in pool.map(sum_up::task, NAMES.map(str::to_owned)) {
        let (name, total) = sum?;
        println!("map_style: {name} = {total}");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = ThreadPool::builder().max_workers(2).name("cook").build()?;
    submit_style(&pool)?;
    map_style(&pool)?;
    pool.shutdown();
    Ok(())
}
