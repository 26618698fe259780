//! One way to get a child, whatever it is made from.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use manyhands_sys::pid::{ExitStatus, PidFd};
use manyhands_sys::rights::Rights;
use manyhands_sys::socket::{MessageSocket, is_peer_gone};
use manyhands_sys::spawn::{Tie, spawn};

use crate::message::send_launch;
use crate::state::ProgramState;
use crate::supervisor::Supervisor;
use crate::template::TemplateUse;

/// A child as its owner numbers it; unique within the owner.
pub type ChildId = u64;

/// What happens to a child: `Failed`, or `Started` and then once `Exited`. A child that dies at
/// birth may have no `Started`.
#[derive(Debug)]
pub enum Event {
    /// It runs.
    Started {
        /// Which child.
        id: ChildId,
        /// Its process id, for people.
        pid: u32,
        /// The process itself.
        process: PidFd,
    },
    /// It could not be started.
    Failed {
        /// Which child.
        id: ChildId,
        /// A sentence saying why.
        why: String,
        /// Nobody has tried: the template was lost before it answered. Another may do it.
        unanswered: bool,
    },
    /// It ended.
    Exited {
        /// Which child.
        id: ChildId,
        /// How.
        status: ExitStatus,
    },
}

/// The owner of children, told by the supervisor's thread. Must not block.
pub trait Events: Send + Sync {
    /// Something happened.
    fn notify(&self, event: Event);
}

/// How to make a child.
pub trait Launcher: Send + Sync {
    /// Asks for a child that gets `note` and `fds`; the outcome comes as an [`Event`].
    ///
    /// # Errors
    /// If not even the asking was possible; then no event follows.
    fn launch(
        &self,
        id: ChildId,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        events: Arc<dyn Events>,
    ) -> io::Result<()>;
}

/// A program started afresh for each child. It finds a socket as its descriptor 0 on which
/// [`crate::receive_launch`] tells it who it is.
#[derive(Clone, Debug)]
pub struct Program {
    /// Path of the executable.
    pub path: OsString,
    /// Arguments, the first being the program's name.
    pub args: Vec<CString>,
    /// Its whole environment, as `NAME=value`.
    pub env: Vec<CString>,
}

/// The same for children that may live on when their parent ends.
#[derive(Clone, Debug)]
pub struct OutlivingProgram(pub Program);

impl Program {
    /// Starts the program with the other end of the returned socket as its descriptor 0.
    ///
    /// # Errors
    /// Also if the calling thread may do what the rest of the program may not: the child would be
    /// able to do it too.
    pub(crate) fn start(&self, tie: Tie) -> io::Result<(MessageSocket, u32, PidFd)> {
        let (this_thread, program) = (Rights::of_this_thread()?, Rights::of_program()?);
        if this_thread != program {
            let text = format!(
                "no process is started from a thread that does not have the {} of the program's \
                 main thread: what one thread gives up, the threads that were there before keep; \
                 change them before the first pool is made, or make a new pool afterwards",
                this_thread.difference(&program)
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let (ours, theirs) = MessageSocket::pair()?;
        let started = spawn(&self.path, &self.args, &self.env, theirs.as_fd(), tie);
        let (pid, process) = started.map_err(|error| {
            let text = format!("{} could not be started: {error}", self.path.display());
            io::Error::new(error.kind(), text)
        })?;
        Ok((ours, pid, process))
    }

    fn launch_tied(
        &self,
        tie: Tie,
        id: ChildId,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        events: Arc<dyn Events>,
    ) -> io::Result<()> {
        let now = ProgramState::now()?;
        let (socket, pid, process) = self.start(tie)?;
        match send_launch(&socket, id, note, fds, &now) {
            // One that died at once ends like any other: its exit is an event.
            Err(error) if !is_peer_gone(&error) => {
                process.end_now();
                Err(error)
            }
            _ => Supervisor::current().adopt_child(id, pid, process, events),
        }
    }
}

impl Launcher for Program {
    fn launch(
        &self,
        id: ChildId,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        events: Arc<dyn Events>,
    ) -> io::Result<()> {
        self.launch_tied(Tie::EndsWithUs, id, note, fds, events)
    }
}

impl Launcher for OutlivingProgram {
    fn launch(
        &self,
        id: ChildId,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        events: Arc<dyn Events>,
    ) -> io::Result<()> {
        self.0.launch_tied(Tie::OutlivesUs, id, note, fds, events)
    }
}

impl Launcher for TemplateUse {
    fn launch(
        &self,
        id: ChildId,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        events: Arc<dyn Events>,
    ) -> io::Result<()> {
        self.fork_child(id, note, fds, events)
    }
}
