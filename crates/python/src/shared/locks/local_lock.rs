//! A shared lock as this process has it: where it lies, and where it was acquired here last.
//!
//! Handles are listed, so that a thread whose wait lasts long can tell which locks it holds.

use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};

use manyhands_shm::locks::RLOCK;
use manyhands_shm::{FamilyOf, Kind, Object};
use manyhands_sync::lock::Hold;
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waiting::Waiting;
use manyhands_sync::shared::waits::Family;
use manyhands_sync::sleep::Wait;
use manyhands_sys::clock::Deadline;
use manyhands_sys::per_process::PerProcess;
use manyhands_sys::thread_id;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;
use crate::shared::locks::owner_died;
use crate::shared::locks::waiting::{Awaited, block_for_lock};
use crate::sync::site::Acquired;

/// A handle on a shared lock.
pub struct LocalLock {
    object: Object,
    family: FamilyOf,
    /// In the object.
    state: NonNull<SharedLock>,
    acquired: Acquired,
}

// SAFETY: the state is made of atomics and lives as long as the object.
unsafe impl Send for LocalLock {}
// SAFETY: as above.
unsafe impl Sync for LocalLock {}

/// What happens to the lock if the caller gets `OwnerDied` as an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Or {
    /// The caller has it, and releases it.
    Keep,
    /// The caller does not get it.
    Release,
}

static LISTED: PerProcess<Mutex<Vec<Weak<LocalLock>>>> = PerProcess::new();

impl LocalLock {
    /// A new lock of this kind, or, by its handle, one that exists.
    ///
    /// # Errors
    /// HandleError, MemoryError, or what is wrong with `owner_died`.
    pub fn make(
        py: Python<'_>,
        kind: &'static Kind,
        owner_died: Option<&str>,
        name: Option<&str>,
        handle: Option<&[u8]>,
    ) -> PyResult<Arc<Self>> {
        let policy = owner_died::policy_of(owner_died)?;
        if let Some(handle) = handle {
            return crate::shared::open(py, handle, kind).map(Self::new);
        }
        // SAFETY: zeros are a free lock.
        let object = unsafe { crate::shared::create(kind, size_of::<SharedLock>() as u64) }?;
        let local = Self::new(object);
        local.state().set_up(ptr::eq(kind, &RLOCK), policy, name);
        Ok(local)
    }

    fn new(object: Object) -> Arc<Self> {
        let state = object.payload().cast();
        let family = FamilyOf(Arc::clone(object.heap()));
        let lock = Arc::new(Self { object, family, state, acquired: Acquired::new() });
        with_list(|list| {
            if list.len() == list.capacity() {
                list.retain(|lock| lock.strong_count() > 0);
            }
            list.push(Arc::downgrade(&lock));
        });
        lock
    }

    /// The object that is counted, and travels.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The lock itself.
    #[inline]
    pub fn state(&self) -> &SharedLock {
        // SAFETY: as long as the object lives, and of its kind.
        unsafe { self.state.as_ref() }
    }

    /// The calling thread.
    #[inline]
    pub fn me(&self) -> Owner {
        Owner { party: self.family.0.me().number(), thread: thread_id::me() }
    }

    /// Takes the lock for a block that begins if this succeeds.
    #[inline]
    pub fn enter(&self, py: Python<'_>) -> PyResult<bool> {
        self.lock(py, Hold::Scoped, Or::Release, || Ok(None))
    }

    /// Takes the lock, if need be waiting until the deadline. With `OwnerDied` the caller has it.
    #[inline]
    pub fn acquire(
        &self,
        py: Python<'_>,
        deadline: impl FnOnce() -> PyResult<Option<Deadline>>,
    ) -> PyResult<bool> {
        self.lock(py, Hold::Open, Or::Keep, deadline)
    }

    #[inline]
    fn lock(
        &self,
        py: Python<'_>,
        hold: Hold,
        or: Or,
        deadline: impl FnOnce() -> PyResult<Option<Deadline>>,
    ) -> PyResult<bool> {
        let (me, state) = (self.me(), self.state());
        let is_taken =
            state.try_lock(me, hold) || state.try_lock_again(me).map_err(crate::sync::overflow)?;
        if !is_taken && !self.lock_slow(py, me, hold, deadline()?)? {
            return Ok(false);
        }
        if self.state().depth_of(me) <= 1 {
            self.acquired.note(py);
        }
        match self.state().take_note() {
            None => Ok(true),
            Some(dead) => self.tell_of(py, dead, or).map(|()| true),
        }
    }

    #[cold]
    fn lock_slow(
        &self,
        py: Python<'_>,
        me: Owner,
        hold: Hold,
        deadline: Option<Deadline>,
    ) -> PyResult<bool> {
        let step = |waiting: &mut Waiting<'_>| self.state().lock_slow(me, hold, waiting);
        self.block(py, deadline, step)
    }

    /// Calls `step`, which waits for the lock, until it is done (true) or timed out (false).
    ///
    /// # Errors
    /// As [`block_for_lock`].
    #[cold]
    pub fn block(
        &self,
        py: Python<'_>,
        deadline: Option<Deadline>,
        step: impl FnMut(&mut Waiting<'_>) -> Wait,
    ) -> PyResult<bool> {
        let in_words = || self.in_words();
        let lock = Awaited { family: &self.family, state: self.state(), in_words: &in_words };
        block_for_lock(py, &lock, deadline, step)
    }

    /// Takes the lock back as it was, also if that takes a while and somebody wants to stop it.
    ///
    /// # Errors
    /// What was raised meanwhile: the caller has the lock then, except after DeadlockError.
    pub fn lock_again(&self, py: Python<'_>, hold: Hold, depth: u32) -> PyResult<()> {
        let mut interrupted = Ok(());
        loop {
            let end = self.lock_after_sleep(py, hold);
            if self.state().is_of(self.me()) {
                self.state().set_depth(depth);
                return interrupted.and(end);
            }
            let is_deadlock = |error: &PyErr| {
                errors::deadlock_error(py).is_ok_and(|class| error.is_instance(py, class))
            };
            if end.as_ref().is_err_and(is_deadlock) {
                return end;
            }
            interrupted = end;
        }
    }

    fn lock_after_sleep(&self, py: Python<'_>, hold: Hold) -> PyResult<()> {
        let me = self.me();
        if !self.state().try_lock_after_sleep(me, hold) {
            let step = |waiting: &mut Waiting<'_>| self.state().lock_after_sleep(me, hold, waiting);
            self.block(py, None, step)?;
        }
        self.acquired.note(py);
        self.state().take_note().map_or(Ok(()), |dead| self.tell_of(py, dead, Or::Keep))
    }

    /// Tells the caller, who has the lock, that an owner died with it.
    #[cold]
    fn tell_of(&self, py: Python<'_>, dead: Owner, or: Or) -> PyResult<()> {
        let pid = self.family.pid_of(dead.party);
        let policy = self.state().policy.load(std::sync::atomic::Ordering::Relaxed);
        let told = owner_died::tell(py, policy, pid, &self.in_words());
        if told.is_err() && or == Or::Release {
            // The block does not begin, so nobody would give the lock back. Who has it next is
            // told.
            self.state().leave_note(dead);
            let me = self.me();
            if self.state().is_reentrant() {
                let _ = self.state().unlock_mine(me);
            } else {
                let _ = self.state().unlock(me);
            }
        }
        told
    }

    /// As reports name it.
    pub fn in_words(&self) -> String {
        let kind = if self.state().is_reentrant() { "RLock" } else { "Lock" };
        match self.state().name() {
            Some(name) => format!("shared {kind} {name:?}"),
            None => format!("shared {kind} {:#x}", self.object.offset()),
        }
    }

    pub fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        crate::sync::statistics(py, self.state().counters.read())
    }
}

/// The shared locks that `me` holds: where they lie, what they are, where they were acquired.
pub fn held_here(me: Owner) -> Vec<(u64, String, String)> {
    let mut listed: Vec<Arc<LocalLock>> = Vec::new();
    with_list(|list| listed.extend(list.iter().filter_map(Weak::upgrade)));
    let held = listed.iter().filter(|lock| lock.state().is_of(me));
    let in_words = |lock: &Arc<LocalLock>| {
        let at = lock.family.offset_of(lock.state());
        (at, lock.in_words(), lock.acquired.site().to_string())
    };
    held.map(in_words).collect()
}

/// In a forked child. Another thread of the parent may have been at the list, and is not here to
/// finish: then the child begins one of its own, and its copies of older handles are not listed.
pub fn forget_after_fork() {
    if matches!(LISTED.get().try_lock(), Err(TryLockError::WouldBlock)) {
        LISTED.forget();
    }
}

/// Nothing in `change` may wait for anything or drop a handle.
fn with_list(change: impl FnOnce(&mut Vec<Weak<LocalLock>>)) {
    change(&mut LISTED.get().lock().unwrap_or_else(PoisonError::into_inner));
}
