//! One end of a pipe: an object of the family, so that its last holder's leaving is noticed.
//!
//! ```text
//!   End object, side 0 ──┐                    ┌── End object, side 1
//!                        ▼                    ▼
//!                     Pipe object: words and rings
//! ```
//! Each end holds a reference to the pipe. The end that is gone marks its side closed, wakes who
//! waits for it, and releases its reference; with the second one the pipe goes, and what was never
//! received with it.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use manyhands_shm::object::{Kind, Shape, ids, release_message};
use manyhands_shm::{Carried, Handle, Heap, Object, OpenError, OutOfMemory};
use manyhands_sync::sleep::{Wait, Waiting};
use manyhands_sys::clock::Deadline;

use super::layout::{Core, Flags, Way};
use super::patience::{Patience, Step};
use super::receiving::{Receiving, give_room, raw_handles_of, skip_rest_of_lost};
use super::sending::{Sending, release_all};
use super::socket_pair;
use super::turn::Owner;

/// A pipe's words and rings.
// SAFETY: the one kind of this number.
static PIPE: Kind = unsafe { Kind::new(ids::PIPE, "pipe", Core::fits, destroy_pipe) };
/// What processes hold of it.
// SAFETY: the one kind of this number.
static END: Kind = unsafe { Kind::new(ids::PIPE_END, "connection", fits_end, destroy_end) };

/// To be made known with [`manyhands_shm::object::register`] when a process starts.
pub static KINDS: [&Kind; 2] = [&PIPE, &END];

/// One end of a pipe. Clones are the same end; it is closed when no process of the family has it
/// any more.
#[derive(Clone)]
pub struct End {
    object: Object,
    core: NonNull<Core>,
    side: usize,
}

// SAFETY: the core is shared memory made of atomics, and is there as long as `object`.
unsafe impl Send for End {}
// SAFETY: as above.
unsafe impl Sync for End {}

/// What an end's object contains.
#[repr(C)]
#[derive(Clone, Copy)]
struct Payload {
    pipe: Handle,
    /// Where the pipe's bytes are in the heap.
    core_at: u64,
    pipe_len: u64,
    /// 0: the end has no reference to the pipe yet. Else 1 + its side.
    side_and_one: u32,
}

/// What a one-way pipe and its object take of the heap, which gives so much at a time; a duplex
/// pipe takes twice as much. Messages that are together no longer than about this need no reader,
/// which is a little more than with a socket.
const WAY_BYTES: u64 = 256 * 1024;

/// The side that an end is on.
const OTHER: [usize; 2] = [1, 0];

impl End {
    /// A new pipe. `is_duplex`: both ends send and receive; else the first one receives what the
    /// second one sends.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn pair(heap: &Arc<Heap>, is_duplex: bool) -> Result<(Self, Self), OutOfMemory> {
        let n_rings = if is_duplex { 2 } else { 1 };
        // The object has a header in front.
        let ring_bytes = n_rings * WAY_BYTES - 64 - Core::LEN;
        // SAFETY: zeros are a pipe without rings, and both are laid out below.
        let pipe = unsafe { Object::create_sparse(heap, &PIPE, Core::LEN + ring_bytes) }?;
        let core = pipe.payload().cast::<Core>();
        // SAFETY: zeros are a valid core, and it is made of atomics.
        let words = unsafe { core.as_ref() };
        words.serial.store(pipe.handle().serial, Ordering::Relaxed);
        let capacity = ring_bytes / n_rings / 64 * 64;
        for (idx, direction) in words.directions.iter().rev().take(n_rings as usize).enumerate() {
            direction.capacity.store(capacity, Ordering::Relaxed);
            direction.at.store(Core::LEN + idx as u64 * capacity, Ordering::Relaxed);
        }
        let (ends, references) = Carried::collect(|| {
            let ends = [Self::create(&pipe, 0)?, Self::create(&pipe, 1)?];
            for _ in &ends {
                pipe.travel();
            }
            Ok(ends)
        });
        let [first, second] = ends?;
        for end in [&first, &second] {
            let bytes = end.object.handle().to_bytes();
            for (word, bytes) in words.ends[end.side].iter().zip(bytes.as_chunks::<8>().0) {
                word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
            }
        }
        // A kill between the two keeps the pipe too long; the other order would release the
        // references twice.
        references.leave_to_message();
        first.set_referring(true);
        second.set_referring(true);
        Ok((first, second))
    }

    fn create(pipe: &Object, side: usize) -> Result<Self, OutOfMemory> {
        let heap = pipe.heap();
        let len = size_of::<Payload>() as u64;
        // SAFETY: zeros are an end that refers to nothing; what it is follows.
        let object = unsafe { Object::create(heap, &END, Shape::NONE, len) }?;
        let base = heap.address(0, 0).as_ptr() as usize;
        let core_at = (pipe.payload().as_ptr() as usize - base) as u64;
        let payload =
            Payload { pipe: pipe.handle(), core_at, pipe_len: pipe.len(), side_and_one: 0 };
        // SAFETY: the object is large enough and aligned, and nobody else knows it yet.
        unsafe { object.payload().cast().write(payload) };
        Ok(Self { object, core: pipe.payload().cast(), side })
    }

    /// The end that `handle` names.
    ///
    /// # Errors
    /// [`OpenError`], a sentence for the user.
    pub fn open(handle: Handle) -> Result<Self, OpenError> {
        let object = Object::open(handle, &END)?;
        // SAFETY: an end's payload never changes after somebody was told of it.
        let payload = unsafe { object.payload().cast::<Payload>().read() };
        let core = object.heap().reach(payload.core_at, payload.pipe_len);
        let core = core.map_err(OpenError::OutOfMemory)?.cast();
        // SAFETY: the end has a reference to the pipe, and is held.
        if !unsafe { Core::fits(core.cast(), payload.pipe_len) } {
            return Err(OpenError::Malformed { what: END.name() });
        }
        let side = payload.side_and_one as usize - 1;
        Ok(Self { object, core, side })
    }

    fn set_referring(&self, is_referring: bool) {
        let side_and_one = if is_referring { self.side as u32 + 1 } else { 0 };
        let payload = self.object.payload().cast::<Payload>();
        // SAFETY: inside the payload; nobody else knows the end yet.
        unsafe { (&raw mut (*payload.as_ptr()).side_and_one).write(side_and_one) };
    }

    /// The object behind it: its handle is what travels.
    pub const fn object(&self) -> &Object {
        &self.object
    }

    /// Whether messages can come here.
    pub fn is_readable(&self) -> bool {
        self.incoming().is_some()
    }

    /// Whether messages can be sent from here.
    pub fn is_writable(&self) -> bool {
        self.outgoing().is_some()
    }

    /// Begins to send a message: `parts`, one after the other. The receiver is told `tag`.
    /// `None`: this end only receives.
    pub fn send<'a>(
        &'a self,
        tag: u16,
        parts: &'a [&'a [u8]],
        carried: Carried,
    ) -> Option<Sending<'a>> {
        Some(Sending::new(self, self.outgoing()?, tag, parts, carried))
    }

    /// Begins to receive a message. `None`: this end only sends.
    pub fn receive(&self) -> Option<Receiving<'_>> {
        Some(Receiving::new(self, self.incoming()?))
    }

    /// Whether `receive` would find a message, or the end of file, at once. False if this end only
    /// sends.
    pub fn is_ready(&self) -> bool {
        self.incoming().is_some_and(|way| matches!(self.attempt_to_poll(&way), Step::Ended))
    }

    /// Whether all was received and nobody is left who could send.
    pub(super) fn is_at_end(&self) -> bool {
        // In this order: what was sent before the side was closed is seen.
        self.is_peer_closed() && self.incoming().is_none_or(|way| way.is_empty())
    }

    /// Waits until [`End::is_ready`].
    pub fn poll(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        let Some(way) = self.incoming() else { return Wait::TimedOut };
        let attempt = || self.attempt_to_poll(&way);
        let look = || self.look_for_peer();
        Patience::new().wait(self.heap(), deadline, waiting, attempt, look)
    }

    pub(super) fn attempt_to_poll<'a>(&self, way: &Way<'a>) -> Step<'a> {
        let words = way.words;
        // In this order: what was sent before the side was closed is seen.
        let is_closed = self.is_peer_closed();
        if way.is_empty() {
            return if is_closed { Step::Ended } else { Step::Blocked(&words.data) };
        }
        let head = words.head.load(Ordering::Acquire);
        let is_first = way.record_at(head).flags.has(Flags::FIRST);
        if is_first && words.head.load(Ordering::Acquire) == head {
            return Step::Ended;
        }
        // Another receiver is in the middle of a message, or was.
        let me = Owner::me(self.heap());
        if !words.receiver.try_take(me, self.heap()) {
            return Step::Blocked(&words.receiver_left);
        }
        let has_message = skip_rest_of_lost(self, way).is_some();
        words.receiver.leave();
        let changed = give_room(way);
        words.receiver_left.notify_all_of(changed);
        if has_message || is_closed { Step::Ended } else { Step::Blocked(&words.data) }
    }

    pub(super) fn heap(&self) -> &Arc<Heap> {
        self.object.heap()
    }

    pub(super) fn core(&self) -> &Core {
        // SAFETY: the end has a reference to the pipe, which is there as long.
        unsafe { self.core.as_ref() }
    }

    pub(super) fn incoming(&self) -> Option<Way<'_>> {
        // SAFETY: the end has a reference to the pipe, which is there as long.
        unsafe { Way::from_side(self.core, OTHER[self.side]) }
    }

    fn outgoing(&self) -> Option<Way<'_>> {
        // SAFETY: as for `incoming`.
        unsafe { Way::from_side(self.core, self.side) }
    }

    /// Whether nobody has the other end any more.
    #[inline]
    pub fn is_peer_closed(&self) -> bool {
        self.core().is_closed(OTHER[self.side])
    }

    /// Which pipe of which family it belongs to.
    pub(super) fn pipe_key(&self) -> socket_pair::Key {
        key_of(self.heap(), self.core())
    }

    /// 0 or 1.
    pub(super) const fn side(&self) -> usize {
        self.side
    }

    /// Looks for what nobody has told of.
    pub(super) fn look_around(&self) {
        self.heap().bury_the_dead();
        self.look_for_peer();
    }

    /// Marks the other side closed if its end is gone. Whoever ends an end does that; it may have
    /// been killed just before.
    #[cold]
    pub(super) fn look_for_peer(&self) {
        let side = OTHER[self.side];
        if self.core().is_closed(side) {
            return;
        }
        let mut bytes = [0; Handle::LEN];
        for (word, bytes) in self.core().ends[side].iter().zip(bytes.as_chunks_mut::<8>().0) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        let Ok(handle) = Handle::from_bytes(&bytes) else { return };
        if let Err(OpenError::Gone { .. }) = Object::open(handle, &END) {
            self.core().close(side);
        }
    }
}

/// The family, where in its heap, and which of those that come to lie there.
fn key_of(heap: &Heap, core: &Core) -> socket_pair::Key {
    let base = heap.address(0, 0).as_ptr() as usize;
    let offset = std::ptr::from_ref(core) as usize - base;
    [heap.family(), offset as u64, core.serial.load(Ordering::Relaxed).into()]
}

impl PartialEq for End {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl Eq for End {}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("object", &self.object).field("side", &self.side).finish()
    }
}

/// Whether it is an end that refers to its pipe.
unsafe fn fits_end(payload: NonNull<u8>, len: u64) -> bool {
    if len < size_of::<Payload>() as u64 {
        return false;
    }
    // SAFETY: long enough, and an end's payload never changes after somebody was told of it.
    let payload = unsafe { payload.cast::<Payload>().read() };
    matches!(payload.side_and_one, 1 | 2) && payload.pipe_len >= Core::LEN
}

/// The last holder of an end is gone: the other side hears of it.
unsafe fn destroy_end(heap: &Arc<Heap>, payload: NonNull<u8>, _len: u64) {
    // SAFETY: an end's payload, which nobody else can reach any more.
    let payload = unsafe { payload.cast::<Payload>().read() };
    let Some(side) = (payload.side_and_one as usize).checked_sub(1) else { return };
    // Where this process cannot reach it, the other side finds out when it looks for the end.
    if let Ok(core) = heap.reach(payload.core_at, payload.pipe_len) {
        // SAFETY: the end's reference keeps the pipe; the core is made of atomics.
        unsafe { core.cast::<Core>().as_ref() }.close(side);
    }
    // SAFETY: the end's one reference, and it is the end's end.
    unsafe { release_message(heap, &[payload.pipe]) };
}

/// Both ends are gone: what was never received is released.
unsafe fn destroy_pipe(heap: &Arc<Heap>, payload: NonNull<u8>, _len: u64) {
    // SAFETY: a pipe's payload, which is there until this returns; the core is made of atomics.
    socket_pair::forget(key_of(heap, unsafe { payload.cast().as_ref() }));
    for side in [0, 1] {
        // SAFETY: a pipe's payload, which is there until this returns.
        let Some(way) = (unsafe { Way::from_side(payload.cast(), side) }) else { continue };
        let tail = way.words.tail.load(Ordering::Acquire);
        let mut position = way.words.head.load(Ordering::Relaxed);
        while position < tail {
            let record = way.record_at(position);
            if record.flags.has(Flags::HANDLES) {
                // SAFETY: those of a message that nobody can receive any more.
                unsafe { release_all(heap, &raw_handles_of(&way, position, record)) };
            }
            position += record.size();
        }
    }
}
