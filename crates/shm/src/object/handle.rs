//! Plain data that names an object: what a pickle contains.

use std::fmt;

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
    /// These bytes are no handle.
    Malformed,
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
    /// [`OpenError::Malformed`] if there are not [`Handle::LEN`] of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        if bytes.len() != Self::LEN {
            return Err(OpenError::Malformed);
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
            Self::WrongKind { what, found } => write!(f, "this is a {found}, not a {what}"),
            Self::Malformed => f.write_str("these bytes do not name a shared object"),
            Self::OutOfMemory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}
