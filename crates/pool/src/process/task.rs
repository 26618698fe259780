//! A task of a process pool as its root keeps it, and the bytes that go and come.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use manyhands_shm::{Block, Carried, Handle, Heap, OutOfMemory};
use manyhands_sys::clock::monotonic_ns;

use super::callbacks::Callbacks;
use super::slot::{INLINE_BYTES, ReplyKind};
use crate::completion::Completion;
use crate::error::TaskError;
use crate::future::{Callback, Outcome, Source, TaskTimes};

/// Bytes on the way to or from a worker: short ones in private memory, long ones in the heap.
#[derive(Debug)]
pub enum Body {
    /// At most what fits a slot.
    Inline(Box<[u8]>),
    /// In shared memory, held by this process.
    Block(Block),
}

/// The arguments of a task.
#[derive(Debug)]
pub struct Arguments {
    /// Their bytes.
    pub body: Body,
    /// The shared objects that the bytes name.
    pub carried: Carried,
}

/// A function as sent to workers: once, and cached there by its id.
#[derive(Debug)]
pub struct Function {
    pub(crate) id: u64,
    /// What people call it.
    pub(crate) name: Option<String>,
    pub(crate) code: Block,
}

/// What a task replied.
#[derive(Debug)]
pub struct Reply {
    /// Value, raised error, or nothing.
    pub kind: ReplyKind,
    /// Its bytes.
    pub body: Body,
    /// The shared objects that the bytes name: to be kept until they were opened.
    pub carried: Carried,
}

/// What a submit may ask for.
#[derive(Clone, Debug)]
pub struct TaskOptions {
    /// A name for people.
    pub name: Option<Arc<str>>,
    /// How long the task may run.
    pub timeout: Option<Duration>,
    /// How long a task that is told to stop may take before its worker is killed.
    pub grace: Duration,
}

/// One submitted task.
pub struct ProcessTask {
    pub(crate) outcome: Outcome<Reply>,
    pub(crate) pool: Weak<dyn Pool>,
    /// Function and arguments, until the task is done.
    pub(crate) call: Mutex<Option<(Arc<Function>, Arguments)>>,
    pub(crate) options: TaskOptions,
    pub(crate) place: Place,
    times: Times,
}

/// A task that has ended, to be told outside the lock.
pub(crate) struct Finished {
    pub(crate) task: Arc<ProcessTask>,
    pub(crate) end: Result<Reply, TaskError>,
}

/// What a task asks of the pool that it was submitted to.
pub(crate) trait Pool: Send + Sync {
    /// Cancels the task if no worker has claimed it and it is not done.
    fn cancel(&self, task: &ProcessTask) -> bool;

    /// Cancels it even if it runs: its future ends now, its body gets `grace` to leave.
    fn cancel_even_running(&self, task: &ProcessTask, grace: Duration) -> bool;

    /// Since when, and in which process, it runs.
    fn running_since(&self, task: &ProcessTask) -> Option<(u64, u32)>;

    /// What runs its done-callbacks.
    fn callbacks(&self) -> &Arc<Callbacks>;
}

/// In which lane the task is; written under the pool's lock.
pub(crate) struct Place {
    worker: AtomicU64,
    position: AtomicU64,
}

#[derive(Default)]
struct Times {
    queued_ns: AtomicU64,
    started_ns: AtomicU64,
    finished_ns: AtomicU64,
    cpu_ns: AtomicU64,
    worker_pid: AtomicU32,
}

const IN_NO_LANE: u64 = u64::MAX;

impl Body {
    /// The most bytes that travel in a slot, without a block of the heap.
    pub const MAX_INLINE: usize = INLINE_BYTES;

    /// No bytes.
    pub fn empty() -> Self {
        Self::Inline(Box::default())
    }

    /// A copy of `bytes`, in the heap if they are too long for a slot.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the heap lacks the room.
    pub fn copy_of(bytes: &[u8], heap: &Arc<Heap>) -> Result<Self, OutOfMemory> {
        if bytes.len() <= INLINE_BYTES {
            return Ok(Self::Inline(bytes.into()));
        }
        let mut block = heap.alloc(bytes.len() as u64)?;
        block.copy_from_slice(bytes);
        Ok(Self::Block(block))
    }

    /// # Panics
    /// If a slot cannot hold it, or it lies in another heap: its place would be another's there.
    pub(crate) fn check(&self, heap: &Heap) {
        match self {
            Self::Inline(bytes) => {
                assert!(bytes.len() <= INLINE_BYTES, "what is that long lies in the heap");
            }
            Self::Block(block) => {
                assert!(block.is_in(heap), "tasks and replies lie in the heap of their pool");
            }
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Block(block) => block,
        }
    }
}

impl Reply {
    /// A reply whose last bytes are `n_carried` handles, which this process takes over.
    pub(crate) fn new(kind: ReplyKind, body: Body, n_carried: u32, heap: &Arc<Heap>) -> Self {
        let bytes = body.bytes();
        let len = (n_carried as usize * Handle::LEN).min(bytes.len());
        let names = bytes[bytes.len() - len..].chunks_exact(Handle::LEN);
        let handles: Vec<_> = names.filter_map(|name| Handle::from_bytes(name).ok()).collect();
        // SAFETY: the worker has left them to the reply, which is harvested once.
        let carried = unsafe { Carried::from_message(heap, &handles) };
        Self { kind, body, carried }
    }
}

impl From<Body> for Arguments {
    fn from(body: Body) -> Self {
        Self { body, carried: Carried::default() }
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self { name: None, timeout: None, grace: Self::GRACE }
    }
}

impl TaskOptions {
    /// The time a task gets to clean up unless told otherwise.
    pub const GRACE: Duration = Duration::from_millis(100);
}

impl ProcessTask {
    pub(crate) fn new(
        pool: Weak<dyn Pool>,
        function: Arc<Function>,
        arguments: Arguments,
        options: TaskOptions,
    ) -> Self {
        let times = Times { queued_ns: monotonic_ns().into(), ..Times::default() };
        let place = Place { worker: IN_NO_LANE.into(), position: AtomicU64::new(0) };
        let call = Mutex::new(Some((function, arguments)));
        Self { outcome: Outcome::new(), pool, call, options, place, times }
    }

    /// Where its reply appears.
    pub const fn outcome(&self) -> &Outcome<Reply> {
        &self.outcome
    }

    /// Cancels the task if no worker has claimed it.
    pub fn cancel_if_unclaimed(&self) -> bool {
        match self.pool.upgrade() {
            Some(pool) => pool.cancel(self),
            None => self.outcome.completion().cancel(),
        }
    }

    /// Cancels the task even if it runs: its future ends now, its body gets `grace` to leave.
    pub fn cancel_even_running(&self, grace: Duration) -> bool {
        match self.pool.upgrade() {
            Some(pool) => pool.cancel_even_running(self, grace),
            None => self.outcome.completion().cancel(),
        }
    }

    /// Whether a worker runs the task now.
    pub fn runs_now(&self) -> bool {
        !self.outcome.completion().is_done()
            && self.pool.upgrade().is_some_and(|pool| pool.running_since(self).is_some())
    }

    /// The name it was given.
    pub fn task_name(&self) -> Option<&str> {
        self.options.name.as_deref()
    }

    /// The name it was given, or its function's; while it is not done.
    pub fn shown_name(&self) -> Option<String> {
        let call = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        let function = call.as_ref().and_then(|(function, _)| function.name.clone());
        self.task_name().map(ToOwned::to_owned).or(function)
    }

    /// How long it may run.
    pub const fn timeout(&self) -> Option<Duration> {
        self.options.timeout
    }

    /// When things happened to it.
    pub fn times(&self) -> TaskTimes {
        let mut times = TaskTimes {
            queued_ns: self.times.queued_ns.load(Ordering::Relaxed),
            started_ns: self.times.started_ns.load(Ordering::Relaxed),
            finished_ns: self.times.finished_ns.load(Ordering::Relaxed),
            cpu_ns: self.times.cpu_ns.load(Ordering::Relaxed),
            worker_pid: self.times.worker_pid.load(Ordering::Relaxed),
        };
        if times.started_ns == 0
            && let Some((started_ns, pid)) =
                self.pool.upgrade().and_then(|pool| pool.running_since(self))
        {
            times.started_ns = started_ns;
            times.worker_pid = pid;
        }
        times
    }

    pub(crate) fn set_times(&self, started_ns: u64, finished_ns: u64, cpu_ns: u64, pid: u32) {
        self.times.started_ns.store(started_ns, Ordering::Relaxed);
        self.times.finished_ns.store(finished_ns, Ordering::Relaxed);
        self.times.cpu_ns.store(cpu_ns, Ordering::Relaxed);
        self.times.worker_pid.store(pid, Ordering::Relaxed);
    }

    /// Gives the memory of function and arguments back.
    pub(crate) fn drop_call(&self) {
        drop(self.call.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Source<Reply> for ProcessTask {
    fn completion(&self) -> &Completion {
        self.outcome.completion()
    }

    unsafe fn take(&self) -> Option<Result<Reply, TaskError>> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.outcome.take() }
    }

    unsafe fn has_failed(&self, is_failure: fn(&Reply) -> bool) -> bool {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.outcome.has_failed(is_failure) }
    }

    fn cancel(&self) -> bool {
        self.cancel_if_unclaimed()
    }

    fn cancel_running(&self, grace: Duration) -> bool {
        self.cancel_even_running(grace)
    }

    fn is_running(&self) -> bool {
        self.runs_now()
    }

    fn on_done(&self, callback: Callback) {
        let completion = self.outcome.completion();
        match self.pool.upgrade() {
            Some(pool) if !completion.is_done() => {
                completion.watch(pool.callbacks().watcher(callback));
            }
            _ => drop(completion.watch(Box::new(|| callback.run()))),
        }
    }

    fn name(&self) -> Option<&str> {
        self.task_name()
    }

    fn times(&self) -> Option<TaskTimes> {
        Some(ProcessTask::times(self))
    }
}

impl Place {
    pub(crate) fn get(&self) -> Option<(u64, u64)> {
        let worker = self.worker.load(Ordering::Relaxed);
        (worker != IN_NO_LANE).then(|| (worker, self.position.load(Ordering::Relaxed)))
    }

    pub(crate) fn set(&self, worker: u64, position: u64) {
        self.position.store(position, Ordering::Relaxed);
        self.worker.store(worker, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.worker.store(IN_NO_LANE, Ordering::Relaxed);
    }
}

impl Finished {
    /// Ends the task's future and gives its arguments back.
    pub(crate) fn settle(self) {
        // A task stopped at its timeout still reads its arguments; they go when it has left. One
        // that nobody has claimed until then is in no lane any more.
        let is_read = self.task.place.get().is_some();
        if !(is_read && matches!(self.end, Err(TaskError::TimedOut))) {
            self.task.drop_call();
        }
        self.task.outcome.settle(self.end);
    }
}
