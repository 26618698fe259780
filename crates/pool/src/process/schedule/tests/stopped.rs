//! The table "Stopped, not dead" of the README, row by row.

use super::super::silence::{MAX_STOPPED_LOOKS, PATIENT_NS, SILENT_NS};
use super::*;

#[test]
fn in_a_task_it_is_never_set_aside_and_the_task_just_takes_longer() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].begin();
    workers[0].stop();
    fake.look_five_times(PATIENT_NS);
    assert_eq!((fake.n_launched(), fake.n_tasks(0)), (1, 1));
    workers[0].go_on();
    workers[0].reply(b"late");
    fake.turn();
    assert_eq!(value_of(&task), b"late");
}

#[test]
fn in_a_task_a_timeout_reaches_it() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit_with(with_timeout(50));
    workers[0].begin();
    workers[0].stop();
    fake.turn_after(50 * MS);
    assert_eq!(error_of(&task), TaskError::TimedOut);
    assert_eq!(workers[0].signals(), [Signal::INT]);
    fake.turn_after(100 * MS);
    assert_eq!(workers[0].signals(), [Signal::INT, Signal::KILL]);
}

#[test]
fn what_it_has_not_claimed_for_20_ms_moves_to_an_idle_worker() {
    let (mut fake, mut workers) = Fake::with_idle(2);
    let task = fake.submit();
    workers[0].stop();
    fake.turn_after(SILENT_NS);
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (1, 0), "it may be about to claim it");
    fake.turn_after(1);
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1)), (0, 1));
    workers[1].run(MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
    workers[0].go_on();
    assert!(!workers[0].claim(), "what was taken back does not run twice");
}

#[test]
fn idle_with_nobody_else_idle_it_is_set_aside_after_five_looks_and_replaced() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].stop();
    fake.turn();
    for _ in 1..MAX_STOPPED_LOOKS {
        fake.turn_after(SILENT_NS);
        assert_eq!(fake.n_launched(), 1, "once is not enough");
    }
    fake.turn_after(SILENT_NS);
    assert_eq!((fake.n_launched(), fake.n_tasks(0), fake.n_tasks(1)), (2, 0, 1));
    let mut second = fake.ready(1);
    second.run(MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
}

#[test]
fn one_that_starts_is_set_aside_after_half_a_second() {
    let mut fake = Fake::new(1);
    fake.submit();
    fake.started(0).stop();
    fake.turn();
    for _ in 0..24 {
        fake.turn_after(SILENT_NS);
        assert_eq!(fake.n_launched(), 1);
    }
    fake.turn_after(SILENT_NS);
    assert_eq!(fake.n_launched(), 2);
}

#[test]
fn one_that_starts_and_is_not_known_is_not_asked_about() {
    let mut fake = Fake::new(1);
    fake.submit();
    fake.unknown(0).stop();
    fake.look_five_times(PATIENT_NS);
    assert_eq!((fake.n_launched(), fake.n_tasks(0)), (1, 1));
}

#[test]
fn one_that_only_gets_no_processor_is_never_set_aside() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    for _ in 0..20 {
        fake.turn_after(SILENT_NS);
    }
    assert_eq!((fake.n_launched(), fake.n_tasks(0)), (1, 1));
    workers[0].run(MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
}

#[test]
fn one_look_that_finds_it_running_begins_the_count_anew() {
    let (mut fake, workers) = Fake::with_idle(1);
    fake.submit();
    workers[0].stop();
    fake.turn();
    for _ in 1..MAX_STOPPED_LOOKS {
        fake.turn_after(SILENT_NS);
    }
    workers[0].go_on();
    fake.turn_after(SILENT_NS);
    workers[0].stop();
    for _ in 1..MAX_STOPPED_LOOKS {
        fake.turn_after(SILENT_NS);
    }
    assert_eq!(fake.n_launched(), 1);
    fake.turn_after(SILENT_NS);
    assert_eq!(fake.n_launched(), 2);
}

#[test]
fn one_that_was_found_stopped_once_gets_no_more_tasks_and_when_it_runs_it_does() {
    let (mut fake, workers) = Fake::with_idle(1);
    fake.submit();
    workers[0].stop();
    fake.turn();
    fake.turn_after(SILENT_NS);
    let second = fake.submit();
    assert_eq!((fake.n_tasks(0), fake.schedule.counts().pending), (1, 1));
    workers[0].go_on();
    fake.turn_after(SILENT_NS);
    assert_eq!((fake.n_tasks(0), fake.schedule.counts().pending), (2, 0));
    assert!(!is_done(&second));
}

#[test]
fn continued_it_leaves_if_another_is_in_its_place() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    fake.submit();
    workers[0].stop();
    fake.look_five_times(SILENT_NS);
    assert_eq!(fake.n_launched(), 2);
    workers[0].go_on();
    assert_eq!(workers[0].pass(), 1);
    fake.turn();
    assert!(workers[0].would_leave());
    fake.dies(&workers[0], ExitStatus::Exited(0));
    assert_eq!(fake.schedule.counts().workers_died, 0, "it was told to leave");
}

#[test]
fn continued_it_is_used_again_if_nobody_is_in_its_place() {
    let (mut fake, mut workers) = Fake::with_idle(2);
    fake.submit();
    workers[0].stop();
    fake.look_five_times(SILENT_NS);
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1), fake.n_launched()), (0, 1, 2));
    workers[0].go_on();
    workers[0].pass();
    fake.turn();
    fake.submit();
    assert_eq!((fake.n_tasks(0), fake.n_tasks(1), fake.n_launched()), (1, 1, 2));
}

#[test]
fn set_aside_it_gets_no_tasks_although_it_is_not_stopped_any_more_until_it_has_passed_its_slots() {
    let (mut fake, workers) = Fake::with_idle(1);
    fake.submit();
    workers[0].stop();
    fake.look_five_times(SILENT_NS);
    workers[0].go_on();
    for _ in 0..4 {
        fake.turn_after(PATIENT_NS);
        fake.submit();
    }
    assert_eq!((fake.n_tasks(0), fake.n_launched()), (0, 2));
}

#[test]
fn there_are_never_more_set_aside_and_replaced_than_the_pool_has_workers() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].stop();
    fake.look_five_times(SILENT_NS);
    let mut second = fake.ready(1);
    second.stop();
    fake.look_five_times(SILENT_NS);
    assert_eq!(fake.n_launched(), 2, "whoever stops one after the other");
    assert_eq!(fake.schedule.counts().pending, 1);
    second.go_on();
    second.pass();
    fake.turn();
    second.run(MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
}

#[test]
fn idle_and_told_to_leave_it_is_killed_after_half_a_second() {
    let (mut fake, workers) = Fake::with_idle(1);
    workers[0].stop();
    fake.schedule.close();
    fake.turn();
    assert_eq!(fake.looks_again_in(), Some(PATIENT_NS), "nobody would ring");
    for _ in 1..MAX_STOPPED_LOOKS {
        fake.turn_after(PATIENT_NS);
        assert_eq!(workers[0].signals(), []);
    }
    fake.turn_after(PATIENT_NS);
    assert_eq!(workers[0].signals(), [Signal::KILL]);
}

#[test]
fn told_to_leave_and_only_slow_it_is_not_killed() {
    let (mut fake, workers) = Fake::with_idle(1);
    fake.schedule.close();
    fake.turn();
    for _ in 0..20 {
        fake.turn_after(PATIENT_NS);
    }
    assert_eq!(workers[0].signals(), []);
}

#[test]
fn between_the_claim_and_saying_when_the_time_of_the_first_look_counts() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit_with(with_timeout(50));
    assert!(workers[0].claim());
    workers[0].stop();
    assert!(fake.looks_again_in().is_some_and(|ns| ns < MS));
    fake.turn_after(50 * MS - 1);
    assert!(!is_done(&task));
    fake.turn_after(1);
    assert_eq!(error_of(&task), TaskError::TimedOut);
}

#[test]
fn between_done_and_the_ring_the_next_turn_takes_the_reply() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    let rings = fake.rings();
    workers[0].run(MS);
    workers[0].stop();
    assert_eq!(fake.rings(), rings);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
}
