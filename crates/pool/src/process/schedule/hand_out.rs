//! Which worker gets a waiting task, and when one that waits in a lane moves to another.
//!
//! An idle worker gets a task at once; a missing one is started; a busy one gets a few ahead, more
//! the shorter its tasks are. A task that waits in a lane behind a long one is taken back and given
//! to a worker that has become idle.

use std::sync::Arc;

use super::super::task::ProcessTask;
use super::environment::Environment;
use super::root_worker::Worker;
use super::silence::SILENT_NS;
use super::state::Schedule;

/// So many tasks on their way to a worker are a burst.
const BURST: usize = 2;

/// Tasks below this are short: their results come faster than it pays to be woken for each.
const SHORT_NS: u64 = 50_000;

/// Work below this is not worth moving to another worker.
const WORTH_MOVING_NS: u64 = 20_000;

/// A lane that was to be done soon, and is not after this, is stuck.
const OVERDUE_NS: u64 = 1_000_000;

impl<E: Environment> Schedule<E> {
    /// Gives waiting tasks to workers that have room, as far as they reach.
    pub(crate) fn pump(&mut self) {
        let looked_ns = std::mem::take(&mut self.level_in_ns);
        if self.saturated {
            return;
        }
        while let Some(task) = self.pending.pop_front() {
            if task.outcome.completion().is_done() {
                continue;
            }
            let Some(idx) = self.find_room() else {
                self.pending.push_front(task);
                self.saturated = true;
                return;
            };
            self.give(idx, task);
        }
        self.level(looked_ns);
    }

    /// A worker for the next task: idle, else new, else the least busy one with room.
    fn find_room(&mut self) -> Option<usize> {
        let mut idlest: Option<usize> = None;
        let mut n_staying = self.n_not_replaced();
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
            n_new => self.start_workers(n_new),
        }
    }

    fn give(&mut self, idx: usize, task: Arc<ProcessTask>) {
        let quota = self.max_tasks_per_worker;
        let worker = &mut self.workers[idx];
        // In a burst the collector is awake and wakes the worker for many tasks at once: a
        // system call less for each submit. That it is parked is decided under our lock, so it
        // either sees this task or is seen here.
        let in_burst = worker.n_tasks >= BURST && !self.env.bell().is_parked();
        worker.give(task, &self.env);
        if !in_burst {
            worker.lane.wake();
        }
        if self.env.bell().is_unwatched() {
            // Should the worker be stopped, somebody has to see that it does not claim the task.
            self.env.bell().ring();
        }
        if quota.is_some_and(|quota| worker.n_given >= quota) {
            worker.leave();
        }
    }

    /// Moves waiting tasks from busy lanes to idle workers.
    fn level(&mut self, looked_ns: u64) {
        loop {
            // One that has not passed what was taken back may be stopped.
            let is_idle = |worker: &Worker<E>| {
                worker.ready
                    && worker.takes_one_more()
                    && worker.n_tasks == 0
                    && !worker.lane.awaits_worker()
            };
            let Some(idle) = self.workers.iter().position(is_idle) else { return };
            let busiest =
                self.workers.iter().enumerate().max_by_key(|(_, w)| w.n_movable(&self.env));
            let Some((busy, n_movable)) = busiest.map(|(idx, w)| (idx, w.n_movable(&self.env)))
            else {
                return;
            };
            if n_movable == 0 {
                return;
            }
            if looked_ns < OVERDUE_NS
                && self.workers[busy].would_be_done_in(WORTH_MOVING_NS, &self.env)
            {
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
                    self.give(idle, task);
                } else {
                    self.pending.push_back(task);
                }
            }
        }
    }

    /// Wakes the workers that were given tasks without being woken.
    pub(super) fn wake_workers(&self) {
        for worker in &self.workers {
            // Also when the oldest is just done: the look in `wake` is cheap, and exact.
            if worker.n_tasks > 0 || worker.lane.awaits_worker() {
                worker.lane.wake();
            }
        }
    }

    /// Tasks on their way through workers whose tasks are short.
    pub(super) fn n_short_tasks(&self) -> usize {
        let short = self.workers.iter().filter(|worker| worker.mean_ns < SHORT_NS);
        short.map(|worker| worker.n_tasks).sum::<usize>()
    }

    /// When to look again whether waiting tasks should move to idle workers.
    pub(super) fn level_at_ns(&self, now_ns: u64) -> Option<u64> {
        let unclaimed = self.workers.iter().any(|worker| worker.ready && worker.is_unclaimed());
        let silent_at_ns = unclaimed.then_some(now_ns + SILENT_NS);
        let level_at_ns = (self.level_in_ns != 0).then(|| now_ns + self.level_in_ns);
        [silent_at_ns, level_at_ns].into_iter().flatten().min()
    }
}
