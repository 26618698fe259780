//! One slot of a lane: a task on its way to a worker, and its reply on the way back.
//!
//! | state   | who moves it on, and how                                                      |
//! |---------|-------------------------------------------------------------------------------|
//! | Free    | root publishes: fills the content, stores Pending                             |
//! | Pending | worker claims: CAS to Running; root takes it back: CAS to Revoked             |
//! | Running | worker replies: fills the content, stores Done                                |
//! | Revoked | worker passes it: stores Done with [`ReplyKind::None`]                        |
//! | Done    | root harvests: reads the content, stores Free                                 |
//!
//! The word also carries the slot's *position* (how many tasks the lane has seen before), so a
//! worker that was stopped for a while can never claim a later task by mistake.

use std::cell::UnsafeCell;

use manyhands_shm::BlockRef;
use manyhands_sys::atomic::{AtomicU64, Ordering};

/// Bytes that travel in the slot itself; longer ones lie in a block of the heap.
pub(crate) const INLINE_BYTES: usize = 424;

/// The task's start must be announced: it has a timeout.
pub(crate) const ANNOUNCE_START: u32 = 1;

#[repr(C, align(64))]
pub(crate) struct Slot {
    word: AtomicU64,
    /// When the worker claimed the task; 0 until then.
    pub(crate) started_ns: AtomicU64,
    pub(crate) content: UnsafeCell<Content>,
}

/// What lies in a slot. Owned by whom the word says: root while Free, worker while Running, root
/// again when Done.
#[repr(C)]
pub(crate) struct Content {
    pub(crate) function_id: u64,
    pub(crate) function: BlockRef,
    /// The bytes, if they are not inline (`offset` 0: inline).
    pub(crate) block: BlockRef,
    pub(crate) finished_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) flags: u32,
    pub(crate) kind: u32,
    pub(crate) inline_len: u32,
    /// How many handles of shared objects the last bytes of a reply are.
    pub(crate) n_carried: u32,
    pub(crate) inline: [u8; INLINE_BYTES],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 512);

/// What a worker sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ReplyKind {
    /// Nothing: the slot was revoked.
    None = 0,
    /// The task's value.
    Value = 1,
    /// What the task raised.
    Raised = 2,
    /// The value nothing (`None`, `()`): no bytes at all.
    Nothing = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Pending,
    Running,
    Revoked,
    Done,
}

const STATE_BITS: u32 = 3;

impl State {
    const fn at(self, position: u64) -> u64 {
        position << STATE_BITS | self as u64
    }

    const fn of(word: u64) -> Self {
        match word & ((1 << STATE_BITS) - 1) {
            1 => Self::Pending,
            2 => Self::Running,
            3 => Self::Revoked,
            4 => Self::Done,
            _ => Self::Free,
        }
    }
}

impl Slot {
    /// The state, if the slot is at `position`; a slot that has not got there yet is Free.
    pub(crate) fn state(&self, position: u64) -> State {
        // Acquire: meets the Release of `put`; whoever sees a state sees the content.
        let word = self.word.load(Ordering::Acquire);
        if word >> STATE_BITS == position { State::of(word) } else { State::Free }
    }

    /// Moves the slot to a state only the caller may give it.
    pub(crate) fn put(&self, position: u64, state: State) {
        // Release: meets the Acquire of `state` and `swap`.
        self.word.store(state.at(position), Ordering::Release);
    }

    /// Pending → Running (worker) or Revoked (root): one of them wins.
    pub(crate) fn swap_from_pending(&self, position: u64, state: State) -> bool {
        self.word
            .compare_exchange(
                State::Pending.at(position),
                state.at(position),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok()
    }
}

impl ReplyKind {
    pub(crate) const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Value,
            2 => Self::Raised,
            3 => Self::Nothing,
            _ => Self::None,
        }
    }
}
