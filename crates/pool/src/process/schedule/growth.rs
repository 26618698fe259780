//! How many workers a pool may have, and when they are started.
//!
//! Nothing is sized by the number of workers that a program allows, which may be as large as it
//! likes. More than the system has numbers for processes can only mean "as many as needed": such a
//! pool starts workers when tasks need them, whatever it does else, and no more than leave the
//! program most of its descriptors.

use manyhands_sys::machine::{n_most_descriptors, n_most_processes};

/// Of so many descriptors a worker gets two, by which it is watched; the rest is the program's.
const DESCRIPTORS_PER_WORKER: usize = 4;

/// The rules of a pool for starting workers.
pub(super) struct Growth {
    max_workers: usize,
    /// All are started with the first task.
    start_all: bool,
    /// Workers are started for tasks only.
    on_demand: bool,
}

impl Growth {
    pub(super) fn new(max_workers: usize, start_all: bool) -> Self {
        if max_workers <= n_most_processes() {
            return Self { max_workers, start_all, on_demand: false };
        }
        let max_workers = (n_most_descriptors() / DESCRIPTORS_PER_WORKER).max(1).min(max_workers);
        Self { max_workers, start_all: false, on_demand: true }
    }

    pub(super) const fn max_workers(&self) -> usize {
        self.max_workers
    }

    /// How many workers are started for a task that found none idle, if `n_staying` are there.
    pub(super) fn n_for_a_task(&self, n_staying: usize) -> usize {
        let n_missing = self.max_workers.saturating_sub(n_staying);
        if self.start_all { n_missing } else { n_missing.min(1) }
    }

    /// How many workers are started without any task, if `n_staying` are there.
    pub(super) fn n_without_a_task(&self, n_staying: usize) -> usize {
        if self.on_demand { 0 } else { self.max_workers.saturating_sub(n_staying) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_started_for_each_task_until_there_are_enough() {
        let growth = Growth::new(2, false);
        assert_eq!([0, 1, 2, 3].map(|n_staying| growth.n_for_a_task(n_staying)), [1, 1, 0, 0]);
        assert_eq!([0, 1, 3].map(|n_staying| growth.n_without_a_task(n_staying)), [2, 1, 0]);
    }

    #[test]
    fn a_pool_that_starts_all_at_once_starts_what_is_missing() {
        let growth = Growth::new(3, true);
        assert_eq!([0, 1, 3].map(|n_staying| growth.n_for_a_task(n_staying)), [3, 2, 0]);
    }

    #[test]
    fn workers_that_could_never_all_be_there_are_started_for_tasks_and_within_bounds() {
        for most in [1_000_000_000, usize::MAX] {
            let growth = Growth::new(most, true);
            assert_eq!((growth.n_for_a_task(0), growth.n_without_a_task(0)), (1, 0));
            assert!((1..=n_most_descriptors()).contains(&growth.max_workers()));
        }
    }
}
