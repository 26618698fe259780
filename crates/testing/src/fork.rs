//! Forked processes: plain ones, and such as are parties of the family.
//!
//! A child runs one closure and ends without destructors. It exits with 0 if the closure says that
//! all was well, with 1 if not, and with 101 if it panicked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use manyhands_shm::{Heap, Party, family};

use crate::dead::Dead;

/// A child of this process that nobody has waited for. Dropped, it is left to itself.
#[derive(Debug)]
pub struct Forked {
    pid: libc::pid_t,
}

/// Forks; the child runs `child` and ends with its answer.
///
/// # Safety
/// What the child runs takes no lock that another thread of this process may hold: best is a
/// program with one test, which starts no thread.
pub unsafe fn fork(child: impl FnOnce() -> bool) -> Forked {
    // SAFETY: the caller's promise.
    match unsafe { libc::fork() } {
        0 => end_with(child),
        pid => {
            assert!(pid > 0, "fork works");
            Forked { pid }
        }
    }
}

fn end_with(child: impl FnOnce() -> bool) -> ! {
    let code = match catch_unwind(AssertUnwindSafe(child)) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(_) => 101,
    };
    // SAFETY: ends the child.
    unsafe { libc::_exit(code) }
}

impl Forked {
    /// Kills it, if it still runs, and waits for its end.
    pub fn kill(self) {
        // SAFETY: a child of ours that was not waited for.
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0, "a child can be killed");
        self.exit_code();
    }

    /// Waits for its end: the exit code, or the number of the signal that ended it, negative.
    pub fn exit_code(self) -> i32 {
        let mut status = 0;
        // SAFETY: a child of ours that was not waited for, and a place for its status.
        let ended = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!(ended, self.pid, "a child can be waited for");
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
    }

    /// Whether it has ended; it is still to be waited for.
    pub fn has_ended(&self) -> bool {
        // SAFETY: zeros are such a record.
        let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: a child of ours that was not waited for, and a place for what is seen.
        let done = unsafe { libc::waitid(libc::P_PID, self.pid as u32, &raw mut seen, how) };
        assert_eq!(done, 0, "a child can be looked at");
        // SAFETY: filled by the kernel, or zeros: nothing has ended.
        unsafe { seen.si_pid() == self.pid }
    }
}

/// A forked process and the party that it is.
#[derive(Debug)]
pub struct ForkedParty {
    /// The child.
    pub process: Forked,
    /// Who it is in the family.
    pub party: Party,
}

/// Forks as Python does, so that the child is a party of its own.
///
/// # Safety
/// As for [`fork`].
pub unsafe fn fork_party(child: impl FnOnce() -> bool) -> ForkedParty {
    family::before_fork();
    let begin = || {
        family::after_fork_in_child();
        child()
    };
    // SAFETY: the caller's promise.
    let process = unsafe { fork(begin) };
    family::after_fork_in_parent();
    let (_, party) = family::last_forked().expect("the child was announced");
    ForkedParty { process, party }
}

impl ForkedParty {
    /// Tells the heap which process the party is, before the child says so itself.
    #[must_use]
    pub fn named(self, heap: &Heap) -> Self {
        heap.name_party(self.party, self.process.pid as u32);
        self
    }

    /// Kills it, if it still runs, and waits for its end.
    pub fn kill(self) -> Dead {
        self.process.kill();
        // SAFETY: it was waited for.
        unsafe { Dead::new(self.party) }
    }

    /// Waits for its end: the code as of [`Forked::exit_code`], and who it was.
    pub fn wait(self) -> (i32, Dead) {
        let code = self.process.exit_code();
        // SAFETY: it was waited for.
        (code, unsafe { Dead::new(self.party) })
    }

    /// Waits for its end, which must be a good one.
    pub fn ends_well(self) -> Dead {
        let (code, dead) = self.wait();
        assert_eq!(code, 0, "the child ended well");
        dead
    }
}
