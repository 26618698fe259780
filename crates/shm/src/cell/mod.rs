//! Shared memory that holds numbers: single cells, arrays of them, or plain bytes.
//!
//! One kind of object serves all: a [`Memory`] has a header of 64 bytes, its data, and (in what the
//! allocator's rounding leaves over, or in space asked for) *watch slots*, by which a lost update
//! is noticed; see [`watch`].
//!
//! Guarantees:
//! - [`Number`]'s operations are each one atomic access, or a loop around one compare-and-swap: a
//!   process killed anywhere in them has changed the cell or has not. There is no lock.
//! - The data starts as zeros, aligned to 64 bytes.
//!
//! What it does not do: order operations on different cells against each other beyond what
//! sequential consistency gives, or make a read followed by a write one step (that is what
//! [`Number::update`] or a lock around both is for).

mod cells;
mod number;
pub mod watch;

use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Handle;
use crate::heap::Heap;
use crate::layout::{LARGEST_SMALL, SMALLEST};
use crate::object::{HEADER_LEN as OBJECT_HEADER_LEN, Kind, Object, OpenError, Shape, ids};
use crate::out_of_memory::OutOfMemory;

pub use cells::{Shared, SharedSlice};
pub use number::{Integer, Number};

/// What memory is in a pickle.
// SAFETY: the one kind of this number. Nothing is to be done at its end.
pub static KIND: Kind = unsafe { Kind::new(ids::MEMORY, "shared memory", fits, destroy) };

/// Bytes shared by a family.
#[derive(Clone, Debug)]
pub struct Memory {
    object: Object,
    data: NonNull<u8>,
    /// As in the header, where neither ever changes.
    len: u64,
    n_slots: u32,
}

// SAFETY: the data is reached through atomics, or by callers who promise to follow the rules for
// memory that others write.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// In front of the data.
#[repr(C, align(64))]
pub(crate) struct Header {
    data_len: AtomicU64,
    n_slots: AtomicU32,
    /// How lost updates are met in all processes; see [`Memory::set_mode`].
    mode: AtomicU32,
    n_lost_updates: AtomicU64,
    /// Not 0: its name opens nothing any more.
    unlinked: AtomicU32,
    /// A bit for each pair of lines that was reported, by its hash.
    reported: [AtomicU64; N_REPORTED],
}

const N_REPORTED: usize = 4;

const HEADER_LEN: u64 = size_of::<Header>() as u64;

#[cfg(not(loom))]
const _: () = assert!(HEADER_LEN == 64);

/// So many elements of one array are watched at a time.
const MAX_SLOTS: u64 = 256;

impl Memory {
    /// `len` bytes of zeros. `n_watched` cells in it are to be watched; there may be slots for some
    /// even if that is 0.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn create(heap: &Arc<Heap>, len: u64, n_watched: u64) -> Result<Self, OutOfMemory> {
        Self::create_as(heap, Shape::NONE, len, n_watched)
    }

    fn create_as(
        heap: &Arc<Heap>,
        shape: Shape,
        len: u64,
        n_watched: u64,
    ) -> Result<Self, OutOfMemory> {
        let too_large = || OutOfMemory::new(len, "no heap is that large".to_owned());
        let slots_at = len.checked_add(HEADER_LEN + 7).ok_or_else(too_large)? & !7;
        let wanted = slots_at
            .checked_add(n_watched.min(MAX_SLOTS) * watch::SLOT_LEN)
            .filter(|wanted| *wanted < 1 << 56)
            .ok_or_else(too_large)?;
        let whole = rounded(wanted);
        // SAFETY: the header is set up below, and zeros are numbers and slots.
        let object = unsafe { Object::create(heap, &KIND, shape, whole) }?;
        // SAFETY: the payload of memory.
        let header = unsafe { header_at(object.payload()) };
        header.data_len.store(len, Ordering::Relaxed);
        let n_slots = ((whole - slots_at) / watch::SLOT_LEN).min(MAX_SLOTS);
        header.n_slots.store(n_slots as u32, Ordering::Relaxed);
        Ok(Self::of(object))
    }

    /// The bytes of the memory that `handle` names, whatever they are.
    ///
    /// # Errors
    /// [`OpenError`], each a sentence for the user.
    pub fn open(handle: Handle) -> Result<Self, OpenError> {
        Object::open(handle, &KIND).map(Self::of)
    }

    /// The memory of this shape that `handle` names.
    ///
    /// # Errors
    /// As [`Memory::open`], also if it was made for data of another type.
    fn open_as(handle: Handle, shape: Shape) -> Result<Self, OpenError> {
        Object::open_as(handle, &KIND, shape).map(Self::of)
    }

    fn of(object: Object) -> Self {
        let payload = object.payload();
        // SAFETY: the payload of memory.
        let header = unsafe { header_at(payload) };
        let len = header.data_len.load(Ordering::Relaxed);
        let n_slots = header.n_slots.load(Ordering::Relaxed);
        // SAFETY: the payload is at least a header long.
        let data = unsafe { payload.add(HEADER_LEN as usize) };
        Self { object, data, len, n_slots }
    }

    /// The object that is counted, and travels.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Where the data is in this process.
    #[inline]
    pub fn data(&self) -> NonNull<u8> {
        self.data
    }

    /// Bytes of data.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the name was taken away.
    pub fn is_unlinked(&self) -> bool {
        self.header().unlinked.load(Ordering::Acquire) != 0
    }

    /// Takes the name away; false if somebody else did.
    pub fn unlink(&self) -> bool {
        self.header().unlinked.swap(1, Ordering::AcqRel) == 0
    }

    /// How every process is to meet lost updates here: a number that means something to the caller,
    /// 0 for not at all.
    pub fn set_mode(&self, mode: u32) {
        self.header().mode.store(mode, Ordering::Relaxed);
    }

    /// See [`Memory::set_mode`].
    #[inline]
    pub fn mode(&self) -> u32 {
        self.header().mode.load(Ordering::Relaxed)
    }

    /// Updates that were lost here, as far as they were noticed.
    pub fn n_lost_updates(&self) -> u64 {
        self.header().n_lost_updates.load(Ordering::Relaxed)
    }

    /// One more update was lost here.
    pub fn count_lost_update(&self) {
        self.header().n_lost_updates.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether what hashes to `hash` is reported here for the first time, in any process. Two
    /// things may be taken for one.
    pub fn is_first_report(&self, hash: u64) -> bool {
        let bit = hash % (64 * N_REPORTED as u64);
        let word = &self.header().reported[bit as usize / 64];
        let mask = 1 << (bit % 64);
        word.fetch_or(mask, Ordering::Relaxed) & mask == 0
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: in front of the data lies the header, mapped as long as the object.
        unsafe { header_at(self.data.sub(HEADER_LEN as usize)) }
    }

    fn slot(&self, cell_idx: u64) -> Option<&watch::Slot> {
        let n_slots = u64::from(self.n_slots);
        if n_slots == 0 {
            return None;
        }
        let slots_at = (self.len() + 7) & !7;
        let at = slots_at + cell_idx % n_slots * watch::SLOT_LEN;
        // SAFETY: the slots follow the data and are made of atomics; `create` counted them, and
        // `fits` saw that there is room for so many.
        Some(unsafe { self.data.add(at as usize).cast().as_ref() })
    }
}

/// # Safety
/// The payload of memory, which is there for as long as `'a`.
unsafe fn header_at<'a>(payload: NonNull<u8>) -> &'a Header {
    // SAFETY: aligned to 64, at least so long, and made of atomics.
    unsafe { payload.cast().as_ref() }
}

/// Data and slots are as long as the header says.
unsafe fn fits(payload: NonNull<u8>, whole: u64) -> bool {
    if whole < HEADER_LEN {
        return false;
    }
    // SAFETY: the payload of memory, that is there meanwhile.
    let header = unsafe { header_at(payload) };
    let n_slots = u64::from(header.n_slots.load(Ordering::Relaxed));
    let slots_at = header.data_len.load(Ordering::Relaxed).checked_add(HEADER_LEN + 7);
    let end = slots_at.and_then(|at| (at & !7).checked_add(n_slots * watch::SLOT_LEN));
    // Without slots the data may end with the object.
    let data_end = header.data_len.load(Ordering::Relaxed).checked_add(HEADER_LEN);
    let end = if n_slots == 0 { data_end } else { end };
    end.is_some_and(|end| end <= whole)
}

unsafe fn destroy(_heap: &Arc<Heap>, _payload: NonNull<u8>, _len: u64) {}

/// The length that uses the whole block which `len` takes anyhow.
fn rounded(len: u64) -> u64 {
    let with_header = len + OBJECT_HEADER_LEN;
    if with_header > LARGEST_SMALL {
        return len;
    }
    with_header.next_power_of_two().max(SMALLEST) - OBJECT_HEADER_LEN
}
