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
