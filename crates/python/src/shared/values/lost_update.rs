//! The lost-update detector: a thread reads a cell, somebody else writes it, the first one writes
//! what it computed from the old value.
//!
//! It says so only if all of that happened. Never reported: a write with the cell's lock held, an
//! atomic operation, a write without a read before it, a write after which nobody else wrote. What
//! a thread read last of a cell is kept in the thread; who wrote it last and where, beside the cell
//! in shared memory ([`manyhands_shm::cell::watch`]).
//!
//! It misses what it cannot see: accesses through buffers, NumPy and ctypes, a read that more than
//! 63 others followed, an element whose slot another element has taken meanwhile.
//!
//! Memory made while the detector is on is watched in every process of the family. When it is off,
//! an access costs two loads: [`is_on`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use manyhands_shm::cell::Memory;
use manyhands_sync::deadlock::Site;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::contract;
use crate::errors::{self, error_of};
use crate::sync::site;

const OFF: u32 = 0;
const REPORT: u32 = 1;
const RAISE: u32 = 2;

const VARIABLE: &str = "MANYHANDS_LOST_UPDATES";

/// What this process wants of all memory it uses and makes.
static MODE: AtomicU32 = AtomicU32::new(OFF);

/// Pairs of lines that were reported.
static REPORTED: Mutex<Option<HashSet<(String, String)>>> = Mutex::new(None);

/// Which cell of the family's.
#[derive(Clone, Copy)]
pub struct Spot<'a> {
    pub memory: &'a Memory,
    pub idx: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    offset: u64,
    serial: u32,
    idx: u64,
}

/// What a thread read, and has not written since.
struct Seen {
    key: Key,
    version: u64,
    site: String,
}

const N_SEEN: usize = 64;

thread_local! {
    static SEEN: RefCell<Vec<Option<Seen>>> = const { RefCell::new(Vec::new()) };
}

/// Takes the mode from the environment; called when the module is imported.
pub fn start() {
    let Ok(word) = std::env::var(VARIABLE) else { return };
    match mode_of(&word) {
        Some(mode) => MODE.store(mode, Ordering::Relaxed),
        None => eprintln!("{VARIABLE}: {}", refusal(&word)),
    }
}

/// What happens when an update of a shared value is lost: "off", "report" or "raise".
#[pyfunction]
pub fn set_lost_update_mode(py: Python<'_>, mode: &str) -> PyResult<()> {
    let number = mode_of(mode).ok_or_else(|| PyValueError::new_err(refusal(mode)))?;
    // Before anybody can need it while another thread forks.
    errors::lost_update_error(py)?;
    contract::ENVIRON.now(py)?.set_item(VARIABLE, mode)?;
    MODE.store(number, Ordering::Relaxed);
    Ok(())
}

/// The mode of this process.
#[pyfunction]
pub fn lost_update_mode() -> &'static str {
    match MODE.load(Ordering::Relaxed) {
        REPORT => "report",
        RAISE => "raise",
        _ => "off",
    }
}

fn mode_of(word: &str) -> Option<u32> {
    match word {
        "off" => Some(OFF),
        "report" => Some(REPORT),
        "raise" => Some(RAISE),
        _ => None,
    }
}

fn refusal(word: &str) -> String {
    format!("the lost-update mode must be 'off', 'report' or 'raise', not {word:?}")
}

/// What new memory is to keep for everybody who uses it.
pub fn mode_of_new_memory() -> u32 {
    MODE.load(Ordering::Relaxed)
}

/// Whether accesses to `memory` go through the functions below.
#[inline]
pub fn is_on(memory: &Memory) -> bool {
    MODE.load(Ordering::Relaxed) | memory.mode() != OFF
}

/// Reads a cell with `load`.
#[cold]
pub fn read<T>(py: Python<'_>, spot: Spot<'_>, load: impl FnOnce() -> T) -> T {
    let site = here(py);
    let key = spot.key();
    let Some(watched) = spot.memory.watch(spot.idx) else {
        forget(key);
        return load();
    };
    let value = load();
    let version = watched.version();
    drop(watched);
    remember(Seen { key, version, site });
    value
}

/// Writes a cell with `store`, unless that loses an update and the mode is to raise then.
///
/// # Errors
/// LostUpdateError; nothing was written.
#[cold]
pub fn write(
    py: Python<'_>,
    spot: Spot<'_>,
    holds_lock: bool,
    store: impl FnOnce(),
) -> PyResult<()> {
    let site = here(py);
    let seen = forget(spot.key()).filter(|_| !holds_lock);
    let Some(watched) = spot.memory.watch(spot.idx) else {
        store();
        return Ok(());
    };
    let other = seen.as_ref().and_then(|seen| watched.lost_since(seen.version));
    let raises = other.is_some() && spot.mode() == RAISE;
    if !raises {
        store();
        watched.note_write(&site);
    }
    drop(watched);
    let (Some(seen), Some(other)) = (seen, other) else { return Ok(()) };
    spot.memory.count_lost_update();
    if raises {
        let text = sentence("would be lost", &seen.site, &site, &other);
        let text = format!("{text} Nothing was written.");
        return Err(error_of(errors::lost_update_error(py), text));
    }
    report(py, spot.memory, &seen.site, &site, &other);
    Ok(())
}

/// Changes a cell in one step.
#[cold]
pub fn change<T>(py: Python<'_>, spot: Spot<'_>, change: impl FnOnce() -> T) -> T {
    let site = here(py);
    forget(spot.key());
    let watched = spot.memory.watch(spot.idx);
    let value = change();
    if let Some(watched) = watched {
        watched.note_write(&site);
    }
    value
}

/// Once for each pair of lines: in this process, and for this memory in the family.
fn report(py: Python<'_>, memory: &Memory, read: &str, write: &str, other: &str) {
    let pair = (write.to_owned(), other.to_owned());
    let mut hasher = DefaultHasher::new();
    pair.hash(&mut hasher);
    let is_new = REPORTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(HashSet::new)
        .insert(pair);
    if !is_new || !memory.is_first_report(hasher.finish()) {
        return;
    }
    let text = format!("manyhands: {}\n", sentence("was lost", read, write, other));
    let say = || -> PyResult<()> {
        let stderr = contract::STDERR.now(py)?;
        if !stderr.is_none() {
            stderr.call_method1("write", (text,))?;
            stderr.call_method0("flush")?;
        }
        Ok(())
    };
    if let Err(error) = say() {
        error.write_unraisable(py, None);
    }
}

fn sentence(fate: &str, read: &str, write: &str, other: &str) -> String {
    format!(
        "an update of a shared value {fate}: it was read at {read} and is written at {write}, but \
         meanwhile another thread or process wrote it at {other}. Hold get_lock() from the read to \
         the write, or use add() or update()."
    )
}

fn here(py: Python<'_>) -> String {
    match site::here(py) {
        Site::Foreign { code, at } => site::locate(code, at),
        _ => "an unknown line".to_owned(),
    }
}

impl Spot<'_> {
    fn key(&self) -> Key {
        let handle = self.memory.object().handle();
        Key { offset: handle.offset, serial: handle.serial, idx: self.idx }
    }

    fn mode(&self) -> u32 {
        match MODE.load(Ordering::Relaxed) {
            OFF => self.memory.mode(),
            mode => mode,
        }
    }
}

impl Key {
    fn place(self) -> usize {
        let mixed = (self.offset / 256 + self.idx).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 58) as usize % N_SEEN
    }
}

fn remember(seen: Seen) {
    SEEN.with_borrow_mut(|all| {
        if all.is_empty() {
            all.resize_with(N_SEEN, || None);
        }
        let place = seen.key.place();
        all[place] = Some(seen);
    });
}

fn forget(key: Key) -> Option<Seen> {
    SEEN.with_borrow_mut(|all| {
        let place = all.get_mut(key.place())?;
        if place.as_ref().is_some_and(|seen| seen.key == key) { place.take() } else { None }
    })
}
