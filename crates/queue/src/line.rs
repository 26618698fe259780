//! A line of threads that sleep until there is an item, or room, or nothing left to do: a thin
//! layer on an event count that says how many are called.
//!
//! Who wants to wait *enlists*, then looks once more whether it still has to, then sleeps. Who
//! changes what they wait for *calls* one of them (or several). The counts say how many, not who:
//! whoever leaves the line takes a call along if there is one. They are one word beside the event
//! count, and each step is one compare-and-swap of it, so that a death between two leaves nothing
//! half-done. The same code serves the threads of one process (`Line<Private>`) and those of
//! several (`Line<Shared>`, in the heap).
//!
//! ```text
//!   counts: n_called (32) │ n_waiting (32)
//!
//!   enlist             a ticket of the event count; n_waiting + 1
//!   call               n_waiting - 1, n_called + 1; then one notification in any case
//!   leave              n_called - 1 if there is a call, else n_waiting - 1
//! ```
//!
//! Why the counts are not part of the event count: they make one put wake one getter, and a burst
//! of puts make one system call for it, which only the lines need. What a caller reads is
//! `n_waiting`, with a sequentially consistent load and no fence, as what it has changed is ordered
//! by the store itself (see [`Store`](crate::Store)). The bit of the event count is not used.
//!
//! Guarantees: a call finds everybody who enlisted before what is called for happened. The ticket
//! is older than the place in the count, so a notification of whoever counted this place ends the
//! sleep. A waiter is called once however many changes happen before it runs. A waiter who leaves
//! for another reason (deadline, signal, panic) passes its call on.
//!
//! | dies … | what is left | what it costs |
//! |---|---|---|
//! | who is enlisted | `n_waiting` too high | one needless wake |
//! | who is called | `n_called` too high; its call is lost | another sleeper looks after `SLICE` |
//! | the caller, between the counts and the wake | a call without a wake | the same |
//!
//! Between processes nobody sleeps longer than `SLICE` without looking again at what it waits for.
//! In one process threads do not die alone; that they vanish (in the child of a fork there is only
//! the one that forked) costs a needless wake.
//!
//! What it does not do: it does not say what is waited for; who is woken looks again.

use std::time::Duration;

use manyhands_sync::event_count::{ALL, EventCount, Ticket};
use manyhands_sync::sleep::{Wait, Waiting};
use manyhands_sys::atomic::{AtomicU64, Ordering, order_for_loom};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Private, Scope};

/// The sleepers of one kind. All zeros: nobody.
#[cfg_attr(not(loom), repr(C, align(64)))]
pub struct Line<S: Scope> {
    counts: AtomicU64,
    n_enlisted: AtomicU64,
    event: EventCount<S>,
}

/// A place in a line. Given up by [`Enlisted::leave`]; dropped, it passes a call on.
pub struct Enlisted<'line, S: Scope = Private> {
    line: &'line Line<S>,
    ticket: Ticket,
}

/// What the counts say. They stop at their greatest value: places may be leaked.
#[derive(Clone, Copy)]
struct Counts {
    /// Enlisted and not called.
    n_waiting: u32,
    /// Called, and not gone yet.
    n_called: u32,
}

/// The longest sleep between processes: a wake-up that died with its taker is made up for by then.
const SLICE: Duration = Duration::from_millis(500);

impl<S: Scope> Line<S> {
    pub fn new() -> Self {
        Self { counts: AtomicU64::new(0), n_enlisted: AtomicU64::new(0), event: EventCount::new() }
    }

    /// Takes a place in the line. Whether there is still a reason to sleep has to be asked after
    /// this.
    pub fn enlist(&self) -> Enlisted<'_, S> {
        self.n_enlisted.fetch_add(1, Ordering::Relaxed);
        // Before the count: who calls this place moves the event count after that.
        let ticket = self.event.ticket();
        // SeqCst, as the load in `call`: of the two sides, at least one sees what the other wrote.
        self.change(|counts| {
            Some(Counts { n_waiting: counts.n_waiting.saturating_add(1), ..counts })
        });
        order_for_loom();
        Enlisted { line: self, ticket }
    }

    /// Calls up to `n` waiters.
    #[inline]
    pub fn call(&self, n: usize) {
        // Meets the write in `enlist`.
        order_for_loom();
        if self.n_waiting() > 0 {
            self.call_waiting(n);
        }
    }

    /// How many are enlisted and not called.
    #[inline]
    pub fn n_waiting(&self) -> u32 {
        Counts::of(self.counts.load(Ordering::SeqCst)).n_waiting
    }

    /// How often somebody enlisted.
    pub fn n_enlisted(&self) -> u64 {
        self.n_enlisted.load(Ordering::Relaxed)
    }

    #[cold]
    fn call_waiting(&self, n: usize) {
        let wanted = u32::try_from(n).unwrap_or(u32::MAX);
        let before = self.change(|counts| {
            let n = counts.n_waiting.min(wanted);
            (n > 0).then(|| Counts {
                n_waiting: counts.n_waiting - n,
                n_called: counts.n_called.saturating_add(n),
            })
        });
        match before.n_waiting {
            0 => {}
            // Also those whose call died with its taker or its caller.
            n_waiting if n_waiting <= wanted => self.event.notify_in_any_case(ALL),
            _ => self.event.notify_in_any_case(wanted),
        }
    }

    /// True if a call was taken along.
    fn strike(&self) -> bool {
        let before = self.change(|counts| {
            let (n_called, n_waiting) = match counts.n_called {
                0 => (0, counts.n_waiting.saturating_sub(1)),
                n => (n - 1, counts.n_waiting),
            };
            Some(Counts { n_waiting, n_called })
        });
        before.n_called > 0
    }

    /// The counts before `change`, which may decide to change nothing.
    fn change(&self, change: impl Fn(Counts) -> Option<Counts>) -> Counts {
        let change = |word: u64| change(Counts::of(word)).map(Counts::word);
        let (Ok(before) | Err(before)) =
            self.counts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
        Counts::of(before)
    }
}

impl Counts {
    #[inline]
    const fn of(word: u64) -> Self {
        Self { n_waiting: word as u32, n_called: (word >> 32) as u32 }
    }

    const fn word(self) -> u64 {
        self.n_waiting as u64 | (self.n_called as u64) << 32
    }
}

impl<S: Scope> Enlisted<'_, S> {
    /// Sleeps until somebody is called (it may have been another one), for what else ends a wait,
    /// and between processes for half a second. Takes no lock.
    pub fn sleep(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        let slice = S::IS_SHARED.then(|| Deadline::after(SLICE));
        let until = [deadline, slice].into_iter().flatten().min();
        let end = self.line.event.sleep(self.ticket, until, waiting).end();
        match end.unwrap_or(Wait::Done) {
            Wait::TimedOut if S::IS_SHARED && !deadline.is_some_and(Deadline::has_passed) => {
                Wait::Done
            }
            end => end,
        }
    }

    /// Whether somebody was called since this place was taken. Takes no lock.
    pub fn has_moved(&self) -> bool {
        self.line.event.has_moved(self.ticket)
    }

    /// Gives the place up to look again at what is waited for. Who gives it up for another reason
    /// drops it instead.
    pub fn leave(self) {
        self.line.strike();
        std::mem::forget(self);
    }
}

impl<S: Scope> Drop for Enlisted<'_, S> {
    fn drop(&mut self) {
        if self.line.strike() {
            self.line.call(1);
        }
    }
}
