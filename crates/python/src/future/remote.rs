//! What a future needs of a task that another process works for.

use std::time::Duration;

use manyhands_pool::completion::{Completion, Phase};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A task that is worked on elsewhere, as its future needs it.
///
/// The completion must be settled, or cancelled, by the backend; done-callbacks are then run by
/// the dispatcher. All methods are called at most for as long as the future lives.
pub trait Backend: Send + Sync {
    /// How far the task is. The same object for the backend's whole life.
    fn completion(&self) -> &Completion;

    /// Makes the result. Called once, attached, after the completion is finished; Err is the
    /// task's exception. Neither is asked for again.
    fn fetch(&self, py: Python<'_>) -> PyResult<Py<PyAny>>;

    /// Cancels the task, also a running one if `running`, whose body gets `grace` to leave.
    /// True if the future is cancelled now by this call. Called detached.
    fn cancel(&self, running: bool, grace: Duration) -> bool;

    /// Whether the task runs now, for backends that do not tell the completion.
    fn is_running(&self) -> bool {
        self.completion().phase() == Phase::Running
    }

    /// The name the task was given.
    fn name(&self) -> Option<String> {
        None
    }

    /// Adds to what `Future.statistics()` shows.
    fn statistics(&self, statistics: &Bound<'_, PyDict>) -> PyResult<()> {
        let _ = statistics;
        Ok(())
    }
}
