//! What a shared value and a shared array have in common: a lock, and memory of one type.

/// The methods of a class with the fields `guard`, `memory` and `scalar`.
macro_rules! locked_number_methods {
    ($class:ident) => {
        #[pymethods]
        impl $class {
            /// The lock.
            fn get_lock<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
                self.guard.lock(py)
            }

            /// Acquires the lock; the arguments are those of its `acquire`.
            #[pyo3(signature = (*args, **kwargs))]
            fn acquire<'py>(
                &self,
                args: &Bound<'py, pyo3::types::PyTuple>,
                kwargs: Option<&Bound<'py, pyo3::types::PyDict>>,
            ) -> PyResult<Bound<'py, PyAny>> {
                self.guard.lock(args.py()).call_method("acquire", args, kwargs)
            }

            /// Releases the lock.
            fn release<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.guard.lock(py).call_method0("release")
            }

            fn __enter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                self.guard.begin_block(py)
            }

            #[pyo3(signature = (*exc_info))]
            fn __exit__<'py>(
                &self,
                exc_info: &Bound<'py, pyo3::types::PyTuple>,
            ) -> PyResult<Bound<'py, PyAny>> {
                self.guard.end_block(exc_info)
            }

            /// `lost_updates`: how many were noticed, in all processes; see `set_lost_update_mode`.
            fn statistics<'py>(
                &self,
                py: Python<'py>,
            ) -> PyResult<Bound<'py, pyo3::types::PyDict>> {
                $crate::shared::values::memory::statistics(py, &self.memory)
            }

            /// What it lies in.
            #[getter]
            fn memory(&self) -> $crate::shared::values::memory::Memory {
                $crate::shared::values::memory::Memory::new(self.memory.clone())
            }

            /// The format character of its type.
            #[getter]
            fn code(&self) -> &'static str {
                self.scalar.code().to_str().expect("format characters are ASCII")
            }
        }
    };
}

pub(crate) use locked_number_methods;
