//! Handles as serde sees them.
//!
//! The format of our messages says of a refused value no more than that it was refused. Why a
//! handle was is kept beside it, for who decodes the message around it.

use std::cell::RefCell;

use manyhands_shm::{Handle, OpenError};
use serde::de::{DeserializeOwned, Error};
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
    Handle::from_bytes(&bytes).and_then(open).map_err(|error| {
        REFUSED.set(Some(error.to_string()));
        D::Error::custom(error)
    })
}

thread_local! {
    /// Why the last handle in this thread opened nothing.
    static REFUSED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The value that these bytes of ours are.
///
/// # Errors
/// Why they are none: of a handle in them that opens nothing, in a sentence.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    REFUSED.take();
    postcard::from_bytes(bytes).map_err(|error| {
        let refused = REFUSED.take().filter(|_| error == postcard::Error::SerdeDeCustom);
        refused.unwrap_or_else(|| error.to_string())
    })
}
