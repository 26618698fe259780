//! A line of threads of any process that sleep until somebody calls.
//!
//! As [`crate::line`], in one word of shared memory: every step is one compare-and-swap, so that a
//! death between two of them leaves nothing half-done.
//!
//! ```text
//!   n_called (16) │ n_waiting (16) │ calls (32), on which they sleep
//!
//!   enlist             n_waiting + 1
//!   call               n_waiting - 1, n_called + 1, calls + 1, then one wake
//!   leave              n_called - 1 if there is a call, else n_waiting - 1
//! ```
//!
//! | a waiter dies … | what is left | what it costs |
//! |---|---|---|
//! | enlisted | `n_waiting` too high | one needless wake |
//! | called | `n_called` too high; its call is lost | another sleeper looks after `SLICE` |
//! | the caller, before the wake | a call without a wake | the same |
//!
//! Nobody sleeps longer than `SLICE` without looking again at what it waits for.

use std::time::Duration;

use manyhands_sync::sleep::{Wait, Waiting, sleep};
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Shared, low_half};

/// The sleepers of one kind, in shared memory. All zeros: nobody.
#[repr(C, align(64))]
pub(super) struct SharedLine {
    word: AtomicU64,
    n_enlisted: AtomicU64,
}

/// A place in the line. Given up by [`SharedEnlisted::leave`]; dropped, it passes a call on.
pub struct SharedEnlisted<'line> {
    line: &'line SharedLine,
    seen: u32,
}

/// What the word says.
#[derive(Clone, Copy)]
struct State {
    calls: u32,
    n_waiting: u16,
    n_called: u16,
}

/// The longest sleep: a wake-up that died with its taker is made up for by then.
const SLICE: Duration = Duration::from_millis(500);

impl State {
    #[inline]
    const fn of(word: u64) -> Self {
        Self { calls: word as u32, n_waiting: (word >> 32) as u16, n_called: (word >> 48) as u16 }
    }

    const fn word(self) -> u64 {
        self.calls as u64 | (self.n_waiting as u64) << 32 | (self.n_called as u64) << 48
    }
}

impl SharedLine {
    /// Takes a place. Whether there is still a reason to sleep has to be asked after this.
    pub(super) fn enlist(&self) -> SharedEnlisted<'_> {
        self.n_enlisted.fetch_add(1, Ordering::Relaxed);
        // SeqCst, as the load in `call`: of the two sides, at least one sees what the other wrote.
        let state = self
            .change(|state| Some(State { n_waiting: state.n_waiting.saturating_add(1), ..state }));
        SharedEnlisted { line: self, seen: state.calls }
    }

    /// Calls up to `n` waiters.
    #[inline]
    pub(super) fn call(&self, n: usize) {
        if self.n_waiting() > 0 {
            self.call_waiting(n);
        }
    }

    /// How many are enlisted and not called.
    #[inline]
    pub(super) fn n_waiting(&self) -> u16 {
        State::of(self.word.load(Ordering::SeqCst)).n_waiting
    }

    /// How often somebody enlisted.
    pub(super) fn n_enlisted(&self) -> u64 {
        self.n_enlisted.load(Ordering::Relaxed)
    }

    #[cold]
    fn call_waiting(&self, n: usize) {
        let wanted = u16::try_from(n).unwrap_or(u16::MAX);
        let before = self.change(|state| {
            let n = state.n_waiting.min(wanted);
            (n > 0).then(|| State {
                calls: state.calls.wrapping_add(1),
                n_waiting: state.n_waiting - n,
                n_called: state.n_called.saturating_add(n),
            })
        });
        if before.n_waiting <= wanted {
            // Also the sleepers that are not counted: more than 65,535.
            self.futex().wake_all();
        } else {
            (0..wanted).for_each(|_| self.futex().wake_one());
        }
    }

    /// True if a call was taken along.
    fn strike(&self) -> bool {
        let before = self.change(|state| {
            let (n_called, n_waiting) = match state.n_called {
                0 => (0, state.n_waiting.saturating_sub(1)),
                n => (n - 1, state.n_waiting),
            };
            Some(State { n_called, n_waiting, ..state })
        });
        before.n_called > 0
    }

    /// The state before `change`, which may decide to change nothing.
    fn change(&self, change: impl Fn(State) -> Option<State>) -> State {
        let change = |word: u64| change(State::of(word)).map(State::word);
        let (Ok(before) | Err(before)) =
            self.word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
        State::of(before)
    }

    fn futex(&self) -> &Futex<Shared> {
        low_half(&self.word)
    }
}

impl SharedEnlisted<'_> {
    /// Sleeps until somebody is called (it may have been another one), for half a second, or for
    /// what else ends a wait.
    pub fn sleep(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        if self.has_moved() {
            return Wait::Done;
        }
        let slice = Deadline::after(SLICE);
        let until = deadline.map_or(slice, |deadline| deadline.min(slice));
        let end = sleep(self.line.futex(), self.seen, Some(until), waiting).end();
        match end.unwrap_or(Wait::Done) {
            Wait::TimedOut if !deadline.is_some_and(Deadline::has_passed) => Wait::Done,
            end => end,
        }
    }

    /// Whether somebody was called since this place was taken.
    pub fn has_moved(&self) -> bool {
        State::of(self.line.word.load(Ordering::Relaxed)).calls != self.seen
    }

    /// Gives the place up to look again at what is waited for. Who gives it up for another reason
    /// drops it instead.
    pub fn leave(self) {
        self.line.strike();
        std::mem::forget(self);
    }
}

impl Drop for SharedEnlisted<'_> {
    fn drop(&mut self) {
        if self.line.strike() {
            self.line.call(1);
        }
    }
}
