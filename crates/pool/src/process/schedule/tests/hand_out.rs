//! Who gets a task, and when one that waits in a lane moves.

use super::*;

const US: u64 = 1_000;

/// A pool of two ready workers: the first has one task and one behind it, the second has just
/// become idle. Each had run a task of so long before.
fn one_behind_another(ran_ns: u64) -> (Fake, Vec<FakeWorker>) {
    let (mut fake, mut workers) = Fake::with_idle(2);
    for _ in 0..2 {
        fake.submit();
    }
    workers.iter_mut().for_each(|worker| worker.run(ran_ns));
    fake.turn();
    for _ in 0..3 {
        fake.submit();
    }
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (2, 1));
    workers[1].run(ran_ns);
    (fake, workers)
}

#[test]
fn an_idle_worker_gets_a_task_at_once() {
    let (mut fake, workers) = Fake::with_idle(2);
    fake.submit();
    assert_eq!(workers[0].state(), State::Pending, "without a turn");
    fake.submit();
    assert_eq!(workers[1].state(), State::Pending, "not behind the first");
}

#[test]
fn a_missing_worker_is_started_and_no_more_than_there_may_be() {
    let mut fake = Fake::new(2);
    for n_launched in [1, 2, 2, 2] {
        fake.submit();
        assert_eq!(fake.n_launched(), n_launched);
    }
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (1, 1), "one that starts gets none ahead");
    assert_eq!(fake.schedule.counts().pending, 2);
}

#[test]
fn an_idle_worker_is_preferred_to_a_new_one() {
    let mut fake = Fake::new(2);
    fake.submit();
    let mut first = fake.ready(0);
    first.run(MS);
    fake.turn();
    fake.submit();
    assert_eq!((fake.n_launched(), fake.n_tasks(0)), (1, 1));
}

#[test]
fn a_busy_one_of_unknown_or_slow_tasks_gets_one_ahead() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    for _ in 0..2 {
        (0..4).for_each(|_| drop(fake.submit()));
        assert_eq!(fake.n_tasks(0), 2);
        while fake.schedule.counts().in_lanes > 0 {
            workers[0].run(1_000 * MS);
            fake.turn();
        }
    }
    assert_eq!(fake.schedule.counts().replied, 8);
}

#[test]
fn a_busy_one_of_short_tasks_gets_a_millisecond_of_work_ahead() {
    for (ran_ns, n_ahead) in [(10 * US, 100), (300 * US, 3), (1, 128)] {
        let (mut fake, mut workers) = Fake::with_idle(1);
        fake.submit();
        workers[0].run(ran_ns);
        fake.turn();
        (0..200).for_each(|_| drop(fake.submit()));
        assert_eq!(fake.n_tasks(0), n_ahead + 1, "tasks of {ran_ns} ns");
    }
}

#[test]
fn what_waits_behind_a_task_moves_to_one_that_becomes_idle() {
    let (mut fake, workers) = one_behind_another(MS);
    workers[0].begin();
    fake.turn();
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (1, 1));
    assert_eq!(workers[1].state(), State::Pending);
}

#[test]
fn what_would_be_done_soon_does_not_move_until_it_is_late() {
    let (mut fake, workers) = one_behind_another(5 * US);
    workers[0].begin();
    assert_eq!(fake.looks_again_in(), Some(20 * US), "nobody would ring");
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (2, 0));
    fake.turn_after(20 * US + 1);
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (1, 1), "the task has turned out to be long");
}

#[test]
fn a_lane_that_makes_no_progress_is_looked_at_ever_less_often_and_then_levelled() {
    // Nothing is claimed: the worker may be about to.
    let (mut fake, _workers) = one_behind_another(5 * US);
    for pause_us in [20, 40, 80, 160, 320, 640, 1_280] {
        assert_eq!(fake.n_tasks(0), 2);
        let deadline_ns = fake.turn().deadline_ns.expect("nobody would ring");
        assert_eq!(deadline_ns - fake.now_ns(), pause_us * US);
        fake.pass_time(pause_us * US);
    }
    fake.turn();
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (1, 1));
}

#[test]
fn the_task_of_a_worker_that_starts_moves_to_one_that_becomes_idle() {
    let mut fake = Fake::new(2);
    fake.submit();
    let mut first = fake.ready(0);
    first.begin();
    fake.submit();
    assert_eq!((fake.n_launched(), fake.n_tasks(1)), (2, 1));
    first.reply(b"x");
    fake.turn();
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (1, 0));
    let second = fake.ready(1);
    assert!(!second.claim(), "it is elsewhere");
}

#[test]
fn a_worker_that_has_had_its_number_of_tasks_leaves_and_is_replaced_when_it_has_run_them() {
    let mut fake = Fake::with(1, Some(2), false);
    fake.submit();
    let mut first = fake.ready(0);
    fake.submit();
    let third = fake.submit();
    assert_eq!((fake.n_tasks(0), fake.n_launched()), (2, 1), "never more at once than allowed");
    first.run(MS);
    fake.turn();
    assert_eq!(fake.n_launched(), 1);
    first.run(MS);
    assert!(first.would_leave());
    fake.turn();
    assert_eq!(fake.n_launched(), 2);
    fake.dies(&first, ExitStatus::Exited(0));
    let mut second = fake.ready(1);
    second.run(MS);
    fake.turn();
    assert_eq!(value_of(&third), b"done");
    assert_eq!(fake.schedule.counts().workers_died, 0);
}

#[test]
fn a_task_that_is_done_before_it_finds_room_is_passed_over() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let tasks: Vec<_> = (0..4).map(|_| fake.submit()).collect();
    let ending = fake.schedule.cancel(&tasks[2]).expect("it waits");
    tasks[2].outcome.completion().announce(ending);
    for _ in 0..3 {
        workers[0].run(MS);
        fake.turn();
    }
    assert_eq!(workers[0].state(), State::Free);
    assert_eq!(value_of(&tasks[3]), b"done");
}
