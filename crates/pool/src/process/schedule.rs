//! Who runs what: the pool's state under its one lock, in the root's private memory.
//!
//! Tasks wait in `pending` until a worker has room. An idle worker gets a task at once; a missing
//! one is started; a busy one gets a few ahead, more the shorter its tasks are. A task that waits
//! in a lane behind a long one is taken back and given to a worker that has become idle.

use std::collections::VecDeque;
use std::sync::Arc;

use manyhands_process::Event;
use manyhands_sys::pid::{ExitStatus, SIGKILL, SIGTERM, Signal};

use super::growth::Growth;
use super::lane::Status;
use super::pool::{Shared, SubmitError};
use super::root_worker::Worker;
use super::silent::SILENT_NS;
use super::slot::State;
use super::task::{ProcessTask, Reply};
use crate::completion::Ending;
use crate::error::{CrashReport, TaskError};

/// The pool's state.
pub(crate) struct Schedule {
    pub(super) growth: Growth,
    max_tasks_per_worker: Option<u64>,
    pending: VecDeque<Arc<ProcessTask>>,
    pub(super) workers: Vec<Worker>,
    pub(super) next_worker: u64,
    /// No worker has room: until one does, a new task just waits.
    pub(super) saturated: bool,
    /// Look again so soon whether what waits in a lane should move; 0: no need.
    level_in_ns: u64,
    pub(super) closed: bool,
    pub(super) broken: Option<String>,
    /// Workers in a row that ended before they were ready.
    n_stillborn: u32,
    /// Workers below this number were asked of a template whose loss was told.
    excused_below: u64,
    pub(super) counts: PoolCounts,
}

/// A task that has ended, to be told outside the lock.
pub(crate) struct Finished {
    pub(crate) task: Arc<ProcessTask>,
    pub(crate) end: Result<Reply, TaskError>,
}

/// What has happened in a pool so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolCounts {
    /// Tasks taken.
    pub submitted: u64,
    /// Tasks that replied.
    pub replied: u64,
    /// Tasks whose worker died.
    pub crashed: u64,
    /// Tasks stopped at their timeout.
    pub timed_out: u64,
    /// Workers started.
    pub workers_started: u64,
    /// Workers that ended otherwise than asked to.
    pub workers_died: u64,
    /// Tasks waiting for room in a lane.
    pub pending: u64,
    /// Tasks in lanes, waiting or running.
    pub in_lanes: u64,
}

/// One worker of the moment.
#[derive(Clone, Debug)]
pub struct WorkerInfo {
    /// Number within the pool.
    pub id: u64,
    /// Process id; 0 while it starts.
    pub pid: u32,
    /// Tasks in its lane, the running one included.
    pub n_tasks: usize,
    /// Whether it runs tasks already.
    pub ready: bool,
}

/// So many tasks on their way to a worker are a burst.
const BURST: usize = 2;

/// Tasks below this are short: their results come faster than it pays to be woken for each.
const SHORT_NS: u64 = 50_000;

/// Work below this is not worth moving to another worker.
const WORTH_MOVING_NS: u64 = 20_000;

/// A lane that was to be done soon, and is not after this, is stuck.
const OVERDUE_NS: u64 = 1_000_000;

/// So many workers in a row that end before they are ready break the pool.
const MAX_STILLBORN: u32 = 3;

/// Somebody from outside who kills workers is not a fault of theirs, unless nothing else happens.
const MAX_KILLED_STILLBORN: u32 = 50;

impl Schedule {
    pub(crate) fn new(
        max_workers: usize,
        max_tasks_per_worker: Option<u64>,
        start_all: bool,
    ) -> Self {
        Self {
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

    /// Gives waiting tasks to workers that have room, as far as they reach.
    pub(crate) fn pump(&mut self, shared: &Arc<Shared>) {
        let looked_ns = std::mem::take(&mut self.level_in_ns);
        if self.saturated {
            return;
        }
        while let Some(task) = self.pending.pop_front() {
            if task.outcome.completion().is_done() {
                continue;
            }
            let Some(idx) = self.find_room(shared) else {
                self.pending.push_front(task);
                self.saturated = true;
                return;
            };
            self.give(idx, task, shared);
        }
        self.level(shared, looked_ns);
    }

    /// A worker for the next task: idle, else new, else the least busy one with room.
    fn find_room(&mut self, shared: &Arc<Shared>) -> Option<usize> {
        let mut idlest: Option<usize> = None;
        let mut n_staying = self.n_not_replaced(self.growth.max_workers());
        for (idx, worker) in self.workers.iter().enumerate() {
            // One that leaves still counts while it works: never more at once than allowed.
            n_staying += usize::from(worker.stays() || worker.n_tasks > 0);
            if !worker.takes_one_more() {
                continue;
            }
            if worker.n_tasks == 0 && worker.ready {
                return Some(idx);
            }
            if idlest.is_none_or(|best| worker.n_tasks < self.workers[best].n_tasks) {
                idlest = Some(idx);
            }
        }
        if idlest.is_some_and(|idx| self.workers[idx].n_tasks == 0) {
            return idlest;
        }
        match self.growth.n_for_a_task(n_staying) {
            0 => idlest,
            n_new => self.start_workers(n_new, shared),
        }
    }

    fn give(&mut self, idx: usize, task: Arc<ProcessTask>, shared: &Shared) {
        let quota = self.max_tasks_per_worker;
        let worker = &mut self.workers[idx];
        // In a burst the collector is awake and wakes the worker for many tasks at once: a
        // system call less for each submit. That it is parked is decided under our lock, so it
        // either sees this task or is seen here.
        let in_burst = worker.n_tasks >= BURST && !shared.bell().is_parked();
        worker.give(task);
        if !in_burst {
            worker.lane.wake();
        }
        if shared.bell().is_unwatched() {
            // Should the worker be stopped, somebody has to see that it does not claim the task.
            shared.bell().ring();
        }
        if quota.is_some_and(|quota| worker.n_given >= quota) {
            worker.leave();
        }
    }

    /// Moves waiting tasks from busy lanes to idle workers.
    fn level(&mut self, shared: &Shared, looked_ns: u64) {
        loop {
            // One that has not passed what was taken back may be stopped.
            let is_idle = |worker: &Worker| {
                worker.ready
                    && worker.takes_one_more()
                    && worker.n_tasks == 0
                    && !worker.lane.awaits_worker()
            };
            let Some(idle) = self.workers.iter().position(is_idle) else { return };
            let busiest = self.workers.iter().enumerate().max_by_key(|(_, w)| w.n_movable());
            let Some((busy, n_movable)) = busiest.map(|(idx, w)| (idx, w.n_movable())) else {
                return;
            };
            if n_movable == 0 {
                return;
            }
            if looked_ns < OVERDUE_NS && self.workers[busy].would_be_done_in(WORTH_MOVING_NS) {
                // Nobody rings when it turns out to be wrong: look again, ever less often.
                self.level_in_ns = WORTH_MOVING_NS.max(looked_ns * 2);
                return;
            }
            let mut moved = Vec::new();
            while moved.len() < n_movable.div_ceil(2) {
                let Some(task) = self.workers[busy].take_back_last() else { break };
                moved.push(task);
            }
            if moved.is_empty() {
                return;
            }
            for task in moved.into_iter().rev() {
                if self.workers[idle].takes_one_more() {
                    self.give(idle, task, shared);
                } else {
                    self.pending.push_back(task);
                }
            }
        }
    }

    pub(crate) fn on_event(
        &mut self,
        event: Event,
        shared: &Arc<Shared>,
        finished: &mut Vec<Finished>,
    ) {
        match event {
            Event::Started { id, pid, process } => {
                let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else {
                    return;
                };
                worker.on_started(pid, process);
            }
            Event::Failed { id, why, unanswered } => {
                let Some(mut worker) = self.remove(id) else { return };
                if unanswered {
                    // All that one template did not answer count as one.
                    worker.is_excused = id < self.excused_below;
                    self.excused_below = self.excused_below.max(self.next_worker);
                }
                self.bury(worker, &why, ExitStatus::Unknown, shared, finished);
            }
            Event::Exited { id, status } => {
                if let Some(worker) = self.remove(id) {
                    self.bury(worker, "", status, shared, finished);
                }
            }
        }
        self.saturated = false;
    }

    fn remove(&mut self, id: u64) -> Option<Worker> {
        let idx = self.workers.iter().position(|worker| worker.id == id)?;
        Some(self.workers.remove(idx))
    }

    /// A worker is gone: its results count, the task it had claimed has crashed, the tasks it
    /// had not claimed go to others, and what it held is given back.
    fn bury(
        &mut self,
        mut worker: Worker,
        why: &str,
        status: ExitStatus,
        shared: &Arc<Shared>,
        finished: &mut Vec<Finished>,
    ) {
        worker.harvest(shared, finished, &mut self.counts);
        let asked_to = worker.leaving && worker.n_tasks == 0;
        let pid = worker.pid();
        let text = worker.lane.view().text();
        let mut unclaimed = Vec::new();
        for (position, task) in (worker.lane.tail..).zip(worker.tasks.drain(..)) {
            let state = worker.lane.state(position);
            let Some(task) = task else { continue };
            if state != State::Running {
                task.place.clear();
                unclaimed.push(task);
                continue;
            }
            self.counts.crashed += u64::from(!task.outcome.completion().is_done());
            task.set_times(0, manyhands_sys::clock::monotonic_ns(), 0, pid);
            let report = crash_report(&task, pid, status, text.clone());
            finished.push(Finished { task, end: Err(TaskError::Crashed(report)) });
        }
        unclaimed.reverse();
        self.wait_again(unclaimed);
        if !asked_to {
            self.counts.workers_died += 1;
        }
        if worker.lane.view().status() == Status::Failed {
            self.break_because(text.unwrap_or_default());
        } else if !(worker.was_ready()
            || worker.kill_on_start
            || worker.is_excused
            || worker.leaving)
        {
            self.n_stillborn += 1;
            // Killed from outside, or gone before anybody could tell how: not its own fault.
            let innocent =
                matches!(status, ExitStatus::Signaled(SIGKILL | SIGTERM) | ExitStatus::Unknown);
            let limit = if innocent { MAX_KILLED_STILLBORN } else { MAX_STILLBORN };
            if self.n_stillborn >= limit {
                let how = if why.is_empty() { status.to_string() } else { why.to_owned() };
                let text = text.map(|text| format!("\n{text}")).unwrap_or_default();
                self.break_because(format!(
                    "{limit} workers in a row ended before they were ready; \
                     the last one {how}{text}"
                ));
            }
        }
        // SAFETY: its process has ended, or was not started.
        unsafe { shared.heap.bury(worker.party) };
    }

    fn break_because(&mut self, why: String) {
        self.broken.get_or_insert(why);
        self.closed = true;
    }

    /// Collects the replies of all workers.
    pub(crate) fn harvest(&mut self, shared: &Arc<Shared>, finished: &mut Vec<Finished>) {
        let mut gone_on = Vec::new();
        for worker in &mut self.workers {
            let tail = worker.lane.tail;
            if !worker.ready && worker.was_ready() {
                worker.become_ready();
                self.n_stillborn = 0;
                self.saturated = false;
            }
            worker.harvest(shared, finished, &mut self.counts);
            // Also a slot that was taken back makes room once the worker has passed it.
            if worker.lane.tail != tail {
                self.saturated = false;
                self.level_in_ns = 0;
                if worker.silence.is_set_aside() {
                    gone_on.push(worker.id);
                }
            }
        }
        self.take_in(&gone_on, self.growth.max_workers());
    }

    /// Tasks that were taken back, the last first: they are given to others before all that waits.
    pub(super) fn wait_again(&mut self, tasks: Vec<Arc<ProcessTask>>) {
        if !tasks.is_empty() {
            self.saturated = false;
        }
        tasks.into_iter().for_each(|task| self.pending.push_front(task));
    }

    /// Wakes the workers that were given tasks without being woken.
    pub(crate) fn wake_workers(&self) {
        for worker in &self.workers {
            // Also when the oldest is just done: the look in `wake` is cheap, and exact.
            if worker.n_tasks > 0 || worker.lane.awaits_worker() {
                worker.lane.wake();
            }
        }
    }

    /// Fails what waits if the pool is broken.
    pub(crate) fn report_broken(&mut self, finished: &mut Vec<Finished>) {
        let Some(why) = self.broken.clone() else { return };
        self.closed = true;
        let mut failed: Vec<_> = self.pending.drain(..).collect();
        for worker in &mut self.workers {
            while let Some(task) = worker.take_back_last() {
                failed.push(task);
            }
        }
        for task in failed {
            finished.push(Finished { task, end: Err(TaskError::PoolBroken(why.clone())) });
        }
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Cancels what no worker has claimed. A worker's very next task counts as started, as in the
    /// standard pool, unless `all` are meant.
    pub(crate) fn cancel_pending(&mut self, all: bool) -> Vec<(Arc<ProcessTask>, Ending)> {
        let mut taken: Vec<_> = self.pending.drain(..).collect();
        let n_spared = if all { 0 } else { 1 };
        for worker in &mut self.workers {
            while worker.n_tasks > n_spared
                && let Some(task) = worker.take_back_last()
            {
                taken.push(task);
            }
        }
        let cancel = |task: Arc<ProcessTask>| {
            let ending = task.outcome.completion().try_cancel()?;
            Some((task, ending))
        };
        taken.into_iter().filter_map(cancel).collect()
    }

    /// Cancels one task; `None` if a worker has claimed it or it is done.
    pub(crate) fn cancel(&mut self, task: &ProcessTask) -> Option<Ending> {
        if let Some((worker_id, position)) = task.place.get() {
            let worker = self.workers.iter_mut().find(|worker| worker.id == worker_id)?;
            worker.take_back(position)?;
            self.saturated = false;
        }
        // Otherwise it waits in `pending` and is passed over there, or it is done.
        task.outcome.completion().try_cancel()
    }

    /// Since when, and in which process, the task runs.
    pub(crate) fn running_since(&self, task: &ProcessTask) -> Option<(u64, u32)> {
        let (worker_id, position) = task.place.get()?;
        let worker = self.workers.iter().find(|worker| worker.id == worker_id)?;
        let running = worker.lane.state(position) == State::Running;
        running.then(|| (worker.started_ns(position), worker.pid()))
    }

    /// In a closed pool without work, workers leave.
    pub(crate) fn let_idle_workers_leave(&mut self) {
        if !self.closed || !self.pending.is_empty() {
            return;
        }
        for worker in &mut self.workers {
            if worker.n_tasks == 0 && !worker.leaving {
                worker.leave();
            }
        }
    }

    /// The tasks in lanes.
    pub(crate) fn claimed(&self) -> Vec<Arc<ProcessTask>> {
        self.workers.iter().flat_map(|worker| worker.tasks.iter().flatten().cloned()).collect()
    }

    /// Kills every worker, also those that are still being started.
    pub(crate) fn kill_all(&mut self) {
        self.closed = true;
        self.workers.iter_mut().for_each(Worker::kill);
    }

    /// Asks every worker to end; those that are still being started are killed.
    pub(crate) fn terminate_all(&mut self) {
        for worker in &mut self.workers {
            match &worker.process {
                // Also one that is stopped, which would not hear of it.
                Some(process) => {
                    let _ = process.signal(Signal::TERM).and(process.signal(Signal::CONT));
                }
                None => worker.kill_on_start = true,
            }
        }
    }

    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.closed && self.pending.is_empty() && self.workers.is_empty()
    }

    pub(crate) fn worker_infos(&self) -> Vec<WorkerInfo> {
        let info = |worker: &Worker| WorkerInfo {
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

    pub(crate) const fn n_workers(&self) -> usize {
        self.workers.len()
    }

    /// Tasks on their way through workers whose tasks are short.
    pub(crate) fn n_short_tasks(&self) -> usize {
        let short = self.workers.iter().filter(|worker| worker.mean_ns < SHORT_NS);
        short.map(|worker| worker.n_tasks).sum::<usize>()
    }

    /// When to look again whether waiting tasks should move to idle workers.
    pub(crate) fn level_at_ns(&self, now_ns: u64) -> Option<u64> {
        let unclaimed = self.workers.iter().any(|worker| worker.ready && worker.is_unclaimed());
        let silent_at_ns = unclaimed.then_some(now_ns + SILENT_NS);
        let level_at_ns = (self.level_in_ns != 0).then(|| now_ns + self.level_in_ns);
        [silent_at_ns, level_at_ns].into_iter().flatten().min()
    }

    pub(super) fn count_timeout(&mut self) {
        self.counts.timed_out += 1;
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

fn crash_report(
    task: &ProcessTask,
    pid: u32,
    status: ExitStatus,
    traceback: Option<String>,
) -> CrashReport {
    let (signal, exit_code) = match status {
        ExitStatus::Signaled(signal) => (Some(signal), None),
        ExitStatus::Exited(code) => (None, Some(code)),
        ExitStatus::Unknown => (None, None),
    };
    let task = task.shown_name();
    CrashReport { task, pid, signal, exit_code, traceback }
}
