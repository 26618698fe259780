//! A member of the family, by its number, and the line that it has in the table of members.
//!
//! What the words of a line mean, and who changes them, is in `members.rs`.

use manyhands_sys::atomic::{AtomicU32, AtomicU64};

/// A member of the family, as the holder of blocks. Not given out again while anybody might
/// remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Party(u32);

/// One line of the table.
#[repr(C, align(64))]
pub(crate) struct Entry {
    /// See the table in `members.rs`.
    pub(crate) word: AtomicU64,
    pub(crate) launcher: AtomicU32,
    /// Who takes over what the party publishes, and so buries it; 0: nobody in particular.
    pub(crate) buried_by: AtomicU32,
    /// When the process started, see [`Identity`](manyhands_sys::pid::Identity); 0: not known yet.
    pub(crate) started: AtomicU64,
    /// The first page of what it holds, see `object/holds.rs`; 0: nothing yet.
    pub(crate) holds_at: AtomicU64,
    /// A table of its long waits, see [`Heap::party_waits`]; 0: none yet.
    pub(crate) waits_at: AtomicU64,
    /// The pid of who used the entry last, for who finds its number in a lock.
    pub(crate) last_pid: AtomicU32,
    /// Bytes that it is asking the system for just now, see `charge.rs`.
    pub(crate) committing: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Entry>() == 64);

/// In a holder: no party's, but an object, and how many references it has.
pub(crate) const OBJECT: u32 = 1 << 31;

pub(crate) const IDX_BITS: u32 = 12;
/// Numbers with the highest bit set are no parties', see [`OBJECT`].
pub(crate) const USES_BITS: u32 = 31 - IDX_BITS;
pub(crate) const N_ENTRIES: u32 = 1 << IDX_BITS;

/// Bytes of the table.
pub(crate) const PARTIES_LEN: u64 = N_ENTRIES as u64 * size_of::<Entry>() as u64;

impl Party {
    /// Holder of what belongs to nobody in particular: messages on their way, and what lies in
    /// objects.
    pub const FAMILY: Self = Self(u32::MAX);

    /// Who is in no family: a forked copy that could not join.
    pub(crate) const NOBODY: Self = Self(0);

    /// The party with this number, as told by the process that launched it. A number that no
    /// party can have is nobody's.
    pub const fn from_number(number: u32) -> Self {
        let holder = Self::from_word(number);
        if is_object(holder) { Self::NOBODY } else { holder }
    }

    /// The holder that the word of a block names, which may be no party: see `object/word.rs`.
    pub(crate) const fn from_word(number: u32) -> Self {
        Self(number)
    }

    /// The number, to be told to a launched process.
    pub const fn number(self) -> u32 {
        self.0
    }

    pub(crate) const fn idx(self) -> u32 {
        self.0 % N_ENTRIES
    }
}

/// Whether the block is an object of the family, and not one party's.
pub(crate) const fn is_object(holder: Party) -> bool {
    holder.number() & OBJECT != 0 && holder.number() != Party::FAMILY.number()
}
