//! Waiting at a shared queue, for Rust programs: for a message, for room, for the end of work.
//!
//! Another process may always end such a wait, so none is ever said to be a deadlock.

use std::panic::Location;
use std::time::Duration;

use manyhands_shm::message::{Message, Taken};
use manyhands_sync::blocking::block;
use manyhands_sync::deadlock::{Description, EndedBy, Resource, Site};
use manyhands_sync::sleep::Waiting;
use manyhands_sync::spin::{FOR_AN_ANSWER, soon};
use manyhands_sys::clock::Deadline;

use super::SharedEnlisted;
use super::queue::{NotGot, NotPut, SharedQueue};

impl SharedQueue {
    /// Puts the message, waiting for room as long as it takes.
    ///
    /// # Errors
    /// [`NotPut`], never for want of room.
    #[track_caller]
    pub fn put<'a>(&self, message: Message<'a>) -> Result<(), NotPut<'a>> {
        self.put_by(message, None)
    }

    /// Gets a message, waiting for it as long as it takes.
    ///
    /// # Errors
    /// [`NotGot`], never [`NotGot::Empty`].
    #[track_caller]
    pub fn get(&self) -> Result<Taken, NotGot> {
        self.get_by(None)
    }

    /// Puts the message, waiting for room until `deadline`.
    ///
    /// # Errors
    /// [`NotPut`], with the message.
    #[track_caller]
    pub fn put_by<'a>(
        &self,
        message: Message<'a>,
        deadline: Option<Deadline>,
    ) -> Result<(), NotPut<'a>> {
        let mut held = Some(message);
        let mut refused = None;
        let enlist = || self.enlist_putter();
        self.until(deadline, enlist, || {
            let Some(message) = held.take() else { return true };
            match self.try_put(message) {
                Ok(()) => true,
                Err(NotPut::Full(message)) => {
                    held = Some(message);
                    false
                }
                Err(other) => {
                    refused = Some(other);
                    true
                }
            }
        });
        match (refused, held) {
            (Some(refused), _) => Err(refused),
            (None, Some(message)) => Err(NotPut::Full(message)),
            (None, None) => Ok(()),
        }
    }

    /// Gets a message, waiting for it until `deadline`.
    ///
    /// # Errors
    /// [`NotGot`].
    #[track_caller]
    pub fn get_by(&self, deadline: Option<Deadline>) -> Result<Taken, NotGot> {
        let mut end = Err(NotGot::Empty);
        let enlist = || self.enlist_getter();
        self.until(deadline, enlist, || {
            end = self.try_get();
            !matches!(end, Err(NotGot::Empty))
        });
        end
    }

    /// Waits for a message until `deadline`, then gets up to `n_max` of those there are.
    ///
    /// # Errors
    /// [`NotGot`].
    #[track_caller]
    pub fn get_many(&self, n_max: usize, deadline: Option<Deadline>) -> Result<Vec<Taken>, NotGot> {
        let mut taken = Vec::new();
        let get_now = |n_max, taken: &mut Vec<_>| {
            self.try_get_many(n_max, taken).map_err(NotGot::OutOfMemory)
        };
        if n_max > 0 && get_now(n_max, &mut taken)? == 0 {
            taken.push(self.get_by(deadline)?);
            // One is enough: what is wrong with the next one is for the next call.
            let _ = get_now(n_max - 1, &mut taken);
        }
        Ok(taken)
    }

    /// Puts the message, waiting for room at most `timeout`.
    ///
    /// # Errors
    /// [`NotPut`], with the message.
    #[track_caller]
    pub fn put_for<'a>(&self, message: Message<'a>, timeout: Duration) -> Result<(), NotPut<'a>> {
        self.put_by(message, Some(Deadline::after(timeout)))
    }

    /// Gets a message, waiting for it at most `timeout`.
    ///
    /// # Errors
    /// As [`Self::get_by`].
    #[track_caller]
    pub fn get_for(&self, timeout: Duration) -> Result<Taken, NotGot> {
        self.get_by(Some(Deadline::after(timeout)))
    }

    /// Waits until every message that was put is done, until `deadline`; false if it came first.
    #[track_caller]
    pub fn join_by(&self, deadline: Option<Deadline>) -> bool {
        self.until(deadline, || self.enlist_joiner(), || self.n_unfinished() == 0)
    }

    /// Waits until every message that was put is done.
    #[track_caller]
    pub fn join(&self) {
        self.join_by(None);
    }

    /// Tries until `attempt` succeeds, asleep in the line of `enlist` in between; false if
    /// `deadline` came first.
    #[track_caller]
    fn until<'line>(
        &self,
        deadline: Option<Deadline>,
        enlist: impl Fn() -> SharedEnlisted<'line>,
        mut attempt: impl FnMut() -> bool,
    ) -> bool {
        if attempt() || soon(FOR_AN_ANSWER, || attempt().then_some(())).is_some() {
            return true;
        }
        let mut waiting = Waiting::new(self, Site::Rust(Location::caller()));
        loop {
            let enlisted = enlist();
            if attempt() {
                enlisted.leave();
                return true;
            }
            let is_in_time = block(&mut waiting, deadline, |deadline, waiting| {
                enlisted.sleep(deadline, waiting)
            });
            enlisted.leave();
            if attempt() {
                return true;
            }
            if !is_in_time {
                return false;
            }
        }
    }
}

impl Resource for SharedQueue {
    fn describe(&self) -> Description {
        let id = self.object().offset() as usize;
        Description { kind: "multiprocessing.Queue", name: None, id }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::OtherProcess
    }
}
