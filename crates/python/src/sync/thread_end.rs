//! A thread as others see it: what `Thread.join` sleeps on, what `Thread.cancel` reaches.
//!
//! The thread itself moves it forward, each step once:
//!
//! | step | from then on |
//! |---|---|
//! | `begin` | others know whom they wait for; it can be interrupted |
//! | `leave_body` | it cannot be interrupted any more, and no interruption is under way |
//! | `end` | whoever waits for it goes on |
//!
//! An interruption is raised under the same mutex under which `leave_body` takes it back, so it
//! never reaches what the thread does after its body.

use std::cell::RefCell;
use std::ffi::c_ulong;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use manyhands_sync::event::RawEvent;
use manyhands_sync::sleep::{Sleeper, nudge};
use manyhands_sys::clock::{cpu_ns_of, thread_cpu_ns};
use manyhands_sys::futex::Private;
use manyhands_sys::thread_id;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::blocking::block;
use crate::interrupt::deadline_of;
use crate::worker::get_thread_ident;

/// One thread, from its own first step to its last.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct ThreadEnd {
    ended: RawEvent<Private>,
    thread: AtomicU32,
    kernel_id: AtomicU32,
    cpu_ns: AtomicU64,
    body: Mutex<Body>,
    name: String,
}

/// Whether the thread is in its body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    NotBegun,
    /// Under the number that CPython knows the thread by.
    Runs(c_ulong),
    Interrupted(c_ulong),
    Left,
}

thread_local! {
    static SLEEPER: RefCell<Option<Sleeper>> = const { RefCell::new(None) };
}

impl ThreadEnd {
    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl ThreadEnd {
    #[new]
    fn new(name: String) -> Self {
        Self {
            ended: RawEvent::new(),
            thread: AtomicU32::new(0),
            kernel_id: AtomicU32::new(0),
            cpu_ns: AtomicU64::new(0),
            body: Mutex::new(Body::NotBegun),
            name,
        }
    }

    /// The thread itself, first of all.
    pub fn begin(&self) {
        self.kernel_id.store(thread_id::kernel_id(), Ordering::Relaxed);
        self.thread.store(thread_id::me(), Ordering::Release);
        SLEEPER.set(Some(Sleeper::new()));
        // SAFETY: takes nothing and cannot fail.
        *self.body() = Body::Runs(unsafe { get_thread_ident() });
    }

    /// The thread itself, as often as it likes: no interruption comes after this.
    pub fn leave_body(&self) {
        let mut body = self.body();
        if let Body::Interrupted(thread) = *body {
            // SAFETY: called attached; null takes a pending exception back.
            unsafe { ffi::PyThreadState_SetAsyncExc(thread as _, std::ptr::null_mut()) };
        }
        *body = Body::Left;
    }

    /// The thread itself, last of all.
    pub fn end(&self) {
        self.leave_body();
        SLEEPER.set(None);
        self.cpu_ns.store(thread_cpu_ns(), Ordering::Relaxed);
        self.ended.set();
    }

    /// Raises `exception` in the thread's body, at its next bytecode or in a wait for one of our
    /// primitives. False: it does not run, or was interrupted before.
    fn interrupt(&self, exception: &Bound<'_, PyType>) -> bool {
        {
            let mut body = self.body();
            let Body::Runs(thread) = *body else { return false };
            // SAFETY: attached, and the class outlives the call, which counts its own reference.
            unsafe { ffi::PyThreadState_SetAsyncExc(thread as _, exception.as_ptr()) };
            *body = Body::Interrupted(thread);
        }
        let thread = self.thread.load(Ordering::Acquire);
        exception.py().detach(|| nudge(thread));
        true
    }

    fn has_begun(&self) -> bool {
        *self.body() != Body::NotBegun
    }

    fn has_ended(&self) -> bool {
        self.ended.is_set()
    }

    /// Seconds of processor time it has used.
    fn cpu_time(&self) -> f64 {
        let kernel_id = self.kernel_id.load(Ordering::Relaxed);
        let now_ns = (kernel_id != 0 && !self.ended.is_set()).then(|| cpu_ns_of(kernel_id));
        let total_ns = self.cpu_ns.load(Ordering::Relaxed);
        now_ns.flatten().unwrap_or(total_ns) as f64 / 1e9
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
