//! Where the tables of long waits are, for the search for deadlocks between processes.
//!
//! A party's table is a block that it holds and its line in the party table names. Whoever reads
//! another's may find it gone, or something else in its place: all of it is atomics inside the
//! mapping, and the search believes nothing that it has not read twice.

use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use manyhands_sync::robust::Parties;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waits::{Board, Family, ReadOnly};
use manyhands_sys::atomic::Ordering;
use manyhands_sys::per_process::PerProcess;

use crate::heap::Heap;
use crate::party::Party;

/// A heap seen as a family: it can be given memory.
pub struct FamilyOf(pub Arc<Heap>);

/// Only one thread of a process makes its table.
static MAKING: PerProcess<Mutex<()>> = PerProcess::new();

/// A fork in the middle of making the parent's table must not keep the child from making its own.
pub(crate) fn forget_after_fork() {
    MAKING.forget();
}

impl Parties for FamilyOf {
    fn me(&self) -> u32 {
        self.0.me().number()
    }

    fn is_alive(&self, party: u32) -> bool {
        self.0.is_alive(Party::from_number(party))
    }
}

impl Family for FamilyOf {
    fn board_of(&self, party: u32) -> Option<ReadOnly<'_, Board>> {
        self.table_of(party).map(ReadOnly::new)
    }

    fn my_board(&self) -> Option<&Board> {
        let heap = &self.0;
        let me = heap.me().number();
        if let Some(board) = self.table_of(me) {
            return Some(board);
        }
        let _one = MAKING.get().lock().unwrap_or_else(PoisonError::into_inner);
        let place = heap.party_waits(heap.me())?;
        if place.load(Ordering::Acquire) == 0 {
            let mut block = heap.alloc(size_of::<Board>() as u64).ok()?;
            block.fill(0);
            // Held until this process's end: who buries it gives the block back.
            let at = block.leave_to_receiver();
            place.store(at.offset, Ordering::Release);
        }
        self.table_of(me)
    }

    fn offset_of(&self, lock: &SharedLock) -> u64 {
        let base = self.0.address(0, 0).as_ptr() as usize;
        // A lock that lies elsewhere has no place: what comes out is none.
        (ptr::from_ref(lock) as u64).wrapping_sub(base as u64)
    }

    fn lock_at(&self, offset: u64) -> Option<ReadOnly<'_, SharedLock>> {
        let at = self.0.valid(offset, size_of::<SharedLock>(), align_of::<SharedLock>())?;
        // SAFETY: inside the mapping, aligned, and made of atomics.
        Some(ReadOnly::new(unsafe { at.cast().as_ref() }))
    }

    fn pid_of(&self, party: u32) -> Option<u32> {
        self.0.pid_of(Party::from_number(party))
    }
}

impl FamilyOf {
    fn table_of(&self, party: u32) -> Option<&Board> {
        let at = self.0.party_waits(Party::from_number(party))?.load(Ordering::Acquire);
        let at = self.0.valid(at, size_of::<Board>(), align_of::<Board>())?;
        // SAFETY: inside the mapping, aligned, and made of atomics.
        Some(unsafe { at.cast().as_ref() })
    }
}

impl Heap {
    /// The address of what may lie at an offset that somebody noted; `None`: nothing can, or this
    /// process cannot look.
    fn valid(&self, offset: u64, len: usize, align: usize) -> Option<ptr::NonNull<u8>> {
        let end = offset.checked_add(len as u64)?;
        let is_inside = self.layout.region_of(offset).is_some() && end <= self.layout.file_len();
        let is_valid = is_inside && offset.is_multiple_of(align as u64);
        is_valid.then(|| self.reach(offset, len as u64).ok())?
    }
}
