//! The process pool with worker processes in Rust: no interpreter anywhere.

mod support;

use std::time::Duration;

use manyhands_pool::error::TaskError;
use manyhands_pool::process::TaskOptions;
use support::{end_of, finish, pool, pool_with, submit, submit_with};

#[test]
fn worker_entry() {
    support::serve_if_worker();
}

#[test]
fn a_task_comes_back_with_its_bytes() {
    let pool = pool(2);
    for len in [0, 1, 424, 425, 4096, 100_000, 3_000_000] {
        let bytes: Vec<u8> = (0..len).map(|idx| idx as u8).collect();
        let reply = end_of(&submit(&pool, "echo", &bytes)).expect("echo replies");
        assert!(reply.body.bytes() == bytes, "{len} bytes came back changed");
    }
    finish(&pool);
}

#[test]
fn ten_thousand_tasks_all_end() {
    let pool = pool(2);
    let tasks: Vec<_> = (0..10_000u64).map(|n| submit(&pool, "echo", &n.to_le_bytes())).collect();
    for (n, task) in tasks.iter().enumerate() {
        let reply = end_of(task).expect("echo replies");
        assert_eq!(reply.body.bytes(), (n as u64).to_le_bytes());
    }
    finish(&pool);
}

#[test]
fn a_crash_fails_only_its_own_task() {
    let pool = pool(2);
    let before: Vec<_> = (0..50).map(|_| submit(&pool, "echo", b"before")).collect();
    let crash = submit_with(
        &pool,
        "abort",
        b"",
        TaskOptions { name: Some("boom".into()), ..TaskOptions::default() },
    );
    let after: Vec<_> = (0..50).map(|_| submit(&pool, "echo", b"after")).collect();
    match end_of(&crash) {
        Err(TaskError::Crashed(report)) => {
            assert_eq!(report.signal, Some(6));
            assert_eq!(report.task.as_deref(), Some("boom"));
        }
        other => panic!("an abort is reported as a crash, not as {other:?}"),
    }
    for task in before.iter().chain(&after) {
        end_of(task).expect("others are unharmed");
    }
    finish(&pool);
}

#[test]
fn a_worker_that_exits_in_a_task_is_reported_with_its_code() {
    let pool = pool(1);
    match end_of(&submit(&pool, "exit", &[7])) {
        Err(TaskError::Crashed(report)) => assert_eq!(report.exit_code, Some(7)),
        other => panic!("an exit is reported as a crash, not as {other:?}"),
    }
    finish(&pool);
}

#[test]
fn a_task_is_stopped_at_its_timeout_and_the_others_are_unharmed() {
    let pool = pool(1);
    let options = TaskOptions {
        timeout: Some(Duration::from_millis(30)),
        grace: Duration::from_millis(1),
        ..TaskOptions::default()
    };
    let slow = submit_with(&pool, "spin", &60_000_000u64.to_le_bytes(), options);
    let next = submit(&pool, "echo", b"next");
    assert!(matches!(end_of(&slow), Err(TaskError::TimedOut)));
    end_of(&next).expect("the next task runs on a new worker");
    assert_eq!(pool.counts().timed_out, 1);
    finish(&pool);
}

#[test]
fn a_running_task_can_be_cancelled() {
    let pool = pool(1);
    let slow = submit(&pool, "spin", &60_000_000u64.to_le_bytes());
    while !slow.runs_now() {
        std::thread::yield_now();
    }
    assert!(!slow.cancel_if_unclaimed(), "a plain cancel leaves a running task alone");
    assert!(slow.cancel_even_running(Duration::ZERO));
    assert!(matches!(end_of(&slow), Err(TaskError::Cancelled)));
    end_of(&submit(&pool, "echo", b"next")).expect("the pool goes on");
    finish(&pool);
}

#[test]
fn workers_with_a_quota_are_replaced_and_nothing_is_lost() {
    let pool = pool_with(2, Some(3));
    let tasks: Vec<_> = (0..30).map(|_| submit(&pool, "echo", b"x")).collect();
    for task in &tasks {
        end_of(task).expect("echo replies");
    }
    assert!(pool.counts().workers_started >= 10);
    finish(&pool);
    assert_eq!(pool.counts().workers_died, 0);
}

#[test]
fn a_long_task_does_not_hold_up_those_behind_it() {
    let pool = pool(2);
    // Warm both workers, and make tasks look short, so that many are sent ahead.
    let warm: Vec<_> = (0..2_000).map(|_| submit(&pool, "echo", b"x")).collect();
    warm.iter().for_each(|task| drop(end_of(task)));
    let long = submit(&pool, "spin", &60_000_000u64.to_le_bytes());
    let short: Vec<_> = (0..500).map(|_| submit(&pool, "echo", b"x")).collect();
    for task in &short {
        end_of(task).expect("echo replies");
    }
    assert!(long.runs_now());
    pool.kill(true);
    assert!(matches!(end_of(&long), Err(TaskError::Cancelled)));
    pool.wait_until_ended(None);
}
