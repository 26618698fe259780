//! Processes that run the tasks of this program.

use std::fmt;
use std::sync::{Arc, OnceLock};

use manyhands_pool::completion::Wait;
use manyhands_pool::future::Future;
use manyhands_pool::panics;
use manyhands_pool::process::{
    Arguments, Body, Function, PoolConfig, PoolCounts, ProcessPool as CorePool, TaskOptions,
    WorkerInfo,
};

use crate::error::{PoolError, SubmitError};
use crate::executor::{Executor, Map, Options, sealed};
use crate::start;
use crate::task::{Entry, Registry, Task};
use crate::wire;

/// Worker processes that run [tasks](macro@crate::task).
///
/// Workers are this program, started again; [`init`](crate::init()) is where they begin. They are
/// started when tasks need them. A worker that dies fails the one task it was running, with
/// [`TaskError::Crashed`](crate::TaskError::Crashed), and is replaced; a panic fails its task and
/// leaves the worker alive. When this process ends, by whatever means, its workers end too.
///
/// Dropping the pool lets the tasks taken so far finish, without waiting for them; call
/// [`shutdown`](Self::shutdown) to wait.
///
/// ```
/// use manyhands::ProcessPool;
///
/// #[manyhands::task]
/// fn fib(n: u32) -> u64 {
///     if n < 2 { n.into() } else { fib(n - 1) + fib(n - 2) }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     manyhands::init();
///     let pool = ProcessPool::new(2)?;
///     let future = pool.submit(fib::task, 20)?;
///     assert_eq!(future.result()?, fib(20));
///     Ok(())
/// }
/// ```
pub struct ProcessPool {
    pool: CorePool,
    max_workers: usize,
    /// What was sent of each task, by its index in the registry.
    functions: Box<[OnceLock<Known>]>,
}

/// Settings of a [`ProcessPool`].
///
/// ```
/// # fn main() {
/// # manyhands::init();
/// let pool = manyhands::ProcessPool::builder()
///     .max_workers(2)
///     .max_tasks_per_worker(1_000)
///     .warm_start(true)
///     .build()
///     .unwrap();
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProcessPoolBuilder {
    max_workers: Option<usize>,
    max_tasks_per_worker: Option<u64>,
    warm_start: bool,
}

/// A task the pool has met.
struct Known {
    function: Arc<Function>,
    name: Arc<str>,
}

impl ProcessPool {
    /// A pool of at most `max_workers` processes (at least 1); none is started yet.
    ///
    /// # Errors
    /// [`PoolError`] if [`init`](crate::init()) was not called, if two tasks have the same name,
    /// or if the system refuses memory, a descriptor or a thread.
    pub fn new(max_workers: usize) -> Result<Self, PoolError> {
        Self::builder().max_workers(max_workers).build()
    }

    /// Settings for a pool.
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder::default()
    }

    /// Hands a task to the next free worker. `args` is the function's argument, or a tuple of its
    /// arguments if it has several, or `()`.
    ///
    /// # Errors
    /// [`SubmitError`] if the pool was shut down, its workers cannot be started, or the arguments
    /// cannot be encoded or have no room in the shared heap.
    pub fn submit<T: Task>(
        &self,
        task: T,
        args: T::Args,
    ) -> Result<Future<T::Output>, SubmitError> {
        Executor::submit(self, task, args)
    }

    /// Runs a task for each of `inputs`; the results come in the order of the inputs.
    ///
    /// ```
    /// # #[manyhands::task]
    /// # fn add(a: i32, b: i32) -> i32 { a + b }
    /// # fn main() {
    /// # manyhands::init();
    /// let pool = manyhands::ProcessPool::new(2).unwrap();
    /// let sums = pool.map(add::task, [(1, 2), (3, 4)]);
    /// assert_eq!(sums.map(Result::unwrap).collect::<Vec<_>>(), [3, 7]);
    /// # }
    /// ```
    pub fn map<T: Task, I>(&self, task: T, inputs: I) -> Map<'_, Self, T, I::IntoIter>
    where
        I: IntoIterator<Item = T::Args>,
    {
        Executor::map(self, task, inputs)
    }

    /// A view of the pool that gives tasks a name, a timeout, a grace.
    pub fn options(&self) -> Options<'_, Self> {
        Executor::options(self)
    }

    /// Takes no more tasks, and waits until those taken are done, every worker has ended, and the
    /// callbacks have run (not for the latter, if it is a callback that calls this).
    pub fn shutdown(&self) {
        self.close();
        while self.pool.wait_until_ended(None) == Wait::Interrupted {}
        self.pool.flush_callbacks();
    }

    /// Takes no more tasks; those taken are finished, and nobody waits for it here.
    pub fn close(&self) {
        self.pool.close(false);
    }

    /// Takes no more tasks and cancels those that wait; what runs is finished.
    pub fn cancel_pending(&self) {
        self.pool.close(true);
    }

    /// Ends everything now: every task that is not done is cancelled, every worker killed.
    pub fn kill(&self) {
        self.pool.kill(true);
        while self.pool.wait_until_ended(None) == Wait::Interrupted {}
    }

    /// Ends every worker now; the tasks that run fail with it.
    pub(crate) fn kill_workers(&self) {
        self.pool.kill(false);
    }

    /// Takes no more tasks, cancels those that wait, and asks every worker to end (SIGTERM).
    pub fn terminate(&self) {
        self.pool.terminate(false);
    }

    /// Processes at most.
    pub const fn max_workers(&self) -> usize {
        self.max_workers
    }

    /// The workers of the moment.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.pool.workers()
    }

    /// What has happened so far.
    pub fn statistics(&self) -> PoolCounts {
        self.pool.counts()
    }

    fn known(&self, entry: &'static Entry) -> Result<&Known, SubmitError> {
        let unknown = SubmitError::UnknownTask(entry.name);
        let known = &self.functions[entry.index().ok_or(unknown)?];
        if let Some(known) = known.get() {
            return Ok(known);
        }
        let function = self
            .pool
            .function(entry.name.as_bytes(), Some(entry.name))
            .map_err(|error| SubmitError::Arguments(format!("{}: {error}", entry.name)))?;
        // Two threads may get here; the function of the one that comes second is not used.
        Ok(known.get_or_init(|| Known { function, name: entry.name.into() }))
    }
}

impl ProcessPoolBuilder {
    /// Processes at most, and at least 1; as many as this process may use processors unless told
    /// otherwise.
    pub const fn max_workers(mut self, n_workers: usize) -> Self {
        self.max_workers = Some(n_workers);
        self
    }

    /// Replaces a worker after so many tasks (at least 1), for tasks that leak.
    pub const fn max_tasks_per_worker(mut self, n_tasks: u64) -> Self {
        self.max_tasks_per_worker = Some(n_tasks);
        self
    }

    /// Starts all workers when the pool is made, not when tasks need them.
    pub const fn warm_start(mut self, warm: bool) -> Self {
        self.warm_start = warm;
        self
    }

    /// The pool.
    ///
    /// # Errors
    /// As for [`ProcessPool::new`].
    pub fn build(self) -> Result<ProcessPool, PoolError> {
        crate::shared::register_kinds();
        let program = start::worker_program()?;
        let n_tasks = Registry::get()?.len();
        let max_workers =
            self.max_workers.unwrap_or_else(manyhands_sys::machine::n_usable_cpus).max(1);
        let pool = CorePool::new(PoolConfig {
            max_workers,
            max_tasks_per_worker: self.max_tasks_per_worker.map(|n_tasks| n_tasks.max(1)),
            start_all: false,
            launcher: Arc::new(program),
            setup: Vec::new(),
            fds: Vec::new(),
        })?;
        if self.warm_start {
            pool.start_workers();
        }
        let functions = (0..n_tasks).map(|_| OnceLock::new()).collect();
        Ok(ProcessPool { pool, max_workers, functions })
    }
}

impl sealed::Sealed for ProcessPool {}

impl Executor for ProcessPool {
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
        let mut buffer = [0; Body::MAX_INLINE];
        let encoded = wire::encode(&args, self.pool.heap(), &mut buffer);
        // A destructor that panics must not keep the task's future from the caller.
        panics::discard(args);
        let (encoded, carried) = encoded
            .map_err(|why| SubmitError::Arguments(format!("the arguments of {} {why}", T::NAME)))?;
        let known = self.known(T::entry())?;
        let mut options = options.clone();
        options.name.get_or_insert_with(|| Arc::clone(&known.name));
        let function = Arc::clone(&known.function);
        let arguments = Arguments { body: encoded.into_body(&buffer), carried };
        let task = self.pool.submit(function, arguments, options)?;
        // SAFETY: the pool gives a task to who submits it, and that is here.
        let future = unsafe { Future::new(task) };
        Ok(future.convert(wire::decode, wire::is_failure))
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPool")
            .field("max_workers", &self.max_workers)
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
