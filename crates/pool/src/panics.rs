//! Code and values of the program, run and dropped where a panic must not go any further: in a
//! thread of a pool or a scope, in the middle of ending a future.
//!
//! Guarantees:
//! - [`catch`] turns a panic of a task into an error with its message and its place;
//! - [`contain`] and [`discard`] let the panic hook report a panic of a callback or a destructor,
//!   and go on: whatever is dropped, the thread lives and the future ends with what it had;
//! - a panic's payload is a value of the program, too: its own destructor may panic.
//!
//! The place is only known to the panic hook, so the first use puts one in front of the hook
//! in force: it keeps quiet about panics inside [`catch`], which come back as errors, and passes
//! every other panic on.
//!
//! What it does not do: a destructor that panics while its thread unwinds already ends the process,
//! and so does one of a thread-local value. That is Rust's rule, and no library can catch it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::error::TaskError;

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A value of the program whose destructor may do what it likes: a panic in it is
/// [contained](contain).
#[derive(Debug)]
pub struct Contained<T>(Option<T>);

/// Runs `body`; a panic becomes [`TaskError::Panicked`].
pub fn catch<T>(body: impl FnOnce() -> T) -> Result<T, TaskError> {
    install_hook();
    unwind_to_here(true, body).map_err(|payload| {
        let message = message_of(payload.as_ref());
        let location = LOCATION.try_with(|location| location.take()).ok().flatten();
        discard(payload);
        TaskError::Panicked { message, location }
    })
}

/// Runs `body`; a panic is reported by the panic hook, as one that ends a thread is, and goes no
/// further. `None`: it panicked.
pub fn contain<T>(body: impl FnOnce() -> T) -> Option<T> {
    let payload = match unwind_to_here(false, body) {
        Ok(value) => return Some(value),
        Err(payload) => payload,
    };
    if let Err(payload) = unwind_to_here(false, || drop(payload)) {
        // The payload of a payload's panic: one that panics as well could go on for ever.
        std::mem::forget(payload);
    }
    None
}

/// Drops `value`; a panic of its destructor is [contained](contain).
pub fn discard<T>(value: T) {
    contain(|| drop(value));
}

impl<T> Contained<T> {
    /// Keeps `value`.
    pub const fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Nothing yet.
    pub const fn empty() -> Self {
        Self(None)
    }

    /// The value, with its destructor.
    pub fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            discard(value);
        }
    }
}

/// Runs `body`. `is_quiet`: a panic of it will be told by the caller.
fn unwind_to_here<T>(is_quiet: bool, body: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    let was_quiet = IS_CATCHING.replace(is_quiet);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    IS_CATCHING.set(was_quiet);
    outcome
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_CATCHING.get() {
                let place = info.location().map(ToString::to_string);
                // A thread that is about to end may have none any more: a panic here would abort.
                let _ = LOCATION.try_with(|location| location.replace(place));
            } else {
                next(info);
            }
        }));
    });
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a value that is not text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_back_with_message_and_location() {
        let error = catch(|| -> () { panic!("no {}", "rice") }).unwrap_err();
        let TaskError::Panicked { message, location } = error else { panic!("{error:?}") };
        assert_eq!(message, "no rice");
        assert!(location.unwrap().contains("panics.rs"));
    }

    /// Panics whenever it may.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }

    /// A panic whose payload panics with a payload that panics.
    struct BombInBomb;

    impl Drop for BombInBomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn a_payload_that_panics_is_an_error_like_any_other() {
        let error = catch(|| -> () { std::panic::panic_any(Bomb) }).unwrap_err();
        assert!(matches!(error, TaskError::Panicked { .. }));
        let error = catch(|| -> () { std::panic::panic_any(BombInBomb) }).unwrap_err();
        assert!(matches!(error, TaskError::Panicked { .. }));
    }

    #[test]
    fn a_value_that_panics_when_dropped_harms_nobody() {
        discard(Bomb);
        discard(BombInBomb);
        drop(Contained::new(Bomb));
        assert_eq!(contain(|| std::panic::panic_any(BombInBomb)), None::<()>);
        assert_eq!(contain(|| 1), Some(1));
        assert!(!std::thread::panicking());
    }

    #[test]
    fn a_destructor_that_panics_in_a_caught_body_is_not_mistaken_for_the_body() {
        let value = catch(|| {
            discard(Bomb);
            7
        });
        assert_eq!(value, Ok(7));
        let error = catch(|| -> () { panic!("the body") }).unwrap_err();
        let TaskError::Panicked { message, .. } = error else { panic!("{error:?}") };
        assert_eq!(message, "the body");
    }

    #[test]
    fn a_panic_inside_a_caught_body_that_catches_itself_is_told_apart() {
        let inner = catch(|| catch(|| -> () { panic!("inner") }));
        assert!(matches!(inner, Ok(Err(TaskError::Panicked { .. }))));
    }
}
