//! One turn of the collector: a look at everything, in an order that leaves nothing for the next.
//!
//! What workers have said comes before what time has run out, so that a task which has replied is
//! not said to have been too slow; both make room, which is then handed out; and who is left
//! without work in a closed pool leaves.
//!
//! A turn is idempotent. That one follows every event that matters is the pool's liveness; the
//! README has the table.

use super::super::task::Finished;
use super::environment::Environment;
use super::state::Schedule;

/// What a turn has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Nothing is left to do, and nobody left to do it.
    pub(crate) has_ended: bool,
    pub(crate) n_workers: usize,
    /// Tasks given to workers, whose time is too short to sleep over.
    pub(crate) n_under_way: usize,
    /// When to look again though nobody rings.
    pub(crate) deadline_ns: Option<u64>,
}

impl<E: Environment> Schedule<E> {
    /// Results, deadlines; then the freed workers get new tasks. Deaths are told before. Whose
    /// future is to end is added to `finished`.
    pub(crate) fn turn(&mut self, finished: &mut Vec<Finished>) -> Turn {
        self.harvest(finished);
        let enforce_at_ns = self.enforce(self.env.now_ns(), finished);
        let look_at_ns = self.look_at_silent(self.env.now_ns());
        self.pump();
        let level_at_ns = self.level_at_ns(self.env.now_ns());
        let deadline_ns = [enforce_at_ns, look_at_ns, level_at_ns].into_iter().flatten().min();
        self.wake_workers();
        self.report_broken(finished);
        self.let_idle_workers_leave();
        Turn {
            has_ended: self.has_ended(),
            n_workers: self.workers.len(),
            n_under_way: self.n_short_tasks(),
            deadline_ns,
        }
    }
}
