//! The heart of every future: one word that says how far a task is, and who wants to know.
//!
//! | phase       | claimed by            | next                                             |
//! |-------------|-----------------------|--------------------------------------------------|
//! | `PENDING`   | nobody                | `RUNNING`, `SETTLING`, `CANCELLED`               |
//! | `RUNNING`   | who runs the task     | `SETTLING`, `CANCELLED`                          |
//! | `SETTLING`  | who stores its outcome| `FINISHED`                                       |
//! | `CANCELLED` | final                 | none                                             |
//! | `FINISHED`  | final                 | none                                             |
//!
//! Two flags ride in the same word: `SLEEPERS` (a thread sleeps on the word) and `WATCHERS`
//! (somebody asked to be called). They are only ever added before the end, and the swap that ends
//! the task reads them: an end that nobody awaits costs one atomic swap and no system call.
//!
//! Guarantees:
//! - exactly one of all `settle`/`cancel` calls returns true; only its `write` runs;
//! - what `write` stored is visible to whoever saw the completion done;
//! - a watcher runs exactly once, or never if it was removed in time; watchers run in the order
//!   in which they were added, on the thread that ended the task;
//! - a waiter is never left asleep on a finished task.
//!
//! What it does not do: it holds no outcome (the owner keeps it beside, see
//! [`Outcome`](crate::future::Outcome)) and it stops nobody: a task cancelled while it runs goes
//! on running until its executor stops it.

use manyhands_sys::atomic::{Mutex, MutexGuard, Ordering};
use manyhands_sys::clock::Deadline;
#[cfg(not(loom))]
use manyhands_sys::futex::Waker;
use manyhands_sys::futex::{Futex, Private, WaitEnd};

/// How far a task is, and who wants to know.
pub struct Completion {
    word: Futex<Private>,
    watchers: Mutex<WatcherList>,
}

/// How far a task is, as seen from outside: a task whose outcome is being stored still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody has started it.
    Pending,
    /// Somebody runs it.
    Running,
    /// It was cancelled; there is no outcome.
    Cancelled,
    /// Its outcome is stored.
    Finished,
}

/// How a wait on a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The task is done: finished or cancelled.
    Done,
    /// The deadline came first.
    TimedOut,
    /// A signal handler ran in this thread, and the task is not done yet.
    Interrupted,
}

/// The name of a watcher, to remove it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchId(u32);

/// What to run when a task is done. Must not panic: the watchers after it would not run.
pub type Watcher = Box<dyn FnOnce() + Send>;

/// An end that has happened but has not been told to anybody: pass it to
/// [`Completion::announce`]. The two are separate so that a thread which holds something the
/// sleepers will need (Python's GIL) can let go of it in between.
#[derive(Debug)]
#[must_use = "sleepers stay asleep until `Completion::announce` is given this"]
pub struct Ending {
    word: u32,
}

struct WatcherList {
    next_id: u32,
    entries: Vec<(WatchId, Watcher)>,
}

const PENDING: u32 = 0;
const RUNNING: u32 = 1;
const SETTLING: u32 = 2;
const CANCELLED: u32 = 3;
const FINISHED: u32 = 4;
const PHASE_MASK: u32 = 0b111;
const SLEEPERS: u32 = 1 << 3;
const WATCHERS: u32 = 1 << 4;

const fn phase_of(word: u32) -> u32 {
    word & PHASE_MASK
}

const fn is_final(word: u32) -> bool {
    phase_of(word) >= CANCELLED
}

const fn flags_of(word: u32) -> u32 {
    word & !PHASE_MASK
}

impl Completion {
    /// A task nobody has started.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            word: Futex::new(PENDING),
            watchers: Mutex::new(WatcherList { next_id: 0, entries: Vec::new() }),
        }
    }

    /// A task nobody has started.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            word: Futex::new(PENDING),
            watchers: Mutex::new(WatcherList { next_id: 0, entries: Vec::new() }),
        }
    }

    /// How far the task is. `Finished` makes the outcome visible to this thread.
    #[inline]
    pub fn phase(&self) -> Phase {
        // Acquire meets the Release of `finish`: who reads FINISHED may read the outcome.
        match phase_of(self.word.load(Ordering::Acquire)) {
            PENDING => Phase::Pending,
            RUNNING | SETTLING => Phase::Running,
            CANCELLED => Phase::Cancelled,
            _ => Phase::Finished,
        }
    }

    /// Whether the task has finished or was cancelled.
    #[inline]
    pub fn is_done(&self) -> bool {
        // Acquire meets the Release of `finish`.
        is_final(self.word.load(Ordering::Acquire))
    }

    /// Takes the task to run it: `Pending` → `Running`. False if it runs already or is done.
    #[inline]
    pub fn claim(&self) -> bool {
        self.advance(RUNNING, |phase| phase == PENDING).is_some()
    }

    /// Ends a task that nobody has started, tells everybody, and returns true; a task that runs
    /// or is done is left alone.
    pub fn cancel(&self) -> bool {
        self.try_cancel().map(|ending| self.announce(ending)).is_some()
    }

    /// Ends a task that has no outcome yet, running or not, and tells everybody. Who runs it
    /// learns of it when its own `settle` returns false.
    pub fn cancel_running(&self) -> bool {
        self.try_cancel_running().map(|ending| self.announce(ending)).is_some()
    }

    /// Stores the outcome with `write`, ends the task and tells everybody. False, without
    /// calling `write`, if somebody else ended it.
    ///
    /// `write` only stores: whoever asks for the outcome meanwhile waits for it.
    #[inline]
    pub fn settle(&self, write: impl FnOnce()) -> bool {
        self.try_settle(write).map(|ending| self.announce(ending)).is_some()
    }

    /// [`cancel`](Self::cancel), leaving the telling to the caller.
    pub fn try_cancel(&self) -> Option<Ending> {
        self.advance(CANCELLED, |phase| phase == PENDING).map(|word| Ending { word })
    }

    /// [`cancel_running`](Self::cancel_running), leaving the telling to the caller.
    pub fn try_cancel_running(&self) -> Option<Ending> {
        self.advance(CANCELLED, |phase| phase <= RUNNING).map(|word| Ending { word })
    }

    /// [`settle`](Self::settle), leaving the telling to the caller.
    #[inline]
    pub fn try_settle(&self, write: impl FnOnce()) -> Option<Ending> {
        self.advance(SETTLING, |phase| phase <= RUNNING)?;
        let ending = Finish(self);
        write();
        Some(ending.finish())
    }

    /// Wakes the sleepers and runs the watchers of an end.
    #[inline]
    pub fn announce(&self, ending: Ending) {
        if ending.has_sleepers() {
            self.word.wake_all();
        }
        if ending.has_watchers() {
            self.run_watchers();
        }
    }

    /// A way to wake the sleepers of an end after this completion may have been freed, for those
    /// who must let go of it first. It does not run watchers.
    #[cfg(not(loom))]
    pub fn waker(&self) -> Waker<Private> {
        self.word.waker()
    }

    /// Sleeps until the task is done, `deadline`, or a signal; never spins.
    pub fn wait(&self, deadline: Option<Deadline>) -> Wait {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if is_final(word) {
                return Wait::Done;
            }
            if word & SLEEPERS == 0 {
                // Once this bit is in the word, the swap that ends the task sees it and wakes.
                word = self.word.fetch_or(SLEEPERS, Ordering::Acquire);
                if is_final(word) {
                    return Wait::Done;
                }
                word |= SLEEPERS;
            }
            let end = self.word.wait(word, deadline);
            // Acquire meets the Release of `finish`.
            word = self.word.load(Ordering::Acquire);
            if is_final(word) {
                return Wait::Done;
            }
            match end {
                WaitEnd::Woken => {}
                WaitEnd::TimedOut => return Wait::TimedOut,
                WaitEnd::Interrupted => return Wait::Interrupted,
            }
        }
    }

    /// Calls `f` once when the task is done: at once, and returning `None`, if it is done now.
    pub fn watch(&self, f: Watcher) -> Option<WatchId> {
        let mut list = self.lock_watchers();
        let id = WatchId(list.next_id);
        list.next_id = list.next_id.wrapping_add(1);
        list.entries.push((id, f));
        // The flag is raised under the lock and after the push: an end that sees it takes the
        // lock and finds the entry; an end that came before is seen here.
        if self.mark_watched() {
            return Some(id);
        }
        let at = list.entries.iter().position(|(entry_id, _)| *entry_id == id);
        let entry = at.map(|at| list.entries.remove(at));
        drop(list);
        if let Some((_, f)) = entry {
            f();
        }
        None
    }

    /// Forgets a watcher. False if it has run, runs now, or was forgotten before.
    pub fn unwatch(&self, id: WatchId) -> bool {
        let mut list = self.lock_watchers();
        let at = list.entries.iter().position(|(entry_id, _)| *entry_id == id);
        let removed = at.map(|at| list.entries.remove(at));
        drop(list);
        // What the watcher owns is dropped outside the lock: it may own anything.
        removed.is_some()
    }

    /// Makes the end of this task report [`Ending::has_watchers`], for owners that keep watchers
    /// of their own. False if the task is done already.
    pub fn mark_watched(&self) -> bool {
        !is_final(self.word.fetch_or(WATCHERS, Ordering::AcqRel))
    }

    /// Moves to `next` from any phase that `may_leave` accepts; returns the word it left.
    #[inline]
    fn advance(&self, next: u32, may_leave: impl Fn(u32) -> bool) -> Option<u32> {
        let mut word = self.word.load(Ordering::Acquire);
        while may_leave(phase_of(word)) {
            let moved = flags_of(word) | next;
            // Release publishes what this thread did before (a canceller's reason, a runner's
            // identity); Acquire lets a winner see what the one before it published.
            match self.word.compare_exchange_weak(word, moved, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(word),
                Err(current) => word = current,
            }
        }
        None
    }

    #[cold]
    fn run_watchers(&self) {
        let entries = std::mem::take(&mut self.lock_watchers().entries);
        for (_, f) in entries {
            f();
        }
    }

    fn lock_watchers(&self) -> MutexGuard<'_, WatcherList> {
        // Nothing that can panic runs under this lock, so a poisoned list is still whole.
        self.watchers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Ending {
    /// Whether a thread sleeps until it is told.
    #[inline]
    pub fn has_sleepers(&self) -> bool {
        self.word & SLEEPERS != 0
    }

    /// Whether somebody ran the task when it was ended.
    #[inline]
    pub fn was_running(&self) -> bool {
        phase_of(self.word) != PENDING
    }

    /// Whether somebody asked to be called.
    #[inline]
    pub fn has_watchers(&self) -> bool {
        self.word & WATCHERS != 0
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Completion").field(&self.phase()).finish()
    }
}

/// SETTLING → FINISHED, also when `write` unwinds: nobody may wait for ever on its account.
struct Finish<'a>(&'a Completion);

impl Finish<'_> {
    #[inline]
    fn finish(self) -> Ending {
        let ending = self.swap();
        std::mem::forget(self);
        ending
    }

    #[inline]
    fn swap(&self) -> Ending {
        // Only flags change under SETTLING. Release: the outcome is visible before the phase;
        // meets the Acquire of `phase`, `is_done` and `wait`.
        let word = self.0.word.fetch_xor(SETTLING ^ FINISHED, Ordering::AcqRel);
        Ending { word }
    }
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let ending = self.swap();
        self.0.announce(ending);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicUsize};
    use std::time::Duration;

    #[test]
    fn a_claimed_task_is_not_claimed_again_and_not_cancelled_by_a_plain_cancel() {
        let completion = Completion::new();
        assert!(completion.claim());
        assert!(!completion.claim());
        assert!(!completion.cancel());
        assert_eq!(completion.phase(), Phase::Running);
    }

    #[test]
    fn a_cancelled_task_is_never_claimed() {
        let completion = Completion::new();
        assert!(completion.cancel());
        assert!(!completion.claim());
        assert!(!completion.settle(|| panic!("stored the outcome of a cancelled task")));
        assert_eq!(completion.phase(), Phase::Cancelled);
    }

    #[test]
    fn a_running_task_is_cancelled_once_and_its_runner_learns_of_it() {
        let completion = Completion::new();
        assert!(completion.claim());
        assert!(completion.cancel_running());
        assert!(!completion.cancel_running());
        assert!(!completion.settle(|| {}));
    }

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let completion = Completion::new();
        let deadline = Deadline::after(Duration::from_millis(5));
        assert_eq!(completion.wait(Some(deadline)), Wait::TimedOut);
        assert!(deadline.has_passed());
    }

    #[test]
    fn every_waiter_sees_the_outcome() {
        for _ in 0..200 {
            let shared = Arc::new((Completion::new(), AtomicU32::new(0)));
            let waiters: Vec<_> = (0..3)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || {
                        assert_eq!(shared.0.wait(None), Wait::Done);
                        shared.1.load(Ordering::Relaxed)
                    })
                })
                .collect();
            assert!(shared.0.settle(|| shared.1.store(7, Ordering::Relaxed)));
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), 7);
            }
        }
    }

    #[test]
    fn a_watcher_runs_once_whenever_it_is_added() {
        let runs = Arc::new(AtomicUsize::new(0));
        let count = || {
            let runs = Arc::clone(&runs);
            Box::new(move || {
                runs.fetch_add(1, Ordering::SeqCst);
            })
        };
        let completion = Completion::new();
        assert!(completion.watch(count()).is_some());
        assert!(completion.settle(|| {}));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert!(completion.watch(count()).is_none());
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_removed_watcher_never_runs() {
        let completion = Completion::new();
        let id = completion.watch(Box::new(|| panic!("ran"))).unwrap();
        assert!(completion.unwatch(id));
        assert!(!completion.unwatch(id));
        assert!(completion.cancel());
    }

    #[test]
    fn watchers_run_in_the_order_in_which_they_were_added() {
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let completion = Completion::new();
        for index in 0..10 {
            let order = Arc::clone(&order);
            completion.watch(Box::new(move || order.lock().unwrap().push(index)));
        }
        completion.settle(|| {});
        assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn watchers_added_while_the_task_ends_run_exactly_once() {
        for _ in 0..500 {
            let completion = Arc::new(Completion::new());
            let runs = Arc::new(AtomicUsize::new(0));
            let adder = {
                let (completion, runs) = (Arc::clone(&completion), Arc::clone(&runs));
                std::thread::spawn(move || {
                    for _ in 0..20 {
                        let runs = Arc::clone(&runs);
                        completion.watch(Box::new(move || {
                            runs.fetch_add(1, Ordering::SeqCst);
                        }));
                    }
                })
            };
            completion.settle(|| {});
            adder.join().unwrap();
            assert_eq!(runs.load(Ordering::SeqCst), 20);
        }
    }

    #[test]
    fn an_outcome_whose_writing_fails_still_ends_the_task() {
        let completion = Completion::new();
        let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            completion.settle(|| panic!("no room"))
        }));
        assert!(attempt.is_err());
        assert_eq!(completion.wait(None), Wait::Done);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    #[test]
    fn a_sleeper_is_woken_and_sees_the_outcome() {
        loom::model(|| {
            let shared = Arc::new((Completion::new(), AtomicUsize::new(0)));
            let other = Arc::clone(&shared);
            let runner = loom::thread::spawn(move || {
                assert!(other.0.claim());
                assert!(other.0.settle(|| other.1.store(1, Ordering::Relaxed)));
            });
            assert_eq!(shared.0.wait(None), Wait::Done);
            assert_eq!(shared.1.load(Ordering::Relaxed), 1);
            runner.join().unwrap();
        });
    }

    #[test]
    fn one_of_cancel_and_settle_wins() {
        loom::model(|| {
            let shared = Arc::new((Completion::new(), AtomicUsize::new(0)));
            let other = Arc::clone(&shared);
            let canceller = loom::thread::spawn(move || other.0.cancel_running());
            let settled = shared.0.claim()
                && shared.0.settle(|| {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                });
            let cancelled = canceller.join().unwrap();
            assert!(settled != cancelled);
            assert_eq!(shared.1.load(Ordering::Relaxed), usize::from(settled));
            assert_eq!(shared.0.phase() == Phase::Cancelled, cancelled);
        });
    }

    #[test]
    fn a_watcher_added_while_the_task_ends_runs_once() {
        loom::model(|| {
            let completion = Arc::new(Completion::new());
            let runs = Arc::new(AtomicUsize::new(0));
            let other = Arc::clone(&completion);
            let settler = loom::thread::spawn(move || other.settle(|| {}));
            let count = Arc::clone(&runs);
            completion.watch(Box::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
            }));
            assert!(settler.join().unwrap());
            assert_eq!(runs.load(Ordering::SeqCst), 1);
        });
    }
}
