//! Queues of values between processes.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use manyhands_queue::shared::{NotGot, NotPut, SharedQueue as Core};
use manyhands_shm::Carried;
use manyhands_shm::message::{Body, Message};
use manyhands_sys::clock::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::errors::{undecodable, unencodable};
use super::{ReceiveError, SendError, ShareError, heap, travel};

/// A queue that any process of the family puts values into and gets them from, first in first out.
///
/// Clones are the same queue, in this process or, sent to it, in another one. A process that is
/// killed takes along at most the value that it was just putting or getting.
///
/// ```
/// use manyhands::{Process, SharedQueue};
///
/// #[manyhands::task]
/// fn cook(orders: SharedQueue<u32>, dishes: SharedQueue<String>) {
///     while let Ok(table) = orders.get() {
///         dishes.put(&format!("rice for table {table}")).expect("the queue is open");
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let (orders, dishes) = (SharedQueue::bounded(10)?, SharedQueue::unbounded()?);
/// let process = Process::spawn(cook::task, (orders.clone(), dishes.clone()))?;
/// orders.put(&7)?;
/// assert_eq!(dishes.get()?, "rice for table 7");
/// orders.shutdown();
/// process.join()?;
/// # Ok(())
/// # }
/// ```
pub struct SharedQueue<T> {
    core: Core,
    values: PhantomData<fn(T) -> T>,
}

impl<T> SharedQueue<T> {
    /// A queue of at most `maxsize` values; 0: of any number.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn bounded(maxsize: u64) -> Result<Self, ShareError> {
        Ok(Self::of(Core::create(&heap()?, maxsize)?))
    }

    /// A queue of any number of values.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn unbounded() -> Result<Self, ShareError> {
        Self::bounded(0)
    }

    fn of(core: Core) -> Self {
        Self { core, values: PhantomData }
    }

    /// How many values are in it now.
    pub fn len(&self) -> u64 {
        self.core.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.core.is_empty()
    }

    /// Takes no more values. What is in it can still be got; then, and in waits, there is
    /// [`ReceiveError::Closed`].
    pub fn shutdown(&self) {
        self.core.shutdown(false);
    }
}

impl<T: Serialize> SharedQueue<T> {
    /// Puts a value; waits while the queue is full.
    ///
    /// # Errors
    /// [`SendError`].
    #[track_caller]
    pub fn put(&self, value: &T) -> Result<(), SendError> {
        self.put_by(value, None)
    }

    /// As [`SharedQueue::put`], for at most `timeout`.
    ///
    /// # Errors
    /// [`SendError`].
    #[track_caller]
    pub fn put_timeout(&self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.put_by(value, Some(Deadline::after(timeout)))
    }

    #[track_caller]
    fn put_by(&self, value: &T, deadline: Option<Deadline>) -> Result<(), SendError> {
        let (bytes, carried) = Carried::collect(|| postcard::to_stdvec(value));
        let bytes = bytes.map_err(|error| SendError::Unencodable(unencodable::<T>(error)))?;
        let message = Message { body: Body::Inline(&bytes), carried };
        self.core.put_by(message, deadline).map_err(|refused| match refused {
            NotPut::Full(_) | NotPut::Busy(_) => SendError::TimedOut,
            NotPut::ShutDown(_) => SendError::Closed,
            NotPut::OutOfMemory(error) => SendError::OutOfMemory(error),
        })
    }
}

impl<T: DeserializeOwned> SharedQueue<T> {
    /// Gets the value that came first; waits for one.
    ///
    /// # Errors
    /// [`ReceiveError`].
    #[track_caller]
    pub fn get(&self) -> Result<T, ReceiveError> {
        self.get_by(None)
    }

    /// As [`SharedQueue::get`], for at most `timeout`.
    ///
    /// # Errors
    /// [`ReceiveError`].
    #[track_caller]
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ReceiveError> {
        self.get_by(Some(Deadline::after(timeout)))
    }

    #[track_caller]
    fn get_by(&self, deadline: Option<Deadline>) -> Result<T, ReceiveError> {
        let taken = self.core.get_by(deadline).map_err(|refused| match refused {
            NotGot::Empty => ReceiveError::TimedOut,
            NotGot::ShutDown => ReceiveError::Closed,
            NotGot::OutOfMemory(error) => ReceiveError::OutOfMemory(error),
        })?;
        let value = travel::from_bytes(&taken.bytes)
            .map_err(|error| ReceiveError::Undecodable(undecodable::<T>(error)));
        // What was named in it has been opened by now.
        drop(taken.carried);
        value
    }
}

impl<T> Clone for SharedQueue<T> {
    fn clone(&self) -> Self {
        Self::of(self.core.clone())
    }
}

impl<T> Serialize for SharedQueue<T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.core.object().travel(), serializer)
    }
}

impl<'de, T> Deserialize<'de> for SharedQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Core::open).map(Self::of)
    }
}

impl<T> fmt::Debug for SharedQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedQueue").field("len", &self.len()).finish_non_exhaustive()
    }
}
