//! A map from bytes to bytes that keeps the order in which its keys came.

mod guard;
mod table;

use std::sync::Arc;

use manyhands_shm::object::ids;
use manyhands_shm::{Carried, Handle, Heap, Kind, Object, OpenError, OutOfMemory};

use crate::core::{self, Busy, How, Inside, root};
use crate::gate::Gate;
use crate::record::{Draft, Value};

pub use guard::MapGuard;
use table::{Entries, wanted};

// SAFETY: the one kind of this number.
pub(crate) static KIND: Kind =
    unsafe { Kind::new(ids::MAP, "managed dict", core::fits, core::destroy) };

/// A reference to a map of the family.
///
/// ```
/// # let heap = manyhands_shm::family::heap().unwrap();
/// let map = manyhands_collections::SharedMap::create(&heap).unwrap();
/// map.insert(b"answer", b"42").unwrap();
/// assert_eq!(map.get(b"answer").unwrap().unwrap(), b"42");
/// assert_eq!(map.get(b"question").unwrap(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMap {
    object: Object,
}

/// A key: what is compared, and what stands for it when the keys are listed.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Equal for equal keys, and only for them.
    pub compared: &'a [u8],
    /// Kept with the key that came first; empty: `compared` says it all.
    pub shown: &'a [u8],
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(compared: &'a [u8]) -> Self {
        Self { compared, shown: &[] }
    }
}

impl SharedMap {
    /// A new, empty map.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn create(heap: &Arc<Heap>) -> Result<Self, OutOfMemory> {
        core::create(heap, &KIND, wanted(0, 0)).map(|object| Self { object })
    }

    /// The map that `handle` names.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(handle: Handle) -> Result<Self, OpenError> {
        Object::open(handle, &KIND).map(|object| Self { object })
    }

    /// What counts as this process's reference, and names the map elsewhere.
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
    pub fn enter(&self, how: How) -> Result<MapGuard<'_>, Busy> {
        Inside::enter::<Entries>(&self.object, how).map(MapGuard::new)
    }

    /// As [`SharedMap::enter`]; waits also for the gate, and looks for no deadlock meanwhile.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    pub fn lock(&self) -> Result<MapGuard<'_>, OutOfMemory> {
        loop {
            match self.enter(How::Wait) {
                Ok(guard) => return Ok(guard),
                Err(Busy::OutOfMemory(error)) => return Err(error),
                Err(Busy::Entered | Busy::Closed) => {}
            }
            self.gate().pass(self.object.heap());
        }
    }

    /// How often the set of keys has changed.
    pub fn shape(&self) -> u64 {
        root(&self.object).shape.load(std::sync::atomic::Ordering::Acquire)
    }

    /// How often somebody was killed in the middle of an operation, and it was mended.
    pub fn n_mended(&self) -> u64 {
        core::n_mended(&self.object)
    }

    /// The number of keys.
    ///
    /// # Panics
    /// If this process may map no more, and the contents were moved to where it never looked.
    pub fn len(&self) -> u64 {
        self.lock().unwrap_or_else(|error| panic!("{error}")).len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of the value of `key`.
    ///
    /// # Errors
    /// [`OpenError`] if there is no memory for the references of a value that has some.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        let value = self.lock().map_err(OpenError::OutOfMemory)?.get(key)?;
        Ok(value.map(|value| value.bytes().to_vec()))
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// [`OutOfMemory`]: then nothing has changed.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), OutOfMemory> {
        let draft = Draft::new(self.object.heap(), value, Carried::default())?;
        self.lock()?.insert(key.into(), draft)
    }

    /// Removes `key`; its value.
    ///
    /// # Errors
    /// As [`SharedMap::get`]: then nothing has changed.
    pub fn remove(&self, key: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        let value: Option<Value> = self.lock().map_err(OpenError::OutOfMemory)?.remove(key)?;
        Ok(value.map(|value| value.bytes().to_vec()))
    }
}
