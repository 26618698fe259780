//! The pool as its users see it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use manyhands_process::Launcher;
use manyhands_shm::{Heap, OutOfMemory};
use manyhands_sys::clock::Deadline;
use manyhands_sys::socket::MAX_FDS;

use super::collector;
use super::pool_core::PoolCore;
use super::schedule::{PoolCounts, Schedule, SubmitError, WorkerInfo};
use super::surroundings::Surroundings;
use super::task::{Arguments, Function, Pool, ProcessTask, TaskOptions};
use crate::completion::Wait;

/// What a pool is made of.
pub struct PoolConfig {
    /// Workers, at most; they are started when tasks need them.
    pub max_workers: usize,
    /// Tasks a worker runs before it is replaced; `None`: any number.
    pub max_tasks_per_worker: Option<u64>,
    /// Start all workers with the first task.
    pub start_all: bool,
    /// Where workers come from.
    pub launcher: Arc<dyn Launcher>,
    /// What every worker is told before its first task.
    pub setup: Vec<u8>,
    /// Descriptors every worker gets, six at most.
    pub fds: Vec<OwnedFd>,
}

/// Processes that run tasks.
///
/// Dropping it lets the tasks submitted so far finish, without waiting for them.
pub struct ProcessPool {
    core: Arc<PoolCore>,
    next_function: AtomicU64,
}

/// A launch carries the heap and the root besides.
const MAX_EXTRA_FDS: usize = MAX_FDS - 3;

impl ProcessPool {
    /// A pool without any worker yet.
    ///
    /// # Errors
    /// If shared memory, a descriptor or the collector's thread cannot be had.
    pub fn new(config: PoolConfig) -> io::Result<Self> {
        if config.fds.len() > MAX_EXTRA_FDS {
            let text = format!("a pool's workers get at most {MAX_EXTRA_FDS} descriptors");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let heap = manyhands_shm::family::heap()?;
        let env = Surroundings::new(Arc::clone(&heap), config.launcher, config.fds, &config.setup)?;
        let news = Arc::clone(env.news());
        let schedule =
            Schedule::new(env, config.max_workers, config.max_tasks_per_worker, config.start_all);
        let core = Arc::new(PoolCore::new(schedule, heap, news));
        collector::start(Arc::clone(&core))?;
        Ok(Self { core, next_function: AtomicU64::new(1) })
    }

    /// The heap that arguments and results travel in.
    pub fn heap(&self) -> &Arc<Heap> {
        &self.core.heap
    }

    /// Makes a function known, to be sent to each worker once. `name` is for people.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the heap lacks room for its code.
    pub fn function(&self, code: &[u8], name: Option<&str>) -> Result<Arc<Function>, OutOfMemory> {
        let mut block = self.core.heap.alloc(code.len() as u64)?;
        block.copy_from_slice(code);
        let id = self.next_function.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Function { id, name: name.map(ToOwned::to_owned), code: block }))
    }

    /// Starts all workers now, not when tasks need them.
    pub fn start_workers(&self) {
        self.core.lock().start_missing();
    }

    /// Submits a task.
    ///
    /// # Errors
    /// [`SubmitError`] if the pool takes no more tasks.
    ///
    /// # Panics
    /// If function or arguments lie in another heap than the pool's, or arguments that do not fit a
    /// slot lie in none.
    pub fn submit(
        &self,
        function: Arc<Function>,
        arguments: impl Into<Arguments>,
        options: TaskOptions,
    ) -> Result<Arc<ProcessTask>, SubmitError> {
        let arguments = arguments.into();
        arguments.body.check(self.heap());
        assert!(
            function.code.is_in(self.heap()),
            "a function is submitted where it was made known"
        );
        let pool: Weak<dyn Pool> = Arc::downgrade(&self.core) as _;
        let task = Arc::new(ProcessTask::new(pool, function, arguments, options));
        let mut schedule = self.core.lock();
        schedule.accept(Arc::clone(&task))?;
        schedule.pump();
        Ok(task)
    }

    /// Takes no more tasks; those taken are finished, or with `cancel_pending` cancelled if they
    /// are not about to run. Workers leave when nothing is left to do.
    pub fn close(&self, cancel_pending: bool) {
        self.core.close(cancel_pending);
    }

    /// Waits until the pool is closed, every task is done and every worker has ended.
    pub fn wait_until_ended(&self, deadline: Option<Deadline>) -> Wait {
        self.core.ended.wait(deadline)
    }

    /// Waits until the callbacks of all tasks that have ended so far have run. At once in one of
    /// them, which would wait for itself.
    pub fn flush_callbacks(&self) {
        self.core.callbacks.flush();
    }

    /// Ends everything now: pending tasks are cancelled, running ones crash (or with
    /// `cancel_running` count as cancelled), workers are killed.
    pub fn kill(&self, cancel_running: bool) {
        self.core.kill(cancel_running);
    }

    /// Why the pool takes no more tasks, if its workers cannot be started.
    pub fn broken(&self) -> Option<String> {
        self.core.lock().broken().map(ToOwned::to_owned)
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.core.lock().is_closed()
    }

    /// The workers of the moment.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.core.lock().worker_infos()
    }

    /// What has happened so far.
    pub fn counts(&self) -> PoolCounts {
        self.core.lock().counts()
    }

    /// For those who see all pools to their end.
    pub fn handle(&self) -> PoolHandle {
        PoolHandle { core: Arc::downgrade(&self.core) }
    }

    /// Cancels what waits and sends SIGTERM to every worker; running tasks crash, or with
    /// `cancel_running` count as cancelled.
    pub fn terminate(&self, cancel_running: bool) {
        self.core.close_and_cancel(|schedule| schedule.cancel_pending(true));
        if cancel_running {
            self.core.cancel_claimed();
        }
        self.core.lock().terminate_all();
    }
}

/// A pool for those who see all pools to their end: it keeps nothing alive.
#[derive(Clone)]
pub struct PoolHandle {
    core: Weak<PoolCore>,
}

impl PoolHandle {
    /// As [`ProcessPool::close`].
    pub fn close(&self, cancel_pending: bool) {
        if let Some(core) = self.core.upgrade() {
            core.close(cancel_pending);
        }
    }

    /// As [`ProcessPool::kill`].
    pub fn kill(&self, cancel_running: bool) {
        if let Some(core) = self.core.upgrade() {
            core.kill(cancel_running);
        }
    }

    /// As [`ProcessPool::wait_until_ended`].
    pub fn wait_until_ended(&self, deadline: Option<Deadline>) -> Wait {
        self.core.upgrade().map_or(Wait::Done, |core| core.ended.wait(deadline))
    }

    /// Whether nothing is left of the pool.
    pub fn has_ended(&self) -> bool {
        self.core.upgrade().is_none_or(|core| core.ended.is_done())
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.close(false);
    }
}
