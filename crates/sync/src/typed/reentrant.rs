//! A value that one thread at a time can reach, as often as it wants.

use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::Location;
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;

use super::place::Place;
use crate::blocking::block;
use crate::deadlock::{Description, EndedBy, Resource, Site};
use crate::rlock::RawRLock;
use crate::sleep::Waiting;
use crate::statistics::Statistics;

/// A value that one thread at a time can reach, as often as it wants. Several guards of one thread
/// may exist, so they give out shared references: put a `Cell` or a `RefCell` inside to change it.
///
/// ```
/// use std::cell::Cell;
///
/// let salt = manyhands_sync::ReentrantMutex::new(Cell::new(1));
/// let outer = salt.lock();
/// salt.lock().set(2);
/// assert_eq!(outer.get(), 2);
/// ```
pub struct ReentrantMutex<T: ?Sized> {
    raw: RawRLock<Private>,
    /// Where the holder took it last.
    acquired_at: Place,
    name: Option<&'static str>,
    value: T,
}

/// The right to the value; undoes one acquisition when dropped.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct ReentrantMutexGuard<'a, T: ?Sized> {
    mutex: &'a ReentrantMutex<T>,
    /// Who takes a lock gives it back.
    not_send: PhantomData<*const ()>,
}

// SAFETY: only the owner reaches the value, one thread at a time, so it need not be `Sync`.
unsafe impl<T: ?Sized + Send> Sync for ReentrantMutex<T> {}
// SAFETY: a shared guard gives out shared references only.
unsafe impl<T: ?Sized + Sync> Sync for ReentrantMutexGuard<'_, T> {}

impl<T> ReentrantMutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { raw: RawRLock::new(), acquired_at: Place::unknown(), name: None, value }
    }

    /// The same with a name for reports.
    pub const fn named(name: &'static str, value: T) -> Self {
        Self { raw: RawRLock::new(), acquired_at: Place::unknown(), name: Some(name), value }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: ?Sized> ReentrantMutex<T> {
    /// Takes the lock, once more if this thread has it.
    ///
    /// # Panics
    /// With the report, if the wait could never end; or if this thread has the lock so often (2³² -
    /// 1 times) that one more cannot be counted.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> ReentrantMutexGuard<'_, T> {
        let here = Location::caller();
        if !self.take() {
            self.wait(here, None);
        }
        self.guard(here)
    }

    /// Takes the lock if it is free or this thread's.
    ///
    /// # Panics
    /// If this thread has it as often as can be counted.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<ReentrantMutexGuard<'_, T>> {
        let here = Location::caller();
        self.take().then(|| self.guard(here))
    }

    /// Takes the lock unless that takes longer than `timeout`.
    ///
    /// # Panics
    /// As [`ReentrantMutex::try_lock`].
    #[track_caller]
    pub fn lock_for(&self, timeout: Duration) -> Option<ReentrantMutexGuard<'_, T>> {
        let here = Location::caller();
        let taken = self.take() || self.wait(here, Some(Deadline::after(timeout)));
        taken.then(|| self.guard(here))
    }

    /// How much it was used.
    pub fn statistics(&self) -> Statistics {
        self.raw.lock.counters.read()
    }

    #[inline]
    #[track_caller]
    fn take(&self) -> bool {
        match self.raw.try_lock() {
            Ok(is_taken) => is_taken,
            Err(overflow) => overflow.panic(),
        }
    }

    #[inline]
    fn guard(&self, here: &'static Location<'static>) -> ReentrantMutexGuard<'_, T> {
        self.acquired_at.set(here);
        ReentrantMutexGuard { mutex: self, not_send: PhantomData }
    }

    #[cold]
    #[track_caller]
    fn wait(&self, here: &'static Location<'static>, deadline: Option<Deadline>) -> bool {
        let held = Held { raw: &self.raw, acquired_at: &self.acquired_at, name: self.name };
        let mut waiting = Waiting::new(&held, Site::Rust(here));
        block(&mut waiting, deadline, |deadline, waiting| self.raw.lock_slow(deadline, waiting))
    }
}

/// What a waiter tells of a mutex, whatever lies in it.
struct Held<'a> {
    raw: &'a RawRLock<Private>,
    acquired_at: &'a Place,
    name: Option<&'static str>,
}

impl Resource for Held<'_> {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self.raw) as usize;
        Description { kind: "ReentrantMutex", name: self.name.map(ToOwned::to_owned), id }
    }

    fn ended_by(&self) -> EndedBy {
        match self.raw.lock.owner() {
            0 => EndedBy::Nobody,
            thread => EndedBy::Owner {
                thread,
                certainty: self.raw.lock.certainty(),
                acquired_at: self.acquired_at.site(),
            },
        }
    }
}

impl<T: ?Sized> Deref for ReentrantMutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.mutex.value
    }
}

impl<T: ?Sized> Drop for ReentrantMutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let _ = self.mutex.raw.unlock();
    }
}
