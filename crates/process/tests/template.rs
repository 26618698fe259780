//! Templates and their children, and what the root learns of both when they are killed or stopped.

mod support;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use manyhands_process::{Event, TemplateUse};
use manyhands_sys::pid::{ExitStatus, PidFd, Signal};
use manyhands_sys::socket::MessageSocket;
use support::{LOST_AFTER, Log, guard, launch, template, try_launch};

#[test]
fn template_entry() {
    support::serve_if_template();
}

#[test]
fn the_root_learns_how_each_child_ended() {
    let _guard = guard(60);
    let (template, log) = (template("ends"), Log::new());
    for code in [0, 1, 7, 255] {
        launch(&template, code.into(), &[b'x', code], &log);
        assert_eq!(log.started().0, code.into());
        assert_eq!(log.exited(), (code.into(), ExitStatus::Exited(code.into())));
    }
    for signal in [libc::SIGKILL, libc::SIGABRT, libc::SIGSEGV, libc::SIGTERM] {
        let id = 1_000 + signal as u64;
        launch(&template, id, &[b'k', signal as u8], &log);
        assert_eq!(log.started().0, id);
        assert_eq!(log.exited(), (id, ExitStatus::Signaled(signal)));
    }
    assert!(log.try_next().is_none(), "nothing is told twice");
}

#[test]
fn many_children_at_once_are_told_apart() {
    let _guard = guard(60);
    let (template, log) = (template("many"), Log::new());
    let n_children = 60u8;
    (0..n_children).for_each(|id| launch(&template, id.into(), &[b'x', id], &log));
    let (mut started, mut exited) = (Vec::new(), Vec::new());
    while exited.len() < n_children.into() {
        match log.next() {
            Event::Started { id, .. } => started.push(id),
            Event::Exited { id, status } => {
                assert!(started.contains(&id), "a child ends after it has started");
                assert_eq!(status, ExitStatus::Exited(id as i32));
                exited.push(id);
            }
            Event::Failed { why, .. } => panic!("{why}"),
        }
    }
    exited.sort_unstable();
    assert!(exited.iter().copied().eq(0..n_children.into()), "each once");
}

#[test]
fn children_outlive_a_killed_template_and_their_end_is_told_once() {
    let _guard = guard(60);
    let (first, log) = (template("killed"), Log::new());
    launch(&first, 1, b"stay", &log);
    launch(&first, 2, b"stay", &log);
    let (mut one, mut two) = (log.started(), log.started());
    if one.0 != 1 {
        std::mem::swap(&mut one, &mut two);
    }
    first.process().signal(Signal::KILL).expect("a template can be killed");
    first.process().wait_until_exited();
    // The next user gets another, as soon as the death has been noticed.
    let patience = Instant::now() + LOST_AFTER;
    while first.is_suitable().unwrap() {
        assert!(Instant::now() < patience, "the death of a template is not noticed");
        std::thread::yield_now();
    }
    let second = template("killed");
    launch(&second, 3, &[b'x', 3], &log);
    assert_eq!(log.started().0, 3);
    assert_eq!(log.exited(), (3, ExitStatus::Exited(3)));
    assert!(!one.1.has_exited() && !two.1.has_exited(), "children do not need their template");
    for (id, process) in [one, two] {
        process.signal(Signal::KILL).expect("a child can be killed");
        // The system tells how as long as nobody has reaped the orphan.
        let (ended, status) = log.exited();
        assert!(ended == id && [ExitStatus::Unknown, ExitStatus::Signaled(9)].contains(&status));
    }
    assert!(log.try_next().is_none(), "nothing is told twice");
    assert!(try_launch(&first, 4, b"stay", &[], &log).is_err(), "the dead take no launches");
}

#[test]
fn a_stopped_template_holds_up_neither_the_news_of_deaths_nor_its_own_end() {
    let _guard = guard(60);
    let (template, log) = (template("stopped"), Log::new());
    launch(&template, 1, b"stay", &log);
    let (_, child) = log.started();
    template.process().signal(Signal::STOP).expect("a template can be stopped");
    child.signal(Signal::KILL).expect("a child can be killed");
    // It was perhaps just awake enough to tell the reason.
    let (id, status) = log.exited();
    assert!(id == 1 && [ExitStatus::Unknown, ExitStatus::Signaled(9)].contains(&status));
    let process = template.process().try_clone().expect("a descriptor");
    template.give_up();
    process.wait_until_exited();
    assert!(TemplateUse::find(b"stopped").unwrap().is_none());
}

#[test]
fn an_unused_template_lingers_and_leaves() {
    let _guard = guard(60);
    let first = template("lingers");
    // A slow machine may look only after the linger: then the next one is looked for again. That
    // it is never found in time is a template that does not linger.
    let patience = Instant::now() + LOST_AFTER;
    drop(first);
    let again = loop {
        if let Some(again) = TemplateUse::find(b"lingers").unwrap() {
            break again;
        }
        assert!(Instant::now() < patience, "an unused template does not linger");
        drop(template("lingers"));
    };
    let process = again.process().try_clone().expect("a descriptor");
    drop(again);
    process.wait_until_exited();
    while TemplateUse::find(b"lingers").unwrap().is_some() {
        std::thread::yield_now();
    }
    let next = template("lingers");
    let log = Log::new();
    launch(&next, 1, &[b'x', 0], &log);
    assert_eq!(log.started().0, 1);
}

#[test]
fn no_child_runs_whose_launch_was_given_up() {
    let _guard = guard(120);
    let (mut n_failed, mut n_rounds) = (0, 0);
    // Until a template has died before it had launched all it was asked for.
    while n_rounds < 120 || n_failed == 0 {
        let round = n_rounds % 120;
        n_rounds += 1;
        let (template, log) = (template("ghosts"), Log::new());
        // Each child holds the other end of a socket: at its end no process holds it.
        let ends: Vec<_> = (0..4)
            .map(|id| {
                let (ours, theirs) = MessageSocket::pair().expect("a socket pair");
                try_launch(&template, id, b"stay", &[theirs.as_fd()], &log).expect("a launch");
                ours
            })
            .collect();
        if round % 3 == 0 {
            std::thread::sleep(Duration::from_micros(round * 40));
        } else {
            drop(log.started());
        }
        template.process().signal(Signal::KILL).expect("a template can be killed");
        template.process().wait_until_exited();
        let mut n_open = if round % 3 == 0 { ends.len() } else { ends.len() - 1 };
        let mut children = Vec::new();
        while n_open > 0 {
            match log.next() {
                Event::Started { id, process, .. } => children.push((id, process)),
                Event::Failed { id, .. } => {
                    n_failed += 1;
                    let end = ends[id as usize].receive().expect("a socket");
                    assert!(end.is_none(), "nobody has the other end of a failed launch");
                }
                Event::Exited { id, status } => panic!("{id} was told to stay: {status}"),
            }
            n_open -= 1;
        }
        end_all(&children);
        // The next round must not get this one, should its death not be noticed yet.
        template.give_up();
    }
    println!("{n_failed} launches were given up");
}

fn end_all(children: &[(u64, PidFd)]) {
    for (_, process) in children {
        process.signal(Signal::KILL).expect("a child can be killed");
        process.wait_until_exited();
    }
}
