//! Cancels, timeouts and graces.

use super::super::super::slot::ANNOUNCE_START;
use super::super::silence::SILENT_NS;
use super::*;

const GRACE: Duration = Duration::from_millis(100);

/// Cancels a task that nobody has claimed. False: somebody has, or it is done.
fn cancel(fake: &mut Fake, task: &ProcessTask) -> bool {
    let ending = fake.schedule.cancel(task);
    let is_cancelled = ending.is_some();
    ending.into_iter().for_each(|ending| task.outcome.completion().announce(ending));
    is_cancelled
}

/// What `cancel_even_running` does with a task that runs.
fn stop(fake: &mut Fake, task: &ProcessTask) {
    assert!(task.outcome.completion().cancel_running());
    fake.schedule.stop_running(task, GRACE);
}

#[test]
fn a_task_in_a_lane_that_is_cancelled_never_starts() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    assert!(cancel(&mut fake, &task));
    assert!(!workers[0].claim());
    assert_eq!(workers[0].pass(), 1);
    fake.turn();
    assert_eq!(error_of(&task), TaskError::Cancelled);
    assert_eq!(fake.schedule.counts().replied, 0);
}

#[test]
fn a_task_that_was_claimed_is_not_cancelled() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    assert!(workers[0].claim());
    assert!(!cancel(&mut fake, &task));
    assert!(!is_done(&task));
}

#[test]
fn a_task_that_has_run_is_not_cancelled_before_its_future_is_settled() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].run(MS);
    let mut finished = Vec::new();
    fake.schedule.turn(&mut finished);
    assert!(!cancel(&mut fake, &task));
    finished.into_iter().for_each(Finished::settle);
    assert_eq!(value_of(&task), b"done");
}

#[test]
fn a_running_task_that_is_cancelled_is_interrupted_and_its_worker_lives_on_if_it_leaves_in_time() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].begin();
    stop(&mut fake, &task);
    assert_eq!(workers[0].signals(), [Signal::INT]);
    assert_eq!(workers[0].lane.interrupt_position(), workers[0].position);
    workers[0].reply(b"it was in vain");
    fake.turn_after(100 * MS);
    assert_eq!(workers[0].signals(), [Signal::INT]);
    assert_eq!(error_of(&task), TaskError::Cancelled);
    assert_eq!(fake.schedule.counts().replied, 0);
}

#[test]
fn a_worker_that_does_not_leave_the_task_within_its_grace_is_killed() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].begin();
    stop(&mut fake, &task);
    assert_eq!(fake.looks_again_in(), Some(100 * MS), "nobody would ring");
    fake.turn_after(100 * MS - 1);
    assert_eq!(workers[0].signals(), [Signal::INT]);
    fake.turn_after(1);
    assert_eq!(workers[0].signals(), [Signal::INT, Signal::KILL]);
    fake.is_killed(&workers[0]);
    assert_eq!(error_of(&task), TaskError::Cancelled, "its crash is no news");
    assert_eq!(fake.schedule.counts().crashed, 0);
}

#[test]
fn a_stop_of_a_task_that_has_ended_meanwhile_signals_nobody() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit();
    workers[0].run(MS);
    fake.submit();
    workers[0].begin();
    fake.schedule.stop_running(&task, GRACE);
    assert_eq!(workers[0].signals(), [], "the next task is not meant");
}

#[test]
fn a_worker_that_is_not_known_yet_is_interrupted_when_it_is() {
    let mut fake = Fake::new(1);
    let task = fake.submit();
    let worker = fake.unknown(0);
    worker.lane.set_ready();
    fake.turn();
    worker.begin();
    stop(&mut fake, &task);
    assert_eq!(worker.signals(), []);
    fake.tell_started(&worker);
    assert_eq!(worker.signals(), [Signal::INT]);
}

#[test]
fn a_worker_that_is_not_known_when_its_grace_is_over_is_killed_when_it_is() {
    let mut fake = Fake::new(1);
    let task = fake.submit();
    let worker = fake.unknown(0);
    worker.lane.set_ready();
    fake.turn();
    worker.begin();
    stop(&mut fake, &task);
    fake.turn_after(100 * MS);
    fake.tell_started(&worker);
    assert_eq!(worker.signals(), [Signal::KILL]);
}

#[test]
fn the_time_of_a_task_counts_from_its_claim() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit_with(with_timeout(50));
    fake.turn_after(10 * MS);
    workers[0].begin();
    assert_eq!(fake.looks_again_in(), Some(50 * MS));
    fake.turn_after(50 * MS - 1);
    assert!(!is_done(&task));
    fake.turn_after(1);
    assert_eq!(error_of(&task), TaskError::TimedOut);
    assert_eq!(workers[0].signals(), [Signal::INT]);
    assert_eq!(fake.schedule.counts().timed_out, 1);
    assert!(task.call.lock().unwrap().is_some(), "its body still reads the arguments");
}

#[test]
fn a_task_that_leaves_after_its_timeout_counts_as_that_and_gives_its_arguments_back() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit_with(with_timeout(50));
    workers[0].begin();
    fake.turn_after(50 * MS);
    workers[0].reply(b"late");
    fake.turn();
    let counts = fake.schedule.counts();
    assert_eq!((counts.timed_out, counts.replied, counts.crashed), (1, 0, 0));
    assert!(task.call.lock().unwrap().is_none());
    fake.turn_after(1_000 * MS);
    assert_eq!(workers[0].signals(), [Signal::INT], "who has left is not killed");
}

#[test]
fn a_reply_that_is_there_when_the_time_is_over_counts() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let task = fake.submit_with(with_timeout(50));
    workers[0].run(60 * MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
}

#[test]
fn what_an_idle_worker_does_not_claim_times_out_a_second_later() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit_with(with_timeout(50));
    for _ in 0..10 {
        fake.turn_after(100 * MS);
    }
    assert!(!is_done(&task));
    fake.turn_after(50 * MS);
    assert_eq!(error_of(&task), TaskError::TimedOut);
    assert!(!workers[0].claim(), "it never started");
    assert!(task.call.lock().unwrap().is_none(), "nobody reads its arguments");
    assert_eq!(workers[0].signals(), []);
}

#[test]
fn what_a_worker_known_to_be_stopped_does_not_claim_times_out_in_its_time() {
    let (mut fake, workers) = Fake::with_idle(1);
    let task = fake.submit_with(with_timeout(50));
    workers[0].stop();
    fake.turn();
    fake.turn_after(SILENT_NS);
    fake.turn_after(SILENT_NS);
    assert!(!is_done(&task));
    fake.turn_after(10 * MS);
    assert_eq!(error_of(&task), TaskError::TimedOut);
}

#[test]
fn the_start_of_a_worker_is_not_the_tasks_time() {
    let mut fake = Fake::new(1);
    let task = fake.submit_with(with_timeout(50));
    fake.turn_after(60_000 * MS);
    let mut worker = fake.ready(0);
    fake.turn_after(40 * MS);
    worker.run(MS);
    fake.turn();
    assert_eq!(value_of(&task), b"done");
}

#[test]
fn a_task_behind_another_has_its_time_before_it() {
    let (mut fake, mut workers) = Fake::with_idle(1);
    let running = fake.submit();
    let behind = fake.submit_with(with_timeout(50));
    workers[0].begin();
    fake.turn_after(60_000 * MS);
    assert!(!is_done(&behind));
    workers[0].reply(b"x");
    fake.turn();
    assert_eq!(value_of(&running), b"x");
    fake.turn_after(1_049 * MS);
    assert!(!is_done(&behind), "handed to an idle worker only now");
    fake.turn_after(MS);
    assert_eq!(error_of(&behind), TaskError::TimedOut);
}

#[test]
fn a_worker_is_asked_to_announce_the_start_of_a_task_with_a_timeout_only() {
    let (mut fake, workers) = Fake::with_idle(2);
    fake.submit_with(with_timeout(50));
    fake.submit();
    let flags = |worker: &FakeWorker| {
        worker.begin();
        let mut flags = 0;
        worker.fill(|content| flags = content.flags);
        flags
    };
    assert_eq!([flags(&workers[0]), flags(&workers[1])], [ANNOUNCE_START, 0]);
}
