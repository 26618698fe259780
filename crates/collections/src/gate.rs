//! A long, reentrant lock beside a container: one thread keeps all others out for several
//! operations, with anything in between, also a wait.
//!
//! | owner | meaning | left by |
//! |---|---|---|
//! | 0 | open | `try_close`: compare-and-swap |
//! | party, thread | closed: only that thread gets in | its last `open`; whoever finds the party dead: compare-and-swap |
//!
//! `depth` is written by the owner only. Every operation of the container looks at `owner` while it
//! has the container's short lock, and leaves again if it is another's: so whoever closes the gate
//! and then gets the short lock once knows that nobody else is inside.

use std::ptr;
use std::time::Duration;

use manyhands_shm::Heap;
use manyhands_sync::deadlock::{Description, EndedBy, Resource, Site};
use manyhands_sync::robust::{Owner, Parties};
use manyhands_sync::sleep::{Slept, Wait, Waiting, sleep};
use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Shared};

/// The words of a gate; open if zero.
#[repr(C)]
pub struct Gate {
    owner: AtomicU64,
    depth: AtomicU32,
    /// Counts up when the gate is opened and somebody waits.
    bell: Futex<Shared>,
    n_waiting: AtomicU32,
    _unused: u32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Gate>() == 24);

/// The longest sleep before the owner is looked at: it may have died without ringing.
const SLICE: Duration = Duration::from_millis(20);

impl Gate {
    /// Closes the gate to all other threads, once more if it is the caller's already. False: it is
    /// another's.
    pub fn try_close(&self, heap: &Heap) -> bool {
        let me = word_of(Owner::current(heap));
        let now = self.owner.load(Ordering::Relaxed);
        if now == me {
            self.depth.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        if now != 0 && self.is_living(heap, now) {
            return false;
        }
        // Acquire: meets the Release in `open`.
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        let taken = self.owner.compare_exchange(now, me, success, failure).is_ok();
        if taken {
            self.depth.store(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes back one closing. False: the gate is not the caller's.
    pub fn open(&self, heap: &Heap) -> bool {
        if self.owner.load(Ordering::Relaxed) != word_of(Owner::current(heap)) {
            return false;
        }
        if self.depth.fetch_sub(1, Ordering::Relaxed) > 1 {
            return true;
        }
        // SeqCst, and the load after it: either we see who is about to sleep, or it sees us.
        self.owner.store(0, Ordering::SeqCst);
        if self.n_waiting.load(Ordering::SeqCst) != 0 {
            self.bell.fetch_add(1, Ordering::SeqCst);
            self.bell.wake_all();
        }
        true
    }

    /// Whether the gate is closed to the calling thread.
    #[inline]
    pub fn is_closed(&self, heap: &Heap) -> bool {
        let owner = self.owner.load(Ordering::Acquire);
        owner != 0 && self.is_anothers(heap, owner)
    }

    /// Whether the calling thread has closed it.
    pub fn is_mine(&self, heap: &Heap) -> bool {
        self.owner.load(Ordering::Relaxed) == word_of(Owner::current(heap))
    }

    /// Sleeps until the gate is open or its owner is dead, or as `waiting` ends it.
    pub fn wait(&self, heap: &Heap, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        self.n_waiting.fetch_add(1, Ordering::SeqCst);
        let end = self.wait_counted(heap, deadline, waiting);
        self.n_waiting.fetch_sub(1, Ordering::SeqCst);
        end
    }

    /// The same for a caller that goes on waiting whatever happens.
    pub fn wait_until_open(&self, heap: &Heap) {
        let mut waiting = Waiting::new(self, Site::Unknown);
        while self.wait(heap, None, &mut waiting) != Wait::Done {}
    }

    fn wait_counted(
        &self,
        heap: &Heap,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
    ) -> Wait {
        loop {
            let bell = self.bell.load(Ordering::SeqCst);
            let owner = self.owner.load(Ordering::SeqCst);
            if owner == 0 || !self.is_anothers(heap, owner) {
                return Wait::Done;
            }
            if deadline.is_some_and(Deadline::has_passed) {
                return Wait::TimedOut;
            }
            let slice = Deadline::after(SLICE);
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            match sleep(&self.bell, bell, Some(until), waiting) {
                // A slice may have ended, or the deadline come: the words tell.
                Slept::Woken | Slept::TimedOut => {}
                Slept::Interrupted | Slept::Stuck => return Wait::Interrupted,
            }
        }
    }

    fn is_anothers(&self, heap: &Heap, owner: u64) -> bool {
        owner != word_of(Owner::current(heap)) && self.is_living(heap, owner)
    }

    fn is_living(&self, heap: &Heap, owner: u64) -> bool {
        Parties::is_alive(heap, (owner >> 32) as u32)
    }
}

/// Another process may always end a wait, so none is ever said to be a deadlock.
impl Resource for Gate {
    fn describe(&self) -> Description {
        Description { kind: "managed container", name: None, id: ptr::from_ref(self) as usize }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Nobody
    }
}

fn word_of(owner: Owner) -> u64 {
    u64::from(owner.party) << 32 | u64::from(owner.thread)
}
