//! What happens when a deadlock is found: one setting per process.

use std::fmt;
use std::str::FromStr;

use manyhands_sys::atomic::{AtomicU32, Ordering};

/// What happens when a deadlock is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// A waiter is told, and raises or panics.
    Raise = 0,
    /// The report is printed; the wait goes on.
    Report = 1,
    /// Nobody looks.
    Off = 2,
}

/// No mode is called that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMode(String);

/// The environment variable with the mode a process starts with.
pub const MODE_VARIABLE: &str = "MANYHANDS_DEADLOCK";

/// Nobody has set a mode yet: the environment has.
const UNSET: u32 = 3;

static MODE: AtomicU32 = AtomicU32::new(UNSET);

/// The mode of this process: what was set last, else what [`MODE_VARIABLE`] names, else
/// [`Mode::Raise`].
pub fn mode() -> Mode {
    match MODE.load(Ordering::Relaxed) {
        0 => Mode::Raise,
        1 => Mode::Report,
        2 => Mode::Off,
        _ => first_asked(),
    }
}

#[cold]
fn first_asked() -> Mode {
    let word = std::env::var(MODE_VARIABLE);
    let mode = word.map_or(Ok(Mode::Raise), |word| word.parse()).unwrap_or_else(|error| {
        eprintln!("{MODE_VARIABLE}: {error}; deadlocks will raise");
        Mode::Raise
    });
    // Unless somebody has set one meanwhile.
    let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
    let _ = MODE.compare_exchange(UNSET, mode as u32, success, failure);
    mode
}

/// Sets the mode. Waits that are under way keep the one they began with.
pub fn set_mode(mode: Mode) {
    MODE.store(mode as u32, Ordering::Relaxed);
}

/// Sets the mode that [`MODE_VARIABLE`] names, if it is set.
///
/// # Errors
/// [`UnknownMode`] if it names none; then nothing has changed.
pub fn set_mode_from_environment() -> Result<(), UnknownMode> {
    if let Ok(word) = std::env::var(MODE_VARIABLE) {
        set_mode(word.parse()?);
    }
    Ok(())
}

impl Mode {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raise => "raise",
            Self::Report => "report",
            Self::Off => "off",
        }
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        let modes = [Self::Raise, Self::Report, Self::Off];
        let named = modes.into_iter().find(|mode| mode.word() == word);
        named.ok_or_else(|| UnknownMode(word.to_owned()))
    }
}

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the deadlock mode must be 'raise', 'report' or 'off', not {:?}", self.0)
    }
}

impl std::error::Error for UnknownMode {}
