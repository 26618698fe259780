//! What can go wrong between processes. Each shows itself as a sentence.

use std::any::type_name;
use std::{fmt, io};

use manyhands_shm::OutOfMemory;

/// A shared object could not be made, or not be made larger.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShareError {
    /// The heap's limit is reached, or the machine lacks the memory.
    OutOfMemory(OutOfMemory),
    /// There is no shared memory to be had at all.
    Unavailable(io::Error),
    /// The value cannot be encoded, or not be decoded: why not.
    Codec(String),
}

/// A value was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody takes it: no process has the other end of the pipe, or it only sends; or the queue
    /// was shut down.
    Closed,
    /// There was no room in time. Nothing of the value will arrive.
    TimedOut,
    /// There is no memory for it.
    OutOfMemory(OutOfMemory),
    /// The value cannot be encoded: why not.
    Unencodable(String),
}

/// No value was received.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Everything was received, and none will come: no process has the other end of the pipe, or
    /// this end only sends; or the queue was shut down.
    Closed,
    /// None came in time.
    TimedOut,
    /// One came, and cannot be decoded: why not. It is lost.
    Undecodable(String),
    /// One came, and this process may map no more of the shared memory to get it. It stays where it
    /// is.
    OutOfMemory(OutOfMemory),
}

/// Why a `T` has no bytes.
pub(super) fn unencodable<T>(error: postcard::Error) -> String {
    format!("a {} cannot be encoded: {error}", type_name::<T>())
}

/// Why bytes are no `T`.
pub(super) fn undecodable<T>(why: String) -> String {
    format!("these bytes are no {}: {why}", type_name::<T>())
}

impl From<OutOfMemory> for ShareError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

impl From<io::Error> for ShareError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error)
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => error.fmt(f),
            Self::Unavailable(error) => write!(f, "shared memory could not be had: {error}"),
            Self::Codec(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("nobody will take the value: the other side is closed"),
            Self::TimedOut => f.write_str("there was no room for the value until the timeout"),
            Self::OutOfMemory(error) => error.fmt(f),
            Self::Unencodable(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("no value will come any more: the other side is closed"),
            Self::TimedOut => f.write_str("no value came until the timeout"),
            Self::Undecodable(why) => f.write_str(why),
            Self::OutOfMemory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ShareError {}
impl std::error::Error for SendError {}
impl std::error::Error for ReceiveError {}
