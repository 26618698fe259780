//! Being told of `fork`, whoever calls it.

/// Lets every child of this process run `hook` before anything else, in its only thread.
///
/// # Panics
/// If the system has no memory for it.
pub fn in_child(hook: extern "C" fn()) {
    // SAFETY: a function that stays where it is; it runs in the thread that forked.
    let refused = unsafe { libc::pthread_atfork(None, None, Some(hook)) };
    assert!(refused == 0, "no memory to hook into fork");
}

/// Lets every fork of this process be preceded by `before`, in the thread that forks, and followed
/// by one of the other two.
///
/// # Panics
/// If the system has no memory for it.
pub fn around(before: extern "C" fn(), in_parent: extern "C" fn(), in_child: extern "C" fn()) {
    // SAFETY: functions that stay where they are; they run in the thread that forks.
    let refused = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    assert!(refused == 0, "no memory to hook into fork");
}
