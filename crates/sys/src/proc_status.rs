//! What `/proc` says of this program, or of the calling thread, field by field.

use std::fs;

/// The text of a `status` file.
pub(crate) struct ProcStatus {
    text: String,
}

impl ProcStatus {
    /// Of the program: its main thread, and what all its threads have in common.
    pub(crate) fn of_program() -> Option<Self> {
        Self::read("/proc/self/status")
    }

    /// Of the calling thread.
    pub(crate) fn of_this_thread() -> Option<Self> {
        Self::read("/proc/thread-self/status")
    }

    fn read(path: &str) -> Option<Self> {
        // The program's name, the first line, may be any bytes.
        let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
        Some(Self { text })
    }

    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values =
            self.text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.map(str::trim).next()
    }

    /// A set, of signals (bit n - 1 is signal n) or of capabilities (bit n is capability n).
    pub(crate) fn bits(&self, name: &str) -> u64 {
        self.field(name).and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0)
    }
}
