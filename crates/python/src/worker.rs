//! A worker thread of a `ThreadPoolExecutor`: a Python thread whose loop is Rust.
//!
//! The loop, and when a thread is started, retired or ended, is in `manyhands_pool::threads`; here
//! is what an attached thread does there: it is started by Python, runs the initializer, and calls.

use std::sync::Arc;
use std::time::Duration;

use manyhands_pool::threads::{Kind as ThreadKind, NewThread};
use manyhands_sys::futex::{Private, Waker};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::call::call;
use crate::contract;
use crate::errors;
use crate::future::{FutureCore, Kind, local};
use crate::python_threads::{BROKEN, PythonThread, PythonThreads, Slot, ThreadSet};
use crate::stopping::get_thread_ident;

/// The body of a worker thread.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct WorkLoop {
    thread: Arc<NewThread<PythonThreads>>,
}

#[pymethods]
impl WorkLoop {
    fn __call__(&self, py: Python<'_>) {
        self.thread.run(py);
    }

    /// Gives the thread up before it begins. False if it has begun: a Ctrl-C can interrupt
    /// `Thread.start()` after the thread was started.
    fn abandon(&self) -> bool {
        self.thread.abandon()
    }

    /// Whether the thread's place was given to another one, because it did not leave a task.
    #[getter]
    fn is_retired(&self) -> bool {
        self.thread.is_retired()
    }

    /// Lets the threads end once the queue is empty; called when the interpreter ends.
    fn close(&self) {
        self.thread.set().queue.close();
    }

    /// Cancels what waits and interrupts what runs.
    fn stop_all(&self, py: Python<'_>) {
        stop_all(self.thread.set(), py);
    }
}

impl ThreadKind for PythonThreads {
    type Context<'c> = Python<'c>;
    type Task = Py<FutureCore>;
    type Thread = PythonThread;
    type Error = PyErr;

    /// A body that is a C function never lets go of the GIL by itself.
    const N_TASKS_PER_TURN: u32 = 64;

    fn start(&self, py: Python<'_>, thread: &Arc<NewThread<Self>>) -> PyResult<()> {
        let work = Bound::new(py, WorkLoop { thread: Arc::clone(thread) })?;
        let name = self.name_of(thread.number());
        let args = (work, name, self.settings.stack_size, &self.shown);
        let start = contract::START_WORKER_THREAD.get(py)?;
        call(start, &args.into_pyobject(py)?, None).map(drop)
    }

    /// A KeyboardInterrupt, for one, is passed on in any case.
    fn is_no_room(&self, py: Python<'_>, error: &PyErr) -> bool {
        error.is_instance_of::<PyRuntimeError>(py)
    }

    fn this_thread(&self, number: usize) -> PythonThread {
        // SAFETY: takes nothing and cannot fail.
        let ident = unsafe { get_thread_ident() };
        PythonThread { ident, name: self.name_of(number) }
    }

    /// Runs the initializer; if it fails the pool is broken.
    fn begin(&self, py: Python<'_>, threads: &ThreadSet) -> bool {
        let Some(initializer) = &self.settings.initializer else { return true };
        let Err(error) = call(initializer.bind(py), self.settings.initargs.bind(py), None) else {
            return true;
        };
        errors::log_exception(py, "critical", "Exception in initializer:", None, &error);
        self.mark_broken();
        fail_queued(threads, py);
        false
    }

    fn run(
        &self,
        py: Python<'_>,
        _threads: &ThreadSet,
        slot: &Slot,
        task: Py<FutureCore>,
    ) -> Option<Waker<Private>> {
        let future = task.into_bound(py);
        let Kind::Local(task) = future.get().kind() else { return None };
        let ending = local::run(&future, task, slot)?;
        if ending.has_watchers() {
            local::announce(&future, ending);
            return None;
        }
        ending.has_sleepers().then(|| future.get().completion().waker())
    }

    fn without<R: Send>(py: Python<'_>, f: impl FnOnce() -> R + Send) -> R {
        py.detach(f)
    }
}

/// Ends the tasks that wait with BrokenThreadPool.
fn fail_queued(threads: &ThreadSet, py: Python<'_>) {
    for future in threads.queue.drain() {
        let future = future.into_bound(py);
        let broken = errors::error_of(errors::broken_thread_pool(py), BROKEN);
        let error = broken.into_value(py).into_any();
        if let Some(ending) = future.get().try_settle(Err(error)) {
            if let Kind::Local(task) = future.get().kind() {
                task.forget_call();
            }
            if let Err(error) = FutureCore::announce(&future, ending) {
                error.write_unraisable(py, Some(future.as_any()));
            }
        }
    }
}

/// Takes no more tasks, cancels what waits, interrupts what runs, without waiting for it.
pub fn stop_all(threads: &ThreadSet, py: Python<'_>) {
    threads.queue.close();
    if !threads.kind.generation.is_current() {
        return;
    }
    let running = local::running(threads, py);
    let queued = threads.queue.drain();
    for future in queued.into_iter().map(|future| future.into_bound(py)).chain(running) {
        let completion = future.get().completion();
        let Some(ending) = completion.try_cancel_running() else { continue };
        if let Kind::Local(task) = future.get().kind() {
            task.stop(&future, &ending, Duration::ZERO);
        }
        if let Err(error) = FutureCore::announce(&future, ending) {
            error.write_unraisable(py, Some(future.as_any()));
        }
    }
}
