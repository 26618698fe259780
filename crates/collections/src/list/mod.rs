//! A sequence of byte strings.

mod guard;
mod table;

use std::sync::Arc;

use manyhands_shm::object::ids;
use manyhands_shm::{Carried, Handle, Heap, Kind, Object, OpenError, OutOfMemory};

use crate::core::{self, Busy, How, Inside, root};
use crate::gate::Gate;
use crate::record::Draft;

pub use guard::ListGuard;
use table::{Items, wanted};

// SAFETY: the one kind of this number.
pub(crate) static KIND: Kind =
    unsafe { Kind::new(ids::LIST, "managed list", core::fits, core::destroy) };

/// A reference to a list of the family.
///
/// ```
/// # let heap = manyhands_shm::family::heap().unwrap();
/// let list = manyhands_collections::SharedList::create(&heap).unwrap();
/// list.push(b"first").unwrap();
/// list.push(b"second").unwrap();
/// assert_eq!(list.get(1).unwrap().unwrap(), b"second");
/// assert_eq!(list.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedList {
    object: Object,
}

impl SharedList {
    /// A new, empty list.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn create(heap: &Arc<Heap>) -> Result<Self, OutOfMemory> {
        core::create(heap, &KIND, wanted(0, 0)).map(|object| Self { object })
    }

    /// The list that `handle` names.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(handle: Handle) -> Result<Self, OpenError> {
        Object::open(handle, &KIND).map(|object| Self { object })
    }

    /// What counts as this process's reference, and names the list elsewhere.
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
    pub fn enter(&self, how: How) -> Result<ListGuard<'_>, Busy> {
        Inside::enter::<Items>(&self.object, how).map(ListGuard::new)
    }

    /// As [`SharedList::enter`]; waits also for the gate, and looks for no deadlock meanwhile.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    pub fn lock(&self) -> Result<ListGuard<'_>, OutOfMemory> {
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

    /// The number of items.
    ///
    /// # Panics
    /// If this process may map no more, and the contents were moved to where it never looked.
    pub fn len(&self) -> u64 {
        self.lock().unwrap_or_else(|error| panic!("{error}")).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of an item.
    ///
    /// # Errors
    /// [`OpenError`] if there is no memory for the references of a value that has some.
    pub fn get(&self, idx: u64) -> Result<Option<Vec<u8>>, OpenError> {
        let value = self.lock().map_err(OpenError::OutOfMemory)?.get(idx)?;
        Ok(value.map(|value| value.bytes().to_vec()))
    }

    /// Adds an item at the end.
    ///
    /// # Errors
    /// [`OutOfMemory`]: then nothing has changed.
    pub fn push(&self, value: &[u8]) -> Result<(), OutOfMemory> {
        let draft = Draft::new(self.object.heap(), value, Carried::default())?;
        let mut guard = self.lock()?;
        let end = guard.len();
        guard.insert(end, vec![draft])
    }

    /// Removes the last item.
    ///
    /// # Errors
    /// As [`SharedList::get`], or there is no memory.
    pub fn pop(&self) -> Result<Option<Vec<u8>>, OpenError> {
        let mut guard = self.lock().map_err(OpenError::OutOfMemory)?;
        let Some(last) = guard.len().checked_sub(1) else { return Ok(None) };
        let value = guard.get(last)?;
        guard.remove(last..last + 1).map_err(OpenError::OutOfMemory)?;
        Ok(value.map(|value| value.bytes().to_vec()))
    }
}
