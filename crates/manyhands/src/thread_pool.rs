//! Threads that run tasks and closures of this program.

use std::fmt;
use std::io;

use manyhands_pool::future::Future;
use manyhands_pool::process::TaskOptions;
use manyhands_pool::thread_pool::{Builder, Statistics, ThreadPool as CorePool};

use crate::error::{PoolError, SubmitError};
use crate::executor::{Executor, Map, Options, sealed};
use crate::task::Task;

/// Threads that run [tasks](macro@crate::task), as a [`ProcessPool`](crate::ProcessPool) does, and
/// closures.
///
/// Threads are started when tasks need them. A panic is the error of its own task. A task that
/// waits for another one of its own pool runs it itself if no other thread can: nesting is no
/// deadlock. A running task cannot be stopped, Rust offers no way: a cancel of it ends its future
/// and drops its result.
///
/// Dropping the pool lets the tasks taken so far finish, without waiting for them; call
/// [`shutdown`](Self::shutdown) to wait.
///
/// ```
/// let pool = manyhands::ThreadPool::new(2).unwrap();
/// let words = vec!["rice", "beans"];
/// let future = pool.spawn(move || words.concat()).unwrap();
/// assert_eq!(future.result().unwrap(), "ricebeans");
/// ```
pub struct ThreadPool {
    pool: CorePool,
    max_workers: usize,
}

/// Settings of a [`ThreadPool`].
///
/// ```
/// let pool = manyhands::ThreadPool::builder().max_workers(2).name("cook").build().unwrap();
/// let name = pool.spawn(|| std::thread::current().name().map(str::to_owned)).unwrap();
/// assert_eq!(name.result().unwrap().as_deref(), Some("cook-0"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ThreadPoolBuilder {
    max_workers: Option<usize>,
    name: Option<String>,
    stack_bytes: Option<usize>,
}

impl ThreadPool {
    /// A pool of at most `max_workers` threads (at least 1); none is started yet.
    ///
    /// # Errors
    /// None today; as for a process pool, so that one word changes between the two.
    pub fn new(max_workers: usize) -> Result<Self, PoolError> {
        Self::builder().max_workers(max_workers).build()
    }

    /// Settings for a pool.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::default()
    }

    /// Hands a task to the next free thread. `args` is the function's argument, or a tuple of its
    /// arguments if it has several, or `()`; it is moved, not encoded.
    ///
    /// # Errors
    /// [`SubmitError`] if the pool was shut down, or its first thread cannot be started.
    pub fn submit<T: Task>(
        &self,
        task: T,
        args: T::Args,
    ) -> Result<Future<T::Output>, SubmitError> {
        Executor::submit(self, task, args)
    }

    /// Hands a closure to the next free thread.
    ///
    /// # Errors
    /// As for [`submit`](Self::submit).
    pub fn spawn<R, F>(&self, body: F) -> Result<Future<R>, SubmitError>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        self.pool.submit(body).map_err(refusal)
    }

    /// Runs a task for each of `inputs`; the results come in the order of the inputs.
    pub fn map<T: Task, I>(&self, task: T, inputs: I) -> Map<'_, Self, T, I::IntoIter>
    where
        I: IntoIterator<Item = T::Args>,
    {
        Executor::map(self, task, inputs)
    }

    /// A view of the pool that gives tasks a name.
    pub fn options(&self) -> Options<'_, Self> {
        Executor::options(self)
    }

    /// Takes no more tasks, and waits until those taken are done and every thread has ended.
    pub fn shutdown(&self) {
        self.pool.shutdown(true, false);
    }

    /// Takes no more tasks; those taken are finished, and nobody waits for it here.
    pub fn close(&self) {
        self.pool.shutdown(false, false);
    }

    /// Takes no more tasks and cancels those that wait; what runs is finished.
    pub fn cancel_pending(&self) {
        self.pool.shutdown(false, true);
    }

    /// Threads at most.
    pub const fn max_workers(&self) -> usize {
        self.max_workers
    }

    /// What has happened so far.
    pub fn statistics(&self) -> Statistics {
        self.pool.statistics()
    }
}

impl ThreadPoolBuilder {
    /// Threads at most, and at least 1; as many as this process may use processors unless told
    /// otherwise.
    pub const fn max_workers(mut self, n_workers: usize) -> Self {
        self.max_workers = Some(n_workers);
        self
    }

    /// The threads are called `name-0`, `name-1`, …
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The size of each thread's stack, in bytes.
    pub const fn stack_size(mut self, n_bytes: usize) -> Self {
        self.stack_bytes = Some(n_bytes);
        self
    }

    /// The pool.
    ///
    /// # Errors
    /// As for [`ThreadPool::new`].
    pub fn build(self) -> Result<ThreadPool, PoolError> {
        let max_workers =
            self.max_workers.unwrap_or_else(manyhands_sys::machine::n_usable_cpus).max(1);
        let builder = CorePool::builder(max_workers);
        let builder = self.name.into_iter().fold(builder, Builder::name);
        let builder = self.stack_bytes.into_iter().fold(builder, Builder::stack_size);
        Ok(ThreadPool { pool: builder.build(), max_workers })
    }
}

impl sealed::Sealed for ThreadPool {}

impl Executor for ThreadPool {
    fn shutdown(&self) {
        Self::shutdown(self);
    }

    fn max_workers(&self) -> usize {
        self.max_workers
    }

    fn submit_with<T: Task>(
        &self,
        args: T::Args,
        options: &TaskOptions,
    ) -> Result<Future<T::Output>, SubmitError> {
        let body = move || T::call(args);
        let submitted = match &options.name {
            Some(name) => self.pool.submit_named(&**name, body),
            None => self.pool.submit(body),
        };
        submitted.map_err(refusal)
    }
}

/// The core refuses with an error of its own if the pool is closed, with the system's or the
/// standard library's if a thread cannot be started.
fn refusal(error: io::Error) -> SubmitError {
    match error.kind() {
        io::ErrorKind::NotConnected => SubmitError::Closed,
        _ => SubmitError::Broken(format!("a thread could not be started: {error}")),
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("max_workers", &self.max_workers)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
