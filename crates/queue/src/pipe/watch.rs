//! A descriptor that can be read while an end has something to receive: for `poll`, `select`, event
//! loops.
//!
//! A thread per watched end sleeps on the event counts of the ring and keeps the descriptor true;
//! who receives in this process keeps it true at once, so that nobody is told of what he has just
//! read.
//! Ends that nobody watches cost nothing.
//!
//! The thread borrows the end from its [`Watch`], which outlives it: in a forked child, where there
//! is no such thread, nothing stays behind that would keep the end open.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use manyhands_sync::event_count::ALL;
use manyhands_sys::clock::Deadline;
use manyhands_sys::event::EventFd;
use manyhands_sys::futex::WaitEnd;

use super::end::End;
use super::patience::Step;
use super::socket_pair::{self, SocketPair};

const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Keeps a descriptor true until it is dropped.
pub struct Watch {
    watched: NonNull<Watched>,
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread.
    process: u32,
}

// SAFETY: it owns a `Watched`, which is `Send` and `Sync`.
unsafe impl Send for Watch {}
// SAFETY: as above.
unsafe impl Sync for Watch {}

/// What the thread sees.
struct Watched {
    end: End,
    signal: Signal,
    /// Whether the descriptor can be read.
    is_raised: Mutex<bool>,
    is_over: AtomicBool,
}

/// The descriptor.
enum Signal {
    /// Of an end that only receives, or only sends.
    Event(EventFd),
    /// Of an end of a duplex pipe: what is written to it arrives at the other end.
    Socket(Arc<SocketPair>),
}

/// For the thread that the watch joins before it lets go of what it points to.
struct Borrowed(NonNull<Watched>);

// SAFETY: `Watched` is `Sync`.
unsafe impl Send for Borrowed {}

impl Watch {
    /// Watches `end`, which receives.
    ///
    /// # Errors
    /// If there is no descriptor, or no thread.
    pub fn new(end: End) -> io::Result<Self> {
        if end.is_readable() && end.is_writable() {
            let pair = SocketPair::of(&end, &end.core().broker)?;
            return Self::with_signal(end, Signal::Socket(pair));
        }
        Self::with_signal(end, Signal::Event(EventFd::new()?))
    }

    fn with_signal(end: End, signal: Signal) -> io::Result<Self> {
        let (is_raised, is_over) = (Mutex::new(false), AtomicBool::new(false));
        let watched = Box::new(Watched { end, signal, is_raised, is_over });
        watched.refresh();
        let watched = NonNull::from(Box::leak(watched));
        let mut this = Self { watched, thread: None, process: std::process::id() };
        let borrowed = Borrowed(watched);
        let run = move || {
            let Borrowed(watched) = { borrowed };
            // SAFETY: freed only after this thread was joined.
            unsafe { watched.as_ref() }.run();
        };
        let builder = std::thread::Builder::new().name("manyhands-watch".into());
        this.thread = Some(builder.stack_size(128 << 10).spawn(run)?);
        Ok(this)
    }

    /// Makes the descriptor true at once.
    pub fn refresh(&self) {
        if self.is_of_this_process() {
            self.watched().refresh();
        }
    }

    /// Whether the watch works here: not in a child that was forked since.
    pub fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    /// In a forked child: the same under the same number, with a thread of its own. Where the watch
    /// works, it is returned as it is.
    ///
    /// # Errors
    /// As [`Watch::new`].
    pub fn renew(self) -> io::Result<Self> {
        if self.is_of_this_process() {
            // The thread is here, and uses what would be taken apart.
            return Ok(self);
        }
        let mut this = ManuallyDrop::new(self);
        std::mem::forget(this.thread.take());
        // SAFETY: from `Box::leak`; the thread that uses it as well is in another process.
        let watched = unsafe { Box::from_raw(this.watched.as_ptr()) };
        let Watched { end, mut signal, .. } = *watched;
        if let Signal::Event(event) = &mut signal {
            event.renew()?;
        }
        // Sockets are in common anyway: they are the pipe's.
        Self::with_signal(end, signal)
    }

    /// The number of the descriptor.
    pub fn number(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }

    const fn watched(&self) -> &Watched {
        // SAFETY: freed in `drop` only.
        unsafe { self.watched.as_ref() }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.watched().signal {
            Signal::Event(event) => event.as_fd(),
            Signal::Socket(pair) => pair.socket(self.watched().end.side()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let thread = self.thread.take();
        if self.is_of_this_process() {
            self.watched().is_over.store(true, Ordering::SeqCst);
            self.watched().wake();
            // A thread that panicked is over as well.
            let _ = thread.map(JoinHandle::join);
        } else {
            // There is no such thread here.
            std::mem::forget(thread);
        }
        // SAFETY: from `Box::leak`; the only other user was joined, or is in another process.
        let watched = unsafe { Box::from_raw(self.watched.as_ptr()) };
        if let Signal::Socket(_) = &watched.signal {
            socket_pair::let_go(&watched.end);
        }
    }
}

impl Watched {
    fn run(&self) {
        let mut pause = FIRST_LOOK;
        while let Some(way) = self.end.incoming() {
            let is_ready = self.refresh();
            let event = match self.end.attempt_to_poll(&way) {
                Step::Ended => &way.words.drained,
                Step::Blocked(event) => event,
            };
            let ticket = event.listen();
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            if self.end.is_ready() != is_ready {
                continue;
            }
            match event.park(ticket, Some(Deadline::after(pause))) {
                WaitEnd::TimedOut => {
                    self.end.look_around();
                    pause = (pause * 2).min(LAST_LOOK);
                }
                _ => pause = FIRST_LOOK,
            }
        }
    }

    /// Whether the descriptor can be read now.
    fn refresh(&self) -> bool {
        let mut is_raised = self.is_raised.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the mutex: who looked last writes last.
        let is_ready = self.end.is_ready();
        match &self.signal {
            // Other processes mark the same socket: what was done here last says nothing.
            Signal::Socket(pair) => {
                let is_at_end = is_ready && self.end.is_at_end();
                pair.mark(self.end.side(), is_ready, is_at_end);
            }
            Signal::Event(event) if is_ready != *is_raised => {
                if is_ready {
                    event.notify()
                } else {
                    event.clear()
                }
            }
            Signal::Event(_) => {}
        }
        *is_raised = is_ready;
        is_ready
    }

    /// Ends the thread's sleep, also one that is about to begin.
    fn wake(&self) {
        if let Some(way) = self.end.incoming() {
            way.words.data.notify_in_any_case(ALL);
            way.words.drained.notify_in_any_case(ALL);
            way.words.receiver_left.notify_in_any_case(ALL);
        }
    }
}
