//! What a pool's scheduler knows: who its workers are, which tasks wait, and how the pool is.
//!
//! Guarantees: this file only keeps, counts and answers. What moves tasks and workers stands in the
//! files above it, a subject each; see the map in `mod.rs`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::super::slot::State;
use super::super::task::ProcessTask;
use super::counts::{PoolCounts, WorkerInfo};
use super::environment::Environment;
use super::growth::Growth;
use super::root_worker::Worker;

/// Who runs what, in the root's private memory: to be kept under one lock.
pub(crate) struct Schedule<E: Environment> {
    pub(super) env: E,
    pub(super) growth: Growth,
    pub(super) max_tasks_per_worker: Option<u64>,
    /// Tasks that wait until a worker has room.
    pub(super) pending: VecDeque<Arc<ProcessTask>>,
    pub(super) workers: Vec<Worker<E>>,
    pub(super) next_worker: u64,
    /// No worker has room: until one does, a new task just waits.
    pub(super) saturated: bool,
    /// Look again so soon whether what waits in a lane should move; 0: no need.
    pub(super) level_in_ns: u64,
    pub(super) closed: bool,
    pub(super) broken: Option<String>,
    /// Workers in a row that ended before they were ready.
    pub(super) n_stillborn: u32,
    /// Workers below this number were asked of a template whose loss was told.
    pub(super) excused_below: u64,
    pub(super) counts: PoolCounts,
}

/// Why a task was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// The pool was shut down.
    Closed,
    /// Its workers cannot be started; the reason as a sentence.
    Broken(String),
}

impl<E: Environment> Schedule<E> {
    /// A pool without any worker yet.
    pub(crate) fn new(
        env: E,
        max_workers: usize,
        max_tasks_per_worker: Option<u64>,
        start_all: bool,
    ) -> Self {
        Self {
            env,
            growth: Growth::new(max_workers, start_all),
            max_tasks_per_worker,
            pending: VecDeque::new(),
            workers: Vec::new(),
            next_worker: 0,
            saturated: false,
            level_in_ns: 0,
            closed: false,
            broken: None,
            n_stillborn: 0,
            excused_below: 0,
            counts: PoolCounts::default(),
        }
    }

    /// Takes a task; it runs once [`pump`](Self::pump) has found room for it.
    pub(crate) fn accept(&mut self, task: Arc<ProcessTask>) -> Result<(), SubmitError> {
        if let Some(why) = &self.broken {
            return Err(SubmitError::Broken(why.clone()));
        }
        if self.closed {
            return Err(SubmitError::Closed);
        }
        self.counts.submitted += 1;
        self.pending.push_back(task);
        Ok(())
    }

    /// Tasks that were taken back, the last first: they are given to others before all that waits.
    pub(super) fn wait_again(&mut self, tasks: Vec<Arc<ProcessTask>>) {
        if !tasks.is_empty() {
            self.saturated = false;
        }
        tasks.into_iter().for_each(|task| self.pending.push_front(task));
    }

    pub(super) fn worker_mut(&mut self, id: u64) -> Option<&mut Worker<E>> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }

    /// The pool takes no more tasks, and what waits fails; the first reason stays.
    pub(super) fn break_because(&mut self, why: String) {
        self.broken.get_or_insert(why);
        self.closed = true;
    }

    /// Since when, and in which process, the task runs.
    pub(crate) fn running_since(&self, task: &ProcessTask) -> Option<(u64, u32)> {
        let (worker_id, position) = task.place.get()?;
        let worker = self.workers.iter().find(|worker| worker.id == worker_id)?;
        let running = worker.lane.state(position) == State::Running;
        running.then(|| (worker.started_ns(position), worker.pid()))
    }

    /// The tasks in lanes.
    pub(crate) fn claimed(&self) -> Vec<Arc<ProcessTask>> {
        self.workers.iter().flat_map(|worker| worker.tasks.iter().flatten().cloned()).collect()
    }

    /// Why it takes no more tasks, if its workers cannot be started.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether nothing is left to do, and nobody left to do it.
    pub(super) fn has_ended(&self) -> bool {
        self.closed && self.pending.is_empty() && self.workers.is_empty()
    }

    pub(crate) fn worker_infos(&self) -> Vec<WorkerInfo> {
        let info = |worker: &Worker<E>| WorkerInfo {
            id: worker.id,
            pid: worker.pid(),
            n_tasks: worker.n_tasks,
            ready: worker.ready,
        };
        self.workers.iter().map(info).collect()
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        let in_lanes = self.workers.iter().map(|worker| worker.n_tasks as u64).sum();
        PoolCounts { pending: self.pending.len() as u64, in_lanes, ..self.counts }
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
