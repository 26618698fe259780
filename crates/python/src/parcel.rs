//! Objects as bytes for managed containers.
//!
//! What a container holds: simple values by tag; everything else
//! pickled, by value what the reader cannot import; large buffers written straight into the heap,
//! where the reader finds them; and references to the shared objects that are named inside.
//!
//! An error of the pickler is raised where the object is packed, and nothing has been changed then.
//! What queues and pipes carry is packed in `shared/queue_item.rs` and `connection_message.rs`.

use std::sync::Arc;

use manyhands_pool::process::Body;
use manyhands_shm::{Carried, Heap};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::contract;
use crate::process::codec::{Pickled, Shape, simple_object};

/// An object ready to be sent.
pub struct Packed {
    /// Its bytes: short ones in private memory, others in a block of the heap that is ours.
    pub body: Body,
    /// The shared objects that it names.
    pub carried: Carried,
}

/// Packs `object`; what takes more than `inline_limit` bytes is put into a block of `heap`.
///
/// # Errors
/// What pickling raises; MemoryError.
pub fn pack(object: &Bound<'_, PyAny>, heap: &Arc<Heap>, inline_limit: usize) -> PyResult<Packed> {
    if let Some(body) = simple_object(object) {
        return Ok(Packed { body, carried: Carried::default() });
    }
    let (pickled, carried) =
        Carried::collect(|| Pickled::new(object, Shape::Object, &|buffers| dumps(object, buffers)));
    Ok(Packed { body: pickled?.into_body(heap, inline_limit)?, carried })
}

/// Looks up what packing needs, in the thread that imports us: see `codec::look_everything_up`.
///
/// # Errors
/// What importing raises.
pub fn look_everything_up(py: Python<'_>) -> PyResult<()> {
    dumps_of(py).map(drop)
}

fn dumps<'py>(
    object: &Bound<'py, PyAny>,
    buffers: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyAny>> {
    dumps_of(object.py())?.call1((object, buffers))
}

fn dumps_of(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    contract::DUMPS_MESSAGE.get(py)
}
