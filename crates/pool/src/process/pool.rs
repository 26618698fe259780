//! The pool as its users see it, and what all parts of it share.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use manyhands_process::{Event, Events, Launcher};
use manyhands_shm::{Block, Heap, OutOfMemory};
use manyhands_sys::clock::Deadline;
use manyhands_sys::pid::PidFd;
use manyhands_sys::socket::MAX_FDS;

use super::callbacks::Callbacks;
use super::collector;
use super::lane::BellView;
use super::schedule::{PoolCounts, Schedule, WorkerInfo};
use super::task::{Arguments, Function, ProcessTask, TaskOptions};
use super::wakeup::Bell;
use crate::completion::{Completion, Ending, Wait};

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
    shared: Arc<Shared>,
}

/// Why a task was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// The pool was shut down.
    Closed,
    /// Its workers cannot be started; the reason as a sentence.
    Broken(String),
}

/// What submitters, collector and supervisor share.
pub(crate) struct Shared {
    pub(crate) schedule: Mutex<Schedule>,
    pub(crate) heap: Arc<Heap>,
    bell: BellView,
    pub(crate) events: Mutex<Vec<Event>>,
    /// What runs done-callbacks.
    pub(crate) callbacks: Arc<Callbacks>,
    /// Finished when the collector has ended and no worker is left.
    ended: Completion,
    next_function: AtomicU64,
    launch: LaunchKit,
}

/// What every launch needs. Outlives the schedule's lock: launching writes to a socket.
struct LaunchKit {
    launcher: Arc<dyn Launcher>,
    fds: Vec<OwnedFd>,
    root: PidFd,
    setup: Block,
    bell: Block,
}

/// What a launched worker reads first.
pub(crate) struct Note {
    pub(crate) worker: u64,
    pub(crate) party: u32,
    pub(crate) root: u32,
    pub(crate) lane: u64,
    pub(crate) bell: u64,
    pub(crate) setup: (u64, u64),
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
        let out_of_memory = |error: OutOfMemory| io::Error::new(io::ErrorKind::OutOfMemory, error);
        let mut setup = heap.alloc(config.setup.len() as u64).map_err(out_of_memory)?;
        setup.copy_from_slice(&config.setup);
        let mut bell = heap.alloc(size_of::<Bell>() as u64).map_err(out_of_memory)?;
        bell.fill(0);
        let shared = Arc::new(Shared {
            schedule: Mutex::new(Schedule::new(
                config.max_workers,
                config.max_tasks_per_worker,
                config.start_all,
            )),
            bell: BellView::reach(&heap, bell.at()).map_err(out_of_memory)?,
            heap,
            events: Mutex::default(),
            callbacks: Callbacks::new(),
            ended: Completion::new(),
            next_function: AtomicU64::new(1),
            launch: LaunchKit {
                launcher: config.launcher,
                fds: config.fds,
                root: PidFd::current()?,
                setup,
                bell,
            },
        });
        collector::start(Arc::clone(&shared))?;
        Ok(Self { shared })
    }

    /// The heap that arguments and results travel in.
    pub fn heap(&self) -> &Arc<Heap> {
        &self.shared.heap
    }

    /// Makes a function known, to be sent to each worker once. `name` is for people.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the heap lacks room for its code.
    pub fn function(&self, code: &[u8], name: Option<&str>) -> Result<Arc<Function>, OutOfMemory> {
        let mut block = self.shared.heap.alloc(code.len() as u64)?;
        block.copy_from_slice(code);
        let id = self.shared.next_function.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Function { id, name: name.map(ToOwned::to_owned), code: block }))
    }

    /// Starts all workers now, not when tasks need them.
    pub fn start_workers(&self) {
        self.shared.lock().start_missing(&self.shared);
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
        let pool = Arc::downgrade(&self.shared);
        let task = Arc::new(ProcessTask::new(pool, function, arguments, options));
        let mut schedule = self.shared.lock();
        schedule.accept(Arc::clone(&task))?;
        schedule.pump(&self.shared);
        Ok(task)
    }

    /// Takes no more tasks; those taken are finished, or with `cancel_pending` cancelled if they
    /// are not about to run. Workers leave when nothing is left to do.
    pub fn close(&self, cancel_pending: bool) {
        self.shared.close(cancel_pending);
    }

    /// Waits until the pool is closed, every task is done and every worker has ended.
    pub fn wait_until_ended(&self, deadline: Option<Deadline>) -> Wait {
        self.shared.ended.wait(deadline)
    }

    /// Waits until the callbacks of all tasks that have ended so far have run. At once in one of
    /// them, which would wait for itself.
    pub fn flush_callbacks(&self) {
        self.shared.callbacks.flush();
    }

    /// Ends everything now: pending tasks are cancelled, running ones crash (or with
    /// `cancel_running` count as cancelled), workers are killed.
    pub fn kill(&self, cancel_running: bool) {
        self.shared.kill(cancel_running);
    }

    /// Why the pool takes no more tasks, if its workers cannot be started.
    pub fn broken(&self) -> Option<String> {
        self.shared.lock().broken().map(ToOwned::to_owned)
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().is_closed()
    }

    /// The workers of the moment.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.shared.lock().worker_infos()
    }

    /// What has happened so far.
    pub fn counts(&self) -> PoolCounts {
        self.shared.lock().counts()
    }

    /// For those who see all pools to their end.
    pub fn handle(&self) -> PoolHandle {
        PoolHandle { shared: Arc::downgrade(&self.shared) }
    }

    /// Cancels what waits and sends SIGTERM to every worker; running tasks crash, or with
    /// `cancel_running` count as cancelled.
    pub fn terminate(&self, cancel_running: bool) {
        self.shared.close_and_cancel(|schedule| schedule.cancel_pending(true));
        if cancel_running {
            self.shared.cancel_claimed();
        }
        self.shared.lock().terminate_all();
    }
}

/// A pool for those who see all pools to their end: it keeps nothing alive.
#[derive(Clone)]
pub struct PoolHandle {
    shared: Weak<Shared>,
}

impl PoolHandle {
    /// As [`ProcessPool::close`].
    pub fn close(&self, cancel_pending: bool) {
        if let Some(shared) = self.shared.upgrade() {
            shared.close(cancel_pending);
        }
    }

    /// As [`ProcessPool::kill`].
    pub fn kill(&self, cancel_running: bool) {
        if let Some(shared) = self.shared.upgrade() {
            shared.kill(cancel_running);
        }
    }

    /// As [`ProcessPool::wait_until_ended`].
    pub fn wait_until_ended(&self, deadline: Option<Deadline>) -> Wait {
        self.shared.upgrade().map_or(Wait::Done, |shared| shared.ended.wait(deadline))
    }

    /// Whether nothing is left of the pool.
    pub fn has_ended(&self) -> bool {
        self.shared.upgrade().is_none_or(|shared| shared.ended.is_done())
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.close(false);
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bell(&self) -> &Bell {
        self.bell.bell()
    }

    pub(crate) fn set_ended(&self) {
        self.ended.settle(|| {});
    }

    fn close(&self, cancel_pending: bool) {
        self.close_and_cancel(|schedule| {
            if cancel_pending { schedule.cancel_pending(false) } else { Vec::new() }
        });
    }

    fn close_and_cancel(
        &self,
        cancel: impl FnOnce(&mut Schedule) -> Vec<(Arc<ProcessTask>, Ending)>,
    ) {
        let cancelled = {
            let mut schedule = self.lock();
            schedule.close();
            cancel(&mut schedule)
        };
        for (task, ending) in cancelled {
            task.drop_call();
            task.outcome.completion().announce(ending);
        }
        self.bell().ring_loudly();
    }

    fn kill(&self, cancel_running: bool) {
        self.close_and_cancel(|schedule| schedule.cancel_pending(true));
        if cancel_running {
            self.cancel_claimed();
        }
        self.lock().kill_all();
        self.bell().ring_loudly();
    }

    /// Ends the futures of what workers have claimed, before the workers themselves: the death of
    /// those is no news then.
    fn cancel_claimed(&self) {
        let claimed = self.lock().claimed();
        for task in claimed {
            task.outcome.completion().cancel_running();
        }
    }

    pub(crate) fn cancel(&self, task: &ProcessTask) -> bool {
        // Under the lock: no task is handed to a worker between the look and the cancel.
        let ending = self.lock().cancel(task);
        let cancelled = ending.is_some();
        if cancelled {
            // The worker passes over the task without a word. That there is room for a waiting
            // one now, or that a closed pool has no more work, the collector has to see.
            self.bell().ring();
        }
        if let Some(ending) = ending {
            task.drop_call();
            task.outcome.completion().announce(ending);
        }
        cancelled
    }

    pub(crate) fn cancel_even_running(&self, task: &ProcessTask, grace: Duration) -> bool {
        if self.cancel(task) {
            return true;
        }
        // Running: the future ends first, so that whatever its body does now is no news.
        if !task.outcome.completion().cancel_running() {
            return false;
        }
        self.lock().stop_running(task, grace);
        self.bell().ring_loudly();
        true
    }

    pub(crate) fn is_running(&self, task: &ProcessTask) -> bool {
        self.lock().running_since(task).is_some()
    }

    pub(crate) fn running_since(&self, task: &ProcessTask) -> Option<(u64, u32)> {
        self.lock().running_since(task)
    }

    /// Asks for the worker that `note` describes. The outcome comes as an event.
    pub(crate) fn launch(self: &Arc<Self>, worker: u64, note: &Note) -> io::Result<()> {
        let kit = &self.launch;
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.heap.fd(), kit.root.as_fd()];
        fds.extend(kit.fds.iter().map(AsFd::as_fd));
        let events: Arc<dyn Events> = Arc::clone(self) as _;
        kit.launcher.launch(worker, &note.encode(), &fds, events)
    }

    pub(crate) fn note(&self, worker: u64, party: u32, lane: u64) -> Note {
        let setup = self.launch.setup.at();
        Note {
            worker,
            party,
            root: self.heap.me().number(),
            lane,
            bell: self.launch.bell.at().offset,
            setup: (setup.offset, setup.len),
        }
    }
}

impl Events for Shared {
    fn notify(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.bell().ring_loudly();
    }
}

impl Note {
    const N_WORDS: usize = 7;

    fn encode(&self) -> Vec<u8> {
        let (setup_at, setup_len) = self.setup;
        let numbers: [u64; Self::N_WORDS] = [
            self.worker,
            self.party.into(),
            self.root.into(),
            self.lane,
            self.bell,
            setup_at,
            setup_len,
        ];
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let numbers: Vec<u64> =
            bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        let [worker, party, root, lane, bell, setup_at, setup_len] = numbers[..] else {
            let text = "parent and worker must run the same version of manyhands";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        let (party, root) = (party as u32, root as u32);
        Ok(Self { worker, party, root, lane, bell, setup: (setup_at, setup_len) })
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("cannot schedule new futures after shutdown"),
            Self::Broken(why) => write!(f, "the pool takes no more tasks: {why}"),
        }
    }
}

impl std::error::Error for SubmitError {}
