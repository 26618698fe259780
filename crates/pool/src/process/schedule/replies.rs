//! What workers have said: that they are ready, that a task is done, that a slot was passed.
//!
//! Guarantees: a reply is taken once, in the order of the lane; a long one becomes the root's block
//! with it, or is given back. What it does not do: it ends no future. Whoever asked gets the
//! [`Finished`] and does so outside the lock.

use std::sync::Arc;

use manyhands_shm::{BlockRef, Heap, Party};
use manyhands_sys::atomic::Ordering;

use super::super::slot::{ReplyKind, State};
use super::super::task::{Body, Finished, Reply};
use super::counts::PoolCounts;
use super::environment::Environment;
use super::root_worker::Worker;
use super::state::Schedule;
use crate::error::TaskError;

impl<E: Environment> Schedule<E> {
    /// Collects the replies of all workers.
    pub(super) fn harvest(&mut self, finished: &mut Vec<Finished>) {
        let mut gone_on = Vec::new();
        for worker in &mut self.workers {
            let tail = worker.lane.tail;
            if !worker.ready && worker.was_ready() {
                worker.become_ready(&self.env);
                self.n_stillborn = 0;
                self.saturated = false;
            }
            worker.harvest(&self.env, finished, &mut self.counts);
            // Also a slot that was taken back makes room once the worker has passed it.
            if worker.lane.tail != tail {
                self.saturated = false;
                self.level_in_ns = 0;
                if worker.silence.is_set_aside() {
                    gone_on.push(worker.id);
                }
            }
        }
        self.take_in(&gone_on);
    }
}

impl<E: Environment> Worker<E> {
    /// Frees the slots that are done, oldest first.
    pub(super) fn harvest(
        &mut self,
        env: &E,
        finished: &mut Vec<Finished>,
        counts: &mut PoolCounts,
    ) {
        while !self.tasks.is_empty() && self.lane.state(self.lane.tail) == State::Done {
            let task = self.tasks.pop_front().flatten();
            let pid = self.pid();
            let party = self.party;
            let (reply, ran_ns) = self.lane.harvest(|slot, content| {
                let started_ns = slot.started_ns.load(Ordering::Acquire);
                let kind = ReplyKind::from_number(content.kind);
                let body = if kind == ReplyKind::None || kind == ReplyKind::Nothing {
                    Ok(Body::empty())
                } else if content.block.offset == 0 {
                    Ok(Body::Inline(content.inline[..content.inline_len as usize].into()))
                } else {
                    // SAFETY: the worker has left the block to this reply, which is harvested once.
                    unsafe { take_over(env.heap(), content.block, party) }
                };
                if let Some(task) = &task {
                    task.set_times(started_ns, content.finished_ns, content.cpu_ns, pid);
                }
                let n_carried = if kind == ReplyKind::None { 0 } else { content.n_carried };
                (
                    body.map(|body| Reply::new(kind, body, n_carried, env.heap())),
                    content.finished_ns.saturating_sub(started_ns),
                )
            });
            let Some(task) = task else { continue };
            self.n_tasks -= 1;
            self.busy_since_ns = env.now_ns();
            self.mean_ns =
                if self.mean_ns == 0 { ran_ns } else { (self.mean_ns * 7 + ran_ns) / 8 }.max(1);
            // It keeps its place, which is past: a cancel that comes before the future is settled
            // must not take it for one that waits.
            // One that was stopped at its timeout has ended before, and counts as that.
            counts.replied += u64::from(!task.outcome.completion().is_done());
            finished.push(Finished { task, end: reply });
        }
    }
}

/// The long reply of the worker that is `party`.
///
/// # Safety
/// The worker has left the block to this reply, which is harvested once.
unsafe fn take_over(heap: &Arc<Heap>, at: BlockRef, party: Party) -> Result<Body, TaskError> {
    // SAFETY: passed on to the caller.
    match unsafe { heap.take_over(at, party) } {
        Ok(Some(block)) => Ok(Body::Block(block)),
        Ok(None) => Err(TaskError::Other("the worker's reply is not in the heap".to_owned())),
        Err(error) => {
            // SAFETY: passed on to the caller.
            unsafe { heap.give_back(at, party) };
            Err(TaskError::OutOfMemory(error.to_string()))
        }
    }
}
