//! The Python extension manyhands._runtime.
//!
//! Extract, detach, call, map the error: what a class here does beyond that is what only an
//! attached thread can do (running callables, keeping references).
//!
//! What belongs to futures and thread pools, from the bottom up; a module uses only those in lines
//! above its own:
//!
//! | module | what it is |
//! |---|---|
//! | `fork`, `ending`, `call`, `async_exception`, `errors` | what any class here may need |
//! | `stopping` | whether the calling thread's task is being stopped |
//! | `interrupt` | waits that a signal or a stop ends |
//! | `dispatcher` | the thread that runs callbacks and timers |
//! | `observer`, `outcome`, `chain` | who is told of a future's end; what it ends with; asyncio |
//! | `python_threads` | the threads of an executor, as `manyhands_pool::threads` keeps them |
//! | `future` | manual, local and remote futures |
//! | `gatherer`, `worker`, `process` | waits for many; what a worker thread does; process pools |
//! | `thread_pool` | the executor |
//! | `fork_hooks`, `startup` | what is told to all of them |

mod async_exception;
mod call;
mod chain;
mod contract;
mod dispatcher;
mod ending;
mod errors;
mod fork;
mod fork_hooks;
mod future;
mod gatherer;
mod interrupt;
mod numbers;
mod observer;
mod outcome;
mod parcel;
mod process;
mod python_threads;
mod queue;
mod shared;
mod startup;
mod stopping;
mod sync;
mod thread_pool;
mod worker;

use pyo3::prelude::*;

/// The compiled part of manyhands.
#[pymodule(gil_used = false)]
mod _runtime {
    #[pymodule_export]
    use super::contract::check_contract;
    #[pymodule_export]
    use super::dispatcher::{call_soon, flush_callbacks, run_dispatcher};
    #[pymodule_export]
    use super::ending::refuse_new_tasks;
    #[pymodule_export]
    use super::future::FutureCore;
    #[pymodule_export]
    use super::gatherer::{Gatherer, any_error};
    #[pymodule_export]
    use super::process::buffer::SharedBuffer;
    #[pymodule_export]
    use super::process::child::{
        ChildProcess, become_child, end_with_parent, looks_after_parent, memory_file,
        parent_sentinel,
    };
    #[pymodule_export]
    use super::process::handle::ProcessHandle;
    #[pymodule_export]
    use super::process::launcher::{ProgramLauncher, TemplateLauncher, stop_templates};
    #[pymodule_export]
    use super::process::pool::{ProcessPoolCore, end_process_pools, heap_usage, usable_cpus};
    #[pymodule_export]
    use super::process::template::{Launch, TemplateServer, receive_launch};
    #[pymodule_export]
    use super::process::worker::WorkerLoop;
    #[pymodule_export]
    use super::queue::core::QueueCore;
    #[pymodule_export]
    use super::shared::connection::{
        ConnectionCore, linger_for_sockets, open_pipe, prepare_connections,
    };
    #[pymodule_export]
    use super::shared::containers::dict::SharedDict;
    #[pymodule_export]
    use super::shared::containers::iterator::SharedKeyIterator;
    #[pymodule_export]
    use super::shared::containers::list::SharedList;
    #[pymodule_export]
    use super::shared::containers::locked::ContainerBlock;
    #[pymodule_export]
    use super::shared::family::{bury_party, last_forked_party, name_party};
    #[pymodule_export]
    use super::shared::locks::barrier::SharedBarrier;
    #[pymodule_export]
    use super::shared::locks::condition::SharedWaiters;
    #[pymodule_export]
    use super::shared::locks::event::SharedEvent;
    #[pymodule_export]
    use super::shared::locks::lock::SharedLock;
    #[pymodule_export]
    use super::shared::locks::rlock::SharedRLock;
    #[pymodule_export]
    use super::shared::locks::semaphore::SharedSemaphore;
    #[pymodule_export]
    use super::shared::queue::core::SharedQueueCore;
    #[pymodule_export]
    use super::shared::references::{References, collect_references};
    #[pymodule_export]
    use super::shared::values::array::SharedArray;
    #[pymodule_export]
    use super::shared::values::lost_update::{lost_update_mode, set_lost_update_mode};
    #[pymodule_export]
    use super::shared::values::memory::Memory;
    #[pymodule_export]
    use super::shared::values::value::SharedValue;
    #[pymodule_export]
    use super::startup::set_future_class;
    #[pymodule_export]
    use super::sync::barrier::Barrier;
    #[pymodule_export]
    use super::sync::blocking::{deadlock_mode, set_deadlock_mode};
    #[pymodule_export]
    use super::sync::condition::Condition;
    #[pymodule_export]
    use super::sync::event::Event;
    #[pymodule_export]
    use super::sync::lock::Lock;
    #[pymodule_export]
    use super::sync::rlock::RLock;
    #[pymodule_export]
    use super::sync::rwlock::{AccessTo, RwLock};
    #[pymodule_export]
    use super::sync::semaphore::{BoundedSemaphore, Semaphore};
    #[pymodule_export]
    use super::sync::thread_end::ThreadEnd;
    #[pymodule_export]
    use super::sync::thread_run::{Returning, ThreadRun};
    #[pymodule_export]
    use super::thread_pool::{ThreadPoolCore, check_options};
    #[pymodule_export]
    use super::worker::WorkLoop;

    use pyo3::prelude::*;

    /// No process has the module without the hook: not a template or a worker either.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::sync::blocking::hook_into_deadlocks();
        super::async_exception::prepare(module.py())?;
        super::shared::register();
        super::shared::prepare_classes(module.py())?;
        super::shared::values::lost_update::start();
        super::fork_hooks::hook_into(module)
    }
}
