//! What `/proc` says of this program, or of the calling thread, field by field.

use std::fs;
use std::io;

use rustix::io::Errno;

/// The text of a `status` file.
pub(crate) struct ProcStatus {
    text: String,
}

impl ProcStatus {
    /// Of the program: its main thread, and what all its threads have in common.
    ///
    /// # Errors
    /// As [`read`], here and below.
    pub(crate) fn of_program() -> io::Result<Option<Self>> {
        Self::read("/proc/self/status")
    }

    /// Of the calling thread.
    pub(crate) fn of_this_thread() -> io::Result<Option<Self>> {
        Self::read("/proc/thread-self/status")
    }

    fn read(path: &str) -> io::Result<Option<Self>> {
        Ok(read(path)?.map(|text| Self { text }))
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

/// The text of a file of `/proc`, in which names may be any bytes. `None`: there is no such file,
/// or it is kept from us, now and later.
///
/// # Errors
/// If there is no descriptor or memory left to read it with: later there may be.
pub(crate) fn read(path: &str) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Err(error),
            _ => Ok(None),
        },
    }
}
