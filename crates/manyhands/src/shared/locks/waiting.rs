//! How a Rust program waits for what processes share: as `sync/src/blocking.rs`, for waits that
//! other processes end.
//!
//! A wait for a lock that is part of a deadlock panics in one thread of one process, or prints the
//! report, as [`deadlock::mode`] says. In a destructor during a panic it prints the report instead
//! of panicking once more, which would abort the process.

use std::panic::Location;
use std::thread;

use manyhands_shm::FamilyOf;
use manyhands_sync::deadlock::{self, Mode, Site};
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::cycle::FamilyDeadlock;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waiting::{Found, Waiting};
use manyhands_sync::shared::waits::{Family, Notice};
use manyhands_sync::sleep::Wait;
use manyhands_sys::clock::Deadline;

use super::held;
use super::located::Located;

/// A lock that is waited for: of a [`SharedMutex`](crate::SharedMutex) or something else.
pub(in crate::shared) struct Awaited<'a> {
    /// Who is alive.
    pub(in crate::shared) family: &'a FamilyOf,
    /// The lock.
    pub(in crate::shared) state: &'a SharedLock,
    /// What it belongs to, for reports.
    pub(in crate::shared) kind: &'static str,
}

/// Calls `step` until it is done (true) or timed out (false).
#[cold]
pub(super) fn block(
    family: &FamilyOf,
    deadline: Option<Deadline>,
    mut step: impl FnMut(&mut Waiting<'_>) -> Wait,
) -> bool {
    let mut waiting = Waiting::new(family, deadline, false);
    loop {
        match step(&mut waiting) {
            Wait::Done => return true,
            Wait::TimedOut => return false,
            // A signal handler ran; or, for a lock alone, somebody looked around.
            Wait::Interrupted | Wait::Stuck => {}
        }
    }
}

/// The same for a lock, wanted at `here`.
///
/// # Panics
/// With the report, if the wait could never end and the mode is to raise.
#[cold]
#[track_caller]
pub(in crate::shared) fn block_for_lock<'a>(
    lock: impl Into<Awaited<'a>>,
    here: &'static Location<'static>,
    deadline: Option<Deadline>,
    mut step: impl FnMut(&mut Waiting<'_>) -> Wait,
) -> bool {
    let lock = lock.into();
    let mut waiting = Waiting::new(lock.family, deadline, false);
    if lock.state.is_of(waiting.me()) {
        // Nobody else will give it back.
        waiting.look_now();
    }
    loop {
        match step(&mut waiting) {
            Wait::Done => return true,
            Wait::TimedOut => return false,
            Wait::Interrupted => {}
            Wait::Stuck => match waiting.take_found() {
                Some(Found::LongWait) => waiting.enter(lock.state, &notice(&lock, here)),
                Some(Found::Deadlock(found)) => tell(&mut waiting, &found),
                None => {}
            },
        }
    }
}

#[track_caller]
fn tell(waiting: &mut Waiting<'_>, found: &FamilyDeadlock) {
    let is_to_panic = found.is_sure && deadlock::mode() == Mode::Raise && !thread::panicking();
    assert!(!is_to_panic, "{found}");
    eprintln!("{found}");
    if found.is_sure {
        waiting.be_silent();
    }
}

impl<'a> From<&'a Located<SharedLock>> for Awaited<'a> {
    fn from(mutex: &'a Located<SharedLock>) -> Self {
        Self { family: mutex.family(), state: mutex.state(), kind: held::MUTEX }
    }
}

/// What reports are to say of the calling thread's wait for `lock`.
fn notice(lock: &Awaited<'_>, here: &'static Location<'static>) -> Notice {
    let Awaited { family, state, kind } = *lock;
    let me = Owner::current(family);
    Notice {
        process: crate::worker::task_name().map(ToOwned::to_owned),
        thread: thread::current().name().map(ToOwned::to_owned),
        waits_for: held::in_words(kind, state.name(), family.offset_of(state)),
        waits_at: Site::Rust(here).to_string(),
        holds: held::list(family, me),
    }
}
