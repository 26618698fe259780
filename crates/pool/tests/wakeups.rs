//! Wake-ups that are easily lost: cancels and moves between the moments at which root and worker
//! look at each other. A lost one is a hang, so each test has a watchdog.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use manyhands_pool::completion::Wait;
use manyhands_pool::future::Future;
use manyhands_pool::process::{ProcessPool, ProcessTask, TaskOptions};
use manyhands_sys::clock::Deadline;
use manyhands_sys::pid::{PidFd, Signal};
use support::tallied::{self, Tally, Work};
use support::{end_of, finish, guard, pool, submit, submit_with};

/// How long a task may take before it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(20);

#[test]
fn worker_entry() {
    support::serve_if_worker();
}

fn ends(task: &Arc<ProcessTask>, what: &str) {
    // SAFETY: the only one of this task, which this thread alone has.
    let future = unsafe { Future::new(Arc::clone(task) as _) };
    assert!(future.wait_until(Some(Deadline::after(LOST_AFTER))), "{what}");
}

fn spin(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

fn warm(pool: &ProcessPool) {
    let tasks: Vec<_> = (0..200).map(|_| submit(pool, "echo", b"x")).collect();
    tasks.iter().for_each(|task| drop(end_of(task)));
}

#[test]
fn a_task_before_a_cancelled_one_is_not_left_with_a_sleeping_worker() {
    let _guard = guard(120);
    let pool = pool(1);
    warm(&pool);
    for round in 0..20_000u64 {
        let first: Vec<_> = (0..4).map(|_| submit(&pool, "echo", b"a")).collect();
        spin(Duration::from_micros(round % 40));
        let kept = submit(&pool, "echo", b"kept");
        let gone = submit(&pool, "echo", b"gone");
        gone.cancel_if_unclaimed();
        ends(&kept, "a task whose successor was cancelled never ran");
        first.iter().for_each(|task| ends(task, "an early task never ran"));
    }
    finish(&pool);
}

#[test]
fn a_waiting_task_gets_the_room_that_cancelled_ones_leave() {
    let _guard = guard(120);
    let pool = pool(1);
    // Long tasks: the worker gets one ahead at most, so the third waits.
    end_of(&submit(&pool, "spin", &3_000u64.to_le_bytes())).expect("spin replies");
    for _ in 0..2_000 {
        let first = submit(&pool, "echo", b"first");
        let second = submit(&pool, "echo", b"second");
        let third = submit(&pool, "echo", b"third");
        first.cancel_if_unclaimed();
        second.cancel_if_unclaimed();
        ends(&third, "a task waited for room that was there");
    }
    finish(&pool);
}

#[test]
fn a_lane_full_of_cancelled_tasks_does_not_hold_up_the_next_one() {
    let _guard = guard(60);
    let pool = pool(1);
    // While the worker starts its lane fills with tasks that are taken back; a quick one may run a
    // few of the last.
    for _ in 0..300 {
        submit(&pool, "echo", b"gone").cancel_if_unclaimed();
    }
    ends(&submit(&pool, "echo", b"kept"), "the task behind a full lane never ran");
    finish(&pool);
}

#[test]
fn a_closed_pool_ends_when_its_last_task_is_cancelled() {
    let _guard = guard(120);
    for _ in 0..50 {
        let pool = pool(1);
        warm(&pool);
        let last = submit(&pool, "echo", b"last");
        pool.close(false);
        last.cancel_if_unclaimed();
        let wait = pool.wait_until_ended(Some(Deadline::after(LOST_AFTER)));
        assert_eq!(wait, Wait::Done, "the closed pool never ended");
    }
}

#[test]
fn tasks_behind_one_that_turns_out_long_move_to_an_idle_worker() {
    let _guard = guard(120);
    let pool = pool(2);
    for _ in 0..100 {
        warm(&pool);
        let long = submit(&pool, "spin", &3_600_000_000u64.to_le_bytes());
        let short: Vec<_> = (0..7).map(|_| submit(&pool, "echo", b"x")).collect();
        for task in &short {
            ends(task, "a short task waits behind a long one although a worker is idle");
        }
        long.cancel_even_running(Duration::ZERO);
    }
    pool.kill(true);
    pool.wait_until_ended(None);
}

#[test]
fn a_task_stopped_at_its_timeout_keeps_its_arguments_until_it_has_left() {
    let _guard = guard(60);
    let pool = pool(1);
    let args = vec![7u8; 1 << 20];
    let options = TaskOptions {
        timeout: Some(Duration::from_millis(5)),
        grace: Duration::from_secs(3_600),
        ..TaskOptions::default()
    };
    let slow = submit_with(&pool, "check_bytes_later", &args, options);
    assert!(end_of(&slow).is_err());
    // Whatever is freed now is taken by these.
    let other: Vec<_> = (0..20).map(|_| submit(&pool, "echo", &vec![9u8; 1 << 20])).collect();
    other.iter().for_each(|task| ends(task, "a task never ran"));
    for task in &other {
        end_of(task).expect("the worker found its arguments unchanged and lives");
    }
    assert_eq!(pool.counts().workers_started, 1, "the worker found its arguments changed");
    let counts = pool.counts();
    assert_eq!((counts.timed_out, counts.replied), (1, 20), "each task ends once, also in counts");
    finish(&pool);
}

#[test]
fn a_cancel_that_comes_after_the_task_has_run_says_so() {
    let _guard = guard(60);
    let tally = Tally::new(30_000);
    let pool = pool(2);
    let function = tallied::function(&pool);
    for idx in 0..30_000 {
        let work = Work { idx, sleep_us: 0, payload_bytes: 8, options: TaskOptions::default() };
        let task = tally.submit(&pool, &function, &work).expect("an open pool");
        while tally.n_runs(idx) == 0 {
            std::hint::spin_loop();
        }
        // It has run: at every moment from here to the future's end a cancel comes too late.
        spin(Duration::from_nanos(idx as u64 % 20_000));
        assert!(!task.cancel_if_unclaimed(), "a task was cancelled after it had run");
        end_of(&task).expect("it replies");
    }
    finish(&pool);
}

#[test]
fn a_task_given_to_a_stopped_worker_runs_on_another() {
    let _guard = guard(120);
    let pool = pool(2);
    warm(&pool);
    let busy: Vec<_> = (0..2).map(|_| submit(&pool, "spin", &20_000u64.to_le_bytes())).collect();
    busy.iter().for_each(|task| drop(end_of(task)));
    let workers = pool.workers();
    assert_eq!(workers.len(), 2);
    for worker in &workers {
        let process = PidFd::open(worker.pid).expect("it runs");
        process.signal(Signal::STOP).expect("a worker can be stopped");
        for _ in 0..5 {
            // The collector sleeps by then.
            std::thread::sleep(Duration::from_millis(2));
            ends(&submit(&pool, "echo", b"x"), "a task waits for a stopped worker");
        }
        process.signal(Signal::CONT).expect("a worker can be continued");
    }
    finish(&pool);
}
