//! Pipes of values between processes.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use manyhands_queue::pipe::{End, NoMessage, NotSent};
use manyhands_shm::Carried;
use manyhands_sys::clock::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::errors::{undecodable, unencodable};
use super::{ReceiveError, SendError, ShareError, heap, travel};

/// One end of a pipe: sends values of type `S`, receives values of type `R`.
///
/// Clones are the same end, in this process or, sent to it, in another one. When nobody has the
/// other end any more, [`receive`](Self::receive) gives what was sent and then
/// [`ReceiveError::Closed`]; that a process which had it was killed is enough.
///
/// ```
/// use manyhands::{Pipe, Process};
///
/// #[manyhands::task]
/// fn square_all(numbers: Pipe<u64, u64>) {
///     while let Ok(n) = numbers.receive() {
///         numbers.send(&(n * n)).expect("somebody listens");
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let (here, there) = Pipe::pair()?;
/// let process = Process::spawn(square_all::task, there)?;
/// here.send(&9)?;
/// assert_eq!(here.receive()?, 81);
/// drop(here);
/// process.join()?;
/// # Ok(())
/// # }
/// ```
pub struct Pipe<S, R = S> {
    end: End,
    values: PhantomData<fn(S) -> R>,
}

impl<S, R> Pipe<S, R> {
    /// Two ends, each of which sends what the other one receives.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn pair() -> Result<(Self, Pipe<R, S>), ShareError> {
        let (first, second) = End::pair(&heap()?, true)?;
        Ok((Self::of(first), Pipe::of(second)))
    }

    fn of(end: End) -> Self {
        Self { end, values: PhantomData }
    }
}

impl<R> Pipe<(), R> {
    /// A receiving and a sending end.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn one_way() -> Result<(Self, Pipe<R, ()>), ShareError> {
        let (receiver, sender) = End::pair(&heap()?, false)?;
        Ok((Self::of(receiver), Pipe::of(sender)))
    }
}

impl<S: Serialize, R> Pipe<S, R> {
    /// Sends a value; waits while the pipe is full.
    ///
    /// # Errors
    /// [`SendError`].
    #[track_caller]
    pub fn send(&self, value: &S) -> Result<(), SendError> {
        self.send_until(value, None)
    }

    /// As [`Pipe::send`], for at most `timeout`.
    ///
    /// # Errors
    /// [`SendError`].
    #[track_caller]
    pub fn send_timeout(&self, value: &S, timeout: Duration) -> Result<(), SendError> {
        self.send_until(value, Some(Deadline::after(timeout)))
    }

    #[track_caller]
    fn send_until(&self, value: &S, deadline: Option<Deadline>) -> Result<(), SendError> {
        let (bytes, carried) = Carried::collect(|| postcard::to_stdvec(value));
        let bytes = bytes.map_err(|error| SendError::Unencodable(unencodable::<S>(error)))?;
        self.end.send_bytes(0, &bytes, carried, deadline).map_err(|error| match error {
            NotSent::TimedOut => SendError::TimedOut,
            NotSent::Broken => SendError::Closed,
        })
    }
}

impl<S, R: DeserializeOwned> Pipe<S, R> {
    /// Waits for a value.
    ///
    /// # Errors
    /// [`ReceiveError`].
    #[track_caller]
    pub fn receive(&self) -> Result<R, ReceiveError> {
        self.receive_until(None)
    }

    /// As [`Pipe::receive`], for at most `timeout`.
    ///
    /// # Errors
    /// [`ReceiveError`].
    #[track_caller]
    pub fn receive_timeout(&self, timeout: Duration) -> Result<R, ReceiveError> {
        self.receive_until(Some(Deadline::after(timeout)))
    }

    /// Whether [`Pipe::receive`] would return at once.
    pub fn is_ready(&self) -> bool {
        self.end.is_ready()
    }

    #[track_caller]
    fn receive_until(&self, deadline: Option<Deadline>) -> Result<R, ReceiveError> {
        let received = self.end.receive_bytes(deadline).map_err(|error| match error {
            NoMessage::TimedOut => ReceiveError::TimedOut,
            NoMessage::EndOfFile => ReceiveError::Closed,
        })?;
        let value = travel::from_bytes(&received.bytes)
            .map_err(|error| ReceiveError::Undecodable(undecodable::<R>(error)));
        // What was named in it has been opened by now.
        drop(received.carried);
        value
    }
}

impl<S, R> Clone for Pipe<S, R> {
    fn clone(&self) -> Self {
        Self::of(self.end.clone())
    }
}

impl<S, R> Serialize for Pipe<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.end.object().travel(), serializer)
    }
}

impl<'de, S, R> Deserialize<'de> for Pipe<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, End::open).map(Self::of)
    }
}

impl<S, R> fmt::Debug for Pipe<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("object", self.end.object()).finish_non_exhaustive()
    }
}
