//! Workers that die: only the task they ran is lost, whatever kills them and whenever.

use std::collections::VecDeque;
use std::process::Command;

use manyhands::{Future, ProcessPool, TaskError};
use manyhands_sys::pid::{PidFd, Signal};
use manyhands_testing::random::Random;

manyhands::test_entry!();

#[manyhands::task]
fn double(n: u64) -> u64 {
    2 * n
}

/// Takes about as long as a kill needs to arrive.
#[manyhands::task]
fn double_slowly(n: u64) -> u64 {
    (0..20_000).fold(0, |sum, _| std::hint::black_box(sum) + n) / 10_000
}

#[manyhands::task]
fn abort() {
    std::process::abort();
}

#[manyhands::task]
fn exit(code: i32) {
    std::process::exit(code);
}

#[manyhands::task]
fn overflow_the_stack(n: u64) -> u64 {
    let deeper = std::hint::black_box([n; 1024]);
    if n == u64::MAX { 0 } else { overflow_the_stack(n + 1) + deeper[(n % 1024) as usize] }
}

/// Starts this very program from within a worker, and returns what it prints.
#[manyhands::task]
fn start_this_program_again() -> String {
    let program = std::env::current_exe().expect("a test program has a path");
    let args = ["manyhands_test_entry", "--exact"];
    let output = Command::new(program).args(args).output().expect("it starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const SIGABRT: i32 = 6;

fn pool(max_workers: usize) -> ProcessPool {
    ProcessPool::new(max_workers).expect("a pool starts")
}

#[test]
fn a_crash_fails_only_its_own_task() {
    let pool = pool(2);
    let before: Vec<_> = (0..50).map(|n| pool.submit(double::task, n).unwrap()).collect();
    let crash = pool.submit(abort::task, ()).unwrap();
    let after: Vec<_> = (0..50).map(|n| pool.submit(double::task, n).unwrap()).collect();
    match crash.result() {
        Err(TaskError::Crashed(report)) => {
            assert_eq!(report.signal, Some(SIGABRT));
            assert_eq!(report.task.as_deref(), Some("faults::abort"));
            assert_ne!(report.pid, 0);
        }
        other => panic!("an abort is not reported as {other:?}"),
    }
    for (n, future) in (0..50).chain(0..50).zip(before.into_iter().chain(after)) {
        assert_eq!(future.result(), Ok(2 * n));
    }
    pool.shutdown();
    assert_eq!(pool.statistics().workers_died, 1);
}

#[test]
fn an_exit_inside_a_task_is_reported_with_its_code() {
    match pool(1).submit(exit::task, 7).unwrap().result() {
        Err(TaskError::Crashed(report)) => assert_eq!(report.exit_code, Some(7)),
        other => panic!("an exit is not reported as {other:?}"),
    }
}

#[test]
fn a_stack_overflow_is_a_crash_of_one_task() {
    let pool = pool(1);
    let overflow = pool.submit(overflow_the_stack::task, 0).unwrap();
    let next = pool.submit(double::task, 21).unwrap();
    assert!(matches!(overflow.result(), Err(TaskError::Crashed(_))));
    assert_eq!(next.result(), Ok(42));
}

#[test]
fn a_program_that_a_task_starts_is_no_worker_although_it_inherits_the_mark_of_one() {
    let printed = pool(1).submit(start_this_program_again::task, ()).unwrap().result().unwrap();
    assert!(printed.contains("1 passed"), "{printed}");
}

#[test]
fn kills_of_random_workers_lose_no_task_but_those_that_ran() {
    const N_TASKS: u64 = 20_000;
    const N_IN_FLIGHT: u64 = 600;
    const TASKS_PER_KILL: u64 = 100;
    let pool = pool(2);
    let submit = |n| pool.submit(double_slowly::task, n).unwrap();
    let mut futures: VecDeque<_> = (0..N_IN_FLIGHT).map(submit).collect();
    let mut random = Random::new(Random::SEED);
    // One is killed for certain, as soon as there is one.
    while !kill_one(&pool, 0) {
        std::thread::yield_now();
    }
    let (mut n_replied, mut n_crashed, mut n_kills) = (0, 0, 1);
    for n in 0..N_TASKS {
        if n % TASKS_PER_KILL == 0 {
            n_kills += u64::from(kill_one(&pool, random.index(usize::MAX)));
        }
        match futures.pop_front().unwrap().result() {
            Ok(doubled) => {
                assert_eq!(doubled, 2 * n);
                n_replied += 1;
            }
            Err(TaskError::Crashed(_)) => n_crashed += 1,
            Err(other) => panic!("a killed worker is not reported as {other:?}"),
        }
        if n + N_IN_FLIGHT < N_TASKS {
            futures.push_back(submit(n + N_IN_FLIGHT));
        }
    }
    pool.shutdown();
    let statistics = pool.statistics();
    println!("{n_kills} kills, {n_crashed} tasks crashed");
    assert_eq!(n_replied + n_crashed, N_TASKS);
    assert_eq!((statistics.replied, statistics.crashed), (n_replied, n_crashed));
    assert!(n_crashed <= n_kills, "{n_crashed} crashes of {n_kills} kills");
}

/// Kills a worker that is ready. (One that is killed before breaks the pool after three times.)
fn kill_one(pool: &ProcessPool, dice: usize) -> bool {
    let ready: Vec<_> = pool.workers().into_iter().filter(|worker| worker.ready).collect();
    let Some(victim) = ready.get(dice % ready.len().max(1)) else { return false };
    // It may have died of the last kill, and not be buried yet.
    PidFd::open(victim.pid).and_then(|process| process.signal(Signal::KILL)).is_ok()
}

#[test]
fn a_pool_that_is_killed_ends_every_future() {
    let pool = pool(2);
    let futures: Vec<_> = (0..2_000).map(|n| pool.submit(double::task, n).unwrap()).collect();
    pool.kill();
    let ended = futures.into_iter().map(Future::result);
    assert!(ended.into_iter().all(|end| matches!(end, Ok(_) | Err(TaskError::Cancelled))));
    assert!(pool.workers().is_empty());
}

#[test]
fn futures_outlive_their_pool() {
    let pool = pool(2);
    let futures: Vec<_> = (0..100).map(|n| pool.submit(double::task, n).unwrap()).collect();
    drop(pool);
    for (n, future) in (0..).zip(futures) {
        assert_eq!(future.result(), Ok(2 * n));
    }
}
