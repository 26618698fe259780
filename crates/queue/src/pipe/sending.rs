//! Sending one message: whole in one record if it is short, else in parts as the ring has room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use manyhands_shm::object::release_message;
use manyhands_shm::{Carried, Handle, Heap};
use manyhands_sync::event_count::changed;
use manyhands_sync::sleep::{Wait, Waiting};
use manyhands_sys::clock::Deadline;

use super::end::End;
use super::layout::{Flags, HEADER, Record, Way};
use super::patience::{Patience, Step};
use super::turn::Owner;

/// The other side was closed: nobody will ever read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenPipe;

/// A message on its way into a pipe. Dropped before its end it is called back: the receiver does
/// not see it.
pub struct Sending<'a> {
    end: &'a End,
    way: Way<'a>,
    me: Owner,
    tag: u16,
    body: Gather<'a>,
    total: u64,
    carried: Carried,
    handles: Vec<u8>,
    n_handle_bytes_sent: usize,
    progress: Progress,
    patience: Patience,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It waits for its turn.
    Queued,
    /// It is its turn; nothing was published.
    Turn,
    /// Some records were published.
    Midway,
    /// It ended.
    Ended(Result<(), BrokenPipe>),
}

/// Slices to be sent one after the other.
struct Gather<'a> {
    parts: &'a [&'a [u8]],
    /// Bytes of the first part that were sent.
    at: usize,
    left: u64,
}

impl<'a> Sending<'a> {
    pub(super) fn new(
        end: &'a End,
        way: Way<'a>,
        tag: u16,
        parts: &'a [&'a [u8]],
        carried: Carried,
    ) -> Self {
        assert!(
            carried.is_in(end.heap()),
            "a pipe takes messages of the heap that it lies in itself"
        );
        let total = parts.iter().map(|part| part.len() as u64).sum();
        let handles = carried.handles().iter().flat_map(|handle| handle.to_bytes()).collect();
        Self {
            end,
            way,
            me: Owner::me(end.heap()),
            tag,
            body: Gather { parts, at: 0, left: total },
            total,
            carried,
            handles,
            n_handle_bytes_sent: 0,
            progress: Progress::Queued,
            patience: Patience::new(),
        }
    }

    /// Goes on until the message is sent or the pipe is broken ([`Sending::outcome`] tells), or
    /// something else ends the wait: then it can be called again.
    pub fn step(&mut self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        let mut patience = std::mem::replace(&mut self.patience, Patience::new());
        let (end, way, me) = (self.end, self.way, self.me);
        let look = || {
            if way.words.sender.try_take_from_dead(me, end.heap()) {
                // The next attempt takes it; whoever else comes first may.
                way.words.sender.leave();
            }
            end.look_for_peer();
        };
        let wait = patience.wait(end.heap(), deadline, waiting, || self.attempt(), look);
        self.patience = patience;
        wait
    }

    /// How it ended; `None`: it has not.
    pub const fn outcome(&self) -> Option<Result<(), BrokenPipe>> {
        match self.progress {
            Progress::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn attempt(&mut self) -> Step<'a> {
        if let Progress::Ended(_) = self.progress {
            return Step::Ended;
        }
        if self.end.is_peer_closed() {
            return self.finish(Err(BrokenPipe));
        }
        if self.progress == Progress::Queued {
            if !self.way.words.sender.try_take(self.me, self.end.heap()) {
                return Step::Blocked(&self.way.words.sender_left);
            }
            self.progress = Progress::Turn;
            call_back_cut_off(&self.way);
        }
        loop {
            let record = self.next_record();
            if !self.has_room(record) {
                return Step::Blocked(&self.way.words.room);
            }
            self.send(record);
            if record.flags.has(Flags::LAST) {
                return self.finish(Ok(()));
            }
        }
    }

    /// The record that comes next, as large as is sensible.
    fn next_record(&self) -> Record {
        let first = if self.progress == Progress::Turn { Flags::FIRST } else { Flags(0) };
        let total = self.total;
        let n_handle_bytes = self.handles.len() - self.n_handle_bytes_sent;
        if n_handle_bytes > 0 {
            let most = self.part() as usize / Handle::LEN * Handle::LEN;
            let is_all = n_handle_bytes <= most && total == 0;
            let last = if is_all { Flags::LAST } else { Flags(0) };
            let flags = Flags::HANDLES.and(first).and(last).tagged(self.tag);
            return Record { len: n_handle_bytes.min(most) as u32, flags, total };
        }
        let left = self.body.left;
        // What fits is sent whole; more goes in parts that the receiver reads meanwhile.
        let len = if left <= self.way.capacity() / 2 { left } else { self.part() };
        let last = if len == left { Flags::LAST } else { Flags(0) };
        let flags = first.and(last).tagged(self.tag);
        Record { len: len as u32, flags, total }
    }

    /// Bytes of one part of a large message.
    const fn part(&self) -> u64 {
        self.way.capacity() / 4 / HEADER * HEADER
    }

    /// Whether there is room for the record, and for one that calls the message back.
    fn has_room(&self, record: Record) -> bool {
        let words = self.way.words;
        let wanted = record.size() + HEADER;
        let tail = words.tail.load(Ordering::Relaxed);
        let room = |head: u64| self.way.capacity() - (tail - head);
        if room(words.head_seen.load(Ordering::Relaxed)) >= wanted {
            return true;
        }
        // Acquire: meets the Release of whoever received; its bytes may be overwritten.
        let head = words.head.load(Ordering::Acquire);
        words.head_seen.store(head, Ordering::Relaxed);
        if room(head) >= wanted {
            return true;
        }
        // In the middle of a message all of it will be read: half a ring is worth a wake-up.
        let midway = self.progress == Progress::Midway && self.body.left > self.way.capacity();
        let worth = if midway { self.way.capacity() / 2 } else { 0 };
        words.room_wanted.store(wanted.max(worth) as u32, Ordering::Relaxed);
        false
    }

    fn send(&mut self, record: Record) {
        let words = self.way.words;
        let tail = words.tail.load(Ordering::Relaxed);
        let body_at = tail + HEADER;
        if record.flags.has(Flags::HANDLES) {
            let from = self.n_handle_bytes_sent;
            self.n_handle_bytes_sent += record.len as usize;
            self.way.write(body_at, &self.handles[from..self.n_handle_bytes_sent]);
            // Before they are published: a kill in between keeps the objects too long, the other
            // order would release them twice.
            std::mem::take(&mut self.carried).leave_to_message();
        } else {
            self.body.write(&self.way, body_at, record.len.into());
        }
        self.way.write_record(tail, record);
        if record.flags.has(Flags::FIRST) && !record.flags.has(Flags::LAST) {
            words.midway.store(tail + 1, Ordering::Relaxed);
        }
        // Release: meets the Acquire of the receivers.
        words.tail.store(tail + record.size(), Ordering::Release);
        self.progress = Progress::Midway;
        if !record.flags.has(Flags::LAST) {
            words.data.notify_all();
        }
    }

    fn finish(&mut self, outcome: Result<(), BrokenPipe>) -> Step<'a> {
        let before = std::mem::replace(&mut self.progress, Progress::Ended(outcome));
        let words = self.way.words;
        if before != Progress::Queued {
            if outcome.is_ok() {
                words.midway.store(0, Ordering::Relaxed);
            } else {
                self.release_unsent();
                call_back_cut_off(&self.way);
            }
            words.sender.leave();
            let changed = changed();
            words.sender_left.notify_all_of(changed);
            words.data.notify_all_of(changed);
        }
        Step::Ended
    }

    /// Releases the handles that were given to the message and not published with it.
    fn release_unsent(&self) {
        if self.n_handle_bytes_sent > 0 {
            let unsent = &self.handles[self.n_handle_bytes_sent..];
            // SAFETY: they were left to the message, which nobody can see these of.
            unsafe { release_all(self.end.heap(), unsent) };
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        // In a forked child all of it is the parent's.
        if self.me.is_of(self.end.heap()) && self.outcome().is_none() {
            self.finish(Err(BrokenPipe));
        }
    }
}

/// Tells the receivers that a message which was begun will not be ended: its sender gave up, or
/// died. The caller has the turn.
pub(super) fn call_back_cut_off(way: &Way<'_>) {
    let words = way.words;
    let midway = words.midway.load(Ordering::Relaxed);
    if midway == 0 {
        return;
    }
    let tail = words.tail.load(Ordering::Relaxed);
    // Else nothing of it was published.
    if tail >= midway && !was_ended(way, midway - 1, tail) {
        // There is room: what was published left some for it. If the message was ended after all,
        // it is one record too many, which receivers skip.
        let abort = Record { len: 0, flags: Flags::ABORT, total: 0 };
        way.write_record(tail, abort);
        words.tail.store(tail + abort.size(), Ordering::Release);
    }
    words.midway.store(0, Ordering::Relaxed);
}

/// Whether the message of several records that starts at `first` was published whole, as far as
/// that can be seen. If not, who has not begun to read it need not begin.
fn was_ended(way: &Way<'_>, first: u64, tail: u64) -> bool {
    if tail + HEADER - first > way.capacity() {
        // Its own later records lie where its first one was: it is being read.
        return false;
    }
    let mut position = first;
    while position < tail {
        let record = way.record_at(position);
        if record.flags.has(Flags::LAST) {
            return true;
        }
        position += record.size();
    }
    let record = way.record_at(first);
    let flags = Flags(record.flags.0 & !Flags::FIRST.0);
    way.write_record(first, Record { flags, ..record });
    false
}

/// Releases what a message destroyed unread refers to.
///
/// # Safety
/// As for [`release_message`].
pub(super) unsafe fn release_all(heap: &Arc<Heap>, handles: &[u8]) {
    let handles: Vec<_> =
        handles.chunks_exact(Handle::LEN).filter_map(|one| Handle::from_bytes(one).ok()).collect();
    // SAFETY: the caller's promise.
    unsafe { release_message(heap, &handles) };
}

impl Gather<'_> {
    /// Writes the next `len` bytes.
    fn write(&mut self, way: &Way<'_>, mut position: u64, mut len: u64) {
        self.left -= len;
        while len > 0 {
            let part = &self.parts[0][self.at..];
            let n = part.len().min(len as usize);
            way.write(position, &part[..n]);
            (position, len, self.at) = (position + n as u64, len - n as u64, self.at + n);
            if self.at == self.parts[0].len() {
                (self.parts, self.at) = (&self.parts[1..], 0);
            }
        }
    }
}
