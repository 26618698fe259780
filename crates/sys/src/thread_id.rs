//! The kernel's number of the calling thread, remembered: what lock words name their owner by.
//!
//! Unique among all threads of the machine that live now, so it also works in shared memory. A
//! number is given out again some time after its thread has ended.

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    static ID: Cell<u32> = const { Cell::new(0) };
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread; never 0, below 2^30.
#[inline]
pub fn me() -> u32 {
    match ID.get() {
        0 => ask(),
        id => id,
    }
}

/// Whether this is the process's first thread, the one the kernel prefers for signals.
#[inline]
pub fn is_main() -> bool {
    me();
    IS_MAIN.get()
}

#[cold]
fn ask() -> u32 {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| crate::fork::in_child(forget));
    // SAFETY: takes no pointer and cannot fail.
    let id = unsafe { libc::gettid() } as u32;
    ID.set(id);
    // A fork makes any thread the main one of the child.
    IS_MAIN.set(id == std::process::id());
    id
}

/// The thread that called `fork` has another number in the child.
extern "C" fn forget() {
    ID.set(0);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::me;

    #[test]
    fn each_thread_has_a_number_and_keeps_it() {
        assert_eq!((me(), me() == 0), (me(), false));
        assert_ne!(std::thread::spawn(me).join().unwrap(), me());
    }

    #[test]
    fn a_started_thread_is_not_the_main_thread() {
        assert!(!std::thread::spawn(super::is_main).join().unwrap());
    }
}
