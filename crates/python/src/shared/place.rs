//! One cell with its type and its lock: what [`super::value`] and [`super::array`] do to it.
//!
//! Values are converted before the lock is taken: converting may run Python code.

use manyhands_shm::cell::{Memory, Number};
use pyo3::prelude::*;

use super::guard::Guard;
use super::lost_update::{self, Spot};
use super::scalar::{Cell, Op, Scalar, with_type};

/// Where a cell lies, what it is, and what guards it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub memory: &'a Memory,
    pub scalar: Scalar,
    pub guard: &'a Guard,
    pub idx: usize,
}

impl Place<'_> {
    #[inline]
    fn cell<T: Number>(&self) -> *mut T {
        // SAFETY: whoever made the place checked the index against the length of the data.
        unsafe { self.memory.data().cast::<T>().add(self.idx).as_ptr() }
    }

    const fn spot(&self) -> Spot<'_> {
        Spot { memory: self.memory, idx: self.idx as u64 }
    }

    #[inline]
    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let entered = self.guard.enter(py)?;
        with_type!(self.scalar, T => {
            let value = self.load::<T>(py);
            drop(entered);
            value.to_python(py)
        })
    }

    /// As [`Place::get`], for who has the lock.
    pub fn get_held<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        with_type!(self.scalar, T => self.load::<T>(py).to_python(py))
    }

    #[inline]
    fn load<T: Number>(&self, py: Python<'_>) -> T {
        // SAFETY: a cell of this type, reached through atomics.
        let load = || unsafe { T::load(self.cell()) };
        if lost_update::is_on(self.memory) {
            return lost_update::read(py, self.spot(), load);
        }
        load()
    }

    #[inline]
    pub fn set(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        with_type!(self.scalar, T => self.store(value.py(), T::wrapped(value)?))
    }

    /// Writes a number of the cell's type, for who has taken the lock, and `held` it before.
    pub fn set_held<T: Number>(&self, py: Python<'_>, number: T, held: bool) -> PyResult<()> {
        // SAFETY: a cell of this type, reached through atomics.
        let store = || unsafe { T::store(self.cell(), number) };
        if lost_update::is_on(self.memory) {
            return lost_update::write(py, self.spot(), held, store);
        }
        store();
        Ok(())
    }

    #[inline]
    fn store<T: Number>(&self, py: Python<'_>, value: T) -> PyResult<()> {
        // SAFETY: a cell of this type, reached through atomics.
        let store = || unsafe { T::store(self.cell(), value) };
        if lost_update::is_on(self.memory) {
            let held = self.guard.is_mine(py)?;
            let _entered = self.guard.enter(py)?;
            return lost_update::write(py, self.spot(), held, store);
        }
        let _entered = self.guard.enter(py)?;
        store();
        Ok(())
    }

    /// Does `op`; returns what the cell holds then.
    #[inline]
    pub fn apply<'py>(&self, op: Op, by: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = by.py();
        with_type!(self.scalar, T => {
            if !T::has(op) {
                return Err(T::refuse(op));
            }
            let by = T::exact(by)?;
            // SAFETY: a cell of this type, reached through atomics.
            let change = || unsafe { T::update(self.cell::<T>(), |now| now.apply(op, by)) };
            match self.change(py, change)? {
                Ok(new) => new.to_python(py),
                Err(now) => Err(now.overflow(py, op, by)),
            }
        })
    }

    /// Writes `value`; returns what the cell held.
    pub fn exchange<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        with_type!(self.scalar, T => {
            let value = T::exact(value)?;
            // SAFETY: a cell of this type, reached through atomics.
            self.change(py, || unsafe { T::swap(self.cell(), value) })?.to_python(py)
        })
    }

    /// Writes `new` if the cell holds `expected`; says whether.
    pub fn compare_exchange(
        &self,
        expected: &Bound<'_, PyAny>,
        new: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let py = new.py();
        with_type!(self.scalar, T => {
            let (expected, new) = (T::exact(expected)?, T::exact(new)?);
            // By value, so that 0.0 is -0.0, and nothing is a NaN.
            let swap = |now| (now == expected).then_some(new);
            // SAFETY: a cell of this type, reached through atomics.
            let change = || unsafe { T::update(self.cell::<T>(), swap) };
            Ok(self.change(py, change)?.is_ok())
        })
    }

    /// Replaces what the cell holds by what `function` makes of it, with the lock held.
    pub fn update<'py>(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = function.py();
        let _entered = self.guard.enter(py)?;
        with_type!(self.scalar, T => {
            // SAFETY: a cell of this type, reached through atomics.
            let now = unsafe { T::load(self.cell()) };
            let new = crate::call::call(function, &(now.to_python(py)?,).into_pyobject(py)?, None)?;
            let value = T::exact(&new)?;
            // SAFETY: as above.
            self.change(py, || unsafe { T::store(self.cell(), value) })?;
            value.to_python(py)
        })
    }

    #[inline]
    fn change<R>(&self, py: Python<'_>, change: impl FnOnce() -> R) -> PyResult<R> {
        let _entered = self.guard.enter(py)?;
        if lost_update::is_on(self.memory) {
            return Ok(lost_update::change(py, self.spot(), change));
        }
        Ok(change())
    }
}
