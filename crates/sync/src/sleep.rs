//! The one place where a thread goes to sleep on a primitive.
//!
//! A wait starts as a bare futex wait. One without a deadline that lasts longer than
//! `PATIENCE` is entered in the registry of [`crate::deadlock`], and looks now and then whether
//! it can still end. Waits with a deadline end by themselves and are never entered.
//!
//! What ends a wait besides its wake-up: the deadline; a signal handler that ran in this thread;
//! [`interrupt`], which makes a sleeping thread look up; the insight that nobody is left to wake
//! it.

#[cfg(not(loom))]
pub(crate) use real::forget_after_fork;
#[cfg(not(loom))]
pub use real::{Sleeper, Waiting, interrupt, sleep};

/// How a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// Woken, or the word differed, or spuriously: look at your condition again.
    Woken,
    /// The deadline came.
    TimedOut,
    /// A signal handler ran here, [`interrupt`] was called, or it is time to look at signals.
    Interrupted,
    /// Nobody can wake this thread, as far as it looks: ask [`crate::deadlock::explain`].
    Stuck,
}

/// How a blocking operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wait {
    /// It got what it waited for.
    Done,
    /// The deadline came first.
    TimedOut,
    /// As [`Slept::Interrupted`]: call again to go on waiting.
    Interrupted,
    /// As [`Slept::Stuck`]: call again to go on waiting.
    Stuck,
}

impl Slept {
    /// The end of an operation whose sleep ended like this; `None`: look again.
    pub const fn end(self) -> Option<Wait> {
        match self {
            Self::Woken => None,
            Self::TimedOut => Some(Wait::TimedOut),
            Self::Interrupted => Some(Wait::Interrupted),
            Self::Stuck => Some(Wait::Stuck),
        }
    }
}

#[cfg(not(loom))]
mod real {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::marker::PhantomData;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use manyhands_sys::atomic::{AtomicBool, Ordering};
    use manyhands_sys::clock::{Deadline, monotonic_ns};
    use manyhands_sys::futex::{AnyWaker, Futex, Scope, WaitEnd};
    use manyhands_sys::per_process::PerProcess;
    use manyhands_sys::thread_id;

    use super::Slept;
    use crate::deadlock::{self, Resource, Site};

    /// A wait that lasts longer than this is worth a look.
    pub const PATIENCE: Duration = Duration::from_millis(100);

    /// How long a thread that must look at signals sleeps at a time.
    const SLICE: Duration = Duration::from_millis(50);

    /// So many looks make a likely deadlock worth a word.
    const SUSPICIOUS_LOOKS: u32 = 3;

    /// Time between two looks of a waiter, times the number of waiters, grows up to this.
    const MAX_LOOK: Duration = Duration::from_secs(4);

    /// One blocking operation, from its first sleep to its end.
    pub struct Waiting<'a> {
        resource: &'a dyn Resource,
        site: Site,
        is_sliced: bool,
        has_begun: bool,
        look_at_ns: u64,
        n_looks: u32,
        entry: Option<deadlock::Entry<'a>>,
        /// Belongs to the thread that waits.
        not_send: PhantomData<*const ()>,
    }

    impl<'a> Waiting<'a> {
        /// The calling thread is about to wait for `resource`, at `site` of its program.
        pub const fn new(resource: &'a dyn Resource, site: Site) -> Self {
            Self {
                resource,
                site,
                is_sliced: false,
                has_begun: false,
                look_at_ns: 0,
                n_looks: 0,
                entry: None,
                not_send: PhantomData,
            }
        }

        /// The wait comes up every few dozen milliseconds with [`Slept::Interrupted`], so that a
        /// signal which arrived just before the sleep is not missed.
        pub const fn sliced(mut self, is_sliced: bool) -> Self {
            self.is_sliced = is_sliced;
            self
        }

        /// Whether this is the first time that it is asked.
        pub const fn begins(&mut self) -> bool {
            !std::mem::replace(&mut self.has_begun, true)
        }

        /// Makes the first look a look at once: the caller has reason to suspect.
        pub const fn look_now(&mut self) {
            self.look_at_ns = 1;
        }

        /// The report on this wait if it is part of a deadlock now.
        pub fn explain(&self) -> Option<deadlock::Deadlock> {
            deadlock::explain(self.entry.as_ref()?)
        }

        /// The same for a wait that goes on whatever it is told.
        pub fn witness(&self) -> Option<deadlock::Deadlock> {
            deadlock::witness(self.entry.as_ref()?)
        }

        /// The deadlock was reported: this wait looks no more.
        pub const fn be_silent(&mut self) {
            self.look_at_ns = u64::MAX;
        }

        /// When to come up next.
        fn wake_at(&mut self, deadline: Option<Deadline>) -> Option<Deadline> {
            if deadline.is_none() && self.look_at_ns == 0 {
                self.look_at_ns = if deadlock::mode() == deadlock::Mode::Off {
                    u64::MAX
                } else {
                    Deadline::after(PATIENCE).as_ns()
                };
            }
            let look = (deadline.is_none() && self.look_at_ns != u64::MAX)
                .then(|| Deadline::at_ns(self.look_at_ns));
            let slice = self.is_sliced.then(|| Deadline::after(SLICE));
            [deadline, look, slice].into_iter().flatten().min()
        }

        /// Whether nobody can end this wait, if it is time to look.
        fn look(&mut self, is_asleep: impl Fn() -> bool) -> bool {
            if monotonic_ns() < self.look_at_ns {
                return false;
            }
            let (resource, site) = (self.resource, self.site);
            let entry = self.entry.get_or_insert_with(|| deadlock::enter(resource, site));
            let is_stuck =
                deadlock::is_stuck(entry, self.n_looks >= SUSPICIOUS_LOOKS) && is_asleep();
            let grown = (PATIENCE / 2).saturating_mul(1 << self.n_looks.min(10));
            let pause = grown.saturating_mul(deadlock::n_waiting().max(1)).min(MAX_LOOK);
            self.n_looks += 1;
            self.look_at_ns = Deadline::after(out_of_step(pause, self.n_looks)).as_ns();
            is_stuck
        }
    }

    /// Half of `pause` to all of it, another part in each thread and at each look.
    ///
    /// Waits that began together would otherwise look together, time and again, and each would see
    /// the other awake: "everyone is asleep" would not be found for many seconds.
    fn out_of_step(pause: Duration, n_looks: u32) -> Duration {
        let mixed = (thread_id::me() ^ n_looks.rotate_right(8)).wrapping_mul(0x9E37_79B1);
        pause / 2 + pause / 512 * (mixed >> 24)
    }

    /// Sleeps while `word` is `expected`.
    pub fn sleep<S: Scope>(
        word: &Futex<S>,
        expected: u32,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
    ) -> Slept {
        // Who does not want to wait pays for no system call.
        if deadline.is_some_and(Deadline::is_now) {
            return Slept::TimedOut;
        }
        let _asleep = Asleep::begin(word);
        if interrupted() {
            return Slept::Interrupted;
        }
        let is_asleep = || word.load(Ordering::Acquire) == expected;
        loop {
            let end = word.wait(expected, waiting.wake_at(deadline));
            match end {
                // Before the interrupt is looked at: a wake-up that this thread took must not be
                // lost. An interrupt stays, and ends the next sleep.
                WaitEnd::Woken => return Slept::Woken,
                _ if interrupted() => return Slept::Interrupted,
                WaitEnd::Interrupted => return Slept::Interrupted,
                WaitEnd::TimedOut if deadline.is_some_and(Deadline::has_passed) => {
                    return Slept::TimedOut;
                }
                // Woken as well: whoever changed the word may not have come to the waking.
                WaitEnd::TimedOut if !is_asleep() => return Slept::Woken,
                WaitEnd::TimedOut => {}
            }
            if deadline.is_none() && waiting.look(is_asleep) {
                return Slept::Stuck;
            }
            if waiting.is_sliced {
                return Slept::Interrupted;
            }
        }
    }

    /// A thread that can be interrupted, from now until the value is dropped.
    pub struct Sleeper {
        thread: u32,
        not_send: PhantomData<*const ()>,
    }

    #[derive(Default)]
    struct SleepSlot {
        /// The word the thread sleeps on, or is about to.
        word: Mutex<Option<AnyWaker>>,
        interrupted: AtomicBool,
    }

    type SleepSlots = Mutex<HashMap<u32, Arc<SleepSlot>>>;

    static SLEEP_SLOTS: PerProcess<SleepSlots> = PerProcess::new();

    thread_local! {
        static SLEEP_SLOT: RefCell<Option<Arc<SleepSlot>>> = const { RefCell::new(None) };
    }

    impl Sleeper {
        /// The calling thread can be interrupted.
        pub fn new() -> Self {
            let (thread, slot) = (thread_id::me(), Arc::new(SleepSlot::default()));
            sleep_slots().insert(thread, Arc::clone(&slot));
            SLEEP_SLOT.set(Some(slot));
            Self { thread, not_send: PhantomData }
        }
    }

    impl Default for Sleeper {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            sleep_slots().remove(&self.thread);
            // Dropped late in a thread's life it may be gone.
            let _ = SLEEP_SLOT.try_with(|slot| slot.replace(None));
        }
    }

    /// Makes the sleep of `thread`, now or its next one, end as interrupted; false if that thread
    /// is no [`Sleeper`].
    pub fn interrupt(thread: u32) -> bool {
        let Some(slot) = sleep_slots().get(&thread).cloned() else { return false };
        slot.interrupted.store(true, Ordering::SeqCst);
        // The thread may have looked just before and not have reached the kernel yet: a wake
        // finds nobody then. It is on its way there, so a few more wakes reach it.
        for _ in 0..100 {
            let word = *slot.word.lock().unwrap_or_else(PoisonError::into_inner);
            // None: it is awake and looks before its next sleep.
            let Some(waker) = word else { break };
            waker.wake_all();
            if !slot.interrupted.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        true
    }

    /// In a forked child: nobody sleeps here.
    pub(crate) fn forget_after_fork() {
        SLEEP_SLOTS.forget();
        // A thread that was in the middle of it keeps its own copy.
        let _ = SLEEP_SLOT.try_with(|slot| slot.try_borrow_mut().map(|mut slot| *slot = None));
    }

    fn sleep_slots() -> std::sync::MutexGuard<'static, HashMap<u32, Arc<SleepSlot>>> {
        SLEEP_SLOTS.get().lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interrupted() -> bool {
        with_sleep_slot(|slot| {
            slot.interrupted.load(Ordering::Relaxed)
                && slot.interrupted.swap(false, Ordering::SeqCst)
        })
        .unwrap_or(false)
    }

    /// `None`: the calling thread is no sleeper, or destroys its thread-local values.
    fn with_sleep_slot<R>(look: impl FnOnce(&SleepSlot) -> R) -> Option<R> {
        SLEEP_SLOT.try_with(|slot| slot.borrow().as_deref().map(look)).ok().flatten()
    }

    /// While it lives, whoever interrupts this thread finds the word it sleeps on.
    struct Asleep;

    impl Asleep {
        fn begin<S: Scope>(word: &Futex<S>) -> Self {
            Self::set(Some(word.waker().of_any_scope()));
            Self
        }

        fn set(word: Option<AnyWaker>) {
            with_sleep_slot(|slot| {
                *slot.word.lock().unwrap_or_else(PoisonError::into_inner) = word
            });
        }
    }

    impl Drop for Asleep {
        fn drop(&mut self) {
            Self::set(None);
        }
    }
}

/// Under loom a sleep is the word's own wait. What else may end one (a deadline, an interrupt, a
/// report) takes no wake-up with it, so it is modelled as leaving instead of going to sleep.
#[cfg(loom)]
pub struct Waiting<'a> {
    n_sleeps_left: u32,
    resource: std::marker::PhantomData<&'a ()>,
}

#[cfg(loom)]
impl Waiting<'_> {
    /// Whether anything is to be counted: not here.
    pub const fn begins(&mut self) -> bool {
        false
    }

    /// Gives up when it would sleep once more than `n_sleeps` times.
    pub const fn giving_up_after(n_sleeps: u32) -> Self {
        Self { n_sleeps_left: n_sleeps, resource: std::marker::PhantomData }
    }
}

#[cfg(loom)]
impl Default for Waiting<'_> {
    fn default() -> Self {
        Self::giving_up_after(u32::MAX)
    }
}

/// Sleeps while `word` is `expected`.
#[cfg(loom)]
pub fn sleep<S: manyhands_sys::futex::Scope>(
    word: &manyhands_sys::futex::Futex<S>,
    expected: u32,
    deadline: Option<manyhands_sys::clock::Deadline>,
    waiting: &mut Waiting<'_>,
) -> Slept {
    if waiting.n_sleeps_left == 0 {
        return Slept::TimedOut;
    }
    waiting.n_sleeps_left -= 1;
    word.wait(expected, deadline);
    Slept::Woken
}
