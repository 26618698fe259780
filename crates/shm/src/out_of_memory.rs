//! The error of whoever asks for memory of the heap that is not there.

use std::fmt;

/// A block could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    pub(crate) wanted: u64,
    pub(crate) why: String,
}

impl OutOfMemory {
    /// `wanted` bytes could not be had, because: `why`.
    pub const fn new(wanted: u64, why: String) -> Self {
        Self { wanted, why }
    }

    /// Bytes that were asked for.
    pub const fn wanted(&self) -> u64 {
        self.wanted
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of shared memory could not be had: {}", self.wanted, self.why)
    }
}

impl std::error::Error for OutOfMemory {}
