//! A flag that processes share, to wait for.

use std::fmt;
use std::time::Duration;

use manyhands_shm::object::Shape;
use manyhands_sync::event::RawEvent;
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Shared;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::located::Located;
use super::waiting::block;
use crate::ShareError;
use crate::shared::travel;

/// A flag that threads of any processes of the family wait for.
///
/// Who waits is released by [`set`](SharedEvent::set) even if the flag is cleared at once. Clones
/// are the same one, also in another process.
///
/// ```
/// use manyhands::{Process, SharedEvent};
///
/// #[manyhands::task]
/// fn call_guests(ready: SharedEvent) {
///     ready.set();
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let ready = SharedEvent::new()?;
/// let process = Process::spawn(call_guests::task, ready.clone())?;
/// ready.wait();
/// assert!(ready.is_set());
/// process.join()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedEvent {
    at: Located<RawEvent<Shared>>,
}

impl SharedEvent {
    /// Not set.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn new() -> Result<Self, ShareError> {
        Ok(Self { at: Located::create(Shape::NONE, size_of::<RawEvent<Shared>>() as u64)? })
    }

    /// Whether it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.at.state().is_set()
    }

    /// Sets it, and releases all waiters.
    pub fn set(&self) {
        self.at.state().set();
    }

    /// Clears it.
    pub fn clear(&self) {
        self.at.state().clear();
    }

    /// Waits until it is set.
    #[inline]
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// The same for at most `timeout`; false if it was over first.
    pub fn wait_for(&self, timeout: Duration) -> bool {
        self.wait_until(Some(Deadline::after(timeout)))
    }

    #[inline]
    fn wait_until(&self, deadline: Option<Deadline>) -> bool {
        let raw = self.at.state();
        let generation = raw.generation();
        if raw.is_set() {
            return true;
        }
        block(self.at.family(), deadline, |waiting| {
            waiting.in_slices(|deadline, waiting| raw.wait(generation, deadline, waiting))
        })
    }
}

impl Serialize for SharedEvent {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.at.travel(), serializer)
    }
}

impl<'de> Deserialize<'de> for SharedEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Located::open).map(|at| Self { at })
    }
}

impl fmt::Debug for SharedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedEvent").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}
