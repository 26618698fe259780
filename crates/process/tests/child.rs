//! One child for a caller that waits for it: how it ends, what its owner is told, and what becomes
//! of one that was given up.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use manyhands_process::{Child, Fate, Launcher, Program, TemplateStart, TemplateUse};
use manyhands_sync::deadlock::Site;
use manyhands_sync::sleep::{Wait, Waiting};
use manyhands_sys::clock::Deadline;
use manyhands_sys::pid::{ExitStatus, PidFd, Signal};
use support::{LOST_AFTER, guard, template};

#[test]
fn template_entry() {
    support::serve_if_template();
}

/// What the owner was told.
#[derive(Default)]
struct Told {
    started_as: AtomicU32,
    n_over: AtomicU32,
}

struct Teller(Arc<Told>);

impl Fate for Teller {
    fn has_started(&self, pid: u32) {
        assert_eq!(self.0.n_over.load(Ordering::SeqCst), 0, "it starts before it is over");
        assert_eq!(self.0.started_as.swap(pid, Ordering::SeqCst), 0, "it starts once");
    }

    fn is_over(&self) {
        self.0.n_over.fetch_add(1, Ordering::SeqCst);
    }
}

impl Told {
    fn started_as(&self) -> Option<u32> {
        Some(self.started_as.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }

    fn n_over(&self) -> u32 {
        self.n_over.load(Ordering::SeqCst)
    }
}

/// A child of `template` that does what `note` says.
fn fork(template: &TemplateUse, note: &[u8]) -> (Child, Arc<Told>) {
    use std::os::fd::AsFd;
    let root = PidFd::current().expect("a descriptor");
    let told = Arc::new(Told::default());
    let fate = Box::new(Teller(Arc::clone(&told)));
    let child = Child::start(template, note, &[root.as_fd()], fate).expect("it is asked for");
    (child, told)
}

fn run(launcher: &dyn Launcher) -> (std::io::Result<Child>, Arc<Told>) {
    let told = Arc::new(Told::default());
    let child = Child::start(launcher, b"", &[], Box::new(Teller(Arc::clone(&told))));
    (child, told)
}

fn program(path: &str, args: &[&std::ffi::CStr]) -> Program {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Program { path: path.into(), args, env: Vec::new() }
}

/// Lost rather than late.
fn patience() -> Option<Deadline> {
    Some(Deadline::after(LOST_AFTER))
}

fn wait_started(child: &Child, deadline: Option<Deadline>) -> Wait {
    child.wait_started(deadline, &mut Waiting::new(child, Site::Unknown))
}

fn wait_ended(child: &Child, deadline: Option<Deadline>) -> Wait {
    child.wait_ended(deadline, &mut Waiting::new(child, Site::Unknown))
}

fn end_of(child: &Child) -> ExitStatus {
    assert_eq!(wait_ended(child, patience()), Wait::Done);
    child.status().expect("it has run, and ended")
}

#[test]
fn how_it_ended_is_known_whatever_ended_it() {
    let _guard = guard(60);
    let template = template("ends");
    for code in [0, 1, 7, 255] {
        let (child, told) = fork(&template, &[b'x', code]);
        assert_eq!(end_of(&child), ExitStatus::Exited(code.into()));
        assert_eq!((child.failure(), told.n_over()), (None, 1));
    }
    for signal in [libc::SIGKILL, libc::SIGABRT, libc::SIGSEGV, libc::SIGTERM] {
        let (child, told) = fork(&template, &[b'k', signal as u8]);
        assert_eq!(end_of(&child), ExitStatus::Signaled(signal));
        assert_eq!((child.failure(), told.n_over()), (None, 1));
    }
}

#[test]
fn a_program_is_a_child_like_any_other() {
    let _guard = guard(60);
    let (child, told) = run(&program("/bin/sh", &[c"sh", c"-c", c"exit 7"]));
    let child = child.expect("it starts");
    assert_eq!(wait_started(&child, patience()), Wait::Done);
    assert!(child.pid().is_some() && child.pid() == told.started_as());
    assert_eq!(end_of(&child), ExitStatus::Exited(7));
    assert_eq!(told.n_over(), 1);
}

#[test]
fn the_process_id_is_that_of_the_process_that_runs() {
    let _guard = guard(60);
    let (child, told) = fork(&template("ids"), b"stay");
    assert_eq!(wait_started(&child, patience()), Wait::Done);
    let pid = child.pid().expect("it runs");
    assert_eq!(told.started_as(), Some(pid));
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(child.status().is_none() && told.n_over() == 0);
    child.give_up();
    assert_eq!(end_of(&child), ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!((child.pid(), told.n_over()), (Some(pid), 1));
}

#[test]
fn a_wait_for_what_does_not_happen_ends_at_its_deadline() {
    let _guard = guard(60);
    let (child, _) = fork(&template("deadlines"), b"stay");
    assert_eq!(wait_started(&child, patience()), Wait::Done);
    let soon = Some(Deadline::after(Duration::from_millis(10)));
    assert_eq!(wait_ended(&child, soon), Wait::TimedOut);
    child.signal(Signal::TERM).expect("it lives");
    assert_eq!(end_of(&child), ExitStatus::Signaled(libc::SIGTERM));
}

#[test]
fn a_signal_to_one_that_has_ended_is_no_error() {
    let _guard = guard(60);
    let (child, _) = fork(&template("late"), &[b'x', 3]);
    assert_eq!(end_of(&child), ExitStatus::Exited(3));
    child.signal(Signal::TERM).expect("nobody is there to get it");
    child.give_up();
    assert_eq!(child.status(), Some(ExitStatus::Exited(3)));
}

#[test]
fn a_stopped_child_can_be_killed() {
    let _guard = guard(60);
    let (child, _) = fork(&template("stopped"), b"stay");
    assert_eq!(wait_started(&child, patience()), Wait::Done);
    child.signal(Signal::STOP).expect("it lives");
    child.give_up();
    assert_eq!(end_of(&child), ExitStatus::Signaled(libc::SIGKILL));
}

#[test]
fn one_given_up_before_it_runs_is_killed_when_it_does() {
    let _guard = guard(60);
    let template = template("given up");
    template.process().signal(Signal::STOP).expect("a template can be stopped");
    let (child, told) = fork(&template, b"stay");
    let soon = Some(Deadline::after(Duration::from_millis(10)));
    assert_eq!(wait_started(&child, soon), Wait::TimedOut);
    assert!(child.pid().is_none() && child.process().is_none());
    child.signal(Signal::TERM).expect("there is nobody yet to get it");
    child.give_up();
    template.process().signal(Signal::CONT).expect("it can go on");
    assert_eq!(end_of(&child), ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(told.n_over(), 1);
}

#[test]
fn one_whose_handle_is_gone_runs_on_and_its_end_is_told() {
    let _guard = guard(60);
    let (child, told) = fork(&template("dropped"), b"stay");
    assert_eq!(wait_started(&child, patience()), Wait::Done);
    let process = child.process().expect("it runs");
    drop(child);
    assert!(!process.has_exited() && told.n_over() == 0);
    process.signal(Signal::KILL).expect("it lives");
    let lost = Instant::now() + LOST_AFTER;
    while told.n_over() == 0 {
        assert!(Instant::now() < lost, "its end is not told");
        std::thread::yield_now();
    }
}

#[test]
fn what_cannot_even_be_asked_for_is_an_error_and_over() {
    let _guard = guard(60);
    let (child, told) = run(&program("/no/such/program", &[c"program"]));
    assert!(child.is_err());
    assert_eq!((told.started_as(), told.n_over()), (None, 1));
}

#[test]
fn one_that_could_not_be_started_says_why() {
    let _guard = guard(60);
    // It ends without a word, so nothing is ever forked from it.
    let no_template = program("/bin/true", &[c"true"]);
    let mut n_failed = 0;
    for round in 0..20_u8 {
        let start = TemplateStart::Program(&no_template);
        let in_use = TemplateUse::get(&[b'n', b'o', round], start).expect("it starts");
        // Refused at once, or taken and then not done.
        let (child, told) = run(&in_use);
        if let Ok(child) = child {
            assert_eq!(wait_started(&child, patience()), Wait::Done);
            assert_eq!(wait_ended(&child, patience()), Wait::Done);
            let why = child.failure().expect("a sentence");
            assert!(why.contains(' '), "{why}");
            assert!(child.pid().is_none() && child.status().is_none());
            child.signal(Signal::KILL).expect("there is nobody to get it");
            n_failed += 1;
        }
        assert_eq!((told.started_as(), told.n_over()), (None, 1));
    }
    println!("{n_failed} of 20 were taken first");
}

#[test]
fn a_signal_handler_ends_the_wait_it_runs_in() {
    extern "C" fn do_nothing(_: libc::c_int) {}
    let _guard = guard(60);
    // SAFETY: the handler does nothing, and nobody else in this program uses the signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = do_nothing as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let (child, _) = fork(&template("signals"), b"stay");
    assert_eq!(wait_started(&child, patience()), Wait::Done);
    // SAFETY: of the calling thread.
    let me = unsafe { libc::pthread_self() };
    let is_over = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while is_over.load(Ordering::SeqCst) == 0 {
                // SAFETY: the thread waits for this one to end.
                unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
                std::thread::yield_now();
            }
        });
        let waited = wait_ended(&child, patience());
        is_over.store(1, Ordering::SeqCst);
        assert_eq!(waited, Wait::Interrupted);
    });
    child.give_up();
    // Interrupted now and then by signals that were still on their way.
    while wait_ended(&child, patience()) == Wait::Interrupted {}
    assert_eq!(child.status(), Some(ExitStatus::Signaled(libc::SIGKILL)));
}

#[test]
fn many_threads_wait_for_one_child() {
    let _guard = guard(60);
    let (child, _) = fork(&template("crowd"), b"stay");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(end_of(&child), ExitStatus::Signaled(libc::SIGKILL)));
        }
        assert_eq!(wait_started(&child, patience()), Wait::Done);
        child.give_up();
    });
}
