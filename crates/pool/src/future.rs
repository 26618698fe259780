//! The result of a task, before it is there: what every executor of this crate hands out.
//!
//! An executor keeps its own task type; it embeds an [`Outcome`] and implements [`Source`]. The
//! [`Future`] is one reference to that task: no second allocation, and the task's own way of
//! being stopped or helped along is one virtual call away. A future of something else than the
//! task stores (bytes that are to be decoded) is [converted](Future::convert): one allocation.
//!
//! Guarantees: the result is handed out once, to whoever consumes the future; a callback runs
//! exactly once; dropping a future neither cancels nor waits; no panic of a callback, nor of the
//! destructor of a result, reaches the thread that ends the task or drops it.
//!
//! What it does not do: it is not a `std::future::Future`; it blocks the thread.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::time::Duration;

use manyhands_sys::clock::Deadline;

use crate::completion::{Completion, Ending, Phase, Wait};
use crate::error::TaskError;
use crate::panics::{self, Contained};

/// A task's result, once it is there.
///
/// ```
/// let pool = manyhands_pool::thread_pool::ThreadPool::new(2);
/// let future = pool.submit(|| (0..=10_000u64).sum::<u64>()).unwrap();
/// assert_eq!(future.result().unwrap(), 50_005_000);
/// ```
pub struct Future<T> {
    source: Arc<dyn Source<T>>,
}

/// When things happened to a task, in nanoseconds of the monotonic clock; 0: not yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskTimes {
    /// Submitted.
    pub queued_ns: u64,
    /// Claimed by a worker.
    pub started_ns: u64,
    /// Replied.
    pub finished_ns: u64,
    /// Processor time it used.
    pub cpu_ns: u64,
    /// Process id of the worker that ran it; 0: none yet.
    pub worker_pid: u32,
}

/// What an executor's task offers to its future.
pub trait Source<T>: Send + Sync {
    /// How far the task is.
    fn completion(&self) -> &Completion;

    /// Takes the result of a finished task; mostly [`Outcome::take`].
    ///
    /// # Safety
    /// No two threads may be in `take` or `has_failed` of one task at a time.
    unsafe fn take(&self) -> Option<Result<T, TaskError>>;

    /// Whether the task ended in an error, or in a value that `is_failure` says is one; mostly
    /// [`Outcome::has_failed`].
    ///
    /// # Safety
    /// As for [`take`](Self::take).
    unsafe fn has_failed(&self, is_failure: fn(&T) -> bool) -> bool;

    /// Ends the task if it has not started. Executors whose tasks are claimed elsewhere than in
    /// the completion decide it there.
    fn cancel(&self) -> bool {
        self.completion().cancel()
    }

    /// Ends the task although it runs; the executor stops its body within `grace` where it can.
    /// False if the task is done. Executors that cannot stop a running body leave this as it is:
    /// the future ends at once, the body runs on and its result is dropped.
    fn cancel_running(&self, grace: Duration) -> bool {
        let _ = grace;
        self.completion().cancel_running()
    }

    /// Whether the task runs now.
    fn is_running(&self) -> bool {
        self.completion().phase() == Phase::Running
    }

    /// Has `callback` run once when the task is done, in a thread where it may take its time.
    fn on_done(&self, callback: Callback) {
        self.completion().watch(Box::new(|| callback.run()));
    }

    /// Called before a thread sleeps for this task: a worker that would otherwise wait for
    /// itself runs the task here.
    fn help(&self) {}

    /// The name the task was given.
    fn name(&self) -> Option<&str> {
        None
    }

    /// When things happened to the task, if the executor keeps account of it.
    fn times(&self) -> Option<TaskTimes> {
        None
    }
}

/// A function of the program that is told of a task's end. Whatever it does, who runs or drops it
/// goes on: a panic is reported by the panic hook.
pub struct Callback(Contained<Box<dyn FnOnce() + Send>>);

/// A task whose stored `T` is handed out as `U`.
struct Converted<T, U> {
    source: Arc<dyn Source<T>>,
    convert: fn(T) -> Result<U, TaskError>,
    is_failure: fn(&T) -> bool,
}

/// A completion and the place for what it completes with.
pub struct Outcome<T> {
    completion: Completion,
    /// Written under SETTLING, read by the one consumer of the future after FINISHED.
    value: UnsafeCell<Option<Result<T, TaskError>>>,
}

// SAFETY: `value` is reached by one thread at a time: by the one whose `try_settle` won, and
// afterwards, ordered by the completion's word, by `take`, whose contract is one caller.
unsafe impl<T: Send> Sync for Outcome<T> {}

impl<T> Outcome<T> {
    /// The outcome of a task nobody has started.
    pub fn new() -> Self {
        Self { completion: Completion::new(), value: UnsafeCell::new(None) }
    }

    /// How far the task is.
    pub fn completion(&self) -> &Completion {
        &self.completion
    }

    /// Ends the task with `value` and tells everybody; false if it was ended before.
    pub fn settle(&self, value: Result<T, TaskError>) -> bool {
        self.try_settle(value).map(|ending| self.completion.announce(ending)).is_some()
    }

    /// [`settle`](Self::settle), leaving the telling to the caller.
    pub fn try_settle(&self, value: Result<T, TaskError>) -> Option<Ending> {
        let mut value = Contained::new(value);
        // A value that comes too late is dropped here: contained, as the caller has more to do.
        self.completion.try_settle(|| {
            // SAFETY: `try_settle` calls this for one of all callers, and nobody reads before
            // the phase is FINISHED.
            unsafe { *self.value.get() = value.take() };
        })
    }

    /// Takes the value out of a finished task. None before the end, after a cancel, or if it was
    /// taken before.
    ///
    /// # Safety
    /// No two threads may be in `take` or `has_failed` of one outcome at a time.
    pub unsafe fn take(&self) -> Option<Result<T, TaskError>> {
        match self.completion.phase() {
            // SAFETY: FINISHED was read with Acquire, so the write is visible and over; the
            // caller promises to be alone.
            Phase::Finished => unsafe { (*self.value.get()).take() },
            _ => None,
        }
    }

    /// Whether the task ended in an error, or in a value that `is_failure` says is one.
    ///
    /// # Safety
    /// As for [`take`](Self::take).
    pub unsafe fn has_failed(&self, is_failure: fn(&T) -> bool) -> bool {
        if self.completion.phase() != Phase::Finished {
            return false;
        }
        // SAFETY: as in `take`.
        match unsafe { &*self.value.get() } {
            Some(Ok(value)) => is_failure(value),
            Some(Err(_)) => true,
            None => false,
        }
    }
}

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        // A result that nobody has taken dies wherever the task does: often in a pool's thread.
        if let Some(value) = self.value.get_mut().take() {
            panics::discard(value);
        }
    }
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + 'static> Future<T> {
    /// The future of a task. A result is handed out once, to one thread:
    ///
    /// ```compile_fail,E0133
    /// # use std::sync::Arc;
    /// # use manyhands_pool::future::{Future, Source};
    /// # fn of(source: Arc<impl Source<u64> + 'static>) {
    /// let twins = [Future::new(Arc::clone(&source)), Future::new(source)];
    /// # }
    /// ```
    ///
    /// # Safety
    /// No other future is made of `source`, and nobody else takes its result or asks if it failed.
    pub unsafe fn new<S: Source<T> + 'static>(source: Arc<S>) -> Self {
        Self { source }
    }

    /// The same task, with what it stores handed out as `convert` says: called once, in the
    /// thread that takes the result. `is_failure` tells beforehand that it will be an error.
    pub fn convert<U: Send + 'static>(
        self,
        convert: fn(T) -> Result<U, TaskError>,
        is_failure: fn(&T) -> bool,
    ) -> Future<U> {
        Future { source: Arc::new(Converted { source: self.source, convert, is_failure }) }
    }

    /// Waits for the task and takes its result.
    ///
    /// # Errors
    /// Why the task has no result: it panicked, was cancelled, timed out, or its process died.
    pub fn result(self) -> Result<T, TaskError> {
        self.wait_until(None);
        self.take()
    }

    /// Waits at most `timeout`, then gives the future back.
    ///
    /// # Errors
    /// The future itself, if the task is not done in time.
    pub fn result_timeout(self, timeout: Duration) -> Result<Result<T, TaskError>, Self> {
        if self.wait_until(Some(Deadline::after(timeout))) { Ok(self.take()) } else { Err(self) }
    }

    /// Waits until the task is done; false if `deadline` comes first.
    pub fn wait_until(&self, deadline: Option<Deadline>) -> bool {
        if self.is_done() {
            return true;
        }
        self.source.help();
        loop {
            match self.completion().wait(deadline) {
                Wait::Done => return true,
                Wait::TimedOut => return false,
                Wait::Interrupted => {}
            }
        }
    }

    /// Cancels the task if it has not started: it never will. False if it runs or is done.
    pub fn cancel(&self) -> bool {
        self.source.cancel()
    }

    /// Cancels the task even if it runs; its body is stopped within `grace` where the executor
    /// can stop it. False if it is done.
    pub fn cancel_running(&self, grace: Duration) -> bool {
        self.source.cancel_running(grace)
    }

    /// Whether the task has finished, failed or been cancelled.
    pub fn is_done(&self) -> bool {
        self.completion().is_done()
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.completion().phase() == Phase::Cancelled
    }

    /// Whether the task runs now.
    pub fn is_running(&self) -> bool {
        self.source.is_running()
    }

    /// Calls `f` once when the task is done; at once, on this thread, if it is done now. The
    /// callbacks of a future run in the order in which they were added. A panic in `f` is reported
    /// by the panic hook and concerns nobody else.
    ///
    /// Where `f` runs: in a thread pool on the thread that ran the task; in a process pool on a
    /// thread that the pool has for callbacks, one after the other in the order in which the tasks
    /// ended; in either on the thread that cancels the task. A callback may wait for other tasks of
    /// its pool, and may shut the pool down or drop it. If one takes long, those behind it are run
    /// beside it.
    pub fn on_done(&self, f: impl FnOnce() + Send + 'static) {
        self.source.on_done(Callback(Contained::new(Box::new(f))));
    }

    /// The name the task was given.
    pub fn name(&self) -> Option<&str> {
        self.source.name()
    }

    /// When things happened to the task; `None` in executors that keep no account of it.
    pub fn times(&self) -> Option<TaskTimes> {
        self.source.times()
    }

    /// How far the task is, for waits over many futures.
    pub fn completion(&self) -> &Completion {
        self.source.completion()
    }

    /// Whether the task ended in an error other than being cancelled.
    pub(crate) fn has_failed(&mut self) -> bool {
        // SAFETY: `&mut self`, and one future per source: nobody else reads the value.
        unsafe { self.source.has_failed(|_| false) }
    }

    pub(crate) fn help(&self) {
        self.source.help();
    }

    fn take(self) -> Result<T, TaskError> {
        // SAFETY: `self` is consumed and there is one future per source: no other reader.
        match unsafe { self.source.take() } {
            Some(value) => value,
            None if self.is_cancelled() => Err(TaskError::Cancelled),
            None => Err(TaskError::Other("the task ended without storing a result".to_owned())),
        }
    }
}

impl Callback {
    /// Calls it.
    pub fn run(mut self) {
        if let Some(f) = self.0.take() {
            panics::contain(f);
        }
    }
}

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callback")
    }
}

impl<T: Send + 'static> std::fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Future")
            .field("name", &self.name())
            .field("phase", &self.completion().phase())
            .finish()
    }
}

/// Only converts; a conversion of a conversion asks the innermost what failed.
impl<T: 'static, U: 'static> Source<U> for Converted<T, U> {
    fn completion(&self) -> &Completion {
        self.source.completion()
    }

    unsafe fn take(&self) -> Option<Result<U, TaskError>> {
        // SAFETY: the caller's promise: there is one future for both sources.
        let stored = unsafe { self.source.take() }?;
        // Converting runs code of the program (decoding): if it panics, so did the task.
        Some(stored.and_then(|stored| panics::catch(|| (self.convert)(stored)).flatten()))
    }

    unsafe fn has_failed(&self, _: fn(&U) -> bool) -> bool {
        // SAFETY: as in `take`.
        unsafe { self.source.has_failed(self.is_failure) }
    }

    fn cancel(&self) -> bool {
        self.source.cancel()
    }

    fn cancel_running(&self, grace: Duration) -> bool {
        self.source.cancel_running(grace)
    }

    fn is_running(&self) -> bool {
        self.source.is_running()
    }

    fn on_done(&self, callback: Callback) {
        self.source.on_done(callback);
    }

    fn help(&self) {
        self.source.help();
    }

    fn name(&self) -> Option<&str> {
        self.source.name()
    }

    fn times(&self) -> Option<TaskTimes> {
        self.source.times()
    }
}
