//! The long waits of one process, in shared memory: what other processes follow to find a cycle.
//!
//! | field | changed by | when |
//! |---|---|---|
//! | `is_taken` | a thread of the process | before the first field, after the last |
//! | `serial` | the waiting thread | last, when all is written (Release); 0 first, before it may do anything but wait |
//! | the rest | the waiting thread | while `serial` is 0 |
//!
//! A reader takes the serial, the fields, and the serial again: equal and not 0 means that the
//! thread was in this one wait in between. A serial is never used twice, so a wait that ended and a
//! later one of the same thread differ.
//!
//! Dies the process, its table stays as it was until it is buried: whoever follows it asks whether
//! the process lives, at the end. A reader may find anything where a table was: it trusts nothing
//! it has not read twice, and every offset is checked before it is followed.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use manyhands_sys::thread_id;

use crate::deadlock::{self, Certainty};
use crate::robust::{Owner, Parties};
use crate::shared::lock::SharedLock;

/// The family, as a wait needs to know it.
pub trait Family: Parties + Sync {
    /// The table of a party, if it has one.
    fn board_of(&self, party: u32) -> Option<ReadOnly<'_, Board>>;
    /// The caller's own, which is made if need be. `None`: there is no room.
    fn my_board(&self) -> Option<&Board>;
    /// Where a lock lies, the same for all of the family.
    fn offset_of(&self, lock: &SharedLock) -> u64;
    /// The lock that lies, or lay, at an offset; `None`: none can.
    fn lock_at(&self, offset: u64) -> Option<ReadOnly<'_, SharedLock>>;
    /// The number the system has for a party.
    fn pid_of(&self, party: u32) -> Option<u32>;
}

/// What lay at a place that somebody noted, and may be anything by now: it is read, and never
/// written.
pub struct ReadOnly<'a, T>(&'a T);

impl<T> Clone for ReadOnly<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ReadOnly<'_, T> {}

/// Long waits of one process. Zeros are an empty one.
#[repr(C)]
pub struct Board {
    next_serial: AtomicU64,
    pads: [AtomicU64; 7],
    posts: [Post; N_POSTS],
}

/// One long wait.
#[repr(C, align(64))]
struct Post {
    serial: AtomicU64,
    lock_at: AtomicU64,
    thread: AtomicU32,
    kernel_id: AtomicU32,
    mode: AtomicU32,
    is_taken: AtomicU32,
    text_len: AtomicU32,
    text: [AtomicU8; TEXT_LEN],
}

const N_POSTS: usize = 31;
const TEXT_LEN: usize = 1024 - 36;

const _: () = assert!(size_of::<Board>() == 32 * 1024 - 1024 + 64);

/// What the report of a deadlock says of one wait.
#[derive(Clone, Debug, Default)]
pub struct Notice {
    /// The process's name, if known.
    pub process: Option<String>,
    /// The thread's.
    pub thread: Option<String>,
    /// What it waits for, as `Lock "name"`.
    pub waits_for: String,
    /// Where, as `file:line`.
    pub waits_at: String,
    /// The locks it holds: where they lie, what they are, where they were acquired.
    pub holds: Vec<(u64, String, String)>,
}

/// A wait in the table, until dropped.
pub struct Entered<'a> {
    board: &'a Board,
    post: &'a Post,
}

/// A wait as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) serial: u64,
    pub(super) lock_at: u64,
    pub(super) thread: u32,
    pub(super) kernel_id: u32,
    pub(super) mode: u32,
}

impl Board {
    /// Enters a wait of the calling thread. `None`: the table is full.
    pub fn enter(&self, lock_at: u64, notice: &Notice) -> Option<Entered<'_>> {
        let post = self.posts.iter().find(|post| {
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            post.is_taken.compare_exchange(0, 1, success, failure).is_ok()
        })?;
        post.lock_at.store(lock_at, Ordering::Relaxed);
        post.thread.store(thread_id::me(), Ordering::Relaxed);
        post.kernel_id.store(thread_id::kernel_id(), Ordering::Relaxed);
        post.mode.store(deadlock::mode() as u32, Ordering::Relaxed);
        post.write(&notice.to_text());
        let entered = Entered { board: self, post };
        entered.show();
        Some(entered)
    }
}

impl<'a, T> ReadOnly<'a, T> {
    /// Of what is at `place` now.
    pub const fn new(place: &'a T) -> Self {
        Self(place)
    }
}

impl ReadOnly<'_, SharedLock> {
    /// As [`SharedLock::owner`].
    pub fn owner(self) -> Option<Owner> {
        self.0.owner()
    }

    /// As [`SharedLock::is_of`].
    pub fn is_of(self, me: Owner) -> bool {
        self.0.is_of(me)
    }

    /// As [`SharedLock::certainty`].
    pub fn certainty(self) -> Certainty {
        self.0.certainty()
    }

    /// As [`SharedLock::name`].
    pub fn name(self) -> Option<String> {
        self.0.name()
    }
}

impl ReadOnly<'_, Board> {
    /// The wait of a thread.
    pub(super) fn wait_of(self, thread: u32) -> Option<Seen> {
        self.0.posts.iter().find_map(|post| post.seen().filter(|seen| seen.thread == thread))
    }

    /// What was noted of a wait, if it is still under way.
    pub(super) fn notice_of(self, serial: u64) -> Option<Notice> {
        let is_it = |post: &&Post| post.serial.load(Ordering::Acquire) == serial;
        let post = self.0.posts.iter().find(is_it)?;
        let notice = Notice::from_text(&post.read());
        is_it(&post).then_some(notice)
    }
}

impl Entered<'_> {
    /// The thread does nothing but wait from here on.
    pub fn show(&self) {
        if self.post.serial.load(Ordering::Relaxed) == 0 {
            let serial = self.board.next_serial.fetch_add(1, Ordering::Relaxed) + 1;
            // Release: meets the Acquire of who reads.
            self.post.serial.store(serial, Ordering::Release);
        }
    }

    /// The thread may do something else than wait.
    pub fn hide(&self) {
        // SeqCst: nothing the thread does next may be seen before this.
        self.post.serial.swap(0, Ordering::SeqCst);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.hide();
        self.post.is_taken.store(0, Ordering::Release);
    }
}

impl Post {
    fn seen(&self) -> Option<Seen> {
        let serial = self.serial.load(Ordering::Acquire);
        if serial == 0 {
            return None;
        }
        let seen = Seen {
            serial,
            lock_at: self.lock_at.load(Ordering::Acquire),
            thread: self.thread.load(Ordering::Acquire),
            kernel_id: self.kernel_id.load(Ordering::Acquire),
            mode: self.mode.load(Ordering::Acquire),
        };
        (self.serial.load(Ordering::Relaxed) == serial).then_some(seen)
    }

    fn write(&self, text: &str) {
        let len = text.len().min(TEXT_LEN);
        for (place, byte) in self.text.iter().zip(text.bytes()) {
            place.store(byte, Ordering::Relaxed);
        }
        self.text_len.store(len as u32, Ordering::Relaxed);
    }

    fn read(&self) -> String {
        let len = (self.text_len.load(Ordering::Relaxed) as usize).min(TEXT_LEN);
        let bytes: Vec<u8> =
            self.text[..len].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Notice {
    /// A line for each of four fields, and one for each lock that is held.
    fn to_text(&self) -> String {
        let name = |name: &Option<String>| name.clone().unwrap_or_default().replace('\n', " ");
        let mut text = format!(
            "{}\n{}\n{}\n{}",
            name(&self.process),
            name(&self.thread),
            self.waits_for.replace('\n', " "),
            self.waits_at
        );
        for (lock_at, what, acquired_at) in &self.holds {
            let line = format!("\n{lock_at:x}\t{}\t{acquired_at}", what.replace(['\n', '\t'], " "));
            // A lock that does not fit is named without a place.
            if text.len() + line.len() <= TEXT_LEN {
                text.push_str(&line);
            }
        }
        text
    }

    fn from_text(text: &str) -> Self {
        let mut lines = text.lines();
        let mut next = || lines.next().unwrap_or_default().to_owned();
        let named = |name: String| (!name.is_empty()).then_some(name);
        let (process, thread) = (named(next()), named(next()));
        let (waits_for, waits_at) = (next(), next());
        let held = |line: &str| {
            let mut parts = line.split('\t');
            let lock_at = u64::from_str_radix(parts.next()?, 16).ok()?;
            Some((lock_at, parts.next()?.to_owned(), parts.next()?.to_owned()))
        };
        Self { process, thread, waits_for, waits_at, holds: lines.filter_map(held).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_can_be_read() {
        let board = empty();
        let notice = Notice {
            process: Some("Process-1".to_owned()),
            thread: None,
            waits_for: "Lock \"a\"".to_owned(),
            waits_at: "x.py:3".to_owned(),
            holds: vec![(64, "RLock 0x40".to_owned(), "x.py:2".to_owned())],
        };
        let entered = board.enter(640, &notice).unwrap();
        let seen = ReadOnly(&*board).wait_of(thread_id::me()).unwrap();
        assert_eq!((seen.lock_at, seen.kernel_id), (640, thread_id::kernel_id()));
        let read = ReadOnly(&*board).notice_of(seen.serial).unwrap();
        assert_eq!(format!("{read:?}"), format!("{notice:?}"));
        entered.hide();
        assert!(ReadOnly(&*board).wait_of(thread_id::me()).is_none());
        entered.show();
        assert_ne!(ReadOnly(&*board).wait_of(thread_id::me()).unwrap().serial, seen.serial);
        drop(entered);
        assert!(ReadOnly(&*board).wait_of(thread_id::me()).is_none());
    }

    #[test]
    fn a_full_table_refuses() {
        let board = empty();
        let enter = |_| board.enter(0, &Notice::default());
        let entered: Vec<_> = (0..N_POSTS).map(enter).collect();
        assert!(entered.iter().all(Option::is_some));
        assert!(enter(0).is_none());
    }

    fn empty() -> Box<Board> {
        // SAFETY: zeros are an empty table.
        unsafe { Box::new(std::mem::zeroed()) }
    }
}
