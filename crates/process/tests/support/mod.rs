//! A template that forks in earnest: this very test binary, re-entered through `template_entry`.
//!
//! Its children do what the note of their launch says.

#![allow(dead_code, unused_imports, reason = "each test program uses its own part of it")]

use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use manyhands_process::serve::TemplateServer;
use manyhands_process::{
    ChildId, Event, Events, Launch, Launcher, Program, TemplateStart, TemplateUse, watch,
};
use manyhands_sys::pid::{ExitStatus, PidFd};
use manyhands_sys::socket::MessageSocket;
use manyhands_sys::thread::exit_now;
use manyhands_testing::reentry::Reentry;
pub use manyhands_testing::watchdog::guard;

const MARK: &str = "MANYHANDS_TEST_TEMPLATE";

/// How long an event may take before it counts as lost.
pub const LOST_AFTER: Duration = Duration::from_secs(20);

/// Call this from a test named `template_entry`: in a template it never returns.
pub fn serve_if_template() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    // SAFETY: nothing else in a template of the tests reads its standard input.
    let socket = unsafe { MessageSocket::from_stdin() }.expect("a template has a socket");
    let Ok(Some(mut server)) = TemplateServer::from_hello(socket) else { exit_now(0) };
    while let Ok(Some(launch)) = server.next_launch() {
        // SAFETY: the child runs only code of this file, and takes no lock of another thread.
        match unsafe { libc::fork() } {
            -1 => server.failed(launch.id, "no fork today").expect("the root listens"),
            0 => {
                let _ = server.become_child(true);
                run_child(&launch);
            }
            pid => {
                let id = launch.id;
                drop(launch);
                if pid % 2 == 0 {
                    // Whoever kills templates at random meets one between fork and report.
                    std::thread::sleep(Duration::from_millis(1));
                }
                let _ = server.started(id, pid as u32);
            }
        }
    }
    exit_now(0);
}

fn run_child(launch: &Launch) -> ! {
    let (verb, number) = launch.note.split_at(1);
    let root = launch.fds[0].try_clone().expect("a descriptor");
    watch::exit_with(PidFd::from_fd(root)).expect("a thread");
    match verb {
        b"x" => exit_now(number[0].into()),
        b"k" => {
            let signal = number[0].into();
            // SAFETY: the default action of a signal replaces the runtime's handler; to signal
            // oneself is always allowed.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::kill(libc::getpid(), signal);
            }
        }
        _ => {}
    }
    loop {
        std::thread::park();
    }
}

/// Collects what happens to children.
pub struct Log {
    sender: Mutex<Sender<Event>>,
    receiver: Mutex<Receiver<Event>>,
}

impl Events for Log {
    fn notify(&self, event: Event) {
        self.sender.lock().expect("sound").send(event).expect("the log lives");
    }
}

impl Log {
    pub fn new() -> Arc<Self> {
        let (sender, receiver) = channel();
        Arc::new(Self { sender: Mutex::new(sender), receiver: Mutex::new(receiver) })
    }

    pub fn next(&self) -> Event {
        let event = self.receiver.lock().expect("sound").recv_timeout(LOST_AFTER);
        event.expect("something happens")
    }

    pub fn try_next(&self) -> Option<Event> {
        self.receiver.lock().expect("sound").try_recv().ok()
    }

    pub fn started(&self) -> (ChildId, PidFd) {
        match self.next() {
            Event::Started { id, process, .. } => (id, process),
            other => panic!("a child starts, not {other:?}"),
        }
    }

    pub fn exited(&self) -> (ChildId, ExitStatus) {
        match self.next() {
            Event::Exited { id, status } => (id, status),
            other => panic!("a child ends, not {other:?}"),
        }
    }
}

/// The template for `key`.
pub fn template(key: &str) -> TemplateUse {
    let program = program("template_entry", MARK);
    TemplateUse::get(key.as_bytes(), TemplateStart::Program(&program)).expect("a template")
}

pub fn program(entry: &str, mark: &str) -> Program {
    let Reentry { path, args, env } = Reentry::at("template", entry, mark);
    Program { path: path.into(), args, env }
}

/// Launches a child that does what `note` says.
pub fn launch(template: &TemplateUse, id: ChildId, note: &[u8], log: &Arc<Log>) {
    try_launch(template, id, note, &[], log).expect("the template takes launches");
}

pub fn try_launch(
    template: &TemplateUse,
    id: ChildId,
    note: &[u8],
    fds: &[BorrowedFd<'_>],
    log: &Arc<Log>,
) -> std::io::Result<()> {
    use std::os::fd::AsFd;
    let root = PidFd::current()?;
    let mut all = vec![root.as_fd()];
    all.extend(fds);
    template.launch(id, note, &all, Arc::clone(log) as _)
}
