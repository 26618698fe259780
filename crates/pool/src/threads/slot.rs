//! One thread of a pool: the tasks it is in, and whether it is being stopped.
//!
//! A task may run inside another one, if that waits for it (helping): the tasks of a thread are a
//! stack. A running body is stopped by something that the pool's kind *raises* in the thread, and
//! *absorbs* there if the body ended first. The mutex of the slot makes that exact:
//!
//! | canceller (it has ended the task's completion) | worker                                       |
//! |------------------------------------------------|----------------------------------------------|
//! | lock; is the thread still in that task?        | lock; the body is over                       |
//! | it is the innermost: raise                     | raised: mark it over, unlock, absorb         |
//! | another runs inside it: mark it stopped        | pop; the outer one is marked: raise          |
//! | the body is over, or it is not there: nothing  |                                              |
//!
//! Whoever comes second sees what the first did, so what was raised for one task reaches no other.
//! A thread that does not leave a stopped task can be retired: it ends when that task does.
//!
//! What it does not do: it does not know what a task is; a [`TaskKey`] only tells tasks apart.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Tells a task from all others that are alive: the address of what stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskKey(pub usize);

/// One thread of a pool; `T` is what the pool's kind knows of the thread.
pub struct Slot<T> {
    /// The thread.
    pub thread: T,
    stops: Stops,
    /// Its place was given to another thread: it ends when its task does. Set under the lock.
    is_retired: AtomicBool,
}

/// The part of a slot that is the same for every kind of thread.
struct Stops {
    /// Nothing is run under it but `raise`.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The innermost last.
    running: Vec<Running>,
    /// Something was raised in this thread and has neither arrived nor been absorbed.
    is_interrupted: bool,
}

struct Running {
    task: TaskKey,
    /// Was stopped while a task inside it ran: it is interrupted when that one ends.
    is_stopped: bool,
    /// Its body has ended: nothing interrupts it any more.
    is_over: bool,
}

/// Where the calling thread works.
#[derive(Clone, Copy)]
pub(super) struct Here {
    /// The address of its set.
    pub(super) set: *const (),
    /// The slot, whose type the set knows.
    pub(super) slot: *const (),
    stops: *const Stops,
}

impl Here {
    const NOWHERE: Self = Self { set: ptr::null(), slot: ptr::null(), stops: ptr::null() };
}

thread_local! {
    static HERE: Cell<Here> = const { Cell::new(Here::NOWHERE) };
}

/// Where the calling thread works.
#[inline]
pub(super) fn here() -> Here {
    HERE.get()
}

/// For as long as it lives, the calling thread works in a slot.
pub(super) struct AtWork<'a, T>(#[allow(dead_code, reason = "keeps the slot")] &'a Slot<T>);

impl<'a, T> AtWork<'a, T> {
    pub(super) fn begin(set: *const (), slot: &'a Slot<T>) -> Self {
        HERE.set(Here { set, slot: ptr::from_ref(slot).cast(), stops: &raw const slot.stops });
        Self(slot)
    }
}

impl<T> Drop for AtWork<'_, T> {
    fn drop(&mut self) {
        HERE.set(Here::NOWHERE);
    }
}

/// Whether the calling thread is one of a pool.
#[inline]
pub fn is_worker() -> bool {
    !HERE.get().stops.is_null()
}

/// Whether something was raised in the calling thread that has not arrived. The caller makes it
/// arrive: the slot says so only once.
pub fn take_interrupt() -> bool {
    // SAFETY: set for as long as the thread works in the slot, which it keeps alive.
    let stops = unsafe { HERE.get().stops.as_ref() };
    stops.is_some_and(|stops| std::mem::take(&mut stops.lock().is_interrupted))
}

/// In a forked child: it has one thread, and whichever that is, its pool is not here.
pub fn forget_after_fork() {
    HERE.set(Here::NOWHERE);
}

impl<T> Slot<T> {
    /// The slot of a thread that is in no task.
    pub fn new(thread: T) -> Self {
        let stops = Stops { state: Mutex::default() };
        Self { thread, stops, is_retired: AtomicBool::new(false) }
    }

    /// The thread enters `task`, which stays alive until it is left.
    #[inline]
    pub fn enter(&self, task: TaskKey) {
        self.stops.lock().running.push(Running { task, is_stopped: false, is_over: false });
    }

    /// The thread leaves `task`, the innermost one. Calls `absorb` if something was raised for it
    /// that may not have arrived; calls `raise`, under the lock, if the task outside of it was
    /// stopped meanwhile. `raise` tells whether it raised.
    #[inline]
    pub fn leave(&self, task: TaskKey, absorb: impl FnOnce(), raise: impl FnOnce() -> bool) {
        let mut state = self.stops.lock();
        debug_assert!(state.running.last().is_some_and(|last| last.task == task));
        if state.is_interrupted {
            if let Some(over) = state.running.last_mut() {
                over.is_over = true;
            }
            drop(state);
            // Not under the lock: this may run anything.
            absorb();
            state = self.stops.lock();
            state.is_interrupted = false;
        }
        state.running.pop();
        if let Some(outer) = state.running.last_mut()
            && std::mem::take(&mut outer.is_stopped)
        {
            state.is_interrupted |= raise();
        }
    }

    /// Stops `task` if the thread is in its body: calls `raise`, under the lock, now or when the
    /// tasks inside it have ended. False if the body is over.
    pub fn interrupt(&self, task: TaskKey, raise: impl FnOnce() -> bool) -> bool {
        let mut state = self.stops.lock();
        let Some(at) = state.find(task) else { return false };
        if state.running[at].is_over {
            return false;
        }
        if at + 1 == state.running.len() {
            state.is_interrupted |= raise();
        } else {
            state.running[at].is_stopped = true;
        }
        true
    }

    /// Gives up on the thread if it is still in `task`. True if this call did.
    pub fn retire_if_in(&self, task: TaskKey) -> bool {
        // Under the lock, which the thread takes to leave the task: it sees this afterwards.
        let state = self.stops.lock();
        state.find(task).is_some() && !self.is_retired.swap(true, Ordering::Relaxed)
    }

    /// Whether the thread's place was given to another one.
    pub fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Calls `f`, under the lock, with the innermost task: it is alive until `f` returns.
    pub fn with_innermost<R>(&self, f: impl FnOnce(TaskKey) -> R) -> Option<R> {
        self.stops.lock().running.last().map(|running| f(running.task))
    }
}

impl Stops {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn find(&self, task: TaskKey) -> Option<usize> {
        self.running.iter().position(|running| running.task == task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTER: TaskKey = TaskKey(1);
    const INNER: TaskKey = TaskKey(2);

    fn never() -> bool {
        panic!("nothing is to be raised")
    }

    #[test]
    fn the_innermost_task_is_interrupted_at_once_and_what_is_late_is_absorbed() {
        let slot = Slot::new(());
        slot.enter(OUTER);
        let mut n_raised = 0;
        assert!(slot.interrupt(OUTER, || {
            n_raised += 1;
            true
        }));
        let mut n_absorbed = 0;
        slot.leave(OUTER, || n_absorbed += 1, never);
        assert_eq!((n_raised, n_absorbed), (1, 1));
        slot.enter(INNER);
        slot.leave(INNER, || panic!("that was for another task"), never);
    }

    #[test]
    fn an_outer_task_is_interrupted_when_the_one_inside_it_ends() {
        let slot = Slot::new(());
        slot.enter(OUTER);
        slot.enter(INNER);
        assert!(slot.interrupt(OUTER, never));
        let mut n_raised = 0;
        slot.leave(
            INNER,
            || panic!("nothing was raised yet"),
            || {
                n_raised += 1;
                true
            },
        );
        assert_eq!(n_raised, 1);
        let mut n_absorbed = 0;
        slot.leave(OUTER, || n_absorbed += 1, never);
        assert_eq!(n_absorbed, 1);
    }

    #[test]
    fn a_body_that_is_over_is_not_interrupted() {
        let slot = Slot::new(());
        assert!(!slot.interrupt(OUTER, never));
        slot.enter(OUTER);
        assert!(slot.interrupt(OUTER, || true));
        // While it absorbs, another canceller comes too late.
        slot.leave(OUTER, || assert!(!slot.interrupt(OUTER, never)), never);
        assert!(!slot.interrupt(OUTER, never));
    }

    #[test]
    fn a_thread_is_retired_once_and_only_for_a_task_it_is_in() {
        let slot = Slot::new(());
        slot.enter(OUTER);
        assert!(!slot.retire_if_in(INNER));
        assert!(slot.retire_if_in(OUTER));
        assert!(!slot.retire_if_in(OUTER));
        assert!(slot.is_retired());
    }

    #[test]
    fn an_interrupt_is_taken_once_by_the_thread_it_is_for() {
        let slot = Slot::new(());
        assert!(!is_worker() && !take_interrupt());
        let at_work = AtWork::begin(ptr::null(), &slot);
        slot.enter(OUTER);
        slot.interrupt(OUTER, || true);
        assert!(is_worker() && take_interrupt() && !take_interrupt());
        slot.leave(OUTER, || panic!("it has arrived"), never);
        drop(at_work);
        assert!(!is_worker());
    }

    #[test]
    fn a_forked_child_is_no_worker() {
        let slot = Slot::new(());
        let _at_work = AtWork::begin(ptr::null(), &slot);
        forget_after_fork();
        assert!(!is_worker());
    }
}
