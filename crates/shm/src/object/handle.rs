//! Plain data that names an object: what a pickle contains.

use std::fmt;

use super::kind::{self, Kind};
use super::shape::Shape;

/// Names one object of one family. Holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Whose heap.
    pub family: u64,
    /// Where in it.
    pub offset: u64,
    /// Which of the many objects that come to lie there.
    pub serial: u32,
    /// What it is, see [`super::Kind`].
    pub kind: u32,
}

/// Why a handle opens nothing. Each is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The calling process is in no family.
    NoFamily {
        /// What the handle names.
        what: &'static str,
    },
    /// It is in another family.
    OtherFamily {
        /// What the handle names.
        what: &'static str,
    },
    /// Nobody held the object any more.
    Gone {
        /// What the handle names.
        what: &'static str,
    },
    /// It names something else.
    WrongKind {
        /// What was asked for.
        what: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Its data is of another type.
    WrongShape {
        /// What was asked for.
        what: &'static str,
        /// The type that was asked for.
        wanted: Shape,
        /// The type that it is.
        found: Shape,
    },
    /// These bytes are no handle of such an object.
    Malformed {
        /// What was asked for.
        what: &'static str,
    },
    /// A handle has another length.
    NoHandle {
        /// How many bytes there were.
        len: usize,
    },
    /// To open it takes a little memory, which could not be had.
    OutOfMemory(crate::OutOfMemory),
}

impl Handle {
    /// Bytes of a handle.
    pub const LEN: usize = 24;

    /// As bytes, in the machine's order: they stay within it.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.family.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.serial.to_ne_bytes());
        bytes[20..].copy_from_slice(&self.kind.to_ne_bytes());
        bytes
    }

    /// The handle that these bytes are.
    ///
    /// # Errors
    /// [`OpenError::NoHandle`] if there are not [`Handle::LEN`] of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        if bytes.len() != Self::LEN {
            return Err(OpenError::NoHandle { len: bytes.len() });
        }
        let eight = |at: usize| {
            let mut part = [0; 8];
            part.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(part)
        };
        let last = eight(16).to_ne_bytes();
        let four =
            |at: usize| u32::from_ne_bytes([last[at], last[at + 1], last[at + 2], last[at + 3]]);
        Ok(Self { family: eight(0), offset: eight(8), serial: four(0), kind: four(4) })
    }
}

impl OpenError {
    /// The header, or the handle itself, says that it is the kind `found`.
    pub(super) fn wrong_kind(what: &'static str, found: u32) -> Self {
        Self::WrongKind { what, found: kind::known(found).map_or("something else", Kind::name) }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFamily { what } | Self::OtherFamily { what } => write!(
                f,
                "this {what} belongs to another family of processes: it can be used by the program \
                 that made it and by the processes that program starts through manyhands, not here"
            ),
            Self::Gone { what } => write!(
                f,
                "this {what} is gone: when it was unpickled no process had it any more. Keep a \
                 reference to it in the process that made it"
            ),
            Self::WrongKind { what, found } => write!(
                f,
                "this handle names an object of the kind {found:?}, not {what:?}: open it as what \
                 it was made as"
            ),
            Self::WrongShape { what, wanted, found } => write!(
                f,
                "this {what} holds {found}, not {wanted}: open it with the type that it was made \
                 with"
            ),
            Self::Malformed { what } => write!(
                f,
                "this handle names no {what}: no shared object begins where it points to. It was \
                 damaged on its way, or was not made by this program"
            ),
            Self::NoHandle { len } => write!(
                f,
                "these {len} bytes are not the handle of a shared object, which has {}: send the \
                 object itself, and nothing cut out of its pickle",
                Handle::LEN
            ),
            Self::OutOfMemory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}
