//! Starting workers: a lane, a number in the heap, and a launch, or nothing of the three.
//!
//! How many are started, and when, is `growth.rs`.

use super::super::lane::LaneRoot;
use super::environment::Environment;
use super::root_worker::Worker;
use super::state::Schedule;

impl<E: Environment> Schedule<E> {
    /// Starts the workers that are missing, without waiting for tasks that need them.
    pub(crate) fn start_missing(&mut self) {
        if self.closed {
            return;
        }
        let n_staying = self.workers.iter().filter(|worker| worker.stays()).count();
        self.start_workers(self.growth.n_without_a_task(n_staying));
        self.saturated = false;
    }

    /// Starts so many workers; the first of them. If one cannot be started, the pool is broken.
    pub(super) fn start_workers(&mut self, n_new: usize) -> Option<usize> {
        let first = self.workers.len();
        for _ in 0..n_new {
            if self.broken.is_some() {
                break;
            }
            let id = self.next_worker;
            match try_start_worker(id, &self.env) {
                Ok(worker) => {
                    self.next_worker += 1;
                    self.counts.workers_started += 1;
                    self.workers.push(worker);
                }
                Err(why) => {
                    self.broken = Some(format!("a worker process could not be started: {why}"));
                    self.env.bell().ring_loudly();
                }
            }
        }
        (self.workers.len() > first).then_some(first)
    }
}

fn try_start_worker<E: Environment>(id: u64, env: &E) -> Result<Worker<E>, String> {
    let lane = LaneRoot::new(env.heap()).map_err(|error| error.to_string())?;
    let party = env.heap().new_party().map_err(|error| error.to_string())?;
    // Its replies lie in blocks of its own until they are harvested.
    env.heap().reserve_burial(party);
    env.launch(id, party, lane.at()).map_err(|error| {
        // SAFETY: its process was not started.
        unsafe { env.heap().bury(party) };
        error.to_string()
    })?;
    Ok(Worker::new(id, party, lane))
}
