//! A value that many threads read or one writes.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;
use manyhands_sys::thread_id;

use super::place::Place;
use crate::blocking::block;
use crate::deadlock::{Certainty, Description, EndedBy, Resource, Site};
use crate::rwlock::{Access, RawRwLock};
use crate::sleep::Waiting;
use crate::statistics::Statistics;

/// A value that many threads read or one writes.
///
/// A writer that waits comes before readers that arrive later. So a thread must not read again
/// while it reads: with a writer in between it would wait for itself.
///
/// ```
/// let prices = manyhands_sync::RwLock::new(vec![3, 4]);
/// prices.write().push(5);
/// let (one, other) = (prices.read(), prices.read());
/// assert_eq!(one.len(), other.len());
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock<Private>,
    /// Where the writer took it.
    written_at: Place,
    name: Option<&'static str>,
    value: UnsafeCell<T>,
}

/// The right to read; given back when dropped.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Who takes a lock gives it back.
    not_send: PhantomData<*const ()>,
}

/// The right to write; given back when dropped.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Who takes a lock gives it back.
    not_send: PhantomData<*const ()>,
}

// SAFETY: the lock gives the value to one thread at a time, or to several for reading.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: as above; readers of several threads share the value, so it must be `Sync`.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY: a shared guard gives out shared references only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self::with_name(None, value)
    }

    /// The same with a name for reports.
    pub const fn named(name: &'static str, value: T) -> Self {
        Self::with_name(Some(name), value)
    }

    const fn with_name(name: Option<&'static str>, value: T) -> Self {
        let raw = RawRwLock::new();
        Self { raw, written_at: Place::unknown(), name, value: UnsafeCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes, then reads.
    ///
    /// # Panics
    /// With the report, if the wait could never end; or if so many read (2³² - 2) that one more
    /// cannot be counted.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.acquire(Access::Read, None);
        self.read_guard()
    }

    /// Waits until nobody else is inside, then writes.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.acquire(Access::Write, None);
        self.write_guard(Location::caller())
    }

    /// Reads if that is possible at once.
    ///
    /// # Panics
    /// If so many read that one more cannot be counted.
    #[inline]
    #[track_caller]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.take(Access::Read).then(|| self.read_guard())
    }

    /// Writes if that is possible at once.
    #[inline]
    #[track_caller]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let here = Location::caller();
        self.take(Access::Write).then(|| self.write_guard(here))
    }

    /// Reads unless the wait for it takes longer than `timeout`.
    ///
    /// # Panics
    /// As [`RwLock::try_read`].
    #[track_caller]
    pub fn read_for(&self, timeout: Duration) -> Option<RwLockReadGuard<'_, T>> {
        let deadline = Some(Deadline::after(timeout));
        self.acquire(Access::Read, deadline).then(|| self.read_guard())
    }

    /// Writes unless the wait for it takes longer than `timeout`.
    #[track_caller]
    pub fn write_for(&self, timeout: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        let here = Location::caller();
        let deadline = Some(Deadline::after(timeout));
        self.acquire(Access::Write, deadline).then(|| self.write_guard(here))
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
    #[track_caller]
    fn acquire(&self, access: Access, deadline: Option<Deadline>) -> bool {
        self.take(access) || self.wait(access, deadline)
    }

    #[inline]
    #[track_caller]
    fn take(&self, access: Access) -> bool {
        match self.raw.try_acquire(access) {
            Ok(is_taken) => is_taken,
            Err(overflow) => overflow.panic(),
        }
    }

    #[cold]
    #[track_caller]
    fn wait(&self, access: Access, deadline: Option<Deadline>) -> bool {
        let held = Held { raw: &self.raw, written_at: &self.written_at, name: self.name };
        let mut waiting = Waiting::new(&held, Site::Rust(Location::caller()));
        if self.raw.writer() == thread_id::me() {
            waiting.look_now();
        }
        block(&mut waiting, deadline, |deadline, waiting| {
            self.raw.acquire_slow(access, deadline, waiting)
        })
    }

    const fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard { lock: self, not_send: PhantomData }
    }

    #[inline]
    fn write_guard(&self, here: &'static Location<'static>) -> RwLockWriteGuard<'_, T> {
        self.written_at.set(here);
        RwLockWriteGuard { lock: self, not_send: PhantomData }
    }
}

/// What a waiter tells of a lock, whatever lies in it.
struct Held<'a> {
    raw: &'a RawRwLock<Private>,
    written_at: &'a Place,
    name: Option<&'static str>,
}

impl Resource for Held<'_> {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self.raw) as usize;
        Description { kind: "RwLock", name: self.name.map(ToOwned::to_owned), id }
    }

    fn ended_by(&self) -> EndedBy {
        match self.raw.writer() {
            // Nobody knows who the readers are.
            0 if self.raw.n_readers() > 0 => EndedBy::Anyone,
            0 => EndedBy::Nobody,
            thread => EndedBy::Owner {
                thread,
                certainty: Certainty::Sure,
                acquired_at: self.written_at.site(),
            },
        }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: while the guard exists nobody writes.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: while the guard exists nobody else is inside.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: while the guard exists nobody else is inside, and it is borrowed alone.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let _ = self.lock.raw.release(Access::Read);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let _ = self.lock.raw.release(Access::Write);
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(value) => f.debug_struct("RwLock").field("value", &&*value).finish(),
            None => f.write_str("RwLock { <locked> }"),
        }
    }
}
