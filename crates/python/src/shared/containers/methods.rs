//! What a managed dict and a managed list have in common: their making, their pickle, their gate.

/// The methods of a class whose field `$core` is a container.
macro_rules! container_methods {
    ($class:ident, $core:ident) => {
        impl $class {
            fn heap(&self) -> &std::sync::Arc<manyhands_shm::Heap> {
                self.$core.object().heap()
            }

            /// See [`close_gate`](super::closing::close_gate).
            pub(super) fn close_gate(
                &self,
                py: Python<'_>,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<bool> {
                super::closing::close_gate(py, &self.$core, timeout)
            }

            /// See [`open_gate`](super::closing::open_gate).
            pub(super) fn open_gate(&self) -> PyResult<()> {
                super::closing::open_gate(&self.$core)
            }
        }

        #[pymethods]
        impl $class {
            /// A new one, or the one that the bytes of a pickle name.
            #[new]
            #[pyo3(signature = (name=None))]
            fn new(py: Python<'_>, name: Option<&[u8]>) -> PyResult<Self> {
                super::create_or_open(py, name).map(|$core| Self { $core })
            }

            #[classmethod]
            fn _open<'py>(
                class: &Bound<'py, pyo3::types::PyType>,
                name: &[u8],
            ) -> PyResult<Bound<'py, PyAny>> {
                class.call1((pyo3::types::PyBytes::new(class.py(), name),))
            }

            fn __reduce__<'py>(
                slf: &Bound<'py, Self>,
            ) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
                $crate::shared::reduce(slf.as_any(), slf.get().$core.object())
            }

            /// Where it lies in the heap: what is the same in every process.
            #[getter]
            fn _offset(&self) -> u64 {
                self.$core.object().offset()
            }

            fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
                Ok(super::inside(py, &self.$core, |guard| guard.len())? as usize)
            }

            /// Keeps all other threads and processes out until `_open_gate`. False when time is
            /// over.
            #[pyo3(signature = (timeout=None))]
            fn _close_gate(
                &self,
                py: Python<'_>,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<bool> {
                self.close_gate(py, timeout)
            }

            fn _open_gate(&self) -> PyResult<()> {
                self.open_gate()
            }
        }
    };
}

pub(super) use container_methods;
