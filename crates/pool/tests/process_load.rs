//! Many tasks, many submitters, many cancels: each task ends once, and a cancelled one never runs.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use manyhands_pool::completion::Wait;
use manyhands_pool::error::TaskError;
use manyhands_pool::process::{ProcessPool, ProcessTask, SubmitError, TaskOptions};
use support::tallied::{self, Tally, Work, payload};
use support::{end_of, finish, guard, pool};

#[test]
fn worker_entry() {
    support::serve_if_worker();
}

fn work(idx: usize, sleep_us: u64) -> Work {
    Work { idx, sleep_us, payload_bytes: 8, options: TaskOptions::default() }
}

fn check_reply(task: &Arc<ProcessTask>, work: &Work, tally: &Tally) {
    let reply = end_of(task).expect("it replies");
    assert!(reply.body.bytes().iter().copied().eq(payload(work)), "wrong bytes came back");
    assert_eq!(tally.n_runs(work.idx), 1, "each task runs once");
}

#[test]
fn a_hundred_thousand_tasks_on_more_workers_than_processors_each_run_once() {
    let _guard = guard(120);
    let (n_tasks, n_submitters) = (100_000, 4);
    let tally = Tally::new(n_tasks);
    let pool = pool(8);
    std::thread::scope(|scope| {
        for nth in 0..n_submitters {
            let (tally, pool) = (&tally, &pool);
            scope.spawn(move || {
                let function = tallied::function(pool);
                let share = (nth..n_tasks).step_by(n_submitters);
                let tasks: Vec<_> = share
                    .map(|idx| work(idx, 0))
                    .map(|work| (tally.submit(pool, &function, &work).expect("open"), work))
                    .collect();
                tasks.iter().for_each(|(task, work)| check_reply(task, work, tally));
            });
        }
    });
    let counts = pool.counts();
    assert_eq!((counts.submitted, counts.replied), (n_tasks as u64, n_tasks as u64));
    assert_eq!((counts.pending, counts.in_lanes, counts.workers_died), (0, 0, 0));
    finish(&pool);
}

#[test]
fn ten_thousand_cancels_while_others_run_and_no_cancelled_task_ever_runs() {
    let _guard = guard(120);
    // Until so many cancels came in time: it depends on the machine how many do.
    let mut n_cancelled = 0;
    while n_cancelled < 2_000 {
        n_cancelled += cancel_among(20_000);
    }
    println!("{n_cancelled} tasks were cancelled in time");
}

/// How many of so many tasks were cancelled before they began.
fn cancel_among(n_tasks: usize) -> usize {
    let tally = Tally::new(n_tasks);
    let pool = pool(2);
    let function = tallied::function(&pool);
    let mut n_cancelled = 0;
    let mut tasks = Vec::new();
    for idx in 0..n_tasks {
        let work = work(idx, if idx % 100 == 0 { 200 } else { 0 });
        let task = tally.submit(&pool, &function, &work).expect("an open pool");
        tasks.push((task, work, false));
        // One that is long on its way, and one that was submitted just now.
        for at in [idx.saturating_sub(37), idx] {
            let (task, _, cancelled) = &mut tasks[at];
            if at % 2 == 0 && !*cancelled && task.cancel_if_unclaimed() {
                *cancelled = true;
                n_cancelled += 1;
            }
        }
    }
    for (task, work, cancelled) in &tasks {
        if *cancelled {
            assert!(matches!(end_of(task), Err(TaskError::Cancelled)));
        } else {
            check_reply(task, work, &tally);
        }
    }
    finish(&pool);
    // The workers have ended: what was cancelled and has not run never will.
    for (_, work, cancelled) in &tasks {
        assert_eq!(tally.n_runs(work.idx), u32::from(!*cancelled), "a cancelled task has run");
    }
    assert_eq!(pool.counts().workers_died, 0);
    n_cancelled
}

#[test]
fn ten_thousand_pending_tasks_are_cancelled_while_one_runs() {
    let _guard = guard(120);
    let n_tasks = 10_001;
    let tally = Tally::new(n_tasks);
    let pool = pool(1);
    let function = tallied::function(&pool);
    let running = tally.submit(&pool, &function, &work(0, 300_000)).expect("an open pool");
    while tally.n_runs(0) == 0 {
        std::thread::yield_now();
    }
    let pending: Vec<_> = (1..n_tasks)
        .map(|idx| tally.submit(&pool, &function, &work(idx, 0)).expect("an open pool"))
        .collect();
    assert!(pending.iter().all(|task| task.cancel_if_unclaimed()), "none of them has started");
    end_of(&running).expect("the one that runs is not touched");
    check_reply_after(&pool, &tally);
    finish(&pool);
    assert!((1..n_tasks).all(|idx| tally.n_runs(idx) == 0), "a cancelled task has run");
}

/// The pool goes on.
fn check_reply_after(pool: &ProcessPool, tally: &Tally) {
    let function = tallied::function(pool);
    let again = tally.submit(pool, &function, &work(0, 0)).expect("an open pool");
    end_of(&again).expect("it replies");
    assert_eq!(tally.n_runs(0), 2);
}

/// What becomes of tasks that many threads submit while `stop` ends the pool.
fn submits_race_with(stop: impl Fn(&ProcessPool) + Sync) {
    for round in 0..30u64 {
        let n_tasks = 20_000;
        let tally = Tally::new(n_tasks);
        let pool = pool(2);
        let next_idx = AtomicUsize::new(0);
        let taken = std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| submit_until_closed(&pool, &tally, &next_idx, n_tasks)))
                .collect();
            while next_idx.load(Ordering::Relaxed) < 200 {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_micros(round * 150));
            stop(&pool);
            let taken = submitters.into_iter().map(|thread| thread.join().expect("no panic"));
            taken.flatten().collect::<Vec<_>>()
        });
        assert_eq!(pool.wait_until_ended(None), Wait::Done);
        let mut n_replied = 0;
        for (task, work) in &taken {
            let n_runs = tally.n_runs(work.idx);
            match end_of(task) {
                Ok(_) => {
                    assert_eq!(n_runs, 1);
                    n_replied += 1;
                }
                Err(TaskError::Cancelled | TaskError::Crashed(_)) => assert!(n_runs <= 1),
                Err(other) => panic!("no task of a sound pool ends with {other:?}"),
            }
        }
        let counts = pool.counts();
        assert_eq!(counts.submitted, taken.len() as u64);
        assert_eq!((counts.replied, counts.pending, counts.in_lanes), (n_replied, 0, 0));
    }
}

fn submit_until_closed(
    pool: &ProcessPool,
    tally: &Tally,
    next_idx: &AtomicUsize,
    n_tasks: usize,
) -> Vec<(Arc<ProcessTask>, Work)> {
    let function = tallied::function(pool);
    let mut taken = Vec::new();
    loop {
        let idx = next_idx.fetch_add(1, Ordering::Relaxed);
        if idx >= n_tasks {
            return taken;
        }
        let work = work(idx, if idx.is_multiple_of(50) { 100 } else { 0 });
        match tally.submit(pool, &function, &work) {
            Ok(task) => taken.push((task, work)),
            Err(SubmitError::Closed) => return taken,
            Err(broken) => panic!("a sound pool is open or closed: {broken}"),
        }
    }
}

#[test]
fn what_is_submitted_while_the_pool_is_closed_is_refused_or_ends() {
    let _guard = guard(120);
    submits_race_with(|pool| pool.close(false));
}

#[test]
fn what_is_submitted_while_the_pool_is_closed_with_cancels_is_refused_or_ends() {
    let _guard = guard(120);
    submits_race_with(|pool| pool.close(true));
}

#[test]
fn what_is_submitted_while_the_pool_is_killed_is_refused_or_ends() {
    let _guard = guard(120);
    submits_race_with(|pool| pool.kill(false));
    submits_race_with(|pool| pool.kill(true));
}
