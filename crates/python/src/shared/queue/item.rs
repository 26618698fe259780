//! Items of a shared queue: objects to messages, and back.
//!
//! The first byte says how: the layouts of `process/codec.rs`, and one more for an object that is
//! exactly `bytes`, which needs no pickler.

use std::sync::Arc;

use manyhands_pool::process::Body as Packed;
use manyhands_shm::message::{Body, Message, Taken, TakenBytes};
use manyhands_shm::{Block, Carried, Heap};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::process::codec::{self, out_of_memory};
use crate::shared::connection::message::Outgoing;

/// An item that is ready to be put; nothing of Python is in it.
pub struct Item {
    body: ItemBody,
    carried: Carried,
}

enum ItemBody {
    Short(Vec<u8>),
    Packed(Box<[u8]>),
    Block(Block),
}

/// What is longer is written to the heap where it is packed, before any lock.
const INLINE_LIMIT: usize = 2 << 10;

/// In front of what `bytes` hold; no layout of the codec begins so.
const BYTES: u8 = 0x40;

impl Item {
    /// Packs `object`.
    ///
    /// # Errors
    /// What pickling raises; MemoryError.
    #[inline]
    pub fn new(object: &Bound<'_, PyAny>, heap: &Arc<Heap>) -> PyResult<Self> {
        let body = match Outgoing::new(object)? {
            Outgoing::Simple(bytes) => ItemBody::Short(bytes),
            Outgoing::Bytes(bytes) => of_bytes(bytes.as_bytes(), heap)?,
            Outgoing::Pickled(pickled, carried) => {
                let body = match pickled.into_body(heap, INLINE_LIMIT)? {
                    Packed::Inline(bytes) => ItemBody::Packed(bytes),
                    Packed::Block(block) => ItemBody::Block(block),
                };
                return Ok(Self { body, carried });
            }
        };
        Ok(Self { body, carried: Carried::default() })
    }

    /// As the message that carries it: the bytes may have to be lent.
    #[inline]
    pub fn with_message<R>(self, put: impl FnOnce(Message<'_>) -> R) -> R {
        let Self { body, carried } = self;
        match body {
            ItemBody::Short(bytes) => put(Message { body: Body::Inline(&bytes), carried }),
            ItemBody::Packed(bytes) => put(Message { body: Body::Inline(&bytes), carried }),
            ItemBody::Block(block) => put(Message { body: Body::Block(block), carried }),
        }
    }

    /// As a message that borrows the item's short bytes. Called once.
    pub fn as_message(&mut self) -> Message<'_> {
        let carried = std::mem::take(&mut self.carried);
        let body = match std::mem::replace(&mut self.body, ItemBody::Short(Vec::new())) {
            ItemBody::Block(block) => Body::Block(block),
            short => {
                self.body = short;
                match &self.body {
                    ItemBody::Packed(bytes) => Body::Inline(bytes),
                    ItemBody::Short(bytes) => Body::Inline(bytes),
                    ItemBody::Block(_) => unreachable!("matched above"),
                }
            }
        };
        Message { body, carried }
    }
}

/// The object that was put.
///
/// # Errors
/// What unpickling raises. The message is used up either way.
#[inline]
pub fn object_of<'py>(py: Python<'py>, taken: Taken) -> PyResult<Bound<'py, PyAny>> {
    let Taken { bytes, carried } = taken;
    if bytes.first() == Some(&BYTES) {
        return Ok(PyBytes::new(py, &bytes[1..]).into_any());
    }
    let object = match bytes {
        TakenBytes::Inline(bytes) => codec::loads(py, &bytes, || None)?.object,
        TakenBytes::Block(block) => {
            let block = Arc::new(block);
            codec::loads(py, &block, || Some(Arc::clone(&block)))?.object
        }
    };
    // What was named has been opened by now.
    drop(carried);
    Ok(object)
}

fn of_bytes(bytes: &[u8], heap: &Arc<Heap>) -> PyResult<ItemBody> {
    let fill = |into: &mut [u8]| {
        into[0] = BYTES;
        into[1..].copy_from_slice(bytes);
    };
    let len = bytes.len() + 1;
    if len <= INLINE_LIMIT {
        let mut short = vec![0; len];
        fill(&mut short);
        return Ok(ItemBody::Short(short));
    }
    let mut block = heap.alloc_for_overwrite(len as u64).map_err(|error| out_of_memory(&error))?;
    fill(&mut block);
    Ok(ItemBody::Block(block))
}
