//! Memory of the family heap as a Python buffer: what large arrays are unpickled onto.

use std::ffi::c_int;
use std::ops::Range;
use std::sync::Arc;

use manyhands_shm::Block;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// A range of a block that this process holds. The block is given back with the last buffer.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct SharedBuffer {
    block: Arc<Block>,
    range: Range<usize>,
}

impl SharedBuffer {
    /// The bytes `range` of `block`.
    pub fn new(block: Arc<Block>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= block.len(), "range within the block");
        Self { block, range }
    }
}

#[pymethods]
impl SharedBuffer {
    fn __len__(&self) -> usize {
        self.range.len()
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
        let start = this.block.as_ptr().wrapping_add(this.range.start).cast_mut();
        let len = this.range.len() as ffi::Py_ssize_t;
        // SAFETY: the memory lives as long as `slf`, which the filled view keeps alive. It is
        // this process's alone, and within the process Python's rules for buffers apply.
        let rc = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start.cast(), len, 0, flags) };
        if rc == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
