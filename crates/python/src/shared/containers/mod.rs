//! Managed containers: a dict and a list in the family heap, as Python sees them.
//!
//! Values are packed before the container is entered and unpacked after it was left: no Python code
//! runs, and no Python object is touched, while others wait for the container. Somebody who waits
//! for it, or for its gate, does so without the GIL.

pub mod closing;
pub mod dict;
pub mod iterator;
mod key;
pub mod list;
pub mod locked;
mod methods;

use std::sync::Arc;

use manyhands_collections::{Busy, Container, Contents, Draft, How, Value};
use manyhands_pool::process::Body;
use manyhands_shm::{Carried, Handle, Heap, OpenError, OutOfMemory};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;

use super::open_error;
use crate::parcel;
use crate::process::codec::{self, Shape, out_of_memory};
use crate::process::simple;
use closing::Closed;

/// A value or key as bytes, and the shared objects that they name.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    pub(super) carried: Carried,
}

/// Why an operation did nothing, found out inside, told outside.
pub(super) enum Fault {
    OutOfMemory(OutOfMemory),
    Open(OpenError),
    NoSuchIndex(&'static str),
    WrongLength { given: usize, wanted: usize },
}

impl Packed {
    /// # Errors
    /// What pickling raises.
    pub(super) fn new(value: &Bound<'_, PyAny>, heap: &Arc<Heap>) -> PyResult<Self> {
        let mut bytes = Vec::with_capacity(32);
        bytes.push(Shape::SimpleObject as u8);
        if simple::encode(value, &mut bytes) {
            return Ok(Self { bytes, carried: Carried::default() });
        }
        let packed = parcel::pack(value, heap, usize::MAX)?;
        let bytes = match packed.body {
            Body::Inline(bytes) => bytes.into_vec(),
            Body::Block(block) => block.to_vec(),
        };
        Ok(Self { bytes, carried: packed.carried })
    }

    /// # Errors
    /// MemoryError.
    pub(super) fn into_draft<'a>(
        bytes: &'a [u8],
        carried: Carried,
        heap: &Arc<Heap>,
    ) -> PyResult<Draft<'a>> {
        Draft::new(heap, bytes, carried).map_err(|error| out_of_memory(&error))
    }
}

/// The object that a value of a container is.
///
/// # Errors
/// What unpickling raises.
pub(super) fn unpack<'py>(py: Python<'py>, value: Value) -> PyResult<Bound<'py, PyAny>> {
    // Copied out of the heap also where it is large: a value is the reader's own.
    let unpickled = codec::loads(py, value.bytes(), || None)?;
    drop(value);
    Ok(unpickled.object)
}

/// Does `op` inside the container.
///
/// # Errors
/// What a signal handler raises during a wait, or this thread is being stopped with; DeadlockError;
/// MemoryError if this process may map no more. Then nothing was done.
#[inline]
pub(super) fn inside<C, R, F>(py: Python<'_>, container: &Container<C>, op: F) -> PyResult<R>
where
    C: Contents,
    R: Send,
    F: FnOnce(&mut C::Guard<'_>) -> R + Send,
{
    match container.enter(How::Try) {
        Ok(mut guard) => Ok(op(&mut guard)),
        Err(Busy::OutOfMemory(error)) => Err(out_of_memory(&error)),
        Err(Busy::Entered | Busy::Closed) => inside_after_wait(py, container, op),
    }
}

#[cold]
fn inside_after_wait<C, R, F>(py: Python<'_>, container: &Container<C>, op: F) -> PyResult<R>
where
    C: Contents,
    R: Send,
    F: FnOnce(&mut C::Guard<'_>) -> R + Send,
{
    let mut op = Some(op);
    let mut try_once_more = || match container.enter(How::Wait) {
        Ok(mut guard) => op.take().map(|op| Ok(op(&mut guard))),
        Err(Busy::OutOfMemory(error)) => Some(Err(error)),
        Err(Busy::Entered | Busy::Closed) => None,
    };
    if let Some(done) = py.detach(&mut try_once_more) {
        return done.map_err(|error| out_of_memory(&error));
    }
    loop {
        // As long as it is ours, nobody else's gate is in the way.
        let _closed = Closed::new(py, container, None)?;
        if let Some(done) = py.detach(&mut try_once_more) {
            return done.map_err(|error| out_of_memory(&error));
        }
    }
}

/// A new container, or the one that the bytes of a pickle name.
///
/// # Errors
/// MemoryError, HandleError, OSError if there is no shared memory.
fn create_or_open<C: Contents>(py: Python<'_>, name: Option<&[u8]>) -> PyResult<Container<C>> {
    match name {
        None => {
            let heap = manyhands_shm::family::kept_heap()?;
            Container::create(&heap).map_err(|error| out_of_memory(&error))
        }
        Some(name) => Handle::from_bytes(name)
            .and_then(Container::open)
            .map_err(|error| open_error(py, &error)),
    }
}

impl Fault {
    pub(super) fn into_error(self, py: Python<'_>) -> PyErr {
        match self {
            Self::OutOfMemory(error) => out_of_memory(&error),
            Self::Open(error) => open_error(py, &error),
            Self::NoSuchIndex(text) => PyIndexError::new_err(text),
            Self::WrongLength { given, wanted } => PyValueError::new_err(format!(
                "attempt to assign sequence of size {given} to extended slice of size {wanted}"
            )),
        }
    }
}

impl From<OutOfMemory> for Fault {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}
