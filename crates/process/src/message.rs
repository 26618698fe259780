//! What root, template and children say to each other: one packet a message.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use manyhands_sys::pid::ExitStatus;
use manyhands_sys::settings::Settings;
use manyhands_sys::socket::{Message, MessageSocket};
use serde::{Deserialize, Serialize};

use crate::state::ProgramState;

/// Root to template, or root to a freshly started program: become this child.
#[derive(Debug)]
pub struct Launch {
    /// The child's id, as the root knows it.
    pub id: u64,
    /// What the child has to know, opaque here.
    pub note: Vec<u8>,
    /// Descriptors for the child, in the order the root sent them.
    pub fds: Vec<OwnedFd>,
    /// What the child is to be like.
    pub state: ProgramState,
}

#[derive(Serialize, Deserialize)]
struct LaunchHeader {
    id: u64,
    note: Vec<u8>,
    settings: Vec<u64>,
    /// Whether the first descriptor is the working directory.
    has_directory: bool,
}

/// Template to root.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The child runs; its pidfd comes along.
    Started { id: u64, pid: u32 },
    /// The child could not be forked.
    Failed { id: u64, why: String },
    /// The child ended: exit code, or signal.
    Exited { id: u64, code: Option<i32>, signal: Option<i32> },
}

pub(crate) fn send_launch(
    socket: &MessageSocket,
    id: u64,
    note: &[u8],
    fds: &[BorrowedFd<'_>],
    state: &ProgramState,
) -> io::Result<()> {
    let directory = state.directory();
    let header = LaunchHeader {
        id,
        note: note.to_vec(),
        settings: state.settings().encode(),
        has_directory: directory.is_some(),
    };
    let all: Vec<_> = directory.into_iter().chain(fds.iter().copied()).collect();
    socket.send(&encode(&header), &all)
}

/// Waits for the one message a freshly started program gets. `None`: the root is gone.
pub fn receive_launch(socket: &MessageSocket) -> io::Result<Option<Launch>> {
    let Some(message) = socket.receive()? else { return Ok(None) };
    decode_launch(message).map(Some)
}

pub(crate) fn decode_launch(message: Message) -> io::Result<Launch> {
    let header: LaunchHeader = decode(&message.bytes)?;
    let mut fds = message.fds;
    let has_directory = header.has_directory && !fds.is_empty();
    let directory = has_directory.then(|| fds.remove(0));
    let settings = Settings::decode(&header.settings).ok_or(io::ErrorKind::InvalidData)?;
    let state = ProgramState::from_parts(settings, directory);
    Ok(Launch { id: header.id, note: header.note, fds, state })
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain messages always encode")
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl Report {
    pub(crate) fn exited(id: u64, status: ExitStatus) -> Self {
        let (code, signal) = match status {
            ExitStatus::Exited(code) => (Some(code), None),
            ExitStatus::Signaled(signal) => (None, Some(signal)),
            ExitStatus::Unknown => (None, None),
        };
        Self::Exited { id, code, signal }
    }

    pub(crate) fn status(code: Option<i32>, signal: Option<i32>) -> ExitStatus {
        match (code, signal) {
            (Some(code), _) => ExitStatus::Exited(code),
            (_, Some(signal)) => ExitStatus::Signaled(signal),
            _ => ExitStatus::Unknown,
        }
    }
}
