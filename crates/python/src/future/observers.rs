//! Who is told of a future's end: it keeps them, and tells each once.
//!
//! Waiters of the standard `wait` and `as_completed` are told before done-callbacks. A remote
//! future ends without the GIL: there the dispatcher tells them.

use std::sync::MutexGuard;

use manyhands_pool::completion::{Ending, Phase};
use pyo3::prelude::*;

use super::core::{FutureCore, Kind};
use crate::observer::Observer;

impl FutureCore {
    /// Tells sleepers and observers of an end of a manual or local future.
    ///
    /// # Errors
    /// An exception of a callback that is no `Exception` (KeyboardInterrupt, SystemExit).
    pub fn announce(slf: &Bound<'_, Self>, ending: Ending) -> PyResult<()> {
        let has_watchers = ending.has_watchers();
        slf.get().completion().announce(ending);
        if has_watchers { Self::run_observers(slf) } else { Ok(()) }
    }

    /// Runs the observers that have not been run: waiters first, as the standard does.
    ///
    /// # Errors
    /// As for [`announce`](Self::announce).
    pub fn run_observers(slf: &Bound<'_, Self>) -> PyResult<()> {
        let core = slf.get();
        let observers = std::mem::take(&mut *core.lock_observers());
        let (mut waiters, callbacks): (Vec<_>, Vec<_>) =
            observers.into_iter().partition(|observer| matches!(observer, Observer::Waiter(_)));
        if core.awaits_notice() {
            core.lock_observers().append(&mut waiters);
        }
        let mut outcome = Ok(());
        for observer in waiters.into_iter().chain(callbacks) {
            if let Err(error) = Self::tell(slf, observer) {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Tells one observer of the end.
    ///
    /// # Errors
    /// As for [`announce`](Self::announce).
    pub(super) fn tell(slf: &Bound<'_, Self>, observer: Observer) -> PyResult<()> {
        observer.run(slf.as_any(), || match slf.get().completion().phase() {
            Phase::Cancelled => "add_cancelled",
            _ if slf.get().has_error(slf.py()) => "add_exception",
            _ => "add_result",
        })
    }

    pub(super) fn observe(slf: &Bound<'_, Self>, observer: Observer) -> PyResult<Option<Observer>> {
        let core = slf.get();
        if matches!(core.kind(), Kind::Remote(_)) {
            crate::dispatcher::ensure_started(slf.py())?;
        }
        let mut observers = core.lock_observers();
        let is_early = matches!(observer, Observer::Waiter(_)) && core.awaits_notice();
        if !core.completion().mark_watched() && !is_early {
            return Ok(Some(observer));
        }
        let is_first = observers.is_empty();
        observers.push(observer);
        drop(observers);
        if is_first && let Kind::Remote(backend) = core.kind() {
            let future = slf.clone().unbind();
            // Ends elsewhere, without the GIL: the dispatcher runs the observers. The reference
            // keeps a future alive that only its callback waits for.
            backend.completion().watch(Box::new(move || {
                crate::dispatcher::post(Box::new(move |py| {
                    if let Err(error) = Self::run_observers(future.bind(py)) {
                        error.write_unraisable(py, Some(future.bind(py).as_any()));
                    }
                }));
            }));
        }
        Ok(None)
    }

    pub(super) fn lock_observers(&self) -> MutexGuard<'_, Vec<Observer>> {
        self.observers.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
