//! Handles as serde sees them.

use manyhands_shm::{Handle, OpenError};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
