//! A value that one thread at a time can reach.
//!
//! An uncontended lock and unlock are one compare-and-swap and one swap. The name and the place
//! where the holder took it are for reports of deadlocks.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;

use super::place::Place;
use crate::blocking::{block, block_without_panic};
use crate::deadlock::{Description, EndedBy, Resource, Site};
use crate::lock::{Hold, RawLock};
use crate::sleep::Waiting;
use crate::spin;
use crate::statistics::Statistics;

/// A value that one thread at a time can reach.
///
/// Unlike `std::sync::Mutex` it is not poisoned by a panic, and a wait that could never end panics
/// with a report instead.
///
/// ```
/// let salt = manyhands_sync::Mutex::new(1);
/// *salt.lock() += 1;
/// assert_eq!(*salt.lock(), 2);
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawLock<Private>,
    /// Where the holder took it.
    acquired_at: Place,
    name: Option<&'static str>,
    value: UnsafeCell<T>,
}

/// The right to the value; gives the lock back when dropped.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// Who takes a lock gives it back.
    not_send: std::marker::PhantomData<*const ()>,
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
    ///
    /// ```
    /// static SALT: manyhands_sync::Mutex<u32> = manyhands_sync::Mutex::named("salt", 1);
    /// assert_eq!(*SALT.lock(), 1);
    /// ```
    pub const fn named(name: &'static str, value: T) -> Self {
        Self::with_name(Some(name), value)
    }

    const fn with_name(name: Option<&'static str>, value: T) -> Self {
        Self {
            raw: RawLock::new(),
            acquired_at: Place::unknown(),
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
            self.wait(here, None);
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
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let salt = manyhands_sync::Mutex::new(1);
    /// let guard = salt.lock();
    /// assert!(salt.lock_for(Duration::from_millis(1)).is_none());
    /// # drop(guard);
    /// ```
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
        self.acquired_at.set(here);
        MutexGuard { mutex: self, not_send: std::marker::PhantomData }
    }

    #[cold]
    #[track_caller]
    fn wait(&self, here: &'static Location<'static>, deadline: Option<Deadline>) -> bool {
        if self.lock_soon() {
            return true;
        }
        let held = self.held();
        let mut waiting = Waiting::new(&held, Site::Rust(here));
        if self.raw.is_mine() {
            waiting.look_now();
        }
        block(&mut waiting, deadline, |deadline, waiting| {
            self.raw.lock_slow(Hold::Scoped, deadline, waiting)
        })
    }

    /// For a condition: gives the lock back although a guard exists. Nothing may reach the value
    /// before [`Mutex::lock_again`].
    pub(super) fn unlock_meanwhile(&self) {
        let _ = self.raw.unlock();
    }

    /// Takes the lock again, whatever it takes: a guard without its lock must not exist, so this
    /// does not panic.
    pub(super) fn lock_again(&self, here: &'static Location<'static>) {
        let held = self.held();
        let mut waiting = Waiting::new(&held, Site::Rust(here));
        block_without_panic(&mut waiting, |waiting| {
            self.raw.lock_after_sleep(Hold::Scoped, waiting)
        });
        self.acquired_at.set(here);
    }

    /// The state of the lock, for a condition.
    pub(super) const fn raw(&self) -> &RawLock<Private> {
        &self.raw
    }

    fn lock_soon(&self) -> bool {
        let attempt = || !self.raw.is_locked() && self.raw.try_lock(Hold::Scoped);
        spin::soon(spin::FOR_A_HOLDER, || attempt().then_some(())).is_some()
    }

    fn held(&self) -> Held<'_> {
        Held { raw: &self.raw, acquired_at: &self.acquired_at, name: self.name }
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex that it guards.
    pub(super) const fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

/// What a waiter tells of a mutex, whatever lies in it.
struct Held<'a> {
    raw: &'a RawLock<Private>,
    acquired_at: &'a Place,
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
        EndedBy::Owner {
            thread,
            certainty: self.raw.certainty(),
            acquired_at: self.acquired_at.site(),
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
