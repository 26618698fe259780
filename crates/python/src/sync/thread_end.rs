//! The end of a thread, to wait for: what `Thread.join` sleeps on.

use std::sync::atomic::{AtomicU32, Ordering};

use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use manyhands_sync::event::RawEvent;
use manyhands_sync::sleep::{Sleeper, nudge};
use manyhands_sys::futex::Private;
use manyhands_sys::thread_id;
use pyo3::prelude::*;

use super::blocking::block;
use crate::interrupt::deadline_of;

/// One thread, from its own first step to its last.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct ThreadEnd {
    ended: RawEvent<Private>,
    thread: AtomicU32,
    name: String,
}

thread_local! {
    static SLEEPER: std::cell::RefCell<Option<Sleeper>> = const { std::cell::RefCell::new(None) };
}

#[pymethods]
impl ThreadEnd {
    #[new]
    fn new(name: String) -> Self {
        Self { ended: RawEvent::new(), thread: AtomicU32::new(0), name }
    }

    /// The thread itself: from now on others know whom they wait for, and may nudge it.
    fn begin(&self) {
        self.thread.store(thread_id::me(), Ordering::Release);
        SLEEPER.set(Some(Sleeper::new()));
    }

    /// The thread itself, last of all.
    fn end(&self) {
        SLEEPER.set(None);
        self.ended.set();
    }

    /// Makes the thread look up from a wait for one of our primitives.
    fn nudge(&self) -> bool {
        nudge(self.thread.load(Ordering::Acquire))
    }

    fn is_ended(&self) -> bool {
        self.ended.is_set()
    }

    /// False if it has not ended within `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let generation = self.ended.generation();
        if self.ended.is_set() {
            return Ok(true);
        }
        let deadline = deadline_of(timeout)?;
        block(py, self, deadline, false, |deadline, waiting| {
            self.ended.wait(generation, deadline, waiting)
        })
    }
}

impl Resource for ThreadEnd {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Thread", name: Some(self.name.clone()), id }
    }

    fn ended_by(&self) -> EndedBy {
        match self.thread.load(Ordering::Acquire) {
            _ if self.ended.is_set() => EndedBy::Nobody,
            0 => EndedBy::Anyone,
            thread => EndedBy::EndOf(thread),
        }
    }
}
