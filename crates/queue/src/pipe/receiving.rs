//! Receiving one message: first how long it is, then its bytes into memory of the caller's.

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use manyhands_shm::{Carried, Handle};
use manyhands_sync::event_count::{Changed, changed};
use manyhands_sync::sleep::{Wait, Waiting};
use manyhands_sys::clock::Deadline;

use super::end::End;
use super::layout::{Flags, HEADER, Record, Way};
use super::patience::{Patience, Step};
use super::sending::{call_back_cut_off, release_all};
use super::turn::Owner;

/// What a receiver finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message.
    Message {
        /// Bytes of its body.
        len: u64,
        /// What its sender said of it.
        tag: u16,
    },
    /// The end: all was received, and nobody is left who could send.
    EndOfFile,
}

/// A message being taken out of a pipe. Dropped before its first byte was read it stays in the
/// pipe; dropped later it is lost.
pub struct Receiving<'a> {
    end: &'a End,
    way: Way<'a>,
    me: Owner,
    progress: Progress,
    /// Bytes of the body that were read.
    n_read: usize,
    carried: Vec<Carried>,
    patience: Patience,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It waits for its turn, or for a message.
    Waiting { has_turn: bool },
    /// It is its turn and there is a message.
    Begun(Found),
    /// It has ended: with the whole message, or because that was cut off.
    Ended { is_whole: bool },
}

impl<'a> Receiving<'a> {
    pub(super) fn new(end: &'a End, way: Way<'a>) -> Self {
        Self {
            end,
            way,
            me: Owner::me(end.heap()),
            progress: Progress::Waiting { has_turn: false },
            n_read: 0,
            carried: Vec::new(),
            patience: Patience::new(),
        }
    }

    /// Waits for a message, or the end of file; [`Receiving::found`] tells.
    pub fn begin(&mut self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        self.wait(deadline, waiting, |this| this.attempt_to_begin())
    }

    /// What `begin` has found; `None`: nothing yet.
    pub const fn found(&self) -> Option<Found> {
        match self.progress {
            Progress::Begun(found) => Some(found),
            _ => None,
        }
    }

    /// Reads the body into `into`, which has room for it. To be called after `begin` until it is
    /// done; [`Receiving::is_whole`] tells if all is there.
    ///
    /// # Panics
    /// If no message was found, or `into` is too short for it.
    pub fn fill(
        &mut self,
        into: &mut [MaybeUninit<u8>],
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
    ) -> Wait {
        self.wait(deadline, waiting, |this| this.attempt_to_fill(into))
    }

    /// Whether the message was read whole. Else its sender died or gave up in the middle of it:
    /// what was read is to be thrown away, and the next message is another [`Receiving`]'s.
    pub fn is_whole(&self) -> bool {
        self.progress == Progress::Ended { is_whole: true }
    }

    /// The references that came with the message; to be dropped once its bytes were unpickled.
    pub fn take_carried(&mut self) -> Vec<Carried> {
        std::mem::take(&mut self.carried)
    }

    fn wait(
        &mut self,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
        mut attempt: impl FnMut(&mut Self) -> Step<'a>,
    ) -> Wait {
        let mut patience = std::mem::replace(&mut self.patience, Patience::new());
        let (end, way, me) = (self.end, self.way, self.me);
        let look = || {
            if way.words.receiver.try_take_from_dead(me, end.heap()) {
                // The next attempt takes it; whoever else comes first may.
                way.words.receiver.leave();
            }
            if way.words.sender.try_take_from_dead(me, end.heap()) {
                // It may have died in the middle of the message that we wait for.
                call_back_cut_off(&way);
                way.words.sender.leave();
                way.words.sender_left.notify_all();
            }
            end.look_for_peer();
        };
        let wait = patience.wait(end.heap(), deadline, waiting, || attempt(self), look);
        self.patience = patience;
        wait
    }

    fn attempt_to_begin(&mut self) -> Step<'a> {
        let words = self.way.words;
        match self.progress {
            Progress::Waiting { has_turn: false } => {
                // Nobody takes a turn to wait in: others may `poll`.
                if self.way.is_empty() && !self.end.is_peer_closed() {
                    return Step::Blocked(&words.data);
                }
                if !words.receiver.try_take(self.me, self.end.heap()) {
                    return Step::Blocked(&words.receiver_left);
                }
                self.progress = Progress::Waiting { has_turn: true };
            }
            Progress::Waiting { has_turn: true } => {}
            _ => return Step::Ended,
        }
        // In this order: what was sent before the side was closed is seen.
        let is_closed = self.end.is_peer_closed();
        if let Some(first) = skip_rest_of_lost(self.end, &self.way) {
            let found = Found::Message { len: first.total, tag: first.flags.tag() };
            self.progress = Progress::Begun(found);
            return Step::Ended;
        }
        if is_closed {
            self.progress = Progress::Begun(Found::EndOfFile);
            self.leave();
            return Step::Ended;
        }
        self.leave();
        self.progress = Progress::Waiting { has_turn: false };
        Step::Blocked(&words.data)
    }

    fn attempt_to_fill(&mut self, into: &mut [MaybeUninit<u8>]) -> Step<'a> {
        match self.progress {
            Progress::Begun(Found::Message { len, .. }) => {
                assert!(into.len() as u64 >= len, "no room for the message");
            }
            Progress::Ended { .. } => return Step::Ended,
            _ => panic!("there is no message to read"),
        }
        let words = self.way.words;
        loop {
            let is_closed = self.end.is_peer_closed();
            if self.way.is_empty() {
                return if is_closed { self.finish(false) } else { Step::Blocked(&words.data) };
            }
            let head = words.head.load(Ordering::Relaxed);
            let record = self.way.record_at(head);
            let begins = record.flags.has(Flags::FIRST);
            let is_cut_off = record.flags.has(Flags::ABORT) || begins && self.has_begun();
            if is_cut_off {
                // The next receiver skips what is to be skipped.
                return self.finish(false);
            }
            self.take(head, record, into);
            if record.flags.has(Flags::LAST) {
                return self.finish(true);
            }
            give_room(&self.way);
        }
    }

    const fn has_begun(&self) -> bool {
        self.n_read > 0 || !self.carried.is_empty()
    }

    /// Takes the record at `head` out.
    fn take(&mut self, head: u64, record: Record, into: &mut [MaybeUninit<u8>]) {
        let words = self.way.words;
        let after = head + record.size();
        if record.flags.has(Flags::HANDLES) {
            let handles = handles_of(&self.way, head, record);
            words.head.store(after, Ordering::Release);
            // SAFETY: those of a record that is taken out now, by who has the turn.
            self.carried.push(unsafe { Carried::from_message(self.end.heap(), &handles) });
            return;
        }
        let len = record.len as usize;
        let target = &mut into[self.n_read..self.n_read + len];
        // SAFETY: the record was published, it is our turn, and the target has room for its body.
        unsafe { self.way.read(head + HEADER, target.as_mut_ptr().cast(), len) };
        self.n_read += len;
        // Release: meets the Acquire of the senders, who may overwrite what was read.
        words.head.store(after, Ordering::Release);
    }

    fn finish(&mut self, is_whole: bool) -> Step<'a> {
        self.progress = Progress::Ended { is_whole };
        self.leave();
        Step::Ended
    }

    /// Ends this receiver's turn.
    fn leave(&self) {
        self.way.words.receiver.leave();
        let changed = give_room(&self.way);
        self.way.words.receiver_left.notify_all_of(changed);
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        let has_turn = match self.progress {
            Progress::Waiting { has_turn } => has_turn,
            Progress::Begun(Found::Message { .. }) => true,
            _ => false,
        };
        // In a forked child the turn is the parent's.
        if has_turn && self.me.is_of(self.end.heap()) {
            self.leave();
        }
    }
}

/// Skips records of messages that nobody can have whole any more, and returns the first record of
/// the next one. The caller has the turn.
pub(super) fn skip_rest_of_lost(end: &End, way: &Way<'_>) -> Option<Record> {
    let words = way.words;
    let mut has_skipped = false;
    let mut first = None;
    while !way.is_empty() {
        let head = words.head.load(Ordering::Relaxed);
        let record = way.record_at(head);
        if record.flags.has(Flags::FIRST) {
            first = Some(record);
            break;
        }
        let handles = record.flags.has(Flags::HANDLES).then(|| raw_handles_of(way, head, record));
        words.head.store(head + record.size(), Ordering::Release);
        has_skipped = true;
        // SAFETY: those of a record that was skipped just now, by who has the turn.
        unsafe { release_all(end.heap(), &handles.unwrap_or_default()) };
    }
    if has_skipped {
        give_room(way);
    }
    first
}

/// Tells those who wait for room, or for the ring to be drained.
pub(super) fn give_room(way: &Way<'_>) -> Changed {
    let words = way.words;
    let changed = changed();
    if words.room.is_listened_to() {
        // The turn may be another's by now: then that one tells of what it receives.
        let head = words.head.load(Ordering::Relaxed);
        let used = words.tail.load(Ordering::Relaxed).saturating_sub(head);
        let room = way.capacity().saturating_sub(used);
        if room >= words.room_wanted.load(Ordering::Relaxed).into() {
            words.room.notify_all_of(changed);
        }
    }
    words.drained.notify_all_of(changed);
    changed
}

/// The bytes of the handles that a record lists. The caller has the turn.
pub(super) fn raw_handles_of(way: &Way<'_>, position: u64, record: Record) -> Vec<u8> {
    let mut bytes = vec![0; record.len as usize];
    // SAFETY: the record was published, it is the caller's turn, and there is room for its body.
    unsafe { way.read(position + HEADER, bytes.as_mut_ptr(), bytes.len()) };
    bytes
}

fn handles_of(way: &Way<'_>, position: u64, record: Record) -> Vec<Handle> {
    let bytes = raw_handles_of(way, position, record);
    bytes.chunks_exact(Handle::LEN).filter_map(|one| Handle::from_bytes(one).ok()).collect()
}
