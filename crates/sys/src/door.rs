//! Meeting a relative that has no socket in common with us: a listener with a number for a name,
//! and pairs of sockets to be handed over there.
//!
//! The names are of the abstract namespace: nothing is left in the file system, and a name ends
//! with its listener. Only processes of the same user are listened to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::socket::MessageSocket;

/// Where relatives knock.
#[derive(Debug)]
pub struct Door {
    fd: OwnedFd,
}

impl Door {
    /// Opens a door with this number, which nobody else has.
    pub fn open(number: u64) -> io::Result<Self> {
        let fd = seqpacket()?;
        rustix::net::bind(&fd, &address(number)?)?;
        rustix::net::listen(&fd, 64)?;
        Ok(Self { fd })
    }

    /// Lets one in who knocked; `None`: it is another user's process.
    pub fn let_in(&self) -> io::Result<Option<MessageSocket>> {
        let fd = rustix::net::accept_with(&self.fd, SocketFlags::CLOEXEC)?;
        let peer = rustix::net::sockopt::socket_peercred(&fd)?;
        Ok((peer.uid == rustix::process::geteuid()).then(|| MessageSocket::from_fd(fd)))
    }

    /// Knocks at another process's door.
    pub fn knock(number: u64) -> io::Result<MessageSocket> {
        let fd = seqpacket()?;
        rustix::net::connect(&fd, &address(number)?)?;
        Ok(MessageSocket::from_fd(fd))
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn seqpacket() -> io::Result<OwnedFd> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    Ok(rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?)
}

fn address(number: u64) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(format!("manyhands-{number:016x}").as_bytes())?)
}

/// Two connected stream sockets.
pub fn stream_pair() -> io::Result<[OwnedFd; 2]> {
    let (kind, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
    let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)?;
    Ok([a, b])
}

/// The first byte that is there to be read; it stays. `None`: there is none, or the end.
pub fn peek(socket: &impl AsFd) -> Option<u8> {
    let mut byte = [0];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(socket, &mut byte, flags), Ok((1, _))).then_some(byte[0])
}

/// Takes one byte, if there is one.
pub fn take_byte(socket: &impl AsFd) {
    let _ = rustix::net::recv(socket, &mut [0], RecvFlags::DONTWAIT);
}

/// Sends one byte, if there is room.
pub fn send_byte(socket: &impl AsFd, byte: u8) {
    let _ = rustix::net::send(socket, &[byte], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// The other socket of the pair reads the end, after what was sent.
pub fn end_sending(socket: &impl AsFd) {
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}
