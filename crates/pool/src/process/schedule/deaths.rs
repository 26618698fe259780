//! What becomes of a launch, and of the tasks of a worker that is gone.
//!
//! The table "Deaths" of the README says which task ends how. Guarantees: the one task that a dead
//! worker had claimed has crashed; those that it had not claimed go to others, before all that
//! waits; what it had replied counts; what it held is given back.

use manyhands_sys::pid::{ExitStatus, SIGKILL, SIGTERM};

use super::super::lane::Status;
use super::super::slot::State;
use super::super::task::{Finished, ProcessTask};
use super::environment::Environment;
use super::root_worker::Worker;
use super::state::Schedule;
use crate::error::{CrashReport, TaskError};

/// So many workers in a row that end before they are ready break the pool.
pub(super) const MAX_STILLBORN: u32 = 3;

/// Somebody from outside who kills workers is not a fault of theirs, unless nothing else happens.
pub(super) const MAX_KILLED_STILLBORN: u32 = 50;

impl<E: Environment> Schedule<E> {
    /// A worker that was asked for runs, as this process.
    pub(crate) fn on_started(&mut self, id: u64, pid: u32, process: E::Process) {
        if let Some(worker) = self.worker_mut(id) {
            worker.on_started(pid, process);
            self.saturated = false;
        }
    }

    /// A worker could not be started. `unanswered`: nobody has tried, as the template was lost.
    pub(crate) fn on_failed(
        &mut self,
        id: u64,
        why: &str,
        unanswered: bool,
        finished: &mut Vec<Finished>,
    ) {
        let Some(mut worker) = self.remove(id) else { return };
        if unanswered {
            // All that one template did not answer count as one.
            worker.is_excused = id < self.excused_below;
            self.excused_below = self.excused_below.max(self.next_worker);
        }
        self.bury(worker, why, ExitStatus::Unknown, finished);
        self.saturated = false;
    }

    /// A worker's process has ended.
    pub(crate) fn on_exited(&mut self, id: u64, status: ExitStatus, finished: &mut Vec<Finished>) {
        if let Some(worker) = self.remove(id) {
            self.bury(worker, "", status, finished);
        }
        self.saturated = false;
    }

    fn remove(&mut self, id: u64) -> Option<Worker<E>> {
        let idx = self.workers.iter().position(|worker| worker.id == id)?;
        Some(self.workers.remove(idx))
    }

    /// A worker is gone: its results count, the task it had claimed has crashed, the tasks it
    /// had not claimed go to others, and what it held is given back.
    fn bury(
        &mut self,
        mut worker: Worker<E>,
        why: &str,
        status: ExitStatus,
        finished: &mut Vec<Finished>,
    ) {
        worker.harvest(&self.env, finished, &mut self.counts);
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
            task.set_times(0, self.env.now_ns(), 0, pid);
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
        unsafe { self.env.heap().bury(worker.party) };
    }

    /// Fails what waits if the pool is broken.
    pub(super) fn report_broken(&mut self, finished: &mut Vec<Finished>) {
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
