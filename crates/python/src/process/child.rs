//! Child processes of their own: started by a launcher, waited for, and the child's own side.
//!
//! A child is a party of the family heap from its launch on. Its party is buried by the thread
//! that learns of its death, so that what it held is free whether or not anybody joins it.
//!
//! Does not do: know what the child runs; descriptors carry that, see `manyhands/_mp/launching.py`.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::sync::{Arc, OnceLock};

use manyhands_process::{Child, Fate};
use manyhands_shm::{Heap, Party, family};
use manyhands_sync::blocking::block_without_panic;
use manyhands_sync::deadlock::Site;
use manyhands_sync::sleep::Waiting;
use manyhands_sys::pid::{ExitStatus, PidFd, Signal};
use manyhands_sys::socket::MAX_FDS;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::launcher::launcher_of;
use super::template::Launch;
use crate::interrupt;
use crate::sync::blocking::block;

/// What the note of a launch begins with if it asks for a process instead of a pool's worker, whose
/// notes begin with a small number.
const TAG: &[u8; 8] = b"process\n";

/// What the exit code is taken for if nobody was left who could tell it, as in the standard
/// module.
const UNKNOWN_EXITCODE: i32 = 255;

/// The most descriptors a child gets besides the heap and its parent.
const MAX_OWN_FDS: usize = MAX_FDS - 2;

/// Those of them that every process gets: the papers, standard output and error.
const N_STANDARD_FDS: usize = 3;

/// A child process that runs, or did.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct ChildProcess {
    /// Set at the start: an object that is there before its child cannot be lost with it.
    child: OnceLock<Child>,
}

/// The party of a child, from its launch to its end.
struct Member {
    heap: Arc<Heap>,
    party: Party,
}

impl Fate for Member {
    fn has_started(&self, pid: u32) {
        self.heap.name_party(self.party, pid);
    }

    fn is_over(&self) {
        // SAFETY: its process has ended.
        unsafe { self.heap.bury(self.party) };
    }
}

#[pymethods]
impl ChildProcess {
    /// One that is not started yet.
    #[new]
    fn new() -> Self {
        Self { child: OnceLock::new() }
    }

    /// Starts a child that gets `fds` (duplicates; the caller keeps its own), and waits until it
    /// runs. It ends when this process does, unless `may_be_orphan`. After an error there may be a
    /// child nevertheless: the caller gives it up.
    fn start(
        &self,
        py: Python<'_>,
        launcher: &Bound<'_, PyAny>,
        fds: Vec<i32>,
        may_be_orphan: bool,
    ) -> PyResult<()> {
        if self.child.get().is_some() {
            return Err(PyRuntimeError::new_err("a child is started once"));
        }
        if fds.len() > MAX_OWN_FDS {
            return Err(too_many_descriptors(fds.len()));
        }
        let launcher = launcher_of(launcher)?;
        let child = py.detach(|| -> std::io::Result<Child> {
            let heap = family::heap()?;
            let party = heap.new_party()?;
            let this = PidFd::current();
            let this = match this {
                Ok(this) => this,
                Err(error) => {
                    // SAFETY: its process was not started.
                    unsafe { heap.bury(party) };
                    return Err(error);
                }
            };
            let mut note = TAG.to_vec();
            note.extend(party.number().to_le_bytes());
            note.push(may_be_orphan.into());
            let member = Box::new(Member { heap: Arc::clone(&heap), party });
            let mut all = vec![heap.fd(), this.as_fd()];
            // SAFETY: the caller's descriptors stay open during this call.
            all.extend(fds.iter().map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) }));
            Child::start(&*launcher, &note, &all, member)
        })?;
        let child = self.child.get_or_init(|| child);
        block(py, child, None, false, |deadline, waiting| child.wait_started(deadline, waiting))?;
        if child.pid().is_none() {
            let why = child.failure();
            let why = why.unwrap_or_else(|| "it ended before it had begun".to_owned());
            return Err(PyOSError::new_err(format!("the process could not be started: {why}")));
        }
        Ok(())
    }

    /// Kills the child, also one that does not run yet, and waits for its end. That there is none
    /// is no error.
    ///
    /// # Errors
    /// What a signal handler raised meanwhile; the child ends nevertheless.
    fn give_up(&self, py: Python<'_>) -> PyResult<()> {
        let Some(child) = self.child.get() else { return Ok(()) };
        child.give_up();
        block(py, child, None, false, |deadline, waiting| child.wait_ended(deadline, waiting))
            .map(drop)
    }

    /// Its process id.
    #[getter]
    fn pid(&self) -> Option<u32> {
        self.child.get()?.pid()
    }

    /// A new descriptor that is readable once the child has ended; the caller owns it.
    fn sentinel(&self) -> PyResult<i32> {
        let process = self.child.get().and_then(Child::process);
        let process = process.ok_or_else(never_ran)?;
        Ok(process.as_fd().try_clone_to_owned()?.into_raw_fd())
    }

    /// Its exit code, negative for a signal; None while it runs, or at the end of `timeout`
    /// seconds (None: no end).
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<i32>> {
        let deadline = interrupt::deadline_of(timeout)?;
        let child = self.child.get().ok_or_else(never_ran)?;
        block(py, child, deadline, false, |deadline, waiting| child.wait_ended(deadline, waiting))?;
        Ok(self.exitcode())
    }

    /// Its exit code; None while it runs. One whose end can be seen is waited for until how it
    /// ended is known.
    fn poll(&self, py: Python<'_>) -> Option<i32> {
        let child = self.child.get()?;
        if child.status().is_none() && child.process()?.has_exited() {
            py.detach(|| {
                let mut waiting = Waiting::new(child, Site::Unknown);
                block_without_panic(&mut waiting, |waiting| child.wait_ended(None, waiting));
            });
        }
        self.exitcode()
    }

    /// Whether how the child ended could not be learned.
    #[getter]
    fn has_unknown_end(&self) -> bool {
        self.child.get().and_then(Child::status) == Some(ExitStatus::Unknown)
    }

    /// How it ended, in words for people.
    fn describe_end(&self) -> Option<String> {
        self.child.get()?.status().map(|status| status.to_string())
    }

    /// Sends a signal by number; that the child has ended is no error.
    fn signal(&self, number: i32) -> PyResult<()> {
        let signal = Signal::from_named_raw(number)
            .ok_or_else(|| PyValueError::new_err(format!("there is no signal {number}")))?;
        Ok(self.child.get().ok_or_else(never_ran)?.signal(signal)?)
    }
}

impl ChildProcess {
    fn exitcode(&self) -> Option<i32> {
        let status = self.child.get()?.status()?;
        Some(status.as_exitcode().unwrap_or(UNKNOWN_EXITCODE))
    }
}

fn never_ran() -> PyErr {
    PyRuntimeError::new_err("the process never ran")
}

/// `n_fds`: those of the process object, and the papers, standard output and error.
fn too_many_descriptors(n_fds: usize) -> PyErr {
    PyOSError::new_err(format!(
        "the process's arguments hold {} descriptors (sockets, connections, memory files), and at \
         most {} can be sent along: give it fewer, and send it the others through a connection \
         once it runs; or use start method 'fork'",
        n_fds - N_STANDARD_FDS,
        MAX_OWN_FDS - N_STANDARD_FDS,
    ))
}

/// Whether a launch asks for a process of its own; else for a worker of a pool.
pub fn is_for_process(launch: &manyhands_process::Launch) -> bool {
    launch.note.starts_with(TAG)
}

/// In a launched child, first thing: joins the family, and from now on ends with its parent unless
/// it may be an orphan. The descriptors it was sent, the first being a pidfd of its parent; the
/// caller owns them.
#[pyfunction]
pub fn become_child(launch: &Launch) -> PyResult<Vec<i32>> {
    let launch = launch.take()?;
    let note = launch.note.strip_prefix(TAG.as_slice()).and_then(|rest| rest.split_first_chunk());
    let mut fds = launch.fds.into_iter();
    let (Some((number, [may_be_orphan])), Some(heap_fd), Some(parent)) =
        (note, fds.next(), fds.next())
    else {
        let text = "parent and child must run the same version of manyhands";
        return Err(PyRuntimeError::new_err(text));
    };
    let parent = PidFd::from_fd(parent);
    if *may_be_orphan == 0 {
        manyhands_process::watch::exit_with(parent.try_clone()?)?;
    }
    // SAFETY: the launch names the family's heap, and the number that it has for this process.
    unsafe { family::join(heap_fd, Party::from_number(u32::from_le_bytes(*number))) }?;
    manyhands_sys::thread::set_name(c"mh-process");
    manyhands_sys::thread::unblock_interrupt();
    let first = parent.as_fd().try_clone_to_owned()?;
    Ok(std::iter::once(first).chain(fds).map(IntoRawFd::into_raw_fd).collect())
}

/// In a child of `os.fork`: from now on ends when the process behind the pidfd `parent` does.
#[pyfunction]
pub fn end_with_parent(parent: i32) -> PyResult<()> {
    // SAFETY: the caller's descriptor stays open during this call.
    let parent = unsafe { BorrowedFd::borrow_raw(parent) }.try_clone_to_owned()?;
    Ok(manyhands_process::watch::exit_with(PidFd::from_fd(parent))?)
}

/// This process asks whether its parent lives: it gets five seconds when it does not.
#[pyfunction]
pub fn looks_after_parent() {
    manyhands_process::watch::looks_itself();
}
