//! The table "Deaths" of the README, row by row, and what breaks a pool.

use manyhands_sys::pid::{ExitStatus, SIGKILL};

use super::super::deaths::{MAX_KILLED_STILLBORN, MAX_STILLBORN};
use super::*;

#[test]
fn before_it_is_ready_the_task_goes_to_another() {
    let mut fake = Fake::new(1);
    let task = fake.submit();
    let first = fake.started(0);
    assert_eq!(first.state(), State::Pending);
    fake.is_killed(&first);
    assert!(!is_done(&task));
    assert_eq!(fake.n_launched(), 2, "another is started for it");
    let mut second = fake.ready(1);
    second.run(MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
    assert_eq!(fake.schedule.counts().workers_died, 1);
}

#[test]
fn before_the_claim_the_task_goes_to_another_before_all_that_waits() {
    let (mut fake, workers) = Fake::with_idle(1);
    let tasks: Vec<_> = (0..4).map(|_| fake.submit()).collect();
    assert_eq!((fake.n_tasks(0), fake.schedule.counts().pending), (2, 2));
    fake.is_killed(&workers[0]);
    let mut second = fake.ready(1);
    for task in &tasks {
        second.run(MS);
        fake.turn();
        assert_eq!(value_of(task), b"done", "in the order in which they were submitted");
    }
}

#[test]
fn after_the_claim_and_before_it_has_said_when_the_task_has_crashed() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    assert!(workers[0].claim());
    fake.is_killed(&workers[0]);
    assert!(is_crashed(&task));
    assert_eq!(fake.schedule.counts().crashed, 1);
}

#[test]
fn in_the_task_it_has_crashed_and_those_behind_it_have_not() {
    let (mut fake, workers) = Fake::with_idle(1);
    let (running, behind) = (fake.submit(), fake.submit());
    workers[0].begin();
    workers[0].lane.write_text("last words");
    fake.is_killed(&workers[0]);
    let TaskError::Crashed(report) = error_of(&running) else { panic!("it has crashed") };
    assert_eq!((report.pid, report.signal, report.exit_code), (1_000, Some(SIGKILL), None));
    assert_eq!(report.task.as_deref(), Some("echo"));
    assert_eq!(report.traceback.as_deref(), Some("last words"));
    let mut second = fake.ready(1);
    second.run(MS);
    fake.turn();
    assert_eq!(value_of(&behind), b"done");
}

#[test]
fn while_it_writes_the_replys_block_the_task_has_crashed_and_the_block_is_given_back() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].begin();
    workers[0].block(&[7; 1 << 20]);
    assert_eq!(fake.schedule.env.heap.count_held_by(workers[0].party), 1);
    fake.is_killed(&workers[0]);
    assert!(is_crashed(&task));
    assert_eq!(fake.schedule.env.heap.count_held_by(workers[0].party), 0);
}

#[test]
fn after_the_block_and_before_done_the_task_has_crashed_and_the_block_is_given_back() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].begin();
    let at = workers[0].block(&[7; 1 << 20]);
    workers[0].fill(|content| content.block = at);
    fake.is_killed(&workers[0]);
    assert!(is_crashed(&task));
    assert_eq!(fake.schedule.env.heap.count_held_by(workers[0].party), 0);
}

#[test]
fn after_done_the_burial_harvests_the_reply() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].run(MS);
    fake.is_killed(&workers[0]);
    assert_eq!(value_of(&task), b"done");
    assert_eq!((fake.schedule.counts().replied, fake.schedule.counts().crashed), (1, 0));
}

#[test]
fn after_done_a_long_reply_is_taken_over_before_the_heap_is_swept() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].begin();
    let at = workers[0].block(&[7; 1 << 20]);
    workers[0].reply_with_block(at);
    fake.is_killed(&workers[0]);
    assert_eq!(value_of(&task), vec![7; 1 << 20]);
    assert_eq!(fake.schedule.env.heap.count_held_by(workers[0].party), 0);
}

#[test]
fn passing_a_revoked_slot_concerns_no_task() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let (running, taken_back) = (fake.submit(), fake.submit());
    workers[0].begin();
    let ending = fake.schedule.cancel(&taken_back).expect("nobody has claimed it");
    taken_back.outcome.completion().announce(ending);
    workers[0].reply(b"x");
    assert_eq!(workers[0].state(), State::Revoked);
    fake.is_killed(&workers[0]);
    assert_eq!(value_of(&running), b"x");
    assert_eq!(error_of(&taken_back), TaskError::Cancelled);
    assert_eq!((fake.schedule.counts().crashed, fake.n_launched()), (0, 1));
}

#[test]
fn asleep_it_fails_nothing_and_the_next_task_starts_another() {
    let (mut fake, workers) = Fake::with_idle(1);
    let turn = fake.is_killed(&workers[0]);
    assert_eq!((turn.n_workers, fake.n_launched()), (0, 1));
    fake.submit();
    assert_eq!(fake.n_launched(), 2);
}

#[test]
fn holding_arguments_that_it_kept_they_are_swept_and_the_roots_drop_does_nothing() {
    let (mut fake, workers) = Fake::with_idle(1);
    let heap = Arc::clone(&fake.schedule.env.heap);
    let n_before = heap.count_held_by(heap.me());
    let body = Body::copy_of(&[7; 1 << 20], &heap).expect("room for arguments");
    let Body::Block(block) = &body else { panic!("they are too long for a slot") };
    let at = block.at();
    let task = fake.try_submit(body, TaskOptions::default()).expect("it is open");
    workers[0].begin();
    // SAFETY: the root lends the block to the task, which keeps it.
    let kept = unsafe { heap.take_over(at, heap.me()) }.expect("it is mapped");
    kept.expect("nobody has taken it over").give_to(workers[0].party);
    assert_eq!(heap.count_held_by(workers[0].party), 1);
    fake.is_killed(&workers[0]);
    assert!(is_crashed(&task));
    assert_eq!(heap.count_held_by(workers[0].party), 0);
    assert_eq!(heap.count_held_by(heap.me()), n_before - 1, "less the lane");
}

#[test]
fn one_that_was_told_to_leave_has_not_died() {
    let (mut fake, workers) = Fake::with_idle(1);
    fake.schedule.close();
    fake.turn();
    assert!(workers[0].would_leave());
    let turn = fake.dies(&workers[0], ExitStatus::Exited(0));
    assert!(turn.has_ended);
    assert_eq!(fake.schedule.counts().workers_died, 0);
}

#[test]
fn three_in_a_row_that_end_before_they_are_ready_break_the_pool_with_the_reason() {
    let mut fake = Fake::new(1);
    let task = fake.submit();
    for id in 0..u64::from(MAX_STILLBORN) {
        assert!(!is_done(&task));
        let worker = fake.started(id);
        worker.lane.write_text("no such module");
        fake.dies(&worker, ExitStatus::Exited(3));
    }
    let why = "3 workers in a row ended before they were ready; \
               the last one exited with code 3\nno such module";
    assert_eq!(error_of(&task), TaskError::PoolBroken(why.to_owned()));
    assert_eq!(fake.schedule.broken(), Some(why));
    let refused = fake.try_submit(Body::empty(), TaskOptions::default());
    assert_eq!(refused.err(), Some(SubmitError::Broken(why.to_owned())));
    assert_eq!(fake.n_launched(), 3, "no more are started");
}

#[test]
fn one_that_gets_ready_in_between_begins_the_count_anew() {
    let mut fake = Fake::new(1);
    for id in 0..6 {
        fake.submit();
        let is_third = id % 3 == 2;
        let worker = if is_third { fake.ready(id) } else { fake.started(id) };
        fake.dies(&worker, ExitStatus::Exited(3));
    }
    assert_eq!(fake.schedule.broken(), None);
}

#[test]
fn one_that_dies_ready_and_unseen_is_not_counted() {
    let mut fake = Fake::new(1);
    fake.submit();
    for id in 0..5 {
        let worker = fake.started(id);
        // No turn between this and its death.
        worker.lane.set_ready();
        fake.dies(&worker, ExitStatus::Exited(3));
    }
    assert_eq!(fake.schedule.broken(), None);
}

#[test]
fn workers_that_somebody_kills_break_the_pool_only_if_nothing_else_happens() {
    let mut fake = Fake::new(1);
    let task = fake.submit();
    for id in 0..u64::from(MAX_KILLED_STILLBORN) {
        assert!(!is_done(&task));
        let worker = fake.started(id);
        fake.is_killed(&worker);
    }
    assert!(matches!(error_of(&task), TaskError::PoolBroken(_)));
}

#[test]
fn one_that_cannot_be_prepared_breaks_the_pool_with_its_words() {
    let (mut fake, mut workers) = Fake::with_idle(2);
    let running = fake.submit();
    workers[0].begin();
    let waiting = fake.submit();
    workers[1].fail("the initializer raised");
    fake.dies(&workers[1], ExitStatus::Exited(1));
    assert_eq!(error_of(&waiting), TaskError::PoolBroken("the initializer raised".to_owned()));
    assert!(!is_done(&running), "what runs is let run");
    workers[0].reply(b"x");
    fake.turn();
    assert_eq!(value_of(&running), b"x");
    assert!(workers[0].would_leave());
}

#[test]
fn a_launch_that_fails_is_counted_and_its_task_goes_to_another() {
    let mut fake = Fake::new(1);
    let task = fake.submit();
    let mut finished = Vec::new();
    fake.schedule.on_failed(0, "no template", false, &mut finished);
    assert!(finished.is_empty() && !is_done(&task));
    assert_eq!(fake.schedule.n_stillborn, 1);
    fake.turn();
    assert_eq!(fake.n_launched(), 2);
}

#[test]
fn launches_that_one_template_did_not_answer_count_as_one() {
    let mut fake = Fake::new(5);
    fake.schedule.start_missing();
    let mut finished = Vec::new();
    for id in 0..5 {
        fake.schedule.on_failed(id, "the template was lost", true, &mut finished);
    }
    assert_eq!(fake.schedule.n_stillborn, 1);
    // Asked of a new template, which is lost too.
    fake.schedule.start_missing();
    for id in 5..10 {
        fake.schedule.on_failed(id, "the template was lost", true, &mut finished);
    }
    assert_eq!(fake.schedule.n_stillborn, 2);
}

#[test]
fn a_launch_that_cannot_even_be_asked_for_breaks_the_pool_and_leaves_nothing() {
    let mut fake = Fake::new(1);
    fake.schedule.env.refusal.set(Some("no descriptors"));
    let n_parties = fake.schedule.env.heap.parties().count();
    let rings = fake.rings();
    let task = fake.submit();
    assert_ne!(fake.rings(), rings, "the submitter cannot fail the task: the collector has to");
    let turn = fake.turn();
    let why = "a worker process could not be started: no descriptors";
    assert_eq!(error_of(&task), TaskError::PoolBroken(why.to_owned()));
    assert!(turn.has_ended);
    assert_eq!(fake.schedule.env.heap.parties().count(), n_parties);
}

#[test]
fn a_death_of_one_that_is_not_known_changes_nothing() {
    let (mut fake, workers) = Fake::with_idle(1);
    fake.is_killed(&workers[0]);
    fake.is_killed(&workers[0]);
    fake.tell_started(&workers[0]);
    assert_eq!(fake.schedule.counts().workers_died, 1);
}
