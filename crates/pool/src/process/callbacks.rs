//! The threads of one pool that run done-callbacks, so that the collector never does.
//!
//! A callback is code of the program: it may wait, for another task of the pool too, and only the
//! collector can end that one. So the collector posts callbacks here. The first thread is started
//! with the first callback of the pool, and all end with the pool.
//!
//! Guarantees: callbacks start in the order in which they were posted; one at a time, unless it
//! keeps those behind it waiting for longer than [`PATIENCE`]: then another thread goes on with
//! them, so that a callback may even wait for what a later one does; a panic of one concerns no
//! other. While no callback waits there are at most two threads, and both sleep.
//!
//! What it does not do: callbacks that nobody has begun when the program ends are lost, as anything
//! on a thread that is not joined. Python's callbacks run on a Python thread (`dispatcher.rs` of
//! the binding), since no thread from here may enter an interpreter.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use manyhands_sync::event_count::EventCount;
use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::futex::Private;
use manyhands_sys::thread::spawn_deaf;

use crate::completion::Watcher;
use crate::future::Callback;

/// What a pool and its callback threads share.
pub(crate) struct Callbacks {
    state: Mutex<State>,
    /// Notified whenever a thread has to look again; those that have nothing to do sleep on it.
    changed: EventCount<Private>,
    /// Notified whenever none is left.
    drained: EventCount<Private>,
}

#[derive(Default)]
struct State {
    posted: VecDeque<Callback>,
    /// When each of those that run now was begun, in that order.
    begun_ns: Vec<u64>,
    n_threads: usize,
    is_closed: bool,
}

/// What a thread does next.
enum Step {
    Run(Callback, u64),
    SleepUntil(Option<Deadline>),
    End,
}

/// A callback that runs for longer keeps none of those behind it waiting; twice as long if two do,
/// and so on, so that callbacks which are only slow do not become a crowd.
const PATIENCE: Duration = Duration::from_millis(50);

/// As much as any thread has: it is the program's code that runs.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// So many threads sleep on, in case there is more to do.
const N_KEPT: usize = 2;

thread_local! {
    /// Where this thread runs callbacks.
    static RUNS_FOR: Cell<*const Callbacks> = const { Cell::new(ptr::null()) };
    static IS_COLLECTOR: Cell<bool> = const { Cell::new(false) };
}

/// From now on the calling thread runs no code of the program.
pub(crate) fn run_none_here() {
    IS_COLLECTOR.set(true);
}

impl Callbacks {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: EventCount::new(),
            drained: EventCount::new(),
        })
    }

    /// What runs `callback` at the end of a task: here if the collector ends it, else at once, as
    /// somebody cancels it.
    pub(crate) fn watcher(self: &Arc<Self>, callback: Callback) -> Watcher {
        // Started by the program's thread: the collector should not have to.
        self.start_thread_for(&mut self.lock(), 1);
        let here = Arc::clone(self);
        Box::new(move || if IS_COLLECTOR.get() { here.post(callback) } else { callback.run() })
    }

    fn post(self: &Arc<Self>, callback: Callback) {
        let mut state = self.lock();
        let is_first = state.posted.is_empty();
        state.posted.push_back(callback);
        // One for each that runs, which may be long, and one to go on.
        let n_needed = state.begun_ns.len() + 1;
        self.start_thread_for(&mut state, n_needed);
        drop(state);
        // Who was told of the first of a row looks after those behind it.
        if is_first {
            self.changed.notify_all();
        }
    }

    /// Waits until all that were posted have run. At once in a callback, which would wait for
    /// itself.
    pub(crate) fn flush(&self) {
        if ptr::eq(RUNS_FOR.get(), self) {
            return;
        }
        loop {
            let ticket = self.drained.listen();
            let mut state = self.lock();
            if state.is_drained() {
                return;
            }
            // The system has refused every thread: this one will do.
            let left_over = if state.n_threads == 0 { state.posted.pop_front() } else { None };
            drop(state);
            match left_over {
                Some(callback) => callback.run(),
                None => drop(self.drained.park(ticket, None)),
            }
        }
    }

    /// Nothing more is posted: the threads end when all has run.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Should the system refuse a thread, the next callback asks again.
    fn start_thread_for(self: &Arc<Self>, state: &mut State, n_needed: usize) {
        if state.n_threads >= n_needed || state.is_closed {
            return;
        }
        let callbacks = Arc::clone(self);
        if spawn_deaf("mh-callbacks", STACK_BYTES, move || callbacks.work()).is_ok() {
            state.n_threads += 1;
        }
    }

    fn work(self: Arc<Self>) {
        RUNS_FOR.set(Arc::as_ptr(&self));
        let mut state = self.lock();
        loop {
            let step = state.next(monotonic_ns());
            match step {
                Step::Run(callback, begun_ns) => {
                    let n_needed = state.begun_ns.len() + 1;
                    if !state.posted.is_empty() {
                        self.start_thread_for(&mut state, n_needed);
                    }
                    drop(state);
                    callback.run();
                    state = self.lock();
                    self.ended(&mut state, begun_ns);
                }
                Step::SleepUntil(deadline) => {
                    // Under the lock: who changes something afterwards finds us listening.
                    let ticket = self.changed.listen();
                    drop(state);
                    self.changed.park(ticket, deadline);
                    state = self.lock();
                }
                Step::End => break,
            }
        }
        state.n_threads -= 1;
    }

    fn ended(&self, state: &mut State, begun_ns: u64) {
        if let Some(idx) = state.begun_ns.iter().position(|ns| *ns == begun_ns) {
            state.begun_ns.remove(idx);
        }
        if state.is_drained() {
            self.drained.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of the program runs under it, so what panicked left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_drained(&self) -> bool {
        self.posted.is_empty() && self.begun_ns.is_empty()
    }

    fn next(&mut self, now_ns: u64) -> Step {
        let n_idle = self.n_threads - self.begun_ns.len();
        if self.posted.is_empty() {
            let is_over = self.is_closed || n_idle > N_KEPT;
            return if is_over { Step::End } else { Step::SleepUntil(None) };
        }
        let patience_ns = PATIENCE.as_nanos() as u64 * self.begun_ns.len() as u64;
        let due_ns = self.begun_ns.last().map_or(0, |begun_ns| begun_ns + patience_ns);
        if now_ns < due_ns {
            return Step::SleepUntil(Some(Deadline::at_ns(due_ns)));
        }
        let Some(callback) = self.posted.pop_front() else { return Step::SleepUntil(None) };
        self.begun_ns.push(now_ns);
        Step::Run(callback, now_ns)
    }
}
