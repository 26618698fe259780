//! Programs started for one child each, where descriptors run out.

mod support;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use manyhands_process::{Event, Launcher};
use manyhands_sys::socket::MAX_FDS;
use support::{Log, guard, program};

const MARK: &str = "MANYHANDS_TEST_PROGRAM";

#[test]
fn program_entry() {
    if std::env::var_os(MARK).is_some() {
        manyhands_sys::thread::exit_now(7);
    }
}

/// Sets the limit, and takes all numbers below it but `room`.
fn leave_room(room: usize) -> Vec<File> {
    let limit = libc::rlimit { rlim_cur: 256, rlim_max: 256 };
    // SAFETY: the pointer is to a live struct.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let mut fillers: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    fillers.truncate(fillers.len() - room);
    fillers
}

#[test]
fn no_event_follows_a_launch_that_is_an_error() {
    let _guard = guard(60);
    let program = program("program_entry", MARK);
    let mut n_failed = 0;
    for room in 0..10 {
        let log = Log::new();
        let fillers = leave_room(room);
        let launched = program.launch(1, b"", &[], Arc::clone(&log) as _);
        if launched.is_err() {
            n_failed += 1;
            assert!(log.try_next().is_none(), "an event after an error, with room for {room}");
        } else {
            assert!(matches!(log.next(), Event::Started { id: 1, .. }), "the start is told first");
            assert!(matches!(log.next(), Event::Exited { id: 1, .. }));
        }
        drop(fillers);
    }
    assert!(n_failed > 2 && n_failed < 10, "{n_failed}");
}

#[test]
fn more_descriptors_than_a_message_carries_are_an_error() {
    let _guard = guard(60);
    let log = Log::new();
    let null = File::open("/dev/null").expect("a descriptor");
    let fds: Vec<BorrowedFd<'_>> = vec![null.as_fd(); MAX_FDS + 1];
    let launched = program("program_entry", MARK).launch(1, b"", &fds, Arc::clone(&log) as _);
    let error = launched.expect_err("too many");
    assert!(error.to_string().contains("send fewer"), "{error}");
    assert!(log.try_next().is_none(), "no event follows");
}
