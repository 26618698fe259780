//! One wait for something that processes share: cut into slices, so that a death is noticed.
//!
//! A thread sleeps at most a tenth of a second at a time. What a kill took away, a wake-up or the
//! one who was to give it, is found at the end of a slice. A wait for a lock without a deadline
//! that has lasted that long is entered in its process's table of long waits (`waits.rs`), and
//! looks for a cycle from then on.
//!
//! It sleeps in [`sleep()`], as all waits: signals and interrupts end it.

use std::time::Duration;

use manyhands_sys::clock::{Deadline, monotonic_ns};
use manyhands_sys::futex::{Futex, Shared};
use manyhands_sys::thread_id;

use crate::deadlock::{self, Description, EndedBy, Mode, Resource, Site};
use crate::robust::Owner;
use crate::shared::cycle::{self, FamilyDeadlock};
use crate::shared::lock::SharedLock;
use crate::shared::waits::{Entered, Family, Notice};
use crate::sleep::{self, Slept, Wait, sleep};

/// The first sleep, and the longest.
const FIRST_SLICE: Duration = Duration::from_millis(10);
const LAST_SLICE: Duration = Duration::from_millis(80);

/// A wait that lasts longer than this is worth a look.
const PATIENCE: Duration = Duration::from_millis(100);

/// So many looks make a likely deadlock worth a word.
const SUSPICIOUS_LOOKS: u32 = 3;

/// One blocking operation, from its first sleep to its end.
pub struct Waiting<'a> {
    family: &'a dyn Family,
    deadline: Option<Deadline>,
    own: sleep::Waiting<'static>,
    began_ns: u64,
    slice: Duration,
    is_time: bool,
    is_hasty: bool,
    entered: Option<Entered<'a>>,
    n_looks: u32,
    found: Option<Found>,
    is_silent: bool,
    is_suspected: bool,
}

/// Why a wait came up as [`Stuck`](crate::sleep::Wait::Stuck).
pub enum Found {
    /// It lasts: the layers above are to [describe](Waiting::enter) it.
    LongWait,
    /// It is part of a deadlock, and the one to be told.
    Deadlock(FamilyDeadlock),
}

/// Waits of this kind are in no registry of one process.
struct OfFamily;

impl Resource for OfFamily {
    fn describe(&self) -> Description {
        Description { kind: "shared", name: None, id: 0 }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Anyone
    }
}

impl<'a> Waiting<'a> {
    /// The calling thread is about to wait until `deadline`. `is_sliced`: see
    /// [`sleep::Waiting::sliced`].
    pub fn new(family: &'a dyn Family, deadline: Option<Deadline>, is_sliced: bool) -> Self {
        Self {
            family,
            deadline,
            own: sleep::Waiting::new(&OfFamily, Site::Unknown).sliced(is_sliced),
            began_ns: 0,
            slice: FIRST_SLICE,
            is_time: false,
            is_hasty: false,
            entered: None,
            n_looks: 0,
            found: None,
            is_silent: false,
            is_suspected: false,
        }
    }

    /// The wait does without what heals it after a death: for tests in which nobody dies and a
    /// lost wake-up is to show.
    #[doc(hidden)]
    pub const fn without_slices(mut self) -> Self {
        self.slice = Duration::from_secs(1 << 20);
        self
    }

    /// Makes the first looks looks at once: the caller has reason to suspect.
    pub const fn look_now(&mut self) {
        self.is_time = true;
        self.is_hasty = true;
    }

    /// Who is alive.
    pub fn family(&self) -> &'a dyn Family {
        self.family
    }

    /// The calling thread.
    pub fn me(&self) -> Owner {
        Owner { party: self.family.me(), thread: thread_id::me() }
    }

    /// Whether this is the first time that it is asked. Starts the clock.
    pub fn begins(&mut self) -> bool {
        let begins = self.own.begins();
        if begins {
            self.began_ns = monotonic_ns();
        }
        begins
    }

    /// How long it has lasted.
    pub fn lasted_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.began_ns)
    }

    /// Sleeps while the word is `expected`, at most to the end of a slice: then
    /// [`is_time_to_look`](Self::is_time_to_look), and the caller looks at its word again.
    pub fn sleep(&mut self, word: &Futex<Shared>, expected: u32) -> Slept {
        self.begins();
        if self.deadline.is_some_and(Deadline::is_now) {
            return Slept::TimedOut;
        }
        let end = Deadline::after(self.slice);
        let until = self.deadline.map_or(end, |deadline| deadline.min(end));
        match sleep(word, expected, Some(until), &mut self.own) {
            Slept::TimedOut if self.deadline.is_some_and(Deadline::has_passed) => Slept::TimedOut,
            Slept::TimedOut => {
                self.is_time = true;
                self.slice = (self.slice * 2).min(LAST_SLICE);
                Slept::Woken
            }
            // A thread that looks at signals comes up before its longest slices end.
            Slept::Interrupted => {
                self.is_time = true;
                if let Some(entered) = &self.entered {
                    entered.hide();
                }
                Slept::Interrupted
            }
            other => other,
        }
    }

    /// Calls `step`, a wait of its own with a deadline, slice by slice until it is done.
    pub fn in_slices(
        &mut self,
        mut step: impl FnMut(Option<Deadline>, &mut sleep::Waiting<'_>) -> Wait,
    ) -> Wait {
        if self.deadline.is_some_and(Deadline::is_now) {
            return step(self.deadline, &mut self.own);
        }
        loop {
            let end = Deadline::after(self.slice);
            let until = self.deadline.map_or(end, |deadline| deadline.min(end));
            match step(Some(until), &mut self.own) {
                Wait::TimedOut if self.deadline.is_none_or(|deadline| !deadline.has_passed()) => {
                    self.slice = (self.slice * 2).min(LAST_SLICE);
                }
                end => return end,
            }
        }
    }

    /// Whether a slice has ended since it was asked last.
    pub fn is_time_to_look(&mut self) -> bool {
        std::mem::replace(&mut self.is_time, false)
    }

    /// What a wait that came up as stuck has found.
    pub fn take_found(&mut self) -> Option<Found> {
        self.found.take()
    }

    /// The deadlock was reported: this wait looks no more.
    pub const fn be_silent(&mut self) {
        self.is_silent = true;
    }

    /// Enters the wait for `lock` in the table of long waits, with what its report will say.
    pub fn enter(&mut self, lock: &SharedLock, notice: &Notice) {
        let lock_at = self.family.offset_of(lock);
        self.entered = self.family.my_board().and_then(|board| board.enter(lock_at, notice));
        // A full table: this wait is not seen, and sees nothing.
        self.is_silent |= self.entered.is_none();
        self.is_time |= self.is_hasty;
    }

    /// Whether the layers above have something to do for this wait for `lock`.
    pub(super) fn look(&mut self, lock: &SharedLock) -> bool {
        if self.deadline.is_some() || self.is_silent || deadlock::mode() == Mode::Off {
            return false;
        }
        let Some(entered) = &self.entered else {
            let is_long = self.is_hasty || u128::from(self.lasted_ns()) >= PATIENCE.as_nanos();
            if is_long {
                self.found = Some(Found::LongWait);
            }
            return is_long;
        };
        entered.show();
        self.n_looks += 1;
        let suspects = self.n_looks >= SUSPICIOUS_LOOKS && !self.is_suspected;
        let me = Owner { party: self.family.me(), thread: thread_id::me() };
        let Some(found) = cycle::find(self.family, me, lock, suspects) else { return false };
        self.is_suspected |= !found.is_sure;
        self.found = Some(Found::Deadlock(found));
        true
    }
}
