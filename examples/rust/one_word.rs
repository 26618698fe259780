//! The same program on threads and on processes, by one word (row F3).
//!
//! Only the type of the pool differs. With threads the work happens in this process; with
//! processes it happens elsewhere, and nothing in `is_prime` or in the way it is called has to
//! know.

use std::error::Error;
use std::process;

use manyhands::{Executor, ProcessPool, ThreadPool};

const NUMBERS: [u64; 5] =
    [10_000_000_019, 10_000_000_033, 10_000_000_061, 10_000_000_069, 9_999_800_001];

/// Says whether a number is prime, and in which process that was found out.
#[manyhands::task]
fn is_prime(number: u64) -> (bool, u32) {
    let mut odd = (3..).step_by(2).take_while(|divisor| divisor * divisor <= number);
    let prime = number % 2 == 1 && odd.all(|divisor| !number.is_multiple_of(divisor));
    (prime, process::id())
}

fn count_primes(name: &str, pool: impl Executor) -> Result<(), Box<dyn Error>> {
    let answers = pool.map(is_prime::task, NUMBERS).collect::<Result<Vec<_>, _>>()?;
    let n_primes = answers.iter().filter(|(prime, _)| *prime).count();
    let here = answers.iter().all(|(_, pid)| *pid == process::id());
    println!("{name}: {n_primes} primes, found {}", if here { "here" } else { "elsewhere" });
    pool.shutdown();
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    manyhands::init();
    count_primes("ThreadPool", ThreadPool::new(2)?)?;
    count_primes("ProcessPool", ProcessPool::new(2)?)
}
