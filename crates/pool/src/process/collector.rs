//! The collector: one thread per pool that turns what workers did into finished futures.
//!
//! It never touches an interpreter. While results trickle it sleeps on the pool's bell and the
//! ringing worker wakes it; while they pour it naps between rounds and no worker spends a system
//! call on it.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::thread::spawn_deaf;

use super::pool::Shared;
use super::schedule::Finished;

const STACK_BYTES: usize = 256 * 1024;

/// So many results in one round are a burst.
const BURST: usize = 4;

/// The nap of a burst: short against the time a full lane keeps a worker busy.
const NAP: Duration = Duration::from_micros(40);

pub(crate) fn start(shared: Arc<Shared>) -> io::Result<()> {
    spawn_deaf("mh-collector", STACK_BYTES, move || {
        manyhands_sys::thread::set_timer_slack_ns(1_000);
        run(&shared);
        // Every worker is gone: what regions they left empty can go back to the system.
        shared.heap.trim();
        shared.set_ended();
    })?;
    Ok(())
}

fn run(shared: &Arc<Shared>) {
    let mut finished = Vec::new();
    let mut parked = false;
    loop {
        let rings = shared.bell().rings();
        let turn = turn(shared, &mut finished);
        let n_finished = finished.len();
        for done in finished.drain(..) {
            done.settle();
        }
        if turn.ended {
            return;
        }
        if n_finished > 0 || turn.had_events {
            if parked {
                parked = false;
                shared.bell().set_parked(false);
            }
            if n_finished > BURST {
                // Rings of workers do not end it: nobody is parked. Only loud ones do.
                shared.bell().sleep(shared.bell().rings(), Some(Deadline::after(NAP)));
            }
        } else if parked {
            shared.bell().sleep(rings, turn.deadline_ns.map(Deadline::at_ns));
        } else {
            // Look once more before sleeping: a worker that rang before this did not wake us.
            parked = true;
            shared.bell().set_parked(true);
        }
    }
}

struct Turn {
    had_events: bool,
    ended: bool,
    deadline_ns: Option<u64>,
}

/// One look at everything: deaths, results, deadlines; then the freed workers get new tasks.
fn turn(shared: &Arc<Shared>, finished: &mut Vec<Finished>) -> Turn {
    let events = std::mem::take(&mut *shared.events.lock().unwrap_or_else(PoisonError::into_inner));
    let had_events = !events.is_empty();
    let mut schedule = shared.lock();
    for event in events {
        schedule.on_event(event, shared, finished);
    }
    schedule.harvest(shared, finished);
    let deadline_ns = schedule.enforce(monotonic_ns(), finished);
    schedule.pump(shared);
    schedule.report_broken(finished);
    schedule.let_idle_workers_leave();
    Turn { had_events, ended: schedule.has_ended(), deadline_ns }
}
