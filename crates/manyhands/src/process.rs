//! One process that runs one task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use manyhands_sys::clock::Deadline;

use crate::error::{PoolError, SubmitError};
use crate::process_pool::ProcessPool;
use crate::task::Task;
use crate::{Future, TaskError};

/// A process of its own that runs a [task](macro@crate::task) and ends with it: what a thread is,
/// with memory of its own, and with a death that hurts nobody.
///
/// Dropping the value neither waits for the process nor ends it. When this process ends, by
/// whatever means, so do the ones it has started.
///
/// ```
/// #[manyhands::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let process = manyhands::Process::spawn(square::task, 9)?;
/// assert_ne!(process.pid(), Some(std::process::id()));
/// assert_eq!(process.join()?, 81);
/// # Ok(())
/// # }
/// ```
pub struct Process<R> {
    /// A pool of one worker for one task.
    pool: ProcessPool,
    future: Future<R>,
}

/// How often to look for a process that is being started.
const LOOK: Duration = Duration::from_millis(1);

/// Settings of a [`Process`].
#[derive(Clone, Debug, Default)]
pub struct ProcessBuilder {
    name: Option<Arc<str>>,
}

/// A process could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// This program cannot start processes.
    Pool(PoolError),
    /// The task cannot be handed over.
    Submit(SubmitError),
}

impl Process<()> {
    /// Settings for a process, whatever its task returns.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::default()
    }
}

impl<R: Send + 'static> Process<R> {
    /// Starts a process that runs `task`. `args` is the function's argument, or a tuple of its
    /// arguments if it has several, or `()`.
    ///
    /// # Errors
    /// [`SpawnError`] if [`init`](crate::init()) was not called, if the arguments cannot be
    /// encoded, or if the system refuses memory, a descriptor or a thread. That the process itself
    /// cannot be started is told by [`Process::join`].
    pub fn spawn<T: Task<Output = R>>(task: T, args: T::Args) -> Result<Self, SpawnError> {
        ProcessBuilder::default().spawn(task, args)
    }

    /// Waits for the process; what its task has returned.
    ///
    /// # Errors
    /// [`TaskError`] if the task panicked, or the process died or could not be started.
    pub fn join(self) -> Result<R, TaskError> {
        let result = self.future.result();
        self.pool.shutdown();
        result
    }

    /// As [`Process::join`], for at most `timeout`; then the process is given back.
    ///
    /// # Errors
    /// The process, if it has not ended.
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<R, TaskError>, Self> {
        let Self { pool, future } = self;
        match future.result_timeout(timeout) {
            Ok(result) => {
                pool.shutdown();
                Ok(result)
            }
            Err(future) => Err(Self { pool, future }),
        }
    }

    /// Whether its task has neither returned nor failed.
    pub fn is_alive(&self) -> bool {
        !self.future.is_done()
    }

    /// The id of the process, once its task has begun; `None` after its end.
    pub fn pid(&self) -> Option<u32> {
        let pid = || self.pool.workers().first().map(|worker| worker.pid).filter(|pid| *pid != 0);
        // It is on its way, unless it cannot be started: then the task has failed.
        while !self.future.is_done() {
            // One that is stopped before its task has begun has not run: there was no process yet.
            if let Some(pid) = pid().filter(|_| self.future.is_running()) {
                return Some(pid);
            }
            self.future.wait_until(Some(Deadline::after(LOOK)));
        }
        pid()
    }

    /// Asks the process to end (SIGTERM), which it does unless its task has arranged otherwise. Who
    /// joins gets [`TaskError::Crashed`], or [`TaskError::Cancelled`] if the task had not begun.
    pub fn terminate(&self) {
        self.pool.terminate();
    }

    /// Ends the process at once (SIGKILL); what joins it gets
    /// [`TaskError::Crashed`].
    pub fn kill(&self) {
        self.pool.kill_workers();
    }
}

impl ProcessBuilder {
    /// What people call it, for reports.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Starts the process.
    ///
    /// # Errors
    /// As for [`Process::spawn`].
    pub fn spawn<T: Task>(self, task: T, args: T::Args) -> Result<Process<T::Output>, SpawnError> {
        let pool = ProcessPool::builder().max_workers(1).max_tasks_per_worker(1).build()?;
        let mut options = pool.options();
        if let Some(name) = self.name {
            options = options.name(name);
        }
        let future = options.submit(task, args)?;
        pool.close();
        Ok(Process { pool, future })
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl From<PoolError> for SpawnError {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<SubmitError> for SpawnError {
    fn from(error: SubmitError) -> Self {
        Self::Submit(error)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(error) => error.fmt(f),
            Self::Submit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SpawnError {}
