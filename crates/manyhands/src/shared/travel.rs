//! Handles as serde sees them, and what can go wrong with shared objects.

use std::{fmt, io};

use manyhands_shm::{Handle, OpenError, OutOfMemory};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A shared object could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShareError {
    /// The heap's limit is reached, or the machine lacks the memory.
    OutOfMemory(OutOfMemory),
    /// There is no shared memory to be had at all.
    Unavailable(io::Error),
}

/// Writes the name that an object travels by.
pub(super) fn serialize<S: Serializer>(name: Handle, serializer: S) -> Result<S::Ok, S::Error> {
    name.to_bytes().serialize(serializer)
}

/// Reads a name, and opens what it names.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    open: impl FnOnce(Handle) -> Result<T, OpenError>,
) -> Result<T, D::Error> {
    super::register_kinds();
    let bytes = <[u8; Handle::LEN]>::deserialize(deserializer)?;
    Handle::from_bytes(&bytes).and_then(open).map_err(D::Error::custom)
}

impl From<OutOfMemory> for ShareError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl From<io::Error> for ShareError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => error.fmt(f),
            Self::Unavailable(error) => write!(f, "shared memory could not be had: {error}"),
        }
    }
}

impl std::error::Error for ShareError {}
