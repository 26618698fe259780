//! `manyhands._runtime.SharedValue`: one number that the family shares, with its lock.
//!
//! The base of what `manyhands.multiprocessing.Value` returns. An atomic operation takes the lock
//! too: beside a block that holds it and does `value += 1`, nothing else would be right.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::shared::values::guard::Guard;
use crate::shared::values::memory::Memory;
use crate::shared::values::methods::locked_number_methods;
use crate::shared::values::place::Place;
use crate::shared::values::scalar::{Op, Scalar};

/// A shared number.
#[pyclass(module = "manyhands._runtime", subclass, frozen, weakref)]
pub struct SharedValue {
    memory: manyhands_shm::cell::Memory,
    scalar: Scalar,
    guard: Guard,
}

impl SharedValue {
    #[inline]
    fn place(&self) -> Place<'_> {
        Place { memory: &self.memory, scalar: self.scalar, guard: &self.guard, idx: 0 }
    }
}

locked_number_methods!(SharedValue);

#[pymethods]
impl SharedValue {
    /// The number at the start of `memory`, of the type that the format character `code` means.
    #[new]
    fn new(memory: &Bound<'_, Memory>, code: &str, lock: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (memory, scalar) = (memory.get().memory.clone(), Scalar::of_code(code)?);
        if memory.len() < scalar.size() as u64 {
            return Err(PyValueError::new_err("the memory is smaller than one such number"));
        }
        Ok(Self { memory, scalar, guard: Guard::new(lock)? })
    }

    /// The number. An assigned integer keeps its low bits, as in ctypes.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.place().get(py)
    }

    #[setter]
    fn set_value(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.place().set(value)
    }

    /// Adds `n` in one step; returns the sum.
    ///
    /// Raises OverflowError if the type does not have it; then nothing is changed.
    fn add<'py>(&self, n: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Add, n)
    }

    /// Subtracts `n` in one step; returns the difference. Raises OverflowError as `add`.
    fn sub<'py>(&self, n: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Sub, n)
    }

    /// Keeps the larger of what the cell holds and `other`; returns it.
    fn max<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Max, other)
    }

    /// Keeps the smaller of what the cell holds and `other`; returns it.
    fn min<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Min, other)
    }

    /// Keeps the bits that are set in `bits` too; returns what the cell holds then.
    fn and_<'py>(&self, bits: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::And, bits)
    }

    /// Sets the bits that are set in `bits`; returns what the cell holds then.
    fn or_<'py>(&self, bits: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Or, bits)
    }

    /// Turns the bits that are set in `bits`; returns what the cell holds then.
    fn xor<'py>(&self, bits: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Xor, bits)
    }

    /// Writes `value`; returns what the cell held.
    fn exchange<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().exchange(value)
    }

    /// Writes `new` if the cell holds `expected`; says whether it did.
    fn compare_exchange(
        &self,
        expected: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        self.place().compare_exchange(expected, new)
    }

    /// Writes `function(what the cell holds)` with the lock held, and returns it. The function is
    /// called once; what it raises leaves the cell as it is.
    fn update<'py>(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().update(function)
    }
}
