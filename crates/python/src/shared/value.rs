//! `manyhands._runtime.SharedValue`: one number that the family shares, with its lock.
//!
//! The base of what `manyhands.multiprocessing.Value` returns. An atomic operation takes the lock
//! too: beside a block that holds it and does `value += 1`, nothing else would be right.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::guard::Guard;
use super::memory::Memory;
use super::place::Place;
use super::scalar::{Op, Scalar};

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

    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.place().get(py)
    }

    #[setter]
    fn set_value(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.place().set(value)
    }

    fn add<'py>(&self, n: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Add, n)
    }

    fn sub<'py>(&self, n: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Sub, n)
    }

    fn max<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Max, other)
    }

    fn min<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Min, other)
    }

    fn and_<'py>(&self, bits: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::And, bits)
    }

    fn or_<'py>(&self, bits: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Or, bits)
    }

    fn xor<'py>(&self, bits: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().apply(Op::Xor, bits)
    }

    fn exchange<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().exchange(value)
    }

    fn compare_exchange(
        &self,
        expected: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        self.place().compare_exchange(expected, new)
    }

    fn update<'py>(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.place().update(function)
    }

    fn get_lock<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.guard.lock(py)
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn acquire<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.guard.acquire(args, kwargs)
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.guard.release(py)
    }

    fn __enter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.guard.lock(py).call_method0("__enter__")
    }

    #[pyo3(signature = (*exc_info))]
    fn __exit__<'py>(&self, exc_info: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        self.guard.lock(exc_info.py()).call_method1("__exit__", exc_info)
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        super::memory::statistics(py, &self.memory)
    }

    /// What it lies in.
    #[getter]
    fn memory(&self) -> Memory {
        Memory::new(self.memory.clone())
    }

    /// The format character of its type.
    #[getter]
    fn code(&self) -> &'static str {
        self.scalar.code().to_str().expect("format characters are ASCII")
    }
}
