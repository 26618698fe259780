//! How fast the pools are, beside what the machine can do at best, measured in one run.
//!
//! The bare round trip is two processes that wake each other through one futex each in shared
//! memory: no pool can be faster without spinning. Rounds of both alternate, so that whatever
//! else the machine does meets both; figures are medians over the rounds, and ranges are given.
//!
//! Run with `cargo bench -p manyhands --bench process_pool`. With `-- --quick` it only shows that
//! it works.

use std::hint::black_box;
use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use manyhands::{Executor, ProcessPool, ThreadPool};
use manyhands_sys::futex::{Futex, Shared};
use manyhands_sys::memory::{Mapping, MemoryFile};

#[manyhands::task]
fn echo(n: u64) -> u64 {
    n
}

#[manyhands::task]
fn letters(text: String) -> usize {
    text.len()
}

/// How much is measured.
struct Size {
    n_rounds: usize,
    trips_per_round: u32,
    tasks_per_burst: u64,
    n_bursts: usize,
}

const FULL: Size =
    Size { n_rounds: 301, trips_per_round: 300, tasks_per_burst: 200_000, n_bursts: 9 };
const QUICK: Size = Size { n_rounds: 3, trips_per_round: 50, tasks_per_burst: 2_000, n_bursts: 1 };

const PEER: &str = "--bare-peer";
const PAGE_BYTES: usize = 4096;

/// Two words on which two processes wake each other.
#[repr(C)]
struct Words {
    ping: Futex<Shared>,
    pong: Futex<Shared>,
}

/// The other process of the bare round trip.
struct Bare {
    page: Mapping,
    peer: Child,
    turn: u32,
}

fn main() -> io::Result<()> {
    manyhands::init();
    if std::env::args().any(|arg| arg == PEER) {
        return answer();
    }
    let size = if std::env::args().any(|arg| arg == "--quick") { QUICK } else { FULL };
    round_trips(&size)?;
    bursts(&size);
    large_arguments(&size);
    Ok(())
}

fn round_trips(size: &Size) -> io::Result<()> {
    let pool = process_pool(1);
    let threads = ThreadPool::new(1).expect("a thread pool is made");
    let mut bare = Bare::start()?;
    let (mut bare_times, mut pool_times, mut thread_times) = (Vec::new(), Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    // The first round warms up: processes start, pages are touched.
    for round in 0..=size.n_rounds {
        let times = [
            per_trip(size, |_| bare.trip()),
            per_trip(size, |n| trip(&pool, n)),
            per_trip(size, |n| trip(&threads, n)),
        ];
        if round > 0 {
            bare_times.push(times[0]);
            pool_times.push(times[1]);
            thread_times.push(times[2]);
            ratios.push(times[1] / times[0]);
        }
    }
    pool.shutdown();
    report("bare futex round trip between processes", "us", bare_times);
    report("ProcessPool: submit, then result, one at a time", "us", pool_times);
    report("ThreadPool: submit, then result, one at a time", "us", thread_times);
    report("ProcessPool / bare (target: at most 2.5)", "times", ratios);
    Ok(())
}

fn bursts(size: &Size) {
    let threads = ThreadPool::new(2).expect("a thread pool is made");
    let processes = process_pool(2);
    let (mut burst_rates, mut map_rates, mut thread_rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=size.n_bursts {
        let rates = [
            per_second(size, || burst(&processes, size.tasks_per_burst)),
            per_second(size, || {
                let echoes = processes.map(echo::task, 0..size.tasks_per_burst);
                echoes.map(|echo| echo.expect("an echo")).sum()
            }),
            per_second(size, || burst(&threads, size.tasks_per_burst)),
        ];
        if round > 0 {
            burst_rates.push(rates[0]);
            map_rates.push(rates[1]);
            thread_rates.push(rates[2]);
        }
    }
    processes.shutdown();
    let n = size.tasks_per_burst;
    let what = format!("ProcessPool(2): submit {n}, then results (target: 400000)");
    report(&what, "tasks/s", burst_rates);
    report(&format!("ProcessPool(2): map over {n}"), "tasks/s", map_rates);
    report(&format!("ThreadPool(2): submit {n}, then results"), "tasks/s", thread_rates);
}

fn large_arguments(size: &Size) {
    const N_BYTES: usize = 1 << 20;
    let pool = process_pool(1);
    let text = "x".repeat(N_BYTES);
    let time = |_| {
        let started = Instant::now();
        let future = pool.submit(letters::task, text.clone()).expect("the pool takes it");
        assert_eq!(future.result(), Ok(N_BYTES));
        started.elapsed().as_secs_f64() * 1e6
    };
    let times = (0..size.n_rounds + 1).map(time).skip(1).collect();
    report("ProcessPool: a String of 1 MiB as argument, round trip", "us", times);
    pool.shutdown();
}

fn process_pool(max_workers: usize) -> ProcessPool {
    ProcessPool::builder().max_workers(max_workers).warm_start(true).build().expect("it starts")
}

fn trip(pool: &impl Executor, n: u64) {
    let future = pool.submit(echo::task, n).expect("the pool takes it");
    assert_eq!(future.result(), Ok(n));
}

fn burst(pool: &impl Executor, n_tasks: u64) -> u64 {
    let submit = |n| pool.submit(echo::task, n).expect("the pool takes it");
    let futures: Vec<_> = (0..n_tasks).map(submit).collect();
    futures.into_iter().map(|future| future.result().expect("an echo")).sum()
}

/// Microseconds per trip.
fn per_trip(size: &Size, mut trip: impl FnMut(u64)) -> f64 {
    let started = Instant::now();
    (0..size.trips_per_round).for_each(|n| trip(n.into()));
    started.elapsed().as_secs_f64() * 1e6 / f64::from(size.trips_per_round)
}

fn per_second(size: &Size, run: impl FnOnce() -> u64) -> f64 {
    let started = Instant::now();
    let n = size.tasks_per_burst;
    assert_eq!(black_box(run()), n * (n - 1) / 2);
    n as f64 / started.elapsed().as_secs_f64()
}

/// Prints the median and the range.
fn report(what: &str, unit: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let (median, last) = (figures[figures.len() / 2], figures.len() - 1);
    let digits = if median < 1_000.0 { 2 } else { 0 };
    println!(
        "{what:<64} {median:>12.digits$} {unit} (from {:.digits$} to {:.digits$})",
        figures[0], figures[last]
    );
}

impl Bare {
    fn start() -> io::Result<Self> {
        let file = MemoryFile::create("bare-round-trip", PAGE_BYTES as u64)?;
        let page = file.map(PAGE_BYTES)?;
        let peer = Command::new(std::env::current_exe()?)
            .arg(PEER)
            .stdin(Stdio::from(file.as_fd().try_clone_to_owned()?))
            .spawn()?;
        Ok(Self { page, peer, turn: 0 })
    }

    fn trip(&mut self) {
        self.turn += 1;
        let words = words(&self.page);
        words.ping.store(self.turn, Ordering::Release);
        words.ping.wake_one();
        wait_for(&words.pong, self.turn);
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // What became of the peer is no concern of the figures.
        let _ = self.peer.kill();
        let _ = self.peer.wait();
    }
}

/// The other process: answers until it is killed, or nobody has asked for long.
fn answer() -> io::Result<()> {
    let page = MemoryFile::from_fd(io::stdin().as_fd().try_clone_to_owned()?).map(PAGE_BYTES)?;
    let words = words(&page);
    for turn in 1.. {
        if !wait_for(&words.ping, turn) {
            break;
        }
        words.pong.store(turn, Ordering::Release);
        words.pong.wake_one();
    }
    Ok(())
}

/// Sleeps until the word is `turn`; false if that takes too long: the other side is gone.
fn wait_for(word: &Futex<Shared>, turn: u32) -> bool {
    let deadline = manyhands_sys::clock::Deadline::after(Duration::from_secs(60));
    loop {
        let seen = word.load(Ordering::Acquire);
        if seen == turn {
            return true;
        }
        if deadline.has_passed() {
            return false;
        }
        word.wait(seen, Some(deadline));
    }
}

fn words(page: &Mapping) -> &Words {
    // SAFETY: the page is long enough, zeroed when made, aligned as pages are, and both processes
    // reach it through these atomics alone.
    unsafe { page.base().cast().as_ref() }
}
