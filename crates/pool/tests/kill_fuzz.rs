//! Workers killed and stopped at random moments under mixed load: every task ends exactly once,
//! runs at most once, and nothing is left behind.
//!
//! Alone in its program, as it counts descriptors, threads and processes.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use manyhands_pool::error::TaskError;
use manyhands_pool::process::{ProcessPool, ProcessTask, TaskOptions};
use manyhands_sys::pid::{PidFd, Signal};
use manyhands_testing::random::Random;
use support::tallied::{self, Tally, Work, payload};
use support::{end_of, finish, guard, pool, pool_with, submit};

const N_KILLS: usize = 1_000;
const N_SUBMITTERS: usize = 2;
/// Tasks one submitter has under way at a time.
const WINDOW: usize = 64;
/// Tasks that may have been submitted at most for each worker that was killed so far: a fast
/// machine that runs more of them waits for the next kill.
const TASKS_PER_KILL: usize = 400;
const MAX_KILLS: usize = 2 * N_KILLS;
const MAX_TASKS: usize = TASKS_PER_KILL * (MAX_KILLS + 1) + N_SUBMITTERS * WINDOW;

#[derive(Debug, Default)]
struct Ends {
    replied: usize,
    crashed: usize,
    cancelled: usize,
    timed_out: usize,
}

impl Ends {
    fn are_mixed(&self) -> bool {
        self.crashed > 0 && self.cancelled > 0 && self.timed_out > 0
    }
}

struct Submitted {
    task: Arc<ProcessTask>,
    work: Work,
    /// A plain cancel said that it will never run.
    never_runs: bool,
}

#[test]
fn worker_entry() {
    support::serve_if_worker();
}

#[test]
fn every_task_ends_once_however_workers_die() {
    let _guard = guard(240);
    // What is made once per program is there before things are counted.
    let warm = pool(1);
    end_of(&submit(&warm, "echo", b"x")).expect("echo replies");
    finish(&warm);
    drop(warm);
    let fds_before = open_descriptors();

    let tally = Tally::new(MAX_TASKS);
    let pools = [pool(4), pool_with(2, Some(40))];
    let (done, next_idx) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (ends, n_killed) = (Mutex::new(Ends::default()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let mut submitters = Vec::new();
        for seed in 1..=N_SUBMITTERS as u64 {
            let (pools, tally, done, next_idx) = (&pools, &tally, &done, &next_idx);
            let (ends, n_killed) = (&ends, &n_killed);
            let body = move || submit_until(done, pools, tally, next_idx, seed, ends, n_killed);
            submitters.push(scope.spawn(body));
        }
        let is_mixed = || ends.lock().expect("nobody panicked").are_mixed();
        let has_failed = || submitters.iter().any(ScopedJoinHandle::is_finished);
        kill_workers(&pools, &n_killed, is_mixed, has_failed);
        done.store(true, Ordering::Release);
    });
    let ends = ends.into_inner().expect("nobody panicked");
    println!("{} tasks: {ends:?}", next_idx.load(Ordering::Relaxed));
    for pool in &pools {
        let counts = pool.counts();
        assert_eq!((counts.pending, counts.in_lanes), (0, 0));
        finish(pool);
        assert!(pool.broken().is_none());
    }
    drop(pools);
    drop(tally);
    nothing_is_left(&fds_before);
}

fn submit_until(
    done: &AtomicBool,
    pools: &[ProcessPool; 2],
    tally: &Tally,
    next_idx: &AtomicUsize,
    seed: u64,
    ends: &Mutex<Ends>,
    n_killed: &AtomicUsize,
) {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let functions = [tallied::function(&pools[0]), tallied::function(&pools[1])];
    while !done.load(Ordering::Acquire) {
        let n_allowed = TASKS_PER_KILL * (n_killed.load(Ordering::Relaxed) + 1);
        if next_idx.load(Ordering::Relaxed) >= n_allowed {
            std::thread::yield_now();
            continue;
        }
        let mut window = Vec::new();
        for _ in 0..WINDOW {
            let idx = next_idx.fetch_add(1, Ordering::Relaxed);
            let work = random_work(idx, &mut random);
            let nth = random.below(2) as usize;
            let task = tally.submit(&pools[nth], &functions[nth], &work).expect("an open pool");
            window.push(Submitted { task, work, never_runs: false });
            let victim = random.below(window.len() as u64) as usize;
            cancel_some(&mut window[victim], &mut random);
        }
        for submitted in window {
            check(&submitted, tally, &mut ends.lock().expect("nobody panicked"));
        }
    }
}

fn random_work(idx: usize, random: &mut Random) -> Work {
    let mut work = Work { idx, sleep_us: 0, payload_bytes: 16, options: TaskOptions::default() };
    match random.below(100) {
        0..15 => work.sleep_us = 1_000,
        15..25 => work.payload_bytes = 400 + random.below(100_000) as usize,
        25..27 => work.payload_bytes = 1_000_000,
        27..30 => {
            work.sleep_us = 4_000;
            work.options.timeout = Some(Duration::from_millis(1));
            work.options.grace = Duration::from_micros(random.below(500));
        }
        // A timeout that is rarely met.
        30..33 => work.options.timeout = Some(Duration::from_millis(500)),
        _ => {}
    }
    work
}

fn cancel_some(submitted: &mut Submitted, random: &mut Random) {
    match random.below(100) {
        0..12 => submitted.never_runs |= submitted.task.cancel_if_unclaimed(),
        12..14 => {
            submitted.task.cancel_even_running(Duration::from_micros(random.below(1_000)));
        }
        _ => {}
    }
}

fn check(submitted: &Submitted, tally: &Tally, ends: &mut Ends) {
    let Submitted { task, work, never_runs } = submitted;
    let end = end_of(task);
    let n_runs = tally.n_runs(work.idx);
    assert!(n_runs <= 1, "a task ran {n_runs} times");
    assert!(!never_runs || (n_runs == 0 && end.is_err()), "a cancelled task ran");
    match end {
        Ok(reply) => {
            assert!(reply.body.bytes().iter().copied().eq(payload(work)), "wrong bytes came back");
            assert_eq!(n_runs, 1, "a reply without a run");
            ends.replied += 1;
        }
        Err(TaskError::Crashed(_)) => ends.crashed += 1,
        Err(TaskError::Cancelled) => ends.cancelled += 1,
        Err(TaskError::TimedOut) => ends.timed_out += 1,
        Err(other) => panic!("no task of a sound pool ends with {other:?}"),
    }
}

/// Kills, and now and then stops, random workers that are ready; until there were enough of them,
/// and tasks came to all their kinds of ends.
fn kill_workers(
    pools: &[ProcessPool; 2],
    n_killed: &AtomicUsize,
    is_mixed: impl Fn() -> bool,
    has_failed: impl Fn() -> bool,
) {
    let mut random = Random::new(0x1234_5678_9abc_def1);
    let mut stopped: Vec<(Instant, PidFd)> = Vec::new();
    while (n_killed.load(Ordering::Relaxed) < N_KILLS || !is_mixed()) && !has_failed() {
        let now = Instant::now();
        stopped.retain(|(until, process)| {
            let over = *until <= now;
            if over {
                process.signal(Signal::CONT).expect("a signal can be sent");
            }
            !over
        });
        // Not to hide a race: to kill at any moment, also of a young worker's life.
        std::thread::sleep(Duration::from_micros(random.below(8_000)));
        let workers = pools[random.below(2) as usize].workers();
        let ready: Vec<_> =
            workers.iter().filter(|worker| worker.ready && worker.pid != 0).collect();
        if ready.is_empty() {
            continue;
        }
        let pid = ready[random.below(ready.len() as u64) as usize].pid;
        let Some(process) = open_worker(pid) else { continue };
        if random.below(10) == 0 {
            process.signal(Signal::STOP).expect("a signal can be sent");
            let until = now + Duration::from_micros(random.below(20_000));
            // Half of the stopped are killed as they are.
            if random.below(2) == 0 {
                stopped.push((until, process));
                continue;
            }
        }
        process.signal(Signal::KILL).expect("a signal can be sent");
        let n = n_killed.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(n < MAX_KILLS, "tasks do not come to all their kinds of ends");
    }
    for (_, process) in stopped {
        process.signal(Signal::CONT).expect("a signal can be sent");
    }
}

/// The process `pid`, if it is one of this program's.
fn open_worker(pid: u32) -> Option<PidFd> {
    let process = PidFd::open(pid).ok()?;
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    (exe == std::env::current_exe().ok()?).then_some(process)
}

fn nothing_is_left(fds_before: &[String]) {
    // The collector's last step and the supervisor's end come a moment after the pools'.
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let left = what_is_left(fds_before);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < patience, "left behind: {left:?}");
        std::thread::yield_now();
    }
}

fn what_is_left(fds_before: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(manyhands_shm::family::existing().map(|_| "the heap".to_owned()));
    left.extend(thread_names().into_iter().filter(|name| name.starts_with("mh-")));
    left.extend(children().into_iter().map(|pid| format!("process {pid}")));
    let fds = open_descriptors();
    if fds.len() > fds_before.len() {
        left.extend(fds);
    }
    left
}

fn open_descriptors() -> Vec<String> {
    entries("/proc/self/fd")
        .iter()
        .filter_map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok())
        .map(|target| target.display().to_string())
        .collect()
}

fn thread_names() -> Vec<String> {
    entries("/proc/self/task")
        .iter()
        .filter_map(|id| std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

fn children() -> Vec<String> {
    let of_thread = |id: &String| {
        std::fs::read_to_string(format!("/proc/self/task/{id}/children")).unwrap_or_default()
    };
    let all: String = entries("/proc/self/task").iter().map(of_thread).collect();
    all.split_whitespace().map(ToOwned::to_owned).collect()
}

fn entries(dir: &str) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("procfs is there").flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_heap_is_empty_once_nothing_runs() {
    // In a program of its own: see `every_task_ends_once_however_workers_die`.
    if std::env::var_os("MANYHANDS_TEST_ALONE").is_none() {
        let status = std::process::Command::new(std::env::current_exe().expect("a path"))
            .args(["the_heap_is_empty_once_nothing_runs", "--exact"])
            .env("MANYHANDS_TEST_ALONE", "1")
            .status()
            .expect("the test binary runs");
        assert!(status.success());
        return;
    }
    let _guard = guard(60);
    let heap = manyhands_shm::family::heap().expect("a heap");
    let pool = pool(2);
    let tasks: Vec<_> = (0..200).map(|n| submit(&pool, "echo", &vec![1; n * 3_000])).collect();
    let crash = submit(&pool, "abort", &[1; 100_000]);
    tasks.iter().for_each(|task| drop(end_of(task)));
    assert!(end_of(&crash).is_err());
    finish(&pool);
    drop((pool, tasks, crash));
    let patience = Instant::now() + Duration::from_secs(20);
    while heap.claimed_bytes() > 0 {
        heap.trim();
        assert!(Instant::now() < patience, "{} bytes stay claimed", heap.claimed_bytes());
    }
    let resident = heap.resident_bytes().expect("the file can be asked");
    assert!(resident < 1 << 20, "{resident} bytes of an empty heap are resident");
}
