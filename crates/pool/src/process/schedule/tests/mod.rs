//! The scheduler in fake surroundings: no process, no thread, and a clock that stands still until a
//! test moves it.
//!
//! [`Fake`] is a pool without a collector: a test tells it what happens and makes its turns.
//! [`FakeWorker`] does in a real lane what a worker does, one step at a time, and may stop or die
//! after any of them. A step that a test leaves out has not happened.
//!
//! What it does not do: nothing here sleeps or wakes, so that a turn follows a ring is not shown.
//! That is what the models in `wakeup.rs` and `tests/wakeups.rs` of the crate are for.

mod closing;
mod deaths;
mod growth;
mod hand_out;
mod stopped;
mod stopping;
mod turns;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use manyhands_shm::{Block, BlockRef, Heap, HeapConfig, Party};
use manyhands_sys::atomic::Ordering;
use manyhands_sys::pid::{ExitStatus, Signal};

use super::super::callbacks::Callbacks;
use super::super::lane::{BellView, LaneView, N_SLOTS, Status};
use super::super::slot::{Content, ReplyKind, State};
use super::super::task::{Arguments, Body, Finished, Function, Pool, ProcessTask, TaskOptions};
use super::super::wakeup::Bell;
use super::environment::{Environment, Process};
use super::root_worker::Worker;
use super::state::{Schedule, SubmitError};
use super::turn::Turn;
use crate::completion::Phase;
use crate::error::TaskError;

const MS: u64 = 1_000_000;

/// A process that is none. It keeps what it is sent.
#[derive(Clone, Default)]
struct FakeProcess {
    signals: Rc<RefCell<Vec<Signal>>>,
    is_stopped: Rc<Cell<bool>>,
}

/// One launch that was asked for.
#[derive(Clone, Copy)]
struct FakeLaunch {
    party: Party,
    lane: BlockRef,
}

struct FakeSurroundings {
    heap: Arc<Heap>,
    bell: BellView,
    _bell_block: Block,
    now_ns: Rc<Cell<u64>>,
    /// By the number of the worker.
    launches: RefCell<Vec<FakeLaunch>>,
    /// Why no launch can even be asked for.
    refusal: Cell<Option<&'static str>>,
}

/// A pool whose turns the test makes.
struct Fake {
    schedule: Schedule<FakeSurroundings>,
    function: Arc<Function>,
}

/// A worker's end of its lane.
struct FakeWorker {
    id: u64,
    party: Party,
    heap: Arc<Heap>,
    lane: LaneView,
    process: FakeProcess,
    now_ns: Rc<Cell<u64>>,
    position: u64,
}

/// What the tasks of these tests are told to belong to: nobody asks it anything.
struct NoPool;

impl Process for FakeProcess {
    fn signal(&self, signal: Signal) {
        self.signals.borrow_mut().push(signal);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.get()
    }
}

impl Environment for FakeSurroundings {
    type Process = FakeProcess;

    fn heap(&self) -> &Arc<Heap> {
        &self.heap
    }

    fn bell(&self) -> &Bell {
        self.bell.bell()
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn launch(&self, worker: u64, party: Party, lane: BlockRef) -> io::Result<()> {
        if let Some(why) = self.refusal.get() {
            return Err(io::Error::other(why));
        }
        let mut launches = self.launches.borrow_mut();
        assert_eq!(worker, launches.len() as u64, "workers are numbered from 0");
        launches.push(FakeLaunch { party, lane });
        Ok(())
    }
}

impl FakeSurroundings {
    fn new() -> Self {
        let heap = Heap::create(HeapConfig::default()).expect("a heap");
        let mut block = heap.alloc(size_of::<Bell>() as u64).expect("room for a bell");
        block.fill(0);
        Self {
            bell: BellView::reach(&heap, block.at()).expect("room to map it"),
            _bell_block: block,
            heap,
            now_ns: Rc::new(Cell::new(1_000 * MS)),
            launches: RefCell::default(),
            refusal: Cell::new(None),
        }
    }
}

impl Fake {
    /// A pool of at most so many workers, each started when a task needs it.
    fn new(max_workers: usize) -> Self {
        Self::with(max_workers, None, false)
    }

    fn with(max_workers: usize, max_tasks_per_worker: Option<u64>, start_all: bool) -> Self {
        let env = FakeSurroundings::new();
        let mut code = env.heap.alloc(4).expect("room for a function");
        code.copy_from_slice(b"echo");
        let function = Arc::new(Function { id: 1, name: Some("echo".to_owned()), code });
        Self {
            schedule: Schedule::new(env, max_workers, max_tasks_per_worker, start_all),
            function,
        }
    }

    /// A pool of so many workers, all of them ready and idle.
    fn with_idle(n_workers: usize) -> (Self, Vec<FakeWorker>) {
        let mut fake = Self::new(n_workers);
        fake.schedule.start_missing();
        let workers = (0..n_workers as u64).map(|id| fake.ready(id)).collect();
        (fake, workers)
    }

    fn submit(&mut self) -> Arc<ProcessTask> {
        self.submit_with(TaskOptions::default())
    }

    fn submit_with(&mut self, options: TaskOptions) -> Arc<ProcessTask> {
        self.try_submit(Body::empty(), options).expect("an open pool takes tasks")
    }

    /// What `ProcessPool::submit` does.
    fn try_submit(
        &mut self,
        body: Body,
        options: TaskOptions,
    ) -> Result<Arc<ProcessTask>, SubmitError> {
        let arguments: Arguments = body.into();
        let pool: Weak<dyn Pool> = Weak::<NoPool>::new();
        let task = ProcessTask::new(pool, Arc::clone(&self.function), arguments, options);
        let task = Arc::new(task);
        self.schedule.accept(Arc::clone(&task))?;
        self.schedule.pump();
        Ok(task)
    }

    /// One turn of the collector.
    fn turn(&mut self) -> Turn {
        let mut finished = Vec::new();
        let turn = self.schedule.turn(&mut finished);
        finished.into_iter().for_each(Finished::settle);
        turn
    }

    /// Time goes by, and the collector makes a turn.
    fn turn_after(&mut self, ns: u64) -> Turn {
        self.pass_time(ns);
        self.turn()
    }

    fn pass_time(&self, ns: u64) {
        let now_ns = &self.schedule.env.now_ns;
        now_ns.set(now_ns.get() + ns);
    }

    fn now_ns(&self) -> u64 {
        self.schedule.env.now_ns.get()
    }

    /// How long until the collector looks again though nobody rings.
    fn looks_again_in(&mut self) -> Option<u64> {
        self.turn().deadline_ns.map(|at_ns| at_ns - self.now_ns())
    }

    fn rings(&self) -> u32 {
        self.schedule.env.bell().rings()
    }

    fn n_launched(&self) -> usize {
        self.schedule.env.launches.borrow().len()
    }

    /// The process of a worker that was asked for. Nobody has been told of it.
    fn unknown(&self, id: u64) -> FakeWorker {
        let launch = self.schedule.env.launches.borrow()[id as usize];
        let heap = Arc::clone(&self.schedule.env.heap);
        FakeWorker {
            id,
            party: launch.party,
            lane: LaneView::reach(&heap, launch.lane).expect("room to map it"),
            heap,
            process: FakeProcess::default(),
            now_ns: Rc::clone(&self.schedule.env.now_ns),
            position: N_SLOTS,
        }
    }

    /// The worker's process runs, and is not ready.
    fn started(&mut self, id: u64) -> FakeWorker {
        let worker = self.unknown(id);
        self.tell_started(&worker);
        worker
    }

    fn tell_started(&mut self, worker: &FakeWorker) {
        self.schedule.on_started(worker.id, 1_000 + worker.id as u32, worker.process.clone());
    }

    /// The worker has come as far as running tasks.
    fn ready(&mut self, id: u64) -> FakeWorker {
        let worker = self.started(id);
        worker.lane.set_ready();
        self.turn();
        worker
    }

    /// The worker's process ends, and the collector makes a turn.
    fn dies(&mut self, worker: &FakeWorker, status: ExitStatus) -> Turn {
        let mut finished = Vec::new();
        self.schedule.on_exited(worker.id, status, &mut finished);
        finished.into_iter().for_each(Finished::settle);
        self.turn()
    }

    fn is_killed(&mut self, worker: &FakeWorker) -> Turn {
        self.dies(worker, ExitStatus::Signaled(9))
    }

    /// What the scheduler knows of a worker that it still has.
    fn known(&self, id: u64) -> Option<&Worker<FakeSurroundings>> {
        self.schedule.workers.iter().find(|worker| worker.id == id)
    }

    /// How many tasks are in the worker's lane and were not taken back.
    fn n_tasks(&self, id: u64) -> usize {
        self.known(id).map_or(0, |worker| worker.n_tasks)
    }

    /// Lets the collector look five times at workers that do not claim.
    fn look_five_times(&mut self, pause_ns: u64) {
        // The first turn begins the wait.
        self.turn();
        for _ in 0..5 {
            self.turn_after(pause_ns);
        }
    }
}

impl FakeWorker {
    fn state(&self) -> State {
        self.lane.slot(self.position).state(self.position)
    }

    /// Takes the next task. False: there is none, or it was taken back.
    fn claim(&self) -> bool {
        self.lane.slot(self.position).swap_from_pending(self.position, State::Running)
    }

    /// The second step after a claim.
    fn say_when(&self) {
        let slot = self.lane.slot(self.position);
        slot.started_ns.store(self.now_ns.get(), Ordering::Release);
    }

    fn begin(&self) {
        assert!(self.claim(), "the worker has a task to begin");
        self.say_when();
    }

    fn fill(&self, fill: impl FnOnce(&mut Content)) {
        // SAFETY: the slot is Running or Revoked, and this is the only thread.
        fill(unsafe { &mut *self.lane.slot(self.position).content.get() });
    }

    /// A block as the worker itself would have allocated it.
    fn block(&self, bytes: &[u8]) -> BlockRef {
        let mut block = self.heap.alloc(bytes.len() as u64).expect("room for a reply");
        block.copy_from_slice(bytes);
        block.give_to(self.party)
    }

    /// Says that the task is done, with what was filled in.
    fn publish(&mut self) {
        self.lane.slot(self.position).put(self.position, State::Done);
        self.position += 1;
    }

    fn reply(&mut self, bytes: &[u8]) {
        let now_ns = self.now_ns.get();
        self.fill(|content| {
            content.kind = ReplyKind::Value as u32;
            content.finished_ns = now_ns;
            content.n_carried = 0;
            content.block = BlockRef::default();
            content.inline_len = bytes.len() as u32;
            content.inline[..bytes.len()].copy_from_slice(bytes);
        });
        self.publish();
    }

    fn reply_with_block(&mut self, at: BlockRef) {
        self.fill(|content| {
            content.kind = ReplyKind::Value as u32;
            content.n_carried = 0;
            content.block = at;
        });
        self.publish();
    }

    /// Runs one task, which takes so long.
    fn run(&mut self, ns: u64) {
        self.begin();
        self.now_ns.set(self.now_ns.get() + ns);
        self.reply(b"done");
    }

    /// Passes the slots at its position whose tasks were taken back.
    fn pass(&mut self) -> usize {
        let mut n_passed = 0;
        while self.state() == State::Revoked {
            self.fill(|content| content.kind = ReplyKind::None as u32);
            self.publish();
            n_passed += 1;
        }
        n_passed
    }

    /// Whether it was told to leave, and has nothing left to run.
    fn would_leave(&self) -> bool {
        self.state() == State::Free && self.lane.stop_position() <= self.position
    }

    fn stop(&self) {
        self.process.is_stopped.set(true);
    }

    fn go_on(&self) {
        self.process.is_stopped.set(false);
    }

    fn signals(&self) -> Vec<Signal> {
        self.process.signals.borrow().clone()
    }

    fn fail(&self, why: &str) {
        self.lane.write_text(why);
        self.lane.set_status(Status::Failed);
    }
}

impl Pool for NoPool {
    fn cancel(&self, _task: &ProcessTask) -> bool {
        unreachable!("the tests ask the scheduler itself")
    }

    fn cancel_even_running(&self, _task: &ProcessTask, _grace: Duration) -> bool {
        unreachable!("the tests ask the scheduler itself")
    }

    fn running_since(&self, _task: &ProcessTask) -> Option<(u64, u32)> {
        unreachable!("the tests ask the scheduler itself")
    }

    fn callbacks(&self) -> &Arc<Callbacks> {
        unreachable!("no task of the tests is watched")
    }
}

fn is_done(task: &ProcessTask) -> bool {
    task.outcome.completion().is_done()
}

/// The bytes that a task has replied.
fn value_of(task: &ProcessTask) -> Vec<u8> {
    // SAFETY: the only thread that takes from this task.
    let end = unsafe { task.outcome.take() }.expect("the task has ended");
    end.expect("the task has replied").body.bytes().to_vec()
}

/// Why a task has no result.
fn error_of(task: &ProcessTask) -> TaskError {
    if task.outcome.completion().phase() == Phase::Cancelled {
        return TaskError::Cancelled;
    }
    // SAFETY: as in `value_of`.
    let end = unsafe { task.outcome.take() }.expect("the task has ended");
    end.expect_err("the task has no result")
}

fn is_crashed(task: &ProcessTask) -> bool {
    is_done(task) && matches!(error_of(task), TaskError::Crashed(_))
}

fn with_timeout(ms: u64) -> TaskOptions {
    TaskOptions {
        timeout: Some(Duration::from_millis(ms)),
        grace: Duration::from_millis(100),
        ..TaskOptions::default()
    }
}
