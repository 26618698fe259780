//! A point at which threads of any processes wait for each other.

use std::fmt;
use std::time::Duration;

use manyhands_shm::object::Shape;
use manyhands_sync::BrokenBarrier;
use manyhands_sync::shared::barrier::{Arrival, Refused, SharedBarrier as State};
use manyhands_sys::clock::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::located::Located;
use super::waiting::block;
use crate::ShareError;
use crate::shared::travel;

/// A point at which a fixed number of threads, in any processes of the family, wait for each other,
/// again and again.
///
/// It breaks when somebody gives up, or dies while it waits: everybody is told, instead of waiting
/// for one who does not come. Clones are the same one, also in another process.
///
/// ```
/// use manyhands::{Process, SharedBarrier};
///
/// #[manyhands::task]
/// fn lay_a_table(ready: SharedBarrier) -> bool {
///     ready.wait().expect("the others come")
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let ready = SharedBarrier::new(2)?;
/// let process = Process::spawn(lay_a_table::task, ready.clone())?;
/// let came_last = ready.wait()?;
/// assert_ne!(process.join()?, came_last);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedBarrier {
    at: Located<State>,
}

/// More would be a mistake.
const MAX_PARTIES: u32 = 1 << 20;

impl SharedBarrier {
    /// For so many threads.
    ///
    /// # Errors
    /// [`ShareError`].
    ///
    /// # Panics
    /// If `parties` is 0, or more than a million.
    pub fn new(parties: u32) -> Result<Self, ShareError> {
        let is_sensible = (1..=MAX_PARTIES).contains(&parties);
        assert!(is_sensible, "a barrier is for 1 to {MAX_PARTIES} threads, not for {parties}");
        let at: Located<State> = Located::create(Shape::NONE, State::len_for(parties))?;
        // SAFETY: the object was made as long as that takes.
        unsafe { at.state().set_up(parties) };
        Ok(Self { at })
    }

    /// Waits until all are here. True for the one that came last.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    pub fn wait(&self) -> Result<bool, BrokenBarrier> {
        self.wait_until(None)
    }

    /// The same for at most `timeout`, after which the barrier is broken for all.
    ///
    /// # Errors
    /// [`BrokenBarrier`].
    pub fn wait_for(&self, timeout: Duration) -> Result<bool, BrokenBarrier> {
        self.wait_until(Some(Deadline::after(timeout)))
    }

    /// Breaks it: who waits and who comes is told.
    pub fn abort(&self) {
        self.at.state().abort(self.at.family());
    }

    /// Starts afresh: who waits is told that the barrier is broken, who comes is not.
    pub fn reset(&self) {
        self.at.state().reset(self.at.family());
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.at.state().is_broken()
    }

    /// How many wait now.
    pub fn n_waiting(&self) -> u32 {
        self.at.state().n_waiting()
    }

    fn wait_until(&self, deadline: Option<Deadline>) -> Result<bool, BrokenBarrier> {
        let (state, family) = (self.at.state(), self.at.family());
        let arrival = self.arrive(deadline)?;
        if arrival.is_last {
            return state.open(arrival, family).map(|()| true).map_err(|_| BrokenBarrier);
        }
        if !self.sleep(arrival, deadline) {
            // Unless the round has ended meanwhile: who was too late to give up passes.
            state.give_up(arrival, family);
        }
        state.outcome(arrival).map(|()| false).map_err(|_| BrokenBarrier)
    }

    /// The calling thread has come, if need be after the round before has ended.
    fn arrive(&self, deadline: Option<Deadline>) -> Result<Arrival, BrokenBarrier> {
        loop {
            match self.at.state().arrive(self.at.family()) {
                Ok(arrival) => return Ok(arrival),
                Err(Refused::Broken) => return Err(BrokenBarrier),
                Err(Refused::Early(before)) => {
                    if !self.sleep(before, deadline) {
                        self.abort();
                        return Err(BrokenBarrier);
                    }
                }
            }
        }
    }

    /// Sleeps until the round of `arrival` has ended; false: the deadline came first.
    fn sleep(&self, arrival: Arrival, deadline: Option<Deadline>) -> bool {
        block(self.at.family(), deadline, |waiting| self.at.state().wait(arrival, waiting))
    }
}

impl Serialize for SharedBarrier {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.at.travel(), serializer)
    }
}

impl<'de> Deserialize<'de> for SharedBarrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Located::open).map(|at| Self { at })
    }
}

impl fmt::Debug for SharedBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBarrier")
            .field("parties", &self.at.state().n_parties())
            .field("is_broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}
