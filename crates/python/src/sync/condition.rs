//! `manyhands.threading.Condition`.
//!
//! With a lock of ours everything happens here. Any other object that has `acquire` and `release`
//! works too, through its methods, as with the standard class.

use std::sync::OnceLock;

use manyhands_sync::condition::RawCondition;
use manyhands_sync::deadlock::{Description, EndedBy, Resource};
use manyhands_sync::lock::Hold;
use manyhands_sys::clock::{Deadline, monotonic_ns};
use pyo3::PyTraverseError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::blocking::block;
use super::lock::Lock;
use super::rlock::RLock;
use crate::call::call;
use crate::interrupt::deadline_of;
use crate::numbers::clamped;

/// Waiting until another thread says that something has changed.
#[pyclass(module = "manyhands.threading", frozen, subclass, weakref, dict)]
pub struct Condition {
    /// False in the zeros that the garbage collector may see: CPython 3.11 and 3.12 make the
    /// instance's dict, and may collect, before PyO3 has written what is here.
    is_made: bool,
    raw: RawCondition,
    lock: OnceLock<UserLock>,
    name: OnceLock<String>,
}

/// The lock a condition belongs to.
enum UserLock {
    Plain(Py<Lock>),
    Reentrant(Py<RLock>),
    Other(Py<PyAny>),
}

/// What a lock needs to be taken back as it was.
enum Saved {
    Nothing,
    Depth(u32),
    State(Py<PyAny>),
}

impl UserLock {
    fn of(lock: &Bound<'_, PyAny>) -> Self {
        if let Ok(plain) = lock.cast_exact::<Lock>() {
            return Self::Plain(plain.clone().unbind());
        }
        // A subclass may have methods of its own.
        if let Ok(reentrant) = lock.cast_exact::<RLock>() {
            return Self::Reentrant(reentrant.clone().unbind());
        }
        Self::Other(lock.clone().unbind())
    }

    fn as_any(&self) -> &Py<PyAny> {
        match self {
            Self::Plain(lock) => lock.as_any(),
            Self::Reentrant(lock) => lock.as_any(),
            Self::Other(lock) => lock,
        }
    }

    fn method<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        call(&self.as_any().bind(py).getattr(name)?, args, None)
    }

    fn is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        match self {
            Self::Plain(lock) => Ok(lock.get().is_locked()),
            Self::Reentrant(lock) => Ok(lock.get().is_mine()),
            Self::Other(lock) => {
                let lock = lock.bind(py);
                if let Some(is_owned) = lock.getattr_opt("_is_owned")? {
                    return call(&is_owned, &PyTuple::empty(py), None)?.is_truthy();
                }
                // Owned by somebody, if it cannot be taken.
                let now = PyTuple::new(py, [false])?;
                if self.method(py, "acquire", &now)?.is_truthy()? {
                    self.method(py, "release", &PyTuple::empty(py))?;
                    return Ok(false);
                }
                Ok(true)
            }
        }
    }

    fn release_save(&self, py: Python<'_>) -> PyResult<Saved> {
        match self {
            Self::Plain(lock) => lock.get().unlock().map(|()| Saved::Nothing),
            Self::Reentrant(lock) => lock.get().unlock_all().map(Saved::Depth),
            Self::Other(lock) => {
                let save = lock.bind(py).getattr_opt("_release_save")?;
                if let Some(save) = save {
                    let state = call(&save, &PyTuple::empty(py), None)?;
                    return Ok(Saved::State(state.unbind()));
                }
                self.method(py, "release", &PyTuple::empty(py)).map(|_| Saved::Nothing)
            }
        }
    }

    fn acquire_restore(&self, py: Python<'_>, saved: Saved) -> PyResult<()> {
        match (self, saved) {
            (Self::Plain(lock), _) => {
                let lock = lock.get();
                if !lock.try_lock(py, Hold::Scoped) {
                    lock.lock_slow(py, Hold::Scoped, None)?;
                }
                Ok(())
            }
            (Self::Reentrant(lock), Saved::Depth(depth)) => lock.get().lock_again(py, depth),
            (_, Saved::State(state)) => {
                let args = PyTuple::new(py, [state])?;
                self.method(py, "_acquire_restore", &args).map(drop)
            }
            (_, _) => self.method(py, "acquire", &PyTuple::empty(py)).map(drop),
        }
    }
}

impl Condition {
    fn lock(&self) -> PyResult<&UserLock> {
        self.lock
            .get()
            .ok_or_else(|| PyRuntimeError::new_err("Condition.__init__() was not called"))
    }

    fn enter<'py>(&self, py: Python<'py>, hold: Hold) -> PyResult<Bound<'py, PyAny>> {
        let taken = match self.lock()? {
            UserLock::Plain(lock) => {
                let lock = lock.get();
                lock.try_lock(py, hold) || lock.lock_slow(py, hold, None)?
            }
            UserLock::Reentrant(lock) => {
                let lock = lock.get();
                lock.try_lock(py)? || lock.lock_slow(py, None)?
            }
            other => return other.method(py, "__enter__", &PyTuple::empty(py)),
        };
        Ok(taken.into_pyobject(py)?.to_owned().into_any())
    }

    fn check_owned(&self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.lock()?.is_owned(py)? {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!("cannot {what} on un-acquired lock")))
    }

    fn wait_until(&self, py: Python<'_>, deadline: Option<Deadline>) -> PyResult<bool> {
        self.check_owned(py, "wait")?;
        let lock = self.lock()?;
        if deadline.is_some_and(Deadline::is_now) {
            // Whoever waits for the lock gets it; nobody can notify in no time.
            let saved = lock.release_save(py)?;
            return lock.acquire_restore(py, saved).map(|()| false);
        }
        let node = self.raw.enter();
        let saved = match lock.release_save(py) {
            Ok(saved) => saved,
            Err(error) => {
                self.raw.leave(&node);
                return Err(error);
            }
        };
        let waited =
            block(py, self, deadline, false, |deadline, waiting| node.wait(deadline, waiting));
        // Whatever ended the wait, the caller's block expects to hold the lock. A signal handler
        // that raises while it is taken back must not keep it from being taken.
        let mut interrupted = None;
        let mut saved = Some(saved);
        while let Some(state) = saved.take() {
            let again = match &state {
                Saved::Nothing => Saved::Nothing,
                Saved::Depth(depth) => Saved::Depth(*depth),
                Saved::State(state) => Saved::State(state.clone_ref(py)),
            };
            if let Err(error) = lock.acquire_restore(py, state) {
                let is_ours = !matches!(lock, UserLock::Other(_));
                if is_ours && !errors_are_final(py, &error) {
                    saved = Some(again);
                }
                interrupted.get_or_insert(error);
            }
        }
        let was_notified = self.raw.leave(&node);
        if let Some(error) = interrupted {
            return Err(error);
        }
        if waited.is_err() && was_notified {
            // The notification was meant for somebody who goes on.
            self.raw.notify(1);
        }
        waited.map(|_| was_notified)
    }
}

/// Whether to give up taking the lock back: it will never be free.
fn errors_are_final(py: Python<'_>, error: &PyErr) -> bool {
    crate::errors::deadlock_error(py).is_ok_and(|class| error.is_instance(py, class))
}

#[pymethods]
impl Condition {
    /// A subclass may have any arguments of its own, so the real ones come with `__init__`.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(lock=None, *, name=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            is_made: true,
            raw: RawCondition::new(),
            lock: OnceLock::new(),
            name: OnceLock::new(),
        }
    }

    #[pyo3(signature = (lock=None, *, name=None))]
    fn __init__(
        &self,
        py: Python<'_>,
        lock: Option<&Bound<'_, PyAny>>,
        name: Option<String>,
    ) -> PyResult<()> {
        let lock = match lock {
            Some(lock) => UserLock::of(lock),
            None => UserLock::of(&py.get_type::<RLock>().call0()?),
        };
        let _ = self.lock.set(lock);
        if let Some(name) = name {
            let _ = self.name.set(name);
        }
        Ok(())
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn acquire<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if args.is_empty() && kwargs.is_none() && !matches!(self.lock()?, UserLock::Other(_)) {
            return self.enter(py, Hold::Open);
        }
        call(&self.lock()?.as_any().bind(py).getattr("acquire")?, args, kwargs)
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        match self.lock()? {
            UserLock::Plain(lock) => lock.get().unlock(),
            UserLock::Reentrant(lock) => lock.get().unlock(),
            other => other.method(py, "release", &PyTuple::empty(py)).map(drop),
        }
    }

    /// Whether the lock is held.
    fn locked<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.lock()?.method(py, "locked", &PyTuple::empty(py))
    }

    fn __enter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.enter(py, Hold::Scoped)
    }

    #[pyo3(signature = (exc_type=None, exc_value=None, traceback=None))]
    fn __exit__<'py>(
        &self,
        py: Python<'py>,
        exc_type: Option<Bound<'py, PyAny>>,
        exc_value: Option<Bound<'py, PyAny>>,
        traceback: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.lock()? {
            UserLock::Plain(lock) => lock.get().unlock()?,
            UserLock::Reentrant(lock) => lock.get().unlock()?,
            other => {
                let args = (exc_type, exc_value, traceback).into_pyobject(py)?;
                return other.method(py, "__exit__", &args).map(Some);
            }
        }
        Ok(None)
    }

    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        self.wait_until(py, deadline_of(timeout)?)
    }

    #[pyo3(signature = (predicate, timeout=None))]
    fn wait_for<'py>(
        slf: &Bound<'py, Self>,
        predicate: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let deadline = deadline_of(timeout)?;
        let mut result = call(predicate, &PyTuple::empty(py), None)?;
        while !result.is_truthy()? {
            let now_ns = monotonic_ns();
            if deadline.is_some_and(|deadline| deadline.as_ns() <= now_ns) {
                break;
            }
            if slf.get_type().is(py.get_type::<Self>()) {
                slf.get().wait_until(py, deadline)?;
            } else {
                // A subclass may have a `wait` of its own.
                let left = deadline.map(|deadline| deadline.remaining().as_secs_f64());
                call(&slf.getattr("wait")?, &(left,).into_pyobject(py)?, None)?;
            }
            result = call(predicate, &PyTuple::empty(py), None)?;
        }
        Ok(result)
    }

    #[pyo3(signature = (n=1))]
    fn notify(&self, py: Python<'_>, #[pyo3(from_py_with = clamped)] n: i64) -> PyResult<()> {
        self.check_owned(py, "notify")?;
        self.raw.notify(usize::try_from(n).unwrap_or(0));
        Ok(())
    }

    fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        self.check_owned(py, "notify")?;
        self.raw.notify(usize::MAX);
        Ok(())
    }

    /// The old name of `notify_all`, deprecated as in the standard class.
    #[pyo3(name = "notifyAll")]
    fn notify_all_old(&self, py: Python<'_>) -> PyResult<()> {
        super::warn_of_old_name(py, "notifyAll", "notify_all")?;
        self.notify_all(py)
    }

    /// The lock it belongs to.
    #[getter]
    fn _lock(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.lock()?.as_any().clone_ref(py))
    }

    /// As many entries as threads wait.
    #[getter]
    fn _waiters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, vec![py.None(); self.raw.n_waiting()])
    }

    /// Releases the lock, however often it is held; what `_acquire_restore` needs to take it back.
    fn _release_save(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(match self.lock()?.release_save(py)? {
            Saved::Nothing => None,
            Saved::Depth(depth) => Some(depth.into_pyobject(py)?.into_any().unbind()),
            Saved::State(state) => Some(state),
        })
    }

    fn _acquire_restore(&self, py: Python<'_>, state: Option<Py<PyAny>>) -> PyResult<()> {
        let lock = self.lock()?;
        let saved = match (lock, state) {
            (_, None) => Saved::Nothing,
            (UserLock::Reentrant(_), Some(depth)) => Saved::Depth(depth.extract(py)?),
            (_, Some(state)) => Saved::State(state),
        };
        lock.acquire_restore(py, saved)
    }

    fn _is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        self.lock()?.is_owned(py)
    }

    /// The name given at construction.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    fn _at_fork_reinit(&self, py: Python<'_>) -> PyResult<()> {
        self.lock()?.method(py, "_at_fork_reinit", &PyTuple::empty(py)).map(drop)
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(super::refuse_pickling(slf))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let condition = slf.get();
        let lock = condition.lock()?.as_any().bind(slf.py()).repr()?;
        let state = format!("{lock}, {} waiting", condition.raw.n_waiting());
        super::repr(slf, condition.name(), &state)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.is_made {
            return Ok(());
        }
        self.lock.get().map_or(Ok(()), |lock| visit.call(lock.as_any()))
    }
}

impl Resource for Condition {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Condition", name: self.name.get().cloned(), id }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Anyone
    }
}
