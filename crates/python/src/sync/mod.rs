//! The primitives of `manyhands.threading`.

pub mod barrier;
pub mod blocking;
pub mod condition;
pub mod event;
pub mod lock;
pub mod rlock;
pub mod rwlock;
pub mod semaphore;
pub mod site;
pub mod thread_end;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use manyhands_sync::statistics::Statistics;

/// What `statistics()` returns.
pub fn statistics(py: Python<'_>, statistics: Statistics) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("acquisitions", statistics.acquisitions)?;
    dict.set_item("contended", statistics.contended)?;
    dict.set_item("waited", statistics.waited_ns as f64 / 1e9)?;
    Ok(dict)
}

/// `<kind at 0x…: …>`, as the standard classes show themselves.
pub fn repr(object: &Bound<'_, PyAny>, name: Option<&str>, state: &str) -> PyResult<String> {
    let class = object.get_type();
    let (module, class) = (class.module()?.to_string(), class.qualname()?.to_string());
    let name = name.map(|name| format!(" {name:?}")).unwrap_or_default();
    Ok(format!("<{module}.{class}{name} at {:#x}: {state}>", object.as_ptr() as usize))
}

/// What pickling a primitive of one process raises.
pub fn refuse_pickling(kind: &str) -> PyErr {
    pyo3::exceptions::PyTypeError::new_err(format!(
        "cannot pickle a {kind} of manyhands.threading: it belongs to the threads of one process. \
         Make one in each process, or use manyhands.multiprocessing's"
    ))
}
