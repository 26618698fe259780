//! `manyhands.threading.Barrier`.

use std::sync::{Arc, OnceLock};

use manyhands_sync::barrier::{Arrival, RawBarrier, Round};
use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::blocking::block;
use crate::call::call;
use crate::errors;
use crate::interrupt::deadline_of;
use crate::numbers::clamped;

/// A point at which a number of threads wait for each other.
#[pyclass(module = "manyhands.threading", frozen, subclass, weakref, dict)]
pub struct Barrier {
    /// False in the zeros that the garbage collector may see: CPython 3.11 and 3.12 make the
    /// instance's dict, and may collect, before PyO3 has written what is here.
    is_made: bool,
    set_up: OnceLock<SetUp>,
}

struct SetUp {
    raw: RawBarrier,
    action: Option<Py<PyAny>>,
    timeout: Option<Py<PyAny>>,
    name: Option<String>,
}

impl Barrier {
    fn set_up(&self) -> PyResult<&SetUp> {
        self.set_up
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("Barrier.__init__() was not called"))
    }

    fn run_action(&self, py: Python<'_>, set_up: &SetUp, round: &Round) -> PyResult<()> {
        if let Some(action) = &set_up.action
            && let Err(error) = call(action.bind(py), &PyTuple::empty(py), None)
        {
            set_up.raw.abort(Some(round));
            return Err(error);
        }
        if set_up.raw.pass(round) { Ok(()) } else { Err(broken(py)) }
    }

    fn wait_in(
        &self,
        py: Python<'_>,
        set_up: &SetUp,
        round: &Arc<Round>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let deadline = deadline_of(timeout)?;
        let ended =
            block(py, self, deadline, false, |deadline, waiting| round.wait(deadline, waiting));
        match ended {
            Ok(true) => {}
            // Whoever does not come in time breaks it for all, unless all came just now.
            Ok(false) => {
                if set_up.raw.leave(round) {
                    set_up.raw.abort(Some(round));
                }
            }
            Err(error) => {
                set_up.raw.leave(round);
                return Err(error);
            }
        }
        if round.has_passed() { Ok(()) } else { Err(broken(py)) }
    }
}

fn broken(py: Python<'_>) -> PyErr {
    errors::error_of(errors::broken_barrier_error(py), "")
}

#[pymethods]
impl Barrier {
    /// A subclass may have any arguments of its own, so the real ones come with `__init__`.
    #[new]
    #[pyo3(
        signature = (*_args, **_kwargs),
        text_signature = "(parties, action=None, timeout=None, *, name=None)"
    )]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { is_made: true, set_up: OnceLock::new() }
    }

    #[pyo3(signature = (parties, action=None, timeout=None, *, name=None))]
    fn __init__(
        &self,
        #[pyo3(from_py_with = clamped)] parties: i64,
        action: Option<Py<PyAny>>,
        timeout: Option<Py<PyAny>>,
        name: Option<String>,
    ) -> PyResult<()> {
        if parties < 1 {
            return Err(PyValueError::new_err("parties must be >= 1"));
        }
        let parties = u32::try_from(parties).map_err(|_| {
            PyValueError::new_err(format!("a barrier is for at most {} parties", u32::MAX))
        })?;
        let raw = RawBarrier::new(parties);
        let _ = self.set_up.set(SetUp { raw, action, timeout, name });
        Ok(())
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<u32> {
        let set_up = self.set_up()?;
        let timeout = timeout
            .cloned()
            .or_else(|| set_up.timeout.as_ref().map(|timeout| timeout.bind(py).clone()));
        match set_up.raw.arrive() {
            Arrival::Broken => Err(broken(py)),
            Arrival::Last(round) => {
                self.run_action(py, set_up, &round)?;
                Ok(set_up.raw.parties() - 1)
            }
            Arrival::Early(idx, round) => {
                self.wait_in(py, set_up, &round, timeout.as_ref())?;
                Ok(idx)
            }
        }
    }

    fn reset(&self) -> PyResult<()> {
        self.set_up()?.raw.reset();
        Ok(())
    }

    fn abort(&self) -> PyResult<()> {
        self.set_up()?.raw.abort(None);
        Ok(())
    }

    /// How many threads it is for.
    #[getter]
    fn parties(&self) -> PyResult<u32> {
        Ok(self.set_up()?.raw.parties())
    }

    /// How many wait now.
    #[getter]
    fn n_waiting(&self) -> PyResult<u32> {
        Ok(self.set_up()?.raw.n_waiting())
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> PyResult<bool> {
        Ok(self.set_up()?.raw.is_broken())
    }

    /// The name given at construction.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.set_up.get()?.name.as_deref()
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(super::refuse_pickling(slf))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let barrier = slf.get();
        let raw = &barrier.set_up()?.raw;
        let state = if raw.is_broken() {
            "broken".to_owned()
        } else {
            format!("waiters={}/{}", raw.n_waiting(), raw.parties())
        };
        super::repr(slf, barrier.name(), &state)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if self.is_made
            && let Some(set_up) = self.set_up.get()
        {
            visit.call(&set_up.action)?;
            visit.call(&set_up.timeout)?;
        }
        Ok(())
    }
}

impl Resource for Barrier {
    fn describe(&self) -> Description {
        let name = self.set_up.get().and_then(|set_up| set_up.name.clone());
        Description { kind: "Barrier", name, id: std::ptr::from_ref(self) as usize }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Anyone
    }
}
