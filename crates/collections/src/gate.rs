//! A long lock beside a container: one thread keeps all others out for several operations, with
//! anything in between, also a wait.
//!
//! It is a [`SharedLock`] like those that people hold: reentrant, taken over when its owner's
//! process has died, and seen by whoever looks for deadlocks. Who waits for it acquires it, as a
//! lock, does what it came for, and gives it back.
//!
//! Every operation of the container looks at the owner while it has the container's short lock, and
//! leaves again if it is another's: so whoever closes the gate and then gets the short lock once
//! knows that nobody else is inside.

use std::sync::Arc;

use manyhands_shm::{FamilyOf, Heap};
use manyhands_sync::lock::Hold;
use manyhands_sync::overflow::Overflow;
use manyhands_sync::robust::{Owner, Parties};
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waiting::Waiting;
use manyhands_sync::sleep::Wait;

/// A lock that keeps others out of a container.
#[repr(transparent)]
pub struct Gate {
    lock: SharedLock,
}

impl Gate {
    /// Makes zeros an open gate that nobody else knows yet.
    pub(crate) fn set_up(&self) {
        self.lock.set_up(true, 0, None);
    }

    /// The lock, for who waits for it and for what reports say.
    pub const fn lock(&self) -> &SharedLock {
        &self.lock
    }

    /// Closes the gate to all other threads, once more if it is the caller's already. False: it is
    /// another's, who may be dead: [`Gate::close_slow`] finds out.
    ///
    /// # Errors
    /// [`Overflow`]: the caller has closed it as often as can be counted.
    pub fn try_close(&self, heap: &Heap) -> Result<bool, Overflow> {
        let me = Owner::current(heap);
        Ok(self.lock.try_lock(me, Hold::Scoped) || self.lock.try_lock_again(me)?)
    }

    /// Closes the gate, sleeping while it is another thread's. It is not asked whether it is the
    /// caller's own: then this is a deadlock, and reported as one.
    pub fn close_slow(&self, waiting: &mut Waiting<'_>) -> Wait {
        let wait = self.lock.lock_slow(waiting.me(), Hold::Scoped, waiting);
        if wait == Wait::Done {
            // Every operation is whole, whoever dies: nobody has to be told.
            let _ = self.lock.take_note();
        }
        wait
    }

    /// Takes back one closing. False: the gate is not the caller's.
    pub fn open(&self, heap: &Heap) -> bool {
        self.lock.unlock_mine(Owner::current(heap)).is_ok()
    }

    /// Whether the gate is closed to the calling thread.
    #[inline]
    pub fn is_closed(&self, heap: &Heap) -> bool {
        let Some(owner) = self.lock.owner() else { return false };
        owner != Owner::current(heap) && Parties::is_alive(heap, owner.party)
    }

    /// Whether the calling thread has closed it.
    pub fn is_mine(&self, heap: &Heap) -> bool {
        self.lock.is_of(Owner::current(heap))
    }

    /// Waits until the gate is open, whatever happens and whoever waits for whom.
    pub(crate) fn pass(&self, heap: &Arc<Heap>) {
        let family = FamilyOf(Arc::clone(heap));
        let mut waiting = Waiting::new(&family, None, false);
        while self.close_slow(&mut waiting) != Wait::Done {}
        self.open(heap);
    }
}
