//! A pool of Rust threads that run closures.
//!
//! Guarantees:
//! - threads are started on demand, and an idle one is reused before another is started;
//! - a panic is the error of its own task; the thread goes on, also if a result, a closure that was
//!   cancelled, or what a panic carried panics when it is dropped;
//! - a cancelled task never starts;
//! - a worker that waits for a task of its own pool runs it itself if nobody else can: nesting is
//!   no deadlock;
//! - dropping the pool lets the queued tasks finish; it does not wait for them.
//!
//! When a thread is started, and what it works from, is in [`threads`](crate::threads); here is
//! what a thread does with a closure.
//!
//! What it does not do: it does not stop a running closure; Rust offers no way to do that.
//! `cancel_running` ends the future, and the closure's result is dropped.

use std::cell::UnsafeCell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use manyhands_sys::futex::{Private, Waker};

use crate::completion::Completion;
use crate::error::TaskError;
use crate::future::{Future, Outcome, Source};
use crate::panics;
use crate::threads::{Kind, NewThread, Refused, Slot, ThreadSet};

/// Threads that run closures; see the [module](self).
pub struct ThreadPool {
    threads: Arc<ThreadSet<RustThreads>>,
}

/// How a [`ThreadPool`] is made.
#[derive(Clone, Debug)]
pub struct Builder {
    n_max_threads: usize,
    name: String,
    stack_bytes: Option<usize>,
}

/// What a pool has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Tasks handed to `submit`.
    pub n_submitted: u64,
    /// Tasks that ran to their end, well or not.
    pub n_run: u64,
    /// Tasks waiting for a thread now.
    pub n_queued: usize,
    /// Threads started so far.
    pub n_threads: usize,
    /// Threads waiting for a task now.
    pub n_idle: usize,
}

/// A task as a worker sees it.
trait Run: Send + Sync {
    /// Runs the task unless somebody else runs it or it was cancelled.
    fn run(&self);
    fn cancel(&self);
}

/// Threads of the standard library, that run closures.
struct RustThreads {
    settings: Builder,
    /// Of the threads started so far that nobody has waited for.
    handles: Mutex<Vec<JoinHandle<()>>>,
}

struct Task<F, T> {
    outcome: Outcome<T>,
    /// Taken by whoever claims the completion.
    body: UnsafeCell<Option<F>>,
    threads: Arc<ThreadSet<RustThreads>>,
    name: Option<String>,
}

// SAFETY: `body` is reached only by the thread whose `claim` returned true, which happens once;
// `F: Send` lets it move there. `Outcome` guards itself.
unsafe impl<F: Send, T: Send> Sync for Task<F, T> {}

impl ThreadPool {
    /// A pool of at most `n_max_threads` threads.
    pub fn new(n_max_threads: usize) -> Self {
        Self::builder(n_max_threads).build()
    }

    /// Settings for a pool of at most `n_max_threads` threads.
    pub fn builder(n_max_threads: usize) -> Builder {
        Builder { n_max_threads: n_max_threads.max(1), name: "pool".to_owned(), stack_bytes: None }
    }

    /// Queues `body` for the next free thread.
    ///
    /// # Errors
    /// The pool was shut down ([`io::ErrorKind::NotConnected`]), or its first thread cannot be
    /// started.
    pub fn submit<T, F>(&self, body: F) -> io::Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.submit_task(body, None)
    }

    /// [`submit`](Self::submit), with a name for reports.
    ///
    /// # Errors
    /// As for `submit`.
    pub fn submit_named<T, F>(&self, name: impl Into<String>, body: F) -> io::Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.submit_task(body, Some(name.into()))
    }

    /// Refuses further tasks; cancels the queued ones if `cancel_pending`; waits for the rest if
    /// `wait`. Called by one of its own threads, it does not wait for that thread.
    pub fn shutdown(&self, wait: bool, cancel_pending: bool) {
        self.threads.queue.close();
        if cancel_pending {
            self.threads.queue.drain().iter().for_each(|task| task.cancel());
        }
        if wait {
            let handles = std::mem::take(&mut *self.threads.kind.lock_handles());
            let myself = std::thread::current().id();
            for thread in handles.into_iter().filter(|thread| thread.thread().id() != myself) {
                // A worker only ends by panic if the pool itself is at fault; nothing to add.
                drop(thread.join());
            }
        }
    }

    /// What the pool has done so far.
    pub fn statistics(&self) -> Statistics {
        let numbers = self.threads.numbers();
        Statistics {
            n_submitted: numbers.n_submitted,
            n_run: numbers.n_finished,
            n_queued: numbers.n_queued,
            n_threads: self.threads.kind.lock_handles().len(),
            n_idle: numbers.n_idle,
        }
    }

    fn submit_task<T, F>(&self, body: F, name: Option<String>) -> io::Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let task = Arc::new(Task {
            outcome: Outcome::new(),
            body: UnsafeCell::new(Some(body)),
            threads: Arc::clone(&self.threads),
            name,
        });
        match self.threads.submit((), Arc::clone(&task) as Arc<dyn Run>) {
            Ok(()) => {}
            Err(Refused::NoThread(error)) => {
                // Who is told that it was not taken does not want it to run later.
                Run::cancel(&*task);
                return Err(error);
            }
            Err(Refused::Closed) => {
                let text = "the pool was shut down: it takes no more tasks";
                return Err(io::Error::new(io::ErrorKind::NotConnected, text));
            }
        }
        // SAFETY: the task was made here, and the queue only runs it.
        Ok(unsafe { Future::new(task) })
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shutdown(false, false);
    }
}

impl Builder {
    /// The threads are called `name-0`, `name-1`, …
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The size of each thread's stack, in bytes.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// The pool; no thread is started yet.
    pub fn build(self) -> ThreadPool {
        let n_max_threads = self.n_max_threads;
        let kind = RustThreads { settings: self, handles: Mutex::default() };
        ThreadPool { threads: Arc::new(ThreadSet::new(n_max_threads, kind)) }
    }
}

impl RustThreads {
    fn lock_handles(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.handles.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Kind for RustThreads {
    type Context<'c> = ();
    type Task = Arc<dyn Run>;
    type Thread = ();
    type Error = io::Error;

    /// There is no context to let go of.
    const N_TASKS_PER_TURN: u32 = u32::MAX;

    fn start(&self, (): (), thread: &Arc<NewThread<Self>>) -> io::Result<()> {
        // Held over the start: who waits for all threads finds the handle of each that is there.
        let mut handles = self.lock_handles();
        let name = format!("{}-{}", self.settings.name, thread.number());
        let mut builder = std::thread::Builder::new().name(name);
        if let Some(bytes) = self.settings.stack_bytes {
            builder = builder.stack_size(bytes);
        }
        let thread = Arc::clone(thread);
        handles.push(builder.spawn(move || thread.run(()))?);
        Ok(())
    }

    fn is_no_room(&self, (): (), _error: &io::Error) -> bool {
        true
    }

    fn this_thread(&self, _number: usize) {}

    fn begin(&self, (): (), _threads: &ThreadSet<Self>) -> bool {
        true
    }

    fn run(
        &self,
        (): (),
        _threads: &ThreadSet<Self>,
        _slot: &Slot<()>,
        task: Arc<dyn Run>,
    ) -> Option<Waker<Private>> {
        task.run();
        None
    }

    fn without<R: Send>((): (), f: impl FnOnce() -> R + Send) -> R {
        f()
    }
}

impl<F, T> Run for Task<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(&self) {
        if !self.outcome.completion().claim() {
            return;
        }
        // SAFETY: `claim` returned true, which it does once: nobody else reaches the body.
        let body = unsafe { (*self.body.get()).take() };
        let Some(body) = body else { return };
        let value = panics::catch(body);
        self.threads.count_finished();
        self.outcome.settle(value);
    }

    fn cancel(&self) {
        self.outcome.completion().cancel();
    }
}

impl<F, T> Source<T> for Task<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn completion(&self) -> &Completion {
        self.outcome.completion()
    }

    unsafe fn take(&self) -> Option<Result<T, TaskError>> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.outcome.take() }
    }

    unsafe fn has_failed(&self, is_failure: fn(&T) -> bool) -> bool {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.outcome.has_failed(is_failure) }
    }

    fn help(&self) {
        if self.threads.slot_to_help_in().is_some() {
            self.run();
        }
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl<F, T> Drop for Task<F, T> {
    fn drop(&mut self) {
        // A task thrown away unrun (its pool is gone) must not leave its future waiting.
        self.outcome.settle(Err(TaskError::Cancelled));
        // One that never ran still has what its closure captured.
        if let Some(body) = self.body.get_mut().take() {
            panics::discard(body);
        }
    }
}
