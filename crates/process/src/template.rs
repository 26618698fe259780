//! Templates as the root sees them: a process that forks children on request.
//!
//! Templates are shared by key: pools that want the same one get the same one, and it stays for
//! [`LINGER`] after its last user has gone, so that the next pool starts warm. A template that
//! dies costs nobody more than the exit status of its children.
//!
//! A template that somebody has stopped (SIGSTOP) answers nobody, like one that is importing, or
//! that gets no processor. Only the kernel can tell them apart, and is asked now and then while a
//! launch waits. One that is found stopped [`MAX_STOPPED_LOOKS`] times in a row is killed: its
//! children live on, and what it has not answered is told to have failed, so that another template
//! is asked. A fork of it that has not spoken yet finds the socket shut, and ends: no launch has
//! two children.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::pid::{PidFd, Signal};
use manyhands_sys::rights::Rights;
use manyhands_sys::settings::Settings;
use manyhands_sys::socket::{Message, MessageSocket};
use manyhands_sys::spawn::Tie;

use crate::launch::{ChildId, Event, Events, Program};
use crate::message::{Report, decode, send_launch};
use crate::state::ProgramState;
use crate::supervisor::Supervisor;

/// How long an unused template stays.
const LINGER: Duration = Duration::from_secs(1);

/// How often a template that does not answer is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// So often in a row it is found stopped before it is given up. Not at once: with a whole job that
/// is stopped at the terminal (Ctrl-Z) and goes on, it goes on a moment later than its root.
const MAX_STOPPED_LOOKS: u32 = 5;

/// Where a template comes from when there is none for the key yet.
pub enum TemplateStart<'a> {
    /// A program that calls [`crate::serve::TemplateServer::from_hello`].
    Program(&'a Program),
    /// A fork the caller has made already: its end of the socket and its process.
    Forked(MessageSocket, PidFd),
}

/// A template in use: it stays at least as long as this.
pub struct TemplateUse {
    template: Arc<Template>,
}

pub(crate) struct Template {
    pub(crate) key: Vec<u8>,
    pub(crate) socket: MessageSocket,
    pub(crate) process: PidFd,
    /// What it may do, and so what its children may.
    rights: Rights,
    /// What it was started with, beyond which its children may not come.
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    n_users: usize,
    leave_at: Option<Deadline>,
    /// No more launches: it is dead, or told to go.
    closed: bool,
    /// It has said its last word.
    buried: bool,
    children: HashMap<(usize, ChildId), Arc<dyn Events>>,
    /// Owners may use the same child ids; on the wire each launch has a number of its own.
    next_launch: u64,
    launches: HashMap<u64, (usize, ChildId)>,
    /// Launches whose child is known to run: child and template both say so.
    started: HashSet<u64>,
    /// When to ask whether it is stopped, while a launch is not answered.
    look_at: Option<Deadline>,
    n_stopped_looks: u32,
}

impl TemplateUse {
    /// The template for `key`, started now if there is none.
    ///
    /// # Errors
    /// If a template is needed and cannot be started.
    pub fn get(key: &[u8], start: TemplateStart<'_>) -> io::Result<Self> {
        Supervisor::current().template(key, start)
    }

    /// The template for `key` if it runs.
    ///
    /// # Errors
    /// If there is no descriptor left to look with, here and below.
    pub fn find(key: &[u8]) -> io::Result<Option<Self>> {
        Supervisor::current().find_template(key)
    }

    /// The template's process, which may have ended.
    pub fn process(&self) -> &PidFd {
        &self.template.process
    }

    /// Whether the template takes launches, and its children are what the program's would be.
    ///
    /// Templates that may do what the program may not, or the other way round, are told to go.
    pub fn is_suitable(&self) -> io::Result<bool> {
        Supervisor::current().dismiss_outdated(&Rights::of_program()?);
        Ok(!self.template.lock().closed && self.template.reaches(&Settings::of_program()?))
    }

    /// Takes no more launches from this template: it does not answer.
    pub fn give_up(self) {
        self.template.lock().closed = true;
    }

    pub(crate) fn new(template: Arc<Template>) -> Option<Self> {
        let mut state = template.lock();
        if state.closed {
            return None;
        }
        state.n_users += 1;
        state.leave_at = None;
        drop(state);
        Some(Self { template })
    }

    pub(crate) fn fork_child(
        &self,
        id: ChildId,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        events: Arc<dyn Events>,
    ) -> io::Result<()> {
        let now = ProgramState::now()?;
        let mut state = self.template.lock();
        if state.closed {
            let text = "the template process that forks workers has ended";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        let launch = state.next_launch;
        state.next_launch += 1;
        let child = (Arc::as_ptr(&events).addr(), id);
        state.launches.insert(launch, child);
        state.children.insert(child, events);
        let is_first = state.look_at.is_none();
        if is_first {
            state.look_at = Some(Deadline::after(LOOK));
        }
        // Without the lock: a stopped template reads nothing, and the socket may be full. Who gives
        // it up needs the lock.
        drop(state);
        if is_first {
            Supervisor::current().look_again();
        }
        let sent = send_launch(&self.template.socket, launch, note, fds, &now);
        if sent.is_err() {
            let mut state = self.template.lock();
            if state.launches.remove(&launch).is_none() {
                // The template was lost meanwhile, and the failure told.
                return Ok(());
            }
            state.children.remove(&child);
        }
        sent
    }
}

impl Drop for TemplateUse {
    fn drop(&mut self) {
        let mut state = self.template.lock();
        state.n_users -= 1;
        if state.n_users == 0 {
            state.leave_at = Some(Deadline::after(LINGER));
            drop(state);
            Supervisor::current().look_again();
        }
    }
}

impl Template {
    pub(crate) fn start(key: &[u8], start: TemplateStart<'_>) -> io::Result<Arc<Self>> {
        let (rights, settings) = (Rights::of_program()?, Settings::of_program()?);
        let (socket, process) = match start {
            TemplateStart::Forked(socket, process) => (socket, process),
            TemplateStart::Program(program) => {
                let root = PidFd::current()?;
                let (socket, _pid, process) = program.start(Tie::EndsWithUs)?;
                // One that died at once makes the send fail; its end is noticed like any other.
                let _ = socket.send(b"hello", &[root.as_fd()]);
                (socket, process)
            }
        };
        Ok(Arc::new(Self {
            key: key.to_vec(),
            socket,
            process,
            rights,
            settings,
            state: Mutex::default(),
        }))
    }

    pub(crate) fn has_rights(&self, rights: &Rights) -> bool {
        self.rights == *rights
    }

    /// Whether its children can have these.
    pub(crate) fn reaches(&self, settings: &Settings) -> bool {
        settings.are_in_reach_of(&self.settings)
    }

    /// Tells the template to go: also one that is stopped, which would not hear of it, and one of
    /// another user, which this program may not signal.
    pub(crate) fn dismiss(&self) {
        self.socket.end_sending();
        for signal in [Signal::TERM, Signal::CONT] {
            let _ = self.process.signal(signal);
        }
    }

    /// When the supervisor should let the template go, or look at it, if nothing changes.
    pub(crate) fn due_at(&self) -> Option<Deadline> {
        let state = self.lock();
        [state.leave_at, state.look_at].into_iter().flatten().min()
    }

    /// Looks, if it is time to, whether somebody has stopped the template while launches wait.
    /// True: it has been so for long enough, and takes no more of them.
    pub(crate) fn is_given_up(&self) -> bool {
        if !self.lock().look_at.is_some_and(Deadline::has_passed) {
            return false;
        }
        let is_stopped = self.process.is_stopped();
        let mut state = self.lock();
        let is_awaited = state.launches.len() > state.started.len();
        state.look_at = is_awaited.then(|| Deadline::after(LOOK));
        state.n_stopped_looks =
            if is_awaited && is_stopped { state.n_stopped_looks + 1 } else { 0 };
        let is_given_up = state.n_stopped_looks >= MAX_STOPPED_LOOKS;
        state.closed |= is_given_up;
        is_given_up
    }

    /// Closes the template if it is unused since its linger, or `at_once`. True if closed now.
    pub(crate) fn close_if_unused(&self, at_once: bool) -> bool {
        let mut state = self.lock();
        let due = state.leave_at.is_some_and(Deadline::has_passed);
        state.closed |= at_once || due;
        state.closed
    }

    /// Handles what the template says. Returns a started child for the supervisor to watch, as
    /// the fallback for a template that dies before it can report the exit.
    pub(crate) fn handle(this: &Arc<Self>, message: Message) -> Option<OrphanWatch> {
        let report: Report = decode(&message.bytes).ok()?;
        match report {
            Report::Started { id: launch, pid } => {
                let (child, events) = this.look_up(launch, false)?;
                if this.lock().started.contains(&launch) {
                    return None;
                }
                let process = message.fds.into_iter().next().map(PidFd::from_fd);
                let watch = process.as_ref().and_then(|process| process.try_clone().ok());
                let (Some(process), Some(watch)) = (process, watch) else {
                    // Who cannot be watched is ended, instead of being waited for in vain.
                    manyhands_sys::pid::kill_by_id(pid);
                    this.look_up(launch, true)?;
                    let why = "this program has no file descriptor left: close some, or raise the \
                               limit (ulimit -n)";
                    events.notify(Event::Failed {
                        id: child.1,
                        why: why.into(),
                        unanswered: false,
                    });
                    return None;
                };
                this.lock().started.insert(launch);
                events.notify(Event::Started { id: child.1, pid, process });
                Some(OrphanWatch { template: Arc::clone(this), child, process: watch, events })
            }
            Report::Failed { id: launch, why } => {
                let (child, events) = this.look_up(launch, true)?;
                events.notify(Event::Failed { id: child.1, why, unanswered: false });
                None
            }
            Report::Exited { id: launch, code, signal } => {
                let (child, events) = this.look_up(launch, true)?;
                events.notify(Event::Exited { id: child.1, status: Report::status(code, signal) });
                None
            }
        }
    }

    fn look_up(&self, launch: u64, last: bool) -> Option<((usize, ChildId), Arc<dyn Events>)> {
        let mut state = self.lock();
        let child = *state.launches.get(&launch)?;
        let events = Arc::clone(state.children.get(&child)?);
        if last {
            state.launches.remove(&launch);
            state.started.remove(&launch);
            state.children.remove(&child);
        }
        Some((child, events))
    }

    /// The template is gone: launches it never answered have failed. Children that run are the
    /// supervisor's to watch.
    pub(crate) fn bury(&self, running: &[(usize, ChildId)]) {
        let mut state = self.lock();
        state.closed = true;
        state.buried = true;
        let children = std::mem::take(&mut state.children);
        state.launches.clear();
        drop(state);
        for (child, events) in children {
            if !running.contains(&child) {
                let why = "the template process ended before it had forked the worker".into();
                events.notify(Event::Failed { id: child.1, why, unanswered: true });
            }
        }
    }

    /// Whether the exit of this child has not been reported yet.
    pub(crate) fn awaits_exit_of(&self, child: (usize, ChildId)) -> bool {
        self.lock().children.contains_key(&child)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A forked child whose template should report its exit; kept in case the template cannot.
pub(crate) struct OrphanWatch {
    pub(crate) template: Arc<Template>,
    pub(crate) child: (usize, ChildId),
    pub(crate) process: PidFd,
    pub(crate) events: Arc<dyn Events>,
}

impl OrphanWatch {
    /// Whether the exit is still to be told, by the template or, without one, by us.
    pub(crate) fn is_needed(&self) -> bool {
        let state = self.template.lock();
        state.buried || state.children.contains_key(&self.child)
    }

    /// Tells the exit that the template did not come to tell.
    pub(crate) fn report_exit(&self) {
        let status = self.process.status_of_ended();
        self.template.lock().children.remove(&self.child);
        self.events.notify(Event::Exited { id: self.child.1, status });
    }
}
