//! Values as bytes: arguments on their way to a worker, results and failures on their way back.
//!
//! Short values travel in the task's slot. Long ones are written once, straight into a block of
//! the shared heap, and read there: nothing is copied through a pipe.

use std::any::type_name;
use std::sync::Arc;

use manyhands_pool::error::TaskError;
use manyhands_pool::panics;
use manyhands_pool::process::{Body, Reply, ReplyKind};
use manyhands_shm::{Block, Carried, Handle, Heap};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::shared::from_bytes;
use crate::task::Task;

/// An encoded value.
#[derive(Debug)]
pub enum Encoded {
    /// So many bytes of the caller's buffer.
    Inline(usize),
    /// In the heap.
    Block(Block),
}

/// Why a task has no value, as its worker tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Failure {
    /// It panicked.
    Panicked {
        /// What the panic said.
        message: String,
        /// Where.
        location: Option<String>,
    },
    /// Anything else, as a sentence.
    Other(String),
}

/// In the worker: from the bytes of the arguments to those of the result.
pub(crate) fn run<T: Task>(
    body: &[u8],
    heap: &Arc<Heap>,
    buffer: &mut [u8; Body::MAX_INLINE],
) -> Result<(Encoded, Carried), Failure> {
    let args = from_bytes(body).map_err(|error| {
        let args = type_name::<T::Args>();
        Failure::Other(format!("the arguments of {} ({args}) cannot be decoded: {error}", T::NAME))
    })?;
    let output = T::call(args);
    let encoded = encode(&output, heap, buffer);
    // What it is has been said: a destructor that panics changes nothing any more.
    panics::discard(output);
    encoded.map_err(|why| Failure::Other(format!("the result of {} {why}", T::NAME)))
}

/// Writes a value into `buffer`, or if that is too short into the heap; behind it the handles of
/// the shared objects in it, which are carried.
///
/// # Errors
/// Why not: the end of a sentence whose subject is the value.
pub(crate) fn encode<T: Serialize>(
    value: &T,
    heap: &Arc<Heap>,
    buffer: &mut [u8; Body::MAX_INLINE],
) -> Result<(Encoded, Carried), String> {
    let refused = |error| format!("({}) cannot be encoded: {error}", type_name::<T>());
    let (written, carried) = write(value, buffer);
    match written {
        Ok(n_bytes) => return Ok((Encoded::Inline(n_bytes), carried)),
        Err(postcard::Error::SerializeBufferFull) => drop(carried),
        Err(error) => return Err(refused(error)),
    }
    let (size, carried) = Carried::collect(|| postcard::experimental::serialized_size(value));
    let n_bytes = size.map_err(refused)? + Handle::LEN * carried.handles().len();
    let mut block = heap
        .alloc(n_bytes as u64)
        .map_err(|error| format!("({n_bytes} bytes) cannot be sent: {error}"))?;
    let (written, carried) = write(value, &mut block);
    written.map_err(refused)?;
    Ok((Encoded::Block(block), carried))
}

/// The value and the handles it carries at the start of `into`; how many bytes that are.
fn write<T: Serialize>(value: &T, into: &mut [u8]) -> (postcard::Result<usize>, Carried) {
    let (written, carried) =
        Carried::collect(|| postcard::to_slice(value, into).map(|bytes| bytes.len()));
    let written = written.and_then(|mut n_bytes| {
        for handle in carried.handles() {
            let place = into.get_mut(n_bytes..n_bytes + Handle::LEN);
            let place = place.ok_or(postcard::Error::SerializeBufferFull)?;
            place.copy_from_slice(&handle.to_bytes());
            n_bytes += Handle::LEN;
        }
        Ok(n_bytes)
    });
    (written, carried)
}

/// In the root: what a task's future hands out.
pub(crate) fn decode<T: DeserializeOwned>(reply: Reply) -> Result<T, TaskError> {
    let bytes = reply.body.bytes();
    match reply.kind {
        ReplyKind::Raised => Err(match from_bytes(bytes) {
            Ok(Failure::Panicked { message, location }) => {
                TaskError::Panicked { message, location }
            }
            Ok(Failure::Other(why)) => TaskError::Other(why),
            Err(error) => undecodable::<T>(error),
        }),
        _ => from_bytes(bytes).map_err(undecodable::<T>),
    }
}

/// Whether `decode` will return an error that the task is to blame for.
pub(crate) fn is_failure(reply: &Reply) -> bool {
    reply.kind == ReplyKind::Raised
}

fn undecodable<T>(error: String) -> TaskError {
    TaskError::Other(format!("the result ({}) cannot be decoded: {error}", type_name::<T>()))
}

impl Encoded {
    /// The bytes as arguments.
    pub(crate) fn into_body(self, buffer: &[u8]) -> Body {
        match self {
            Self::Inline(n_bytes) => Body::Inline(buffer[..n_bytes].into()),
            Self::Block(block) => Body::Block(block),
        }
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Panicked { message, location } => Self::Panicked { message, location },
            other => Self::Other(other.to_string()),
        }
    }
}
