//! Waiting, with a shared mutex released meanwhile, until somebody says that something has changed.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use bytemuck::Pod;
use manyhands_shm::object::Shape;
use manyhands_sync::shared::condition::{MAX_WAITERS, WaiterRow};
use manyhands_sys::clock::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::located::Located;
use super::mutex::SharedMutexGuard;
use super::owner_died::OwnerDied;
use super::waiting::block;
use crate::ShareError;
use crate::shared::travel;

/// Threads of any processes wait on it, with a [`SharedMutex`](crate::SharedMutex) released
/// meanwhile.
///
/// A notification wakes the thread that has waited longest, of those whose processes live; no wait
/// ends without one. Clones are the same one, also in another process. Unlike
/// [`sync::Condvar`](crate::sync::Condvar) it takes the guard and gives another one back, as the
/// standard one: a process may have died with the mutex meanwhile.
///
/// ```
/// use manyhands::{Process, SharedCondvar, SharedMutex};
///
/// #[manyhands::task]
/// fn wash_up(plates: SharedMutex<u32>, clean: SharedCondvar) {
///     *plates.lock().expect("nobody died with it") += 1;
///     clean.notify_one();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let (plates, clean) = (SharedMutex::new(0)?, SharedCondvar::new()?);
/// let process = Process::spawn(wash_up::task, (plates.clone(), clean.clone()))?;
/// let guard = plates.lock().expect("nobody died with it");
/// let guard = clean.wait_while(guard, |plates| *plates == 0).expect("nobody died with it");
/// assert_eq!(*guard, 1);
/// drop(guard);
/// process.join()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedCondvar {
    at: Located<WaiterRow>,
}

type Guard<'a, T> = SharedMutexGuard<'a, T>;

impl SharedCondvar {
    /// Nobody waits.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn new() -> Result<Self, ShareError> {
        Ok(Self { at: Located::create(Shape::NONE, size_of::<WaiterRow>() as u64)? })
    }

    /// Releases the mutex, sleeps until notified, and takes the mutex again.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard, if a process died with the mutex meanwhile.
    ///
    /// # Panics
    /// As [`SharedMutex::lock`](crate::SharedMutex::lock), when it takes the mutex again; if 2,040
    /// threads wait already.
    #[track_caller]
    pub fn wait<'a, T: Pod>(
        &self,
        guard: Guard<'a, T>,
    ) -> Result<Guard<'a, T>, OwnerDied<Guard<'a, T>>> {
        self.wait_until(guard, None, Location::caller()).map(|(guard, _)| guard)
    }

    /// The same for at most `timeout`; false if it was over first.
    ///
    /// # Errors
    /// As [`SharedCondvar::wait`].
    ///
    /// # Panics
    /// As [`SharedCondvar::wait`].
    #[track_caller]
    pub fn wait_for<'a, T: Pod>(
        &self,
        guard: Guard<'a, T>,
        timeout: Duration,
    ) -> Result<(Guard<'a, T>, bool), OwnerDied<Guard<'a, T>>> {
        self.wait_until(guard, Some(Deadline::after(timeout)), Location::caller())
    }

    /// Waits for notifications while `condition` holds.
    ///
    /// # Errors
    /// As [`SharedCondvar::wait`]; `condition` may hold then.
    ///
    /// # Panics
    /// As [`SharedCondvar::wait`].
    #[track_caller]
    pub fn wait_while<'a, T: Pod>(
        &self,
        mut guard: Guard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<Guard<'a, T>, OwnerDied<Guard<'a, T>>> {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Wakes the thread that has waited longest.
    pub fn notify_one(&self) {
        self.at.state().notify(1, self.at.family(), None);
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.at.state().notify(usize::MAX, self.at.family(), None);
    }

    #[track_caller]
    fn wait_until<'a, T: Pod>(
        &self,
        guard: Guard<'a, T>,
        deadline: Option<Deadline>,
        here: &'static Location<'static>,
    ) -> Result<(Guard<'a, T>, bool), OwnerDied<Guard<'a, T>>> {
        // Under the mutex: whoever changes something after this has somebody to notify.
        let Ok(waiter) = self.at.state().enter(self.at.family()) else {
            panic!("{MAX_WAITERS} threads wait for this SharedCondvar: no more can");
        };
        let mutex = guard.unlock();
        block(self.at.family(), deadline, |waiting| waiter.wait(waiting));
        let was_notified = waiter.leave();
        mutex.lock_again(here).map(|guard| (guard, was_notified))
    }
}

impl Serialize for SharedCondvar {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.at.travel(), serializer)
    }
}

impl<'de> Deserialize<'de> for SharedCondvar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Located::open).map(|at| Self { at })
    }
}

impl fmt::Debug for SharedCondvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCondvar")
            .field("n_waiting", &self.at.state().n_waiting())
            .finish_non_exhaustive()
    }
}
