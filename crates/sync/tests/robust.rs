//! Processes that are killed while they hold a lock do not take it with them, and whoever gets it
//! next is told, so that nothing it guards stays half-changed.
//!
//! Alone in its program: it forks, and a fork copies only the thread that calls it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use manyhands_sync::robust::{Acquired, Parties, RobustLock};
use manyhands_sys::memory::MemoryFile;
use manyhands_sys::pid::exists;
use manyhands_testing::fork::{Forked, fork};

/// What the processes share: two numbers that are equal while nobody is inside.
#[repr(C)]
struct Table {
    lock: RobustLock,
    first: AtomicU64,
    second: AtomicU64,
    n_mended: AtomicU32,
    n_torn: AtomicU32,
}

/// Parties are processes, numbered by the system.
struct Pids;

impl Parties for Pids {
    fn me(&self) -> u32 {
        std::process::id()
    }

    fn is_alive(&self, party: u32) -> bool {
        // The parent reaps whom it kills, at once.
        exists(party)
    }
}

const N_PROCESSES: usize = 4;
/// It goes on until so many were killed, and so many of them inside: how often that is depends on
/// the machine and on what else it does.
const N_KILLS: u32 = 1_500;
const N_KILLED_INSIDE: u32 = 20;

fn step(table: &Table) {
    if let Acquired::AfterDeath(dead) = table.lock.lock(&Pids) {
        assert!(!exists(dead.party));
        table.n_mended.fetch_add(1, Ordering::Relaxed);
        table.second.store(table.first.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    let first = table.first.load(Ordering::Relaxed);
    if table.second.load(Ordering::Relaxed) != first {
        table.n_torn.fetch_add(1, Ordering::Relaxed);
    }
    table.first.store(first + 1, Ordering::Relaxed);
    // Long enough for many to be killed in here.
    for _ in 0..200 {
        std::hint::spin_loop();
    }
    table.second.store(first + 1, Ordering::Relaxed);
    table.lock.unlock();
}

fn start(table: &Table) -> Forked {
    let work = || {
        loop {
            step(table);
        }
    };
    // SAFETY: the only test of this program, and it starts no thread.
    unsafe { fork(work) }
}

#[test]
fn a_lock_outlives_its_owners_and_tells_who_comes_next() {
    let file = MemoryFile::create("robust-test", 4096).expect("memory");
    let map = file.map(4096).expect("a mapping");
    // SAFETY: mapped, aligned, and zeros are a table with a free lock.
    let table: &Table = unsafe { map.base().cast().as_ref() };
    let mut processes: VecDeque<_> = (0..N_PROCESSES).map(|_| start(table)).collect();
    let mut seen = 0;
    let mut kill = 0;
    while kill < N_KILLS || table.n_mended.load(Ordering::Relaxed) < N_KILLED_INSIDE {
        // Work goes on between the kills: nobody waits for ever.
        let next = seen + 5 + u64::from(kill % 17);
        while table.first.load(Ordering::Relaxed) < next {
            std::thread::yield_now();
        }
        seen = table.first.load(Ordering::Relaxed);
        // At any instruction of a step, not only where the last one was seen to end.
        for _ in 0..kill * 37 % 1_000 {
            std::hint::spin_loop();
        }
        // The one that has run longest.
        processes.pop_front().expect("some run").kill();
        processes.push_back(start(table));
        kill += 1;
    }
    processes.into_iter().for_each(Forked::kill);
    step(table);
    assert_eq!(table.n_torn.load(Ordering::Relaxed), 0, "somebody saw what was half-changed");
    assert_eq!(table.first.load(Ordering::Relaxed), table.second.load(Ordering::Relaxed));
}
