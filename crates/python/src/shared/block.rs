//! `__enter__` and `__exit__` of shared locks, bound once.
//!
//! For each `with` the interpreter looks both methods up in the class and binds them to the lock:
//! two objects made and freed, which takes longer than to acquire and release a shared lock. So a
//! lock has its two bound methods ready, and what lies in its class hands them out.
//!
//! They are bound to a second handle on the same state, not to the lock itself: it would never be
//! freed. Everything else is as ever: `Class.__enter__(lock)`, `super().__enter__()`, overriding.

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// The methods of one lock.
pub struct Block {
    enter: Py<PyAny>,
    exit: Py<PyAny>,
}

/// A class of locks that have theirs.
pub trait HasBlock: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync {
    /// `None`: a second handle, which is bound to.
    fn block(&self) -> Option<&Block>;
}

/// What lies in the class in the place of a method.
#[pyclass(module = "manyhands._runtime", frozen)]
struct BoundOnce {
    method: Py<PyAny>,
    ready: fn(&Bound<'_, PyAny>) -> Option<Py<PyAny>>,
}

impl Block {
    /// The methods of a lock to which `twin` is the second handle.
    pub fn of<T: HasBlock>(twin: Bound<'_, T>) -> PyResult<Self> {
        let twin = twin.into_any();
        let bound = |name| twin.getattr(name).map(Bound::unbind);
        Ok(Self { enter: bound("__enter__")?, exit: bound("__exit__")? })
    }
}

#[pymethods]
impl BoundOnce {
    fn __get__<'py>(
        &self,
        instance: &Bound<'py, PyAny>,
        owner: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        match (self.ready)(instance) {
            Some(bound) => Ok(bound),
            None => self.method.call_method1(instance.py(), "__get__", (instance, owner)),
        }
    }
}

/// Makes the locks of class `T` hand out their bound methods.
pub fn bind_once<T: HasBlock>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<T>();
    put::<T>(&class, "__enter__", |lock| ready::<T>(lock, |block| &block.enter))?;
    put::<T>(&class, "__exit__", |lock| ready::<T>(lock, |block| &block.exit))
}

fn put<T: HasBlock>(
    class: &Bound<'_, PyType>,
    name: &str,
    ready: fn(&Bound<'_, PyAny>) -> Option<Py<PyAny>>,
) -> PyResult<()> {
    // What a look-up in a class finds is the method for any lock.
    let method = class.getattr(name)?.unbind();
    class.setattr(name, BoundOnce { method, ready })
}

#[inline]
fn ready<T: HasBlock>(
    lock: &Bound<'_, PyAny>,
    method: impl FnOnce(&Block) -> &Py<PyAny>,
) -> Option<Py<PyAny>> {
    let block = lock.cast::<T>().ok()?.get().block()?;
    Some(method(block).clone_ref(lock.py()))
}
