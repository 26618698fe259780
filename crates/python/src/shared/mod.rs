//! Shared objects of the family as Python sees them.
//!
//! Each class holds one [`Object`] and may be pickled: the pickle names the object, and opens it in
//! any process of the family. Inside a queue item, a task, a managed value… the message keeps the
//! object alive; a pickle made by the program itself keeps it as long as the process that made it.

pub mod connection;
pub mod containers;
pub mod family;
pub mod locks;
pub mod queue;
pub mod references;
pub mod values;

use self::locks::lock::SharedLock;
use self::locks::rlock::SharedRLock;
use self::locks::with_block::bind_once;
use manyhands_shm::object::Shape;
use manyhands_shm::{Handle, Kind, Object, OpenError};
use manyhands_sys::clock::Deadline;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::errors::{self, error_of};
use crate::interrupt::deadline_of;
use crate::process::codec::out_of_memory;

/// Makes all kinds known to this process: also one that never uses a queue may be the one to end
/// it.
pub fn register() {
    manyhands_shm::object::register(&[&manyhands_shm::cell::KIND]);
    manyhands_shm::object::register(&manyhands_shm::locks::KINDS);
    manyhands_shm::object::register(&[&manyhands_queue::shared::QUEUE]);
    manyhands_shm::object::register(&manyhands_queue::pipe::KINDS);
    manyhands_shm::object::register(&manyhands_collections::KINDS);
}

/// Makes `with` on shared locks fast; called when the module is imported.
pub fn prepare_classes(py: Python<'_>) -> PyResult<()> {
    bind_once::<SharedLock>(py)?;
    bind_once::<SharedRLock>(py)
}

/// What `__reduce__` of a shared class returns: `(class._open, (name of the object,))`.
///
/// # Errors
/// AttributeError if the class has no `_open`.
pub fn reduce<'py>(slf: &Bound<'py, PyAny>, object: &Object) -> PyResult<Bound<'py, PyTuple>> {
    let py = slf.py();
    let open = slf.get_type().getattr("_open")?;
    let name = PyBytes::new(py, &object.travel().to_bytes());
    (open, (name,)).into_pyobject(py)
}

/// The object that the bytes of a pickle name.
///
/// # Errors
/// `HandleError` with a sentence: outside of the family, or nobody has it any more.
pub fn open(py: Python<'_>, name: &[u8], kind: &'static Kind) -> PyResult<Object> {
    Handle::from_bytes(name)
        .and_then(|handle| Object::open(handle, kind))
        .map_err(|error| open_error(py, &error))
}

/// A new object in the heap of this process's family: `len` zeros.
///
/// # Errors
/// MemoryError; OSError if there is no shared memory.
///
/// # Safety
/// So many zeros are an object of this kind.
pub unsafe fn create(kind: &'static Kind, len: u64) -> PyResult<Object> {
    let heap = manyhands_shm::family::kept_heap()?;
    // SAFETY: the caller's promise.
    let object = unsafe { Object::create(&heap, kind, Shape::NONE, len) };
    object.map_err(|error| out_of_memory(&error))
}

/// `HandleError` (MemoryError if that is what it was) with its sentence.
pub fn open_error(py: Python<'_>, error: &OpenError) -> PyErr {
    match error {
        OpenError::OutOfMemory(error) => out_of_memory(error),
        error => error_of(errors::handle_error(py), error.to_string()),
    }
}

/// The deadline of `acquire(block, timeout)`.
///
/// # Errors
/// As [`deadline_of`](crate::interrupt::deadline_of).
pub fn acquire_deadline(
    block: bool,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Deadline>> {
    if block { deadline_of(timeout) } else { Ok(Some(Deadline::NOW)) }
}
