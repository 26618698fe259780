//! What a child has to be like that is not forked from this program itself: told with its launch,
//! and taken over before any of the caller's code runs there.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use manyhands_sys::descriptor::{enter_directory, open_current_directory};
use manyhands_sys::settings::Settings;

/// The program at the moment of a launch.
#[derive(Debug)]
pub struct ProgramState {
    settings: Settings,
    /// Its working directory, also one that was removed. `None`: it cannot be opened.
    directory: Option<OwnedFd>,
}

impl ProgramState {
    /// As the program is now.
    ///
    /// # Errors
    /// If there is no descriptor left to look with.
    pub(crate) fn now() -> io::Result<Self> {
        let settings = Settings::of_program()?;
        Ok(Self { settings, directory: open_current_directory().ok() })
    }

    pub(crate) const fn from_parts(settings: Settings, directory: Option<OwnedFd>) -> Self {
        Self { settings, directory }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    /// In the child, first thing: makes the calling process like the program.
    ///
    /// # Errors
    /// If that is refused; the child must not go on then.
    pub fn enter(&mut self) -> io::Result<()> {
        let explained = |error: io::Error| {
            let text = format!(
                "this process could not take over the limits and settings of the program that \
                 started it: {error}"
            );
            io::Error::new(error.kind(), text)
        };
        if let Some(directory) = self.directory.take() {
            // One that may not be entered any more is as good as one that was removed.
            let _ = enter_directory(&directory);
        }
        self.settings.apply().map_err(explained)
    }

    /// In the child, just before code of the caller runs: hides its memory from other processes if
    /// the program does.
    pub fn seal(&self) {
        self.settings.apply_dumpable();
    }

    /// The numbers of the signals that the program ignores.
    pub fn ignored_signals(&self) -> Vec<i32> {
        self.settings.ignored_signals()
    }

    /// Whether the program's main thread blocks SIGINT.
    pub fn blocks_interrupt(&self) -> bool {
        self.settings.blocks_interrupt()
    }
}
