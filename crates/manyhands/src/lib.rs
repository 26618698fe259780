//! Thread pools, process pools and futures whose work can be stopped and whose workers may die.
//!
//! ```
//! use manyhands::{ProcessPool, as_completed};
//!
//! #[manyhands::task]
//! fn letters(word: String) -> usize {
//!     word.chars().filter(|c| c.is_alphabetic()).count()
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     manyhands::init(); // Workers are this program, started again: they begin here.
//!     let pool = ProcessPool::new(2)?;
//!     let mut futures = Vec::new();
//!     for word in ["rice", "beans", "salt?"] {
//!         futures.push(pool.submit(letters::task, word.to_owned())?);
//!     }
//!     let n_letters: usize = as_completed(futures).map(|future| future.result().unwrap()).sum();
//!     assert_eq!(n_letters, 13);
//!     Ok(())
//! }
//! ```
//!
//! - [`ThreadPool`] and [`ProcessPool`] take the same [tasks](macro@task) and are one
//!   [`Executor`]: threads or processes is one word.
//! - What runs in a process can be [cancelled](Future::cancel_running) and may have a
//!   [timeout](Options::timeout).
//! - [`Process`] is one process for one task.
//! - A worker process that dies fails the one task it was running; everything else goes on.
//! - [`Shared`] and [`SharedSlice`] are numbers that processes share, [`SharedMap`] is a map;
//!   [`SharedQueue`] and [`Pipe`] connect them. Each may be sent to any of them.
//! - So may a [`SharedMutex`] around plain data, which tells its next owner when one has died with
//!   it, and tells of deadlocks between processes; [`SharedCondvar`], [`SharedSemaphore`],
//!   [`SharedEvent`] and [`SharedBarrier`] go with it.
//! - [`scope`] starts threads that end before it does; the first failure asks the others to stop.
//!   [`sync`] has the locks for them, which tell of deadlocks.
//! - A panic in a task comes back as an error with its message and its place.
//!
//! Arguments and results are encoded with serde and postcard; what does not fit a task's slot of
//! 424 bytes lies in shared memory and is never copied through a pipe. (For long byte strings use
//! `serde_bytes::ByteBuf`: serde handles a `Vec<u8>` byte by byte.)
//!
//! What it does not do: it sends no closures to other processes, and it runs on Linux only.

mod error;
mod executor;
mod process;
mod process_pool;
mod scope;
mod shared;
mod start;
mod task;
mod thread_pool;
mod wire;
mod worker;

pub use error::{PoolError, SubmitError};
pub use executor::{Executor, Map, Options};
pub use manyhands_macros::task;
pub use manyhands_pool::error::{CrashReport, TaskError};
pub use manyhands_pool::future::Future;
pub use manyhands_pool::process::{PoolCounts, TaskTimes, WorkerInfo};
pub use manyhands_pool::thread_pool::Statistics;
pub use manyhands_pool::wait::{AsCompleted, DoneAndPending, ReturnWhen, as_completed, wait};
pub use process::{Process, ProcessBuilder, SpawnError};
pub use process_pool::{ProcessPool, ProcessPoolBuilder};
pub use scope::{Failure, Failures, Group, Outcome, Spawned, scope};
pub use shared::{
    OwnerDied, Pipe, ReceiveError, SendError, ShareError, Shared, SharedBarrier, SharedCondvar,
    SharedEvent, SharedMap, SharedMutex, SharedMutexGuard, SharedPermit, SharedQueue,
    SharedSemaphore, SharedSlice,
};
pub use start::init;
pub use task::Task;
pub use thread_pool::{ThreadPool, ThreadPoolBuilder};
pub use worker::stop_requested;

/// Locks, semaphores, events and barriers for threads, whose waits tell when they would last for
/// ever.
///
/// A wait that is part of a deadlock panics in one of its threads, with a report that names the
/// threads, what they hold, what they wait for, and where. `MANYHANDS_DEADLOCK=report` prints it
/// instead, `off` looks for none; [`set_deadlock_mode`](sync::set_deadlock_mode) does the same.
///
/// ```
/// use manyhands::sync::{Mutex, RwLock};
///
/// static PLATES: Mutex<u32> = Mutex::named("plates", 0);
/// let menu = RwLock::new(vec!["rice"]);
/// *PLATES.lock() += 1;
/// menu.write().push("beans");
/// assert_eq!((*PLATES.lock(), menu.read().len()), (1, 2));
/// ```
pub mod sync {
    pub use manyhands_sync::deadlock::{
        Mode as DeadlockMode, mode as deadlock_mode, set_mode as set_deadlock_mode,
    };
    pub use manyhands_sync::statistics::Statistics;
    pub use manyhands_sync::{
        Barrier, BrokenBarrier, Condvar, Event, Mutex, MutexGuard, Permit, ReentrantMutex,
        ReentrantMutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore,
    };
}

/// Queues between threads: in order of arrival, last in first out, by priority.
///
/// A queue can be shut down, which ends every wait at it; what is left can still be got. A wait
/// that nobody is left to end panics with a report, as at the locks of [`sync`].
///
/// ```
/// use manyhands::queue::Queue;
///
/// let orders = Queue::bounded(10).named("orders");
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         (1..=3).for_each(|table| orders.put(table).expect("the kitchen is open"));
///         orders.shutdown(false);
///     });
///     assert_eq!(orders.iter().sum::<u32>(), 6);
/// });
/// ```
pub mod queue {
    pub use manyhands_queue::{
        Deadline, Fifo, Iter, LifoQueue, Nothing, PriorityQueue, Queue, Refused, ShutDown,
        Statistics, TooManyDone,
    };
}

/// What `#[task]` and `test_entry!` expand to. Not for use by hand, and without any promise.
#[doc(hidden)]
pub mod __private {
    pub use crate::start::{TestEntry, serve_if_worker};
    pub use crate::task::{Entry, Registered};
    pub use inventory;
}
