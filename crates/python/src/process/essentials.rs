//! What no task may take from the next one: the names of `builtins`, and the handler of SIGINT.
//!
//! Everything else that a task changes in its worker is an ordinary setting and stays. Without
//! these nothing works afterwards: not the next task, not the reply of this one, and no cancel,
//! which comes as SIGINT. They are noted when the worker is ready, with what the initializer has
//! made of them, and put back after each task that has deleted or replaced one. (To replace the
//! worker instead would never end where a library replaces a builtin when it is imported.)
//!
//! The check is on the path of every task, so it looks at a flag (from Python 3.12 on the
//! dictionary tells of changes, before it counts them), and asks Python for the handler. What only
//! the system knows, that the signal is blocked or that code in C has taken it, costs two system
//! calls. They are made when the worker has nothing else to do, and between tasks that follow each
//! other at once every few microseconds: nobody who has seen a task's result can have sent the
//! next one sooner.
//!
//! What a task *adds* to `builtins` stays.

use manyhands_sys::thread::{interrupt_handler, unblock_interrupt};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::contract;

const SIGINT: i32 = 2;

/// Less than it takes from a reply until a task can come that was submitted because of it.
const RECENT_NS: u64 = 3_000;

/// What a worker needs from one task to the next, as it was when the worker became ready.
pub struct Essentials {
    builtins: Py<PyDict>,
    names: Vec<(Py<PyAny>, Py<PyAny>)>,
    changes: Changes,
    number: Py<PyAny>,
    on_interrupt: Py<PyAny>,
    handler: usize,
    /// When the system was asked last.
    checked_ns: u64,
    ask: Py<PyAny>,
    set: Py<PyAny>,
}

impl Essentials {
    /// Notes them. Called in the main thread.
    pub fn of_now(py: Python<'_>) -> PyResult<Self> {
        let builtins = contract::BUILTINS.get(py)?.cast::<PyDict>()?.clone();
        let ask = contract::GET_SIGNAL.get(py)?;
        let changes = Changes::of(&builtins);
        Ok(Self {
            names: builtins.iter().map(|(name, value)| (name.unbind(), value.unbind())).collect(),
            builtins: builtins.unbind(),
            changes,
            number: SIGINT.into_pyobject(py)?.into_any().unbind(),
            on_interrupt: ask.call1((SIGINT,))?.unbind(),
            handler: interrupt_handler(),
            checked_ns: 0,
            ask: ask.clone().unbind(),
            set: contract::SET_SIGNAL.get(py)?.clone().unbind(),
        })
    }

    /// Puts back what a task has deleted or replaced, as far as Python knows. False, here and
    /// below: that did not succeed, and nothing can be expected of this process any more.
    #[inline]
    pub fn restore_after_reply(&mut self, py: Python<'_>) -> bool {
        self.restore_builtins(py) && (self.has_handler(py) || self.restore_signal(py))
    }

    /// Puts back the names of `builtins`.
    #[inline]
    pub fn restore_builtins(&mut self, py: Python<'_>) -> bool {
        !self.changes.have_come(self.builtins.bind(py)) || succeeded(py, self.put_names_back(py))
    }

    #[cold]
    fn put_names_back(&mut self, py: Python<'_>) -> PyResult<()> {
        let builtins = self.builtins.bind(py);
        for (name, value) in &self.names {
            let is_there = builtins.get_item(name)?.is_some_and(|found| found.is(value));
            if !is_there {
                builtins.set_item(name, value)?;
            }
        }
        self.changes.have_been_seen(builtins);
        Ok(())
    }

    /// As [`Essentials::restore_signal`], if that was long ago. Called for each task, with the
    /// time it was claimed and whether the worker was idle before, and so has done it.
    #[inline]
    pub fn restore_signal_if_due(
        &mut self,
        py: Python<'_>,
        started_ns: u64,
        was_idle: bool,
    ) -> bool {
        let is_recent = started_ns.wrapping_sub(self.checked_ns) < RECENT_NS;
        if was_idle || !is_recent {
            self.checked_ns = started_ns;
        }
        was_idle || is_recent || self.restore_signal(py)
    }

    /// Lets SIGINT come, and come to the handler.
    pub fn restore_signal(&self, py: Python<'_>) -> bool {
        unblock_interrupt();
        if self.has_handler(py) && interrupt_handler() == self.handler {
            return true;
        }
        succeeded(py, self.set.call1(py, (&self.number, &self.on_interrupt)).map(drop))
    }

    #[inline]
    fn has_handler(&self, py: Python<'_>) -> bool {
        // SAFETY: attached; a live callable and a live argument.
        let current = unsafe {
            let raw = ffi::PyObject_CallOneArg(self.ask.as_ptr(), self.number.as_ptr());
            Bound::from_owned_ptr_or_err(py, raw)
        };
        current.is_ok_and(|current| current.is(&self.on_interrupt))
    }
}

fn succeeded(py: Python<'_>, result: PyResult<()>) -> bool {
    result.map_err(|error| error.write_unraisable(py, None)).is_ok()
}

#[cfg(Py_3_12)]
use watched::Changes;

/// From Python 3.12 on: the dictionary calls when something is about to change in it.
#[cfg(Py_3_12)]
mod watched {
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{Bound, PyDict, ffi};

    static HAVE_COME: AtomicBool = AtomicBool::new(true);

    type Callback =
        extern "C" fn(c_int, *mut ffi::PyObject, *mut ffi::PyObject, *mut ffi::PyObject) -> c_int;

    unsafe extern "C" {
        fn PyDict_AddWatcher(callback: Callback) -> c_int;
        fn PyDict_Watch(watcher_id: c_int, dict: *mut ffi::PyObject) -> c_int;
    }

    extern "C" fn note(
        _event: c_int,
        _dict: *mut ffi::PyObject,
        _key: *mut ffi::PyObject,
        _value: *mut ffi::PyObject,
    ) -> c_int {
        HAVE_COME.store(true, Ordering::Relaxed);
        0
    }

    /// Whether the dictionary was changed.
    pub struct Changes {
        is_watched: bool,
    }

    impl Changes {
        pub fn of(dict: &Bound<'_, PyDict>) -> Self {
            // SAFETY: attached; a function that lives as long as the process, and a live dict. No
            // watcher may be left: then every task looks at all names.
            let is_watched = unsafe {
                let watcher = PyDict_AddWatcher(note);
                watcher >= 0 && PyDict_Watch(watcher, dict.as_ptr()) == 0
            };
            if !is_watched {
                drop(pyo3::PyErr::take(dict.py()));
            }
            Self { is_watched }
        }

        #[inline]
        pub fn have_come(&self, _dict: &Bound<'_, PyDict>) -> bool {
            !self.is_watched || HAVE_COME.load(Ordering::Relaxed)
        }

        pub fn have_been_seen(&mut self, _dict: &Bound<'_, PyDict>) {
            HAVE_COME.store(false, Ordering::Relaxed);
        }
    }
}

/// Before Python 3.12: the dictionary has a number that is another one after each change.
#[cfg(not(Py_3_12))]
struct Changes(u64);

#[cfg(not(Py_3_12))]
impl Changes {
    fn of(dict: &Bound<'_, PyDict>) -> Self {
        Self(Self::number(dict))
    }

    #[inline]
    fn have_come(&self, dict: &Bound<'_, PyDict>) -> bool {
        self.0 != Self::number(dict)
    }

    fn have_been_seen(&mut self, dict: &Bound<'_, PyDict>) {
        self.0 = Self::number(dict);
    }

    fn number(dict: &Bound<'_, PyDict>) -> u64 {
        // SAFETY: attached; a live object of type dict, which has this layout in Python 3.11.
        unsafe { (*dict.as_ptr().cast::<ffi::PyDictObject>()).ma_version_tag }
    }
}
