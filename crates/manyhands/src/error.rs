//! Why there is no pool, and why a task was not taken: sentences for people.

use std::fmt;
use std::io;
use std::sync::Arc;

use manyhands_pool::process::SubmitError as CoreSubmitError;

/// Why a pool cannot be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// `manyhands::init()` was not called.
    NotInitialised,
    /// This process is to become a worker, and did not reach `manyhands::init()` in time.
    WorkerRunsMain,
    /// Two tasks have the same name.
    DuplicateTask {
        /// The name.
        name: &'static str,
        /// File and line of the one.
        first: String,
        /// File and line of the other.
        second: String,
    },
    /// The system refused something.
    Io(Arc<io::Error>),
}

/// Why a task was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError {
    /// The pool was shut down.
    Closed,
    /// Its workers cannot be started; the reason as a sentence.
    Broken(String),
    /// The arguments cannot be sent; the reason as a sentence.
    Arguments(String),
    /// No worker would know the task: it was not made by `#[task]`.
    UnknownTask(&'static str),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInitialised => f.write_str(
                "worker processes start this program again and must become workers there: call \
                 manyhands::init() at the top of main (in tests, put manyhands::test_entry!() \
                 into the test file)",
            ),
            Self::WorkerRunsMain => f.write_str(
                "this process was started as a worker, but its main makes a pool before it \
                 calls manyhands::init(): call that first",
            ),
            Self::DuplicateTask { name, first, second } => write!(
                f,
                "two tasks are called {name}, at {first} and at {second}: give one of them \
                 another name with #[task(name = \"…\")]"
            ),
            Self::Io(error) => write!(f, "a pool could not be made: {error}"),
        }
    }
}

impl std::error::Error for PoolError {}

impl From<io::Error> for PoolError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the pool was shut down: it takes no more tasks"),
            Self::Broken(why) => write!(f, "the pool takes no more tasks: {why}"),
            Self::Arguments(why) => f.write_str(why),
            Self::UnknownTask(name) => write!(
                f,
                "no worker knows a task called {name}: put #[manyhands::task] above the function"
            ),
        }
    }
}

impl std::error::Error for SubmitError {}

impl From<CoreSubmitError> for SubmitError {
    fn from(error: CoreSubmitError) -> Self {
        match error {
            CoreSubmitError::Closed => Self::Closed,
            CoreSubmitError::Broken(why) => Self::Broken(why),
        }
    }
}
