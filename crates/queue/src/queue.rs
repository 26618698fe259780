//! The queue: a store, and lines of those who wait for an item, for room, or for the end of work.

use std::collections::VecDeque;
use std::marker::PhantomData;
#[cfg(not(loom))]
use std::panic::Location;
use std::time::Duration;

#[cfg(not(loom))]
use manyhands_sync::blocking::block;
#[cfg(not(loom))]
use manyhands_sync::deadlock::{Description, EndedBy, Resource, Site};
#[cfg(not(loom))]
use manyhands_sync::sleep::Waiting;
use manyhands_sync::spin::{FOR_AN_ANSWER, soon};
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;

use crate::fifo::Fifo;
use crate::line::{Enlisted, Line};
use crate::locked::Locked;
use crate::order::{LastFirst, SmallestFirst};
use crate::outcome::{Nothing, Refused, ShutDown, TooManyDone};
use crate::store::Store;

/// Items on their way between threads, first in first out unless the store says otherwise.
///
/// ```
/// let queue = manyhands_queue::Queue::unbounded();
/// queue.put("rice").unwrap();
/// assert_eq!(queue.get(), Ok("rice"));
/// ```
pub struct Queue<T, S = Fifo<T>> {
    store: S,
    getters: Line<Private>,
    putters: Line<Private>,
    joiners: Line<Private>,
    /// Of the items that were ever put, how many are done.
    n_done: AtomicU64,
    /// For reports.
    name: Option<&'static str>,
    items: PhantomData<fn(T) -> T>,
}

/// A queue from which the item that was put last is got first.
pub type LifoQueue<T> = Queue<T, Locked<T, LastFirst<T>>>;

/// A queue from which the smallest item is got first.
pub type PriorityQueue<T> = Queue<T, Locked<T, SmallestFirst<T>>>;

/// The items of a queue, until it is shut down and empty.
pub struct Iter<'queue, T, S> {
    queue: &'queue Queue<T, S>,
}

/// A wait under way, for the report if nobody can end it.
#[cfg(not(loom))]
struct Wait<'a> {
    enlisted: &'a Enlisted<'a>,
    name: Option<&'static str>,
    id: usize,
}

/// What happened at a queue so far, and who waits there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Items ever put.
    pub n_put: u64,
    /// Items ever taken out.
    pub n_got: u64,
    /// Items put and not done.
    pub n_unfinished: u64,
    /// Threads that wait for an item.
    pub n_getters_waiting: u32,
    /// Threads that wait for room.
    pub n_putters_waiting: u32,
    /// How often a get had to wait.
    pub n_get_waits: u64,
    /// How often a put had to wait.
    pub n_put_waits: u64,
}

impl<T: Send> Queue<T> {
    /// A queue for at most `maxsize` items.
    ///
    /// # Panics
    /// If `maxsize` is zero.
    pub fn bounded(maxsize: usize) -> Self {
        assert!(maxsize > 0, "a bounded queue needs room for at least one item");
        Self::with_store(Fifo::new(maxsize))
    }

    /// A queue without a limit.
    pub fn unbounded() -> Self {
        Self::with_store(Fifo::new(0))
    }
}

impl<T: Send> LifoQueue<T> {
    /// A queue for at most `maxsize` items, or without a limit if that is zero.
    pub fn last_first(maxsize: usize) -> Self {
        Self::with_store(Locked::new(LastFirst::default(), maxsize))
    }
}

impl<T: Ord + Send> PriorityQueue<T> {
    /// A queue for at most `maxsize` items, or without a limit if that is zero.
    pub fn smallest_first(maxsize: usize) -> Self {
        Self::with_store(Locked::new(SmallestFirst::default(), maxsize))
    }
}

impl<T, S: Store<T>> Queue<T, S> {
    /// A queue with the items that `store` holds.
    pub fn with_store(store: S) -> Self {
        Self {
            store,
            getters: Line::new(),
            putters: Line::new(),
            joiners: Line::new(),
            n_done: AtomicU64::new(0),
            name: None,
            items: PhantomData,
        }
    }

    /// The same with a name for reports.
    pub fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Puts `item` if there is room.
    ///
    /// # Errors
    /// Gives the item back if there is none, or if the queue is shut down.
    #[inline]
    pub fn try_put(&self, item: T) -> Result<(), Refused<T>> {
        self.store.push(item)?;
        self.getters.call(1);
        Ok(())
    }

    /// Gets an item if there is one.
    ///
    /// # Errors
    /// Says whether there may ever be another one.
    #[inline]
    pub fn try_get(&self) -> Result<T, Nothing> {
        let item = self.store.pop()?;
        self.putters.call(1);
        Ok(item)
    }

    /// Puts `item`, waiting for room as long as it takes.
    ///
    /// # Errors
    /// Gives the item back if the queue is shut down, before or meanwhile.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[inline]
    #[track_caller]
    pub fn put(&self, item: T) -> Result<(), ShutDown<T>> {
        match self.put_by(item, None) {
            Ok(()) => Ok(()),
            // Without a deadline nothing but a shutdown is left.
            Err(Refused::ShutDown(item) | Refused::Full(item)) => Err(ShutDown(item)),
        }
    }

    /// Gets an item, waiting for it as long as it takes.
    ///
    /// # Errors
    /// If the queue is empty and shut down.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[inline]
    #[track_caller]
    pub fn get(&self) -> Result<T, ShutDown> {
        match self.get_by(None) {
            Ok(item) => Ok(item),
            Err(_) => Err(ShutDown(())),
        }
    }

    /// Puts `item`, waiting for room until `deadline`.
    ///
    /// # Errors
    /// Gives the item back if there was no room until then, or the queue is shut down.
    #[inline]
    #[track_caller]
    pub fn put_by(&self, item: T, deadline: Option<Deadline>) -> Result<(), Refused<T>> {
        // Nothing of a refusal is looked at here: the successful path stays in registers.
        match self.try_put(item) {
            Ok(()) => Ok(()),
            Err(refused) => self.put_slow(refused, deadline),
        }
    }

    /// Gets an item, waiting for it until `deadline`.
    ///
    /// # Errors
    /// If there was none until then, or the queue is empty and shut down.
    #[inline]
    #[track_caller]
    pub fn get_by(&self, deadline: Option<Deadline>) -> Result<T, Nothing> {
        match self.try_get() {
            Ok(item) => Ok(item),
            Err(nothing) => self.get_slow(nothing, deadline),
        }
    }

    /// Puts `item`, waiting for room at most `timeout`.
    ///
    /// # Errors
    /// As [`Self::put_by`].
    #[track_caller]
    pub fn put_for(&self, item: T, timeout: Duration) -> Result<(), Refused<T>> {
        self.put_by(item, Some(Deadline::after(timeout)))
    }

    /// Gets an item, waiting for it at most `timeout`.
    ///
    /// # Errors
    /// As [`Self::get_by`].
    #[track_caller]
    pub fn get_for(&self, timeout: Duration) -> Result<T, Nothing> {
        self.get_by(Some(Deadline::after(timeout)))
    }

    /// Puts all of `items` in their order, waiting for room until `deadline`. Items of other
    /// threads may come between them.
    ///
    /// # Errors
    /// Gives back those that were not put.
    #[track_caller]
    pub fn put_many(
        &self,
        items: impl IntoIterator<Item = T>,
        deadline: Option<Deadline>,
    ) -> Result<(), Refused<VecDeque<T>>> {
        let mut items: VecDeque<T> = items.into_iter().collect();
        loop {
            if items.is_empty() {
                return Ok(());
            }
            if self.try_put_many(&mut items).is_err() {
                return Err(Refused::ShutDown(items));
            }
            let Some(first) = items.pop_front() else { return Ok(()) };
            match self.put_by(first, deadline) {
                Ok(()) => {}
                Err(Refused::Full(first)) => {
                    items.push_front(first);
                    return Err(Refused::Full(items));
                }
                Err(Refused::ShutDown(first)) => {
                    items.push_front(first);
                    return Err(Refused::ShutDown(items));
                }
            }
        }
    }

    /// Puts as many of `items` as there is room for, from the front.
    ///
    /// # Errors
    /// If the queue is shut down.
    pub fn try_put_many(&self, items: &mut VecDeque<T>) -> Result<(), ShutDown> {
        let pushed = self.store.push_many(items);
        let (Ok(n_pushed) | Err(n_pushed)) = pushed;
        if n_pushed > 0 {
            self.getters.call(n_pushed);
        }
        pushed.map(|_| ()).map_err(|_| ShutDown(()))
    }

    /// Waits for an item until `deadline`, then gets up to `n_max` of those there are.
    ///
    /// # Errors
    /// If there was none until then, or the queue is empty and shut down.
    #[track_caller]
    pub fn get_many(&self, n_max: usize, deadline: Option<Deadline>) -> Result<Vec<T>, Nothing> {
        let mut items = Vec::new();
        if n_max > 0 && self.try_get_many(n_max, &mut items) == 0 {
            items.push(self.get_by(deadline)?);
            self.try_get_many(n_max - 1, &mut items);
        }
        Ok(items)
    }

    /// Gets up to `n_max` items into `items`, without waiting, and says how many.
    pub fn try_get_many(&self, n_max: usize, items: &mut Vec<T>) -> usize {
        let n_popped = self.store.pop_many(n_max, items);
        if n_popped > 0 {
            self.putters.call(n_popped);
        }
        n_popped
    }

    /// Reports one item that was got as done.
    ///
    /// # Errors
    /// If so many were reported that this one cannot have been put.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        // What was put is asked after what is done: it may grow meanwhile, and with it the other.
        let one_more = |n_done| (n_done < self.store.n_pushed()).then_some(n_done + 1);
        match self.n_done.fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more) {
            Err(_) => Err(TooManyDone),
            Ok(_) => {
                self.call_joiners();
                Ok(())
            }
        }
    }

    /// Waits until every item that was put is done.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[track_caller]
    pub fn join(&self) {
        self.join_by(None);
    }

    /// Waits until every item that was put is done, until `deadline`; false if it came first.
    #[track_caller]
    pub fn join_by(&self, deadline: Option<Deadline>) -> bool {
        while self.n_unfinished() > 0 {
            let enlisted = self.joiners.enlist();
            if self.n_unfinished() == 0 {
                break;
            }
            let is_in_time = self.sleep_in(&enlisted, deadline);
            enlisted.leave();
            if !is_in_time {
                return self.n_unfinished() == 0;
            }
        }
        true
    }

    /// Refuses further items and ends every wait that cannot succeed any more. What is in the
    /// queue can still be got, unless `is_immediate`: then it is dropped and counts as done.
    pub fn shutdown(&self, is_immediate: bool) {
        self.store.close();
        let mut items = Vec::new();
        if is_immediate {
            let n_dropped = self.try_get_many(usize::MAX, &mut items);
            self.note_done(n_dropped);
        }
        self.wake_all();
        // Last: a destructor that panics leaves nobody asleep.
        drop(items);
    }

    /// Counts `n_items` that were got as done; at most as many as were put, so that no item
    /// that is put later counts as done before it is.
    pub fn note_done(&self, n_items: usize) {
        let more = |n_done: u64| {
            let n_done = n_done.saturating_add(n_items as u64);
            Some(n_done.min(self.store.n_pushed()))
        };
        let _ = self.n_done.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more);
        self.call_joiners();
    }

    /// Lets every sleeper look again at what it waits for.
    pub fn wake_all(&self) {
        for line in [&self.getters, &self.putters, &self.joiners] {
            line.call(usize::MAX);
        }
    }

    /// Whether the queue refuses further items.
    pub fn is_shut_down(&self) -> bool {
        self.store.is_closed()
    }

    /// How many items are in the queue now.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether no item is in the queue now.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// How many items there may be, zero if there is no limit.
    pub fn maxsize(&self) -> usize {
        self.store.maxsize()
    }

    /// How many of the items that were put are not done.
    pub fn n_unfinished(&self) -> u64 {
        // In this order: an item may be put and done in between, but not done before it is put.
        let n_done = self.n_done.load(Ordering::SeqCst);
        self.store.n_pushed().saturating_sub(n_done)
    }

    /// What happened so far.
    pub fn statistics(&self) -> Statistics {
        let n_put = self.store.n_pushed();
        Statistics {
            n_put,
            n_got: n_put.saturating_sub(self.store.len() as u64),
            n_unfinished: self.n_unfinished(),
            n_getters_waiting: self.getters.n_waiting(),
            n_putters_waiting: self.putters.n_waiting(),
            n_get_waits: self.getters.n_enlisted(),
            n_put_waits: self.putters.n_enlisted(),
        }
    }

    /// The items, as they come, until the queue is shut down and empty.
    pub fn iter(&self) -> Iter<'_, T, S> {
        Iter { queue: self }
    }

    /// What the items are kept in.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// A place among those who wait for an item. For waits that are made of steps: enlist, try to
    /// get once more, sleep, leave, try again.
    pub fn enlist_getter(&self) -> Enlisted<'_> {
        self.getters.enlist()
    }

    /// A place among those who wait for room; as [`Self::enlist_getter`].
    pub fn enlist_putter(&self) -> Enlisted<'_> {
        self.putters.enlist()
    }

    /// A place among those who wait until [`Self::n_unfinished`] is zero.
    pub fn enlist_joiner(&self) -> Enlisted<'_> {
        self.joiners.enlist()
    }

    #[cold]
    #[track_caller]
    fn put_slow(&self, refused: Refused<T>, deadline: Option<Deadline>) -> Result<(), Refused<T>> {
        let Refused::Full(item) = refused else { return Err(refused) };
        let mut held = Some(item);
        let end = soon(FOR_AN_ANSWER, || match self.try_put(held.take()?) {
            Err(Refused::Full(back)) => {
                held = Some(back);
                None
            }
            end => Some(end),
        });
        if let Some(end) = end {
            return end;
        }
        let mut item = held.expect("every attempt gave it back");
        loop {
            let enlisted = self.putters.enlist();
            match self.try_put(item) {
                Err(Refused::Full(back)) => item = back,
                end => return end,
            }
            let is_in_time = self.sleep_in(&enlisted, deadline);
            enlisted.leave();
            match self.try_put(item) {
                Err(Refused::Full(back)) if is_in_time => item = back,
                end => return end,
            }
        }
    }

    #[cold]
    #[track_caller]
    fn get_slow(&self, nothing: Nothing, deadline: Option<Deadline>) -> Result<T, Nothing> {
        if nothing == Nothing::ShutDown {
            return Err(nothing);
        }
        let attempt = || Some(self.try_get()).filter(|end| !matches!(end, Err(Nothing::Empty)));
        if let Some(end) = soon(FOR_AN_ANSWER, attempt) {
            return end;
        }
        loop {
            let enlisted = self.getters.enlist();
            match self.try_get() {
                Err(Nothing::Empty) => {}
                end => return end,
            }
            let is_in_time = self.sleep_in(&enlisted, deadline);
            enlisted.leave();
            match self.try_get() {
                Err(Nothing::Empty) if is_in_time => {}
                end => return end,
            }
        }
    }

    /// Sleeps until called (true) or `deadline`.
    #[cfg(not(loom))]
    #[track_caller]
    fn sleep_in(&self, enlisted: &Enlisted<'_>, deadline: Option<Deadline>) -> bool {
        let wait =
            Wait { enlisted, name: self.name, id: std::ptr::from_ref(&self.n_done) as usize };
        let mut waiting = Waiting::new(&wait, Site::Rust(Location::caller()));
        block(&mut waiting, deadline, |deadline, waiting| enlisted.sleep(deadline, waiting))
    }

    #[cfg(loom)]
    fn sleep_in(&self, enlisted: &Enlisted<'_>, deadline: Option<Deadline>) -> bool {
        let _ = enlisted.sleep(deadline, &mut Default::default());
        true
    }

    fn call_joiners(&self) {
        if self.n_unfinished() == 0 {
            self.joiners.call(usize::MAX);
        }
    }
}

impl<T, S: Store<T>> Iterator for Iter<'_, T, S> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        self.queue.get().ok()
    }
}

impl<'queue, T, S: Store<T>> IntoIterator for &'queue Queue<T, S> {
    type Item = T;
    type IntoIter = Iter<'queue, T, S>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(not(loom))]
impl Resource for Wait<'_> {
    fn describe(&self) -> Description {
        Description { kind: "Queue", name: self.name.map(ToOwned::to_owned), id: self.id }
    }

    fn ended_by(&self) -> EndedBy {
        // Takes no lock: another thread asks, at any time.
        if self.enlisted.has_moved() { EndedBy::Nobody } else { EndedBy::Anyone }
    }
}
