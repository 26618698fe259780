//! "Who makes a turn follow" in the README: what a turn does about each event, and when it has to
//! be the collector's own deadline.

use super::super::super::wakeup::Watch;
use super::super::silence::{PATIENT_NS, SILENT_NS};
use super::*;

#[test]
fn an_idle_pool_needs_no_deadline() {
    let (mut fake, _workers) = Fake::with_idle(2);
    let turn = fake.turn();
    assert_eq!((turn.deadline_ns, turn.n_workers, turn.n_under_way), (None, 2, 0));
}

#[test]
fn a_turn_without_an_event_changes_nothing() {
    let (mut fake, workers) = Fake::with_idle(1);
    (0..4).for_each(|_| drop(fake.submit()));
    workers[0].begin();
    let turn = fake.turn();
    assert_eq!(fake.turn(), turn);
    let counts = fake.schedule.counts();
    assert_eq!((counts.in_lanes, counts.pending, counts.workers_started), (2, 2, 1));
}

#[test]
fn a_task_that_runs_without_a_timeout_needs_no_deadline() {
    let (mut fake, workers) = Fake::with_idle(1);
    fake.submit();
    workers[0].begin();
    assert_eq!(fake.looks_again_in(), None, "its worker rings");
}

#[test]
fn a_reply_makes_room_for_what_waits() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    (0..3).for_each(|_| drop(fake.submit()));
    assert_eq!(fake.schedule.counts().pending, 1);
    workers[0].run(1_000 * MS);
    fake.turn();
    assert_eq!((fake.n_tasks(0), fake.schedule.counts().pending), (2, 0));
}

#[test]
fn a_worker_that_gets_ready_is_given_what_waits() {
    let mut fake = Fake::new(1);
    (0..2).for_each(|_| drop(fake.submit()));
    assert_eq!(fake.schedule.counts().pending, 1);
    fake.ready(0);
    assert_eq!((fake.n_tasks(0), fake.schedule.counts().pending), (2, 0));
}

#[test]
fn revoked_slots_that_were_passed_are_room_again() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    // Nothing but slots that were taken back, as many as the lane has.
    for _ in 0..N_SLOTS {
        let task = fake.submit();
        let ending = fake.schedule.cancel(&task).expect("nobody has claimed it");
        task.outcome.completion().announce(ending);
    }
    let task = fake.submit();
    fake.turn();
    assert_eq!(fake.schedule.counts().pending, 1, "the lane is full");
    assert_eq!(workers[0].pass(), N_SLOTS as usize);
    fake.turn();
    workers[0].run(MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
}

#[test]
fn a_cancel_makes_room_for_what_waits() {
    let (mut fake, workers) = Fake::with_idle(1);
    let tasks: Vec<_> = (0..3).map(|_| fake.submit()).collect();
    workers[0].begin();
    let ending = fake.schedule.cancel(&tasks[1]).expect("nobody has claimed it");
    tasks[1].outcome.completion().announce(ending);
    fake.turn();
    assert_eq!(fake.schedule.counts().pending, 0);
}

#[test]
fn a_cancel_of_the_last_task_of_a_closed_pool_lets_its_worker_leave() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    fake.schedule.close();
    fake.turn();
    let ending = fake.schedule.cancel(&task).expect("nobody has claimed it");
    task.outcome.completion().announce(ending);
    fake.turn();
    workers[0].pass();
    assert!(workers[0].would_leave());
}

#[test]
fn a_submit_to_a_pool_with_room_needs_no_turn() {
    let (mut fake, workers) = Fake::with_idle(1);
    let rings = fake.rings();
    fake.submit();
    assert_eq!(fake.rings(), rings);
    assert!(workers[0].claim());
}

#[test]
fn a_submit_rings_if_the_collector_sleeps_without_a_deadline() {
    let (mut fake, _workers) = Fake::with_idle(3);
    for (watch, n_rings) in [(Watch::Awake, 0), (Watch::Dozing, 0), (Watch::Asleep, 1)] {
        fake.schedule.env.bell().set_watch(watch);
        let rings = fake.rings();
        fake.submit();
        assert_eq!(fake.rings() - rings, n_rings, "{watch:?}");
    }
}

#[test]
fn what_a_worker_has_not_claimed_is_looked_at_again() {
    let (mut fake, _workers) = Fake::with_idle(1);
    fake.submit();
    for _ in 0..10 {
        assert_eq!(fake.looks_again_in(), Some(SILENT_NS));
        fake.pass_time(SILENT_NS);
    }
}

#[test]
fn what_a_worker_that_starts_has_not_claimed_is_looked_at_less_often() {
    let mut fake = Fake::new(1);
    fake.submit();
    assert_eq!(fake.looks_again_in(), None, "its start, or its failure, will be told");
    fake.started(0);
    assert_eq!(fake.looks_again_in(), Some(PATIENT_NS));
}

#[test]
fn a_worker_that_was_told_to_leave_is_looked_at_again() {
    let (mut fake, _workers) = Fake::with_idle(1);
    fake.schedule.close();
    fake.turn();
    for _ in 0..10 {
        assert_eq!(fake.looks_again_in(), Some(PATIENT_NS));
        fake.pass_time(PATIENT_NS);
    }
}

#[test]
fn short_tasks_on_their_way_are_told_so_that_the_collector_naps() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    fake.submit();
    workers[0].run(10_000);
    fake.turn();
    (0..5).for_each(|_| drop(fake.submit()));
    assert_eq!(fake.turn().n_under_way, 5);
    let (mut fake, mut workers) = Fake::with_idle(1);
    fake.submit();
    workers[0].run(MS);
    fake.turn();
    fake.submit();
    assert_eq!(fake.turn().n_under_way, 0, "its tasks are long");
}
