//! Counts that a caller drives: how deep a lock is held, how many read.
//!
//! Such a count never wraps. Who would make it wrap is refused, and nothing has changed: to go on
//! would let others in beside those who hold the lock.

use std::error::Error;
use std::fmt;

/// A count is as high as it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the lock is held as often as can be counted: give back what was acquired, once for \
             each time",
        )
    }
}

impl Error for Overflow {}

#[cfg(not(loom))]
impl Overflow {
    /// For callers that have no error to return.
    #[cold]
    #[track_caller]
    pub(crate) fn panic(self) -> ! {
        panic!("{self}")
    }
}
