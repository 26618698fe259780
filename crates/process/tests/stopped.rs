//! A template that somebody has stopped: nobody waits for it for ever, and nothing happens twice.

mod support;

use manyhands_process::Event;
use manyhands_sys::pid::{ExitStatus, SIGKILL, Signal};
use support::{Log, guard, launch, template, try_launch};

#[test]
fn template_entry() {
    support::serve_if_template();
}

fn unanswered(event: &Event) -> Option<u64> {
    match event {
        Event::Failed { id, unanswered: true, .. } => Some(*id),
        _ => None,
    }
}

#[test]
fn what_a_stopped_template_does_not_answer_another_one_does() {
    let _guard = guard(60);
    let (stopped, log) = (template("replaced"), Log::new());
    stopped.process().signal(Signal::STOP).expect("it lives");
    launch(&stopped, 1, b"stay", &log);
    launch(&stopped, 2, b"stay", &log);
    let mut failed = [log.next(), log.next()].map(|event| unanswered(&event));
    failed.sort_unstable();
    assert_eq!(failed, [Some(1), Some(2)]);
    assert!(!stopped.is_suitable().expect("a look"));
    stopped.process().wait_until_exited();
    launch(&template("replaced"), 1, &[b'x', 7], &log);
    assert_eq!(log.started().0, 1);
    assert_eq!(log.exited(), (1, ExitStatus::Exited(7)));
    assert!(log.try_next().is_none(), "the first launch comes to nothing more");
}

#[test]
fn the_children_of_a_stopped_template_live_on() {
    let _guard = guard(60);
    let (stopped, log) = (template("lives on"), Log::new());
    launch(&stopped, 1, b"stay", &log);
    let (_, child) = log.started();
    stopped.process().signal(Signal::STOP).expect("it lives");
    launch(&stopped, 2, b"stay", &log);
    assert_eq!(unanswered(&log.next()), Some(2));
    assert!(!child.has_exited());
    child.signal(Signal::KILL).expect("it lives");
    let (id, status) = log.exited();
    assert_eq!(id, 1);
    // Nobody may be left who could tell.
    assert!([ExitStatus::Signaled(SIGKILL), ExitStatus::Unknown].contains(&status), "{status}");
}

#[test]
fn how_a_child_of_a_stopped_template_ended_is_told_without_it() {
    let _guard = guard(60);
    let (stopped, log) = (template("silent"), Log::new());
    launch(&stopped, 1, b"stay", &log);
    let (_, child) = log.started();
    stopped.process().signal(Signal::STOP).expect("it lives");
    while !stopped.process().is_stopped() {
        std::thread::yield_now();
    }
    child.signal(Signal::KILL).expect("it lives");
    assert_eq!(log.exited(), (1, ExitStatus::Signaled(SIGKILL)));
}

#[test]
fn a_template_that_goes_on_answers_what_has_waited() {
    let _guard = guard(60);
    let (stopped, log) = (template("goes on"), Log::new());
    stopped.process().signal(Signal::STOP).expect("it lives");
    launch(&stopped, 1, &[b'x', 0], &log);
    stopped.process().signal(Signal::CONT).expect("it lives");
    assert_eq!(log.started().0, 1);
    assert_eq!(log.exited().0, 1);
    assert!(stopped.is_suitable().expect("a look"));
}

#[test]
fn more_than_a_stopped_template_has_room_for_does_not_wait_for_ever() {
    let _guard = guard(60);
    let (stopped, log) = (template("full"), Log::new());
    stopped.process().signal(Signal::STOP).expect("it lives");
    let mut n_taken = 0;
    for id in 0..2000 {
        // A long note: whoever asks next sleeps in the socket until the template is given up.
        if try_launch(&stopped, id, &[b's'; 2000], &[], &log).is_err() {
            break;
        }
        n_taken += 1;
    }
    assert!(n_taken < 2000, "the socket never was full: the test tests nothing");
    for _ in 0..n_taken {
        assert!(unanswered(&log.next()).is_some());
    }
    assert!(log.try_next().is_none());
}
