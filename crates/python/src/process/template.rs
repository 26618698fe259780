//! The template process's side: launches as they come, the fork itself being Python's.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use manyhands_process::{serve, watch};
use manyhands_sys::lifeline;
use manyhands_sys::pid::PidFd;
use manyhands_sys::socket::MessageSocket;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// A worker asked for.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct Launch {
    id: u64,
    inner: Mutex<Option<manyhands_process::Launch>>,
}

/// A template's connection to its root. Used by one thread.
#[pyclass(module = "manyhands._runtime", frozen)]
pub struct TemplateServer {
    server: Mutex<Option<serve::TemplateServer>>,
}

impl Launch {
    fn new(inner: manyhands_process::Launch) -> Self {
        Self { id: inner.id, inner: Mutex::new(Some(inner)) }
    }

    /// What the worker loop is made of; once.
    pub fn take(&self) -> PyResult<manyhands_process::Launch> {
        let taken = self.inner.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(used_before)
    }

    fn may_be_orphan(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.as_ref().is_some_and(super::child::may_be_orphan)
    }
}

fn used_before() -> PyErr {
    PyRuntimeError::new_err("this launch was used before")
}

#[pymethods]
impl Launch {
    /// Whether a process of its own is asked for, see `become_child`; else a worker of a pool.
    #[getter]
    fn is_for_process(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.as_ref().is_some_and(super::child::is_for_process)
    }

    /// In the child, first thing: takes over the limits and settings that the program had when it
    /// asked, and its working directory. Returns the numbers of the signals that it ignored, which
    /// are the interpreter's business.
    fn enter(&self) -> PyResult<Vec<i32>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let launch = inner.as_mut().ok_or_else(used_before)?;
        launch.state.enter()?;
        Ok(launch.state.ignored_signals())
    }
}

#[pymethods]
impl TemplateServer {
    /// A template started as a program: its socket is the standard input. None if the root has
    /// gone already.
    #[staticmethod]
    fn from_hello(py: Python<'_>) -> PyResult<Option<Self>> {
        let socket = stdin_socket()?;
        manyhands_sys::thread::set_name(c"mh-template");
        let server = py.detach(|| serve::TemplateServer::from_hello(socket))?;
        Ok(server.map(|server| Self { server: Mutex::new(Some(server)) }))
    }

    /// A template forked from the root: its end of the socket, and the root by its pidfd.
    #[classmethod]
    fn forked(_class: &Bound<'_, PyType>, fd: i32, root: i32) -> Self {
        // SAFETY: the caller gives the descriptors away.
        let (fd, root) = unsafe { (OwnedFd::from_raw_fd(fd), OwnedFd::from_raw_fd(root)) };
        let socket = MessageSocket::from_fd(fd);
        manyhands_sys::thread::set_name(c"mh-template");
        let server = serve::TemplateServer::forked(socket, PidFd::from_fd(root));
        Self { server: Mutex::new(Some(server)) }
    }

    /// The two ends of a new socket, root's and template's, and a pidfd of this process.
    #[staticmethod]
    fn prepare_fork() -> PyResult<(i32, i32, i32)> {
        drop(lifeline::own()?);
        let (ours, theirs) = MessageSocket::pair()?;
        let root = PidFd::current()?.as_fd().try_clone_to_owned()?;
        Ok((ours.into_fd().into_raw_fd(), theirs.into_fd().into_raw_fd(), root.into_raw_fd()))
    }

    /// Whether the root asks for something within `timeout` seconds.
    fn has_launch(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout).unwrap_or_default();
        Ok(py.detach(|| self.with(|server| server.has_launch(timeout)))?)
    }

    /// Waits until `next_launch` returns at once. False: one of the descriptors `others` can be
    /// read, or `timeout` seconds are over, before that.
    #[pyo3(signature = (others, timeout = None))]
    fn wait_for_launch(
        &self,
        py: Python<'_>,
        others: Vec<RawFd>,
        timeout: Option<f64>,
    ) -> PyResult<bool> {
        // SAFETY: the caller's descriptors stay open during this call.
        let others: Vec<_> =
            others.into_iter().map(|fd| unsafe { BorrowedFd::borrow_raw(fd) }).collect();
        let timeout =
            timeout.map(|timeout| Duration::try_from_secs_f64(timeout).unwrap_or_default());
        Ok(py.detach(|| self.with(|server| server.wait_for_launch(&others, timeout)))?)
    }

    /// Waits for the next launch. None: time to end.
    fn next_launch(&self, py: Python<'_>) -> PyResult<Option<Launch>> {
        let next = py.detach(|| self.with(serve::TemplateServer::next_launch))?;
        Ok(next.map(Launch::new))
    }

    /// The launch has become the process `pid`.
    fn started(&self, launch: &Launch, pid: u32) -> PyResult<()> {
        // Its descriptors were for the worker.
        drop(launch.take());
        Ok(self.with(|server| server.started(launch.id, pid))?)
    }

    /// The launch has come to nothing.
    fn failed(&self, launch: &Launch, why: &str) -> PyResult<()> {
        drop(launch.take());
        Ok(self.with(|server| server.failed(launch.id, why))?)
    }

    /// In a fork of the template that is no launch's: lets go of the socket without a word, and
    /// ends with the root.
    fn let_go(&self) {
        watch::hang_on();
        drop(self.server.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// In the fork made for `launch`: ends with the root if it is to, and the template's
    /// descriptors are not ours.
    fn abandon(&self, launch: &Launch) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A root that has gone is noticed elsewhere.
        let _ = server.map(|server| server.become_child(!launch.may_be_orphan()));
    }
}

impl TemplateServer {
    fn with<T>(
        &self,
        act: impl FnOnce(&mut serve::TemplateServer) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        act(server.as_mut().ok_or(std::io::ErrorKind::NotConnected)?)
    }
}

/// Waits for the one launch that a program started as a worker gets on its standard input.
#[pyfunction]
pub fn receive_launch(py: Python<'_>) -> PyResult<Option<Launch>> {
    let socket = stdin_socket()?;
    let launch = py.detach(|| manyhands_process::receive_launch(&socket))?;
    Ok(launch.map(Launch::new))
}

fn stdin_socket() -> PyResult<MessageSocket> {
    // SAFETY: called first thing in a program started for this, before anybody reads its
    // standard input.
    Ok(unsafe { MessageSocket::from_stdin() }?)
}
