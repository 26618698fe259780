//! Waiting, with a mutex released meanwhile, until another thread says that something has changed.

use std::panic::Location;
use std::time::Duration;

use manyhands_sys::clock::Deadline;

use super::mutex::{Mutex, MutexGuard};
use crate::blocking::block;
use crate::condition::RawCondition;
use crate::deadlock::{Description, EndedBy, Resource, Site};
use crate::sleep::Waiting;

/// Threads wait on it, with a [`Mutex`] released meanwhile.
///
/// A notification wakes the thread that has waited longest, and no wait ends without one. Several
/// mutexes may be used with one `Condvar`.
///
/// ```
/// use manyhands_sync::{Condvar, Mutex};
///
/// let (plates, clean) = (Mutex::new(0), Condvar::new());
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         *plates.lock() += 1;
///         clean.notify_one();
///     });
///     let mut plates = plates.lock();
///     clean.wait_while(&mut plates, |plates| *plates == 0);
///     assert_eq!(*plates, 1);
/// });
/// ```
pub struct Condvar {
    raw: RawCondition,
    name: Option<&'static str>,
}

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { raw: RawCondition::new(), name: None }
    }

    /// The same with a name for reports.
    pub const fn named(name: &'static str) -> Self {
        Self { raw: RawCondition::new(), name: Some(name) }
    }

    /// Releases the lock, sleeps until notified, and takes the lock again.
    ///
    /// # Panics
    /// With the report, if nobody is left to notify. The lock is taken again also then.
    #[track_caller]
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        let _ = self.wait_until(guard, None, Location::caller());
    }

    /// The same for at most `timeout`; false if it was over first.
    #[track_caller]
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> bool {
        self.wait_until(guard, Some(Deadline::after(timeout)), Location::caller())
    }

    /// Waits for notifications while `condition` holds.
    ///
    /// # Panics
    /// As [`Condvar::wait`].
    #[track_caller]
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(&mut *guard) {
            self.wait(guard);
        }
    }

    /// Wakes the thread that has waited longest.
    #[inline]
    pub fn notify_one(&self) {
        self.raw.notify(1);
    }

    /// Wakes all.
    #[inline]
    pub fn notify_all(&self) {
        self.raw.notify(usize::MAX);
    }

    #[track_caller]
    fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Option<Deadline>,
        here: &'static Location<'static>,
    ) -> bool {
        let mutex = guard.mutex();
        // SAFETY: the guard borrows the mutex. `relock` and `leave` are dropped before it, also in
        // a panic: the node has left then, and the lock was taken again.
        let node = unsafe { self.raw.enter_for(mutex.raw()) };
        mutex.unlock_meanwhile();
        let relock = Relock { mutex, here };
        let mut waiting = Waiting::new(self, Site::Rust(here));
        // Who panics here is not there to be notified.
        let leave = Leave { condvar: self, node: &node };
        block(&mut waiting, deadline, |deadline, waiting| node.wait(deadline, waiting));
        std::mem::forget(leave);
        let was_notified = self.raw.leave(&node);
        // This wait is over before the next one, for the lock, begins.
        drop(waiting);
        drop(relock);
        was_notified
    }
}

/// Takes the lock again, also when the wait panics.
struct Relock<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    here: &'static Location<'static>,
}

impl<T: ?Sized> Drop for Relock<'_, T> {
    fn drop(&mut self) {
        self.mutex.lock_again(self.here);
    }
}

/// Takes the node out when the wait panics, and passes on what came for it meanwhile.
struct Leave<'a> {
    condvar: &'a Condvar,
    node: &'a std::sync::Arc<crate::condition::Node>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.condvar.raw.leave(self.node) {
            self.condvar.notify_one();
        }
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
        Description { kind: "Condvar", name: self.name.map(ToOwned::to_owned), id }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Anyone
    }
}
