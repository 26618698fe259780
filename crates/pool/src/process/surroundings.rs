//! What a real pool gives its scheduler: heap, bell, clock, and workers that are processes.
//!
//! The [`News`] outlive the pool where they must: whoever watches a worker holds them until that
//! worker has ended. The rest goes with the pool.
//!
//! What it does not do: it hands no news to the scheduler. They are collected here, and the
//! collector passes them on in its next turn.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use manyhands_process::{Event, Events, Launcher};
use manyhands_shm::{Block, BlockRef, Heap, OutOfMemory, Party};
use manyhands_sys::clock::monotonic_ns;
use manyhands_sys::pid::{PidFd, Signal};

use super::lane::BellView;
use super::note::Note;
use super::schedule::{Environment, Process};
use super::wakeup::Bell;

/// The surroundings of a pool whose workers are processes.
pub(crate) struct Surroundings {
    heap: Arc<Heap>,
    news: Arc<News>,
    launcher: Arc<dyn Launcher>,
    fds: Vec<OwnedFd>,
    root: PidFd,
    setup: Block,
}

/// What became of launched workers, until the collector looks, and the bell that makes it look.
pub(crate) struct News {
    events: Mutex<Vec<Event>>,
    bell: BellView,
    /// Gives the bell's memory back.
    block: Block,
}

impl Surroundings {
    /// `launcher` starts workers; each gets `fds` and reads `setup` before its first task.
    ///
    /// # Errors
    /// If shared memory or a descriptor cannot be had.
    pub(crate) fn new(
        heap: Arc<Heap>,
        launcher: Arc<dyn Launcher>,
        fds: Vec<OwnedFd>,
        setup: &[u8],
    ) -> io::Result<Self> {
        let out_of_memory = |error: OutOfMemory| io::Error::new(io::ErrorKind::OutOfMemory, error);
        let mut block = heap.alloc(setup.len() as u64).map_err(out_of_memory)?;
        block.copy_from_slice(setup);
        let news = Arc::new(News::new(&heap).map_err(out_of_memory)?);
        Ok(Self { news, launcher, fds, root: PidFd::current()?, setup: block, heap })
    }

    /// What becomes of the workers.
    pub(crate) const fn news(&self) -> &Arc<News> {
        &self.news
    }
}

impl Environment for Surroundings {
    type Process = PidFd;

    fn heap(&self) -> &Arc<Heap> {
        &self.heap
    }

    fn bell(&self) -> &Bell {
        self.news.bell()
    }

    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn launch(&self, worker: u64, party: Party, lane: BlockRef) -> io::Result<()> {
        let setup = self.setup.at();
        let note = Note {
            worker,
            party: party.number(),
            root: self.heap.me().number(),
            lane: lane.offset,
            bell: self.news.block.at().offset,
            setup: (setup.offset, setup.len),
        };
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.heap.fd(), self.root.as_fd()];
        fds.extend(self.fds.iter().map(AsFd::as_fd));
        let events: Arc<dyn Events> = Arc::clone(&self.news) as _;
        self.launcher.launch(worker, &note.encode(), &fds, events)
    }
}

impl Process for PidFd {
    fn signal(&self, signal: Signal) {
        let _ = Self::signal(self, signal);
    }

    fn is_stopped(&self) -> bool {
        Self::is_stopped(self)
    }
}

impl News {
    fn new(heap: &Arc<Heap>) -> Result<Self, OutOfMemory> {
        let mut block = heap.alloc(size_of::<Bell>() as u64)?;
        block.fill(0);
        Ok(Self { events: Mutex::default(), bell: BellView::reach(heap, block.at())?, block })
    }

    pub(crate) fn bell(&self) -> &Bell {
        self.bell.bell()
    }

    /// What has happened since the last time, oldest first.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Events for News {
    fn notify(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.bell().ring_loudly();
    }
}
