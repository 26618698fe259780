//! What `SharedLock` and `SharedRLock` have in common: all but how they are given back.

/// The struct of a class of locks of the kind `$kind`, and the methods that all such classes have.
///
/// The class itself adds `release` and `_count`.
macro_rules! lock_class {
    ($(#[$doc:meta])* $class:ident, $kind:ident) => {
        $(#[$doc])*
        #[pyclass(module = "manyhands._runtime", frozen, subclass, weakref)]
        pub struct $class {
            pub local: std::sync::Arc<$crate::shared::locks::local_lock::LocalLock>,
            block: Option<$crate::shared::locks::with_block::Block>,
        }

        impl $crate::shared::locks::with_block::HasBlock for $class {
            fn block(&self) -> Option<&$crate::shared::locks::with_block::Block> {
                self.block.as_ref()
            }
        }

        #[pymethods]
        impl $class {
            /// `_handle`: the name of one that exists.
            #[new]
            #[pyo3(signature = (*, ctx=None, owner_died=None, name=None, _handle=None))]
            fn new(
                py: Python<'_>,
                ctx: Option<&Bound<'_, PyAny>>,
                owner_died: Option<&str>,
                name: Option<&str>,
                _handle: Option<&[u8]>,
            ) -> PyResult<Self> {
                use $crate::shared::locks::{local_lock::LocalLock, with_block::Block};
                let _ = ctx;
                let local = LocalLock::make(py, &$kind, owner_died, name, _handle)?;
                let twin = Self { local: std::sync::Arc::clone(&local), block: None };
                let twin = Bound::new(py, twin)?;
                Ok(Self { local, block: Some(Block::of(twin)?) })
            }

            #[pyo3(signature = (block=true, timeout=None))]
            fn acquire(
                &self,
                py: Python<'_>,
                block: bool,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<bool> {
                self.local.acquire(py, || $crate::shared::acquire_deadline(block, timeout))
            }

            fn locked(&self) -> bool {
                self.local.state().owner().is_some()
            }

            fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
                self.local.enter(py)
            }

            #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None))]
            fn __exit__(
                &self,
                exc_type: Option<&Bound<'_, PyAny>>,
                exc_value: Option<&Bound<'_, PyAny>>,
                traceback: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<()> {
                let _ = (exc_type, exc_value, traceback);
                self.release()
            }

            /// The name given at construction.
            #[getter]
            fn name(&self) -> Option<String> {
                self.local.state().name()
            }

            fn statistics<'py>(
                &self,
                py: Python<'py>,
            ) -> PyResult<Bound<'py, pyo3::types::PyDict>> {
                self.local.statistics(py)
            }

            /// Whether the calling thread has it, or acquired it last.
            fn _is_mine(&self) -> bool {
                self.local.state().is_of(self.local.me())
            }

            fn _get_value(&self) -> u32 {
                u32::from(!self.locked())
            }

            fn __reduce__<'py>(
                slf: &Bound<'py, Self>,
            ) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
                $crate::shared::reduce(slf.as_any(), slf.get().local.object())
            }
        }
    };
}

pub(crate) use lock_class;
