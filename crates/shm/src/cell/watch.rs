//! Watch slots: who wrote a cell last, and from where, so that a lost update can be told.
//!
//! A slot serves all cells whose index falls on it, and knows the last one that was written. Its
//! `version` counts the writes. A reader remembers the version it saw ([`Watched::version`]); when
//! it writes later and the version has moved by somebody else's write to the *same* cell, that
//! write is about to be lost ([`Watched::lost_since`]).
//!
//! The access to the cell itself is made while the slot is locked, so no write falls between a
//! value and its version. What cannot be known is never reported: another cell has taken the slot
//! meanwhile, or the slot could not be had.
//!
//! Who has the slot makes no system call and waits for nothing. A party that dies with it leaves at
//! worst the texts of two writers mixed, and the next one takes it over. One that is *stopped*
//! with it is not waited for: who comes gives up after a while and accesses the cell unwatched.

use std::time::Duration;

use manyhands_sync::robust::RobustLock;
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::thread_id;

use super::Memory;

/// What is kept of one cell's last write.
#[repr(C)]
pub(crate) struct Slot {
    lock: RobustLock,
    /// The index of the cell and 1; 0: none was written yet.
    key: AtomicU64,
    version: AtomicU64,
    writer: AtomicU64,
    text_len: AtomicU64,
    text: [AtomicU64; TEXT_WORDS],
}

const TEXT_WORDS: usize = 9;

/// The longest text about a write; of a longer one the end is kept.
pub const MAX_TEXT: usize = TEXT_WORDS * 8;

pub(super) const SLOT_LEN: u64 = size_of::<Slot>() as u64;

/// One number in a small block leaves just enough room.
#[cfg(not(loom))]
const _: () = assert!(SLOT_LEN == 112);

/// A slot is held for some hundred instructions; whoever has it longer is dead, stopped, or was
/// interrupted by the scheduler, which lets it go on within a few of its slices.
const PATIENCE: Duration = Duration::from_millis(20);

/// One cell whose slot the calling thread has locked.
pub struct Watched<'a> {
    slot: &'a Slot,
    key: u64,
    me: u64,
}

impl Memory {
    /// Locks the slot of the cell `idx`. `None`: this memory has none, or it cannot be had.
    pub fn watch(&self, idx: u64) -> Option<Watched<'_>> {
        let slot = self.slot(idx)?;
        let heap = self.object().heap();
        // Nothing is to be mended after a death: see above.
        let _ = slot.lock.lock_within(&**heap, PATIENCE)?;
        let me = u64::from(thread_id::me()) << 32 | u64::from(heap.me().number());
        Some(Watched { slot, key: idx + 1, me })
    }
}

impl Watched<'_> {
    /// How often the cells of this slot were written.
    pub fn version(&self) -> u64 {
        self.slot.version.load(Ordering::Relaxed)
    }

    /// Where the last write to this cell came from, if another thread made it after `version`.
    pub fn lost_since(&self, version: u64) -> Option<String> {
        let slot = self.slot;
        let is_other = slot.key.load(Ordering::Relaxed) == self.key
            && slot.version.load(Ordering::Relaxed) != version
            && slot.writer.load(Ordering::Relaxed) != self.me;
        is_other.then(|| self.text())
    }

    /// Notes that the calling thread wrote the cell at `site`, and who that is.
    pub fn note_write(&self, site: &str) {
        let slot = self.slot;
        slot.key.store(self.key, Ordering::Relaxed);
        slot.writer.store(self.me, Ordering::Relaxed);
        let bytes = &site.as_bytes()[site.len().saturating_sub(MAX_TEXT)..];
        for (word, part) in slot.text.iter().zip(bytes.chunks(8)) {
            let mut eight = [0; 8];
            eight[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
        }
        slot.text_len.store(bytes.len() as u64, Ordering::Relaxed);
        slot.version.fetch_add(1, Ordering::Relaxed);
    }

    fn text(&self) -> String {
        let words = self.slot.text.iter().map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        let mut bytes: Vec<u8> = words.flatten().collect();
        bytes.truncate(self.slot.text_len.load(Ordering::Relaxed) as usize);
        let is_whole = bytes.len() < MAX_TEXT;
        let text = String::from_utf8_lossy(&bytes);
        if is_whole { text.into_owned() } else { format!("…{text}") }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.slot.lock.unlock();
    }
}
