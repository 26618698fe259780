//! How a pool ends: it takes no more tasks, and its workers leave, are asked to end, or are killed.
//!
//! What it does not do: it waits for nobody. The pool has ended when a [turn](Schedule::turn) says
//! so.

use std::sync::Arc;

use manyhands_sys::pid::Signal;

use super::super::task::ProcessTask;
use super::environment::{Environment, Process};
use super::root_worker::Worker;
use super::state::Schedule;
use crate::completion::Ending;

impl<E: Environment> Schedule<E> {
    /// Takes no more tasks.
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

    /// In a closed pool without work, workers leave.
    pub(super) fn let_idle_workers_leave(&mut self) {
        if !self.closed || !self.pending.is_empty() {
            return;
        }
        for worker in &mut self.workers {
            if worker.n_tasks == 0 && !worker.leaving {
                worker.leave();
            }
        }
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
                    process.signal(Signal::TERM);
                    process.signal(Signal::CONT);
                }
                None => worker.kill_on_start = true,
            }
        }
    }
}
