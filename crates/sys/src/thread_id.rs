//! Numbers for the calling thread, remembered: what lock words name their owner by.
//!
//! Two numbers, equal except in a forked child:
//! - [`me`] stays the same in the child of a fork, whose one thread still holds what it held. It is
//!   unique among the living threads of one process.
//! - [`kernel_id`] is the kernel's, unique on the machine, and what `/proc` and `ps` show.
//!
//! Both are given out again some time after their thread has ended. In a child, a thread could get
//! the number that the child's first thread brought along, once the parent's thread has ended and
//! the kernel's numbers have come round; nothing guards against that.

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    static ME: Cell<u32> = const { Cell::new(0) };
    /// 0: ask anew.
    static KERNEL_ID: Cell<u32> = const { Cell::new(0) };
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread within its process; never 0, below 2^30.
#[inline]
pub fn me() -> u32 {
    match ME.get() {
        0 => first_asked(),
        id => id,
    }
}

/// The calling thread on this machine.
#[inline]
pub fn kernel_id() -> u32 {
    match KERNEL_ID.get() {
        0 => ask(),
        id => id,
    }
}

/// Whether this is the process's first thread, the one the kernel prefers for signals.
#[inline]
pub fn is_main() -> bool {
    kernel_id();
    IS_MAIN.get()
}

#[cold]
fn first_asked() -> u32 {
    let id = kernel_id();
    ME.set(id);
    id
}

#[cold]
fn ask() -> u32 {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| crate::fork::in_child(forget));
    // SAFETY: takes no pointer and cannot fail.
    let id = unsafe { libc::gettid() } as u32;
    KERNEL_ID.set(id);
    // A fork makes any thread the main one of the child.
    IS_MAIN.set(id == std::process::id());
    id
}

/// The thread that called `fork` has another number in the child.
extern "C" fn forget() {
    KERNEL_ID.set(0);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{is_main, kernel_id, me};

    #[test]
    fn each_thread_has_a_number_and_keeps_it() {
        assert_eq!((me(), me() == 0), (me(), false));
        assert_eq!(me(), kernel_id());
        assert_ne!(std::thread::spawn(me).join().unwrap(), me());
    }

    #[test]
    fn a_started_thread_is_not_the_main_thread() {
        assert!(!std::thread::spawn(is_main).join().unwrap());
    }
}
