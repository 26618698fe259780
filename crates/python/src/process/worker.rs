//! The worker's loop: claim without the interpreter, run attached, reply.

use std::collections::HashMap;
use std::os::fd::IntoRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use manyhands_pool::process::{Next, ReplyKind, WorkerEnd};
use manyhands_shm::Carried;
use manyhands_sys::thread::{exit_now, unblock_interrupt};
use pyo3::exceptions::{PyMemoryError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::codec::{self, Pickled, Shape};
use super::essentials::Essentials;
use super::template::Launch;
use crate::contract;
use crate::errors;
use crate::fork::Generation;

/// A worker's connection to its pool, and its loop. Used by the worker's main thread; the
/// interrupt handler asks [`WorkerLoop::should_interrupt`] from the same thread.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct WorkerLoop {
    /// Locked for moments only: never while Python code runs.
    end: Mutex<WorkerEnd>,
    functions: Mutex<HashMap<u64, Py<PyAny>>>,
    generation: Generation,
}

/// A worker keeps so many functions; beyond, it starts anew.
const MAX_FUNCTIONS: usize = 1024;

/// A claimed task, ready to run.
enum Call<'py> {
    Once {
        function: Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    },
    Chunk {
        function: Bound<'py, PyAny>,
        items: Bound<'py, PyAny>,
        starred: bool,
    },
}

#[pymethods]
impl WorkerLoop {
    /// Becomes the worker that `launch` describes.
    #[new]
    fn new(launch: &Launch) -> PyResult<Self> {
        // SAFETY: a launch comes from the template's socket, or that of a program just started.
        let end = unsafe { WorkerEnd::join(launch.take()?) }?;
        manyhands_sys::thread::set_name(c"mh-worker");
        Ok(Self {
            end: Mutex::new(end),
            functions: Mutex::default(),
            generation: Generation::current(),
        })
    }

    /// The worker's number within its pool.
    #[getter]
    fn number(&self) -> u64 {
        self.end().id()
    }

    /// What the pool wants its workers to know.
    fn setup<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.end().setup())
    }

    /// Descriptors the pool sent along; the caller owns them.
    fn take_fds(&self) -> Vec<i32> {
        self.end().take_fds().into_iter().map(IntoRawFd::into_raw_fd).collect()
    }

    /// A descriptor for faulthandler: what is written there reaches the parent with the news of
    /// this worker's death. The caller owns it.
    fn crash_text_fd(&self) -> PyResult<i32> {
        Ok(self.end().crash_text_fd()?.into_raw_fd())
    }

    /// Just before code of the caller runs: hides this process's memory from others if the program
    /// does.
    fn seal(&self) {
        self.end().seal();
    }

    /// The initializer has failed: no worker of this pool can be prepared.
    fn set_failed(&self, why: &str) {
        self.end().set_failed(why);
    }

    /// Whether the interrupt signal that has just come is meant for the task that runs.
    fn should_interrupt(&self) -> bool {
        self.generation.is_current() && self.end().interrupt_wanted()
    }

    /// Runs tasks until the pool needs this worker no more.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        self.end().set_ready();
        unblock_interrupt();
        let mut essentials = Essentials::of_now(py)?;
        loop {
            let ready = self.end().try_next();
            let is_idle = ready.is_none();
            if is_idle && !essentials.restore_signal(py) {
                return Ok(());
            }
            let next = match ready {
                Some(next) => next,
                None => py.detach(|| self.end().wait_next()),
            };
            match next {
                Next::Run => {
                    let started_ns = self.end().started_ns();
                    let is_whole = essentials.restore_signal_if_due(py, started_ns, is_idle);
                    if !self.run_task(py, &mut essentials) || !is_whole {
                        // As if it were killed: the pool has another one take its place.
                        return Ok(());
                    }
                }
                Next::Stop => return Ok(()),
                Next::Interrupted => {
                    // Handlers of the program run here; what they raise has no task to end.
                    if let Err(error) = py.check_signals() {
                        error.write_unraisable(py, None);
                    }
                }
            }
        }
    }
}

impl WorkerLoop {
    fn end(&self) -> MutexGuard<'_, WorkerEnd> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process is fit for another task.
    fn run_task(&self, py: Python<'_>, essentials: &mut Essentials) -> bool {
        let outcome = match self.unpickle_call(py) {
            Ok(call) => call.run(),
            Err(error) => Err(unpicklable(py, error)),
        };
        if !self.generation.is_current() {
            leave_forked_copy(py);
        }
        // The reply needs them.
        let is_whole = essentials.restore_builtins(py);
        let is_fit = self.reply_outcome(py, outcome);
        // Pickling has run code of the task once more.
        is_fit && is_whole && essentials.restore_after_reply(py)
    }

    /// Whether this process is fit for another task.
    fn reply_outcome(&self, py: Python<'_>, outcome: PyResult<Bound<'_, PyAny>>) -> bool {
        let error = match outcome {
            Ok(value) if value.is_none() => {
                self.reply(py, ReplyKind::Nothing, &[]);
                return true;
            }
            Ok(value) => match self.reply_value(&value) {
                Ok(()) => return true,
                Err(error) => error,
            },
            Err(error) => error,
        };
        let has_torn_import = has_torn_import(py, &error);
        self.reply_error(py, error);
        !has_torn_import
    }

    fn unpickle_call<'py>(&self, py: Python<'py>) -> PyResult<Call<'py>> {
        // The job's bytes stay where they are until the reply: they are read without the lock,
        // as unpickling runs Python code.
        let (id, code, body) = {
            let end = self.end();
            let job = end.job().map_err(|error| codec::out_of_memory(&error))?;
            (job.function_id, detached(job.function), detached(job.body))
        };
        let function = if code.is_empty() { None } else { Some(self.function(py, id, code)?) };
        if body.is_empty() {
            let function = function.ok_or_else(|| PyRuntimeError::new_err("a call of nothing"))?;
            return Ok(Call::Once { function, args: PyTuple::empty(py), kwargs: None });
        }
        let loaded = codec::loads(py, body, || self.end().keep_body().map(Arc::new))?;
        let items = loaded.object;
        let (function, args, kwargs) = match (loaded.shape, function) {
            (Shape::Chunk, Some(function)) => {
                return Ok(Call::Chunk { function, items, starred: false });
            }
            (Shape::StarredChunk, Some(function)) => {
                return Ok(Call::Chunk { function, items, starred: true });
            }
            (Shape::Args, Some(function)) => (function, items.cast_into()?, None),
            (Shape::ArgsAndKwargs, Some(function)) => {
                let (args, kwargs) = items.extract()?;
                (function, args, Some(kwargs))
            }
            (_, _) => {
                let (function, args, kwargs) = items.extract()?;
                (function, args, Some(kwargs))
            }
        };
        Ok(Call::Once { function, args, kwargs })
    }

    fn function<'py>(&self, py: Python<'py>, id: u64, code: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        if let Some(known) = self.functions().get(&id) {
            return Ok(known.bind(py).clone());
        }
        let function = contract::LOADS.get(py)?.call1((PyBytes::new(py, code),))?;
        let forgotten = {
            let mut functions = self.functions();
            let crowded = functions.len() >= MAX_FUNCTIONS;
            let forgotten = if crowded { std::mem::take(&mut *functions) } else { HashMap::new() };
            functions.insert(id, function.clone().unbind());
            forgotten
        };
        // Outside the lock: dropping Python objects may run Python code.
        drop(forgotten);
        Ok(function)
    }

    fn functions(&self) -> MutexGuard<'_, HashMap<u64, Py<PyAny>>> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply_value(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = value.py();
        if let Some(body) = codec::simple_object(value) {
            let sent = self.end().reply(ReplyKind::Value, body.bytes());
            return sent.map_err(|error| codec::out_of_memory(&error));
        }
        let (pickled, carried) = Carried::collect(|| {
            Pickled::new(value, Shape::Object, &|buffers| {
                contract::DUMPS_RESULT.get(py)?.call1((value, buffers))
            })
        });
        let heap = Arc::clone(self.end().heap());
        let body = pickled?.naming(&carried).into_body(&heap, INLINE_LIMIT)?;
        self.end().reply_body(ReplyKind::Value, body, carried);
        Ok(())
    }

    fn reply_error(&self, py: Python<'_>, error: PyErr) {
        // As an object of its own it has its traceback with it, also before Python 3.12.
        let raised = error.into_value(py);
        let pickle = || -> PyResult<Vec<u8>> {
            contract::DUMPS_EXCEPTION.get(py)?.call1((&raised,))?.extract()
        };
        let bytes = pickle().or_else(|failure| {
            let text = format!("the task failed, and its error cannot be sent: {failure}");
            let error = PyRuntimeError::new_err(text);
            contract::DUMPS_EXCEPTION.get(py)?.call1((error.value(py),))?.extract::<Vec<u8>>()
        });
        self.reply(py, ReplyKind::Raised, &bytes.unwrap_or_default());
    }

    fn reply(&self, py: Python<'_>, kind: ReplyKind, bytes: &[u8]) {
        let sent = self.end().reply(kind, bytes);
        let Err(shortage) = sent else { return };
        // Not even the error found room: a short one fits the slot itself.
        let pickled = |text: &str| -> PyResult<Vec<u8>> {
            let error = PyMemoryError::new_err(text.to_owned());
            contract::DUMPS_EXCEPTION.get(py)?.call1((error.value(py),))?.extract()
        };
        let texts = [shortage.to_string(), NO_ROOM.to_owned()];
        let mut all = texts.iter().filter_map(|text| pickled(text).ok());
        let short = all.find(|bytes| bytes.len() <= INLINE_LIMIT).unwrap_or_default();
        let _ = self.end().reply(ReplyKind::Raised, &short);
    }
}

impl<'py> Call<'py> {
    fn run(self) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Once { function, args, kwargs } => function.call(args, kwargs.as_ref()),
            Self::Chunk { function, items, starred } => run_chunk(&function, &items, starred),
        }
    }
}

/// `[function(item) for item in items]`, in the interpreter's own loop.
fn run_chunk<'py>(
    function: &Bound<'py, PyAny>,
    items: &Bound<'py, PyAny>,
    starred: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let mapper = if starred { &contract::STARMAP } else { &contract::MAP };
    let results = mapper.get(py)?.call1((function, items))?;
    // SAFETY: attached; `results` is a live iterator.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PySequence_List(results.as_ptr())) }
}

/// What is said where the whole sentence does not fit a slot.
const NO_ROOM: &str = "there is no shared memory for what the task returned or raised";

/// Bytes that fit a slot.
const INLINE_LIMIT: usize = 424;

/// Bytes of the claimed job, which stay as they are until the reply.
fn detached<'a>(bytes: &[u8]) -> &'a [u8] {
    // SAFETY: the root keeps function and arguments of a running task alive and unchanged, and
    // all uses end before this worker replies.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) }
}

/// A task whose call cannot be unpickled here.
fn unpicklable(py: Python<'_>, error: PyErr) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let is_itself =
            error.matches(py, errors::cancelled(py)?)? || error.is_instance_of::<PyMemoryError>(py);
        if is_itself {
            return Ok(error.clone_ref(py));
        }
        let name = error.get_type(py).name()?;
        let text = format!(
            "the task was not run: its function or arguments cannot be unpickled in the worker: \
             {name}: {}",
            error.value(py)
        );
        let made = PyErr::from_value(contract::UNPICKLABLE_RESULT.get(py)?.call1((text,))?);
        made.set_cause(py, Some(error.clone_ref(py)));
        Ok(made)
    };
    make().unwrap_or_else(|failure| failure)
}

/// Whether a cancel has hit an import: the modules below the one that was being made stay, which
/// not every package survives that is imported again.
fn has_torn_import(py: Python<'_>, error: &PyErr) -> bool {
    let is_cancel = || Ok::<_, PyErr>(error.matches(py, errors::cancelled(py)?)?);
    if !is_cancel().unwrap_or(false) {
        return false;
    }
    let mut next = error.traceback(py).map(Bound::into_any);
    while let Some(traceback) = next {
        let is_of_module = || -> PyResult<bool> {
            let code = traceback.getattr("tb_frame")?.getattr("f_code")?;
            // The interpreter leaves its own frames out where it runs a module.
            Ok(code.getattr("co_name")?.eq("<module>")?
                || code
                    .getattr("co_filename")?
                    .extract::<String>()?
                    .starts_with("<frozen importlib"))
        };
        if is_of_module().unwrap_or(false) {
            return true;
        }
        next = traceback.getattr("tb_next").ok().filter(|next| !next.is_none());
    }
    false
}

/// A task has forked, and its child has come back here: the pool knows nothing of that process.
fn leave_forked_copy(py: Python<'_>) -> ! {
    let _ = contract::FLUSH_STREAMS.get(py).and_then(|flush| flush.call0());
    exit_now(0)
}
