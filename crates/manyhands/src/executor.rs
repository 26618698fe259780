//! What thread pools and process pools have in common, so that one word changes between them.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::sync::Arc;
use std::time::Duration;

use manyhands_pool::error::TaskError;
use manyhands_pool::future::Future;
use manyhands_pool::process::TaskOptions;

use crate::error::SubmitError;
use crate::process_pool::ProcessPool;
use crate::task::Task;

/// An executor of tasks: [`ThreadPool`](crate::ThreadPool) or [`ProcessPool`].
///
/// Both have these methods as their own; the trait is for functions that work with either.
///
/// ```
/// use manyhands::{Executor, ProcessPool, ThreadPool};
///
/// #[manyhands::task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// fn sum_of_squares(pool: &impl Executor) -> u64 {
///     pool.map(square::task, 1..=9).map(|square| square.unwrap()).sum()
/// }
///
/// fn main() {
///     manyhands::init();
///     assert_eq!(sum_of_squares(&ThreadPool::new(2).unwrap()), 285);
///     assert_eq!(sum_of_squares(&ProcessPool::new(2).unwrap()), 285);
/// }
/// ```
pub trait Executor: Sized + sealed::Sealed {
    /// Hands a task over; see [`ProcessPool::submit`].
    ///
    /// # Errors
    /// [`SubmitError`] if the task is not taken.
    fn submit<T: Task>(&self, task: T, args: T::Args) -> Result<Future<T::Output>, SubmitError> {
        self.options().submit(task, args)
    }

    /// Runs a task for each of `inputs`; see [`Map`].
    fn map<T: Task, I>(&self, task: T, inputs: I) -> Map<'_, Self, T, I::IntoIter>
    where
        I: IntoIterator<Item = T::Args>,
    {
        self.options().map(task, inputs)
    }

    /// A view of the executor that applies options to what is submitted through it.
    fn options(&self) -> Options<'_, Self> {
        Options { pool: self, options: TaskOptions::default(), n_in_flight: None }
    }

    /// Takes no more tasks, and waits until those taken are done and the workers are gone.
    fn shutdown(&self);

    /// Threads or processes at most.
    fn max_workers(&self) -> usize;

    #[doc(hidden)]
    fn submit_with<T: Task>(
        &self,
        args: T::Args,
        options: &TaskOptions,
    ) -> Result<Future<T::Output>, SubmitError>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// An executor with options for the tasks that are submitted through it; made by `options()`.
///
/// ```
/// use std::time::Duration;
/// use manyhands::{ProcessPool, TaskError};
///
/// #[manyhands::task]
/// fn nap(ms: u64) {
///     std::thread::sleep(Duration::from_millis(ms));
/// }
///
/// fn main() {
///     manyhands::init();
///     let pool = ProcessPool::new(1).unwrap();
///     let short = pool.options().timeout(Duration::from_millis(20)).grace(Duration::ZERO);
///     let nap = short.submit(nap::task, 60_000).unwrap();
///     assert_eq!(nap.result(), Err(TaskError::TimedOut));
/// }
/// ```
#[derive(Debug)]
pub struct Options<'pool, P> {
    pool: &'pool P,
    options: TaskOptions,
    n_in_flight: Option<usize>,
}

/// The results of a task for many inputs, in the order of the inputs.
///
/// Tasks are submitted ahead of the result that is asked for, but at most so many as
/// [`in_flight`](Options::in_flight) says, so that an endless iterator and results of any size
/// are fine. A failed task is an `Err` in its place; the others are not affected. Dropping the
/// iterator cancels what has not started.
#[derive(Debug)]
pub struct Map<'pool, P, T: Task, I: Iterator> {
    options: Options<'pool, P>,
    task: T,
    inputs: Fuse<I>,
    futures: VecDeque<Future<T::Output>>,
    n_max: usize,
    /// Why no more inputs are taken.
    refused: Option<SubmitError>,
}

/// So many tasks for each worker are in flight unless told otherwise: more than its lane takes.
const IN_FLIGHT_PER_WORKER: usize = 256;

/// And no more than so many in all: a pool may be allowed far more workers than it ever starts.
const MAX_IN_FLIGHT: usize = 65_536;

fn in_flight_by_default(max_workers: usize) -> usize {
    IN_FLIGHT_PER_WORKER.saturating_mul(max_workers).min(MAX_IN_FLIGHT)
}

impl<'pool, P: Executor> Options<'pool, P> {
    /// A name for the tasks, for reports of people's and of crashes. Without it a task has the
    /// name of its function.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// How many tasks of one `map` are submitted and not yet asked for, at most (and at least 1).
    pub fn in_flight(mut self, n_tasks: usize) -> Self {
        self.n_in_flight = Some(n_tasks.max(1));
        self
    }

    /// Hands a task over; see [`ProcessPool::submit`].
    ///
    /// # Errors
    /// [`SubmitError`] if the task is not taken.
    pub fn submit<T: Task>(
        &self,
        task: T,
        args: T::Args,
    ) -> Result<Future<T::Output>, SubmitError> {
        let _ = task;
        self.pool.submit_with::<T>(args, &self.options)
    }

    /// Runs a task for each of `inputs`; see [`Map`].
    pub fn map<T: Task, I>(&self, task: T, inputs: I) -> Map<'pool, P, T, I::IntoIter>
    where
        I: IntoIterator<Item = T::Args>,
    {
        let by_default = in_flight_by_default(self.pool.max_workers());
        let mut map = Map {
            options: self.clone(),
            task,
            inputs: inputs.into_iter().fuse(),
            futures: VecDeque::new(),
            n_max: self.n_in_flight.unwrap_or(by_default),
            refused: None,
        };
        map.fill();
        map
    }
}

impl Options<'_, ProcessPool> {
    /// How long a task may run. Then its future ends with [`TaskError::TimedOut`], and its worker
    /// is killed when the grace is over.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// How long a task that is [asked to stop](crate::stop_requested) at its timeout may go on;
    /// 100 ms unless told otherwise.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }
}

impl<P> Clone for Options<'_, P> {
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), ..*self }
    }
}

impl<P, T, I> Map<'_, P, T, I>
where
    P: Executor,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    fn fill(&mut self) {
        while self.refused.is_none() && self.futures.len() < self.n_max {
            let Some(args) = self.inputs.next() else { return };
            match self.options.submit(self.task, args) {
                Ok(future) => self.futures.push_back(future),
                Err(error) => self.refused = Some(error),
            }
        }
    }
}

impl<P, T, I> Iterator for Map<'_, P, T, I>
where
    P: Executor,
    T: Task,
    I: Iterator<Item = T::Args>,
{
    type Item = Result<T::Output, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(future) = self.futures.pop_front() {
            // Before waiting: the workers have something to do meanwhile.
            self.fill();
            return Some(future.result());
        }
        match self.refused.take()? {
            // One input that cannot be sent is its own failure; the inputs after it go on.
            SubmitError::Arguments(why) => {
                self.fill();
                Some(Err(TaskError::Other(why)))
            }
            error => {
                // A pool that takes no more tasks ends the map.
                self.n_max = 0;
                Some(Err(TaskError::PoolBroken(error.to_string())))
            }
        }
    }
}

impl<P, T: Task, I: Iterator> Drop for Map<'_, P, T, I> {
    fn drop(&mut self) {
        for future in &self.futures {
            future.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_over_any_number_of_workers_submits_some_tasks_ahead_and_not_too_many() {
        assert_eq!(in_flight_by_default(1), 256);
        assert_eq!(in_flight_by_default(4), 1024);
        for max_workers in [257, 1 << 55, (1 << 56) + 1, usize::MAX / 256, 1 << 63, usize::MAX] {
            assert_eq!(in_flight_by_default(max_workers), MAX_IN_FLIGHT, "{max_workers}");
        }
    }
}
