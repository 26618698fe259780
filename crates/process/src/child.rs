//! One child, for a caller that waits for it: started, signalled, and how it ended.
//!
//! | word | meaning | left by |
//! |---|---|---|
//! | `LAUNCHING` | asked for; may have been given up | the news that it runs, or does not |
//! | `RUNNING` | its process id is known | the news of its end |
//! | `ENDED` | and how is known | – |
//! | `FAILED` | it never ran | – |
//!
//! The news come from the supervisor's thread. A child that was given up while it was being
//! launched is killed at the news that it runs: none is left behind that nobody knows.
//!
//! Does not do: end the child when the handle is dropped.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use manyhands_sync::sleep::{Wait, Waiting, sleep};
use manyhands_sys::atomic::Ordering;
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Private};
use manyhands_sys::pid::{ExitStatus, PidFd, Signal};

use crate::launch::{Event, Events, Launcher};

const LAUNCHING: u32 = 0;
const RUNNING: u32 = 1;
const ENDED: u32 = 2;
const FAILED: u32 = 3;

/// What the owner does about a child, in the supervisor's thread: it must not block.
pub trait Fate: Send + Sync {
    /// It runs, under this process id.
    fn has_started(&self, pid: u32);

    /// It has ended, or could not be started. Called once.
    fn is_over(&self);
}

/// A child process that was asked for.
pub struct Child {
    shared: Arc<Shared>,
}

struct Shared {
    word: Futex<Private>,
    state: Mutex<State>,
    fate: Box<dyn Fate>,
}

#[derive(Default)]
struct State {
    pid: Option<u32>,
    process: Option<Arc<PidFd>>,
    status: Option<ExitStatus>,
    failure: Option<String>,
    was_unanswered: bool,
    given_up: bool,
}

impl Child {
    /// Asks `launcher` for a child that gets `note` and `fds`.
    ///
    /// # Errors
    /// If not even the asking was possible; `fate` is then told that it is over.
    pub fn start(
        launcher: &dyn Launcher,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        fate: Box<dyn Fate>,
    ) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { word: Futex::new(LAUNCHING), state: Mutex::default(), fate });
        let events: Arc<dyn Events> = Arc::clone(&shared) as _;
        if let Err(error) = launcher.launch(0, note, fds, events) {
            shared.fate.is_over();
            return Err(error);
        }
        Ok(Self { shared })
    }

    /// Sleeps until the child runs, has run, or could not be started.
    pub fn wait_started(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        self.shared.wait(deadline, waiting, |word| word != LAUNCHING)
    }

    /// Sleeps until the child has ended and how is known.
    pub fn wait_ended(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        self.shared.wait(deadline, waiting, |word| word >= ENDED)
    }

    /// Its process id, once it runs.
    pub fn pid(&self) -> Option<u32> {
        self.shared.lock().pid
    }

    /// The process itself, once it runs.
    pub fn process(&self) -> Option<Arc<PidFd>> {
        self.shared.lock().process.clone()
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        self.shared.lock().status
    }

    /// Why it never ran.
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().failure.clone()
    }

    /// Whether it never ran because its template was lost before it answered, and is still wanted:
    /// asking once more may help.
    pub fn was_unanswered(&self) -> bool {
        self.shared.lock().was_unanswered
    }

    /// Sends a signal; that the child has ended is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.process() {
            Some(process) => process.signal(signal),
            None => Ok(()),
        }
    }

    /// Kills the child, also one that does not run yet: nobody waits for it any more.
    pub fn give_up(&self) {
        let process = {
            let mut state = self.shared.lock();
            state.given_up = true;
            state.process.clone()
        };
        if let Some(process) = process {
            // That it has ended meanwhile is what is wanted.
            let _ = process.signal(Signal::KILL);
        }
    }
}

/// A child may always end by itself, so no wait for one is ever said to be a deadlock.
impl Resource for Child {
    fn describe(&self) -> Description {
        Description { kind: "Process", name: None, id: self.pid().unwrap_or(0) as usize }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::OtherProcess
    }
}

impl Shared {
    fn wait(
        &self,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
        is_there: impl Fn(u32) -> bool,
    ) -> Wait {
        loop {
            // Acquire: meets the Release of `announce`.
            let word = self.word.load(Ordering::Acquire);
            if is_there(word) {
                return Wait::Done;
            }
            if let Some(end) = sleep(&self.word, word, deadline, waiting).end() {
                return end;
            }
        }
    }

    fn announce(&self, word: u32) {
        // Release: meets the Acquire of `wait`.
        self.word.store(word, Ordering::Release);
        self.word.wake_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for Shared {
    fn notify(&self, event: Event) {
        match event {
            Event::Started { pid, process, .. } => {
                let mut state = self.lock();
                if state.given_up {
                    let _ = process.signal(Signal::KILL);
                }
                state.pid = Some(pid);
                state.process = Some(Arc::new(process));
                drop(state);
                self.fate.has_started(pid);
                self.announce(RUNNING);
            }
            Event::Failed { why, unanswered, .. } => {
                let mut state = self.lock();
                state.failure = Some(why);
                state.was_unanswered = unanswered && !state.given_up;
                drop(state);
                self.fate.is_over();
                self.announce(FAILED);
            }
            Event::Exited { status, .. } => {
                self.lock().status = Some(status);
                self.fate.is_over();
                self.announce(ENDED);
            }
        }
    }
}
