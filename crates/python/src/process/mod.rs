//! The binding of the process pool: from Python calls to bytes in slots and back.
//!
//! - [`pool`]: the pyclass behind `ProcessPoolExecutor`; [`remote`] what its futures wait for;
//! - [`codec`]: objects to bytes and back; [`buffer`] memory of the heap as Python sees it;
//!   [`functions`] what is sent once;
//! - [`launcher`]: where workers come from; [`template`] and [`worker`]: the other processes' side.

pub mod buffer;
pub mod codec;
pub mod functions;
pub mod launcher;
pub mod pool;
pub mod remote;
pub mod template;
pub mod worker;

use pyo3::prelude::*;

/// Adds the classes and functions of this module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<pool::ProcessPoolCore>()?;
    module.add_class::<launcher::ProgramLauncher>()?;
    module.add_class::<launcher::TemplateLauncher>()?;
    module.add_class::<template::TemplateServer>()?;
    module.add_class::<template::Launch>()?;
    module.add_class::<worker::WorkerLoop>()?;
    module.add_class::<buffer::SharedBuffer>()?;
    module.add_function(wrap_pyfunction!(launcher::stop_templates, module)?)?;
    module.add_function(wrap_pyfunction!(template::receive_launch, module)?)?;
    module.add_function(wrap_pyfunction!(pool::usable_cpus, module)?)?;
    module.add_function(wrap_pyfunction!(pool::heap_usage, module)?)?;
    Ok(())
}

/// In the child of a fork.
pub fn forget_after_fork() {
    manyhands_process::forget_after_fork();
    manyhands_pool::process::forget_family_after_fork();
}
