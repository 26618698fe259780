//! The one heap of this process's family: made when first needed, gone with its last user.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use manyhands_shm::{Heap, HeapConfig};
use manyhands_sys::per_process::PerProcess;

static CURRENT: PerProcess<Mutex<Weak<Heap>>> = PerProcess::new();

/// The variable that limits a new heap, in bytes.
const LIMIT_VARIABLE: &str = "MANYHANDS_HEAP_LIMIT";

/// The heap of the calling process's family.
///
/// # Errors
/// If shared memory cannot be had, or `MANYHANDS_HEAP_LIMIT` is not a number of bytes.
pub fn family_heap() -> io::Result<Arc<Heap>> {
    let mut current = CURRENT.get().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(heap) = current.upgrade() {
        return Ok(heap);
    }
    let heap = Heap::create(HeapConfig { limit_bytes: limit()? })?;
    *current = Arc::downgrade(&heap);
    Ok(heap)
}

/// The heap, if there is one at the moment.
pub fn existing_family_heap() -> Option<Arc<Heap>> {
    CURRENT.get().lock().unwrap_or_else(PoisonError::into_inner).upgrade()
}

/// In the child of a fork: the parent's family is not ours.
pub fn forget_family_after_fork() {
    CURRENT.forget();
    manyhands_shm::forget_after_fork();
}

fn limit() -> io::Result<Option<u64>> {
    let Ok(text) = std::env::var(LIMIT_VARIABLE) else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| {
        let text = format!("{LIMIT_VARIABLE} must be a whole number of bytes, not {text:?}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}
