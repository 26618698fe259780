//! A descriptor broker: a socket with a number for a name, at which processes of the family that
//! have no socket in common with us ask for descriptors.
//!
//! The names are of the abstract namespace: nothing is left in the file system, and a name ends
//! with its broker. Only processes of the same user are listened to.
//!
//! A process answers at its broker without opening a descriptor: programs that look for free
//! numbers, and use them, must not meet with one that another thread has for a moment.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};

use crate::clock::Deadline;
use crate::descriptor::out_of_the_way;
use crate::event::poll;

/// Where other processes of the family ask.
#[derive(Debug)]
pub struct Broker {
    fd: OwnedFd,
}

/// What somebody asked.
#[derive(Debug)]
pub struct Question {
    /// The bytes sent.
    pub bytes: Vec<u8>,
    from: SocketAddrUnix,
}

/// The longest question in bytes.
pub const MAX_QUESTION: usize = 64;

/// After so long without an answer the question is asked again, which tells if the broker is gone.
const REPEAT: Duration = Duration::from_millis(100);

impl Broker {
    /// Opens a broker with this number, which nobody else has.
    pub fn open(number: u64) -> io::Result<Self> {
        let fd = out_of_the_way(datagram()?);
        sockopt::set_socket_passcred(&fd, true)?;
        rustix::net::bind(&fd, &address(number)?)?;
        Ok(Self { fd })
    }

    /// The next question, without waiting; `None`: there is none from a process of this user.
    pub fn question(&self) -> io::Result<Option<Question>> {
        let Some(received) = receive(&self.fd)? else { return Ok(None) };
        let Received { bytes, from, is_of_this_user, .. } = received;
        Ok(from.filter(|_| is_of_this_user).map(|from| Question { bytes, from }))
    }

    /// Answers with descriptors, or none. Who does not listen any more is not waited for.
    pub fn answer(&self, question: &Question, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_ANSWER))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(fds.len() <= MAX_ANSWER, "an answer beyond its bounds");
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let parts = [IoSlice::new(&[1])];
        rustix::net::sendmsg_addr(&self.fd, &question.from, &parts, &mut ancillary, flags)?;
        Ok(())
    }

    /// Asks at another process's broker and waits for the answer; `None`: there was none in time.
    ///
    /// # Errors
    /// If there is no such broker, or none any more, or if it is another user's, who is not
    /// believed.
    pub fn ask(number: u64, bytes: &[u8], until: Deadline) -> io::Result<Option<Vec<OwnedFd>>> {
        assert!(bytes.len() <= MAX_QUESTION, "a question beyond its bounds");
        let fd = datagram()?;
        sockopt::set_socket_passcred(&fd, true)?;
        // The system finds a name to be answered by.
        rustix::net::bind(&fd, &SocketAddrUnix::new_unnamed())?;
        rustix::net::connect(&fd, &address(number)?)?;
        while !until.has_passed() {
            match rustix::net::send(&fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                // Full of the questions of others: its keeper is slow.
                Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let end = Deadline::after(REPEAT).min(until);
            if poll(&[fd.as_fd()], Some(end))?.is_empty() {
                continue;
            }
            match receive(&fd)? {
                Some(answer) if !answer.is_of_this_user => {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                Some(answer) => return Ok(Some(answer.fds)),
                None => {}
            }
        }
        Ok(None)
    }
}

/// The most descriptors an answer carries.
const MAX_ANSWER: usize = 8;

impl AsFd for Broker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What has come, and from whom.
struct Received {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
    from: Option<SocketAddrUnix>,
    /// The kernel says so.
    is_of_this_user: bool,
}

/// The next message, without waiting. Its socket passes credentials.
fn receive(socket: &OwnedFd) -> io::Result<Option<Received>> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(MAX_ANSWER))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_QUESTION];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, flags) {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        message => message?,
    };
    let (mut fds, mut is_of_this_user) = (Vec::new(), false);
    for part in ancillary.drain() {
        match part {
            RecvAncillaryMessage::ScmCredentials(sender) => {
                is_of_this_user = sender.uid == rustix::process::geteuid();
            }
            RecvAncillaryMessage::ScmRights(received) => fds.extend(received),
            _ => {}
        }
    }
    let from = message.address.and_then(|address| SocketAddrUnix::try_from(address).ok());
    bytes.truncate(message.bytes);
    Ok(Some(Received { bytes, fds, from, is_of_this_user }))
}

fn datagram() -> io::Result<OwnedFd> {
    let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
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
