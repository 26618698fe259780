//! How a pool ends, with workers that are idle, busy, stopped, or not there yet.

use super::*;

#[test]
fn idle_workers_leave_and_the_pool_has_ended_when_they_are_gone() {
    let (mut fake, workers) = Fake::with_idle(2);
    fake.schedule.close();
    assert!(!fake.turn().has_ended);
    assert!(workers.iter().all(FakeWorker::would_leave));
    assert!(!fake.dies(&workers[0], ExitStatus::Exited(0)).has_ended);
    assert!(fake.dies(&workers[1], ExitStatus::Exited(0)).has_ended);
}

#[test]
fn a_pool_without_workers_has_ended_at_once() {
    let mut fake = Fake::new(2);
    assert!(!fake.turn().has_ended);
    fake.schedule.close();
    assert!(fake.turn().has_ended);
    let refused = fake.try_submit(Body::empty(), TaskOptions::default());
    assert_eq!(refused.err(), Some(SubmitError::Closed));
}

#[test]
fn busy_workers_run_what_was_taken_and_leave_then() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let tasks: Vec<_> = (0..4).map(|_| fake.submit()).collect();
    fake.schedule.close();
    for task in &tasks {
        fake.turn();
        assert!(!workers[0].would_leave());
        workers[0].run(MS);
        fake.turn();
        assert_eq!(value_of(task), b"done");
    }
    assert!(workers[0].would_leave());
    assert!(fake.dies(&workers[0], ExitStatus::Exited(0)).has_ended);
}

#[test]
fn a_worker_that_dies_with_tasks_of_a_closed_pool_is_replaced() {
    let (mut fake, workers) = Fake::with_idle(1);
    let tasks = [fake.submit(), fake.submit()];
    workers[0].begin();
    fake.schedule.close();
    assert!(!fake.is_killed(&workers[0]).has_ended);
    assert!(is_crashed(&tasks[0]));
    let mut second = fake.ready(1);
    second.run(MS);
    fake.turn();
    assert_eq!(value_of(&tasks[1]), b"done");
    assert!(second.would_leave());
}

#[test]
fn a_task_of_a_closed_pool_does_not_wait_for_a_stopped_worker() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].stop();
    fake.schedule.close();
    fake.look_five_times(20 * MS);
    let mut second = fake.ready(1);
    second.run(MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
    // And neither does the pool.
    fake.dies(&second, ExitStatus::Exited(0));
    fake.look_five_times(100 * MS);
    assert_eq!(workers[0].signals(), [Signal::KILL]);
    assert!(fake.is_killed(&workers[0]).has_ended);
}

#[test]
fn what_waits_is_cancelled_but_for_the_very_next_task_of_each_worker() {
    let (mut fake, workers) = Fake::with_idle(1);
    let tasks: Vec<_> = (0..3).map(|_| fake.submit()).collect();
    fake.schedule.close();
    let cancelled = fake.schedule.cancel_pending(false);
    assert_eq!(cancelled.len(), 2);
    for (task, ending) in cancelled {
        task.outcome.completion().announce(ending);
    }
    fake.turn();
    assert_eq!(tasks.iter().map(|task| is_done(task)).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(workers[0].state(), State::Pending);
}

#[test]
fn all_that_waits_is_cancelled_if_all_is_meant_and_what_runs_is_not() {
    let (mut fake, workers) = Fake::with_idle(2);
    let tasks: Vec<_> = (0..5).map(|_| fake.submit()).collect();
    workers[0].begin();
    fake.schedule.close();
    assert_eq!(fake.schedule.cancel_pending(true).len(), 4);
    assert!(!is_done(&tasks[0]));
    assert!(!workers[1].claim());
}

#[test]
fn every_worker_is_killed_also_one_that_is_not_known_yet() {
    let mut fake = Fake::new(3);
    fake.schedule.start_missing();
    let (known, unknown) = (fake.ready(0), fake.unknown(1));
    fake.schedule.kill_all();
    assert_eq!(known.signals(), [Signal::KILL]);
    fake.tell_started(&unknown);
    assert_eq!(unknown.signals(), [Signal::KILL]);
    fake.is_killed(&known);
    fake.is_killed(&unknown);
    let third = fake.unknown(2);
    assert!(fake.is_killed(&third).has_ended, "one that died at birth");
    assert_eq!(fake.schedule.broken(), None, "it was killed: no fault of its own");
}

#[test]
fn workers_that_were_told_to_leave_while_they_started_are_no_fault_of_the_pool() {
    let mut fake = Fake::new(3);
    fake.schedule.start_missing();
    let workers = [0, 1, 2].map(|id| fake.started(id));
    fake.schedule.close();
    fake.turn();
    for worker in &workers {
        fake.dies(worker, ExitStatus::Exited(1));
    }
    assert_eq!((fake.schedule.broken(), fake.schedule.counts().workers_died), (None, 0));
}

#[test]
fn the_tasks_of_killed_workers_have_crashed() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].begin();
    fake.schedule.kill_all();
    fake.is_killed(&workers[0]);
    assert!(is_crashed(&task));
}

#[test]
fn terminated_workers_are_asked_to_end_and_continued_so_that_they_hear_of_it() {
    let mut fake = Fake::new(2);
    fake.schedule.start_missing();
    let (known, unknown) = (fake.ready(0), fake.unknown(1));
    fake.schedule.terminate_all();
    assert_eq!(known.signals(), [Signal::TERM, Signal::CONT]);
    fake.tell_started(&unknown);
    assert_eq!(unknown.signals(), [Signal::KILL]);
}
