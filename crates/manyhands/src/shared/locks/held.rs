//! Which shared locks the calling thread has, and where it took them: for reports of deadlocks.
//!
//! What it does not do: keep a lock alive. An entry whose guard was leaked may name what is gone,
//! or something else by now; who reads the list asks the lock who holds it.

use std::cell::RefCell;
use std::panic::Location;

use manyhands_shm::FamilyOf;
use manyhands_sync::deadlock::Site;
use manyhands_sync::robust::Owner;
use manyhands_sync::shared::lock::SharedLock;
use manyhands_sync::shared::waits::Family;

/// Where the lock lies, what it belongs to, and where it was taken.
type Entry = (u64, &'static str, &'static Location<'static>);

/// What the lock of a [`SharedMutex`](crate::SharedMutex) belongs to.
pub(super) const MUTEX: &str = "SharedMutex";

thread_local! {
    static HELD: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

/// The calling thread has taken the lock of the mutex at `lock_at`.
#[inline]
pub(super) fn note(lock_at: u64, here: &'static Location<'static>) {
    note_of(MUTEX, lock_at, here);
}

/// The calling thread has taken the lock at `lock_at`, which belongs to a `kind`.
#[inline]
pub(in crate::shared) fn note_of(
    kind: &'static str,
    lock_at: u64,
    here: &'static Location<'static>,
) {
    // A thread that is about to end has no list any more: its reports say less.
    let _ = HELD.try_with(|held| held.borrow_mut().push((lock_at, kind, here)));
}

/// It gives the lock back.
#[inline]
pub(in crate::shared) fn forget(lock_at: u64) {
    let _ = HELD.try_with(|held| {
        let mut held = held.borrow_mut();
        // Most often the last one.
        if let Some(idx) = held.iter().rposition(|(at, ..)| *at == lock_at) {
            held.remove(idx);
        }
    });
}

/// The shared locks that `me`, the calling thread, has: where they lie, what they are, where they
/// were taken.
pub(super) fn list(family: &FamilyOf, me: Owner) -> Vec<(u64, String, String)> {
    let held = HELD.try_with(|held| held.borrow().clone()).unwrap_or_default();
    let entry_in_words = |(at, kind, here): Entry| {
        let lock = family.lock_at(at).filter(|lock| lock.is_of(me))?;
        Some((at, words(kind, lock.name(), at), Site::Rust(here).to_string()))
    };
    held.into_iter().filter_map(entry_in_words).collect()
}

/// As reports name the mutex at `lock_at`.
pub(super) fn name_of(lock: &SharedLock, lock_at: u64) -> String {
    in_words(MUTEX, lock, lock_at)
}

/// As reports name the lock at `lock_at`, which belongs to a `kind`.
pub(super) fn in_words(kind: &str, lock: &SharedLock, lock_at: u64) -> String {
    words(kind, lock.name(), lock_at)
}

fn words(kind: &str, name: Option<String>, lock_at: u64) -> String {
    match name {
        Some(name) => format!("{kind} {name:?}"),
        None => format!("{kind} {lock_at:#x}"),
    }
}
