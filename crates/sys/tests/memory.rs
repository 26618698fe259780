//! Memory files under signals. Alone in its program, which gets a signal every so often.

use std::sync::atomic::{AtomicBool, Ordering};

use manyhands_sys::memory::MemoryFile;

extern "C" fn ignore(_signal: libc::c_int) {}

#[test]
fn a_large_commit_is_not_undone_by_the_ticks_of_a_profiler() {
    const LEN: u64 = 256 << 20;
    // SAFETY: the handler does nothing, and gettid takes no pointer.
    let committer = unsafe {
        libc::signal(libc::SIGALRM, ignore as *const () as libc::sighandler_t);
        libc::gettid()
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                // SAFETY: takes no pointer; the thread outlives this scope.
                unsafe {
                    libc::syscall(libc::SYS_tgkill, libc::getpid(), committer, libc::SIGALRM)
                };
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let file = MemoryFile::create("test", LEN).expect("a memory file");
        let committed = file.commit(0, LEN);
        done.store(true, Ordering::Release);
        committed.expect("a signal is no shortage");
        assert_eq!(file.resident_bytes().expect("its size"), LEN);
    });
}
