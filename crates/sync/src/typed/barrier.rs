//! A point at which a fixed number of threads wait for each other.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use manyhands_sys::clock::Deadline;

use crate::barrier::{Arrival, RawBarrier, Round};
use crate::blocking::{block, block_without_panic};
use crate::deadlock::{Description, EndedBy, Resource, Site};
use crate::sleep::Waiting;

/// A point at which a fixed number of threads wait for each other, again and again.
///
/// Unlike `std::sync::Barrier` it breaks when somebody gives up: everybody is told, instead of
/// waiting for one who does not come.
///
/// ```
/// let start = manyhands_sync::Barrier::new(2);
/// let n_leaders: u32 = std::thread::scope(|scope| {
///     let other = scope.spawn(|| start.wait());
///     [start.wait(), other.join().unwrap()].map(|led| u32::from(led == Ok(true))).iter().sum()
/// });
/// assert_eq!(n_leaders, 1);
/// ```
pub struct Barrier {
    raw: RawBarrier,
    name: Option<&'static str>,
}

/// Somebody gave up waiting at the barrier, or it was aborted or reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrier;

impl Barrier {
    /// For so many threads.
    ///
    /// # Panics
    /// If `parties` is 0.
    pub fn new(parties: u32) -> Self {
        Self::with_name(None, parties)
    }

    /// The same with a name for reports.
    ///
    /// # Panics
    /// If `parties` is 0.
    pub fn named(name: &'static str, parties: u32) -> Self {
        Self::with_name(Some(name), parties)
    }

    fn with_name(name: Option<&'static str>, parties: u32) -> Self {
        assert!(parties > 0, "a barrier is for at least one thread");
        Self { raw: RawBarrier::new(parties), name }
    }

    /// Waits until all are here. True for the one that came last.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    ///
    /// # Panics
    /// With the report, if nobody is left to come. The barrier is broken then.
    #[track_caller]
    pub fn wait(&self) -> Result<bool, BrokenBarrier> {
        self.wait_until(None)
    }

    /// The same for at most `timeout`, after which the barrier is broken for all.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    #[track_caller]
    pub fn wait_for(&self, timeout: Duration) -> Result<bool, BrokenBarrier> {
        self.wait_until(Some(Deadline::after(timeout)))
    }

    /// Breaks it: who waits and who comes is told.
    pub fn abort(&self) {
        self.raw.abort(None);
    }

    /// Starts afresh: who waits is told that the barrier is broken, who comes is not.
    pub fn reset(&self) {
        self.raw.reset();
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.raw.is_broken()
    }

    /// How many wait now.
    pub fn n_waiting(&self) -> u32 {
        self.raw.n_waiting()
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Deadline>) -> Result<bool, BrokenBarrier> {
        match self.raw.arrive() {
            Arrival::Broken => Err(BrokenBarrier),
            Arrival::Last(round) => self.raw.pass(&round).then_some(true).ok_or(BrokenBarrier),
            Arrival::Early(_, round) => {
                let mut waiting = Waiting::new(self, Site::Rust(Location::caller()));
                let give_up = GiveUp { barrier: self, round: &round };
                let ended = block(&mut waiting, deadline, |deadline, waiting| {
                    round.wait(deadline, waiting)
                });
                if ended {
                    std::mem::forget(give_up);
                } else {
                    drop(give_up);
                }
                // Who was too late to give up passes with the others.
                block_without_panic(&mut waiting, |waiting| round.wait(None, waiting));
                round.has_passed().then_some(false).ok_or(BrokenBarrier)
            }
        }
    }
}

/// Breaks the barrier, unless the round has ended: when a wait times out or panics.
struct GiveUp<'a> {
    barrier: &'a Barrier,
    round: &'a Arc<Round>,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        if self.barrier.raw.leave(self.round) {
            self.barrier.raw.abort(Some(self.round));
        }
    }
}

impl Resource for Barrier {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Barrier", name: self.name.map(ToOwned::to_owned), id }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Anyone
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.raw.parties())
            .field("is_broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken: somebody gave up waiting there; reset it to go on")
    }
}

impl Error for BrokenBarrier {}
