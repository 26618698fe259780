//! Waiting for many tasks at once: `wait` and `as_completed`.
//!
//! A [`Gathering`] is what both are made of, and what the Python front uses too: completions
//! report their index into one list, and one thread sleeps on an event count until a report comes.
//! It holds no future, so that a finished one can be freed while the others are awaited.
//!
//! Guarantees: every watched index is reported exactly once, in the order of ending; a gathering
//! that is dropped leaves no watcher behind that does more than drop a reference.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use manyhands_sync::event_count::EventCount;
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Private, WaitEnd};

use crate::completion::{Completion, Wait, WatchId};
use crate::future::Future;

/// When [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnWhen {
    /// When any task is done.
    FirstCompleted,
    /// When any task failed, or all are done.
    FirstException,
    /// When all tasks are done.
    AllCompleted,
}

/// Which futures were done when [`wait`] returned, as indices into its argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoneAndPending {
    /// Finished, failed or cancelled.
    pub done: Vec<usize>,
    /// Still pending or running.
    pub pending: Vec<usize>,
}

/// The ends of many tasks, in the order in which they happen.
pub struct Gathering {
    board: Arc<Board>,
}

/// What watchers and the gatherer share.
struct Board {
    ended: Mutex<VecDeque<usize>>,
    /// Notified of each report; the gatherer sleeps on it.
    reported: EventCount<Private>,
}

/// Waits for `futures` as `return_when` says, at most `timeout`.
///
/// ```
/// use manyhands_pool::{thread_pool::ThreadPool, wait::{wait, ReturnWhen}};
///
/// let pool = ThreadPool::new(2);
/// let mut futures: Vec<_> = (0..4).map(|n| pool.submit(move || n).unwrap()).collect();
/// let ended = wait(&mut futures, None, ReturnWhen::AllCompleted);
/// assert_eq!(ended.done.len(), 4);
/// ```
pub fn wait<T: Send + 'static>(
    futures: &mut [Future<T>],
    timeout: Option<Duration>,
    return_when: ReturnWhen,
) -> DoneAndPending {
    let deadline = timeout.map(Deadline::after);
    let gathering = Gathering::new();
    let ids: Vec<_> = futures
        .iter()
        .enumerate()
        .map(|(index, future)| gathering.watch(future.completion(), index))
        .collect();
    let mut n_left = futures.len();
    let mut n_helped = 0;
    while n_left > 0 {
        let Some(index) = gathering.poll() else {
            // A worker that waits for its own pool runs one more task, then looks again.
            if let Some(future) = futures.get(n_helped) {
                n_helped += 1;
                future.help();
                continue;
            }
            match gathering.wait(deadline) {
                Wait::TimedOut => break,
                Wait::Done | Wait::Interrupted => continue,
            }
        };
        n_left -= 1;
        let enough = match return_when {
            ReturnWhen::FirstCompleted => true,
            ReturnWhen::FirstException => futures[index].has_failed(),
            ReturnWhen::AllCompleted => false,
        };
        if enough {
            break;
        }
    }
    for (future, id) in futures.iter().zip(ids) {
        if let Some(id) = id {
            future.completion().unwatch(id);
        }
    }
    let (done, pending) = (0..futures.len()).partition(|&index| futures[index].is_done());
    DoneAndPending { done, pending }
}

/// Yields the futures in the order in which their tasks end.
///
/// ```
/// use manyhands_pool::{thread_pool::ThreadPool, wait::as_completed};
///
/// let pool = ThreadPool::new(2);
/// let futures: Vec<_> = (1..=3).map(|n| pool.submit(move || n).unwrap()).collect();
/// let sum: i32 = as_completed(futures).map(|future| future.result().unwrap()).sum();
/// assert_eq!(sum, 6);
/// ```
pub fn as_completed<T: Send + 'static>(
    futures: impl IntoIterator<Item = Future<T>>,
) -> AsCompleted<T> {
    let gathering = Gathering::new();
    let futures: Vec<_> = futures.into_iter().map(Some).collect();
    for (index, future) in futures.iter().flatten().enumerate() {
        gathering.watch(future.completion(), index);
    }
    AsCompleted { n_left: futures.len(), n_helped: 0, futures, gathering }
}

/// The iterator [`as_completed`] returns.
pub struct AsCompleted<T> {
    futures: Vec<Option<Future<T>>>,
    n_left: usize,
    n_helped: usize,
    gathering: Gathering,
}

impl<T: Send + 'static> Iterator for AsCompleted<T> {
    type Item = Future<T>;

    fn next(&mut self) -> Option<Future<T>> {
        if self.n_left == 0 {
            return None;
        }
        loop {
            if let Some(index) = self.gathering.poll() {
                self.n_left -= 1;
                return self.futures[index].take();
            }
            if let Some(slot) = self.futures.get(self.n_helped) {
                self.n_helped += 1;
                if let Some(future) = slot {
                    future.help();
                }
                continue;
            }
            self.gathering.wait(None);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.n_left, Some(self.n_left))
    }
}

impl Gathering {
    /// A gathering that watches nothing yet.
    pub fn new() -> Self {
        Self {
            board: Arc::new(Board {
                ended: Mutex::new(VecDeque::new()),
                reported: EventCount::new(),
            }),
        }
    }

    /// Reports `index` once `completion` is done (at once, and returning `None`, if it is).
    pub fn watch(&self, completion: &Completion, index: usize) -> Option<WatchId> {
        if completion.is_done() {
            self.board.report(index);
            return None;
        }
        let board = Arc::clone(&self.board);
        completion.watch(Box::new(move || board.report(index)))
    }

    /// The next index that has ended, if there is one.
    pub fn poll(&self) -> Option<usize> {
        self.board.lock().pop_front()
    }

    /// Has all sleepers ask once more whether there is something to wait for.
    pub fn stir(&self) {
        self.board.reported.notify_all();
    }

    /// Sleeps until an index can be polled, `deadline`, or a signal.
    pub fn wait(&self, deadline: Option<Deadline>) -> Wait {
        self.wait_unless(deadline, || false)
    }

    /// The same unless there is nothing to wait for any more. Who makes that so
    /// [stirs](Self::stir) the sleepers.
    pub fn wait_unless(&self, deadline: Option<Deadline>, is_over: impl Fn() -> bool) -> Wait {
        loop {
            let ticket = self.board.reported.listen();
            if !self.board.lock().is_empty() || is_over() {
                return Wait::Done;
            }
            match self.board.reported.park(ticket, deadline) {
                WaitEnd::Woken => {}
                _ if !self.board.lock().is_empty() => return Wait::Done,
                WaitEnd::TimedOut => return Wait::TimedOut,
                WaitEnd::Interrupted => return Wait::Interrupted,
            }
        }
    }
}

impl Default for Gathering {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    fn report(&self, index: usize) {
        self.lock().push_back(index);
        self.reported.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
