//! The functions of a pool: pickled once, sent once to each worker.
//!
//! Only functions whose meaning cannot change between two calls are kept: plain functions, builtin
//! functions and classes. One sent by value is sent again when a variable it captured was rebound.
//! The cache holds weak references: a lambda made per call does not pile up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use manyhands_pool::process::{Function, ProcessPool};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyWeakrefMethods, PyWeakrefReference};

use super::codec::out_of_memory;

/// What is known of a pool's functions.
#[derive(Default)]
pub struct Functions {
    known: Mutex<HashMap<usize, Entry>>,
    /// Stands for functions that travel with each call.
    carried: Mutex<Option<Arc<Function>>>,
}

struct Entry {
    object: Py<PyWeakrefReference>,
    guard: Option<Py<PyAny>>,
    function: Arc<Function>,
}

/// So many entries make a look for dead ones worthwhile.
const CROWD: usize = 512;

impl Functions {
    /// The sent form of `function`; `None`: it has to travel with each call.
    pub fn get(
        &self,
        pool: &ProcessPool,
        function: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Arc<Function>>> {
        let py = function.py();
        let key = function.as_ptr().addr();
        let known = self.lock();
        let found = known.get(&key).filter(|entry| {
            entry.object.bind(py).upgrade().is_some_and(|object| object.is(function))
        });
        let found = found.map(|entry| {
            (Arc::clone(&entry.function), entry.guard.as_ref().map(|guard| guard.clone_ref(py)))
        });
        drop(known);
        match found {
            Some((sent, None)) => return Ok(Some(sent)),
            Some((sent, Some(guard))) => {
                let pickling = py.import("manyhands._pickling")?;
                if pickling.call_method1("guard_holds", (function, guard))?.extract()? {
                    return Ok(Some(sent));
                }
            }
            None => {}
        }
        self.send(pool, function, key)
    }

    /// The function that means: the call brings its own.
    pub fn carried(&self, pool: &ProcessPool) -> PyResult<Arc<Function>> {
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = carried.as_ref() {
            return Ok(Arc::clone(function));
        }
        let function = pool.function(b"").map_err(|error| out_of_memory(&error))?;
        Ok(Arc::clone(carried.insert(function)))
    }

    #[cold]
    fn send(
        &self,
        pool: &ProcessPool,
        function: &Bound<'_, PyAny>,
        key: usize,
    ) -> PyResult<Option<Arc<Function>>> {
        let py = function.py();
        let pickling = py.import("manyhands._pickling")?;
        if !pickling.call_method1("is_cacheable", (function,))?.extract()? {
            return Ok(None);
        }
        let Ok(object) = PyWeakrefReference::new(function) else { return Ok(None) };
        let (code, guard): (Bound<'_, PyBytes>, Option<Py<PyAny>>) =
            pickling.call_method1("dumps_function", (function,))?.extract()?;
        let sent = pool.function(code.as_bytes()).map_err(|error| out_of_memory(&error))?;
        let entry = Entry { object: object.unbind(), guard, function: Arc::clone(&sent) };
        let mut known = self.lock();
        let mut dead = Vec::new();
        if known.len() >= CROWD && known.len().is_power_of_two() {
            let is_dead = |entry: &Entry| entry.object.bind(py).upgrade().is_none();
            dead.extend(known.extract_if(|_, entry| is_dead(entry)).map(|(_, entry)| entry));
        }
        dead.extend(known.insert(key, entry));
        drop(known);
        // Outside the lock: dropping Python objects may run Python code.
        drop(dead);
        Ok(Some(sent))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
