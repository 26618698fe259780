//! The threads of one pool, and the queue they work from.
//!
//! Guarantees:
//! - a thread is started for a task that finds no idle one, up to the limit;
//! - a thread that cannot be started is an error only if none is left to do the work;
//! - after `close`, what is queued is still handed out, then every thread ends;
//! - a thread that does not leave a stopped task is retired: it counts no more, and another one may
//!   be started in its place.
//!
//! A thread has one fate, decided once: it has *begun*, or its starter has *abandoned* it. A start
//! may be interrupted after the thread is there (a Ctrl-C in an interpreter), so both may try.
//!
//! | step of a start              | if the starter fails here                                      |
//! |------------------------------|----------------------------------------------------------------|
//! | counted as live              | abandoned: no more counted                                     |
//! | `Kind::start` runs           | abandoned, unless the thread has begun: then it is there       |
//! | the thread begins            | it counts until it ends or is retired                          |
//!
//! What it does not do: it waits for no thread, and stops none; see [`Slot`].

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use manyhands_sys::futex::{Private, Waker};

use super::slot::{self, AtWork, Slot, TaskKey};
use crate::injector::{Injector, Next, Offer, Pushed};

/// What the threads of a set are, and what they do with a task.
pub trait Kind: Sized + Send + Sync + 'static {
    /// What who starts a thread or runs a task has at hand: an attached interpreter, or nothing.
    type Context<'c>: Copy;
    /// What waits in the queue.
    type Task: Send;
    /// What is known of one thread.
    type Thread: Send + Sync;
    /// Why a thread was not started.
    type Error;

    /// After this many tasks in a row a thread lets go of its context for a moment.
    const N_TASKS_PER_TURN: u32;

    /// Starts a thread that calls [`NewThread::run`].
    ///
    /// # Errors
    /// The thread could not be started, or starting it was interrupted.
    fn start(
        &self,
        context: Self::Context<'_>,
        thread: &Arc<NewThread<Self>>,
    ) -> Result<(), Self::Error>;

    /// Whether `error` only says that there can be no more threads for now.
    fn is_no_room(&self, context: Self::Context<'_>, error: &Self::Error) -> bool;

    /// The calling thread, the set's `number`th.
    fn this_thread(&self, number: usize) -> Self::Thread;

    /// Called first in each thread, which ends at once if this is false.
    fn begin(&self, context: Self::Context<'_>, set: &ThreadSet<Self>) -> bool;

    /// Runs `task` in the calling thread, unless it was ended before. Hands back whom to wake when
    /// nothing of the task is held any more and the context is free.
    fn run(
        &self,
        context: Self::Context<'_>,
        set: &ThreadSet<Self>,
        slot: &Slot<Self::Thread>,
        task: Self::Task,
    ) -> Option<Waker<Private>>;

    /// Calls `f` without the context, so that others can have it.
    fn without<R: Send>(context: Self::Context<'_>, f: impl FnOnce() -> R + Send) -> R;
}

/// The threads of one pool and their queue; owned by the pool, its threads and its tasks.
pub struct ThreadSet<K: Kind> {
    /// The tasks that wait.
    pub queue: Injector<K::Task>,
    /// What the threads are.
    pub kind: K,
    n_max_threads: usize,
    /// Nothing of the kind's is called under this lock.
    roster: Mutex<Roster<K::Thread>>,
    /// Whether there are as many threads as there may be; a hint that spares a look at the roster.
    is_complete: AtomicBool,
    n_submitted: AtomicU64,
    n_finished: AtomicU64,
}

struct Roster<T> {
    n_live: usize,
    n_started: usize,
    /// Kept as long as the set: tasks point to them.
    slots: Vec<Arc<Slot<T>>>,
}

/// How many threads and tasks a set has and had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Threads that work or are idle.
    pub n_live: usize,
    /// Threads started so far.
    pub n_started: usize,
    /// Threads that wait for a task.
    pub n_idle: usize,
    /// Tasks that wait.
    pub n_queued: usize,
    /// Tasks taken so far.
    pub n_submitted: u64,
    /// Tasks that ran to their end.
    pub n_finished: u64,
}

/// Why a task was not taken.
#[derive(Debug)]
pub enum Refused<E> {
    /// The set is closed.
    Closed,
    /// There is no thread to run it. It is in the queue: who is told so ends it.
    NoThread(E),
}

/// A thread that is being started, then the thread's body.
pub struct NewThread<K: Kind> {
    set: Arc<ThreadSet<K>>,
    number: usize,
    slot: OnceLock<Arc<Slot<K::Thread>>>,
    /// Decided once: by the thread that begins, or by the starter that gives it up.
    fate: AtomicU8,
}

const STARTING: u8 = 0;
const BEGUN: u8 = 1;
const ABANDONED: u8 = 2;

impl<K: Kind> ThreadSet<K> {
    /// A set without threads.
    pub fn new(n_max_threads: usize, kind: K) -> Self {
        Self {
            queue: Injector::new(),
            kind,
            n_max_threads,
            roster: Mutex::new(Roster { n_live: 0, n_started: 0, slots: Vec::new() }),
            is_complete: AtomicBool::new(false),
            n_submitted: AtomicU64::new(0),
            n_finished: AtomicU64::new(0),
        }
    }

    /// Queues `task` and sees to it that a thread runs it.
    ///
    /// # Errors
    /// See [`Refused`].
    #[inline]
    pub fn submit(
        self: &Arc<Self>,
        context: K::Context<'_>,
        task: K::Task,
    ) -> Result<(), Refused<K::Error>> {
        match self.queue.push(task) {
            Ok(Pushed::Taken) => {}
            Ok(Pushed::NeedsWorker) => {
                self.start_thread(context).map_err(Refused::NoThread)?;
            }
            Err(_) => return Err(Refused::Closed),
        }
        self.n_submitted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Starts all threads that are missing.
    ///
    /// # Errors
    /// Not even one can be started.
    pub fn start_missing(self: &Arc<Self>, context: K::Context<'_>) -> Result<(), K::Error> {
        while self.start_thread(context)? {}
        Ok(())
    }

    /// Gives the place of `slot`'s thread to another one if it is still in `task`; returns whether
    /// it was. `forget` is called before the other is started.
    ///
    /// # Errors
    /// What `forget` returns, or the other thread cannot be started.
    pub fn retire_if_in(
        self: &Arc<Self>,
        context: K::Context<'_>,
        slot: &Slot<K::Thread>,
        task: TaskKey,
        forget: impl FnOnce() -> Result<(), K::Error>,
    ) -> Result<bool, K::Error> {
        let mut roster = self.lock_roster();
        if !slot.retire_if_in(task) {
            return Ok(false);
        }
        roster.n_live -= 1;
        self.is_complete.store(false, Ordering::Relaxed);
        drop(roster);
        forget()?;
        if !self.queue.is_empty() {
            self.start_thread(context)?;
        }
        Ok(true)
    }

    /// The calling thread's slot, if it works here and a task that it waits for would find no idle
    /// thread: it is to run that task itself.
    #[inline]
    pub fn slot_to_help_in(&self) -> Option<&Slot<K::Thread>> {
        let here = slot::here();
        let works_here = std::ptr::eq(here.set, std::ptr::from_ref(self).cast());
        if !works_here || self.queue.n_idle() > 0 {
            return None;
        }
        // SAFETY: the thread works for this set, so the slot is of the set's type, and the set
        // keeps it.
        unsafe { here.slot.cast::<Slot<K::Thread>>().as_ref() }
    }

    /// What `f` makes of the innermost task of each thread; a task is alive while `f` sees it.
    pub fn map_running<R>(&self, mut f: impl FnMut(TaskKey) -> R) -> Vec<R> {
        let roster = self.lock_roster();
        roster.slots.iter().filter_map(|slot| slot.with_innermost(&mut f)).collect()
    }

    /// Counts a task that ran to its end.
    #[inline]
    pub fn count_finished(&self) {
        self.n_finished.fetch_add(1, Ordering::Relaxed);
    }

    /// The most threads there may be.
    pub const fn n_max_threads(&self) -> usize {
        self.n_max_threads
    }

    /// How many threads and tasks there are and were.
    pub fn numbers(&self) -> Numbers {
        let roster = self.lock_roster();
        let (n_live, n_started) = (roster.n_live, roster.n_started);
        drop(roster);
        Numbers {
            n_live,
            n_started,
            n_idle: self.queue.n_idle(),
            n_queued: self.queue.len(),
            n_submitted: self.n_submitted.load(Ordering::Relaxed),
            n_finished: self.n_finished.load(Ordering::Relaxed),
        }
    }

    /// Starts another thread unless there are enough; whether it did.
    #[inline]
    fn start_thread(self: &Arc<Self>, context: K::Context<'_>) -> Result<bool, K::Error> {
        if self.is_complete.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut roster = self.lock_roster();
        if roster.n_live >= self.n_max_threads {
            self.is_complete.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        roster.n_live += 1;
        let number = roster.n_started;
        roster.n_started += 1;
        drop(roster);
        self.start_numbered(context, number)
    }

    #[cold]
    fn start_numbered(
        self: &Arc<Self>,
        context: K::Context<'_>,
        number: usize,
    ) -> Result<bool, K::Error> {
        let thread = Arc::new(NewThread {
            set: Arc::clone(self),
            number,
            slot: OnceLock::new(),
            fate: AtomicU8::new(STARTING),
        });
        let Err(error) = self.kind.start(context, &thread) else { return Ok(true) };
        let are_there_others = !thread.abandon() || self.thread_is_gone() > 0;
        // No more threads for now: those that are there do the work. Any other error is passed on.
        if are_there_others && self.kind.is_no_room(context, &error) {
            return Ok(false);
        }
        Err(error)
    }

    /// The body of a thread.
    fn work(&self, context: K::Context<'_>, slot: &Slot<K::Thread>) {
        let mut n_tasks = 0;
        let mut next = None;
        loop {
            let task = match next.take().map_or_else(|| self.queue.pop_or_idle(), Offer::Now) {
                Offer::Now(Next::Closed) => return,
                Offer::Now(Next::Item(task)) => task,
                Offer::Idle => {
                    next = Some(K::without(context, || self.queue.sleep()));
                    continue;
                }
            };
            let waker = self.kind.run(context, self, slot, task);
            if slot.is_retired() {
                if let Some(waker) = waker {
                    waker.wake_all();
                }
                return;
            }
            n_tasks += 1;
            if let Some(waker) = waker {
                next = Some(self.wake_and_pop(context, waker));
            } else if n_tasks % K::N_TASKS_PER_TURN == 0 {
                K::without(context, || {});
            }
        }
    }

    /// Wakes who waited for the last task. They need the context next: if there is nothing to do,
    /// they are woken when it is free.
    #[inline]
    fn wake_and_pop(&self, context: K::Context<'_>, waker: Waker<Private>) -> Next<K::Task> {
        match self.queue.pop_or_idle() {
            Offer::Idle => K::without(context, || {
                waker.wake_all();
                self.queue.sleep()
            }),
            Offer::Now(now) => {
                waker.wake_all();
                now
            }
        }
    }

    /// How many threads are left.
    fn thread_is_gone(&self) -> usize {
        let mut roster = self.lock_roster();
        roster.n_live -= 1;
        self.is_complete.store(false, Ordering::Relaxed);
        roster.n_live
    }

    fn lock_roster(&self) -> MutexGuard<'_, Roster<K::Thread>> {
        self.roster.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<K: Kind> NewThread<K> {
    /// The body of the thread; returns at once if the thread was abandoned.
    pub fn run(&self, context: K::Context<'_>) {
        if !self.decide(BEGUN) {
            return;
        }
        let set = &self.set;
        let slot = Arc::new(Slot::new(set.kind.this_thread(self.number)));
        set.lock_roster().slots.push(Arc::clone(&slot));
        let slot = self.slot.get_or_init(|| slot);
        let at_work = AtWork::begin(Arc::as_ptr(set).cast(), slot);
        if set.kind.begin(context, set) {
            set.work(context, slot);
        }
        drop(at_work);
        // One that was retired has left the roster already.
        if !slot.is_retired() {
            set.thread_is_gone();
        }
    }

    /// Gives the thread up before it begins; false if it has begun.
    pub fn abandon(&self) -> bool {
        self.decide(ABANDONED)
    }

    /// Which thread of the set it is, counted from 0.
    pub const fn number(&self) -> usize {
        self.number
    }

    /// The set it works for.
    pub const fn set(&self) -> &Arc<ThreadSet<K>> {
        &self.set
    }

    /// Whether the thread's place was given to another one, because it did not leave a task.
    pub fn is_retired(&self) -> bool {
        self.slot.get().is_some_and(|slot| slot.is_retired())
    }

    /// True if `fate` was decided on by this call, or it is to be abandoned and was before.
    fn decide(&self, fate: u8) -> bool {
        self.fate
            .compare_exchange(STARTING, fate, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(|decided| decided == fate && fate == ABANDONED, |_| true)
    }
}
