//! Child processes of their own: started by a launcher, waited for, and the child's own side.
//!
//! A child is a party of the family heap from its launch on. Its party is buried by the thread
//! that learns of its death, so that what it held is free whether or not anybody joins it.
//!
//! Does not do: know what the child runs; descriptors carry that, see `manyhands/_mp/launching.py`.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::sync::{Arc, Mutex, PoisonError};

use manyhands_process::{Child, Fate, Launcher, watch};
use manyhands_shm::{Heap, Party, family};
use manyhands_sync::blocking::block_without_panic;
use manyhands_sync::deadlock::Site;
use manyhands_sync::sleep::Waiting;
use manyhands_sys::lifeline;
use manyhands_sys::memory::MemoryFile;
use manyhands_sys::pid::{ExitStatus, PidFd};

use manyhands_sys::socket::MAX_FDS;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

use super::handle::{ProcessHandle, signal_of};
use super::launcher::{launcher_of, outliving_launcher_of};
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
const MAX_OWN_FDS: usize = MAX_FDS - 3;

/// So many templates are asked, if one after the other is lost before it answers.
const MAX_ATTEMPTS: u32 = 3;

/// Those of them that every process gets: the launch record, standard output and error.
const N_STANDARD_FDS: usize = 3;

/// A child process that runs, or did.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct ChildProcess {
    /// Set at the start: an object that is there before its child cannot be lost with it.
    child: Mutex<Option<Arc<Child>>>,
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
        Self { child: Mutex::default() }
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
        if self.child().is_some() {
            return Err(PyRuntimeError::new_err("a child is started once"));
        }
        if fds.len() > MAX_OWN_FDS {
            return Err(too_many_descriptors(fds.len()));
        }
        let launcher =
            if may_be_orphan { outliving_launcher_of(launcher)? } else { launcher_of(launcher)? };
        for n_attempts in 1.. {
            // SAFETY: the caller's descriptors stay open during this call.
            let fds = fds.iter().map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) });
            let child = py.detach(|| ask_for(&*launcher, fds.collect(), may_be_orphan))?;
            let child = self.keep(child);
            let is_started =
                |deadline, waiting: &mut Waiting<'_>| child.wait_started(deadline, waiting);
            block(py, &*child, None, false, is_started)?;
            if child.pid().is_some() {
                break;
            }
            if child.was_unanswered() && n_attempts < MAX_ATTEMPTS {
                continue;
            }
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
        let Some(child) = self.child() else { return Ok(()) };
        child.give_up();
        block(py, &*child, None, false, |deadline, waiting| child.wait_ended(deadline, waiting))
            .map(drop)
    }

    /// Its process id.
    #[getter]
    fn pid(&self) -> Option<u32> {
        self.child()?.pid()
    }

    /// A new descriptor that is readable once the child has ended; the caller owns it.
    fn sentinel(&self) -> PyResult<i32> {
        let process = self.child().and_then(|child| child.process());
        let process = process.ok_or_else(never_ran)?;
        Ok(process.sentinel()?.into_raw_fd())
    }

    /// Its exit code, negative for a signal; None while it runs, or at the end of `timeout`
    /// seconds (None: no end).
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<i32>> {
        let deadline = interrupt::deadline_of(timeout)?;
        let child = self.child().ok_or_else(never_ran)?;
        block(py, &*child, deadline, false, |deadline, waiting| {
            child.wait_ended(deadline, waiting)
        })?;
        Ok(self.exitcode())
    }

    /// Its exit code; None while it runs. One whose end can be seen is waited for until how it
    /// ended is known.
    fn poll(&self, py: Python<'_>) -> Option<i32> {
        let child = self.child()?;
        if child.status().is_none() && child.process()?.has_exited() {
            py.detach(|| {
                let mut waiting = Waiting::new(&*child, Site::Unknown);
                block_without_panic(&mut waiting, |waiting| child.wait_ended(None, waiting));
            });
        }
        self.exitcode()
    }

    /// Whether how the child ended could not be learned.
    #[getter]
    fn has_unknown_end(&self) -> bool {
        self.child().and_then(|child| child.status()) == Some(ExitStatus::Unknown)
    }

    /// How it ended, in words for people.
    fn describe_end(&self) -> Option<String> {
        self.child()?.status().map(|status| status.to_string())
    }

    /// Sends a signal by number; that the child has ended is no error.
    fn signal(&self, number: i32) -> PyResult<()> {
        Ok(self.child().ok_or_else(never_ran)?.signal(signal_of(number)?)?)
    }
}

impl ChildProcess {
    fn child(&self) -> Option<Arc<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is asked for from now on, in the place of what came to nothing.
    fn keep(&self, child: Child) -> Arc<Child> {
        let child = Arc::new(child);
        let mut kept = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Arc::clone(&child));
        child
    }

    fn exitcode(&self) -> Option<i32> {
        let status = self.child()?.status()?;
        Some(status.as_exitcode().unwrap_or(UNKNOWN_EXITCODE))
    }
}

/// Asks for a child that gets the heap, a handle of this process, and `fds`.
fn ask_for(
    launcher: &dyn Launcher,
    fds: Vec<BorrowedFd<'_>>,
    may_be_orphan: bool,
) -> std::io::Result<Child> {
    let heap = family::heap()?;
    let party = heap.new_party()?;
    let this = PidFd::current().inspect_err(|_| {
        // SAFETY: its process was not started.
        unsafe { heap.bury(party) };
    })?;
    let mut note = TAG.to_vec();
    note.extend(party.number().to_le_bytes());
    note.push(may_be_orphan.into());
    let member = Box::new(Member { heap: Arc::clone(&heap), party });
    let mut all = vec![heap.fd(), this.as_fd()];
    all.extend(fds);
    Child::start(launcher, &note, &all, member)
}

fn never_ran() -> PyErr {
    PyRuntimeError::new_err("the process never ran")
}

/// `n_fds`: those of the process object, and the launch record, standard output and error.
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

/// Whether what a launch asks for may live on when its parent ends.
pub fn may_be_orphan(launch: &manyhands_process::Launch) -> bool {
    note_of(launch).is_some_and(|(_, may_be_orphan)| may_be_orphan)
}

/// The party of the process that a launch asks for, and whether it may be an orphan.
fn note_of(launch: &manyhands_process::Launch) -> Option<(Party, bool)> {
    let note = launch.note.strip_prefix(TAG.as_slice())?;
    let (number, [may_be_orphan]) = note.split_first_chunk()? else { return None };
    Some((Party::from_number(u32::from_le_bytes(*number)), *may_be_orphan != 0))
}

/// In a launched child, first thing: joins the family, and from now on ends with its parent unless
/// it may be an orphan. The descriptors it was sent, the first being its parent's sentinel; the
/// caller owns them.
#[pyfunction]
pub fn become_child(launch: &Launch) -> PyResult<Vec<i32>> {
    let launch = launch.take()?;
    let note = note_of(&launch);
    let mut fds = launch.fds.into_iter();
    let (Some((party, may_be_orphan)), Some(heap_fd), Some(parent)) =
        (note, fds.next(), fds.next())
    else {
        let text = "parent and child must run the same version of manyhands";
        return Err(PyRuntimeError::new_err(text));
    };
    let parent = PidFd::from_fd(parent);
    if !may_be_orphan {
        watch::exit_with(parent.try_clone()?)?;
    }
    // SAFETY: the launch names the family's heap, and the number that it has for this process.
    unsafe { family::join(heap_fd, party) }?;
    manyhands_sys::thread::set_name(c"mh-process");
    if !launch.state.blocks_interrupt() {
        manyhands_sys::thread::unblock_interrupt();
    }
    let first = watch::sentinel(&parent)?;
    launch.state.seal();
    Ok(std::iter::once(first).chain(fds).map(IntoRawFd::into_raw_fd).collect())
}

/// A descriptor of an empty memory file without a name: for what a parent and its child write for
/// each other.
#[pyfunction]
pub fn memory_file(name: &str) -> PyResult<i32> {
    Ok(MemoryFile::create(name, 0)?.into_fd().into_raw_fd())
}

/// In a child of `os.fork`: from now on ends when `parent` does, which was asked for before the
/// fork.
#[pyfunction]
pub fn end_with_parent(parent: &ProcessHandle) -> PyResult<()> {
    watch::hang_on_forker();
    Ok(watch::exit_with(parent.process().try_clone()?)?)
}

/// In a child of `os.fork`, as [`end_with_parent`] or instead: a new descriptor that is readable
/// once its parent has ended; the caller owns it.
#[pyfunction]
pub fn parent_sentinel(parent: &ProcessHandle) -> PyResult<i32> {
    lifeline::descend_from_forker();
    Ok(watch::sentinel(parent.process())?.into_raw_fd())
}

/// This process asks whether its parent lives: it gets a fifth of a second when it does not.
#[pyfunction]
pub fn looks_after_parent() {
    watch::looks_itself();
}
