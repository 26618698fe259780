//! What a shared queue looks like in the heap: its header, its segments, the records in them.
//!
//! ```text
//! header    constants │ put side │ put notes │ get side │ get note │ lines of sleepers │ n_done
//! segment   ticket, next │ record │ record │ … │ (LINK)
//! record    head: len, kind, n_handles │ handles │ bytes, or the ticket of a block │ up to 8
//! ```
//!
//! All words are atomics, also where a lock orders them: a process that was killed and one that
//! mends after it see the same bytes. The bytes of a record are plain; the word of the put side
//! that is stored after them publishes them.

use std::ptr::NonNull;

use manyhands_shm::{Heap, OutOfMemory, Ticket};
use manyhands_sync::robust::RobustLock;
use manyhands_sys::atomic::{AtomicBool, AtomicU64, Ordering};
use manyhands_sys::futex::Shared;

use crate::line::Line;

/// The payload of the object.
#[repr(C, align(64))]
pub(super) struct Header {
    /// Items there may be; 0: no limit.
    pub(super) maxsize: AtomicU64,
    pub(super) is_closed: AtomicBool,
    pub(super) put: Side,
    pub(super) put_notes: PutNotes,
    pub(super) get: Side,
    pub(super) get_note: GetNote,
    pub(super) getters: Line<Shared>,
    pub(super) putters: Line<Shared>,
    pub(super) joiners: Line<Shared>,
    pub(super) n_done: Done,
}

/// One end of the chain of segments: who works there, and how far it has come.
///
/// | word | meaning |
/// |---|---|
/// | count × 2 + turn | so many items were put (got); the next goes to (comes from) `ends[turn]` |
#[repr(C, align(64))]
pub(super) struct Side {
    pub(super) lock: RobustLock,
    word: AtomicU64,
    ends: [[AtomicU64; 2]; 2],
    /// Of the get side: items that were put, as far as it knows.
    pub(super) n_seen: AtomicU64,
}

/// What a putter has handed to the family and not linked yet.
#[repr(C, align(64))]
pub(super) struct PutNotes {
    pub(super) segment: Note,
    pub(super) body: Note,
}

/// What a getter has unlinked and not given back yet.
#[repr(C, align(64))]
pub(super) struct GetNote {
    pub(super) segment: Note,
    /// Messages that died with their getter.
    pub(super) n_lost: AtomicU64,
}

/// Items that were reported as done.
#[repr(C, align(64))]
pub(super) struct Done(pub(super) AtomicU64);

/// A block, and the word of the side when it was written down; 0: nothing.
#[repr(C)]
pub(super) struct Note {
    word: AtomicU64,
    ticket: [AtomicU64; Ticket::N_WORDS],
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Side>() == 64);
    assert!(size_of::<PutNotes>() == 64);
    assert!(size_of::<Header>() == 9 * 64);
};

/// How far a side has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) n: u64,
    turn: usize,
}

/// A place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Offset of the segment in the heap; 0: there is none yet.
    pub(super) segment: u64,
    /// Bytes from its start.
    pub(super) at: u64,
}

impl Side {
    /// How far it has come. Acquire: meets the Release in `publish`.
    #[inline]
    pub(super) fn progress(&self) -> Progress {
        Progress::of(self.word.load(Ordering::SeqCst))
    }

    #[inline]
    pub(super) fn end(&self, progress: Progress) -> End {
        let [segment, at] = &self.ends[progress.turn];
        End { segment: segment.load(Ordering::Relaxed), at: at.load(Ordering::Relaxed) }
    }

    /// The one store by which the side moves on from `before`: to `n` items, and to `end`.
    #[inline]
    pub(super) fn publish(&self, before: Progress, n: u64, end: End) -> Progress {
        let after = Progress { n, turn: before.turn ^ 1 };
        let [segment, at] = &self.ends[after.turn];
        segment.store(end.segment, Ordering::Relaxed);
        at.store(end.at, Ordering::Relaxed);
        // SeqCst: Release for what was written, and before the look at who sleeps.
        self.word.store(after.word(), Ordering::SeqCst);
        after
    }

    /// Before anybody else knows the queue.
    pub(super) fn begin_at(&self, end: End) {
        self.publish(Progress { n: 0, turn: 1 }, 0, end);
    }
}

impl Progress {
    #[inline]
    const fn of(word: u64) -> Self {
        Self { n: word >> 1, turn: (word & 1) as usize }
    }

    #[inline]
    const fn word(self) -> u64 {
        self.n << 1 | self.turn as u64
    }
}

impl Note {
    const WRITTEN: u64 = 1 << 63;

    /// Writes `ticket` down while the side is at `now`.
    pub(super) fn write(&self, ticket: Ticket, now: Progress) {
        for (word, value) in self.ticket.iter().zip(ticket.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        // Release: who sees that something is written sees what.
        self.word.store(now.word() | Self::WRITTEN, Ordering::Release);
    }

    pub(super) fn clear(&self) {
        self.word.store(0, Ordering::Release);
    }

    /// What a dead party has written down, and whether the side has moved on since.
    pub(super) fn left_behind(&self, now: Progress) -> Option<(Ticket, bool)> {
        let word = self.word.load(Ordering::Acquire);
        if word == 0 {
            return None;
        }
        let words = std::array::from_fn(|idx| self.ticket[idx].load(Ordering::Relaxed));
        Some((Ticket::from_words(words), word != now.word() | Self::WRITTEN))
    }
}

/// In front of the records.
#[repr(C, align(64))]
pub(super) struct SegmentHead {
    ticket: [AtomicU64; Ticket::N_WORDS],
    next: AtomicU64,
}

/// Where the first record of a segment lies.
pub(super) const FIRST_RECORD: u64 = size_of::<SegmentHead>() as u64;

/// A segment, in this process.
#[derive(Clone, Copy)]
pub(super) struct Segment<'heap> {
    base: NonNull<u8>,
    head: &'heap SegmentHead,
    offset: u64,
}

impl<'heap> Segment<'heap> {
    /// The segment at `offset`, where there is one, of which this process may know nothing yet.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    #[inline]
    pub(super) fn reach(heap: &'heap Heap, offset: u64) -> Result<Self, OutOfMemory> {
        heap.reach(offset, FIRST_RECORD)?;
        let segment = Self::at(heap, offset);
        heap.reach(offset, segment.len())?;
        Ok(segment)
    }

    /// The segment at `offset`, which was reached before.
    #[inline]
    pub(super) fn at(heap: &'heap Heap, offset: u64) -> Self {
        let base = heap.address(offset, FIRST_RECORD);
        // SAFETY: inside the heap, aligned as every block is, and made of atomics.
        let head = unsafe { base.cast::<SegmentHead>().as_ref() };
        Self { base, head, offset }
    }

    /// Makes the block of `ticket` a segment.
    pub(super) fn begin(heap: &'heap Heap, ticket: Ticket) -> Self {
        let segment = Self::at(heap, ticket.at().offset);
        for (word, value) in segment.head.ticket.iter().zip(ticket.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        segment.head.next.store(0, Ordering::Relaxed);
        segment
    }

    pub(super) fn first(&self) -> End {
        End { segment: self.offset, at: FIRST_RECORD }
    }

    pub(super) fn ticket(&self) -> Ticket {
        let word = |idx: usize| self.head.ticket[idx].load(Ordering::Relaxed);
        Ticket::from_words(std::array::from_fn(word))
    }

    #[inline]
    pub(super) fn len(&self) -> u64 {
        self.head.ticket[1].load(Ordering::Relaxed)
    }

    pub(super) fn next(&self) -> u64 {
        self.head.next.load(Ordering::Relaxed)
    }

    pub(super) fn set_next(&self, next: u64) {
        self.head.next.store(next, Ordering::Relaxed);
    }

    /// Whether a record of `len` bytes can be written at `at`.
    #[inline]
    pub(super) fn has_room(&self, at: u64, len: u64) -> bool {
        at + len <= self.len()
    }

    /// `len` bytes of a record that lies, or is about to lie, at `at`.
    #[inline]
    pub(super) fn bytes(&self, at: u64, len: u64) -> NonNull<u8> {
        assert!(self.has_room(at, len), "a record at {at} is longer than its segment");
        // SAFETY: inside the segment, which was reached as a whole.
        unsafe { self.base.add(at as usize) }
    }
}

/// The first eight bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    /// Of the bytes, without handles.
    pub(super) len: u32,
    pub(super) kind: RecordKind,
    /// Below 2^24.
    pub(super) n_handles: u32,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum RecordKind {
    /// The bytes.
    Inline = 1,
    /// The ticket of the block that holds the bytes.
    Block = 2,
    /// Nothing: the next record is the first of the next segment.
    Link = 3,
}

/// Bytes of a record's head; what is left of a segment is none or at least so much.
pub(super) const HEAD_LEN: u64 = 8;

impl RecordHead {
    /// More handles have no room in the head.
    pub(super) const MAX_HANDLES: usize = (1 << 24) - 1;

    pub(super) const LINK: Self = Self { len: 0, kind: RecordKind::Link, n_handles: 0 };

    /// Bytes of the whole record, a multiple of eight.
    #[inline]
    pub(super) const fn record_len(self) -> u64 {
        let handles = self.n_handles as u64 * manyhands_shm::Handle::LEN as u64;
        (HEAD_LEN + handles + self.len as u64).next_multiple_of(8)
    }

    #[inline]
    pub(super) const fn to_word(self) -> u64 {
        self.len as u64 | (self.kind as u64) << 32 | (self.n_handles as u64) << 40
    }

    #[inline]
    pub(super) const fn from_word(word: u64) -> Self {
        let kind = match (word >> 32) as u8 {
            1 => RecordKind::Inline,
            2 => RecordKind::Block,
            _ => RecordKind::Link,
        };
        Self { len: word as u32, kind, n_handles: (word >> 40) as u32 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{RecordHead, RecordKind};

    #[test]
    fn the_head_of_a_record_keeps_the_largest_numbers_that_are_put() {
        for kind in [RecordKind::Inline, RecordKind::Block] {
            let n_handles = RecordHead::MAX_HANDLES as u32;
            let head = RecordHead { len: u32::MAX, kind, n_handles };
            assert_eq!(RecordHead::from_word(head.to_word()), head);
        }
    }
}
