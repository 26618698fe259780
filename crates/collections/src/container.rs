//! A reference to a container, whatever it contains: how it is made, named, entered and closed.
//!
//! What differs is said by [`Contents`]; the operations of a map and of a list are theirs.

use std::marker::PhantomData;
use std::sync::Arc;

use manyhands_shm::{Handle, Heap, Kind, Object, OpenError, OutOfMemory};

use crate::core::{self, Busy, How, root};
use crate::gate::Gate;

/// A container of the family: a [`SharedMap`](crate::SharedMap) or a
/// [`SharedList`](crate::SharedList).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container<C> {
    object: Object,
    contents: PhantomData<fn() -> C>,
}

/// What a container contains: [`Map`](crate::Map) or [`List`](crate::List), and nothing else.
pub trait Contents: sealed::Sealed + 'static {
    /// A container, locked.
    type Guard<'a>;

    /// The kind of its objects.
    fn kind() -> &'static Kind;

    #[doc(hidden)]
    fn create(heap: &Arc<Heap>) -> Result<Object, OutOfMemory>;

    #[doc(hidden)]
    fn enter(object: &Object, how: How) -> Result<Self::Guard<'_>, Busy>;

    #[doc(hidden)]
    fn len(guard: &Self::Guard<'_>) -> u64;
}

pub(crate) mod sealed {
    /// Nobody outside of this crate knows what a container's object is.
    pub trait Sealed {}
}

impl<C: Contents> Container<C> {
    fn of(object: Object) -> Self {
        Self { object, contents: PhantomData }
    }

    /// A new, empty container.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn create(heap: &Arc<Heap>) -> Result<Self, OutOfMemory> {
        C::create(heap).map(Self::of)
    }

    /// The container that `handle` names.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(handle: Handle) -> Result<Self, OpenError> {
        Object::open(handle, C::kind()).map(Self::of)
    }

    /// What counts as this process's reference, and names the container elsewhere.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Keeps others out for longer than one operation.
    pub fn gate(&self) -> &Gate {
        &root(&self.object).gate
    }

    /// Takes the lock for one or several operations, which others see all at once.
    ///
    /// # Errors
    /// [`Busy`]; with [`How::Wait`] not [`Busy::Entered`].
    #[inline]
    pub fn enter(&self, how: How) -> Result<C::Guard<'_>, Busy> {
        C::enter(&self.object, how)
    }

    /// As [`Container::enter`]; waits also for the gate, and looks for no deadlock meanwhile.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    pub fn lock(&self) -> Result<C::Guard<'_>, OutOfMemory> {
        loop {
            match self.enter(How::Wait) {
                Ok(guard) => return Ok(guard),
                Err(Busy::OutOfMemory(error)) => return Err(error),
                Err(Busy::Entered | Busy::Closed) => {}
            }
            self.gate().pass(self.object.heap());
        }
    }

    /// How often somebody was killed in the middle of an operation, and it was mended.
    pub fn n_mended(&self) -> u64 {
        core::n_mended(&self.object)
    }

    /// The number of keys of a map, or of items of a list.
    ///
    /// # Panics
    /// If this process may map no more, and the contents were moved to where it never looked.
    pub fn len(&self) -> u64 {
        C::len(&self.lock().unwrap_or_else(|error| panic!("{error}")))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
