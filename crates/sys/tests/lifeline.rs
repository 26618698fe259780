//! Who hangs on a process's line ends with it, whatever it does at that moment.

use std::os::fd::{AsFd, AsRawFd};

use manyhands_sys::event::poll;
use manyhands_sys::lifeline;
use manyhands_sys::pid::PidFd;
use manyhands_sys::socket::MessageSocket;
use manyhands_sys::thread::exit_now;

const HANGING: &[u8] = b"hanging";
const BYSTANDER: &[u8] = b"bystander";

/// The owner of a line, and two that it has forked: one that hangs on it and one that does not.
struct Family {
    owner: PidFd,
    hanging: PidFd,
    bystander: PidFd,
    to_owner: MessageSocket,
}

/// A family whose hanging member does `act` once it hangs, says that it is there, and sleeps.
fn family(act: fn(&MessageSocket)) -> Family {
    let (ours, theirs) = MessageSocket::pair().expect("descriptors");
    let owner = fork(|| be_owner(&theirs, act));
    drop(theirs);
    let (mut hanging, mut bystander) = (None, None);
    while hanging.is_none() || bystander.is_none() {
        let message = ours.receive().expect("a socket").expect("the family lives");
        let process = message.fds.into_iter().next().map(PidFd::from_fd);
        match &message.bytes[..] {
            HANGING => hanging = process,
            _ => bystander = process,
        }
    }
    let (hanging, bystander) = (hanging.expect("told"), bystander.expect("told"));
    Family { owner, hanging, bystander, to_owner: ours }
}

fn be_owner(socket: &MessageSocket, act: fn(&MessageSocket)) {
    drop(lifeline::own().expect("a line"));
    fork(|| {
        lifeline::descend_from_forker();
        assert!(lifeline::hang_on(), "the owner lives");
        act(socket);
    });
    fork(|| tell(socket, BYSTANDER));
    if matches!(socket.receive(), Ok(Some(_))) {
        let args = [c"sleep".as_ptr(), c"1000".as_ptr(), std::ptr::null()];
        // SAFETY: strings that end, in a list that does.
        unsafe { libc::execv(c"/bin/sleep".as_ptr(), args.as_ptr()) };
    }
    exit_now(1);
}

/// A child that does `act` and then sleeps for ever.
fn fork(act: impl FnOnce()) -> PidFd {
    // SAFETY: the children of these tests run only code of this file.
    match unsafe { libc::fork() } {
        0 => {
            act();
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
        }
        pid => PidFd::open(pid as u32).expect("a child that is not reaped"),
    }
}

fn tell(socket: &MessageSocket, who: &[u8]) {
    let me = PidFd::current().expect("a descriptor");
    socket.send(who, &[me.as_fd()]).expect("somebody listens");
}

fn sleeps(socket: &MessageSocket) {
    tell(socket, HANGING);
}

fn stops(socket: &MessageSocket) {
    tell(socket, HANGING);
    // SAFETY: to signal oneself is always allowed.
    unsafe { libc::raise(libc::SIGSTOP) };
}

fn hears_nothing(socket: &MessageSocket) {
    // SAFETY: a set that is filled before it is used.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
    tell(socket, HANGING);
}

fn becomes_somebody_else(socket: &MessageSocket) {
    // SAFETY: takes numbers. Who may not do it stays who it is.
    unsafe { libc::setresuid(65534, 65534, 65534) };
    tell(socket, HANGING);
}

impl Family {
    fn hanging_ends_and_bystander_lives(self) {
        self.hanging.wait_until_exited();
        assert!(!self.bystander.has_exited(), "who does not hang on it is let alone");
        for process in [&self.owner, &self.bystander] {
            process.end_now();
        }
    }
}

#[test]
fn who_hangs_on_a_line_ends_when_its_owner_is_killed() {
    for act in [sleeps, stops, hears_nothing, becomes_somebody_else] {
        let family = family(act);
        family.owner.end_now();
        family.hanging_ends_and_bystander_lives();
    }
}

#[test]
fn who_hangs_on_a_line_ends_when_its_owner_runs_another_program() {
    for act in [sleeps, stops, hears_nothing, becomes_somebody_else] {
        let family = family(act);
        family.to_owner.send(b"run it", &[]).expect("it listens");
        family.hanging.wait_until_exited();
        assert!(!family.owner.has_exited(), "it has only become another program");
        family.hanging_ends_and_bystander_lives();
    }
}

#[test]
fn who_sees_to_its_end_itself_is_continued_instead() {
    let family = family(|socket| {
        lifeline::be_continued_only();
        let line = lifeline::above().expect("it hangs on one");
        stops(socket);
        poll(&[line.as_fd()], None).expect("a descriptor");
        exit_now(3);
    });
    // What continues it comes once: not before it has stopped.
    while !family.hanging.is_stopped() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    family.owner.end_now();
    family.hanging_ends_and_bystander_lives();
}

#[test]
fn who_comes_too_late_is_told_that_the_line_is_cut() {
    let (ours, theirs) = MessageSocket::pair().expect("descriptors");
    let owner = fork(|| {
        drop(lifeline::own().expect("a line"));
        fork(|| {
            lifeline::descend_from_forker();
            let line = lifeline::above().expect("the owner has one");
            tell(&theirs, HANGING);
            poll(&[line.as_fd()], None).expect("a descriptor");
            theirs.send(if lifeline::hang_on() { b"hangs" } else { b"cut!!" }, &[]).expect("sent");
            exit_now(0);
        });
    });
    drop(theirs);
    ours.receive().expect("a socket");
    owner.end_now();
    let told = ours.receive().expect("a socket").expect("it lives on to tell");
    assert_eq!(told.bytes, b"cut!!");
}

#[test]
fn several_descriptors_are_one_to_wait_for() {
    let (ours, theirs) = MessageSocket::pair().expect("descriptors");
    let (other, _kept) = MessageSocket::pair().expect("descriptors");
    let any = lifeline::any_of([other.into_fd(), ours.into_fd()]).expect("a descriptor");
    let now = Some(manyhands_sys::clock::Deadline::after(std::time::Duration::ZERO));
    assert!(poll(&[any.as_fd()], now).expect("a look").is_empty());
    drop(theirs);
    assert_eq!(poll(&[any.as_fd()], None).expect("a wait"), [0]);
}

#[test]
fn a_program_that_closes_all_descriptors_gets_a_new_line_and_loses_nothing_else() {
    let (ours, theirs) = MessageSocket::pair().expect("descriptors");
    let program = fork(|| {
        let before = lifeline::own().expect("a line");
        let theirs = theirs.into_fd();
        // As a daemon does it, but for the one descriptor this test needs.
        let kept = theirs.as_raw_fd() as u32;
        drop(before);
        // SAFETY: numbers; the test goes on with nothing but `theirs`.
        unsafe {
            libc::close_range(3, kept - 1, 0);
            libc::close_range(kept + 1, u32::MAX, 0);
        }
        // The numbers of the old line are others' now, also in a fork.
        let others: Vec<_> = (0..1000).map_while(|_| theirs.try_clone().ok()).collect();
        drop(lifeline::own().expect("a new line"));
        let socket = MessageSocket::from_fd(theirs);
        let child = fork(|| {
            lifeline::descend_from_forker();
            assert!(lifeline::hang_on());
            let is_open = |fd: &std::os::fd::OwnedFd| fd.try_clone().is_ok();
            tell(&socket, if others.iter().all(is_open) { HANGING } else { BYSTANDER });
        });
        std::mem::forget(child);
    });
    let message = ours.receive().expect("a socket").expect("the child lives");
    assert_eq!(message.bytes, HANGING, "a descriptor of somebody else was closed");
    let child = message.fds.into_iter().next().map(PidFd::from_fd).expect("a process");
    program.end_now();
    child.wait_until_exited();
}
