//! A flag to wait for.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Private;

use crate::blocking::block;
use crate::deadlock::{Description, EndedBy, Resource, Site};
use crate::event::RawEvent;
use crate::sleep::Waiting;

/// A flag that threads wait for.
///
/// Who waits is released by [`set`](Event::set) even if the flag is cleared at once.
///
/// ```
/// let ready = manyhands_sync::Event::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| ready.set());
///     ready.wait();
/// });
/// assert!(ready.is_set());
/// ```
pub struct Event {
    raw: RawEvent<Private>,
    name: Option<&'static str>,
}

impl Event {
    /// Not set.
    pub const fn new() -> Self {
        Self { raw: RawEvent::new(), name: None }
    }

    /// The same with a name for reports.
    pub const fn named(name: &'static str) -> Self {
        Self { raw: RawEvent::new(), name: Some(name) }
    }

    /// Whether it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.raw.is_set()
    }

    /// Sets it, and releases all waiters.
    pub fn set(&self) {
        self.raw.set();
    }

    /// Clears it.
    pub fn clear(&self) {
        self.raw.clear();
    }

    /// Waits until it is set.
    ///
    /// # Panics
    /// With the report, if nobody is left to set it.
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// The same for at most `timeout`; false if it was over first.
    #[track_caller]
    pub fn wait_for(&self, timeout: Duration) -> bool {
        self.wait_until(Some(Deadline::after(timeout)))
    }

    #[inline]
    #[track_caller]
    fn wait_until(&self, deadline: Option<Deadline>) -> bool {
        let generation = self.raw.generation();
        if self.raw.is_set() {
            return true;
        }
        let mut waiting = Waiting::new(self, Site::Rust(Location::caller()));
        block(&mut waiting, deadline, |deadline, waiting| {
            self.raw.wait(generation, deadline, waiting)
        })
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl Resource for Event {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Event", name: self.name.map(ToOwned::to_owned), id }
    }

    fn ended_by(&self) -> EndedBy {
        if self.raw.is_set() { EndedBy::Nobody } else { EndedBy::Anyone }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}
