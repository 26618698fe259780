//! Maps of values that several processes share.

use std::fmt;
use std::marker::PhantomData;

use manyhands_collections::{Draft, MapGuard, SharedMap as Core, Value};
use manyhands_shm::{Carried, OpenError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::errors::{undecodable, unencodable};
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
    pub fn len(&self) -> u64 {
        self.core.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.core.is_empty()
    }

    /// Removes everything.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn clear(&self) -> Result<(), ShareError> {
        Ok(self.core.lock().clear()?)
    }
}

impl<K: Serialize, V> SharedMap<K, V> {
    /// Whether the key is there.
    ///
    /// # Errors
    /// [`ShareError`] if the key cannot be encoded.
    pub fn contains(&self, key: &K) -> Result<bool, ShareError> {
        // Before the lock is taken: encoding runs code of the program.
        let key = encoded(key)?;
        Ok(self.core.lock().contains(&key))
    }

    /// Removes the key; whether it was there.
    ///
    /// # Errors
    /// [`ShareError`] if the key cannot be encoded.
    pub fn remove(&self, key: &K) -> Result<bool, ShareError> {
        let key = encoded(key)?;
        Ok(self.core.lock().discard(&key))
    }
}

impl<K: Serialize, V: Serialize> SharedMap<K, V> {
    /// Sets the value of `key`.
    ///
    /// # Errors
    /// [`ShareError`]; then nothing has changed.
    pub fn insert(&self, key: &K, value: &V) -> Result<(), ShareError> {
        let key = encoded(key)?;
        let (value, carried) = Carried::collect(|| encoded(value));
        let value = value?;
        let draft = Draft::new(self.core.object().heap(), &value, carried)?;
        Ok(self.core.lock().insert(key.as_slice().into(), draft)?)
    }
}

impl<K: Serialize, V: DeserializeOwned> SharedMap<K, V> {
    /// A copy of the value of `key`.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn get(&self, key: &K) -> Result<Option<V>, ShareError> {
        let key = encoded(key)?;
        let value = self.core.lock().get(&key)?;
        value.map(decoded).transpose()
    }
}

impl<K: Serialize, V: Serialize + DeserializeOwned> SharedMap<K, V> {
    /// Replaces the value of `key` (`None`: there is none) by `change` of it, in one step; the new
    /// value. The others wait meanwhile: `change` and what encodes and decodes the value should be
    /// short, and must not use the map.
    ///
    /// # Errors
    /// [`ShareError`]; then nothing has changed.
    pub fn update(&self, key: &K, change: impl FnOnce(Option<V>) -> V) -> Result<V, ShareError> {
        let key = encoded(key)?;
        let mut inside: MapGuard<'_> = self.core.lock();
        let before = inside.get(&key)?.map(decoded).transpose()?;
        let value = change(before);
        let (bytes, carried) = Carried::collect(|| encoded(&value));
        let bytes = bytes?;
        let draft = Draft::new(self.core.object().heap(), &bytes, carried)?;
        inside.insert(key.as_slice().into(), draft)?;
        Ok(value)
    }
}

impl<K: DeserializeOwned, V> SharedMap<K, V> {
    /// All keys, in the order in which they came.
    ///
    /// # Errors
    /// [`ShareError`] if one cannot be decoded.
    pub fn keys(&self) -> Result<Vec<K>, ShareError> {
        // Copied, and decoded when the lock was given back: that runs code of the program.
        let keys: Vec<Vec<u8>> = self.core.lock().keys().map(|key| key.compared.to_vec()).collect();
        let decode = |key: Vec<u8>| {
            postcard::from_bytes(&key).map_err(|error| ShareError::Codec(undecodable::<K>(error)))
        };
        keys.into_iter().map(decode).collect()
    }
}

fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, ShareError> {
    postcard::to_stdvec(value).map_err(|error| ShareError::Codec(unencodable::<T>(error)))
}

fn decoded<T: DeserializeOwned>(value: Value) -> Result<T, ShareError> {
    postcard::from_bytes(value.bytes()).map_err(|error| ShareError::Codec(undecodable::<T>(error)))
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
        f.debug_struct("SharedMap").field("len", &self.len()).finish_non_exhaustive()
    }
}
