//! The queue between those who submit and the threads that work.
//!
//! Generic over the item, so that Rust threads and Python threads share it. One mutex guards the
//! items and the count of idle workers together: whether an item needs another worker is decided
//! in the same step that queues it.
//!
//! Guarantees: items leave in the order in which they came; an item pushed while a worker is idle
//! wakes exactly one; a push that finds a busy crew makes no system call; after `close`, what is
//! queued is still handed out, then every worker is told `Closed`.
//!
//! What it does not do: it is unbounded (who submits is bounded by its own read-ahead), and it
//! starts no threads; [`Pushed::NeedsWorker`] says that another one would help.

use std::collections::VecDeque;

use manyhands_sync::event_count::{ALL, EventCount};
use manyhands_sys::atomic::{Mutex, MutexGuard};
use manyhands_sys::futex::Private;

/// A first-in first-out queue with a crew of workers that sleep when it is empty.
pub struct Injector<T> {
    state: Mutex<State<T>>,
    /// Idle workers sleep on it. `n_idle` says whether there are any.
    calls: EventCount<Private>,
}

/// What a push found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// An idle worker was woken for the item.
    Taken,
    /// No worker was idle: another one would help.
    NeedsWorker,
}

/// What a worker gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// An item to work on.
    Item(T),
    /// The queue is closed and empty: the worker ends.
    Closed,
}

/// What a worker gets without sleeping.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<T> {
    /// An item, or the end.
    Now(Next<T>),
    /// Nothing yet; the worker is counted as idle and must call [`Injector::sleep`].
    Idle,
}

struct State<T> {
    items: VecDeque<T>,
    /// Idle workers for whom no item is on its way.
    n_idle: usize,
    /// Workers woken who have not looked yet. They are not idle: an item was pushed for each.
    n_called: usize,
    is_closed: bool,
}

impl<T> Injector<T> {
    /// An empty queue without workers.
    pub fn new() -> Self {
        let state = State { items: VecDeque::new(), n_idle: 0, n_called: 0, is_closed: false };
        Self { state: Mutex::new(state), calls: EventCount::new() }
    }

    /// Queues `item` and calls an idle worker for it.
    ///
    /// # Errors
    /// Gives the item back if the queue is closed.
    #[inline]
    pub fn push(&self, item: T) -> Result<Pushed, T> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(item);
        }
        state.items.push_back(item);
        if state.n_idle == 0 {
            return Ok(Pushed::NeedsWorker);
        }
        state.n_idle -= 1;
        state.n_called += 1;
        drop(state);
        self.calls.notify_in_any_case(1);
        Ok(Pushed::Taken)
    }

    /// The next item, if one is queued.
    #[inline]
    pub fn try_pop(&self) -> Option<T> {
        self.lock().items.pop_front()
    }

    /// The next item, or the end; otherwise counts the calling worker as idle.
    #[inline]
    pub fn pop_or_idle(&self) -> Offer<T> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            return Offer::Now(Next::Item(item));
        }
        if state.is_closed {
            return Offer::Now(Next::Closed);
        }
        state.n_idle += 1;
        Offer::Idle
    }

    /// Sleeps until there is an item or the end. Only after [`Offer::Idle`].
    pub fn sleep(&self) -> Next<T> {
        let mut state = self.lock();
        loop {
            if state.n_called > 0 {
                state.n_called -= 1;
                match state.items.pop_front() {
                    Some(item) => return Next::Item(item),
                    // A busy worker came by and took it: idle again.
                    None => state.n_idle += 1,
                }
            }
            if state.is_closed {
                state.n_idle -= 1;
                return match state.items.pop_front() {
                    Some(item) => Next::Item(item),
                    None => Next::Closed,
                };
            }
            // Under the lock: who calls us does so later, and moves the event count after that.
            let ticket = self.calls.ticket();
            drop(state);
            self.calls.park(ticket, None);
            state = self.lock();
        }
    }

    /// The next item or the end, however long it takes.
    pub fn pop(&self) -> Next<T> {
        match self.pop_or_idle() {
            Offer::Now(next) => next,
            Offer::Idle => self.sleep(),
        }
    }

    /// Refuses further items and lets the workers end once the queue is empty.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        drop(state);
        self.calls.notify_in_any_case(ALL);
    }

    /// Takes all queued items.
    pub fn drain(&self) -> VecDeque<T> {
        std::mem::take(&mut self.lock().items)
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// How many items are queued.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether no item is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many workers are idle and not called yet.
    pub fn n_idle(&self) -> usize {
        self.lock().n_idle
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A panic under the lock can only be an allocation failure before the push: whole.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> Default for Injector<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn items_leave_in_the_order_in_which_they_came() {
        let queue = Injector::new();
        for item in 0..5 {
            assert_eq!(queue.push(item), Ok(Pushed::NeedsWorker));
        }
        assert_eq!((0..5).map(|_| queue.try_pop().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_holds_and_then_ends_its_workers() {
        let queue = Injector::new();
        queue.push(1).unwrap();
        queue.close();
        assert_eq!(queue.push(2), Err(2));
        assert_eq!(queue.pop(), Next::Item(1));
        assert_eq!(queue.pop(), Next::Closed);
    }

    #[test]
    fn an_idle_worker_is_reserved_by_one_push_only() {
        let queue = Injector::new();
        assert_eq!(queue.pop_or_idle(), Offer::<i32>::Idle);
        assert_eq!(queue.push(1), Ok(Pushed::Taken));
        assert_eq!(queue.push(2), Ok(Pushed::NeedsWorker));
        assert_eq!(queue.sleep(), Next::Item(1));
        assert_eq!(queue.n_idle(), 0);
    }

    #[test]
    fn a_worker_whose_item_was_taken_is_idle_again() {
        let queue = Arc::new(Injector::new());
        assert_eq!(queue.pop_or_idle(), Offer::<i32>::Idle);
        queue.push(1).unwrap();
        assert_eq!(queue.try_pop(), Some(1));
        let sleeper = Arc::clone(&queue);
        let worker = std::thread::spawn(move || sleeper.sleep());
        while queue.n_idle() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(queue.push(2), Ok(Pushed::Taken));
        assert_eq!(worker.join().unwrap(), Next::Item(2));
    }

    #[test]
    fn nothing_is_lost_or_doubled_between_many_submitters_and_workers() {
        let queue = Arc::new(Injector::new());
        let sum = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let (queue, sum) = (Arc::clone(&queue), Arc::clone(&sum));
                std::thread::spawn(move || {
                    while let Next::Item(item) = queue.pop() {
                        sum.fetch_add(item, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    (1..=5_000).for_each(|item| assert!(queue.push(item).is_ok()))
                })
            })
            .collect();
        submitters.into_iter().for_each(|submitter| submitter.join().unwrap());
        queue.close();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(sum.load(Ordering::Relaxed), 3 * 5_000 * 5_001 / 2);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    #[test]
    fn an_idle_worker_gets_every_item_and_then_the_end() {
        check(|| {
            let queue = Arc::new(Injector::new());
            let submitter = Arc::clone(&queue);
            let submits = loom::thread::spawn(move || {
                assert!(submitter.push(1).is_ok());
                assert!(submitter.push(2).is_ok());
                submitter.close();
            });
            assert_eq!(queue.pop(), Next::Item(1));
            assert_eq!(queue.pop(), Next::Item(2));
            assert_eq!(queue.pop(), Next::Closed);
            submits.join().unwrap();
        });
    }

    #[test]
    fn two_workers_share_one_item_and_both_end() {
        check(|| {
            let queue = Arc::new(Injector::new());
            let other = Arc::clone(&queue);
            let worker = loom::thread::spawn(move || {
                let mut n_items = 0;
                while let Next::Item(()) = other.pop() {
                    n_items += 1;
                }
                n_items
            });
            assert!(queue.push(()).is_ok());
            queue.close();
            let mut n_items = 0;
            while let Next::Item(()) = queue.pop() {
                n_items += 1;
            }
            assert_eq!(n_items + worker.join().unwrap(), 1);
        });
    }
}
