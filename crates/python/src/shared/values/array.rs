//! `manyhands._runtime.SharedArray`: a row of numbers that the family shares, with its lock.
//!
//! The base of what `manyhands.multiprocessing.Array` returns. It is a typed buffer, so NumPy and
//! memoryview see the numbers where they are; accesses through a buffer take no lock and are not
//! watched.

use std::ffi::{c_int, c_void};

use pyo3::exceptions::{PyBufferError, PyIndexError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySlice};

use crate::shared::values::guard::Guard;
use crate::shared::values::memory::Memory;
use crate::shared::values::methods::locked_number_methods;
use crate::shared::values::place::Place;
use crate::shared::values::scalar::{Cell, Op, Scalar, with_type};

/// Shared numbers.
#[pyclass(module = "manyhands._runtime", subclass, frozen, weakref)]
pub struct SharedArray {
    memory: manyhands_shm::cell::Memory,
    scalar: Scalar,
    guard: Guard,
    /// What views point at: number of elements, bytes from one to the next.
    shape: [ffi::Py_ssize_t; 1],
    strides: [ffi::Py_ssize_t; 1],
}

impl SharedArray {
    fn len(&self) -> usize {
        self.shape[0] as usize
    }

    /// The place of a valid index.
    #[inline]
    fn place(&self, idx: usize) -> Place<'_> {
        assert!(idx < self.len());
        Place { memory: &self.memory, scalar: self.scalar, guard: &self.guard, idx }
    }

    #[inline]
    fn at(&self, index: &Bound<'_, PyAny>) -> PyResult<Place<'_>> {
        // SAFETY: attached, a live object.
        let idx = unsafe {
            ffi::PyNumber_AsSsize_t(
                index.as_ptr(),
                index.py().get_type::<PyIndexError>().as_ptr().cast(),
            )
        };
        if idx == -1
            && let Some(error) = PyErr::take(index.py())
        {
            return Err(error);
        }
        let from_start = if idx < 0 { idx + self.shape[0] } else { idx };
        if !(0..self.shape[0]).contains(&from_start) {
            let text = format!("index {idx} of an array of {} numbers", self.shape[0]);
            return Err(PyIndexError::new_err(text));
        }
        Ok(self.place(from_start as usize))
    }

    /// The indices that a slice means: first, distance, number.
    fn indices(&self, slice: &Bound<'_, PySlice>) -> PyResult<(isize, isize, usize)> {
        let indices = slice.indices(self.shape[0])?;
        Ok((indices.start, indices.step, indices.slicelength))
    }

    fn index_error(&self, index: &Bound<'_, PyAny>) -> PyErr {
        let kind = index.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        PyTypeError::new_err(format!("indices must be integers or slices, not {kind}"))
    }
}

locked_number_methods!(SharedArray);

#[pymethods]
impl SharedArray {
    /// The numbers that `memory` holds, of the type that the format character `code` means.
    #[new]
    fn new(
        memory: &Bound<'_, Memory>,
        code: &str,
        length: usize,
        lock: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let (memory, scalar) = (memory.get().memory.clone(), Scalar::of_code(code)?);
        let size = scalar.size();
        if length.checked_mul(size).is_none_or(|n_bytes| n_bytes as u64 > memory.len()) {
            return Err(PyValueError::new_err("the memory is smaller than so many such numbers"));
        }
        let (shape, strides) = ([length as ffi::Py_ssize_t], [size as ffi::Py_ssize_t]);
        Ok(Self { memory, scalar, guard: Guard::new(lock)?, shape, strides })
    }

    fn __len__(&self) -> usize {
        self.len()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            let (start, step, len) = self.indices(slice)?;
            let _entered = self.guard.enter(py)?;
            let values = PyList::empty(py);
            for n in 0..len {
                let idx = start + n as isize * step;
                values.append(self.place(idx as usize).get_held(py)?)?;
            }
            return Ok(values.into_any());
        }
        // SAFETY: attached, a live object.
        if unsafe { ffi::PyIndex_Check(index.as_ptr()) } == 0 {
            return Err(self.index_error(index));
        }
        self.at(index)?.get(py)
    }

    fn __setitem__(&self, index: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            let values: Vec<Bound<'_, PyAny>> = value.try_iter()?.collect::<PyResult<_>>()?;
            let (start, step, len) = self.indices(slice)?;
            if values.len() != len {
                let text = format!("{} values cannot be assigned to {len} elements", values.len());
                return Err(PyValueError::new_err(text));
            }
            return with_type!(self.scalar, T => {
                // All of them first: that may run Python code, and may raise.
                let numbers = values.iter().map(T::wrapped).collect::<PyResult<Vec<T>>>()?;
                let held = self.guard.is_mine_if_watched(py, &self.memory)?;
                let _entered = self.guard.enter(py)?;
                for (n, number) in numbers.into_iter().enumerate() {
                    let idx = start + n as isize * step;
                    self.place(idx as usize).set_held(py, number, held)?;
                }
                Ok(())
            });
        }
        // SAFETY: attached, a live object.
        if unsafe { ffi::PyIndex_Check(index.as_ptr()) } == 0 {
            return Err(self.index_error(index));
        }
        self.at(index)?.set(value)
    }

    /// Adds `n` in one step; returns the sum.
    ///
    /// Raises OverflowError if the type does not have it; then nothing is changed.
    fn add<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        n: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.apply(Op::Add, n)
    }

    /// Subtracts `n` in one step; returns the difference. Raises OverflowError as `add`.
    fn sub<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        n: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.apply(Op::Sub, n)
    }

    /// Keeps the larger of what the cell holds and `other`; returns it.
    fn max<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.apply(Op::Max, other)
    }

    /// Keeps the smaller of what the cell holds and `other`; returns it.
    fn min<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.apply(Op::Min, other)
    }

    /// Keeps the bits that are set in `bits` too; returns what the cell holds then.
    fn and_<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        bits: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.apply(Op::And, bits)
    }

    /// Sets the bits that are set in `bits`; returns what the cell holds then.
    fn or_<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        bits: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.apply(Op::Or, bits)
    }

    /// Turns the bits that are set in `bits`; returns what the cell holds then.
    fn xor<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        bits: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.apply(Op::Xor, bits)
    }

    /// Writes `value`; returns what the cell held.
    fn exchange<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.exchange(value)
    }

    /// Writes `new` if the cell holds `expected`; says whether it did.
    fn compare_exchange(
        &self,
        index: &Bound<'_, PyAny>,
        expected: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        self.at(index)?.compare_exchange(expected, new)
    }

    /// Writes `function(what the cell holds)` with the lock held, and returns it. The function is
    /// called once; what it raises leaves the cell as it is.
    fn update<'py>(
        &self,
        index: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.at(index)?.update(function)
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
        let wants = |what: c_int| flags & what == what;
        // SAFETY: the interpreter's view, to be filled here. What it points at (bytes, format,
        // shape, strides) lives as long as `slf`, to which it holds a reference.
        unsafe {
            (*view).buf = this.memory.data().as_ptr().cast::<c_void>();
            (*view).len = this.shape[0] * this.strides[0];
            (*view).readonly = 0;
            (*view).itemsize = this.strides[0];
            (*view).ndim = 1;
            (*view).format = if wants(ffi::PyBUF_FORMAT) {
                this.scalar.code().as_ptr().cast_mut()
            } else {
                std::ptr::null_mut()
            };
            (*view).shape = if wants(ffi::PyBUF_ND) {
                this.shape.as_ptr().cast_mut()
            } else {
                std::ptr::null_mut()
            };
            (*view).strides = if wants(ffi::PyBUF_STRIDES) {
                this.strides.as_ptr().cast_mut()
            } else {
                std::ptr::null_mut()
            };
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = std::ptr::null_mut();
            (*view).obj = slf.into_ptr();
        }
        Ok(())
    }
}
