//! A map from bytes to bytes that keeps the order in which its keys came.

mod guard;
mod table;

use std::sync::Arc;

use manyhands_shm::object::ids;
use manyhands_shm::{Carried, Heap, Kind, Object, OpenError, OutOfMemory};

use crate::container::{Container, Contents, sealed::Sealed};
use crate::core::{self, Busy, How, Inside, root};
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
pub type SharedMap = Container<Map>;

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

/// The contents of a [`SharedMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {}

impl Sealed for Map {}

impl Contents for Map {
    type Guard<'a> = MapGuard<'a>;

    fn kind() -> &'static Kind {
        &KIND
    }

    fn create(heap: &Arc<Heap>) -> Result<Object, OutOfMemory> {
        core::create(heap, &KIND, wanted(0, 0))
    }

    #[inline]
    fn enter(object: &Object, how: How) -> Result<MapGuard<'_>, Busy> {
        Inside::enter::<Entries>(object, how).map(MapGuard::new)
    }

    fn len(guard: &MapGuard<'_>) -> u64 {
        guard.len()
    }
}

impl SharedMap {
    /// How often the set of keys has changed.
    pub fn shape(&self) -> u64 {
        root(self.object()).shape.load(std::sync::atomic::Ordering::Acquire)
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
        let draft = Draft::new(self.object().heap(), value, Carried::default())?;
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
