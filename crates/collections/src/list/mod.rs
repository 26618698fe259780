//! A sequence of byte strings.

mod guard;
mod table;

use std::sync::Arc;

use manyhands_shm::object::ids;
use manyhands_shm::{Carried, Heap, Kind, Object, OpenError, OutOfMemory};

use crate::container::{Container, Contents, sealed::Sealed};
use crate::core::{self, Busy, How, Inside};
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
pub type SharedList = Container<List>;

/// The contents of a [`SharedList`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {}

impl Sealed for List {}

impl Contents for List {
    type Guard<'a> = ListGuard<'a>;

    fn kind() -> &'static Kind {
        &KIND
    }

    fn create(heap: &Arc<Heap>) -> Result<Object, OutOfMemory> {
        core::create(heap, &KIND, wanted(0, 0))
    }

    #[inline]
    fn enter(object: &Object, how: How) -> Result<ListGuard<'_>, Busy> {
        Inside::enter::<Items>(object, how).map(ListGuard::new)
    }

    fn len(guard: &ListGuard<'_>) -> u64 {
        guard.len()
    }
}

impl SharedList {
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
        let draft = Draft::new(self.object().heap(), value, Carried::default())?;
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
