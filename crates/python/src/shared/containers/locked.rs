//! `manyhands._runtime.ContainerBlock`: a `with` block that keeps others out of a container.
//!
//! Compiled, so that no exception that another thread raises here can come between closing the gate
//! and the block, or between the block and opening it: it would stay closed.

use pyo3::exceptions::{PyTimeoutError, PyTypeError};
use pyo3::prelude::*;

use super::dict::SharedDict;
use super::list::SharedList;

/// A block during which no other thread or process gets at a managed container.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct ContainerBlock {
    container: Py<PyAny>,
    timeout: Option<Py<PyAny>>,
}

#[pymethods]
impl ContainerBlock {
    #[new]
    #[pyo3(signature = (container, timeout=None))]
    fn new(container: Py<PyAny>, timeout: Option<Py<PyAny>>) -> Self {
        Self { container, timeout }
    }

    fn __enter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let container = self.container.bind(py);
        let timeout = self.timeout.as_ref().map(|timeout| timeout.bind(py));
        let is_ours = if let Ok(dict) = container.cast::<SharedDict>() {
            dict.get().close_gate(py, timeout)?
        } else if let Ok(list) = container.cast::<SharedList>() {
            list.get().close_gate(py, timeout)?
        } else {
            return Err(PyTypeError::new_err("only a managed dict or list can be locked"));
        };
        if is_ours {
            return Ok(container.clone());
        }
        let seconds = timeout.map_or_else(|| "0".to_owned(), ToString::to_string);
        let kind = container.getattr("_typeid")?;
        Err(PyTimeoutError::new_err(format!(
            "another thread or process has kept the managed {kind} locked for {seconds} seconds"
        )))
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        let container = self.container.bind(py);
        match container.cast::<SharedDict>() {
            Ok(dict) => dict.get().open_gate(),
            Err(_) => container.cast::<SharedList>()?.get().open_gate(),
        }
    }
}
