//! A line of threads that sleep until there is an item, or room, or nothing left to do.
//!
//! Who wants to wait *enlists*, then looks once more whether it still has to, then sleeps on the
//! line's word. Who changes what they wait for *calls* one of them (or several). A call moves one
//! waiter from `n_waiting` to `n_called`, moves the word, and wakes one sleeper. The counts say
//! how many, not who: whoever leaves the line takes a call along if there is one.
//!
//! ```text
//!   enlist             n_waiting + 1
//!   call               n_waiting - 1, n_called + 1, word + 1, then one wake
//!   leave              n_called - 1 if there is a call, else n_waiting - 1
//! ```
//!
//! Guarantees: a call finds everybody who enlisted before what is called for happened (see
//! [`Store`](crate::Store)); a waiter is called once however many changes happen before it runs,
//! so a burst of puts makes one system call for one getter; a waiter who leaves for another reason
//! (deadline, signal, panic) passes its call on. That a thread vanishes (in the child of a fork
//! there is only the one that forked) leaves counts that are too high, which costs a needless wake
//! and nothing else.
//!
//! What it does not do: it does not say what is waited for; who is woken looks again.

use manyhands_sync::sleep::{Wait, Waiting, sleep};
use manyhands_sys::atomic::{AtomicU32, Mutex, MutexGuard, Ordering};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Private};

/// The sleepers of one kind.
pub struct Line {
    /// Enlisted and not called. Written under the mutex; read without it by who may have to call.
    n_waiting: AtomicU32,
    calls: Mutex<Calls>,
    /// Moves with every call.
    word: Futex<Private>,
}

/// A place in the line. Given up by [`Enlisted::leave`]; dropped, it passes a call on.
pub struct Enlisted<'line> {
    line: &'line Line,
    seen: u32,
}

struct Calls {
    n_called: u32,
    n_enlisted: u64,
}

impl Line {
    pub fn new() -> Self {
        Self {
            n_waiting: AtomicU32::new(0),
            calls: Mutex::new(Calls { n_called: 0, n_enlisted: 0 }),
            word: Futex::new(0),
        }
    }

    /// Takes a place in the line. Whether there is still a reason to sleep has to be asked after
    /// this.
    pub fn enlist(&self) -> Enlisted<'_> {
        let mut calls = self.lock();
        // Places may be leaked. A count that wraps would let nobody be called any more.
        let has_room = self.n_waiting.load(Ordering::Relaxed) < u32::MAX;
        assert!(has_room, "so many places in the line of a queue were leaked that it is full");
        calls.n_enlisted += 1;
        // Meets the load in `call`: of the two sides, at least one sees what the other wrote.
        self.n_waiting.fetch_add(1, Ordering::SeqCst);
        order_for_loom();
        Enlisted { line: self, seen: self.word.load(Ordering::Relaxed) }
    }

    /// Calls up to `n` waiters.
    #[inline]
    pub fn call(&self, n: usize) {
        // Meets the write in `enlist`.
        order_for_loom();
        if self.n_waiting.load(Ordering::SeqCst) > 0 {
            self.call_waiting(n);
        }
    }

    /// How many are enlisted and not called.
    pub fn n_waiting(&self) -> u32 {
        self.n_waiting.load(Ordering::Relaxed)
    }

    /// How often somebody enlisted.
    pub fn n_enlisted(&self) -> u64 {
        self.lock().n_enlisted
    }

    #[cold]
    fn call_waiting(&self, n: usize) {
        let mut calls = self.lock();
        let n_waiting = self.n_waiting.load(Ordering::Relaxed);
        let n = n_waiting.min(u32::try_from(n).unwrap_or(u32::MAX));
        if n == 0 {
            return;
        }
        self.n_waiting.fetch_sub(n, Ordering::SeqCst);
        calls.n_called = calls.n_called.saturating_add(n);
        // Under the mutex: who enlists later has seen this and is not meant.
        self.word.fetch_add(1, Ordering::Relaxed);
        drop(calls);
        if n == n_waiting {
            self.word.wake_all();
        } else {
            (0..n).for_each(|_| self.word.wake_one());
        }
    }

    /// True if a call was taken along.
    fn strike(&self) -> bool {
        let mut calls = self.lock();
        let was_called = calls.n_called > 0;
        if was_called {
            calls.n_called -= 1;
        } else {
            self.n_waiting.fetch_sub(1, Ordering::SeqCst);
        }
        was_called
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        // Nothing under the mutex panics.
        self.calls.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// loom takes sequentially consistent accesses for acquiring and releasing ones, and only fences
/// for what they are. The hardware's single order of the accesses needs no fence.
#[inline]
fn order_for_loom() {
    #[cfg(loom)]
    manyhands_sys::atomic::fence(Ordering::SeqCst);
}

impl Enlisted<'_> {
    /// Sleeps until somebody is called (it may have been another one), or for what else ends a
    /// wait. Takes no lock.
    pub fn sleep(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        if self.has_moved() {
            return Wait::Done;
        }
        sleep(&self.line.word, self.seen, deadline, waiting).end().unwrap_or(Wait::Done)
    }

    /// Whether somebody was called since this place was taken. Takes no lock.
    pub fn has_moved(&self) -> bool {
        self.line.word.load(Ordering::Relaxed) != self.seen
    }

    /// Gives the place up to look again at what is waited for. Who gives it up for another reason
    /// drops it instead.
    pub fn leave(self) {
        self.line.strike();
        std::mem::forget(self);
    }
}

impl Drop for Enlisted<'_> {
    fn drop(&mut self) {
        if self.line.strike() {
            self.line.call(1);
        }
    }
}
