//! What the threads of the root share of a pool: its scheduler under one lock, and what it needs
//! outside of it.
//!
//! Submitters, those who cancel or close, and the collector meet here. Guarantees: futures are
//! ended, and sleepers woken, after the lock was let go. What it does not do: it makes no turn;
//! that is the collector's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manyhands_shm::Heap;

use super::callbacks::Callbacks;
use super::schedule::Schedule;
use super::surroundings::{News, Surroundings};
use super::task::{Pool, ProcessTask};
use super::wakeup::Bell;
use crate::completion::{Completion, Ending};

/// One pool as its threads share it.
pub(crate) struct PoolCore {
    schedule: Mutex<Schedule<Surroundings>>,
    pub(crate) heap: Arc<Heap>,
    pub(crate) news: Arc<News>,
    /// What runs done-callbacks.
    pub(crate) callbacks: Arc<Callbacks>,
    /// Finished when the collector has ended and no worker is left.
    pub(crate) ended: Completion,
}

impl PoolCore {
    pub(crate) fn new(schedule: Schedule<Surroundings>, heap: Arc<Heap>, news: Arc<News>) -> Self {
        Self {
            schedule: Mutex::new(schedule),
            heap,
            news,
            callbacks: Callbacks::new(),
            ended: Completion::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Schedule<Surroundings>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bell(&self) -> &Bell {
        self.news.bell()
    }

    pub(crate) fn set_ended(&self) {
        self.ended.settle(|| {});
    }

    pub(crate) fn close(&self, cancel_pending: bool) {
        self.close_and_cancel(|schedule| {
            if cancel_pending { schedule.cancel_pending(false) } else { Vec::new() }
        });
    }

    pub(crate) fn close_and_cancel(
        &self,
        cancel: impl FnOnce(&mut Schedule<Surroundings>) -> Vec<(Arc<ProcessTask>, Ending)>,
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

    pub(crate) fn kill(&self, cancel_running: bool) {
        self.close_and_cancel(|schedule| schedule.cancel_pending(true));
        if cancel_running {
            self.cancel_claimed();
        }
        self.lock().kill_all();
        self.bell().ring_loudly();
    }

    /// Ends the futures of what workers have claimed, before the workers themselves: the death of
    /// those is no news then.
    pub(crate) fn cancel_claimed(&self) {
        let claimed = self.lock().claimed();
        for task in claimed {
            task.outcome.completion().cancel_running();
        }
    }
}

impl Pool for PoolCore {
    fn cancel(&self, task: &ProcessTask) -> bool {
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

    fn cancel_even_running(&self, task: &ProcessTask, grace: Duration) -> bool {
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

    fn running_since(&self, task: &ProcessTask) -> Option<(u64, u32)> {
        self.lock().running_since(task)
    }

    fn callbacks(&self) -> &Arc<Callbacks> {
        &self.callbacks
    }
}
