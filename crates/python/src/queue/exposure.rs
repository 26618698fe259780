//! Handing a queue over to Python code, once and for good.
//!
//! Programs may lock a queue's `mutex` and change its `queue` behind our back, as they do with the
//! standard class. When they first reach for such a part, all parts are made and put into the
//! instance's namespace, the items move into them, and whoever sleeps is woken to go on there.
//!
//! No Python code runs while the items move: they are referenced first, and if the queue has
//! changed until they are taken, it is done again.

use std::sync::atomic::Ordering;

use manyhands_queue::{Order, State};
use manyhands_sys::futex::{Futex, Private};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::core::QueueCore;
use super::items::Items;

/// Who keeps the items, and where those sleep who come while they move.
pub struct Exposure(Futex<Private>);

/// What changes with every put and every get.
pub type Version = (u64, usize);

const NATIVE: u32 = 0;
/// The items are on their way into the instance's parts.
const MOVING: u32 = 1;
const EXPOSED: u32 = 2;

impl Exposure {
    /// The items are in the native store.
    pub const fn new() -> Self {
        Self(Futex::new(NATIVE))
    }

    /// Whether the parts have the items. Waits for the moment in which they are filled.
    pub fn is_over(&self, py: Python<'_>) -> bool {
        loop {
            // Meets the Release in `publish`.
            match self.0.load(Ordering::Acquire) {
                MOVING => _ = py.detach(|| self.0.wait(MOVING, None)),
                state => return state == EXPOSED,
            }
        }
    }
}

/// The items in the order in which they lie, and a version to give to [`publish`].
pub fn snapshot<'py>(core: &QueueCore, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
    let guard = core.heap.as_ref().map(|heap| heap.lock(py)).transpose()?;
    let look = |state: &mut State<Items>| (state.order.references(py), version(state));
    let (items, version) = core.queue.store().with(look);
    let items = match &core.heap {
        Some(heap) => heap.list().clone_ref(py).into_bound_py_any(py)?,
        None => items.into_bound_py_any(py)?,
    };
    drop(guard);
    (items, version).into_pyobject(py)
}

/// Puts `parts` into `namespace`, the instance's, and closes the native store. False if the queue
/// has changed since `seen`.
pub fn publish(
    slf: &Bound<'_, QueueCore>,
    seen: Version,
    namespace: &Bound<'_, PyDict>,
    parts: &Bound<'_, PyDict>,
) -> PyResult<bool> {
    let core = slf.get();
    let guard = core.heap.as_ref().map(|heap| heap.lock(slf.py())).transpose()?;
    parts.set_item("unfinished_tasks", core.queue.n_unfinished())?;
    let exposure = &core.exposure.0;
    let taken = core.queue.store().with(|state| {
        if version(state) != seen || exposure.load(Ordering::Relaxed) != NATIVE {
            return None;
        }
        exposure.store(MOVING, Ordering::Relaxed);
        let was_closed = std::mem::replace(&mut state.is_closed, true);
        Some((state.order.take(), was_closed))
    });
    drop(guard);
    let Some((items, was_closed)) = taken else {
        return Ok(core.exposure.is_over(slf.py()));
    };
    let filled = parts
        .set_item("is_shutdown", was_closed)
        .and_then(|()| namespace.update(parts.as_mapping()));
    // Meets the Acquire of `is_over`.
    exposure.store(EXPOSED, Ordering::Release);
    exposure.wake_all();
    core.queue.wake_all();
    drop(items);
    filled.map(|()| true)
}

fn version(state: &State<Items>) -> Version {
    (state.n_pushed, state.order.len())
}
