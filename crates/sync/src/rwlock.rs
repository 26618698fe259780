//! Many readers or one writer.
//!
//! | word | meaning |
//! |---|---|
//! | `state` | number of readers, or [`WRITING`] |
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

use manyhands_sys::atomic::{AtomicU32, Ordering};
use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::futex::{Futex, Scope};
use manyhands_sys::thread_id;

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
    #[inline]
    pub fn try_acquire(&self, access: Access) -> bool {
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
        taken
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
        let wait = loop {
            let gate = self.gate.load(Ordering::SeqCst);
            if self.try_acquire(access) {
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
        self.gate.fetch_add(1, Ordering::SeqCst);
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
