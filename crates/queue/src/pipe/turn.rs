//! Whose turn it is to send, or to receive, among the threads and processes that share an end.
//!
//! | word | meaning | left by |
//! |---|---|---|
//! | 0 | nobody's | compare-and-swap by whoever comes |
//! | party, thread | that thread's | its release; if the party is dead, compare-and-swap by whoever finds out |
//!
//! A turn may last: a large message is sent in parts, and its sender sleeps while the other side
//! does not read. So those who wait for it sleep on an event count of its own, and
//! can be interrupted. What a dead owner left behind is mended by its successor from the words of
//! the ring alone, see `layout.rs`.

use std::sync::atomic::{AtomicU64, Ordering};

use manyhands_shm::{Heap, Party};

/// See the table above. All zeros: nobody's.
#[repr(transparent)]
pub(crate) struct Turn {
    word: AtomicU64,
}

/// A thread of a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    /// The calling thread.
    #[inline]
    pub(crate) fn me(heap: &Heap) -> Self {
        let thread = manyhands_sys::thread_id::me();
        Self(u64::from(heap.me().number()) << 32 | u64::from(thread))
    }

    /// Whether the caller is of the same process: false in a child that was forked meanwhile.
    #[inline]
    pub(crate) fn is_of(self, heap: &Heap) -> bool {
        self.party() == heap.me()
    }

    const fn party(self) -> Party {
        Party::from_number((self.0 >> 32) as u32)
    }
}

impl Turn {
    /// Whether it is the caller's turn now.
    #[inline]
    pub(crate) fn try_take(&self, me: Owner, heap: &Heap) -> bool {
        // Acquire: meets the Release of `leave`.
        let taken = self.word.compare_exchange(0, me.0, Ordering::Acquire, Ordering::Relaxed);
        match taken {
            Ok(_) => true,
            Err(owner) => self.take_from_buried(Owner(owner), me, heap),
        }
    }

    #[cold]
    fn take_from_buried(&self, owner: Owner, me: Owner, heap: &Heap) -> bool {
        !heap.is_listed(owner.party()) && self.replace(owner, me)
    }

    /// Takes the turn from an owner that the kernel says is dead. Microseconds.
    #[cold]
    pub(crate) fn try_take_from_dead(&self, me: Owner, heap: &Heap) -> bool {
        let owner = Owner(self.word.load(Ordering::Relaxed));
        owner.0 != 0 && !heap.is_alive(owner.party()) && self.replace(owner, me)
    }

    fn replace(&self, owner: Owner, me: Owner) -> bool {
        // Acquire: sees all that the dead one published.
        self.word.compare_exchange(owner.0, me.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Ends the caller's turn.
    #[inline]
    pub(crate) fn leave(&self) {
        // Release: meets the Acquire of `try_take`.
        self.word.store(0, Ordering::Release);
    }
}
