//! Workers that do not claim what they were given, and idle ones that do not leave.
//!
//! | the worker | | left when |
//! |---|---|---|
//! | claims | no slot waits for it alone | it has not claimed, or passed, its first slot for 20 ms |
//! | is silent | starved, still starting, or stopped: who is idle gets its tasks | it claims, or passes; the kernel says five times in a row that it is stopped |
//! | is set aside | stopped (SIGSTOP): its tasks were taken back, it gets no more, and another worker may be started in its place | it goes on, and passes what was taken back |
//! | is killed | stopped, idle and told to leave: the pool does not wait for it | |
//!
//! Silence is no evidence: only what the kernel says counts, so that a worker without a processor
//! is never taken for a stopped one. And not at once: with a whole job that is stopped at the
//! terminal (Ctrl-Z) and goes on, the workers go on a moment later than the root.
//!
//! Does not do: care about a worker that is stopped in a task. The task just takes longer; timeouts
//! and cancels reach it.

use std::sync::Arc;

use super::super::task::ProcessTask;
use super::environment::{Environment, Process};
use super::root_worker::Worker;
use super::silence::{PATIENT_NS, SILENT_NS, Silence};
use super::state::Schedule;

impl<E: Environment> Schedule<E> {
    /// Looks at workers that are waited for. Returns when to look next.
    pub(super) fn look_at_silent(&mut self, now_ns: u64) -> Option<u64> {
        let mut next: Option<u64> = None;
        let mut taken = Vec::new();
        for worker in &mut self.workers {
            let before = worker.silence.standing();
            let look_at_ns = worker.look_if_silent(now_ns, &mut taken);
            // One that goes on, or whose place another may take, is room.
            self.saturated &= before == worker.silence.standing();
            next = [next, look_at_ns].into_iter().flatten().min();
        }
        self.wait_again(taken);
        next
    }

    /// How many of the workers are set aside without another in their place: never more than the
    /// pool has workers, whoever stops one after the other.
    pub(super) fn n_not_replaced(&self) -> usize {
        let set_aside = self.workers.iter().filter(|worker| worker.silence.is_set_aside());
        set_aside.count().saturating_sub(self.growth.max_workers())
    }

    /// Workers that were set aside and have passed what was taken back are used again, or leave if
    /// others are in their place.
    pub(super) fn take_in(&mut self, ids: &[u64]) {
        for id in ids {
            let n_used = self.workers.iter().filter(|worker| worker.stays()).count();
            let max_workers = self.growth.max_workers();
            let Some(worker) = self.worker_mut(*id) else { continue };
            worker.silence = Silence::NONE;
            if n_used >= max_workers && !worker.leaving {
                worker.leave();
            }
        }
    }
}

impl<E: Environment> Worker<E> {
    fn look_if_silent(&mut self, now_ns: u64, taken: &mut Vec<Arc<ProcessTask>>) -> Option<u64> {
        let is_leaving = self.leaving && self.n_tasks == 0;
        let is_awaited = self.lane.awaits_worker() && !self.silence.is_set_aside();
        let (Some(process), true) = (&self.process, is_leaving || is_awaited) else {
            self.silence.stop_waiting();
            return None;
        };
        let pause_ns = if self.ready && !is_leaving { SILENT_NS } else { PATIENT_NS };
        if self.silence.look(now_ns, pause_ns, || process.is_stopped()) {
            if is_leaving {
                self.kill();
            } else {
                taken.extend(self.set_aside());
            }
        }
        Some(self.silence.look_at_ns())
    }

    /// Takes back what it was given, the last first.
    fn set_aside(&mut self) -> Vec<Arc<ProcessTask>> {
        let taken = std::iter::from_fn(|| self.take_back_last()).collect();
        // Unless it has just gone on, and claimed one.
        self.silence.set_aside(self.n_tasks == 0);
        taken
    }
}
