//! The worker's end: join the family, then claim, run, reply, until told to leave.
//!
//! The loop around it is the worker program's (an interpreter wants its lock back between tasks);
//! this is each step of it. Nothing here takes a lock that another process needs.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use manyhands_process::{Launch, ProgramState};
use manyhands_shm::{Block, BlockRef, Carried, Heap, OutOfMemory, Party, Place, family};
use manyhands_sys::atomic::Ordering;
use manyhands_sys::clock::{monotonic_ns, thread_cpu_ns};
use manyhands_sys::pid::PidFd;

use super::lane::{BellView, LaneView, N_SLOTS, Status};
use super::note::Note;
use super::slot::{ANNOUNCE_START, ReplyKind, State};
use super::task::Body;

/// A worker process's connection to its pool.
pub struct WorkerEnd {
    heap: Arc<Heap>,
    root: Party,
    lane: LaneView,
    bell: BellView,
    /// The slot the worker is at.
    position: u64,
    running: bool,
    cpu_ns: u64,
    setup: BlockRef,
    id: u64,
    extra_fds: Vec<OwnedFd>,
    state: ProgramState,
    /// Where the arguments of the task that runs are, if they lie in a block.
    arguments: Option<Result<Place, OutOfMemory>>,
}

/// What a worker does next.
#[derive(Debug)]
pub enum Next {
    /// Run the task that [`WorkerEnd::job`] shows.
    Run,
    /// Nothing yet: a signal handler ran while the worker slept.
    Interrupted,
    /// Leave: the pool needs the worker no more.
    Stop,
}

/// The task a worker has claimed.
#[derive(Debug)]
pub struct Job<'a> {
    /// Which function: the same id is always the same function.
    pub function_id: u64,
    /// The function as the root sent it.
    pub function: &'a [u8],
    /// The arguments.
    pub body: &'a [u8],
    /// Whether the arguments lie in a block of the heap that can be [kept](WorkerEnd::keep_body).
    pub in_heap: bool,
}

impl WorkerEnd {
    /// Becomes the worker that `launch` describes. From here on the process ends when its root
    /// does.
    ///
    /// # Safety
    /// The launch was sent by a pool, for this process.
    pub unsafe fn join(launch: Launch) -> io::Result<Self> {
        let note = Note::decode(&launch.note)?;
        let mut fds = launch.fds.into_iter();
        let (Some(heap_fd), Some(root_fd)) = (fds.next(), fds.next()) else {
            let text = "a worker needs the heap and the root's pidfd";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        manyhands_process::watch::exit_with(PidFd::from_fd(root_fd))?;
        // SAFETY: the launch names the family's heap, and the number that it has for this process.
        let heap = unsafe { family::join(heap_fd, Party::from_number(note.party)) }?;
        let lane_at = BlockRef { offset: note.lane, len: 0 };
        let bell_at = BlockRef { offset: note.bell, len: 0 };
        let (lane, bell) = (LaneView::reach(&heap, lane_at), BellView::reach(&heap, bell_at));
        let setup = heap.reach(note.setup.0, note.setup.1);
        let out_of_memory = |error: OutOfMemory| io::Error::new(io::ErrorKind::OutOfMemory, error);
        setup.map_err(out_of_memory)?;
        Ok(Self {
            lane: lane.map_err(out_of_memory)?,
            bell: bell.map_err(out_of_memory)?,
            root: Party::from_number(note.root),
            heap,
            position: N_SLOTS,
            running: false,
            cpu_ns: 0,
            setup: BlockRef { offset: note.setup.0, len: note.setup.1 },
            id: note.worker,
            extra_fds: fds.collect(),
            state: launch.state,
            arguments: None,
        })
    }

    /// Just before code of the caller runs: hides this process's memory from others if the program
    /// does.
    pub fn seal(&self) {
        self.state.seal();
    }

    /// The worker's number within its pool, from 0.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The family's heap.
    pub const fn heap(&self) -> &Arc<Heap> {
        &self.heap
    }

    /// What the pool's owner wants every worker to know before its first task.
    pub fn setup(&self) -> &[u8] {
        self.bytes(self.setup)
    }

    /// The descriptors the pool's owner sent along.
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.extra_fds)
    }

    /// A descriptor to which a crash handler may write the worker's last words; they reach the
    /// root with the news of its death.
    pub fn crash_text_fd(&self) -> io::Result<OwnedFd> {
        manyhands_sys::memory::reopen_at(self.heap.fd(), self.lane.text_offset())
    }

    /// Tells the root that tasks will be run from now on.
    pub fn set_ready(&mut self) {
        self.cpu_ns = thread_cpu_ns();
        self.lane.set_ready();
        self.bell.bell().ring();
    }

    /// Tells the root that this worker, and so every worker of the pool, cannot be prepared.
    pub fn set_failed(&self, why: &str) {
        self.lane.write_text(why);
        self.lane.set_status(Status::Failed);
        self.bell.bell().ring();
    }

    /// Claims the next task if there is one now. `None`: nothing to do yet.
    pub fn try_next(&mut self) -> Option<Next> {
        let position = self.position;
        let next = self.claim_or_pass();
        if self.position != position {
            // Slots that were passed are room again, which the collector may be waiting for.
            self.bell.bell().ring();
        }
        next
    }

    fn claim_or_pass(&mut self) -> Option<Next> {
        loop {
            let slot = self.lane.slot(self.position);
            match slot.state(self.position) {
                State::Pending if slot.swap_from_pending(self.position, State::Running) => {
                    slot.started_ns.store(monotonic_ns(), Ordering::Release);
                    self.running = true;
                    // SAFETY: a Running slot's content is the worker's.
                    let content = unsafe { &*slot.content.get() };
                    if content.flags & ANNOUNCE_START != 0 {
                        self.bell.bell().ring();
                    }
                    let in_heap = content.block.offset != 0;
                    self.arguments = in_heap.then(|| self.heap.look_at(content.block));
                    return Some(Next::Run);
                }
                State::Pending => {}
                State::Revoked => {
                    // SAFETY: a Revoked slot's content is the worker's to pass on.
                    unsafe { (*slot.content.get()).kind = ReplyKind::None as u32 };
                    slot.put(self.position, State::Done);
                    self.position += 1;
                }
                _ if self.lane.stop_position() <= self.position => return Some(Next::Stop),
                _ => return None,
            }
        }
    }

    /// Sleeps until there is something to do.
    pub fn wait_next(&mut self) -> Next {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            let position = self.position;
            let lane = &self.lane;
            let undisturbed = lane.park(|| {
                lane.slot(position).state(position) != State::Free
                    || lane.stop_position() <= position
            });
            if !undisturbed {
                return Next::Interrupted;
            }
        }
    }

    /// When the claimed task was claimed, by the monotonic clock.
    pub fn started_ns(&self) -> u64 {
        self.lane.slot(self.position).started_ns.load(Ordering::Relaxed)
    }

    /// The claimed task.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more: to be replied.
    pub fn job(&self) -> Result<Job<'_>, OutOfMemory> {
        assert!(self.running, "a job is looked at while it runs");
        // SAFETY: a Running slot's content is the worker's, and only read until the reply.
        let content = unsafe { &*self.lane.slot(self.position).content.get() };
        let body = match &self.arguments {
            Some(Err(error)) => return Err(error.clone()),
            // SAFETY: the root keeps the arguments of a Running task alive and unchanged, and their
            // place is held until the reply.
            Some(Ok(place)) => unsafe {
                let len = content.block.len as usize;
                std::slice::from_raw_parts(place.address().as_ptr(), len)
            },
            None => &content.inline[..content.inline_len as usize],
        };
        let in_heap = self.arguments.is_some();
        self.heap.reach(content.function.offset, content.function.len)?;
        let function = self.bytes(content.function);
        Ok(Job { function_id: content.function_id, function, body, in_heap })
    }

    /// Makes the arguments' block this process's own, so that what was unpickled from it without
    /// a copy may outlive the task. `None`: they are not in a block.
    pub fn keep_body(&self) -> Option<Block> {
        // SAFETY: as in `job`.
        let content = unsafe { &*self.lane.slot(self.position).content.get() };
        // Its place is held already.
        // SAFETY: the root lends the block to the task, and gives it back once the task has ended
        // only if nobody has taken it over.
        unsafe { self.heap.take_over(content.block, self.root) }.ok().flatten()
    }

    /// Whether the root wants the task that runs now to be interrupted.
    pub fn interrupt_wanted(&self) -> bool {
        self.running && self.lane.interrupt_position() == self.position
    }

    /// Ends the claimed task with `bytes` as its reply.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the bytes need room the heap lacks; the task is still claimed then.
    pub fn reply(&mut self, kind: ReplyKind, bytes: &[u8]) -> Result<(), OutOfMemory> {
        let body = Body::copy_of(bytes, &self.heap)?;
        self.reply_body(kind, body, Carried::default());
        Ok(())
    }

    /// Ends the claimed task with `body` as its reply. If it carries objects, their handles are the
    /// last bytes of it.
    ///
    /// # Panics
    /// If the body is inline and longer than [`Body::MAX_INLINE`], or lies in another heap.
    pub fn reply_body(&mut self, kind: ReplyKind, body: Body, carried: Carried) {
        body.check(&self.heap);
        assert!(carried.is_in(&self.heap), "a reply lies in the heap of its pool");
        let n_carried = carried.handles().len() as u32;
        carried.leave_to_message();
        self.put_reply(kind, |content| {
            content.n_carried = n_carried;
            match body {
                // Until the root has taken it over the block stays ours: if we die before the
                // reply is published, the sweep finds it.
                Body::Block(block) => content.block = block.leave_to_receiver(),
                Body::Inline(bytes) => {
                    content.block = BlockRef::default();
                    content.inline_len = bytes.len() as u32;
                    content.inline[..bytes.len()].copy_from_slice(&bytes);
                }
            }
        });
    }

    fn put_reply(&mut self, kind: ReplyKind, fill: impl FnOnce(&mut super::slot::Content)) {
        assert!(self.running, "only a claimed task is replied to");
        let slot = self.lane.slot(self.position);
        // SAFETY: a Running slot's content is the worker's; `job`'s borrows of it ended, as this
        // takes `&mut self`.
        let content = unsafe { &mut *slot.content.get() };
        fill(content);
        let cpu_ns = thread_cpu_ns();
        content.kind = kind as u32;
        content.finished_ns = monotonic_ns();
        content.cpu_ns = cpu_ns.saturating_sub(self.cpu_ns);
        self.cpu_ns = cpu_ns;
        self.running = false;
        self.arguments = None;
        slot.put(self.position, State::Done);
        self.position += 1;
        self.bell.bell().ring();
    }

    fn bytes(&self, at: BlockRef) -> &[u8] {
        let base = self.heap.address(at.offset, at.len);
        // SAFETY: the root keeps functions and setup alive and unchanged.
        unsafe { std::slice::from_raw_parts(base.as_ptr(), at.len as usize) }
    }
}
