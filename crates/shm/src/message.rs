//! What queues, pipes and maps are given, and what they give back: bytes, and what they refer to.

use std::ops::Deref;

use crate::block::Block;
use crate::object::Carried;

/// Bytes that are to be kept for somebody else.
pub struct Message<'a> {
    /// The bytes.
    pub body: Body<'a>,
    /// The objects that the bytes name.
    pub carried: Carried,
}

/// Where the bytes are: small ones are copied, large ones were written to the heap already.
pub enum Body<'a> {
    /// Copied by whoever takes the message.
    Inline(&'a [u8]),
    /// Handed over.
    Block(Block),
}

/// A message that was taken out, and is this process's alone.
pub struct Taken {
    /// The bytes.
    pub bytes: TakenBytes,
    /// The objects that the bytes name; to be dropped once they were opened.
    pub carried: Carried,
}

/// Where they are.
pub enum TakenBytes {
    /// Copied.
    Inline(Vec<u8>),
    /// In the heap, where they were put.
    Block(Block),
}

impl Body<'_> {
    /// How many bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Block(block) => block.at().len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Deref for TakenBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Block(block) => block,
        }
    }
}
