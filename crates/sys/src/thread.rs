//! Facts about the calling thread.

/// Whether this is the process's first thread, the one the kernel prefers for signals.
pub fn is_main() -> bool {
    // SAFETY: neither call takes a pointer or can fail.
    unsafe { libc::gettid() == libc::getpid() }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #[test]
    fn a_started_thread_is_not_the_main_thread() {
        assert!(!std::thread::spawn(super::is_main).join().unwrap());
    }
}
