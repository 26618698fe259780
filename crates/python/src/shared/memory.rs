//! `manyhands._runtime.Memory`: bytes of the family heap as a Python buffer.
//!
//! What ctypes objects, NumPy arrays and shared memory blocks lie on. It is unpickled to the same
//! bytes in any process of the family.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use manyhands_shm::object::ids;
use manyhands_shm::{Handle, OpenError, cell, family};
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{lost_update, open_error, reduce};
use crate::process::codec::out_of_memory;

/// Bytes that all processes of the family see: a buffer that can be written.
#[pyclass(module = "manyhands._runtime", frozen, weakref)]
pub struct Memory {
    pub(super) memory: cell::Memory,
    n_exports: AtomicUsize,
}

impl Memory {
    pub(super) fn new(memory: cell::Memory) -> Self {
        Self { memory, n_exports: AtomicUsize::new(0) }
    }

    fn open(py: Python<'_>, handle: Result<Handle, OpenError>) -> PyResult<Self> {
        handle.and_then(cell::Memory::open).map(Self::new).map_err(|error| open_error(py, &error))
    }
}

#[pymethods]
impl Memory {
    /// `n_bytes` bytes of zeros; lost updates of the first `n_watched` cells can be told, if that
    /// is asked for at all.
    #[new]
    #[pyo3(signature = (n_bytes, n_watched=0))]
    fn create(n_bytes: u64, n_watched: u64) -> PyResult<Self> {
        let heap = family::kept_heap()?;
        let mode = lost_update::mode_of_new_memory();
        let n_watched = if mode == 0 { 0 } else { n_watched };
        let memory = cell::Memory::create(&heap, n_bytes, n_watched)
            .map_err(|error| out_of_memory(&error))?;
        memory.set_mode(mode);
        Ok(Self::new(memory))
    }

    #[staticmethod]
    fn _open(py: Python<'_>, name: &[u8]) -> PyResult<Self> {
        Self::open(py, Handle::from_bytes(name))
    }

    /// The memory with this `name`; None if nothing has it.
    #[staticmethod]
    fn named(py: Python<'_>, name: &str) -> PyResult<Option<Self>> {
        let Some(heap) = family::existing() else { return Ok(None) };
        let Some((family, offset, serial)) = parse_name(name) else { return Ok(None) };
        if family != heap.family() {
            return Ok(None);
        }
        let handle = Handle { family, offset, serial, kind: ids::MEMORY };
        match cell::Memory::open(handle) {
            Ok(memory) if memory.is_unlinked() => Ok(None),
            Ok(memory) => Ok(Some(Self::new(memory))),
            Err(OpenError::OutOfMemory(error)) => {
                Err(open_error(py, &OpenError::OutOfMemory(error)))
            }
            Err(_) => Ok(None),
        }
    }

    /// What `named` finds it by.
    #[getter]
    fn name(&self) -> String {
        let handle = self.memory.object().handle();
        format!("mh_{:x}_{:x}_{:x}", handle.family, handle.offset, handle.serial)
    }

    /// Takes the name away; False if it had been taken away.
    fn unlink(&self) -> bool {
        self.memory.unlink()
    }

    /// Whether the name was taken away.
    #[getter]
    fn is_unlinked(&self) -> bool {
        self.memory.is_unlinked()
    }

    /// Where the bytes are in this process.
    #[getter]
    fn address(&self) -> usize {
        self.memory.data().as_ptr() as usize
    }

    /// How many buffers of this object are in use.
    #[getter]
    fn n_exports(&self) -> usize {
        self.n_exports.load(Ordering::Relaxed)
    }

    fn __len__(&self) -> usize {
        self.memory.len() as usize
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        reduce(slf.as_any(), slf.get().memory.object())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let other = other.cast::<Self>();
        other.is_ok_and(|other| other.get().memory.object() == self.memory.object())
    }

    fn __hash__(&self) -> u64 {
        self.memory.object().offset()
    }

    /// # Safety
    /// Called by the interpreter with a valid `view`.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("a buffer needs a view to fill"));
        }
        let this = slf.get();
        let len = ffi::Py_ssize_t::try_from(this.memory.len())
            .map_err(|_| PyValueError::new_err("the memory is too large for a buffer"))?;
        let start = this.memory.data().as_ptr();
        // SAFETY: the memory lives as long as `slf`, which the filled view keeps alive. That other
        // processes write to it is what its users want.
        let rc = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start.cast(), len, 0, flags) };
        if rc != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        this.n_exports.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// # Safety
    /// Called by the interpreter with a view that `__getbuffer__` filled.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.n_exports.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Family, offset and serial number in a name.
fn parse_name(name: &str) -> Option<(u64, u64, u32)> {
    let mut parts = name.strip_prefix("mh_")?.split('_');
    let family = u64::from_str_radix(parts.next()?, 16).ok()?;
    let offset = u64::from_str_radix(parts.next()?, 16).ok()?;
    let serial = u32::from_str_radix(parts.next()?, 16).ok()?;
    parts.next().is_none().then_some((family, offset, serial))
}

/// What `statistics()` of a value or an array returns.
pub fn statistics<'py>(py: Python<'py>, memory: &cell::Memory) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("lost_updates", memory.n_lost_updates())?;
    Ok(dict)
}
