//! A program that was started hangs on the line of who started it before its first instruction.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use manyhands_sys::pid::{ExitStatus, PidFd, Signal};
use manyhands_sys::socket::MessageSocket;
use manyhands_sys::spawn::{Tie, spawn};

fn start(script: &str, tie: Tie) -> (PidFd, MessageSocket) {
    let (ours, theirs) = MessageSocket::pair().expect("descriptors");
    let args: Vec<_> = ["sh", "-c", script].map(|arg| CString::new(arg).unwrap()).into();
    let env = vec![CString::new("WORD=hello").unwrap()];
    let (_, process) =
        spawn("/bin/sh".as_ref(), &args, &env, theirs.as_fd(), tie).expect("a shell");
    (process, ours)
}

fn end_of(process: &PidFd) -> ExitStatus {
    process.wait_until_exited();
    process.try_reap().expect("it has ended")
}

#[test]
fn a_program_gets_its_arguments_its_environment_and_its_end_is_known() {
    let (process, _socket) = start("test \"$WORD\" = hello && exit 7", Tie::EndsWithUs);
    assert_eq!(end_of(&process), ExitStatus::Exited(7));
}

#[test]
fn one_that_cannot_be_started_leaves_nothing_behind() {
    let (_ours, theirs) = MessageSocket::pair().expect("descriptors");
    let program = "/no/such/program";
    let error = spawn(program.as_ref(), &[], &[], theirs.as_fd(), Tie::EndsWithUs).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    // SAFETY: takes no pointer but a null one.
    let rest = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    assert!(rest <= 0, "a child is left: {rest}");
}

#[test]
fn signals_with_handlers_are_at_their_defaults_and_only_the_interrupt_is_blocked() {
    extern "C" fn handler(_signal: i32) {}
    // SAFETY: a function that does nothing.
    unsafe { libc::signal(libc::SIGUSR2, handler as *const () as libc::sighandler_t) };
    let script = "grep '^SigBlk:' /proc/self/status | grep -q '0000000000000002$' && kill -USR2 $$";
    let (process, _socket) = start(script, Tie::EndsWithUs);
    assert_eq!(end_of(&process), ExitStatus::Signaled(libc::SIGUSR2));
}

/// What an owner has started that was killed then.
fn program_of_a_dead_owner(script: &str, tie: Tie) -> (PidFd, OwnedFd) {
    let (ours, theirs) = MessageSocket::pair().expect("descriptors");
    // SAFETY: the child runs only code of this file.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(ours);
        let (sleeper, socket) = start(script, tie);
        theirs.send(b"it", &[sleeper.as_fd(), socket.as_fd()]).expect("the test listens");
        loop {
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        }
    }
    let message = ours.receive().expect("a socket").expect("the owner lives");
    let mut fds = message.fds.into_iter();
    let sleeper = PidFd::from_fd(fds.next().expect("a process"));
    let socket = fds.next().expect("a socket");
    PidFd::open(pid as u32).expect("a child").end_now();
    (sleeper, socket)
}

#[test]
fn a_program_ends_with_who_started_it_though_it_knows_nothing_of_us() {
    let script = "kill -STOP $$; exec sleep 1000";
    let (sleeper, _socket) = program_of_a_dead_owner(script, Tie::EndsWithUs);
    sleeper.wait_until_exited();
}

#[test]
fn a_program_that_may_outlive_who_started_it_does() {
    let (sleeper, _socket) = program_of_a_dead_owner("exec sleep 1000", Tie::OutlivesUs);
    assert!(!sleeper.has_exited());
    sleeper.signal(Signal::KILL).expect("it lives");
    sleeper.wait_until_exited();
}
