//! Waiting for what processes share, without the GIL: until it is there, the deadline, a signal, a
//! cancel, or the insight that it would last for ever.
//!
//! As `sync/blocking.rs`, for waits that other processes end.

use manyhands_shm::FamilyOf;
use manyhands_sync::deadlock::{self, Mode};
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::cycle::FamilyDeadlock;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waiting::{Found, Waiting};
use manyhands_sync::shared::waits::Notice;
use manyhands_sync::sleep::Wait;
use manyhands_sys::clock::Deadline;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::call::call;
use crate::contract;
use crate::shared::containers::closing;
use crate::shared::locks::local_lock;
use crate::sync::site;
use crate::{async_exception, errors, stopping};

/// A lock that is waited for.
pub struct Awaited<'a> {
    /// Who is alive.
    pub family: &'a FamilyOf,
    /// The lock.
    pub state: &'a SharedLock,
    /// As reports name it.
    pub in_words: &'a dyn Fn() -> String,
}

/// Calls `step` without the GIL until it is done (true) or timed out (false).
///
/// # Errors
/// What a signal handler raised, or the exception this thread is being stopped with.
#[cold]
pub fn block(
    py: Python<'_>,
    family: &FamilyOf,
    deadline: Option<Deadline>,
    step: impl FnMut(&mut Waiting<'_>) -> Wait,
) -> PyResult<bool> {
    block_for(py, family, None, deadline, step)
}

/// The same for a lock.
///
/// # Errors
/// Also DeadlockError.
#[cold]
pub fn block_for_lock(
    py: Python<'_>,
    lock: &Awaited<'_>,
    deadline: Option<Deadline>,
    step: impl FnMut(&mut Waiting<'_>) -> Wait,
) -> PyResult<bool> {
    block_for(py, lock.family, Some(lock), deadline, step)
}

fn block_for(
    py: Python<'_>,
    family: &FamilyOf,
    lock: Option<&Awaited<'_>>,
    deadline: Option<Deadline>,
    mut step: impl FnMut(&mut Waiting<'_>) -> Wait,
) -> PyResult<bool> {
    let is_worker = stopping::is_worker();
    let is_sliced = is_worker || manyhands_sys::thread_id::is_main();
    let mut waiting = Waiting::new(family, deadline, is_sliced);
    if deadline.is_some_and(Deadline::is_now) {
        return Ok(step(&mut waiting) == Wait::Done);
    }
    loop {
        let mut detached = OfThisThread((&mut waiting, &mut step));
        let wait = py.detach(move || {
            let OfThisThread((waiting, step)) = &mut detached;
            step(waiting)
        });
        match wait {
            Wait::Done => return Ok(true),
            Wait::TimedOut => return Ok(false),
            Wait::Interrupted => look_up(py, is_worker)?,
            Wait::Stuck => {
                let Some(lock) = lock else { continue };
                match waiting.take_found() {
                    Some(Found::LongWait) => waiting.enter(lock.state, &notice(py, lock)),
                    Some(Found::Deadlock(found)) => tell(py, &mut waiting, &found)?,
                    None => {}
                }
            }
        }
    }
}

/// Something that stays in the thread that made it although a detached closure holds it.
struct OfThisThread<T>(T);

// SAFETY: `Python::detach` runs its closure in the calling thread.
unsafe impl<T> Send for OfThisThread<T> {}

/// Runs what wants to run in this thread: signal handlers, an exception it is being stopped with.
fn look_up(py: Python<'_>, is_worker: bool) -> PyResult<()> {
    py.check_signals()?;
    if is_worker {
        stopping::check_stopped(py)?;
    }
    async_exception::receive(py)
}

fn tell(py: Python<'_>, waiting: &mut Waiting<'_>, found: &FamilyDeadlock) -> PyResult<()> {
    if found.is_sure && deadlock::mode() == Mode::Raise {
        return Err(errors::error_of(errors::deadlock_error(py), found.to_string()));
    }
    let print = contract::PRINT_REPORT.get(py)?;
    call(print, &(found.to_string(),).into_pyobject(py)?, None)?;
    if found.is_sure {
        waiting.be_silent();
    }
    Ok(())
}

/// What reports are to say of the calling thread's wait for `lock`.
fn notice(py: Python<'_>, lock: &Awaited<'_>) -> Notice {
    let names = || -> PyResult<(String, String)> {
        let names = contract::PROCESS_AND_THREAD_NAMES.get(py)?;
        call(names, &PyTuple::empty(py), None)?.extract()
    };
    // A report without names is better than none.
    let (process, thread) = names().ok().unzip();
    let me = Owner::current(lock.family);
    let mut holds = local_lock::held_here(me);
    holds.extend(closing::closed_here(lock.family, me));
    Notice {
        process,
        thread,
        waits_for: (lock.in_words)(),
        waits_at: site::here(py).to_string(),
        holds,
    }
}
