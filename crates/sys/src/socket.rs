//! Message sockets between relatives that carry bytes and descriptors.
//!
//! Each message is one packet: it arrives whole or not at all, so a sender killed half-way leaves
//! the stream intact.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::descriptor::not_standard;
use crate::lifeline;

/// The most descriptors one message carries.
pub const MAX_FDS: usize = 241;

/// The longest message in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// One end of a pair of connected sockets that keep message boundaries.
#[derive(Debug)]
pub struct MessageSocket {
    fd: OwnedFd,
}

/// A message as received.
#[derive(Debug)]
pub struct Message {
    /// The bytes sent.
    pub bytes: Vec<u8>,
    /// The descriptors sent along, in order, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

impl MessageSocket {
    /// Two connected ends.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { fd: not_standard(a) }, Self { fd: not_standard(b) }))
    }

    /// The other end reads the end, after what was sent.
    pub fn end_sending(&self) {
        let _ = rustix::net::shutdown(&self.fd, rustix::net::Shutdown::Write);
    }

    /// Takes over an inherited descriptor.
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Whether this program was started with such a socket as its standard input.
    pub fn is_stdin() -> bool {
        let kind = rustix::net::sockopt::socket_type(std::io::stdin());
        matches!(kind, Ok(SocketType::SEQPACKET))
    }

    /// Takes the socket this program was started with as its standard input; from then on the
    /// standard input is empty (`/dev/null`). The [`lifeline`] that came along is taken too.
    ///
    /// # Safety
    /// Nobody else in this process owns or reads what [`crate::spawn`] has given to it.
    pub unsafe fn from_stdin() -> io::Result<Self> {
        // SAFETY: the caller's promise.
        let mut stdin = unsafe { OwnedFd::from_raw_fd(0) };
        // A close-on-exec copy above the standard descriptors.
        let fd = stdin.try_clone()?;
        let null = std::fs::File::open("/dev/null")?;
        rustix::io::dup2(&null, &mut stdin)?;
        // Descriptor 0 stays open, as /dev/null.
        std::mem::forget(stdin);
        // SAFETY: the caller's promise.
        unsafe { lifeline::take_over() };
        Ok(Self { fd })
    }

    /// From now on nothing can be sent, by either side; what was sent can still be received, and
    /// then the end.
    pub fn shut(&self) {
        // That the peer has done so before is no concern.
        let _ = rustix::net::shutdown(&self.fd, rustix::net::Shutdown::Both);
    }

    /// Gives the descriptor up, for instance to a child.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Sends one message. Never raises SIGPIPE: a gone peer is an error, see [`is_peer_gone`].
    ///
    /// # Errors
    /// `InvalidInput` for more than [`MAX_FDS`] descriptors or [`MAX_MESSAGE`] bytes, and what the
    /// kernel says.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if fds.len() > MAX_FDS || bytes.len() > MAX_MESSAGE {
            let text = format!(
                "{} descriptors and {} bytes are to be sent at once, and at most {MAX_FDS} and \
                 {MAX_MESSAGE} can be: send fewer",
                fds.len(),
                bytes.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        loop {
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(fds));
            }
            let parts = [IoSlice::new(bytes)];
            match rustix::net::sendmsg(&self.fd, &parts, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives one message, sleeping until there is one. `None`: the peer has closed its end.
    pub fn receive(&self) -> io::Result<Option<Message>> {
        self.receive_with(RecvFlags::CMSG_CLOEXEC)
    }

    /// Receives one message if there is one now: `WouldBlock` if not.
    pub fn try_receive(&self) -> io::Result<Option<Message>> {
        self.receive_with(RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    fn receive_with(&self, flags: RecvFlags) -> io::Result<Option<Message>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut bytes = vec![0; MAX_MESSAGE];
        loop {
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let n_bytes = match rustix::net::recvmsg(&self.fd, &mut parts, &mut ancillary, flags) {
                Ok(received) => received.bytes,
                Err(rustix::io::Errno::INTR) => continue,
                // The peer died with unread messages of ours. That is told once, and before the
                // messages it had sent: those come now, then the end.
                Err(rustix::io::Errno::CONNRESET) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut fds = Vec::new();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    fds.extend(received);
                }
            }
            if n_bytes == 0 && fds.is_empty() {
                return Ok(None);
            }
            bytes.truncate(n_bytes);
            return Ok(Some(Message { bytes, fds }));
        }
    }
}

/// Whether a message could not be sent because nobody is left to read it. Other errors say
/// nothing about the peer.
pub fn is_peer_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsFd for MessageSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
