//! A panic inside a task, caught with its message and its location.
//!
//! The location is only known to the panic hook, so the first use puts one in front of the hook
//! in force: it keeps quiet about panics inside [`catch`], which come back as errors, and passes
//! every other panic on.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::error::TaskError;

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body`; a panic becomes [`TaskError::Panicked`].
pub fn catch<T>(body: impl FnOnce() -> T) -> Result<T, TaskError> {
    install_hook();
    let was_catching = IS_CATCHING.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    IS_CATCHING.set(was_catching);
    outcome.map_err(|payload| TaskError::Panicked {
        message: message_of(payload.as_ref()),
        location: LOCATION.take(),
    })
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_CATCHING.get() {
                LOCATION.replace(info.location().map(ToString::to_string));
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

    #[test]
    fn a_panic_inside_a_caught_body_that_catches_itself_is_told_apart() {
        let inner = catch(|| catch(|| -> () { panic!("inner") }));
        assert!(matches!(inner, Ok(Err(TaskError::Panicked { .. }))));
    }
}
