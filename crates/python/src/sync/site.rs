//! Where in a Python program something happens: cheap to take, put into words only for a report.
//!
//! A site is a code object and an offset in it. Taking it costs a few loads; the line is looked up
//! when somebody asks. A lock keeps a reference to the code object in which it was acquired; a
//! waiter's code is kept alive by its frame.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use crate::contract;
use manyhands_sync::deadlock::Site;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The line of the program that called, for as long as that call lasts: not one of our own package.
pub fn here(py: Python<'_>) -> Site {
    // SAFETY: attached; the frame is borrowed from the calling thread's stack.
    let frame = unsafe { ffi::PyEval_GetFrame() };
    // SAFETY: null, or a live frame.
    let mut frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, frame.cast()) };
    while let Some(here) = frame {
        let pointer = here.as_ptr().cast();
        // SAFETY: a live frame; its code lives as long as the call, so the reference can go.
        let code = unsafe { Bound::from_owned_ptr(py, ffi::PyFrame_GetCode(pointer).cast()) };
        if !is_ours(&code) {
            // SAFETY: a live frame.
            let at = unsafe { ffi::PyFrame_GetLasti(pointer) };
            return Site::Foreign { code: code.as_ptr() as usize, at };
        }
        // SAFETY: a live frame; the answer is a new reference or null.
        frame = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyFrame_GetBack(pointer).cast()) };
    }
    Site::Unknown
}

/// Whether code is of the package `manyhands`, whose lines tell a user nothing.
fn is_ours(code: &Bound<'_, PyAny>) -> bool {
    static FOLDER: PyOnceLock<String> = PyOnceLock::new();
    let py = code.py();
    let folder = FOLDER.get_or_try_init(py, || -> PyResult<String> {
        let file: String = contract::PACKAGE_FILE.get(py)?.extract()?;
        Ok(file.trim_end_matches("__init__.py").to_owned())
    });
    let file = code.getattr("co_filename");
    match (folder, file.as_ref().map(|file| file.extract::<&str>())) {
        (Ok(folder), Ok(Ok(file))) => file.starts_with(folder.as_str()),
        _ => false,
    }
}

/// Where a lock was acquired last. Written by its holder only.
pub struct Acquired {
    code: AtomicPtr<ffi::PyCodeObject>,
    at: AtomicI32,
}

impl Acquired {
    /// Nowhere yet.
    pub const fn new() -> Self {
        Self { code: AtomicPtr::new(std::ptr::null_mut()), at: AtomicI32::new(0) }
    }

    /// The lock was acquired by the line of Python that called.
    #[inline]
    pub fn note(&self, _py: Python<'_>) {
        // SAFETY: attached; the frame is borrowed from the calling thread's stack.
        let frame = unsafe { ffi::PyEval_GetFrame() };
        if frame.is_null() {
            return;
        }
        // SAFETY: a live frame.
        let (code, at) = unsafe { (ffi::PyFrame_GetCode(frame), ffi::PyFrame_GetLasti(frame)) };
        let before = self.code.load(Ordering::Relaxed);
        self.at.store(at, Ordering::Relaxed);
        if before == code {
            // SAFETY: the reference just taken; another one is kept.
            unsafe { ffi::Py_DECREF(code.cast()) };
        } else {
            self.code.store(code, Ordering::Relaxed);
            drop_code(before);
        }
    }

    /// Where.
    pub fn site(&self) -> Site {
        let code = self.code.load(Ordering::Relaxed);
        if code.is_null() {
            return Site::Unknown;
        }
        Site::Foreign { code: code as usize, at: self.at.load(Ordering::Relaxed) }
    }
}

impl Drop for Acquired {
    fn drop(&mut self) {
        drop_code(*self.code.get_mut());
    }
}

/// Gives a reference back. Without a GIL another thread may be reading the site: kept there.
#[cold]
fn drop_code(code: *mut ffi::PyCodeObject) {
    static HAS_GIL: OnceLock<bool> = OnceLock::new();
    if code.is_null() {
        return;
    }
    Python::attach(|py| {
        if *HAS_GIL.get_or_init(|| contract::has_gil(py)) {
            // SAFETY: a reference that `note` took.
            unsafe { ffi::Py_DECREF(code.cast()) };
        }
    });
}

/// `file:line`, for [`manyhands_sync::deadlock::Hooks`]: called by an attached thread.
pub fn locate(code: usize, at: i32) -> String {
    Python::attach(|py| {
        let pointer = code as *mut ffi::PyObject;
        // SAFETY: the wait that is reported is under way, so the code is alive.
        let object = unsafe { Bound::from_borrowed_ptr(py, pointer) };
        // SAFETY: a code object, which is all that sites are made of.
        let line = unsafe { ffi::PyCode_Addr2Line(pointer.cast(), at) };
        let file = object.getattr("co_filename").map(|file| file.to_string());
        format!("{}:{line}", file.unwrap_or_default())
    })
}
