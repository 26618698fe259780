//! What a task is, and how workers know all tasks of the program: by name, registered at link
//! time.
//!
//! Guarantees: the same program has the same tasks in every process; two tasks of one name are
//! found when the first pool is made, not when the wrong one has run.

use std::sync::{Arc, OnceLock};

use manyhands_pool::process::Body;
use manyhands_shm::{Carried, Heap};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::PoolError;
use crate::wire::{self, Encoded, Failure};

/// A function that executors can run; made by [`#[task]`](macro@crate::task).
///
/// What cannot work in another process is the compiler's error, in words. A function without the
/// attribute is no task; nothing borrowed, generic or asynchronous travels; a task takes what its
/// function takes:
///
/// ```compile_fail
/// fn plain(n: u32) -> u32 { n }
/// manyhands::ThreadPool::new(1).unwrap().submit(plain, 1);
/// ```
/// ```compile_fail
/// #[manyhands::task]
/// fn borrows(text: &str) -> usize { text.len() }
/// ```
/// ```compile_fail
/// #[manyhands::task]
/// fn generic<T>(value: T) {}
/// ```
/// ```compile_fail
/// #[manyhands::task]
/// async fn fetch(url: String) {}
/// ```
/// ```compile_fail
/// #[manyhands::task]
/// fn locked(value: std::sync::MutexGuard<'static, u8>) {}
/// ```
/// ```compile_fail
/// #[manyhands::task]
/// fn double(n: u32) -> u32 { 2 * n }
/// manyhands::ThreadPool::new(1).unwrap().submit(double::task, "21");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "not a task",
    note = "put `#[manyhands::task]` above the function and pass `function_name::task`"
)]
pub trait Task: Copy + Send + Sync + 'static {
    /// Its argument; a tuple if there are several, `()` if there are none.
    type Args: Serialize + DeserializeOwned + Send + 'static;

    /// What it returns.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// The name workers know it by, and people see in reports.
    const NAME: &'static str;

    /// Calls the function here and now.
    fn call(args: Self::Args) -> Self::Output;

    #[doc(hidden)]
    fn entry() -> &'static Entry;
}

/// A task as a worker finds it.
#[derive(Debug)]
pub struct Entry {
    pub(crate) name: &'static str,
    file: &'static str,
    line: u32,
    pub(crate) run: Run,
    /// Its place among all tasks; set by [`Registry::get`].
    index: OnceLock<usize>,
}

/// Decodes the arguments, runs the task and encodes what it returns.
pub(crate) type Run =
    fn(&[u8], &Arc<Heap>, &mut [u8; Body::MAX_INLINE]) -> Result<(Encoded, Carried), Failure>;

/// What `#[task]` hands to the linker.
#[derive(Debug)]
pub struct Registered(pub &'static Entry);

inventory::collect!(Registered);

/// All tasks of the program.
pub(crate) struct Registry {
    by_name: Vec<&'static Entry>,
}

impl Entry {
    /// The entry of `T`, which stands at `file` and `line`.
    pub const fn of<T: Task>(file: &'static str, line: u32) -> Self {
        Self { name: T::NAME, file, line, run: wire::run::<T>, index: OnceLock::new() }
    }

    /// Its place among all tasks; `None`: it is not registered.
    pub(crate) fn index(&self) -> Option<usize> {
        self.index.get().copied()
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

impl Registry {
    /// The tasks of this program.
    ///
    /// # Errors
    /// [`PoolError::DuplicateTask`] if two of them have the same name.
    pub(crate) fn get() -> Result<&'static Self, PoolError> {
        static REGISTRY: OnceLock<Result<Registry, PoolError>> = OnceLock::new();
        let found = REGISTRY.get_or_init(|| {
            let entries = inventory::iter::<Registered>.into_iter().map(|registered| registered.0);
            Self::new(entries.collect())
        });
        found.as_ref().map_err(Clone::clone)
    }

    fn new(mut entries: Vec<&'static Entry>) -> Result<Self, PoolError> {
        entries.sort_by_key(|entry| (entry.name, entry.file, entry.line));
        let same = entries.windows(2).find(|pair| pair[0].name == pair[1].name);
        if let Some(pair) = same {
            return Err(PoolError::DuplicateTask {
                name: pair[0].name,
                first: pair[0].place(),
                second: pair[1].place(),
            });
        }
        for (index, entry) in entries.iter().enumerate() {
            entry.index.get_or_init(|| index);
        }
        Ok(Self { by_name: entries })
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<&'static Entry> {
        let index = self.by_name.binary_search_by_key(&name, |entry| entry.name.as_bytes()).ok()?;
        Some(self.by_name[index])
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }
}
