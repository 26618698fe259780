//! Where a pool's workers come from: a program started for each, or forks of a template.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use manyhands_process::{
    ChildId, Events, Launcher, OutlivingProgram, Program, TemplateStart, TemplateUse,
};
use manyhands_sys::pid::PidFd;
use manyhands_sys::socket::{MessageSocket, is_peer_gone};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A program for each worker (start method `spawn`).
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct ProgramLauncher {
    program: Program,
}

/// Forks of a template process (start methods template and `fork`).
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct TemplateLauncher {
    source: Arc<TemplateSource>,
}

/// A template that is found, or started again, whenever a worker is needed.
struct TemplateSource {
    key: Vec<u8>,
    /// `None`: forked from this process, which only Python code can do.
    program: Option<Program>,
    in_use: Mutex<Option<TemplateUse>>,
}

/// Anything a pool can be given as its launcher.
pub fn launcher_of(object: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Launcher>> {
    if let Ok(program) = object.cast::<ProgramLauncher>() {
        return Ok(Arc::new(program.get().program.clone()));
    }
    let template = object.cast::<TemplateLauncher>()?;
    Ok(Arc::clone(&template.get().source) as _)
}

/// The same for a child that may live on when this process ends.
pub fn outliving_launcher_of(object: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Launcher>> {
    match object.cast::<ProgramLauncher>() {
        Ok(program) => Ok(Arc::new(OutlivingProgram(program.get().program.clone()))),
        // What a template forks is told by its note.
        Err(_) => launcher_of(object),
    }
}

#[pymethods]
impl ProgramLauncher {
    /// A program with these arguments (the first names the executable) and environment.
    #[new]
    fn new(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> PyResult<Self> {
        Ok(Self { program: program_of(args, env)? })
    }
}

#[pymethods]
impl TemplateLauncher {
    /// The template for `key`: a program, started when the first worker is needed.
    #[new]
    fn new(key: Vec<u8>, args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> PyResult<Self> {
        let program = Some(program_of(args, env)?);
        Ok(Self { source: Arc::new(TemplateSource { key, program, in_use: Mutex::default() }) })
    }

    /// Starts the template now, so that it gets ready while the caller prepares the rest. That it
    /// cannot be started shows at the first launch.
    fn warm_up(&self, py: Python<'_>) {
        py.detach(|| {
            let mut in_use = self.source.in_use.lock().unwrap_or_else(PoisonError::into_inner);
            if in_use.is_none() {
                *in_use = self.source.find_or_start().ok();
            }
        });
    }

    /// The template for `key` that the caller has just forked: `pid`, reached through `fd`, which
    /// is taken over.
    #[classmethod]
    fn forked(_class: &Bound<'_, PyType>, key: Vec<u8>, pid: u32, fd: i32) -> PyResult<Self> {
        // SAFETY: the caller gives the descriptor away.
        let socket = MessageSocket::from_fd(unsafe { OwnedFd::from_raw_fd(fd) });
        let start = TemplateStart::Forked(socket, PidFd::open(pid)?);
        let in_use = Mutex::new(Some(TemplateUse::get(&key, start)?));
        Ok(Self { source: Arc::new(TemplateSource { key, program: None, in_use }) })
    }
}

impl TemplateSource {
    fn find_or_start(&self) -> io::Result<TemplateUse> {
        if let Some(found) = TemplateUse::find(&self.key)? {
            return Ok(found);
        }
        match &self.program {
            Some(program) => TemplateUse::get(&self.key, TemplateStart::Program(program)),
            None => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the process that was forked from this program to start workers has ended, or may \
                 do what the program has given up since, and start method 'fork' cannot make \
                 another later; make a new executor",
            )),
        }
    }
}

impl Launcher for TemplateSource {
    fn launch(
        &self,
        id: ChildId,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        events: Arc<dyn Events>,
    ) -> io::Result<()> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let mut attempts = 0;
        loop {
            let is_suitable = in_use.as_ref().map(TemplateUse::is_suitable).transpose()?;
            if is_suitable != Some(true) {
                *in_use = None;
                *in_use = Some(self.find_or_start()?);
            }
            let Some(template) = in_use.as_ref() else { continue };
            match template.launch(id, note, fds, Arc::clone(&events)) {
                // It has died unnoticed: another one, but not for ever. Any other error is the
                // request's: another template could not do it either.
                Err(error) if is_peer_gone(&error) && attempts < 2 => {
                    attempts += 1;
                    if let Some(dead) = in_use.take() {
                        dead.give_up();
                    }
                }
                other => return other,
            }
        }
    }
}

fn program_of(args: Vec<OsString>, env: Vec<(OsString, OsString)>) -> PyResult<Program> {
    let path = args.first().cloned().ok_or_else(|| {
        PyValueError::new_err("sys.executable is not set; set it to a Python interpreter")
    })?;
    let args = args.into_iter().map(c_string).collect::<PyResult<_>>()?;
    let entry = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c_string(name)
    };
    let env = env.into_iter().map(entry).collect::<PyResult<_>>()?;
    Ok(Program { path, args, env })
}

fn c_string(text: OsString) -> PyResult<CString> {
    use std::os::unix::ffi::OsStringExt;
    Ok(CString::new(text.into_vec())?)
}

/// Ends all templates now: at interpreter exit.
#[pyfunction]
pub fn stop_templates(py: Python<'_>) {
    py.detach(manyhands_process::stop_templates);
}
