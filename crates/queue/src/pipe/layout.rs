//! What a pipe looks like in the family heap: two rings of records.
//!
//! ```text
//! Core        closed sides
//! Direction   from side 0 to side 1: positions, turns, event counts
//! Direction   from side 1 to side 0
//! bytes       one ring for each direction that there is
//! ```
//! Positions count up for ever; where they lie in the ring is the rest of their division by its
//! capacity. Bytes between `head` and `tail` are records that were sent and not received.
//!
//! All zeros is a pipe without messages; only the capacities have to be set.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use manyhands_sync::event_count::{ALL, EventCount, changed};
use manyhands_sys::futex::Shared;

use super::turn::Turn;

/// The start of a pipe's memory.
#[repr(C, align(64))]
pub(crate) struct Core {
    /// Bit 0: nobody has side 0 any more; bit 1: side 1.
    pub(crate) closed: AtomicU32,
    /// The serial number of the pipe's object: tells it from others that come to lie here. Never
    /// changes.
    pub(crate) serial: AtomicU32,
    /// The handles of the ends, see `End::look_for_peer`. Never change.
    pub(crate) ends: [[AtomicU64; 3]; 2],
    /// The broker of the process that has the pipe's sockets, see `socket_pair.rs`; 0: none.
    pub(crate) broker: AtomicU64,
    pub(crate) directions: [Direction; 2],
}

/// One way through the pipe.
#[repr(C, align(64))]
pub(crate) struct Direction {
    /// Written by the sender whose turn it is: all before was published.
    pub(crate) tail: AtomicU64,
    /// 1 + the position of the first record of a message of several records that is not published
    /// whole; 0: there is none.
    pub(crate) midway: AtomicU64,
    /// What `head` was when the senders last looked.
    pub(crate) head_seen: AtomicU64,
    pub(crate) sender: Turn,
    _senders_line: [u64; 4],

    /// Written by the receiver whose turn it is: all before was received, and may be overwritten.
    pub(crate) head: AtomicU64,
    pub(crate) receiver: Turn,
    _receivers_line: [u64; 6],

    /// Notified when there is more to receive, or the senders' side was closed.
    pub(crate) data: EventCount<Shared>,
    /// Notified when there is the room that `room_wanted` says, or the receivers' side was closed.
    pub(crate) room: EventCount<Shared>,
    pub(crate) room_wanted: AtomicU32,
    /// Notified when something was received: for those who watch a descriptor.
    pub(crate) drained: EventCount<Shared>,
    /// Notified at the end of a sender's turn.
    pub(crate) sender_left: EventCount<Shared>,
    /// Notified at the end of a receiver's turn.
    pub(crate) receiver_left: EventCount<Shared>,
    /// Bytes of the ring; 0: this direction does not exist. Never changes.
    pub(crate) capacity: AtomicU64,
    /// Where the ring starts, from the start of the core. Never changes.
    pub(crate) at: AtomicU64,
    _events_line: [u64; 3],
}

const _: () = assert!(size_of::<Direction>() == 192 && size_of::<Core>() == 448);

/// In front of each record, whose start is a multiple of its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Bytes of the body.
    pub(crate) len: u32,
    pub(crate) flags: Flags,
    /// In the first record of a message: bytes of the message's body.
    pub(crate) total: u64,
}

/// Bytes of a [`Record`], and what its position is a multiple of.
pub(crate) const HEADER: u64 = 16;

/// What a record is. The high half is the message's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u32);

impl Flags {
    /// A message starts with it.
    pub(crate) const FIRST: Self = Self(1);
    /// A message is whole with it.
    pub(crate) const LAST: Self = Self(2);
    /// Its body is handles, not part of the message's body.
    pub(crate) const HANDLES: Self = Self(4);
    /// The message before it will never be whole.
    pub(crate) const ABORT: Self = Self(8);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn tagged(self, tag: u16) -> Self {
        Self(self.0 | (tag as u32) << 16)
    }

    pub(crate) const fn tag(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

impl Record {
    /// Bytes it takes in the ring.
    pub(crate) const fn size(self) -> u64 {
        HEADER + (self.len as u64).next_multiple_of(HEADER)
    }
}

impl Core {
    /// Bytes of a core, before the rings.
    pub(crate) const LEN: u64 = size_of::<Self>() as u64;

    /// Whether `len` bytes are enough for a core and the rings that it says it has.
    ///
    /// # Safety
    /// A pipe was laid out at `core`, in `len` bytes, and is there meanwhile.
    pub(crate) unsafe fn fits(core: NonNull<u8>, len: u64) -> bool {
        if len < Self::LEN {
            return false;
        }
        // SAFETY: the caller's promise; the core is made of atomics.
        let core: &Self = unsafe { core.cast().as_ref() };
        core.directions.iter().all(|direction| {
            let capacity = direction.capacity.load(Ordering::Relaxed);
            let end = direction.at.load(Ordering::Relaxed).checked_add(capacity);
            capacity.is_multiple_of(HEADER) && end.is_some_and(|end| end <= len)
        })
    }

    /// Whether nobody has `side` any more.
    #[inline]
    pub(crate) fn is_closed(&self, side: usize) -> bool {
        // Acquire: meets the Release of `close`; who sees it sees all that was sent before.
        self.closed.load(Ordering::Acquire) & 1 << side != 0
    }

    /// Nobody has `side` any more: whoever waits for it hears of it.
    pub(crate) fn close(&self, side: usize) {
        let before = self.closed.fetch_or(1 << side, Ordering::Release);
        let other = 1 - side;
        if before & 1 << other != 0 {
            // Nobody is left who could wait.
            return;
        }
        let changed = changed();
        // The other side receives what this one sent, and sends what this one received.
        let (incoming, outgoing) = (&self.directions[side], &self.directions[other]);
        incoming.data.notify_in_any_case(ALL);
        outgoing.room.notify_in_any_case(ALL);
        outgoing.sender_left.notify_all_of(changed);
        incoming.receiver_left.notify_all_of(changed);
        incoming.drained.notify_all_of(changed);
    }
}

/// One direction with its bytes, for whoever keeps the pipe alive meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) words: &'a Direction,
    ring: NonNull<u8>,
    capacity: u64,
}

impl<'a> Way<'a> {
    /// The direction from `side` to the other one; `None` if there is none.
    ///
    /// # Safety
    /// A pipe was laid out at `core`, and stays there for as long as `'a`.
    pub(crate) unsafe fn from_side(core: NonNull<Core>, side: usize) -> Option<Self> {
        // SAFETY: the caller's promise; the core is made of atomics.
        let words = unsafe { &core.as_ref().directions[side] };
        let capacity = words.capacity.load(Ordering::Relaxed);
        let at = words.at.load(Ordering::Relaxed) as usize;
        // SAFETY: the ring lies behind the core, in the same object.
        let ring = unsafe { core.cast::<u8>().add(at) };
        (capacity != 0).then_some(Self { words, ring, capacity })
    }

    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The record at `position`, which was published or is the caller's to publish.
    pub(crate) fn record_at(&self, position: u64) -> Record {
        let [what, total] = self.header_at(position);
        let what = what.load(Ordering::Relaxed);
        let flags = Flags((what >> 32) as u32);
        Record { len: what as u32, flags, total: total.load(Ordering::Relaxed) }
    }

    /// Writes the header of a record that is the caller's to publish.
    pub(crate) fn write_record(&self, position: u64, record: Record) {
        let [what, total] = self.header_at(position);
        let flags = u64::from(record.flags.0) << 32;
        what.store(flags | u64::from(record.len), Ordering::Relaxed);
        total.store(record.total, Ordering::Relaxed);
    }

    fn header_at(&self, position: u64) -> &'a [AtomicU64; 2] {
        let at = (position % self.capacity) as usize;
        // SAFETY: positions of records and capacities are multiples of 16, so the header lies
        // in the ring whole and aligned. Whoever may read it while it is written (`poll` looks
        // without a turn) does so atomically.
        unsafe { self.ring.add(at).cast().as_ref() }
    }

    /// Copies bytes into the ring from `position` on, where the caller is to publish.
    pub(crate) fn write(&self, position: u64, bytes: &[u8]) {
        let at = (position % self.capacity) as usize;
        let until_end = bytes.len().min(self.capacity as usize - at);
        let (first, rest) = bytes.split_at(until_end);
        // SAFETY: both parts lie in the ring, at places that only the caller may touch.
        unsafe {
            self.ring.add(at).as_ptr().copy_from_nonoverlapping(first.as_ptr(), first.len());
            self.ring.as_ptr().copy_from_nonoverlapping(rest.as_ptr(), rest.len());
        }
    }

    /// Copies `len` bytes out of the ring.
    ///
    /// # Safety
    /// - The bytes were published and not yet received, and it is the caller's turn to receive.
    /// - `into` is good for writes of `len` bytes, and not in the ring.
    pub(crate) unsafe fn read(&self, position: u64, into: *mut u8, len: usize) {
        let at = (position % self.capacity) as usize;
        let until_end = len.min(self.capacity as usize - at);
        // SAFETY: both parts lie in the ring and nobody writes there; the rest is the caller's
        // promise.
        unsafe {
            into.copy_from_nonoverlapping(self.ring.add(at).as_ptr(), until_end);
            into.add(until_end).copy_from_nonoverlapping(self.ring.as_ptr(), len - until_end);
        }
    }

    /// Whether nothing is there to receive.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Acquire: meets the Release of the publishing store.
        self.words.tail.load(Ordering::Acquire) == self.words.head.load(Ordering::Relaxed)
    }
}
