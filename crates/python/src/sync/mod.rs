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
pub mod thread_run;

use crate::contract;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use manyhands_sync::overflow::Overflow;
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
    // The last word of the module, as the standard classes have only one.
    let (module, class) = (class.module()?.to_string(), class.qualname()?.to_string());
    let module = module.rsplit('.').next().unwrap_or_default();
    let name = name.map(|name| format!(" {name:?}")).unwrap_or_default();
    Ok(format!("<{module}.{class}{name} at {:#x}: {state}>", object.as_ptr() as usize))
}

/// Warns that `old` is called where `new` should be.
pub fn warn_of_old_name(py: Python<'_>, old: &str, new: &str) -> PyResult<()> {
    warn_deprecated(py, &format!("{old}() is deprecated, use {new}() instead"))
}

/// Emits a DeprecationWarning for the line of Python that called.
pub fn warn_deprecated(py: Python<'_>, text: &str) -> PyResult<()> {
    let warn = contract::WARN.now(py)?;
    let class = py.get_type::<pyo3::exceptions::PyDeprecationWarning>();
    crate::call::call(&warn, &(text, class, 1).into_pyobject(py)?, None).map(drop)
}

/// What raising a count beyond its end raises, as in the standard class.
#[cold]
pub fn overflow(error: Overflow) -> PyErr {
    pyo3::exceptions::PyOverflowError::new_err(error.to_string())
}

/// What pickling a primitive of one process raises.
pub fn refuse_pickling(object: &Bound<'_, PyAny>) -> PyErr {
    let kind = object.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    pyo3::exceptions::PyTypeError::new_err(format!(
        "cannot pickle a {kind} of manyhands.threading: it belongs to the threads of one process. \
         Make one in each process that needs one"
    ))
}
