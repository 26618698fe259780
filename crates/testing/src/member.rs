//! The test program, started again as a member of a heap, to be killed at any instruction.
//!
//! A member is told words and bytes, joins the heap, and works until it is killed. It ends with the
//! process that has started it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use manyhands_shm::{Heap, Party};
use manyhands_sys::socket::MessageSocket;

use crate::dead::Dead;

const MARK: &str = "MANYHANDS_TEST_MEMBER";
/// The test at which a member begins; it calls [`Member::of_this_process`].
const ENTRY: &str = "member_entry";

/// This process as a member.
pub struct Member<const N_WORDS: usize> {
    /// The heap it has joined.
    pub heap: Arc<Heap>,
    /// What [`start`] was given.
    pub words: [u64; N_WORDS],
    /// What [`start`] was given.
    pub bytes: Vec<u8>,
    socket: MessageSocket,
}

impl<const N_WORDS: usize> Member<N_WORDS> {
    /// In a process that [`start`] has started: joins the heap by `join`, which is given its
    /// descriptor and a number that is this process's alone. `None` in any other.
    ///
    /// # Errors
    /// What `join` returns.
    pub fn of_this_process<E>(
        join: impl FnOnce(OwnedFd, Party) -> Result<Arc<Heap>, E>,
    ) -> Result<Option<Self>, E> {
        if std::env::var_os(MARK).is_none() {
            return Ok(None);
        }
        // SAFETY: nothing else in a member reads its standard input.
        let socket = unsafe { MessageSocket::from_stdin() }.expect("a member has a socket");
        let Some(hello) = socket.receive().expect("a first message") else { return Ok(None) };
        let (head, bytes) = hello.bytes.split_at(8 * (1 + N_WORDS));
        let mut head = head.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || head.next().expect("split off so many");
        let party = Party::from_number(next() as u32);
        let words = std::array::from_fn(|_| next());
        let fd = hello.fds.into_iter().next().expect("the heap comes along");
        Ok(Some(Self { heap: join(fd, party)?, words, bytes: bytes.to_vec(), socket }))
    }

    /// Takes one step after the other until the process that has started this one is gone. Ends
    /// without destructors, as if killed.
    pub fn work(self, mut step: impl FnMut()) -> ! {
        // The other's death closes the socket: no member survives it.
        while self.socket.try_receive().is_err() {
            (0..50).for_each(|_| step());
        }
        manyhands_sys::thread::exit_now(0)
    }
}

/// A member that runs.
pub struct Started {
    process: Child,
    party: Party,
    _socket: MessageSocket,
}

/// Starts this test program again as a member of `heap`.
///
/// # Errors
/// What the system refuses.
pub fn start(heap: &Arc<Heap>, words: &[u64], bytes: &[u8]) -> io::Result<Started> {
    let (ours, theirs) = MessageSocket::pair()?;
    let party = heap.new_party().expect("a number");
    let process = Command::new(std::env::current_exe()?)
        .args([ENTRY, "--exact", "--nocapture", "--quiet"])
        .env(MARK, "1")
        .stdin(Stdio::from(theirs.into_fd()))
        .stdout(Stdio::null())
        .spawn()?;
    let words = [&[u64::from(party.number())], words].concat();
    let mut hello: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    hello.extend(bytes);
    ours.send(&hello, &[heap.fd().as_fd()])?;
    Ok(Started { process, party, _socket: ours })
}

impl Started {
    /// Kills it and waits for its end; who it was.
    pub fn kill(mut self) -> Dead {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child can be waited for");
        // SAFETY: it was waited for.
        unsafe { Dead::new(self.party) }
    }
}
