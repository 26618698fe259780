//! Calling Python from threads that the interpreter does not wait for.
//!
//! Before 3.14, CPython ends a daemon thread that comes back to a finished interpreter with
//! `pthread_exit`: a forced unwinding, which Rust frames must not see (the process aborts). 3.14
//! lets such a thread hang for ever instead; so does the guard here, for all versions.
//!
//! Whatever may run bytecode in a worker or in the dispatcher goes through [`call`].

use std::hint::black_box;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

type Caller = unsafe extern "C-unwind" fn(
    *mut ffi::PyObject,
    *mut ffi::PyObject,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// Calls `callable(*args, **kwargs)`; the thread hangs if the interpreter ends meanwhile.
#[inline]
pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    // The bindings declare the function as one that never unwinds, and the linker merges that
    // into any other declaration: the compiler must not see that it is the same function.
    let target = black_box(ffi::PyObject_Call as *const ());
    // SAFETY: the same function with the same arguments, in an ABI that allows it to unwind.
    let caller: Caller = unsafe { std::mem::transmute(target) };
    let kwargs = kwargs.map_or(std::ptr::null_mut(), Bound::as_ptr);
    let guard = HangOnUnwind;
    // SAFETY: live objects, null for no keywords; `callable` proves that the thread is attached.
    let result = unsafe { caller(callable.as_ptr(), args.as_ptr(), kwargs) };
    std::mem::forget(guard);
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(callable.py(), result) }
}

/// Stops the thread for ever where CPython would unwind it.
struct HangOnUnwind;

impl Drop for HangOnUnwind {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}
