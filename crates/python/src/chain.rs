//! Recognising asyncio at work on one of our futures.
//!
//! `asyncio.wrap_future` (and with it `loop.run_in_executor` and `await`) ties an asyncio future
//! to ours with `_chain_future`: it adds a callback named `_call_set_state`, and when the asyncio
//! future is cancelled it calls our `cancel()` from `_call_check_cancel`. A plain `cancel()` means
//! "unless it runs", as in the standard; that one means "nobody wants it any more: stop it".
//!
//! What it does not do: it does not patch asyncio. If asyncio renames these two functions, a
//! cancelled `await` leaves the task running, as the standard library does.

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCode, PyFunction};

/// Whether `callback` is the one by which asyncio mirrors a future.
pub fn is_chaining(callback: &Bound<'_, PyAny>) -> bool {
    let py = callback.py();
    callback.is_instance_of::<PyFunction>()
        && callback
            .getattr(intern!(py, "__qualname__"))
            .is_ok_and(|name| is_text(&name, "_chain_future.<locals>._call_set_state"))
}

/// Whether the calling Python function is asyncio passing a cancel on.
pub fn is_cancelling(py: Python<'_>) -> bool {
    // SAFETY: attached; the frame is borrowed and the code is a new reference.
    let code = unsafe {
        let frame = ffi::PyEval_GetFrame();
        if frame.is_null() {
            return false;
        }
        Bound::from_owned_ptr(py, ffi::PyFrame_GetCode(frame).cast())
    };
    code.cast::<PyCode>().is_ok_and(|code| {
        let attribute = |name| code.getattr(name).ok();
        attribute("co_name").is_some_and(|name| is_text(&name, "_call_check_cancel"))
            && attribute("co_filename").is_some_and(|name| {
                name.extract::<String>().is_ok_and(|name| name.ends_with("futures.py"))
            })
    })
}

fn is_text(object: &Bound<'_, PyAny>, text: &str) -> bool {
    object.extract::<&str>().is_ok_and(|object| object == text)
}
