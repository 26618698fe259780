//! A lane: the shared slots between the root and one worker.
//!
//! A lane concerns exactly one worker. If the worker dies, the root reads what the slots say and
//! throws the lane away; nobody else ever waits for it.

use std::sync::Arc;

use manyhands_shm::{Block, BlockRef, Heap, OutOfMemory};
use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};

use super::slot::{Slot, State};
use super::wakeup::{Bell, Parking};

/// Tasks on their way, at most.
pub(crate) const N_SLOTS: u64 = 256;

/// A position no slot ever has.
pub(crate) const NOWHERE: u64 = u64::MAX;

#[repr(C, align(64))]
pub(crate) struct LaneHeader {
    parking: Parking,
    status: AtomicU32,
    /// The worker's process id, once it is ready.
    pid: AtomicU32,
    /// The worker leaves when it gets to this position.
    stop_at: AtomicU64,
    /// The worker should interrupt the task at this position.
    interrupt: AtomicU64,
    /// Bytes of last words the worker wrote on purpose.
    text_len: AtomicU32,
}

/// How far the worker is with itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    Starting = 0,
    Ready = 1,
    /// Its preparation failed; the reason is in the lane's text.
    Failed = 2,
}

const HEADER_BYTES: u64 = 128;
#[cfg(not(loom))]
const _: () = assert!(size_of::<LaneHeader>() as u64 <= HEADER_BYTES);
const TEXT_AT: u64 = HEADER_BYTES + N_SLOTS * size_of::<Slot>() as u64;
/// A dying worker's last words: at the lane's end and long enough for any traceback, as the
/// writer (a crash handler) knows no bounds. Only touched pages cost memory.
const LANE_BYTES: u64 = 256 * 1024;
const TEXT_BYTES: u64 = LANE_BYTES - TEXT_AT;

/// Where a lane or bell lies in a mapped heap.
#[derive(Clone)]
pub(crate) struct LaneView {
    heap: Arc<Heap>,
    at: BlockRef,
}

#[derive(Clone)]
pub(crate) struct BellView {
    heap: Arc<Heap>,
    at: BlockRef,
}

/// The root's end.
pub(crate) struct LaneRoot {
    view: LaneView,
    /// Gives the memory back.
    block: Block,
    /// The position the next task gets.
    pub(crate) head: u64,
    /// The oldest position not harvested.
    pub(crate) tail: u64,
}

impl LaneView {
    /// The lane that somebody else has made at `at`.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more.
    pub(crate) fn reach(heap: &Arc<Heap>, at: BlockRef) -> Result<Self, OutOfMemory> {
        heap.reach(at.offset, LANE_BYTES)?;
        Ok(Self { heap: Arc::clone(heap), at })
    }

    pub(crate) fn header(&self) -> &LaneHeader {
        let base = self.heap.address(self.at.offset, LANE_BYTES);
        // SAFETY: a lane's block starts with a header made of atomics.
        unsafe { base.cast().as_ref() }
    }

    pub(crate) fn slot(&self, position: u64) -> &Slot {
        let idx = position % N_SLOTS;
        let offset = self.at.offset + HEADER_BYTES + idx * size_of::<Slot>() as u64;
        // SAFETY: the slots lie behind the header; their content is reached only by the side
        // that the slot's word gives it to.
        unsafe { self.heap.address(offset, size_of::<Slot>() as u64).cast().as_ref() }
    }

    /// Where in the heap's file the text starts.
    pub(crate) const fn text_offset(&self) -> u64 {
        self.at.offset + TEXT_AT
    }

    /// Worker: leaves `text` as its last words.
    pub(crate) fn write_text(&self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(TEXT_BYTES as usize)];
        let base = self.heap.address(self.text_offset(), TEXT_BYTES);
        // SAFETY: the text is inside the lane and the living worker's alone to write.
        unsafe { base.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        // Release: meets the Acquire of `text`.
        self.header().text_len.store(bytes.len() as u32, Ordering::Release);
    }

    /// Root: the last words of a worker that is dead or has failed.
    pub(crate) fn text(&self) -> Option<String> {
        let len = u64::from(self.header().text_len.load(Ordering::Acquire));
        let base = self.heap.address(self.text_offset(), TEXT_BYTES);
        // SAFETY: inside the lane, and its writer has stopped writing.
        let bytes = unsafe { std::slice::from_raw_parts(base.as_ptr(), TEXT_BYTES as usize) };
        let len = if len > 0 {
            len as usize
        } else {
            bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())
        };
        let text = String::from_utf8_lossy(&bytes[..len]).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }

    pub(crate) fn status(&self) -> Status {
        // Acquire: meets the Release of `set_status`.
        match self.header().status.load(Ordering::Acquire) {
            1 => Status::Ready,
            2 => Status::Failed,
            _ => Status::Starting,
        }
    }

    /// The worker's process id; 0 before it is ready.
    pub(crate) fn pid(&self) -> u32 {
        self.header().pid.load(Ordering::Acquire)
    }

    /// Worker: from now on it claims tasks.
    pub(crate) fn set_ready(&self) {
        // Release, and before any reply: whoever sees a reply sees who gave it.
        self.header().pid.store(std::process::id(), Ordering::Release);
        self.set_status(Status::Ready);
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.header().status.store(status as u32, Ordering::Release);
    }

    pub(crate) fn interrupt_position(&self) -> u64 {
        self.header().interrupt.load(Ordering::Acquire)
    }

    pub(crate) fn stop_position(&self) -> u64 {
        self.header().stop_at.load(Ordering::Acquire)
    }

    /// Worker: sleeps until the root has published something or wants it to stop. `ready` looks
    /// for that. False: a signal handler ran.
    pub(crate) fn park(&self, ready: impl Fn() -> bool) -> bool {
        self.header().parking.park(ready)
    }

    /// Root: wakes the worker if it sleeps.
    pub(crate) fn wake(&self) {
        self.header().parking.wake();
    }
}

impl LaneRoot {
    pub(crate) fn new(heap: &Arc<Heap>) -> Result<Self, OutOfMemory> {
        let block = heap.alloc_sparse(LANE_BYTES)?;
        let view = LaneView::reach(heap, block.at())?;
        view.header().stop_at.store(NOWHERE, Ordering::Relaxed);
        view.header().interrupt.store(NOWHERE, Ordering::Relaxed);
        // Positions start beyond 0, which is what untouched slots seem to be at.
        Ok(Self { view, block, head: N_SLOTS, tail: N_SLOTS })
    }

    pub(crate) const fn at(&self) -> BlockRef {
        self.block.at()
    }

    pub(crate) const fn view(&self) -> &LaneView {
        &self.view
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.head - self.tail < N_SLOTS
    }

    /// Publishes a task: `fill` writes the free slot's content. Returns its position. The worker
    /// is not woken: see [`LaneRoot::wake`].
    pub(crate) fn publish(&mut self, fill: impl FnOnce(&mut super::slot::Content)) -> u64 {
        assert!(self.has_room(), "a lane is filled only while it has room");
        let position = self.head;
        let slot = self.view.slot(position);
        // SAFETY: a Free slot's content is the root's alone, and the root's end is `&mut`.
        fill(unsafe { &mut *slot.content.get() });
        slot.started_ns.store(0, Ordering::Relaxed);
        slot.put(position, State::Pending);
        self.head += 1;
        position
    }

    /// Wakes the worker if it sleeps.
    pub(crate) fn wake(&self) {
        self.view.wake();
    }

    /// Whether the worker still has to claim, or to pass, the oldest slot not harvested.
    pub(crate) fn awaits_worker(&self) -> bool {
        matches!(self.state(self.tail), State::Pending | State::Revoked)
    }

    pub(crate) fn state(&self, position: u64) -> State {
        self.view.slot(position).state(position)
    }

    /// Takes a pending task back; false if the worker has claimed it.
    pub(crate) fn revoke(&self, position: u64) -> bool {
        self.view.slot(position).swap_from_pending(position, State::Revoked)
    }

    /// The worker has claimed the task but not said when (it may be stopped just there): now.
    pub(crate) fn assume_started(&self, position: u64, now_ns: u64) {
        let started_ns = &self.view.slot(position).started_ns;
        // The worker's own word, if it comes after all, is the better one: it just stores it.
        let _ = started_ns.compare_exchange(0, now_ns, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Frees the Done slot at the tail after `read` has seen its content.
    pub(crate) fn harvest<T>(
        &mut self,
        read: impl FnOnce(&Slot, &mut super::slot::Content) -> T,
    ) -> T {
        let slot = self.view.slot(self.tail);
        // SAFETY: a Done slot's content is the root's alone, and the root's end is `&mut`.
        let read = read(slot, unsafe { &mut *slot.content.get() });
        slot.put(self.tail, State::Free);
        self.tail += 1;
        read
    }

    /// The worker leaves once it has run what is in the lane.
    pub(crate) fn stop_at_head(&self) {
        self.view.header().stop_at.store(self.head, Ordering::Release);
        self.view.wake();
    }

    /// Tells the worker that the signal it is about to get is meant for this position.
    pub(crate) fn set_interrupt(&self, position: u64) {
        self.view.header().interrupt.store(position, Ordering::Release);
    }
}

impl BellView {
    /// The bell that somebody has made at `at`.
    ///
    /// # Errors
    /// As [`LaneView::reach`].
    pub(crate) fn reach(heap: &Arc<Heap>, at: BlockRef) -> Result<Self, OutOfMemory> {
        heap.reach(at.offset, size_of::<Bell>() as u64)?;
        Ok(Self { heap: Arc::clone(heap), at })
    }

    pub(crate) fn bell(&self) -> &Bell {
        let base = self.heap.address(self.at.offset, size_of::<Bell>() as u64);
        // SAFETY: the pool's block holds a bell, made of atomics.
        unsafe { base.cast().as_ref() }
    }
}
