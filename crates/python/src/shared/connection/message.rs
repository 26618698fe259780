//! What connections send: objects, and plain bytes; each can be received as the other.
//!
//! | tag | body |
//! |---|---|
//! | `RAW` | what `send_bytes` was given |
//! | `OBJECT` | an object as `process/codec.rs` lays it out |
//! | `BYTES` | the content of an object that is exactly `bytes`, which needs no pickler |
//!
//! Objects are pickled with the reducers that programs register with `multiprocessing.reduction`;
//! what plain pickle refuses, or names `__main__` in, by `manyhands/_pickling/main_objects.py`.

use manyhands_shm::Carried;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList};

use crate::contract::{self, Hook};
use crate::process::codec::{self, Pickled, Shape};
use crate::process::simple;

pub const RAW: u16 = 0;
pub const OBJECT: u16 = 1;
pub const BYTES: u16 = 2;

/// An object ready to be sent.
pub enum Outgoing<'py> {
    /// Short.
    Simple(Vec<u8>),
    /// Exactly these bytes.
    Bytes(Bound<'py, PyBytes>),
    /// Anything else, and the shared objects it names.
    Pickled(Pickled<'py>, Carried),
}

/// What was received, in memory of the receiver's.
pub enum Incoming<'py> {
    /// Of a message with few bytes.
    Small(Vec<u8>),
    /// Of one with many: what is unpickled from it stays there.
    Large(Bound<'py, PyByteArray>),
    /// To become an object as it is.
    Bytes(Bound<'py, PyBytes>),
}

/// From here on a message is worth memory of its own.
pub const LARGE: usize = 16 * 1024;

const SIMPLE_OBJECT: u8 = Shape::SimpleObject as u8;

impl<'py> Outgoing<'py> {
    /// Prepares `object`.
    ///
    /// # Errors
    /// What pickling raises.
    pub fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut simple = Vec::with_capacity(24);
        simple.push(SIMPLE_OBJECT);
        if simple::encode(object, &mut simple) {
            return Ok(Self::Simple(simple));
        }
        if let Ok(bytes) = object.cast_exact::<PyBytes>() {
            return Ok(Self::Bytes(bytes.clone()));
        }
        let py = object.py();
        let pickling = Pickling::get(py)?;
        let (pickled, carried) = Carried::collect(|| {
            let dumps =
                |buffers: &Bound<'py, PyList>| pickling.dumps.bind(py).call1((object, buffers));
            if pickling.has_other_reducers(py)? {
                Pickled::by(object, &dumps)
            } else {
                Pickled::new(object, Shape::Object, &dumps)
            }
        });
        Ok(Self::Pickled(pickled?, carried))
    }
}

/// The object that a message is.
///
/// # Errors
/// What unpickling raises.
pub fn object_of<'py>(
    py: Python<'py>,
    tag: u16,
    incoming: Incoming<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    match (tag, incoming) {
        (OBJECT, Incoming::Small(bytes)) => Ok(codec::loads(py, &bytes, || None)?.object),
        (OBJECT, Incoming::Large(bytes)) => codec::loads_bytearray(&bytes),
        (_, Incoming::Bytes(bytes)) if tag == BYTES => Ok(bytes.into_any()),
        // Somebody's own pickle.
        (_, Incoming::Bytes(bytes)) => Pickling::get(py)?.loads.bind(py).call1((bytes,)),
        _ => unreachable!("bytes are received as bytes"),
    }
}

/// The bytes that an object which was sent would be if it had been pickled before.
///
/// # Errors
/// What pickling raises.
pub fn pickle_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    let pickle = Pickling::get(py)?.pickle.bind(py).call1((object,))?;
    Ok(pickle.cast_into::<PyBytes>()?)
}

/// What is needed of Python, looked up once.
struct Pickling {
    /// `(object, buffers)` to bytes: the standard module's way, else by value.
    dumps: Py<PyAny>,
    /// `object` to bytes that plain `pickle` loads.
    pickle: Py<PyAny>,
    loads: Py<PyAny>,
    /// What was registered with `multiprocessing.reduction`.
    reducers: Py<PyDict>,
    /// Whether there are reducers that the plain pickler does not know.
    look_at_reducers: Py<PyAny>,
}

impl Pickling {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        static PICKLING: PyOnceLock<Pickling> = PyOnceLock::new();
        PICKLING.get_or_try_init(py, || {
            let get = |hook: &Hook| hook.get(py).map(|found| found.clone().unbind());
            Ok(Self {
                dumps: get(&contract::CONNECTION_DUMPS)?,
                pickle: get(&contract::CONNECTION_PICKLE)?,
                loads: get(&contract::CONNECTION_LOADS)?,
                reducers: contract::CONNECTION_REDUCERS.get(py)?.cast::<PyDict>()?.clone().unbind(),
                look_at_reducers: get(&contract::HAS_OTHER_REDUCERS)?,
            })
        })
    }

    fn has_other_reducers(&self, py: Python<'_>) -> PyResult<bool> {
        if self.reducers.bind(py).is_empty() {
            return Ok(false);
        }
        self.look_at_reducers.bind(py).call0()?.is_truthy()
    }
}

/// Looks up what sending needs, in the thread that imports us: see `codec::look_everything_up`.
///
/// # Errors
/// What importing raises.
pub fn look_everything_up(py: Python<'_>) -> PyResult<()> {
    Pickling::get(py).map(drop)
}
