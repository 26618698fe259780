//! Objects to bytes and back, and how both are laid out in a slot or block.
//!
//! ```text
//! []                               no arguments
//! [SIMPLE]   [tagged values]       see `simple`
//! [PLAIN]    [pickle]              one pickle
//! [BUFFERS]  [n] [pickle_len] [len…] [pickle] … [buffer at a multiple of 64] …
//! ```
//! The first byte also says what the pickle holds. Large buffers (NumPy arrays, Arrow) are
//! unpickled where they lie, without a copy.

use std::ops::Range;
use std::sync::Arc;

use crate::contract;
use manyhands_pool::process::Body;
use manyhands_shm::{Block, Carried, Heap};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PySlice, PyString, PyTuple};
use pyo3::{ffi, intern};

use super::buffer::SharedBuffer;
use super::simple;

/// What a pickle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    /// The arguments: a tuple.
    Args = 1,
    /// `(args, kwargs)`.
    ArgsAndKwargs = 2,
    /// `(function, args, kwargs)`.
    WholeCall = 3,
    /// One object.
    Object = 4,
    /// The arguments, all of them simple values.
    SimpleArgs = 5,
    /// One simple value.
    SimpleObject = 6,
    /// Items, each of which is the argument of one call.
    Chunk = 7,
    /// Items, each of which is the arguments of one call.
    StarredChunk = 8,
}

/// The body of simple arguments; `None`: they need the pickler.
pub fn simple_args(args: &Bound<'_, PyTuple>) -> Option<Body> {
    let mut bytes = vec![Shape::SimpleArgs as u8];
    (simple::encode_args(args, &mut bytes) && bytes.len() <= SIMPLE_LIMIT)
        .then(|| Body::Inline(bytes.into()))
}

/// The body of a simple value; `None`: it needs the pickler.
pub fn simple_object(value: &Bound<'_, PyAny>) -> Option<Body> {
    let mut bytes = vec![Shape::SimpleObject as u8];
    simple::encode(value, &mut bytes).then(|| Body::Inline(bytes.into()))
}

/// Simple values are only worth it while they fit a slot.
const SIMPLE_LIMIT: usize = 400;

const BUFFERS: u8 = 0x80;
const ALIGNMENT: usize = 64;

/// Buffers below this are copied out of the block, so that it can be given back at once.
const WORTH_KEEPING: usize = 16 * 1024;

/// Pickle of an object that is to travel, and its out-of-band buffers.
pub struct Pickled<'py> {
    shape: Shape,
    stream: Bound<'py, PyBytes>,
    buffers: Vec<PyBuffer<u8>>,
    /// What comes last, for whoever carries the bytes; unpickling does not look at it.
    trailer: Vec<u8>,
}

/// What the slow path of pickling is asked for when the C pickler refuses.
pub type Fallback<'a, 'py> = &'a dyn Fn(&Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>>;

impl<'py> Pickled<'py> {
    /// Pickles `object`; `fallback` is asked if the C pickler refuses or names `__main__`.
    pub fn new(
        object: &Bound<'py, PyAny>,
        shape: Shape,
        fallback: Fallback<'_, 'py>,
    ) -> PyResult<Self> {
        Self::new_or(object, shape, shape, fallback)
    }

    /// As [`Pickled::new`], with a fallback that pickles another shape of the same.
    pub fn new_or(
        object: &Bound<'py, PyAny>,
        shape: Shape,
        fallback_shape: Shape,
        fallback: Fallback<'_, 'py>,
    ) -> PyResult<Self> {
        let py = object.py();
        let buffers = PyList::empty(py);
        match dumps(object, &buffers) {
            Ok(stream) if !names_main(stream.as_bytes()) => {
                return Self::with_buffers(shape, stream, &buffers);
            }
            Err(error) if !error.is_instance_of::<PyException>(py) => return Err(error),
            _ => {}
        }
        let buffers = PyList::empty(py);
        let stream = fallback(&buffers)?.cast_into::<PyBytes>()?;
        Self::with_buffers(fallback_shape, stream, &buffers)
    }

    /// One object, pickled by `pickler`.
    pub fn by(object: &Bound<'py, PyAny>, pickler: Fallback<'_, 'py>) -> PyResult<Self> {
        let buffers = PyList::empty(object.py());
        let stream = pickler(&buffers)?.cast_into::<PyBytes>()?;
        Self::with_buffers(Shape::Object, stream, &buffers)
    }

    fn with_buffers(
        shape: Shape,
        stream: Bound<'py, PyBytes>,
        list: &Bound<'py, PyList>,
    ) -> PyResult<Self> {
        let mut buffers = Vec::new();
        for buffer in list.iter() {
            let raw = buffer.call_method0(intern!(stream.py(), "raw"))?;
            buffers.push(PyBuffer::<u8>::get(&raw)?);
        }
        Ok(Self { shape, stream, buffers, trailer: Vec::new() })
    }

    /// Ends the bytes with the names of what they carry.
    pub fn naming(mut self, carried: &Carried) -> Self {
        self.trailer = carried.handles().iter().flat_map(|handle| handle.to_bytes()).collect();
        self
    }

    /// Bytes it takes on its way.
    fn len(&self) -> usize {
        let mut len = self.stream_at() + self.stream.as_bytes().len();
        for buffer in &self.buffers {
            len = len.next_multiple_of(ALIGNMENT) + buffer.len_bytes();
        }
        len + self.trailer.len()
    }

    const fn header_len(n_buffers: usize) -> usize {
        if n_buffers == 0 { 1 } else { 8 * (3 + n_buffers) }
    }

    fn stream_at(&self) -> usize {
        Self::header_len(self.buffers.len())
    }

    fn write(&self, into: &mut [u8]) {
        let (into, trailer) = into.split_at_mut(into.len() - self.trailer.len());
        trailer.copy_from_slice(&self.trailer);
        let stream = self.stream.as_bytes();
        let mut at = self.stream_at();
        into[0] = self.shape as u8;
        into[at..at + stream.len()].copy_from_slice(stream);
        at += stream.len();
        if self.buffers.is_empty() {
            return;
        }
        into[0] |= BUFFERS;
        put_number(into, 1, self.buffers.len());
        put_number(into, 2, stream.len());
        for (idx, buffer) in self.buffers.iter().enumerate() {
            put_number(into, 3 + idx, buffer.len_bytes());
            at = at.next_multiple_of(ALIGNMENT);
            // SAFETY: the view is contiguous (`PickleBuffer.raw`) and held by `buffer`; the
            // target is a slice of our own of the same length.
            let source = unsafe {
                std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes())
            };
            into[at..at + source.len()].copy_from_slice(source);
            at += source.len();
        }
    }

    /// The bytes in pieces, for whoever sends them without putting them together first: what
    /// [`Pickled::into_body`] makes one of. `head` is room for what comes first.
    pub fn pieces<'a>(&'a self, head: &'a mut Vec<u8>) -> Vec<&'a [u8]> {
        const PADDING: &[u8] = &[0; ALIGNMENT];
        let stream = self.stream.as_bytes();
        head.resize(self.stream_at(), 0);
        head[0] = self.shape as u8;
        if self.buffers.is_empty() {
            return vec![head, stream];
        }
        head[0] |= BUFFERS;
        put_number(head, 1, self.buffers.len());
        put_number(head, 2, stream.len());
        for (idx, buffer) in self.buffers.iter().enumerate() {
            put_number(head, 3 + idx, buffer.len_bytes());
        }
        let mut at = head.len() + stream.len();
        let mut pieces: Vec<&[u8]> = vec![head, stream];
        for buffer in &self.buffers {
            pieces.push(&PADDING[..at.next_multiple_of(ALIGNMENT) - at]);
            // SAFETY: the view is contiguous (`PickleBuffer.raw`) and held by `buffer`.
            let bytes = unsafe {
                std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes())
            };
            pieces.push(bytes);
            at = at.next_multiple_of(ALIGNMENT) + bytes.len();
        }
        pieces.push(&self.trailer);
        pieces
    }

    /// The body that travels: in private memory while short, else written straight into the heap.
    pub fn into_body(self, heap: &Arc<Heap>, inline_limit: usize) -> PyResult<Body> {
        let len = self.len();
        if len <= inline_limit {
            let mut bytes = vec![0; len];
            self.write(&mut bytes);
            return Ok(Body::Inline(bytes.into()));
        }
        let mut block =
            heap.alloc_for_overwrite(len as u64).map_err(|error| out_of_memory(&error))?;
        self.write(&mut block);
        Ok(Body::Block(block))
    }
}

/// What a body was unpickled to.
pub struct Unpickled<'py> {
    /// What it holds.
    pub shape: Shape,
    /// The object.
    pub object: Bound<'py, PyAny>,
}

/// Unpickles a body. `keep` makes its block this process's own; it is called only if there are
/// buffers worth keeping in place.
pub fn loads<'py>(
    py: Python<'py>,
    body: &[u8],
    keep: impl FnOnce() -> Option<Arc<Block>>,
) -> PyResult<Unpickled<'py>> {
    match body[0] {
        tag if tag == Shape::SimpleArgs as u8 => {
            let object = simple::decode_args(py, &body[1..])?;
            return Ok(Unpickled { shape: Shape::Args, object });
        }
        tag if tag == Shape::SimpleObject as u8 => {
            let object = simple::decode(py, &mut &body[1..])?;
            return Ok(Unpickled { shape: Shape::Object, object });
        }
        _ => {}
    }
    let shape = match body[0] & !BUFFERS {
        1 => Shape::Args,
        2 => Shape::ArgsAndKwargs,
        3 => Shape::WholeCall,
        7 => Shape::Chunk,
        8 => Shape::StarredChunk,
        _ => Shape::Object,
    };
    if body[0] & BUFFERS == 0 {
        return Ok(Unpickled { shape, object: loads_stream(py, &body[1..], None)? });
    }
    let (stream, ranges) = pieces_of(body);
    let is_worth_it = ranges.iter().any(|range| range.len() >= WORTH_KEEPING);
    let kept = if is_worth_it { keep() } else { None };
    let buffers = PyList::empty(py);
    for range in ranges {
        match &kept {
            Some(block) if range.len() >= WORTH_KEEPING => {
                buffers.append(SharedBuffer::new(Arc::clone(block), range))?;
            }
            _ => buffers.append(PyByteArray::new(py, &body[range]))?,
        }
    }
    Ok(Unpickled { shape, object: loads_stream(py, stream, Some(&buffers))? })
}

/// As [`loads`] for one object whose bytes are a bytearray of their own, which keeps the buffers.
pub fn loads_bytearray<'py>(bytes: &Bound<'py, PyByteArray>) -> PyResult<Bound<'py, PyAny>> {
    let py = bytes.py();
    // SAFETY: nobody else has seen the bytearray, so nobody resizes it during this call.
    let body = unsafe { bytes.as_bytes() };
    if body[0] & BUFFERS == 0 {
        return Ok(loads(py, body, || None)?.object);
    }
    let (stream, ranges) = pieces_of(body);
    let view = PyMemoryView::from(bytes)?;
    let buffers = PyList::empty(py);
    for range in ranges {
        buffers.append(view.get_item(PySlice::new(
            py,
            range.start as isize,
            range.end as isize,
            1,
        ))?)?;
    }
    loads_stream(py, stream, Some(&buffers))
}

/// The pickle in a body with buffers, and where the buffers are.
fn pieces_of(body: &[u8]) -> (&[u8], Vec<Range<usize>>) {
    let n_buffers = number(body, 1);
    let stream_at = Pickled::header_len(n_buffers);
    let stream = &body[stream_at..stream_at + number(body, 2)];
    let mut at = stream_at + stream.len();
    let ranges = (0..n_buffers).map(|idx| {
        let start = at.next_multiple_of(ALIGNMENT);
        at = start + number(body, 3 + idx);
        start..at
    });
    (stream, ranges.collect())
}

/// Whether the pickle refers to the main module, which no other process has.
pub fn names_main(stream: &[u8]) -> bool {
    memchr::memmem::find(stream, b"__main__").is_some()
}

/// MemoryError with the heap's sentence.
pub fn out_of_memory(error: &manyhands_shm::OutOfMemory) -> PyErr {
    PyMemoryError::new_err(error.to_string())
}

/// Looks up what the functions below need, in the thread that imports us. A fork while another
/// thread does that at its first task would leave the child waiting for that thread.
///
/// # Errors
/// What looking up, or pickling None, raises.
pub fn look_everything_up(py: Python<'_>) -> PyResult<()> {
    crate::parcel::look_everything_up(py)?;
    let nothing = py.None().into_bound(py);
    let stream = dumps(&nothing, &PyList::empty(py))?;
    loads_stream(py, stream.as_bytes(), None).map(drop)
}

/// `pickle.dumps(object, 5, buffer_callback=buffers.append)`.
fn dumps<'py>(
    object: &Bound<'py, PyAny>,
    buffers: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyBytes>> {
    static NAMES: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
    let py = object.py();
    let dumps = contract::PLAIN_DUMPS.get(py)?;
    let names = NAMES.get_or_try_init(py, || {
        PyTuple::new(py, [PyString::new(py, "buffer_callback")]).map(Bound::unbind)
    })?;
    static FIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let five =
        FIVE.get_or_try_init(py, || 5u8.into_pyobject(py).map(|five| five.into_any().unbind()))?;
    let append = buffers.getattr(intern!(py, "append"))?;
    let args = [object.as_ptr(), five.as_ptr(), append.as_ptr()];
    // SAFETY: two positional arguments and one keyword, whose name is in `names`; all live.
    let stream = unsafe {
        let raw = ffi::PyObject_Vectorcall(dumps.as_ptr(), args.as_ptr(), 2, names.as_ptr());
        Bound::from_owned_ptr_or_err(py, raw)?
    };
    Ok(stream.cast_into::<PyBytes>()?)
}

/// `pickle.loads(stream, buffers=buffers)`.
fn loads_stream<'py>(
    py: Python<'py>,
    stream: &[u8],
    buffers: Option<&Bound<'py, PyList>>,
) -> PyResult<Bound<'py, PyAny>> {
    let loads = contract::PLAIN_LOADS.get(py)?;
    // SAFETY: the view is used during the call below only, while `stream` is borrowed: pickle
    // copies what it keeps.
    let view = unsafe {
        let raw = ffi::PyMemoryView_FromMemory(
            stream.as_ptr().cast_mut().cast(),
            stream.len() as ffi::Py_ssize_t,
            ffi::PyBUF_READ,
        );
        Bound::from_owned_ptr_or_err(py, raw)?
    };
    match buffers {
        None => loads.call1((view,)),
        Some(buffers) => {
            let kwargs = PyDict::new(py);
            kwargs.set_item(intern!(py, "buffers"), buffers)?;
            loads.call((view,), Some(&kwargs))
        }
    }
}

fn put_number(into: &mut [u8], idx: usize, number: usize) {
    into[8 * idx..8 * (idx + 1)].copy_from_slice(&(number as u64).to_le_bytes());
}

fn number(body: &[u8], idx: usize) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&body[8 * idx..8 * (idx + 1)]);
    u64::from_le_bytes(bytes) as usize
}
