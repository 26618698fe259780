//! Typed locks for Rust programs.
//!
//! A wait that is part of a deadlock panics with the report, in one of the threads (mode
//! [`Raise`](crate::deadlock::Mode::Raise), the default), or prints it (`Report`).

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;

use crate::condition::RawCondition;
use crate::deadlock::{self, Description, EndedBy, Mode, Resource, Site};
use crate::lock::{Hold, RawLock};
use crate::sleep::{Wait, Waiting};
use crate::statistics::Statistics;

/// A value that one thread at a time can reach.
///
/// ```
/// let salt = manyhands_sync::Mutex::new(1);
/// *salt.lock() += 1;
/// assert_eq!(*salt.lock(), 2);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawLock<Private>,
    /// Where the holder took it.
    acquired_at: AtomicPtr<Location<'static>>,
    name: Option<&'static str>,
    value: UnsafeCell<T>,
}

/// The right to the value; gives the lock back when dropped.
#[must_use]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// Who takes a lock gives it back.
    not_send: std::marker::PhantomData<*const ()>,
}

/// Threads wait on it, with a [`Mutex`] released meanwhile.
pub struct Condvar {
    raw: RawCondition,
}

// SAFETY: the lock lets one thread at a time reach the value, wherever it came from.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: a shared guard gives out shared references only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self::with_name(None, value)
    }

    /// The same with a name for reports.
    pub const fn named(name: &'static str, value: T) -> Self {
        Self::with_name(Some(name), value)
    }

    const fn with_name(name: Option<&'static str>, value: T) -> Self {
        Self {
            raw: RawLock::new(),
            acquired_at: AtomicPtr::new(std::ptr::null_mut()),
            name,
            value: UnsafeCell::new(value),
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let here = Location::caller();
        if !self.raw.try_lock(Hold::Scoped) {
            let _ = self.wait(here, None);
        }
        self.guard(here)
    }

    /// Takes the lock if it is free.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let here = Location::caller();
        self.raw.try_lock(Hold::Scoped).then(|| self.guard(here))
    }

    /// Takes the lock unless that takes longer than `timeout`.
    #[track_caller]
    pub fn lock_for(&self, timeout: Duration) -> Option<MutexGuard<'_, T>> {
        let here = Location::caller();
        let deadline = Some(Deadline::after(timeout));
        let taken = self.raw.try_lock(Hold::Scoped) || self.wait(here, deadline);
        taken.then(|| self.guard(here))
    }

    /// The value, which nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// How much it was used.
    pub fn statistics(&self) -> Statistics {
        self.raw.counters.read()
    }

    #[inline]
    fn guard(&self, here: &'static Location<'static>) -> MutexGuard<'_, T> {
        self.acquired_at.store(std::ptr::from_ref(here).cast_mut(), Ordering::Relaxed);
        MutexGuard { mutex: self, not_send: std::marker::PhantomData }
    }

    #[cold]
    fn wait(&self, here: &'static Location<'static>, deadline: Option<Deadline>) -> bool {
        let resource = Held { raw: &self.raw, acquired_at: &self.acquired_at, name: self.name };
        let mut waiting = Waiting::new(&resource, Site::Rust(here));
        if self.raw.is_mine() {
            waiting.look_now();
        }
        until_done(&mut waiting, |waiting| self.raw.lock_slow(Hold::Scoped, deadline, waiting))
    }
}

/// What a waiter tells of a mutex, whatever lies in it.
struct Held<'a> {
    raw: &'a RawLock<Private>,
    acquired_at: &'a AtomicPtr<Location<'static>>,
    name: Option<&'static str>,
}

impl Resource for Held<'_> {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self.raw) as usize;
        Description { kind: "Mutex", name: self.name.map(ToOwned::to_owned), id }
    }

    fn ended_by(&self) -> EndedBy {
        let thread = self.raw.owner();
        if thread == 0 {
            return EndedBy::Nobody;
        }
        let at = NonNull::new(self.acquired_at.load(Ordering::Relaxed));
        // SAFETY: only `&'static Location`s are stored.
        let acquired_at = at.map_or(Site::Unknown, |at| Site::Rust(unsafe { at.as_ref() }));
        EndedBy::Owner { thread, surety: self.raw.surety(), acquired_at }
    }
}

/// Calls `step` until it is done (true) or timed out (false).
///
/// # Panics
/// With the report, if the wait could never end and the mode asks for it.
pub fn until_done(
    waiting: &mut Waiting<'_>,
    mut step: impl FnMut(&mut Waiting<'_>) -> Wait,
) -> bool {
    loop {
        match step(waiting) {
            Wait::Done => return true,
            Wait::TimedOut => return false,
            Wait::Interrupted => {}
            Wait::Stuck => {
                let Some(deadlock) = waiting.explain() else { continue };
                match deadlock::mode() {
                    Mode::Raise => panic!("{deadlock}"),
                    Mode::Report => eprintln!("{deadlock}"),
                    Mode::Off => {}
                }
                waiting.be_silent();
            }
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard has the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard has the lock, and is borrowed alone.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let _ = self.mutex.raw.unlock();
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => f.debug_struct("Mutex").field("value", &&*value).finish(),
            None => f.write_str("Mutex { <locked> }"),
        }
    }
}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { raw: RawCondition::new() }
    }

    /// Releases the lock, sleeps until notified, and takes the lock again.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[track_caller]
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        let _ = self.wait_until(guard, None, Location::caller());
    }

    /// The same for at most `timeout`; false if it was over first.
    #[track_caller]
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> bool {
        self.wait_until(guard, Some(Deadline::after(timeout)), Location::caller())
    }

    /// Wakes the thread that has waited longest.
    pub fn notify_one(&self) {
        self.raw.notify(1);
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.raw.notify(usize::MAX);
    }

    fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Option<Deadline>,
        here: &'static Location<'static>,
    ) -> bool {
        /// Takes the lock again, also when the wait panics.
        struct Relock<'a, 'b, T: ?Sized>(&'a MutexGuard<'b, T>, &'static Location<'static>);
        impl<T: ?Sized> Drop for Relock<'_, '_, T> {
            fn drop(&mut self) {
                let mutex = self.0.mutex;
                if !mutex.raw.try_lock(Hold::Scoped) {
                    let _ = mutex.wait(self.1, None);
                }
                let here = std::ptr::from_ref(self.1).cast_mut();
                mutex.acquired_at.store(here, Ordering::Relaxed);
            }
        }
        let node: Arc<_> = self.raw.enter();
        let _ = guard.mutex.raw.unlock();
        let relock = Relock(guard, here);
        let mut waiting = Waiting::new(self, Site::Rust(here));
        until_done(&mut waiting, |waiting| node.wait(deadline, waiting));
        drop(relock);
        self.raw.leave(&node)
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl Resource for Condvar {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Condvar", name: None, id }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Anyone
    }
}
