//! Iterating over the keys of a managed dict: a snapshot that notices when it is out of date.

use manyhands_collections::SharedMap;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

/// The keys that were there when the iteration began, in order.
#[pyclass(module = "manyhands._runtime")]
pub struct SharedKeyIterator {
    /// None: it has ended.
    pub(super) map: Option<SharedMap>,
    pub(super) keys: Py<PyList>,
    pub(super) next: usize,
    pub(super) shape: u64,
}

#[pymethods]
impl SharedKeyIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(map) = &self.map else { return Ok(None) };
        if map.shape() != self.shape {
            return Err(PyRuntimeError::new_err(
                "dictionary changed size during iteration: iterate over keys() or copy(), which \
                 are snapshots",
            ));
        }
        let keys = self.keys.bind(py);
        if self.next == keys.len() {
            self.map = None;
            return Ok(None);
        }
        self.next += 1;
        keys.get_item(self.next - 1).map(Some)
    }

    fn __length_hint__(&self, py: Python<'_>) -> usize {
        if self.map.is_none() { 0 } else { self.keys.bind(py).len() - self.next }
    }
}
