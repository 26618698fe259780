//! A thread as others see it: what `Thread.join` sleeps on, what `Thread.cancel` reaches.
//!
//! The thread itself moves it forward, each step once:
//!
//! | step | from then on |
//! |---|---|
//! | `begin` | others know whom they wait for; it is interrupted where it stands |
//! | `leave_body` | it cannot be interrupted any more, and no interruption is under way |
//! | the system takes down its thread-local variables | whoever waits for it goes on |
//!
//! An interruption is raised under the same mutex under which `leave_body` ends the time for it;
//! one that is under way then is received there. So it never reaches what the thread does after its
//! body. One that comes before `begin` is the answer of `begin`: the body does not start.
//!
//! That the last step is the system's has two reasons. Nobody waits for ever for a thread that is
//! gone, even if a trace function or the end of the interpreter took it out of our hands. And
//! whoever waited finds it gone for the standard `join` too, and does not sleep a second time.

use std::cell::RefCell;
use std::ffi::c_ulong;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use manyhands_sync::event::RawEvent;
use manyhands_sync::sleep::{Sleeper, interrupt};
use manyhands_sys::clock::{cpu_ns_of, thread_cpu_ns};
use manyhands_sys::futex::Private;
use manyhands_sys::thread_id;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::blocking::block;
use crate::async_exception;
use crate::interrupt::deadline_of;
use crate::stopping::get_thread_ident;

/// One thread, from its own first step to its last.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct ThreadEnd(Arc<Thread>);

/// What the thread and those who wait for it share.
struct Thread {
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
    /// It was interrupted so early that it need not begin.
    Forestalled,
    /// Under the number that CPython knows the thread by.
    Runs(c_ulong),
    Interrupted(c_ulong),
    Left,
}

/// What the thread itself keeps from `begin` on.
struct Living {
    thread: Arc<Thread>,
    /// Lets others interrupt it out of its waits.
    sleeper: Option<Sleeper>,
}

thread_local! {
    static LIVING: RefCell<Option<Living>> = const { RefCell::new(None) };
}

impl Drop for Living {
    fn drop(&mut self) {
        // What others find under this thread's number must not outlive it.
        self.sleeper = None;
        self.thread.cpu_ns.store(thread_cpu_ns(), Ordering::Relaxed);
        self.thread.ended.set();
    }
}

impl Thread {
    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl ThreadEnd {
    #[new]
    fn new(name: String) -> Self {
        Self(Arc::new(Thread {
            ended: RawEvent::new(),
            thread: AtomicU32::new(0),
            kernel_id: AtomicU32::new(0),
            cpu_ns: AtomicU64::new(0),
            body: Mutex::new(Body::NotBegun),
            name,
        }))
    }

    /// The thread itself, first of all. False: it was interrupted already, and has no body to run.
    pub fn begin(&self) -> bool {
        let thread = &self.0;
        thread.kernel_id.store(thread_id::kernel_id(), Ordering::Relaxed);
        thread.thread.store(thread_id::me(), Ordering::Release);
        let sleeper = Some(Sleeper::new());
        LIVING.set(Some(Living { thread: Arc::clone(thread), sleeper }));
        let mut body = thread.body();
        if *body == Body::Forestalled {
            return false;
        }
        // SAFETY: takes nothing and cannot fail.
        *body = Body::Runs(unsafe { get_thread_ident() });
        true
    }

    /// The thread itself, as often as it likes: no interruption comes after this.
    pub fn leave_body(&self, py: Python<'_>) {
        let was = std::mem::replace(&mut *self.0.body(), Body::Left);
        if matches!(was, Body::Interrupted(_)) {
            async_exception::absorb(py);
        }
    }

    /// The thread itself, before it leaves what we see of it: one that never began ends here.
    pub fn end(&self, py: Python<'_>) {
        self.leave_body(py);
        if !self.has_begun() {
            self.0.ended.set();
        }
    }

    /// Raises `exception` in the thread's body, at its next bytecode or in a wait for one of our
    /// primitives; a body that has not begun never does. False: it is over.
    fn interrupt(&self, exception: &Bound<'_, PyType>) -> bool {
        {
            let mut body = self.0.body();
            let thread = match *body {
                Body::Runs(thread) | Body::Interrupted(thread) => thread,
                Body::NotBegun | Body::Forestalled => {
                    *body = Body::Forestalled;
                    return true;
                }
                Body::Left => return false,
            };
            async_exception::raise_in(thread, exception);
            *body = Body::Interrupted(thread);
        }
        let thread = self.0.thread.load(Ordering::Acquire);
        exception.py().detach(|| interrupt(thread));
        true
    }

    fn has_begun(&self) -> bool {
        self.0.thread.load(Ordering::Acquire) != 0
    }

    fn has_ended(&self) -> bool {
        self.0.ended.is_set()
    }

    /// Seconds of processor time it has used.
    fn cpu_time(&self) -> f64 {
        let kernel_id = self.0.kernel_id.load(Ordering::Relaxed);
        let is_alive = kernel_id != 0 && !self.0.ended.is_set();
        let now_ns = is_alive.then(|| cpu_ns_of(kernel_id)).flatten();
        now_ns.unwrap_or_else(|| self.0.cpu_ns.load(Ordering::Relaxed)) as f64 / 1e9
    }

    /// False if it has not ended within `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let thread = &*self.0;
        let generation = thread.ended.generation();
        if thread.ended.is_set() {
            return Ok(true);
        }
        let deadline = deadline_of(timeout)?;
        block(py, thread, deadline, false, |deadline, waiting| {
            thread.ended.wait(generation, deadline, waiting)
        })
    }
}

impl Resource for Thread {
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
