//! The collector: one thread per pool that turns what workers did into finished futures.
//!
//! It never touches an interpreter, nor runs any other code of the program: done-callbacks have
//! threads of their own (`callbacks.rs`). While there are no more tasks than workers it sleeps on
//! the pool's bell, and the ringing worker wakes it; while short tasks queue up it naps between
//! rounds, and neither workers nor submitters spend a system call on it or on each other.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::thread::spawn_deaf;

use super::callbacks::run_none_here;
use super::pool::Shared;
use super::schedule::Finished;
use super::silent::SILENT_NS;
use super::wakeup::Watch;

const STACK_BYTES: usize = 256 * 1024;

/// The nap of a burst: short against the time a full lane keeps a worker busy.
const NAP: Duration = Duration::from_micros(40);

pub(crate) fn start(shared: Arc<Shared>) -> io::Result<()> {
    spawn_deaf("mh-collector", STACK_BYTES, move || {
        run_none_here();
        manyhands_sys::thread::set_timer_slack_ns(1_000);
        run(&shared);
        // Every worker is gone: what regions they left empty can go back to the system.
        shared.heap.trim();
        shared.callbacks.close();
        shared.set_ended();
    })?;
    Ok(())
}

fn run(shared: &Arc<Shared>) {
    let mut finished = Vec::new();
    let mut watch = Watch::Awake;
    loop {
        let rings = shared.bell().rings();
        let turn = turn(shared, watch, &mut finished);
        let n_finished = finished.len();
        for done in finished.drain(..) {
            done.settle();
        }
        if turn.ended {
            return;
        }
        if n_finished > 0 || turn.had_events {
            watch = Watch::Awake;
            if turn.n_under_way + n_finished > turn.n_workers {
                // More tasks than workers: they queue anyway, and results are worth collecting
                // by the dozen. Workers' rings do not end the nap (nobody is parked), loud ones do.
                shared.bell().sleep(shared.bell().rings(), Some(Deadline::after(NAP)));
            }
        } else if watch == Watch::Awake {
            // Look once more before sleeping: whoever rang before the next look did not wake us.
            watch = Watch::Dozing;
        } else {
            watch = doze(shared, rings, watch, turn.deadline_ns);
        }
    }
}

/// Sleeps, and says how to sleep next time if there is nothing to do again.
///
/// While there is traffic the collector looks by itself now and then for workers that do not claim
/// what they were given, so that submits need not wake it. When nothing happens for that long it
/// sleeps in earnest, and the next submit tells it (see `Schedule::give`).
fn doze(shared: &Shared, rings: u32, watch: Watch, deadline_ns: Option<u64>) -> Watch {
    let look_at_ns = (watch == Watch::Dozing).then(|| monotonic_ns() + SILENT_NS);
    let until_ns = [deadline_ns, look_at_ns].into_iter().flatten().min();
    shared.bell().sleep(rings, until_ns.map(Deadline::at_ns));
    let is_over = |at_ns| at_ns <= monotonic_ns() && deadline_ns.is_none_or(|due| due > at_ns);
    let is_quiet = shared.bell().rings() == rings && look_at_ns.is_none_or(is_over);
    if is_quiet { Watch::Asleep } else { Watch::Dozing }
}

struct Turn {
    had_events: bool,
    ended: bool,
    n_workers: usize,
    /// Tasks given to workers, or waiting, whose time is too short to sleep over.
    n_under_way: usize,
    deadline_ns: Option<u64>,
}

/// One look at everything: deaths, results, deadlines; then the freed workers get new tasks.
/// Unless awake it is the last one before sleeping, and ringers are told so first.
fn turn(shared: &Arc<Shared>, watch: Watch, finished: &mut Vec<Finished>) -> Turn {
    let events = std::mem::take(&mut *shared.events.lock().unwrap_or_else(PoisonError::into_inner));
    let had_events = !events.is_empty();
    let mut schedule = shared.lock();
    shared.bell().set_watch(watch);
    for event in events {
        schedule.on_event(event, shared, finished);
    }
    schedule.harvest(shared, finished);
    let enforce_at_ns = schedule.enforce(monotonic_ns(), finished);
    let look_at_ns = schedule.look_at_silent(monotonic_ns());
    schedule.pump(shared);
    let level_at_ns = schedule.level_at_ns(monotonic_ns());
    let deadline_ns = [enforce_at_ns, look_at_ns, level_at_ns].into_iter().flatten().min();
    schedule.wake_workers();
    schedule.report_broken(finished);
    schedule.let_idle_workers_leave();
    Turn {
        had_events,
        ended: schedule.has_ended(),
        n_workers: schedule.n_workers(),
        n_under_way: schedule.n_short_tasks(),
        deadline_ns,
    }
}
