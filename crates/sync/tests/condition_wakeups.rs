//! No wake-up of a condition between processes is lost: nobody here sleeps in slices, so a sleeper
//! that is forgotten sleeps for ever, and its process is ended by its alarm.
//!
//! Processes take turns by notifying the next one. In between they disturb each other: they give up
//! waiting for the lock and for a condition after microseconds, also when they were notified and
//! moved to the lock already, and take the lock away from who was woken for it.
//!
//! Alone in its program: it forks, and a fork copies only the thread that calls it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use manyhands_sync::lock::Hold;
use manyhands_sync::robust::{Owner, Parties};
use manyhands_sync::shared::condition::WaiterRow;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waiting::Waiting;
use manyhands_sync::shared::waits::{Board, Family, ReadOnly};
use manyhands_sync::sleep::Wait;
use manyhands_sys::clock::Deadline;
use manyhands_sys::memory::MemoryFile;
use manyhands_testing::fork::{Forked, fork};
use manyhands_testing::random::Random;

const N_PROCESSES: usize = 4;
const N_TURNS: u64 = 200_000;
/// Seconds: the watchdog of a process. All turns take a small part of it.
const ALARM: u32 = 100;

/// What the processes share.
#[repr(C)]
struct Table {
    lock: SharedLock,
    turn: AtomicU64,
    n_moved: AtomicU64,
    /// Where each process waits for its turn.
    own: [WaiterRow; N_PROCESSES],
    /// Where nobody waits for long.
    common: WaiterRow,
}

/// Parties are numbered from 1; nobody dies.
struct Numbered(u32);

impl Parties for Numbered {
    fn me(&self) -> u32 {
        self.0
    }

    fn is_alive(&self, _: u32) -> bool {
        true
    }
}

impl Family for Numbered {
    fn board_of(&self, _: u32) -> Option<ReadOnly<'_, Board>> {
        None
    }

    fn my_board(&self) -> Option<&Board> {
        None
    }

    fn offset_of(&self, _: &SharedLock) -> u64 {
        0
    }

    fn lock_at(&self, _: u64) -> Option<ReadOnly<'_, SharedLock>> {
        None
    }

    fn pid_of(&self, _: u32) -> Option<u32> {
        None
    }
}

struct Player<'a> {
    table: &'a Table,
    family: Numbered,
    idx: usize,
    random: Random,
}

impl Player<'_> {
    fn me(&self) -> Owner {
        Owner::current(&self.family)
    }

    fn lock(&self, deadline: Option<Deadline>) -> bool {
        let mut waiting = Waiting::new(&self.family, deadline, false).without_slices();
        let lock = &self.table.lock;
        lock.try_lock(self.me(), Hold::Scoped)
            || lock.lock_slow(self.me(), Hold::Scoped, &mut waiting) == Wait::Done
    }

    fn unlock(&self) {
        self.table.lock.unlock(self.me()).expect("it is mine");
    }

    /// With the lock, as a condition waits; whether it was notified.
    fn wait(&self, row: &WaiterRow, deadline: Option<Deadline>) -> bool {
        let waiter = row.enter(&self.family).expect("there is room");
        self.unlock();
        let mut waiting = Waiting::new(&self.family, deadline, false).without_slices();
        let end = waiter.wait(&mut waiting);
        assert!(end == Wait::Done || deadline.is_some());
        let is_notified = waiter.leave();
        let lock = &self.table.lock;
        if !lock.try_lock_after_sleep(self.me(), Hold::Scoped) {
            let mut waiting = Waiting::new(&self.family, None, false).without_slices();
            let end = lock.lock_after_sleep(self.me(), Hold::Scoped, &mut waiting);
            assert_eq!(end, Wait::Done);
        }
        is_notified
    }

    fn disturb(&mut self) {
        let soon = Deadline::after(Duration::from_micros(self.random.below(60)));
        match self.random.below(8) {
            0 if self.lock(Some(soon)) => self.unlock(),
            1 => {
                self.lock(None);
                self.wait(&self.table.common, Some(soon));
                self.unlock();
            }
            2 => {
                self.lock(None);
                self.table.common.notify(1, &self.family, Some((&self.table.lock, self.me())));
                for _ in 0..self.random.below(2_000) {
                    std::hint::spin_loop();
                }
                self.unlock();
            }
            _ => {}
        }
    }

    fn play(&mut self) {
        let (table, n) = (self.table, N_PROCESSES as u64);
        loop {
            self.lock(None);
            while table.turn.load(Ordering::Relaxed) % n != self.idx as u64 {
                self.wait(&table.own[self.idx], None);
                table.n_moved.fetch_add(1, Ordering::Relaxed);
            }
            let turn = table.turn.load(Ordering::Relaxed);
            table.turn.store(turn + 1, Ordering::Relaxed);
            let next = (self.idx + 1) % N_PROCESSES;
            table.own[next].notify(1, &self.family, Some((&table.lock, self.me())));
            self.unlock();
            // Its last turn: another one of its own would be one too many, and sleepers were moved
            // often. All come to the same end, since neither number falls.
            if turn + n >= N_TURNS && table.n_moved.load(Ordering::Relaxed) > N_TURNS / 10 {
                return;
            }
            self.disturb();
        }
    }
}

fn start(table: &Table, idx: usize) -> Forked {
    let play = || {
        // SAFETY: takes no pointer.
        unsafe { libc::alarm(ALARM) };
        let family = Numbered(idx as u32 + 1);
        let random = Random::new(Random::SEED ^ (idx as u64) << 32);
        Player { table, family, idx, random }.play();
        true
    };
    // SAFETY: the only test of this program, and it starts no thread.
    unsafe { fork(play) }
}

#[test]
fn nobody_who_is_notified_sleeps_on() {
    let len = size_of::<Table>().next_multiple_of(4096);
    let file = MemoryFile::create("condition-test", len as u64).expect("memory");
    let map = file.map(len).expect("a mapping");
    // SAFETY: mapped, aligned, and zeros are a free lock and empty rows.
    let table: &Table = unsafe { map.base().cast().as_ref() };
    let children: Vec<_> = (0..N_PROCESSES).map(|idx| start(table, idx)).collect();
    for child in children {
        let code = child.exit_code();
        let turn = table.turn.load(Ordering::Relaxed);
        assert_eq!(code, 0, "a process was forgotten at turn {turn}, or failed");
    }
    assert!(table.turn.load(Ordering::Relaxed) >= N_TURNS);
}
