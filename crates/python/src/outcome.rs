//! The result and the exception of a future: two object pointers that readers load without a lock.
//!
//! They are written once, by whoever settles the future. The standard tests (and some programs)
//! overwrite `_result` and `_exception` of a finished future; readers in other threads may hold a
//! pointer they have not counted yet, so what is overwritten lives as long as the future.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, Once};

use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::sync::OnceExt;
use pyo3::{PyTraverseError, ffi};

/// The place for a result or an exception.
pub struct OutcomeCell {
    result: AtomicPtr<ffi::PyObject>,
    error: AtomicPtr<ffi::PyObject>,
    /// For outcomes that arrive as bytes: turned into objects by the first who asks.
    loaded: Once,
    overwritten: Mutex<Vec<Py<PyAny>>>,
}

impl OutcomeCell {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            result: AtomicPtr::new(std::ptr::null_mut()),
            error: AtomicPtr::new(std::ptr::null_mut()),
            loaded: Once::new(),
            overwritten: Mutex::new(Vec::new()),
        }
    }

    /// Stores the result.
    #[inline]
    pub fn set_result(&self, result: Py<PyAny>) {
        self.replace(&self.result, Some(result));
    }

    /// Stores the exception.
    pub fn set_error(&self, error: Option<Py<PyAny>>) {
        self.replace(&self.error, error);
    }

    /// The result, None if there is none (yet).
    #[inline]
    pub fn result(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        read(py, &self.result)
    }

    /// The exception, None if there is none (yet).
    #[inline]
    pub fn error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        read(py, &self.error)
    }

    /// Whether an exception is stored.
    #[inline]
    pub fn has_error(&self) -> bool {
        !self.error.load(Ordering::Acquire).is_null()
    }

    /// Stores what `fetch` returns; the first call does, others wait for it.
    pub fn load(&self, py: Python<'_>, fetch: impl FnOnce() -> PyResult<Py<PyAny>>) {
        if self.loaded.is_completed() {
            return;
        }
        self.loaded.call_once_py_attached(py, || match fetch() {
            Ok(result) => self.set_result(result),
            Err(error) => self.set_error(Some(error.into_value(py).into_any())),
        });
    }

    /// Whether [`load`](Self::load) has stored something.
    pub fn is_loaded(&self) -> bool {
        self.loaded.is_completed()
    }

    /// Shows both to the garbage collector.
    pub fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for cell in [&self.result, &self.error] {
            let object = cell.load(Ordering::Acquire);
            if !object.is_null() {
                // SAFETY: the cell owns a reference to the object; ManuallyDrop keeps it owned.
                let object = ManuallyDrop::new(unsafe { owned(object) });
                visit.call(&*object)?;
            }
        }
        // Held by nobody else: the collector stops threads where no lock of ours is held.
        if let Ok(overwritten) = self.overwritten.try_lock() {
            for object in overwritten.iter() {
                visit.call(object)?;
            }
        }
        Ok(())
    }

    /// Lets go of both, for the garbage collector.
    pub fn clear(&self) {
        drop(take(&self.result));
        drop(take(&self.error));
        let overwritten = self.overwritten.lock().map(|mut list| std::mem::take(&mut *list));
        drop(overwritten);
    }

    #[inline]
    fn replace(&self, cell: &AtomicPtr<ffi::PyObject>, value: Option<Py<PyAny>>) {
        let object = value.map_or(std::ptr::null_mut(), Py::into_ptr);
        // AcqRel: meets the Acquire of `read`, for readers that come without the completion.
        let before = cell.swap(object, Ordering::AcqRel);
        if !before.is_null() {
            // SAFETY: the cell owned this reference and gave it up in the swap.
            let before = unsafe { owned(before) };
            let mut list = self.overwritten.lock().unwrap_or_else(|list| list.into_inner());
            list.push(before);
        }
    }
}

impl Drop for OutcomeCell {
    fn drop(&mut self) {
        self.clear();
    }
}

#[inline]
fn read(py: Python<'_>, cell: &AtomicPtr<ffi::PyObject>) -> Option<Py<PyAny>> {
    let object = cell.load(Ordering::Acquire);
    // SAFETY: the object lives as long as the cell (it is never dropped while the cell can be
    // read, see `replace`), and this thread is attached.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, object) }.map(Bound::unbind)
}

fn take(cell: &AtomicPtr<ffi::PyObject>) -> Option<Py<PyAny>> {
    let object = cell.swap(std::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: the cell owned the reference and gave it up in the swap.
    (!object.is_null()).then(|| unsafe { owned(object) })
}

/// # Safety
/// The caller owns a reference to `object`, which is not null.
unsafe fn owned(object: *mut ffi::PyObject) -> Py<PyAny> {
    // SAFETY: the caller's contract; an attached thread is not needed to hold a reference.
    unsafe { Bound::from_owned_ptr(Python::assume_attached(), object) }.unbind()
}
