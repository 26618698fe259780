//! `Connection`: one end of a pipe between processes.
//!
//! What waits does so in `sync/blocking.rs`, after one attempt with the GIL: a message that is
//! there, or has room, costs no hand-over.

pub mod message;

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manyhands_queue::pipe::{BrokenPipe, End, Found, Receiving, Watch};
use manyhands_shm::{Carried, Handle};
use manyhands_sync::deadlock::Site;
use manyhands_sync::sleep::{Wait, Waiting};
use manyhands_sys::clock::Deadline;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{
    PyBrokenPipeError, PyBufferError, PyEOFError, PyOSError, PyTypeError, PyValueError,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyTuple, PyType};

use self::message::{BYTES, Incoming, LARGE, OBJECT, Outgoing, RAW};
use crate::errors;
use crate::interrupt::deadline_of;
use crate::process::codec::out_of_memory;
use crate::shared::open_error;
use crate::sync::blocking::block;

/// What the standard module's BrokenPipeError has as its errno.
const EPIPE: i32 = 32;

/// The part of `Connection` that is not Python.
#[pyclass(module = "manyhands._runtime", subclass, frozen)]
pub struct ConnectionCore {
    /// `None`: closed.
    end: Mutex<Option<Arc<Open>>>,
    /// Also false after a message that was too long.
    is_readable: AtomicBool,
    is_writable: bool,
}

/// What a call keeps while it lasts, also if another thread closes the connection.
struct Open {
    end: End,
    /// Whether somebody asked for the descriptor.
    is_watched: AtomicBool,
    watch: Mutex<Option<Arc<Watch>>>,
}

/// The two ends of a new pipe: as names for the constructor, which must be called at once.
#[pyfunction]
pub fn open_pipe<'py>(class_: &Bound<'py, PyType>, duplex: bool) -> PyResult<Bound<'py, PyTuple>> {
    let heap = manyhands_shm::family::kept_heap()?;
    let ends = End::pair(&heap, duplex).map_err(|error| out_of_memory(&error))?;
    let py = class_.py();
    let make = |end: &End| class_.call1((PyBytes::new(py, &end.object().handle().to_bytes()),));
    PyTuple::new(py, [make(&ends.0)?, make(&ends.1)?])
}

/// To be called when the Python classes are imported, so that no thread looks up anything for the
/// first time while another one forks.
#[pyfunction]
pub fn prepare_connections(py: Python<'_>) -> PyResult<()> {
    errors::buffer_too_short(py)?;
    message::look_everything_up(py)
}

/// Before a process ends: waits a moment for those who have to get what was written to a
/// descriptor.
#[pyfunction]
pub fn linger_for_sockets(py: Python<'_>) {
    py.detach(|| manyhands_queue::pipe::linger(std::time::Duration::from_secs(2)));
}

impl ConnectionCore {
    fn open(&self) -> PyResult<Arc<Open>> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.as_ref().map(Arc::clone).ok_or_else(|| PyOSError::new_err("handle is closed"))
    }

    fn open_for_sending(&self) -> PyResult<Arc<Open>> {
        let open = self.open()?;
        if self.is_writable {
            return Ok(open);
        }
        Err(PyOSError::new_err("connection is read-only"))
    }

    fn open_for_receiving(&self) -> PyResult<Arc<Open>> {
        let open = self.open()?;
        if self.is_readable.load(Ordering::Relaxed) {
            return Ok(open);
        }
        Err(PyOSError::new_err("connection is write-only"))
    }
}

#[pymethods]
impl ConnectionCore {
    #[new]
    fn new(py: Python<'_>, name: &[u8]) -> PyResult<Self> {
        let end = Handle::from_bytes(name).and_then(End::open);
        let end = end.map_err(|error| open_error(py, &error))?;
        let (is_readable, is_writable) = (AtomicBool::new(end.is_readable()), end.is_writable());
        let (is_watched, watch) = (AtomicBool::new(false), Mutex::new(None));
        let open = Arc::new(Open { end, is_watched, watch });
        Ok(Self { end: Mutex::new(Some(open)), is_readable, is_writable })
    }

    #[classmethod]
    fn _open<'py>(
        class_: &Bound<'py, PyType>,
        name: &Bound<'py, PyBytes>,
    ) -> PyResult<Bound<'py, PyAny>> {
        class_.call1((name,))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        crate::shared::reduce(slf.as_any(), slf.get().open()?.end.object())
    }

    /// Send an object, waiting for room if the pipe is full.
    ///
    /// Raises what pickling raises, then nothing is sent; BrokenPipeError if nobody is left who
    /// could receive; OSError if the connection is closed or only receives.
    ///
    /// As the standard method; the object may also be a lambda, or of a class of `__main__`.
    fn send(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let open = self.open_for_sending()?;
        let py = object.py();
        match Outgoing::new(object)? {
            Outgoing::Simple(bytes) => open.send(py, OBJECT, &[&bytes], Carried::default()),
            Outgoing::Bytes(bytes) => open.send(py, BYTES, &[bytes.as_bytes()], Carried::default()),
            Outgoing::Pickled(pickled, carried) => {
                let mut head = Vec::new();
                open.send(py, OBJECT, &pickled.pieces(&mut head), carried)
            }
        }
    }

    /// Send the bytes of `buf`, anything with a buffer, from `offset` on, `size` of them or all
    /// that follow.
    ///
    /// Raises ValueError if `offset` or `size` do not lie in it; else as `send`.
    #[pyo3(signature = (buf, offset=0, size=None))]
    fn send_bytes(
        &self,
        buf: &Bound<'_, PyAny>,
        offset: isize,
        size: Option<isize>,
    ) -> PyResult<()> {
        let open = self.open_for_sending()?;
        let py = buf.py();
        if let Ok(bytes) = buf.cast_exact::<PyBytes>() {
            let chosen = choose(bytes.as_bytes(), offset, size)?;
            return open.send(py, RAW, &[chosen], Carried::default());
        }
        let buffer = view_of(buf)?;
        // SAFETY: contiguous, and held for the call. That others write to it meanwhile is the
        // caller's business, as with every buffer that is sent.
        let bytes = unsafe {
            std::slice::from_raw_parts(
                buffer.buf_ptr().cast::<u8>().cast_const(),
                buffer.len_bytes(),
            )
        };
        open.send(py, RAW, &[choose(bytes, offset, size)?], Carried::default())
    }

    /// Receive an object, waiting for one.
    ///
    /// Raises EOFError if everything was received and nobody is left who could send, also if they
    /// were killed; what unpickling raises, then the message is lost; OSError if the connection is
    /// closed or only sends.
    fn recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = self.open_for_receiving()?;
        let received = open.receive(py, |len, tag| Target::new(py, len, tag).map(Some))?;
        let Received { tag, target, carried } = received.expect("every length is accepted");
        let object = message::object_of(py, tag, target.into_incoming());
        // What was named has been opened by now.
        drop(carried);
        object
    }

    /// Receive a message that `send_bytes` sent, of at most `maxlength` bytes.
    ///
    /// Raises OSError for a longer message: the connection can receive nothing more then; else as
    /// `recv`.
    #[pyo3(signature = (maxlength=None))]
    fn recv_bytes<'py>(
        &self,
        py: Python<'py>,
        maxlength: Option<isize>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let open = self.open_for_receiving()?;
        if maxlength.is_some_and(|maxlength| maxlength < 0) {
            return Err(PyValueError::new_err("negative maxlength"));
        }
        let most = maxlength.map_or(usize::MAX, |maxlength| maxlength as usize);
        // How long the pickle of an object is going to be is known only when it is made.
        let accepts = |len, tag| tag == OBJECT || len <= most;
        let target = |len, tag| accepts(len, tag).then(|| Target::new(py, len, tag)).transpose();
        if let Some(received) = open.receive(py, target)? {
            let bytes = received.into_bytes(py)?;
            if bytes.as_bytes().len() <= most {
                return Ok(bytes);
            }
        }
        // As in the standard module: who sends more than was agreed upon is not listened to.
        if self.is_writable {
            self.is_readable.store(false, Ordering::Relaxed);
        } else {
            self.close();
        }
        Err(PyOSError::new_err("bad message length"))
    }

    /// Receive bytes into `buf`, a writable buffer, from byte `offset` on; returns how many.
    ///
    /// Raises multiprocessing.BufferTooShort if they do not fit, with the whole message as its
    /// argument; ValueError if `offset` does not lie in the buffer; else as `recv`.
    #[pyo3(signature = (buf, offset=0))]
    fn recv_bytes_into(&self, buf: &Bound<'_, PyAny>, offset: isize) -> PyResult<usize> {
        let open = self.open_for_receiving()?;
        let py = buf.py();
        let buffer = view_of(buf)?;
        if buffer.readonly() {
            return Err(PyTypeError::new_err("cannot modify read-only memory"));
        }
        let room = buffer.len_bytes();
        let offset =
            usize::try_from(offset).map_err(|_| PyValueError::new_err("negative offset"))?;
        if offset > room {
            return Err(PyValueError::new_err("offset too large"));
        }
        let received = open.receive(py, |len, tag| {
            if tag == OBJECT || len > room - offset {
                return Target::new(py, len, tag).map(Some);
            }
            // SAFETY: inside the buffer, which is held until the call returns.
            let at = unsafe { buffer.buf_ptr().cast::<u8>().add(offset) };
            Ok(Some(Target::Buffer { at, len }))
        })?;
        let received = received.expect("every length is accepted");
        if let Target::Buffer { len, .. } = received.target {
            return Ok(len);
        }
        let bytes = received.into_bytes(py)?;
        let len = bytes.as_bytes().len();
        if len > room - offset {
            return Err(PyErr::from_type(errors::buffer_too_short(py)?.clone(), (bytes.unbind(),)));
        }
        // SAFETY: just checked to fit into the buffer, which is writable and held.
        unsafe {
            let into = buffer.buf_ptr().cast::<u8>().add(offset);
            into.copy_from_nonoverlapping(bytes.as_bytes().as_ptr(), len);
        }
        Ok(len)
    }

    /// Whether there is something to receive.
    fn _poll(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let open = self.open_for_receiving()?;
        if open.end.is_ready() {
            return Ok(true);
        }
        let deadline = deadline_of(timeout)?;
        if deadline.is_some_and(Deadline::is_now) {
            return Ok(false);
        }
        block(py, &open.end, deadline, false, |deadline, waiting| open.end.poll(deadline, waiting))
    }

    /// Whether there is something to receive now; False for an end that only sends.
    fn _is_ready(&self) -> PyResult<bool> {
        Ok(self.open()?.end.is_ready())
    }

    /// A descriptor that can be read while there is something to receive.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.open()?.fileno(py)
    }

    /// Close this end, for the process that calls; nothing happens if it is closed.
    fn close(&self) {
        let open = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(open);
    }

    #[getter]
    fn closed(&self) -> bool {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    #[getter]
    fn readable(&self) -> bool {
        self.is_readable.load(Ordering::Relaxed)
    }

    #[getter]
    const fn writable(&self) -> bool {
        self.is_writable
    }

    /// What tells this end from others.
    #[getter]
    fn _id(&self) -> PyResult<u64> {
        Ok(self.open()?.end.object().offset())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        _type: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) {
        self.close();
    }
}

/// A message that was received.
struct Received<'py> {
    tag: u16,
    target: Target<'py>,
    /// What its bytes name; to be dropped once they were unpickled.
    carried: Vec<Carried>,
}

/// Where a message is received.
enum Target<'py> {
    Small(Vec<u8>),
    Large(Bound<'py, PyByteArray>),
    Bytes(Bound<'py, PyBytes>),
    Buffer { at: *mut u8, len: usize },
}

impl<'py> Target<'py> {
    /// Memory for a message of `len` bytes.
    fn new(py: Python<'py>, len: usize, tag: u16) -> PyResult<Self> {
        if tag != OBJECT {
            // SAFETY: a new bytes object of that size, or null with MemoryError set.
            let bytes = unsafe {
                let raw = ffi::PyBytes_FromStringAndSize(std::ptr::null(), len as ffi::Py_ssize_t);
                Bound::from_owned_ptr_or_err(py, raw)?
            };
            return Ok(Self::Bytes(bytes.cast_into::<PyBytes>()?));
        }
        if len < LARGE {
            return Ok(Self::Small(vec![0; len]));
        }
        // SAFETY: a new bytearray of that size, or null with MemoryError set.
        let bytes = unsafe {
            let raw = ffi::PyByteArray_FromStringAndSize(std::ptr::null(), len as ffi::Py_ssize_t);
            Bound::from_owned_ptr_or_err(py, raw)?
        };
        Ok(Self::Large(bytes.cast_into::<PyByteArray>()?))
    }

    /// The memory itself; nobody else has seen it, or it is a buffer that is held.
    fn memory(&mut self) -> (*mut u8, usize) {
        match self {
            Self::Small(bytes) => (bytes.as_mut_ptr(), bytes.len()),
            Self::Large(bytes) => (bytes.data(), bytes.len()),
            Self::Bytes(bytes) => {
                // SAFETY: a bytes object, whose content may be written until somebody else sees it.
                let at = unsafe { ffi::PyBytes_AsString(bytes.as_ptr()) };
                (at.cast(), bytes.as_bytes().len())
            }
            Self::Buffer { at, len } => (*at, *len),
        }
    }

    fn into_incoming(self) -> Incoming<'py> {
        match self {
            Self::Small(bytes) => Incoming::Small(bytes),
            Self::Large(bytes) => Incoming::Large(bytes),
            Self::Bytes(bytes) => Incoming::Bytes(bytes),
            Self::Buffer { .. } => unreachable!("only bytes are received into a buffer"),
        }
    }
}

impl<'py> Received<'py> {
    /// What `send_bytes` was given, or the pickle of what `send` was given.
    fn into_bytes(self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        match (self.tag, self.target) {
            (RAW, Target::Bytes(bytes)) => Ok(bytes),
            (tag, target) => {
                let object = message::object_of(py, tag, target.into_incoming())?;
                message::pickle_of(&object)
            }
        }
    }
}

impl Open {
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        if let Some(watch) = self.renewed_watch()? {
            return Ok(watch.number());
        }
        // Detached: another process may have to be asked for the sockets. The mutex is taken only
        // attached: a fork while another thread had it would leave the child's locked.
        let mut made = Some(Arc::new(py.detach(|| Watch::new(self.end.clone()))?));
        let watch = {
            let mut place = self.lock_watch();
            // Another thread may have been faster.
            Arc::clone(place.get_or_insert_with(|| made.take().expect("made above")))
        };
        if let Some(surplus) = made {
            py.detach(|| drop(surplus));
        }
        self.is_watched.store(true, Ordering::Relaxed);
        // Who received before that did not tell it.
        watch.refresh();
        Ok(watch.number())
    }

    /// What keeps the descriptor true in this process, if somebody has asked for it before, here or
    /// in the process it was forked from.
    fn renewed_watch(&self) -> PyResult<Option<Arc<Watch>>> {
        let mut place = self.lock_watch();
        let watch = match place.take() {
            Some(of_parent) if !of_parent.is_of_this_process() => {
                // If a thread of the parent was using it, a new one has to do.
                let watch = Arc::try_unwrap(of_parent).ok().map(Watch::renew);
                watch.transpose()?.map(Arc::new)
            }
            watch => watch,
        };
        place.clone_from(&watch);
        Ok(watch)
    }

    fn lock_watch(&self) -> MutexGuard<'_, Option<Arc<Watch>>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn refresh(&self) {
        let watch = self.lock_watch().clone();
        if let Some(watch) = watch {
            watch.refresh();
        }
    }

    fn send(&self, py: Python<'_>, tag: u16, parts: &[&[u8]], carried: Carried) -> PyResult<()> {
        let sending = self.end.send(tag, parts, carried);
        let mut sending = sending.ok_or_else(|| PyOSError::new_err("connection is read-only"))?;
        wait(py, &self.end, |deadline, waiting| sending.step(deadline, waiting))?;
        match sending.outcome() {
            Some(Err(BrokenPipe)) => Err(PyBrokenPipeError::new_err((EPIPE, "Broken pipe"))),
            _ => Ok(()),
        }
    }

    /// Receives a message where `target` says. `None`: `target` does not want it, and it stays.
    fn receive<'py>(
        &self,
        py: Python<'py>,
        target: impl Fn(usize, u16) -> PyResult<Option<Target<'py>>>,
    ) -> PyResult<Option<Received<'py>>> {
        loop {
            let receiving = self.end.receive();
            let mut receiving =
                receiving.ok_or_else(|| PyOSError::new_err("connection is write-only"))?;
            wait(py, &self.end, |deadline, waiting| receiving.begin(deadline, waiting))?;
            let (len, tag) = match receiving.found() {
                Some(Found::Message { len, tag }) => (len as usize, tag),
                _ => return Err(PyEOFError::new_err(())),
            };
            let Some(mut target) = target(len, tag)? else { return Ok(None) };
            self.fill(py, &mut receiving, &mut target)?;
            if self.is_watched.load(Ordering::Relaxed) {
                // Whoever looks at the descriptor now is not told of what was just received.
                self.refresh();
            }
            if receiving.is_whole() {
                let carried = receiving.take_carried();
                return Ok(Some(Received { tag, target, carried }));
            }
            // Its sender died or gave up in the middle of it: on to the next one.
        }
    }

    fn fill(
        &self,
        py: Python<'_>,
        receiving: &mut Receiving<'_>,
        target: &mut Target<'_>,
    ) -> PyResult<()> {
        let (at, len) = target.memory();
        // SAFETY: the target's memory, which nobody else has seen or which is a buffer that is
        // held; uninitialized bytes may be written.
        let room = unsafe { std::slice::from_raw_parts_mut(at.cast::<MaybeUninit<u8>>(), len) };
        wait(py, &self.end, |deadline, waiting| receiving.fill(room, deadline, waiting))
    }
}

/// Calls `step` until it is done: once with the GIL, then without.
fn wait(
    py: Python<'_>,
    end: &End,
    mut step: impl FnMut(Option<Deadline>, &mut Waiting<'_>) -> Wait,
) -> PyResult<()> {
    if step(Some(Deadline::NOW), &mut Waiting::new(end, Site::Unknown)) == Wait::Done {
        return Ok(());
    }
    block(py, end, None, false, step).map(drop)
}

/// The part of `bytes` that is to be sent.
fn choose(bytes: &[u8], offset: isize, size: Option<isize>) -> PyResult<&[u8]> {
    let wrong = |text: &'static str| Err(PyValueError::new_err(text));
    let Ok(offset) = usize::try_from(offset) else { return wrong("offset is negative") };
    if bytes.len() < offset {
        return wrong("buffer length < offset");
    }
    let rest = &bytes[offset..];
    match size.map(usize::try_from) {
        None => Ok(rest),
        Some(Err(_)) => wrong("size is negative"),
        Some(Ok(size)) if size > rest.len() => wrong("buffer length < offset + size"),
        Some(Ok(size)) => Ok(&rest[..size]),
    }
}

/// A view of a buffer whose bytes lie side by side.
fn view_of(buf: &Bound<'_, PyAny>) -> PyResult<PyUntypedBuffer> {
    let buffer = PyUntypedBuffer::get(buf)?;
    if buffer.is_c_contiguous() {
        return Ok(buffer);
    }
    Err(PyBufferError::new_err("the bytes of the buffer must lie side by side in memory"))
}
