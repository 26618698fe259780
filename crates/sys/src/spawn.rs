//! Starting another program without copying this one's page tables.

use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use crate::pid::PidFd;
use crate::refused::explained;

/// Starts `program` (a path) with the given arguments (the first is its name) and environment
/// entries (`NAME=value`). `stdin` becomes its descriptor 0; descriptors 1 and 2 are inherited, or
/// `/dev/null` where there is none to inherit: another descriptor of the program would get that
/// number, and be written to. All others of ours are close-on-exec. It starts with SIGINT blocked,
/// so that a Ctrl-C cannot hit it before it has said what it wants to do about it.
pub fn spawn(
    program: &OsStr,
    args: &[CString],
    env: &[CString],
    stdin: BorrowedFd<'_>,
) -> io::Result<(u32, PidFd)> {
    let program = CString::new(program.as_bytes())?;
    let argv = pointers(args);
    let envp = pointers(env);
    let mut pid = 0;
    // SAFETY: all pointers are to live, NUL-terminated strings in NULL-terminated arrays; the
    // attribute objects are initialised before use and destroyed after.
    let rc = unsafe {
        let mut actions = MaybeUninit::uninit();
        let mut attributes = MaybeUninit::uninit();
        libc::posix_spawn_file_actions_init(actions.as_mut_ptr());
        libc::posix_spawnattr_init(attributes.as_mut_ptr());
        libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), stdin.as_raw_fd(), 0);
        for number in [1, 2] {
            if !is_inherited(number) {
                let (null, actions) = (c"/dev/null".as_ptr(), actions.as_mut_ptr());
                libc::posix_spawn_file_actions_addopen(actions, number, null, libc::O_RDWR, 0);
            }
        }
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut mask, libc::SIGINT);
        libc::posix_spawnattr_setsigmask(attributes.as_mut_ptr(), &mask);
        let flags = libc::POSIX_SPAWN_SETSIGMASK as libc::c_short;
        libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), flags);
        let rc = libc::posix_spawn(
            &mut pid,
            program.as_ptr(),
            actions.as_ptr(),
            attributes.as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
        );
        libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
        libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
        rc
    };
    if rc != 0 {
        return Err(explained(io::Error::from_raw_os_error(rc), "starting a process", "clone3"));
    }
    // The child is not reaped yet, so its id is still its own.
    let process = PidFd::open(pid as u32).inspect_err(|_| {
        // SAFETY: takes no pointer but a null one; the child is ours and not reaped.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
    })?;
    Ok((pid as u32, process))
}

/// Whether a program that is started gets this descriptor: it is open, and not close-on-exec.
fn is_inherited(number: i32) -> bool {
    // SAFETY: asks about a number, whether or not there is a descriptor behind it.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    let mut pointers: Vec<_> = strings.iter().map(|text| text.as_ptr().cast_mut()).collect();
    pointers.push(std::ptr::null_mut());
    pointers
}
