//! Many readers or one writer.
//!
//! | word | meaning |
//! |---|---|
//! | `state` | number of readers, or `WRITING` |
//! | `n_writers` | writers that wait: new readers stay out while there are any |
//! | `gate` | changes whenever `state` may let somebody in; everybody sleeps on it |
//! | `n_sleepers` | threads that sleep on the gate, or are about to |
//!
//! A sleeper counts itself and reads the gate *before* it looks at the state a last time; who
//! leaves changes the state, then the gate, then looks for sleepers: in one total order (SeqCst)
//! none is missed. Writers come before readers that arrive later, so a stream of readers starves no
//! writer; among writers, and among readers, whoever runs first wins.
//!
//! What it does not do: it is not reentrant. A reader that takes it again while a writer waits, and
//! a writer that takes it again, wait for themselves.

use manyhands_sys::atomic::{AtomicU32, Ordering, order_for_loom};
use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::futex::{Futex, Scope};
use manyhands_sys::thread_id;

use crate::overflow::Overflow;
use crate::sleep::{Wait, Waiting, sleep};
use crate::statistics::Counters;

/// A readers–writer lock without data.
pub struct RawRwLock<S: Scope> {
    state: AtomicU32,
    n_writers: AtomicU32,
    gate: Futex<S>,
    n_sleepers: AtomicU32,
    writer: AtomicU32,
    /// What has happened so far.
    pub counters: Counters,
}

/// How the lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// With other readers.
    Read,
    /// Alone.
    Write,
}

/// The lock was not held that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

const WRITING: u32 = u32::MAX;
const MAX_READERS: u32 = WRITING - 1;

impl<S: Scope> RawRwLock<S> {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            n_writers: AtomicU32::new(0),
            gate: Futex::new(0),
            n_sleepers: AtomicU32::new(0),
            writer: AtomicU32::new(0),
            counters: Counters::new(),
        }
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            n_writers: AtomicU32::new(0),
            gate: Futex::new(0),
            n_sleepers: AtomicU32::new(0),
            writer: AtomicU32::new(0),
            counters: Counters::new(),
        }
    }

    /// Takes it if that is possible at once.
    ///
    /// # Errors
    /// [`Overflow`]: so many read that one more cannot be counted.
    #[inline]
    pub fn try_acquire(&self, access: Access) -> Result<bool, Overflow> {
        let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
        let taken = match access {
            Access::Write => self.state.compare_exchange(0, WRITING, success, failure).is_ok(),
            Access::Read => {
                let mut state = self.state.load(Ordering::SeqCst);
                loop {
                    let is_closed = self.n_writers.load(Ordering::SeqCst) > 0;
                    if state == WRITING || is_closed {
                        break false;
                    }
                    if state == MAX_READERS {
                        return Err(Overflow);
                    }
                    match self.state.compare_exchange_weak(state, state + 1, success, failure) {
                        Ok(_) => break true,
                        Err(now) => state = now,
                    }
                }
            }
        };
        if taken {
            if access == Access::Write {
                self.writer.store(thread_id::me(), Ordering::Relaxed);
            }
            self.counters.acquired();
        }
        Ok(taken)
    }

    /// Takes it, sleeping while that is not possible.
    #[cold]
    pub fn acquire_slow(
        &self,
        access: Access,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
    ) -> Wait {
        let since_ns = monotonic_ns();
        if waiting.begins() {
            self.counters.contended();
        }
        if access == Access::Write {
            self.n_writers.fetch_add(1, Ordering::SeqCst);
        }
        self.n_sleepers.fetch_add(1, Ordering::SeqCst);
        order_for_loom();
        let wait = loop {
            let gate = self.gate.load(Ordering::SeqCst);
            order_for_loom();
            // Too many readers are like a writer: it waits until they are gone.
            if self.try_acquire(access) == Ok(true) {
                break Wait::Done;
            }
            if let Some(end) = sleep(&self.gate, gate, deadline, waiting).end() {
                break end;
            }
        };
        self.n_sleepers.fetch_sub(1, Ordering::SeqCst);
        if access == Access::Write {
            self.n_writers.fetch_sub(1, Ordering::SeqCst);
            if wait != Wait::Done {
                // Readers may have stayed out because of this writer.
                self.open();
            }
        }
        self.counters.waited(monotonic_ns() - since_ns);
        wait
    }

    /// Gives it back.
    ///
    /// # Errors
    /// [`NotHeld`] if nobody holds it that way, or another thread writes.
    pub fn release(&self, access: Access) -> Result<(), NotHeld> {
        match access {
            Access::Write => {
                let me = thread_id::me();
                if self.writer.load(Ordering::Relaxed) != me {
                    return Err(NotHeld);
                }
                self.writer.store(0, Ordering::Relaxed);
                self.state.store(0, Ordering::SeqCst);
                self.open();
            }
            Access::Read => {
                let mut state = self.state.load(Ordering::SeqCst);
                loop {
                    if state == 0 || state == WRITING {
                        return Err(NotHeld);
                    }
                    let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
                    match self.state.compare_exchange_weak(state, state - 1, success, failure) {
                        Ok(_) => break,
                        Err(now) => state = now,
                    }
                }
                if state == 1 {
                    self.open();
                }
            }
        }
        Ok(())
    }

    fn open(&self) {
        order_for_loom();
        self.gate.fetch_add(1, Ordering::SeqCst);
        order_for_loom();
        if self.n_sleepers.load(Ordering::SeqCst) > 0 {
            self.gate.wake_all();
        }
    }

    /// Readers inside, now.
    pub fn n_readers(&self) -> u32 {
        match self.state.load(Ordering::Relaxed) {
            WRITING => 0,
            n_readers => n_readers,
        }
    }

    /// The thread that writes, now; 0: none.
    pub fn writer(&self) -> u32 {
        if self.state.load(Ordering::Relaxed) == WRITING {
            self.writer.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// In a forked child: nobody is inside or waits.
    pub fn reset(&self) {
        for word in [&self.state, &self.n_writers, &self.n_sleepers, &self.writer] {
            word.store(0, Ordering::Relaxed);
        }
    }
}

impl<S: Scope> Default for RawRwLock<S> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use manyhands_sys::futex::Private;

    #[test]
    fn readers_that_cannot_be_counted_are_refused_and_keep_writers_out() {
        let lock = RawRwLock::<Private>::new();
        lock.state.store(MAX_READERS - 1, Ordering::Relaxed);
        assert_eq!(lock.try_acquire(Access::Read), Ok(true));
        assert_eq!(lock.try_acquire(Access::Read), Err(Overflow));
        assert_eq!(lock.try_acquire(Access::Write), Ok(false));
        assert_eq!(lock.n_readers(), MAX_READERS);
        assert_eq!(lock.release(Access::Read), Ok(()));
        assert_eq!(lock.try_acquire(Access::Read), Ok(true));
    }
}

/// Each model names the change of the code above that it catches. All threads of a model have one
/// number, so they do not show that only the writer may give back.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;
    use manyhands_sys::futex::Private;

    struct Watched {
        lock: RawRwLock<Private>,
        value: UnsafeCell<u32>,
    }

    impl Watched {
        fn new() -> Arc<Self> {
            Arc::new(Self { lock: RawRwLock::new(), value: UnsafeCell::new(0) })
        }

        fn acquire(&self, access: Access, mut waiting: Waiting<'_>) -> bool {
            self.lock.try_acquire(access) == Ok(true)
                || self.lock.acquire_slow(access, None, &mut waiting) == Wait::Done
        }

        fn visit(&self, access: Access) {
            assert!(self.acquire(access, Waiting::default()));
            match access {
                // SAFETY: as a writer it is alone; loom reports if it is not.
                Access::Write => self.value.with_mut(|value| unsafe { *value += 1 }),
                // SAFETY: as a reader it is without writers; loom reports if it is not.
                Access::Read => drop(self.value.with(|value| unsafe { *value })),
            }
            self.lock.release(access).unwrap();
        }
    }

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }

    fn two(here: Access, there: Access) {
        check(move || {
            let watched = Watched::new();
            let other = Arc::clone(&watched);
            let thread = thread::spawn(move || other.visit(there));
            watched.visit(here);
            thread.join().unwrap();
        });
    }

    /// Catches: Relaxed orderings of the state, a writer that enters beside readers, reading the
    /// gate after the last look, counting oneself after it, no wake-up by a leaving writer.
    #[test]
    fn two_writers_exclude_each_other() {
        two(Access::Write, Access::Write);
    }

    /// Catches the same between a reader and a writer, and a last reader that wakes nobody.
    #[test]
    fn a_reader_and_a_writer_exclude_each_other() {
        two(Access::Read, Access::Write);
    }

    /// Catches: a release that wakes one sleeper, which may be a reader that must stay out.
    #[test]
    fn of_two_writers_and_a_reader_none_is_left_asleep() {
        check(|| {
            let watched = Watched::new();
            let others = [Access::Read, Access::Write].map(|access| {
                let other = Arc::clone(&watched);
                thread::spawn(move || other.visit(access))
            });
            watched.visit(Access::Write);
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }

    /// Catches: a writer that gives up and does not open the gate for the readers it kept out.
    #[test]
    fn a_writer_that_gives_up_keeps_no_reader_out() {
        check(|| {
            let watched = Watched::new();
            assert!(watched.acquire(Access::Read, Waiting::default()));
            let (writer, reader) = (Arc::clone(&watched), Arc::clone(&watched));
            let writer = thread::spawn(move || {
                assert!(!writer.acquire(Access::Write, Waiting::giving_up_after(0)));
            });
            // The first reader stays until this one has been inside.
            let reader = thread::spawn(move || reader.visit(Access::Read));
            writer.join().unwrap();
            reader.join().unwrap();
            watched.lock.release(Access::Read).unwrap();
        });
    }
}
