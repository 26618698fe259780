//! Futures that the program makes and settles itself.
//!
//! As in the standard module a cancel of such a one has two steps: it is cancelled, which its
//! callbacks are told at once, and its maker notices, which `wait` and `as_completed` wait for.

use std::sync::atomic::Ordering;

use manyhands_pool::completion::Phase;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::core::{FutureCore, Kind};
use crate::errors;

impl FutureCore {
    /// Whether this is a manual future that was cancelled, but whose maker has not noticed. Its
    /// callbacks have run; the standard `wait` and `as_completed` still wait for the notice.
    pub(super) fn awaits_notice(&self) -> bool {
        matches!(self.kind(), Kind::Manual)
            && self.own.phase() == Phase::Cancelled
            && !self.is_notified.load(Ordering::Acquire)
    }

    pub(super) fn set(
        slf: &Bound<'_, Self>,
        outcome: Result<Py<PyAny>, Py<PyAny>>,
    ) -> PyResult<()> {
        let Some(ending) = slf.get().try_settle(outcome) else {
            let sentence = format!("{}: {}", slf.get().state_name(), slf.repr()?);
            return Err(errors::error_of(errors::invalid_state_error(slf.py()), sentence));
        };
        Self::announce(slf, ending)
    }

    /// Marks the future as running; False if it was cancelled.
    pub(super) fn notice_cancel(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let core = slf.get();
        if core.completion().phase() == Phase::Cancelled
            && !core.is_notified.swap(true, Ordering::AcqRel)
        {
            Self::run_observers(slf)?;
            return Ok(false);
        }
        if core.completion().phase() == Phase::Pending && core.own.claim() {
            return Ok(true);
        }
        Err(PyRuntimeError::new_err("Future in unexpected state"))
    }

    /// Moves a manual future on to `state`; there is no way back.
    pub(super) fn force_state(slf: &Bound<'_, Self>, state: &str) -> PyResult<()> {
        let core = slf.get();
        let completion = &core.own;
        let ending = match state {
            "RUNNING" => {
                completion.claim();
                None
            }
            "CANCELLED" => completion.try_cancel_running(),
            "CANCELLED_AND_NOTIFIED" => {
                core.is_notified.store(true, Ordering::Release);
                completion.try_cancel_running()
            }
            "FINISHED" => completion.try_settle(|| {}),
            _ => None,
        };
        ending.map_or(Ok(()), |ending| Self::announce(slf, ending))?;
        if core.state_name() == state {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "a future that is {} cannot become {state}",
            core.state_name()
        )))
    }
}
