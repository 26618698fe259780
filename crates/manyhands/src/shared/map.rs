//! Maps of values that several processes share.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use manyhands_collections::{Draft, Gate, How, MapGuard, SharedMap as Core, Value};
use manyhands_shm::{Carried, FamilyOf, Heap, OpenError, OutOfMemory};
use manyhands_sync::lock::Hold;
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::waits::Family;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::errors::{undecodable, unencodable};
use super::locks::{self, Awaited, block_for_lock};
use super::{ShareError, heap, travel};

/// A map that all processes of the family see. It keeps the order in which its keys came.
///
/// Keys are equal if their encodings are. Each method is one step for the others; a process that is
/// killed in the middle of one has changed everything or nothing.
///
/// ```
/// use manyhands::{Process, SharedMap};
///
/// #[manyhands::task]
/// fn take_stock(stock: SharedMap<String, u32>) {
///     stock.insert(&"rice".to_owned(), &12).expect("room");
///     stock.update(&"beans".to_owned(), |n| n.unwrap_or(0) + 1).expect("room");
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let stock = SharedMap::new()?;
/// stock.insert(&"beans".to_owned(), &4)?;
/// Process::spawn(take_stock::task, stock.clone())?.join()?;
/// assert_eq!(stock.keys()?, ["beans", "rice"]);
/// assert_eq!(stock.get(&"beans".to_owned())?, Some(5));
/// # Ok(())
/// # }
/// ```
pub struct SharedMap<K, V> {
    core: Core,
    entries: PhantomData<fn() -> (K, V)>,
}

/// All others are kept out of a map, until this is dropped.
struct Closed<'a> {
    gate: &'a Gate,
    heap: &'a Heap,
    lock_at: u64,
}

impl<K, V> SharedMap<K, V> {
    /// An empty map.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn new() -> Result<Self, ShareError> {
        Ok(Self::of(Core::create(&heap()?)?))
    }

    fn of(core: Core) -> Self {
        Self { core, entries: PhantomData }
    }

    /// The number of keys.
    ///
    /// # Panics
    /// If this process may map no more (RLIMIT_AS), and another one has moved the contents to where
    /// it never looked.
    #[track_caller]
    pub fn len(&self) -> u64 {
        self.inside(|guard| guard.len()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether there is none.
    #[track_caller]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes everything.
    ///
    /// # Errors
    /// [`ShareError`].
    #[track_caller]
    pub fn clear(&self) -> Result<(), ShareError> {
        Ok(self.inside(|guard| guard.clear())??)
    }

    /// Does `op`, which runs no code of the program, in one step; waits while another thread
    /// updates a key.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[track_caller]
    fn inside<R>(&self, op: impl FnOnce(&mut MapGuard<'_>) -> R) -> Result<R, OutOfMemory> {
        if self.core.gate().lock().owner().is_none()
            && let Ok(mut guard) = self.core.enter(How::Wait)
        {
            return Ok(op(&mut guard));
        }
        let _closed = self.close();
        Ok(op(&mut self.core.lock()?))
    }

    /// Keeps all others out; this thread, too, if it does so already: that is a deadlock.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[track_caller]
    fn close(&self) -> Closed<'_> {
        let (gate, heap) = (self.core.gate(), self.core.object().heap());
        let here = Location::caller();
        let family = FamilyOf(Arc::clone(heap));
        if !gate.lock().try_lock(Owner::current(&family), Hold::Scoped) {
            let awaited = Awaited { family: &family, state: gate.lock(), kind: KIND };
            block_for_lock(awaited, here, None, |waiting| gate.close_slow(waiting));
        }
        let lock_at = family.offset_of(gate.lock());
        locks::note_of(KIND, lock_at, here);
        Closed { gate, heap, lock_at }
    }
}

/// As reports name a map.
const KIND: &str = "SharedMap";

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        locks::forget(self.lock_at);
        self.gate.open(self.heap);
    }
}

impl<K: Serialize, V> SharedMap<K, V> {
    /// Whether the key is there.
    ///
    /// # Errors
    /// [`ShareError`] if the key cannot be encoded.
    #[track_caller]
    pub fn contains(&self, key: &K) -> Result<bool, ShareError> {
        // Before anybody is kept out: encoding runs code of the program.
        let key = encoded(key)?;
        Ok(self.inside(|guard| guard.contains(&key))?)
    }

    /// Removes the key; whether it was there.
    ///
    /// # Errors
    /// [`ShareError`] if the key cannot be encoded.
    #[track_caller]
    pub fn remove(&self, key: &K) -> Result<bool, ShareError> {
        let key = encoded(key)?;
        Ok(self.inside(|guard| guard.discard(&key))?)
    }
}

impl<K: Serialize, V: Serialize> SharedMap<K, V> {
    /// Sets the value of `key`.
    ///
    /// # Errors
    /// [`ShareError`]; then nothing has changed.
    #[track_caller]
    pub fn insert(&self, key: &K, value: &V) -> Result<(), ShareError> {
        let key = encoded(key)?;
        let (value, carried) = Carried::collect(|| encoded(value));
        let value = value?;
        let draft = Draft::new(self.core.object().heap(), &value, carried)?;
        Ok(self.inside(|guard| guard.insert(key.as_slice().into(), draft))??)
    }
}

impl<K: Serialize, V: DeserializeOwned> SharedMap<K, V> {
    /// A copy of the value of `key`.
    ///
    /// # Errors
    /// [`ShareError`].
    #[track_caller]
    pub fn get(&self, key: &K) -> Result<Option<V>, ShareError> {
        let key = encoded(key)?;
        let value = self.inside(|guard| guard.get(&key))??;
        value.map(decoded).transpose()
    }
}

impl<K: Serialize, V: Serialize + DeserializeOwned> SharedMap<K, V> {
    /// Replaces the value of `key` (`None`: there is none) by `change` of it, in one step; the new
    /// value.
    ///
    /// The others wait meanwhile, as for a [`SharedMutex`](crate::SharedMutex): `change` and what
    /// encodes and decodes the value should be short, and must not use the map. If `change` panics,
    /// or its process dies in it, nothing has changed and the next one gets in.
    ///
    /// ```
    /// let stock = manyhands::SharedMap::<u32, u32>::new()?;
    /// assert_eq!(stock.update(&1, |n| n.unwrap_or(0) + 1)?, 1);
    /// let stuck = std::panic::catch_unwind(|| stock.update(&1, |_| stock.len() as u32));
    /// let report = stuck.expect_err("it waits for itself");
    /// assert!(report.downcast_ref::<String>().is_some_and(|text| text.starts_with("deadlock")));
    /// assert_eq!(stock.get(&1)?, Some(1));
    /// # Ok::<(), manyhands::ShareError>(())
    /// ```
    ///
    /// # Errors
    /// [`ShareError`]; then nothing has changed.
    ///
    /// # Panics
    /// With the report, if the wait could never end: `change` uses the map, or threads that update
    /// maps or have mutexes wait for each other. One of them is told.
    #[track_caller]
    pub fn update(&self, key: &K, change: impl FnOnce(Option<V>) -> V) -> Result<V, ShareError> {
        let key = encoded(key)?;
        let _closed = self.close();
        // The short lock is taken only where no code of the program runs.
        let before = self.core.lock()?.get(&key)?;
        let value = change(before.map(decoded).transpose()?);
        let (bytes, carried) = Carried::collect(|| encoded(&value));
        let bytes = bytes?;
        let draft = Draft::new(self.core.object().heap(), &bytes, carried)?;
        self.core.lock()?.insert(key.as_slice().into(), draft)?;
        Ok(value)
    }
}

impl<K: DeserializeOwned, V> SharedMap<K, V> {
    /// All keys, in the order in which they came.
    ///
    /// # Errors
    /// [`ShareError`] if one cannot be decoded.
    #[track_caller]
    pub fn keys(&self) -> Result<Vec<K>, ShareError> {
        // Copied, and decoded when nobody is kept out: that runs code of the program.
        let copied = |guard: &mut MapGuard<'_>| {
            guard.keys().map(|key| key.compared.to_vec()).collect::<Vec<Vec<u8>>>()
        };
        let keys = self.inside(copied)?;
        let decode = |key: Vec<u8>| {
            travel::from_bytes(&key).map_err(|error| ShareError::Codec(undecodable::<K>(error)))
        };
        keys.into_iter().map(decode).collect()
    }
}

fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, ShareError> {
    postcard::to_stdvec(value).map_err(|error| ShareError::Codec(unencodable::<T>(error)))
}

fn decoded<T: DeserializeOwned>(value: Value) -> Result<T, ShareError> {
    travel::from_bytes(value.bytes()).map_err(|error| ShareError::Codec(undecodable::<T>(error)))
}

impl From<OpenError> for ShareError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::OutOfMemory(error) => Self::OutOfMemory(error),
            other => Self::Codec(other.to_string()),
        }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self::of(self.core.clone())
    }
}

impl<K, V> Serialize for SharedMap<K, V> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.core.object().travel(), serializer)
    }
}

impl<'de, K, V> Deserialize<'de> for SharedMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Core::open).map(Self::of)
    }
}

impl<K, V> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shown also where waiting for it would be a deadlock.
        let len = self.core.enter(How::Try).ok().map(|guard| guard.len());
        f.debug_struct("SharedMap").field("len", &len).finish_non_exhaustive()
    }
}
