//! The template's side: wait for launches, fork, report deaths.
//!
//! The fork itself is the caller's (an interpreter has its own way to fork); this is the loop
//! around it. A template has one thread and ends with its root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use manyhands_sys::clock::Deadline;
use manyhands_sys::pid::{PidFd, poll};
use manyhands_sys::socket::{MessageSocket, is_peer_gone};
use manyhands_sys::thread::exit_now;

use crate::message::{Launch, Report, decode_launch, encode};
use crate::watch;

/// Launches asked for by the root, one at a time.
pub struct TemplateServer {
    socket: MessageSocket,
    root: PidFd,
    children: Vec<(u64, PidFd)>,
    /// The launch that was taken last.
    taken: Option<u64>,
}

impl TemplateServer {
    /// A template that serves `socket` until it closes or `root` ends.
    pub const fn new(socket: MessageSocket, root: PidFd) -> Self {
        Self { socket, root, children: Vec::new(), taken: None }
    }

    /// A template that was forked from its root, which is its caller's parent.
    pub fn forked(socket: MessageSocket, root: PidFd) -> Self {
        watch::hang_on_forker();
        Self::new(socket, root)
    }

    /// A template started as a program: the first message on its socket carries the root's pidfd.
    /// `None`: the root is gone already.
    pub fn from_hello(socket: MessageSocket) -> io::Result<Option<Self>> {
        let Some(hello) = socket.receive()? else { return Ok(None) };
        let fd = hello.fds.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(Self::new(socket, PidFd::from_fd(fd))))
    }

    /// Whether the root asks for something within `timeout`.
    pub fn has_launch(&self, timeout: Duration) -> io::Result<bool> {
        let deadline = Some(Deadline::after(timeout));
        Ok(!poll(&[self.socket.as_fd()], &[&self.root], deadline)?.is_empty())
    }

    /// Waits until the root asks for something or is gone, while children that end are reaped and
    /// reported. False: one of `others` can be read, or `timeout` is over, before that.
    pub fn wait_for_launch(
        &mut self,
        others: &[BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let deadline = timeout.map(Deadline::after);
        loop {
            let (ready, root_idx) = self.poll(others, deadline)?;
            if ready.iter().any(|idx| *idx == 0 || *idx == root_idx) {
                return Ok(true);
            }
            self.reap()?;
            let is_other = |idx: &usize| *idx < root_idx;
            if ready.iter().any(is_other) || deadline.is_some_and(Deadline::has_passed) {
                return Ok(false);
            }
        }
    }

    /// The next launch; meanwhile children that end are reaped and reported. `None`: time to end.
    pub fn next_launch(&mut self) -> io::Result<Option<Launch>> {
        loop {
            let (ready, root_idx) = self.poll(&[], None)?;
            if ready.contains(&root_idx) {
                return Ok(None);
            }
            self.reap()?;
            if ready.contains(&0) {
                match self.socket.receive()? {
                    Some(message) => {
                        let launch = decode_launch(message)?;
                        self.taken = Some(launch.id);
                        return Ok(Some(launch));
                    }
                    None => return Ok(None),
                }
            }
        }
    }

    /// Tells the root that the launch `id` became the process `pid`, a child of the caller.
    pub fn started(&mut self, id: u64, pid: u32) -> io::Result<()> {
        let child = PidFd::open(pid)?;
        self.socket.send(&encode(&Report::Started { id, pid }), &[child.as_fd()])?;
        self.children.push((id, child));
        Ok(())
    }

    /// In the child of the fork, first thing: says itself that it runs, and lets go of the socket.
    /// From here on it ends with the root if it is told so.
    ///
    /// The template says so too, but it may be killed right after the fork. As the child holds the
    /// socket until it has spoken, the root hears of every child before it hears the socket's end,
    /// and never gives a launch up whose child runs. Who speaks too late, to a root that has given
    /// the whole template up, ends here.
    pub fn become_child(self, ends_with_root: bool) -> io::Result<()> {
        if ends_with_root {
            watch::hang_on();
        }
        let Some(id) = self.taken else { return Ok(()) };
        let started = Report::Started { id, pid: std::process::id() };
        match self.socket.send(&encode(&started), &[PidFd::current()?.as_fd()]) {
            // The root has given this launch up, and perhaps asked another template for the same.
            Err(error) if is_peer_gone(&error) => exit_now(1),
            sent => sent,
        }
    }

    /// Tells the root that the launch `id` came to nothing.
    pub fn failed(&self, id: u64, why: &str) -> io::Result<()> {
        self.socket.send(&encode(&Report::Failed { id, why: why.into() }), &[])
    }

    /// Sleeps for the socket (0 of what is ready), `others` behind it, the root (whose number is
    /// returned too) and the children.
    fn poll(
        &self,
        others: &[BorrowedFd<'_>],
        deadline: Option<Deadline>,
    ) -> io::Result<(Vec<usize>, usize)> {
        let fds: Vec<_> =
            std::iter::once(self.socket.as_fd()).chain(others.iter().copied()).collect();
        let children = self.children.iter().map(|(_, child)| child);
        let processes: Vec<_> = std::iter::once(&self.root).chain(children).collect();
        Ok((poll(&fds, &processes, deadline)?, fds.len()))
    }

    fn reap(&mut self) -> io::Result<()> {
        let mut ended = Vec::new();
        self.children.retain(|(id, child)| match child.try_reap() {
            Some(status) => {
                ended.push(Report::exited(*id, status));
                false
            }
            None => true,
        });
        ended.iter().try_for_each(|report| self.socket.send(&encode(report), &[]))
    }
}
