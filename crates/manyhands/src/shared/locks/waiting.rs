//! How a Rust program waits for what processes share: as `sync/src/blocking.rs`, for waits that
//! other processes end.
//!
//! A wait for a mutex that is part of a deadlock panics in one thread of one process, or prints the
//! report, as [`deadlock::mode`] says. In a destructor during a panic it prints the report instead
//! of panicking once more, which would abort the process.

use std::panic::Location;
use std::thread;

use manyhands_shm::FamilyOf;
use manyhands_sync::deadlock::{self, Mode, Site};
use manyhands_sync::shared::cycle::FamilyDeadlock;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waiting::{Found, Waiting};
use manyhands_sync::shared::waits::{Family, Notice};
use manyhands_sync::sleep::Wait;
use manyhands_sys::clock::Deadline;

use super::held;
use super::located::Located;

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

/// The same for the lock of a mutex, wanted at `here`.
///
/// # Panics
/// With the report, if the wait could never end and the mode is to raise.
#[cold]
#[track_caller]
pub(super) fn block_for_lock(
    lock: &Located<SharedLock>,
    here: &'static Location<'static>,
    deadline: Option<Deadline>,
    mut step: impl FnMut(&mut Waiting<'_>) -> Wait,
) -> bool {
    let mut waiting = Waiting::new(lock.family(), deadline, false);
    loop {
        match step(&mut waiting) {
            Wait::Done => return true,
            Wait::TimedOut => return false,
            Wait::Interrupted => {}
            Wait::Stuck => match waiting.take_found() {
                Some(Found::LongWait) => waiting.enter(lock.state(), &notice(lock, here)),
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

/// What reports are to say of the calling thread's wait for `lock`.
fn notice(lock: &Located<SharedLock>, here: &'static Location<'static>) -> Notice {
    let (family, state) = (lock.family(), lock.state());
    Notice {
        process: crate::worker::task_name().map(ToOwned::to_owned),
        thread: thread::current().name().map(ToOwned::to_owned),
        waits_for: held::name_of(state, family.offset_of(state)),
        waits_at: Site::Rust(here).to_string(),
        holds: held::list(family, lock.me()),
    }
}
