//! The heap of a `PriorityQueue`: a Python list in heap order, and the lock around it.
//!
//! Comparing items runs Python code, which may let go of the interpreter, raise, or use the same
//! queue. So the lock is one that threads wait for detached, and a thread that comes to it while
//! it has it (from a comparison, a signal handler, a destructor) is told so instead of waiting for
//! itself.

use std::sync::atomic::{AtomicU32, Ordering};

use manyhands_sync::deadlock::{Description, EndedBy, Resource, Site};
use manyhands_sync::lock::{Hold, RawLock};
use manyhands_sys::futex::Private;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::call::call;
use crate::contract;
use crate::fork::Generation;
use crate::sync::blocking::block;

/// A list in heap order that one thread at a time changes.
pub struct Heap {
    lock: RawLock<Private>,
    /// In which process it was taken last.
    taken_in: AtomicU32,
    list: Py<PyList>,
}

/// The right to change the heap.
pub struct HeapGuard<'a> {
    heap: &'a Heap,
}

impl Heap {
    /// An empty heap.
    pub fn new(py: Python<'_>) -> Self {
        Self {
            lock: RawLock::new(),
            taken_in: AtomicU32::new(Generation::current().number()),
            list: PyList::empty(py).unbind(),
        }
    }

    /// The list. Not to be changed without [`Heap::lock`], but for a queue that is not used any
    /// more.
    pub fn list(&self) -> &Py<PyList> {
        &self.list
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// RuntimeError if this thread has it, or what ended the wait.
    #[inline]
    pub fn lock(&self, py: Python<'_>) -> PyResult<HeapGuard<'_>> {
        if !self.lock.try_lock(Hold::Scoped) {
            self.wait(py)?;
        }
        self.taken_in.store(Generation::current().number(), Ordering::Relaxed);
        Ok(HeapGuard { heap: self })
    }

    #[cold]
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        if self.lock.is_mine() {
            return Err(PyRuntimeError::new_err(
                "this thread is in the middle of changing the PriorityQueue that it uses again, \
                 from a comparison, a signal handler or a destructor: use another queue there",
            ));
        }
        if self.taken_in.load(Ordering::Relaxed) != Generation::current().number() {
            // The thread that has it was left behind by a fork.
            self.lock.reset();
        }
        block(py, self, None, false, |deadline, waiting| {
            self.lock.lock_slow(Hold::Scoped, deadline, waiting)
        })?;
        Ok(())
    }
}

impl HeapGuard<'_> {
    /// Adds an item. As in the standard class, it stays where it is if a comparison raises.
    pub fn push(&self, py: Python<'_>, item: Py<PyAny>) -> PyResult<()> {
        let push = contract::HEAP_PUSH.get(py)?;
        call(push, &(&self.heap.list, item).into_pyobject(py)?, None).map(drop)
    }

    /// Takes the smallest item.
    pub fn pop(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let pop = contract::HEAP_POP.get(py)?;
        call(pop, &(&self.heap.list,).into_pyobject(py)?, None).map(Bound::unbind)
    }

    /// How many items there are.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.heap.list.bind(py).len()
    }
}

impl Drop for HeapGuard<'_> {
    fn drop(&mut self) {
        let _ = self.heap.lock.unlock();
    }
}

impl Resource for Heap {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "the heap of a PriorityQueue", name: None, id }
    }

    fn ended_by(&self) -> EndedBy {
        match self.lock.owner() {
            0 => EndedBy::Nobody,
            thread => {
                let certainty = self.lock.certainty();
                EndedBy::Owner { thread, certainty, acquired_at: Site::Unknown }
            }
        }
    }
}
