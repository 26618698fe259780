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

use super::root_worker::Worker;
use super::schedule::Schedule;
use super::task::ProcessTask;

/// A worker that was idle claims what it is given sooner than this.
pub(super) const SILENT_NS: u64 = 20_000_000;

/// How often one is looked at that starts, or leaves: that takes its time.
const PATIENT_NS: u64 = 100_000_000;

/// So often in a row a worker is found stopped before anything is done about it.
const MAX_STOPPED_LOOKS: u32 = 5;

/// What is known of a worker that is waited for.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When to look at it; 0: it is not waited for.
    look_at_ns: u64,
    n_stopped_looks: u32,
    is_set_aside: bool,
}

impl Silence {
    pub(super) const NONE: Self = Self { look_at_ns: 0, n_stopped_looks: 0, is_set_aside: false };

    /// Whether it was found stopped when somebody looked last.
    pub(super) const fn is_doubted(&self) -> bool {
        self.n_stopped_looks > 0
    }

    const fn state(&self) -> (bool, bool) {
        (self.is_doubted(), self.is_set_aside)
    }

    /// Whether it gets no tasks for the time being.
    pub(super) const fn is_stopped(&self) -> bool {
        self.is_set_aside || self.is_doubted()
    }

    /// Whether it gets no tasks until it goes on, and another may be in its place.
    pub(super) const fn is_set_aside(&self) -> bool {
        self.is_set_aside
    }
}

impl Schedule {
    /// Looks at workers that are waited for. Returns when to look next.
    pub(crate) fn look_at_silent(&mut self, now_ns: u64) -> Option<u64> {
        let mut next: Option<u64> = None;
        let mut taken = Vec::new();
        for worker in &mut self.workers {
            let before = worker.silence.state();
            let look_at_ns = worker.look_if_silent(now_ns, &mut taken);
            // One that goes on, or whose place another may take, is room.
            self.saturated &= before == worker.silence.state();
            next = [next, look_at_ns].into_iter().flatten().min();
        }
        self.wait_again(taken);
        next
    }

    /// How many of the workers are set aside without another in their place: never more than the
    /// pool has workers, whoever stops one after the other.
    pub(super) fn n_not_replaced(&self, max_workers: usize) -> usize {
        let set_aside = self.workers.iter().filter(|worker| worker.silence.is_set_aside());
        set_aside.count().saturating_sub(max_workers)
    }

    /// Workers that were set aside and have passed what was taken back are used again, or leave if
    /// others are in their place.
    pub(super) fn take_in(&mut self, ids: &[u64], max_workers: usize) {
        for id in ids {
            let n_used = self.workers.iter().filter(|worker| worker.stays()).count();
            let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == *id) else {
                continue;
            };
            worker.silence = Silence::NONE;
            if n_used >= max_workers && !worker.leaving {
                worker.leave();
            }
        }
    }
}

impl Worker {
    fn look_if_silent(&mut self, now_ns: u64, taken: &mut Vec<Arc<ProcessTask>>) -> Option<u64> {
        let is_leaving = self.leaving && self.n_tasks == 0;
        let is_awaited = self.lane.awaits_worker() && !self.silence.is_set_aside();
        let (Some(process), true) = (&self.process, is_leaving || is_awaited) else {
            self.silence = Silence { is_set_aside: self.silence.is_set_aside, ..Silence::NONE };
            return None;
        };
        let pause_ns = if self.ready && !is_leaving { SILENT_NS } else { PATIENT_NS };
        let look_at_ns = std::mem::replace(&mut self.silence.look_at_ns, now_ns + pause_ns);
        if look_at_ns == 0 {
            return Some(self.silence.look_at_ns);
        }
        if now_ns < look_at_ns {
            self.silence.look_at_ns = look_at_ns;
            return Some(look_at_ns);
        }
        let is_stopped = process.is_stopped();
        self.silence.n_stopped_looks =
            if is_stopped { self.silence.n_stopped_looks + 1 } else { 0 };
        if self.silence.n_stopped_looks >= MAX_STOPPED_LOOKS {
            self.silence.n_stopped_looks = 0;
            if is_leaving {
                self.kill();
            } else {
                taken.extend(self.set_aside());
            }
        }
        Some(self.silence.look_at_ns)
    }

    /// Takes back what it was given, the last first.
    fn set_aside(&mut self) -> Vec<Arc<ProcessTask>> {
        let taken = std::iter::from_fn(|| self.take_back_last()).collect();
        // Unless it has just gone on, and claimed one.
        self.silence.is_set_aside = self.n_tasks == 0;
        taken
    }
}
