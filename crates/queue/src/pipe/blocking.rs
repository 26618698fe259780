//! Whole messages of bytes in one call: what Rust programs use.

use std::fmt;
use std::mem::MaybeUninit;
use std::panic::Location;

use manyhands_shm::Carried;
use manyhands_sync::blocking::block;
use manyhands_sync::deadlock::{Description, EndedBy, Resource, Site};
use manyhands_sync::sleep::Waiting;
use manyhands_sys::clock::Deadline;

use super::end::End;
use super::receiving::Found;
use super::sending::BrokenPipe;

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMessage {
    /// None came until the deadline.
    TimedOut,
    /// All was received, and nobody is left who could send.
    EndOfFile,
}

/// A message as received.
pub struct Received {
    /// What its sender said of it.
    pub tag: u16,
    /// Its body.
    pub bytes: Vec<u8>,
    /// The objects that its bytes name; to be dropped once they were opened.
    pub carried: Vec<Carried>,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// There was no room until the deadline. Nothing of it will arrive.
    TimedOut,
    /// Nobody has the other end any more, or this end only receives.
    Broken,
}

impl End {
    /// Sends a message, waiting for room until `deadline`.
    ///
    /// # Errors
    /// [`NotSent`].
    #[track_caller]
    pub fn send_bytes(
        &self,
        tag: u16,
        bytes: &[u8],
        carried: Carried,
        deadline: Option<Deadline>,
    ) -> Result<(), NotSent> {
        let parts = [bytes];
        let mut sending = self.send(tag, &parts, carried).ok_or(NotSent::Broken)?;
        let mut waiting = Waiting::new(self, Site::Rust(Location::caller()));
        block(&mut waiting, deadline, |deadline, waiting| sending.step(deadline, waiting));
        match sending.outcome() {
            Some(outcome) => outcome.map_err(|BrokenPipe| NotSent::Broken),
            None => Err(NotSent::TimedOut),
        }
    }

    /// Receives a message, waiting for its beginning until `deadline`.
    ///
    /// # Errors
    /// [`NoMessage`]; an end that only sends is at the end of file.
    #[track_caller]
    pub fn receive_bytes(&self, deadline: Option<Deadline>) -> Result<Received, NoMessage> {
        let mut waiting = Waiting::new(self, Site::Rust(Location::caller()));
        loop {
            let mut receiving = self.receive().ok_or(NoMessage::EndOfFile)?;
            block(&mut waiting, deadline, |deadline, waiting| receiving.begin(deadline, waiting));
            let (len, tag) = match receiving.found() {
                None => return Err(NoMessage::TimedOut),
                Some(Found::EndOfFile) => return Err(NoMessage::EndOfFile),
                Some(Found::Message { len, tag }) => (len as usize, tag),
            };
            let mut bytes = Vec::with_capacity(len);
            let room: &mut [MaybeUninit<u8>] = &mut bytes.spare_capacity_mut()[..len];
            block(&mut waiting, None, |deadline, waiting| receiving.fill(room, deadline, waiting));
            if receiving.is_whole() {
                // SAFETY: a whole message has filled the room made for it.
                unsafe { bytes.set_len(len) };
                return Ok(Received { tag, bytes, carried: receiving.take_carried() });
            }
        }
    }
}

impl Resource for End {
    fn describe(&self) -> Description {
        Description { kind: "connection", name: None, id: self.object().offset() as usize }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::OtherProcess
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("tag", &self.tag).field("len", &self.bytes.len()).finish()
    }
}
