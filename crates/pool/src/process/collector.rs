//! The collector: one thread per pool that turns what workers did into finished futures.
//!
//! It never touches an interpreter, nor runs any other code of the program: done-callbacks have
//! threads of their own (`callbacks.rs`). While there are no more tasks than workers it sleeps on
//! the pool's bell, and the ringing worker wakes it; while short tasks queue up it naps between
//! rounds, and neither workers nor submitters spend a system call on it or on each other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use manyhands_process::Event;
use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::thread::spawn_deaf;

use super::callbacks::run_none_here;
use super::pool_core::PoolCore;
use super::schedule::{SILENT_NS, Turn};
use super::task::Finished;
use super::wakeup::Watch;

const STACK_BYTES: usize = 256 * 1024;

/// The nap of a burst: short against the time a full lane keeps a worker busy.
const NAP: Duration = Duration::from_micros(40);

pub(crate) fn start(core: Arc<PoolCore>) -> io::Result<()> {
    spawn_deaf("mh-collector", STACK_BYTES, move || {
        run_none_here();
        manyhands_sys::thread::set_timer_slack_ns(1_000);
        run(&core);
        // Every worker is gone: what regions they left empty can go back to the system.
        core.heap.trim();
        core.callbacks.close();
        core.set_ended();
    })?;
    Ok(())
}

fn run(core: &PoolCore) {
    let mut finished = Vec::new();
    let mut watch = Watch::Awake;
    loop {
        let rings = core.bell().rings();
        let (turn, had_news) = turn(core, watch, &mut finished);
        let n_finished = finished.len();
        for done in finished.drain(..) {
            done.settle();
        }
        if turn.has_ended {
            return;
        }
        if n_finished > 0 || had_news {
            watch = Watch::Awake;
            if turn.n_under_way + n_finished > turn.n_workers {
                // More tasks than workers: they queue anyway, and results are worth collecting
                // by the dozen. Workers' rings do not end the nap (nobody is parked), loud ones do.
                core.bell().sleep(core.bell().rings(), Some(Deadline::after(NAP)));
            }
        } else if watch == Watch::Awake {
            // Look once more before sleeping: whoever rang before the next look did not wake us.
            watch = Watch::Dozing;
        } else {
            watch = doze(core, rings, watch, turn.deadline_ns);
        }
    }
}

/// Sleeps, and says how to sleep next time if there is nothing to do again.
///
/// While there is traffic the collector looks by itself now and then for workers that do not claim
/// what they were given, so that submits need not wake it. When nothing happens for that long it
/// sleeps in earnest, and the next submit tells it (`Schedule::give` in `schedule/hand_out.rs`).
fn doze(core: &PoolCore, rings: u32, watch: Watch, deadline_ns: Option<u64>) -> Watch {
    let look_at_ns = (watch == Watch::Dozing).then(|| monotonic_ns() + SILENT_NS);
    let until_ns = [deadline_ns, look_at_ns].into_iter().flatten().min();
    core.bell().sleep(rings, until_ns.map(Deadline::at_ns));
    let is_over = |at_ns| at_ns <= monotonic_ns() && deadline_ns.is_none_or(|due| due > at_ns);
    let is_quiet = core.bell().rings() == rings && look_at_ns.is_none_or(is_over);
    if is_quiet { Watch::Asleep } else { Watch::Dozing }
}

/// One turn of the scheduler, after the news. Unless awake it is the last one before sleeping, and
/// ringers are told so first. Also says whether there were any news.
fn turn(core: &PoolCore, watch: Watch, finished: &mut Vec<Finished>) -> (Turn, bool) {
    let events = core.news.take();
    let had_news = !events.is_empty();
    let mut schedule = core.lock();
    core.bell().set_watch(watch);
    for event in events {
        match event {
            Event::Started { id, pid, process } => schedule.on_started(id, pid, process),
            Event::Failed { id, why, unanswered } => {
                schedule.on_failed(id, &why, unanswered, finished);
            }
            Event::Exited { id, status } => schedule.on_exited(id, status, finished),
        }
    }
    (schedule.turn(finished), had_news)
}
