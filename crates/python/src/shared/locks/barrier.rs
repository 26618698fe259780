//! `Barrier` of `manyhands.multiprocessing.synchronize`, below its Python face, which has the
//! action.

use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_shm::locks::BARRIER;
use manyhands_shm::{FamilyOf, Object};
use manyhands_sync::shared::barrier::{Arrival, Refused, SharedBarrier as State};
use manyhands_sync::shared::waiting::Waiting;
use manyhands_sys::clock::Deadline;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::call::call;
use crate::errors;
use crate::interrupt::deadline_of;
use crate::numbers::clamped;
use crate::shared::locks::waiting::block;

/// A barrier that processes share.
#[pyclass(module = "manyhands._runtime", frozen, weakref)]
pub struct SharedBarrier {
    object: Object,
    family: FamilyOf,
    state: NonNull<State>,
}

// SAFETY: the state is made of atomics and lives as long as the object.
unsafe impl Send for SharedBarrier {}
// SAFETY: as above.
unsafe impl Sync for SharedBarrier {}

/// More would be a mistake.
const MAX_PARTIES: u32 = 1 << 20;

impl SharedBarrier {
    fn of(object: Object) -> Self {
        let family = FamilyOf(Arc::clone(object.heap()));
        let state = object.payload().cast();
        Self { object, family, state }
    }

    fn state(&self) -> &State {
        // SAFETY: as long as the object lives, and of its kind.
        unsafe { self.state.as_ref() }
    }

    /// The calling thread has come, if need be after the action of the round before.
    fn arrive(&self, py: Python<'_>, deadline: Option<Deadline>) -> PyResult<Arrival> {
        loop {
            match py.detach(|| self.state().arrive(&self.family)) {
                Ok(arrival) => return Ok(arrival),
                Err(Refused::Broken) => return Err(broken(py)),
                Err(Refused::Early(before)) => {
                    if !self.sleep(py, before, deadline)? {
                        py.detach(|| self.state().abort(&self.family));
                        return Err(broken(py));
                    }
                }
            }
        }
    }

    /// Sleeps until the round has ended; false: the deadline came first.
    fn sleep(
        &self,
        py: Python<'_>,
        arrival: Arrival,
        deadline: Option<Deadline>,
    ) -> PyResult<bool> {
        block(py, &self.family, deadline, |waiting: &mut Waiting<'_>| {
            self.state().wait(arrival, waiting)
        })
    }

    fn run_and_open(
        &self,
        py: Python<'_>,
        arrival: Arrival,
        action: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        if let Some(action) = action
            && let Err(error) = call(action, &PyTuple::empty(py), None)
        {
            py.detach(|| self.state().give_up(arrival, &self.family));
            return Err(error);
        }
        py.detach(|| self.state().open(arrival, &self.family)).map_err(|_| broken(py))
    }
}

#[pymethods]
impl SharedBarrier {
    /// `_handle`: the name of one that exists.
    #[new]
    #[pyo3(signature = (parties=1, *, _handle=None))]
    fn new(
        py: Python<'_>,
        #[pyo3(from_py_with = clamped)] parties: i64,
        _handle: Option<&[u8]>,
    ) -> PyResult<Self> {
        if let Some(handle) = _handle {
            return crate::shared::open(py, handle, &BARRIER).map(Self::of);
        }
        let n = u32::try_from(parties).ok().filter(|n| (1..=MAX_PARTIES).contains(n));
        let n = n.ok_or_else(|| {
            PyValueError::new_err(format!("a barrier is for 1 to {MAX_PARTIES} parties"))
        })?;
        // SAFETY: zeros of that length are a barrier for nobody yet.
        let this = Self::of(unsafe { crate::shared::create(&BARRIER, State::len_for(n)) }?);
        // SAFETY: the object was made as long as that takes.
        unsafe { this.state().set_up(n) };
        Ok(this)
    }

    #[staticmethod]
    fn _open(py: Python<'_>, handle: &[u8]) -> PyResult<Self> {
        Self::new(py, 1, Some(handle))
    }

    /// Waits until all have come; the last one runs `action`. The number of those who came before.
    fn wait(
        &self,
        py: Python<'_>,
        action: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u32> {
        let deadline = deadline_of(timeout)?;
        let arrival = self.arrive(py, deadline)?;
        if arrival.is_last {
            return self.run_and_open(py, arrival, action).map(|()| arrival.idx);
        }
        let end = self.sleep(py, arrival, deadline);
        if !matches!(end, Ok(true)) {
            py.detach(|| self.state().give_up(arrival, &self.family));
        }
        end?;
        self.state().outcome(arrival).map_err(|_| broken(py)).map(|()| arrival.idx)
    }

    fn abort(&self, py: Python<'_>) {
        py.detach(|| self.state().abort(&self.family));
    }

    fn reset(&self, py: Python<'_>) {
        py.detach(|| self.state().reset(&self.family));
    }

    #[getter]
    fn parties(&self) -> u32 {
        self.state().n_parties()
    }

    #[getter]
    fn n_waiting(&self) -> u32 {
        self.state().n_waiting()
    }

    #[getter]
    fn broken(&self) -> bool {
        self.state().is_broken()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        crate::shared::reduce(slf.as_any(), &slf.get().object)
    }
}

#[cold]
fn broken(py: Python<'_>) -> PyErr {
    PyErr::from_value(match errors::broken_barrier_error(py).and_then(|class| class.call0()) {
        Ok(error) => error,
        Err(error) => return error,
    })
}
