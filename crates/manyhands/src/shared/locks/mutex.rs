//! Plain data in shared memory that one thread of one process at a time can reach.
//!
//! The object is the lock, and the data 128 bytes behind its start. The data is [`Pod`]:
//! any bytes are a value, so what a process left that died in the middle of a write is one too; it
//! has no padding, so who takes it for another type of the same size and alignment reads bytes and
//! nothing else. A type of another size or alignment is refused.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Duration;

use bytemuck::Pod;
use manyhands_shm::locks::MUTEX;
use manyhands_shm::object::{Shape, Sort};
use manyhands_shm::{Handle, OpenError};
use manyhands_sync::lock::Hold;
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waiting::Waiting;
use manyhands_sync::shared::waits::Family;
use manyhands_sync::statistics::Statistics;
use manyhands_sys::clock::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::held;
use super::located::Located;
use super::owner_died::OwnerDied;
use super::waiting::block_for_lock;
use crate::ShareError;
use crate::shared::travel;

/// Plain data that all processes of the family see, and one thread of one of them at a time.
///
/// Clones are the same mutex, in this process or, sent to it, in another one. `T` is what
/// `bytemuck` calls plain old data: numbers, arrays of them, and structs of them that derive
/// [`Pod`]. There are no pointers in it, which would mean nothing elsewhere.
///
/// When a process dies while it has the mutex, the next one to lock it gets [`OwnerDied`] with the
/// guard: what the dead one was changing may be half-changed. A panic is no death: it gives the
/// mutex back and poisons nothing, as at [`sync::Mutex`](crate::sync::Mutex).
///
/// ```
/// use manyhands::{OwnerDied, Process, SharedMutex};
///
/// #[manyhands::task]
/// fn move_ten(accounts: SharedMutex<[i64; 2]>) {
///     let mut accounts = accounts.lock().expect("nobody died in the middle of this");
///     accounts[0] -= 10;
///     accounts[1] += 10;
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let accounts = SharedMutex::new([100, 0])?;
/// let start = |_| Process::spawn(move_ten::task, accounts.clone());
/// let processes = (0..3).map(start).collect::<Result<Vec<_>, _>>()?;
/// for process in processes {
///     process.join()?;
/// }
/// assert_eq!(*accounts.lock().unwrap_or_else(OwnerDied::into_inner), [70, 30]);
/// # Ok(())
/// # }
/// ```
///
/// What is no plain data does not go in:
///
/// ```compile_fail
/// let words = manyhands::SharedMutex::new(vec!["rice"]);
/// ```
/// ```compile_fail
/// let flag = manyhands::SharedMutex::new(true);
/// ```
/// ```compile_fail
/// let place = manyhands::SharedMutex::new(&1_u32);
/// ```
pub struct SharedMutex<T> {
    at: Located<SharedLock>,
    /// Where the lock lies, the same for all of the family.
    lock_at: u64,
    /// Goes from thread to thread as a std mutex would.
    data: PhantomData<std::sync::Mutex<T>>,
}

/// The right to the data; gives the mutex back when dropped.
#[must_use = "the mutex is given back when the guard is dropped"]
pub struct SharedMutexGuard<'a, T: Pod> {
    mutex: &'a SharedMutex<T>,
    /// The thread that has it.
    owner: Owner,
    /// An owner that died with the mutex, while it is undecided whether this one mends the data.
    untold: Option<Owner>,
    /// Who takes a lock gives it back.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives out shared references only.
unsafe impl<T: Pod + Sync> Sync for SharedMutexGuard<'_, T> {}

/// What a lock comes to.
type Locked<'a, T> = Result<SharedMutexGuard<'a, T>, OwnerDied<SharedMutexGuard<'a, T>>>;

/// Where the data begins in the object.
const DATA_AT: usize = 128;

const _: () = assert!(size_of::<SharedLock>() <= DATA_AT);

impl<T: Pod> SharedMutex<T> {
    /// Any bytes are a `T`, so another type of the same size and alignment is as good.
    const SHAPE: Shape = Shape::one::<T>(Sort::Plain);

    const LEN: u64 = {
        // Objects are aligned to 64 bytes.
        assert!(align_of::<T>() <= 64, "a SharedMutex aligns its data to at most 64 bytes");
        (DATA_AT + size_of::<T>()) as u64
    };

    /// A free mutex with `value` in it.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn new(value: T) -> Result<Self, ShareError> {
        Self::with_name(None, value)
    }

    /// The same with a name for reports, of which the first 64 bytes count.
    ///
    /// ```
    /// let salt = manyhands::SharedMutex::named("salt", 1_u32)?;
    /// *salt.lock().expect("nobody died with it") += 1;
    /// assert_eq!(*salt.lock().expect("nobody died with it"), 2);
    /// # Ok::<(), manyhands::ShareError>(())
    /// ```
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn named(name: &str, value: T) -> Result<Self, ShareError> {
        Self::with_name(Some(name), value)
    }

    fn with_name(name: Option<&str>, value: T) -> Result<Self, ShareError> {
        let mutex = Self::of(Located::create(Self::SHAPE, Self::LEN)?);
        mutex.state().set_up(false, 0, name);
        // SAFETY: in the object, aligned, and nobody else knows it yet.
        unsafe { mutex.data().write(value) };
        Ok(mutex)
    }

    /// Takes the mutex.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard.
    ///
    /// # Panics
    /// With the report, if the wait could never end: threads of any processes of the family wait
    /// for each other's mutexes. One of them is told.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Locked<'_, T> {
        let here = Location::caller();
        let me = self.at.me();
        if !self.state().try_lock(me, Hold::Scoped) {
            self.wait(me, here, None);
        }
        self.guard(me, here)
    }

    /// Takes the mutex if it is free, or its owner is dead; `None`: somebody has it.
    ///
    /// ```
    /// let salt = manyhands::SharedMutex::new(1_u32)?;
    /// let guard = salt.lock();
    /// assert!(salt.try_lock().is_none());
    /// drop(guard);
    /// assert!(salt.try_lock().is_some_and(|locked| locked.is_ok()));
    /// # Ok::<(), manyhands::ShareError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<Locked<'_, T>> {
        let here = Location::caller();
        let me = self.at.me();
        let taken =
            self.state().try_lock(me, Hold::Scoped) || self.wait(me, here, Some(Deadline::NOW));
        taken.then(|| self.guard(me, here))
    }

    /// Takes the mutex unless that takes longer than `timeout`: then `None`.
    #[track_caller]
    pub fn lock_for(&self, timeout: Duration) -> Option<Locked<'_, T>> {
        let here = Location::caller();
        let me = self.at.me();
        let deadline = Some(Deadline::after(timeout));
        let taken = self.state().try_lock(me, Hold::Scoped) || self.wait(me, here, deadline);
        taken.then(|| self.guard(me, here))
    }

    /// How much it was used, by all processes.
    pub fn statistics(&self) -> Statistics {
        self.state().counters.read()
    }

    /// For a condition: takes the mutex as a thread that may have slept for it.
    #[track_caller]
    pub(super) fn lock_again(&self, here: &'static Location<'static>) -> Locked<'_, T> {
        let me = self.at.me();
        if !self.state().try_lock_after_sleep(me, Hold::Scoped) {
            let step = |waiting: &mut Waiting<'_>| {
                self.state().lock_after_sleep(me, Hold::Scoped, waiting)
            };
            block_for_lock(&self.at, here, None, step);
        }
        self.guard(me, here)
    }

    #[cold]
    #[track_caller]
    fn wait(
        &self,
        me: Owner,
        here: &'static Location<'static>,
        deadline: Option<Deadline>,
    ) -> bool {
        let step = |waiting: &mut Waiting<'_>| self.state().lock_slow(me, Hold::Scoped, waiting);
        block_for_lock(&self.at, here, deadline, step)
    }

    /// The calling thread has the lock.
    #[inline]
    fn guard(&self, me: Owner, here: &'static Location<'static>) -> Locked<'_, T> {
        held::note(self.lock_at, here);
        let untold = self.state().take_note();
        let guard = SharedMutexGuard { mutex: self, owner: me, untold, not_send: PhantomData };
        match untold {
            None => Ok(guard),
            Some(dead) => Err(self.owner_died(guard, dead)),
        }
    }

    #[cold]
    fn owner_died<'a>(
        &self,
        guard: SharedMutexGuard<'a, T>,
        dead: Owner,
    ) -> OwnerDied<SharedMutexGuard<'a, T>> {
        let what = held::name_of(self.state(), self.lock_at);
        OwnerDied::new(guard, self.at.family().pid_of(dead.party), what)
    }

    #[inline]
    fn state(&self) -> &SharedLock {
        self.at.state()
    }

    #[inline]
    fn data(&self) -> NonNull<T> {
        // SAFETY: `with_name` and `open` saw to it that the object has the data there.
        unsafe { self.at.payload().byte_add(DATA_AT).cast() }
    }

    fn of(at: Located<SharedLock>) -> Self {
        let lock_at = at.family().offset_of(at.state());
        Self { at, lock_at, data: PhantomData }
    }

    fn open(handle: Handle) -> Result<Self, OpenError> {
        let at = Located::<SharedLock>::open_as(handle, Self::SHAPE)?;
        if at.len() != Self::LEN {
            return Err(OpenError::Malformed { what: MUTEX.name() });
        }
        Ok(Self::of(at))
    }
}

impl<'a, T: Pod> SharedMutexGuard<'a, T> {
    /// This one mends what the dead one left.
    pub(super) fn accept(&mut self) {
        self.untold = None;
    }

    /// Gives the mutex back.
    pub(super) fn unlock(self) -> &'a SharedMutex<T> {
        self.mutex
    }
}

impl<T: Pod> Deref for SharedMutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: in the object, aligned, any bytes are a `T`, and the guard has the lock.
        unsafe { self.mutex.data().as_ref() }
    }
}

impl<T: Pod> DerefMut for SharedMutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed alone.
        unsafe { self.mutex.data().as_mut() }
    }
}

impl<T: Pod> Drop for SharedMutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let state = self.mutex.state();
        if let Some(dead) = self.untold {
            state.leave_note(dead);
        }
        held::forget(self.mutex.lock_at);
        let _ = state.unlock(self.owner);
    }
}

impl<T> Clone for SharedMutex<T> {
    fn clone(&self) -> Self {
        Self { at: self.at.clone(), lock_at: self.lock_at, data: PhantomData }
    }
}

impl<T> Serialize for SharedMutex<T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.at.travel(), serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedMutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Self::open)
    }
}

impl<T> fmt::Debug for SharedMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.at.state();
        f.debug_struct("SharedMutex")
            .field("name", &state.name())
            .field("is_locked", &state.owner().is_some())
            .finish_non_exhaustive()
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
