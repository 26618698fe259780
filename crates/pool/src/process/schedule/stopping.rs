//! Stopping tasks: cancels of those that wait and of those that run, and timeouts.
//!
//! The time of a task counts from its claim. While nobody claims it, it counts from when it was
//! handed to a worker that had nothing else to do.
//!
//! The future ends first. Then the worker is told which position is meant and gets SIGINT; it
//! turns that into an exception in the task, and only in that task. A worker that has not left
//! the task when its grace is over is killed and replaced.
//!
//! What it does not do: it ends no future, but tells which are to end.

use std::time::Duration;

use manyhands_sys::pid::Signal;

use super::super::slot::State;
use super::super::task::{Finished, ProcessTask};
use super::environment::{Environment, Process};
use super::root_worker::{Stop, Worker};
use super::state::Schedule;
use crate::completion::Ending;
use crate::error::TaskError;

/// How much later than its timeout a task ends that a worker has not claimed, unless that is known
/// to be stopped: the processors may be busy.
const UNCLAIMED_PATIENCE_NS: u64 = 1_000_000_000;

/// When to look again for the start of a task that was claimed but has not said when.
const SOON_NS: u64 = 200_000;

impl<E: Environment> Schedule<E> {
    /// Cancels one task; `None` if a worker has claimed it or it is done.
    pub(crate) fn cancel(&mut self, task: &ProcessTask) -> Option<Ending> {
        if let Some((worker_id, position)) = task.place.get() {
            let worker = self.worker_mut(worker_id)?;
            worker.take_back(position)?;
            self.saturated = false;
        }
        // Otherwise it waits in `pending` and is passed over there, or it is done.
        task.outcome.completion().try_cancel()
    }

    /// Makes the worker that runs `task` leave it.
    pub(crate) fn stop_running(&mut self, task: &ProcessTask, grace: Duration) {
        let Some((worker_id, position)) = task.place.get() else { return };
        let now_ns = self.env.now_ns();
        if let Some(worker) = self.worker_mut(worker_id) {
            worker.begin_stop(position, grace, now_ns);
        }
    }

    /// Ends tasks whose time is over and kills workers whose grace is. Returns when to look next.
    pub(super) fn enforce(&mut self, now_ns: u64, finished: &mut Vec<Finished>) -> Option<u64> {
        let mut next: Option<u64> = None;
        let mut n_timed_out = 0;
        for worker in &mut self.workers {
            let due = worker.enforce_timeout(now_ns, finished, &mut n_timed_out);
            let kill_at = worker.enforce_grace(now_ns);
            next = [next, due, kill_at].into_iter().flatten().min();
        }
        self.counts.timed_out += n_timed_out;
        if n_timed_out > 0 {
            // What nobody had claimed was taken back: there is room.
            self.saturated = false;
        }
        next
    }
}

impl<E: Environment> Worker<E> {
    fn begin_stop(&mut self, position: u64, grace: Duration, now_ns: u64) {
        if self.lane.state(position) != State::Running {
            return;
        }
        let grace_ns = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        let kill_at_ns = now_ns.saturating_add(grace_ns);
        self.stop = Some(Stop { position, kill_at_ns });
        self.lane.set_interrupt(position);
        if let Some(process) = &self.process {
            process.signal(Signal::INT);
        }
    }

    fn enforce_timeout(
        &mut self,
        now_ns: u64,
        finished: &mut Vec<Finished>,
        n_timed_out: &mut u64,
    ) -> Option<u64> {
        // Taken-back slots may lie before the task that runs.
        let idx = self.tasks.iter().position(Option::is_some)?;
        let task = self.tasks[idx].clone()?;
        let timeout = task.options.timeout?;
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let position = self.lane.tail + idx as u64;
        if self.lane.state(position) == State::Pending {
            let due_ns = self.unclaimed_due_ns(timeout_ns)?;
            if now_ns < due_ns {
                return Some(due_ns);
            }
            // Claimed at this moment: it has its whole time.
            let Some(task) = self.take_back(position) else { return Some(now_ns + SOON_NS) };
            *n_timed_out += 1;
            task.set_times(0, now_ns, 0, 0);
            finished.push(Finished { task, end: Err(TaskError::TimedOut) });
            return None;
        }
        if self.lane.state(position) != State::Running || task.outcome.completion().is_done() {
            return None;
        }
        let started_ns = self.started_ns(position);
        if started_ns == 0 {
            self.lane.assume_started(position, now_ns);
            return Some(now_ns + SOON_NS);
        }
        let due_ns = started_ns.saturating_add(timeout_ns);
        if now_ns < due_ns {
            return Some(due_ns);
        }
        let grace = task.options.grace;
        *n_timed_out += 1;
        task.set_times(started_ns, now_ns, 0, self.pid());
        finished.push(Finished { task, end: Err(TaskError::TimedOut) });
        self.begin_stop(position, grace, now_ns);
        None
    }

    /// When the time of the first task is over although the worker has not claimed it; `None`: it
    /// is not counted yet, as the worker is still being made.
    fn unclaimed_due_ns(&self, timeout_ns: u64) -> Option<u64> {
        let is_stopped = self.silence.is_doubted();
        if !self.ready && !is_stopped {
            return None;
        }
        let patience_ns = if is_stopped { 0 } else { UNCLAIMED_PATIENCE_NS };
        Some(self.busy_since_ns.saturating_add(timeout_ns).saturating_add(patience_ns))
    }

    fn enforce_grace(&mut self, now_ns: u64) -> Option<u64> {
        let stop = self.stop?;
        if self.lane.state(stop.position) != State::Running {
            self.stop = None;
            return None;
        }
        if now_ns < stop.kill_at_ns {
            return Some(stop.kill_at_ns);
        }
        self.stop = None;
        self.kill();
        None
    }
}
