//! The functions of a pool: pickled once, sent once to each worker.
//!
//! Only functions whose meaning cannot change between two calls are kept: plain functions, builtin
//! functions and classes. One sent by value is sent again when a variable it captured was rebound.
//! The cache holds weak references: a lambda made per call does not pile up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::contract;
use manyhands_pool::process::{Function, ProcessPool};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyWeakrefMethods, PyWeakrefReference};

use super::captured::Guard;
use super::codec::out_of_memory;

/// What is known of a pool's functions.
#[derive(Default)]
pub struct Functions {
    known: Mutex<HashMap<usize, Arc<Entry>>>,
    /// Stands for functions that travel with each call.
    carried: Mutex<Option<Arc<Function>>>,
}

struct Entry {
    object: Py<PyWeakrefReference>,
    guard: Option<Guard>,
    function: Arc<Function>,
}

/// With so many entries the cache starts anew.
const CROWD: usize = 1024;

impl Functions {
    /// The sent form of `function`; `None`: it has to travel with each call.
    pub fn get(
        &self,
        pool: &ProcessPool,
        function: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Arc<Function>>> {
        let py = function.py();
        let key = function.as_ptr().addr();
        // Cloned out: what follows may run Python code, which no lock of ours survives.
        let found = self.lock().get(&key).map(Arc::clone);
        if let Some(entry) = found
            && entry.object.bind(py).upgrade().is_some_and(|object| object.is(function))
            && entry.guard.as_ref().is_none_or(|guard| guard.holds(py))
        {
            return Ok(Some(Arc::clone(&entry.function)));
        }
        self.send(pool, function, key)
    }

    /// The function that means: the call brings its own.
    pub fn carried(&self, pool: &ProcessPool) -> PyResult<Arc<Function>> {
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = carried.as_ref() {
            return Ok(Arc::clone(function));
        }
        let function = pool.function(b"", None).map_err(|error| out_of_memory(&error))?;
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
        if !contract::IS_CACHEABLE.get(py)?.call1((function,))?.extract()? {
            return Ok(None);
        }
        let Ok(object) = PyWeakrefReference::new(function) else { return Ok(None) };
        let (code, guard): (Bound<'_, PyBytes>, Option<Bound<'_, PyAny>>) =
            contract::DUMPS_FUNCTION.get(py)?.call1((function,))?.extract()?;
        let name = function.getattr("__qualname__").and_then(|name| name.extract::<String>()).ok();
        let sent = pool.function(code.as_bytes(), name.as_deref());
        let sent = sent.map_err(|error| out_of_memory(&error))?;
        let guard = guard.map(|guard| Guard::new(&guard)).transpose()?;
        let function = Arc::clone(&sent);
        let entry = Arc::new(Entry { object: object.unbind(), guard, function });
        let mut known = self.lock();
        // All of them now and then, the living ones too: they are sent again when needed.
        let crowd = if known.len() >= CROWD { std::mem::take(&mut *known) } else { HashMap::new() };
        let before = known.insert(key, entry);
        drop(known);
        // Outside the lock: dropping Python objects may run Python code.
        drop((crowd, before));
        Ok(Some(sent))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Arc<Entry>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
