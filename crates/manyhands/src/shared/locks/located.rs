//! A state in the family heap, as this process has it.

use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_shm::object::Shape;
use manyhands_shm::{FamilyOf, Handle, Kind, Object, OpenError};
use manyhands_sync::event::RawEvent;
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::barrier::SharedBarrier;
use manyhands_sync::shared::condition::WaiterRow;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::semaphore::SharedSemaphore;
use manyhands_sys::futex::Shared;
use manyhands_sys::thread_id;

use crate::ShareError;
use crate::shared::heap;

/// What may lie in an object of one kind.
///
/// # Safety
/// - The type is made of atomics, so that any bytes are one and any process may change them.
/// - Its alignment is at most 64.
/// - The kind's objects begin with one, which reaches no further than [`Kind`] says that it fits.
pub(super) unsafe trait State {
    /// The kind.
    const KIND: &'static Kind;
}

// SAFETY: atomics, aligned to 8. In front of the data of a mutex, which is no part of it.
unsafe impl State for SharedLock {
    const KIND: &'static Kind = &manyhands_shm::locks::MUTEX;
}

// SAFETY: atomics, aligned to 8.
unsafe impl State for WaiterRow {
    const KIND: &'static Kind = &manyhands_shm::locks::CONDITION;
}

// SAFETY: atomics, aligned to 8.
unsafe impl State for SharedSemaphore {
    const KIND: &'static Kind = &manyhands_shm::locks::SEMAPHORE;
}

// SAFETY: atomics, aligned to 8.
unsafe impl State for RawEvent<Shared> {
    const KIND: &'static Kind = &manyhands_shm::locks::EVENT;
}

// SAFETY: atomics, aligned to 8.
unsafe impl State for SharedBarrier {
    const KIND: &'static Kind = &manyhands_shm::locks::BARRIER;
}

/// A handle on a state.
pub(super) struct Located<S> {
    object: Object,
    family: FamilyOf,
    state: NonNull<S>,
}

// SAFETY: a `State` is made of atomics, and lives as long as the object.
unsafe impl<S: State> Send for Located<S> {}
// SAFETY: as above.
unsafe impl<S: State> Sync for Located<S> {}

impl<S: State> Located<S> {
    /// A new object of `len` bytes, all 0, that begins with the state. What `shape` says lies
    /// behind it.
    ///
    /// # Errors
    /// [`ShareError`].
    pub(super) fn create(shape: Shape, len: u64) -> Result<Self, ShareError> {
        assert!(len >= size_of::<S>() as u64, "an object has room for its state");
        // SAFETY: zeros are a state, and whatever `shape` is of is plain data.
        Ok(Self::of(unsafe { Object::create(&heap()?, S::KIND, shape, len) }?))
    }

    /// The state that `handle` names, with nothing behind it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open(handle: Handle) -> Result<Self, OpenError> {
        Self::open_as(handle, Shape::NONE)
    }

    /// The state that `handle` names, with what `shape` says behind it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(super) fn open_as(handle: Handle, shape: Shape) -> Result<Self, OpenError> {
        Object::open_as(handle, S::KIND, shape).map(Self::of)
    }

    fn of(object: Object) -> Self {
        const { assert!(align_of::<S>() <= 64) };
        let family = FamilyOf(Arc::clone(object.heap()));
        let state = object.payload().cast();
        Self { object, family, state }
    }

    /// The state itself.
    #[inline]
    pub(super) fn state(&self) -> &S {
        // SAFETY:
        // - mapped as long as the object lives, which `self` holds, and of its kind;
        // - `create` saw that the object is long enough, and who opened it that it fits its kind;
        // - any bytes are a `State`.
        unsafe { self.state.as_ref() }
    }

    /// Where the object's bytes begin: with the state.
    #[inline]
    pub(super) fn payload(&self) -> NonNull<u8> {
        self.state.cast()
    }

    /// How many bytes that are.
    pub(super) fn len(&self) -> u64 {
        self.object.len()
    }

    /// Who is alive.
    pub(super) fn family(&self) -> &FamilyOf {
        &self.family
    }

    /// The calling thread.
    #[inline]
    pub(super) fn me(&self) -> Owner {
        Owner { party: self.family.0.me().number(), thread: thread_id::me() }
    }

    /// What names it elsewhere in the family.
    pub(super) fn travel(&self) -> Handle {
        self.object.travel()
    }
}

impl<S: State> Clone for Located<S> {
    fn clone(&self) -> Self {
        Self::of(self.object.clone())
    }
}
