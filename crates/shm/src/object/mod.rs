//! Objects that several processes share: counted, and ended with their last reference.
//!
//! An object is a block of the heap that belongs to the family and starts with a header. How many
//! references there are stands in the word of the block, where a holder stands for other blocks
//! (see `word.rs`); so what is an object is known by a word that no user of the heap can reach.
//!
//! | references | meaning | left by |
//! |---|---|---|
//! | 1 or more | the object lives | `open`, `travel`: one more; drop, `bury`: one less |
//! | 0 | whoever counted down to 0 ends it: `Kind::destroy`, then the block is given back | that one |
//!
//! Who counts: each process once, however many [`Object`] values it has (see `holds.rs`, where the
//! undertaker finds it after a death); each message that names the object ([`Carried`]).
//!
//! A [`Handle`] counts nothing. It opens the object while somebody else holds it, and is believed
//! in nothing: it must name the start of a block that is an object, which is counted first. Then
//! serial number, kind, length and [`Shape`] are compared with the header, and the kind says
//! whether what lies there [fits](Kind).

mod carried;
mod handle;
mod holds;
mod kind;
pub(crate) mod registry;
mod shape;
mod word;

use std::collections::HashMap;
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::block::Block;
use crate::family;
use crate::heap::Heap;
use crate::layout::BlockRef;
use crate::layout::LARGEST_SMALL;
use crate::out_of_memory::OutOfMemory;
use crate::party::Party;
use registry::{FreeSlots, Inner, Registry, Slot};
use word::{Count, NO_REFERENCE, ONE_REFERENCE};

pub use carried::{Carried, release_message};
pub use handle::{Handle, OpenError};
pub(crate) use holds::release_holds_of;
pub use kind::{Kind, ids, register};
pub use registry::Object;
pub use shape::{Shape, Sort};

/// In front of every object. Never changes after the block became an object.
#[repr(C, align(64))]
struct Header {
    kind: AtomicU32,
    serial: AtomicU32,
    len: AtomicU64,
    shape: AtomicU64,
}

pub(crate) const HEADER_LEN: u64 = size_of::<Header>() as u64;

#[cfg(not(loom))]
const _: () = assert!(HEADER_LEN == 64);

/// Low bits of a slot; offsets are multiples of 64.
const STATES: u64 = 63;
const MAKING: u64 = 1;
const CHANGING: u64 = 2;

/// A heap has no more users than this once its last object goes: who keeps it, the object, and the
/// handle around it. Somebody unseen among them (a pool) would lose warm pages, and nothing else.
const N_IDLE: usize = 3;

/// A reference for each object of this process, made before a fork for the child.
pub(crate) struct Inheritance {
    objects: Vec<(Object, Slot)>,
    free: Vec<Slot>,
}

impl Object {
    /// A new object with `len` bytes of zeros, which the caller makes into what it is to be before
    /// it tells anybody.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    ///
    /// # Safety
    /// Before anybody else learns of the object, or it is dropped, its bytes are what every user of
    /// this kind may rely on, and what its end can deal with. Zeros are, at least for the latter.
    pub unsafe fn create(
        heap: &Arc<Heap>,
        kind: &'static Kind,
        shape: Shape,
        len: u64,
    ) -> Result<Self, OutOfMemory> {
        let too_large = || OutOfMemory::new(len, "no heap is that large".to_owned());
        let whole = len.checked_add(HEADER_LEN).ok_or_else(too_large)?;
        Self::create_in(heap, kind, shape, len, || {
            let mut block = heap.alloc(whole)?;
            // A large block comes from regions that read as zeros.
            if whole <= LARGEST_SMALL {
                block.fill(0);
            }
            Ok(block)
        })
    }

    /// As [`Object::create`], for large objects that are mostly address space: pages appear when
    /// they are touched, and that is when a shortage of memory shows.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the heap's limit is reached.
    ///
    /// # Safety
    /// As for [`Object::create`].
    pub unsafe fn create_sparse(
        heap: &Arc<Heap>,
        kind: &'static Kind,
        len: u64,
    ) -> Result<Self, OutOfMemory> {
        let too_large = || OutOfMemory::new(len, "no heap is that large".to_owned());
        let whole = len.checked_add(HEADER_LEN).ok_or_else(too_large)?;
        Self::create_in(heap, kind, Shape::NONE, len, || heap.alloc_sparse(whole))
    }

    fn create_in(
        heap: &Arc<Heap>,
        kind: &'static Kind,
        shape: Shape,
        len: u64,
        alloc: impl FnOnce() -> Result<Block, OutOfMemory>,
    ) -> Result<Self, OutOfMemory> {
        let free = &heap.registry.free;
        let slot = free.take(heap)?;
        let block = alloc().inspect_err(|_| free.put(slot))?;
        let offset = block.at().offset;
        heap.reach(offset, HEADER_LEN + len).inspect_err(|_| free.put(slot))?;
        let serial = heap.next_serial();
        let header = header(heap, offset);
        header.kind.store(kind.id(), Ordering::Relaxed);
        header.serial.store(serial, Ordering::Relaxed);
        header.len.store(len, Ordering::Relaxed);
        header.shape.store(shape.word(), Ordering::Relaxed);
        slot.set(heap, offset | MAKING);
        // Release: who sees that it is an object sees the header.
        block.give_to(ONE_REFERENCE);
        slot.set(heap, offset);
        Ok(Self::known(heap, Found { offset, len, serial, kind, shape }, slot))
    }

    /// The object that `handle` names, whatever its [`Shape`].
    ///
    /// # Errors
    /// [`OpenError`], each a sentence for the user.
    pub fn open(handle: Handle, kind: &'static Kind) -> Result<Self, OpenError> {
        let what = kind.name();
        let heap = family::existing().ok_or(OpenError::NoFamily { what })?;
        if heap.family() != handle.family {
            return Err(OpenError::OtherFamily { what });
        }
        if handle.kind != kind.id() {
            return Err(OpenError::wrong_kind(what, handle.kind));
        }
        let known = heap.registry.lock().get(&handle.offset).and_then(Weak::upgrade);
        if let Some(inner) = known.filter(|inner| inner.serial == handle.serial) {
            let is_it = inner.kind.id() == kind.id();
            let found = inner.kind.id();
            return is_it.then_some(Self { inner }).ok_or(OpenError::wrong_kind(what, found));
        }
        Self::open_anew(&heap, handle, kind)
    }

    /// The object of this shape that `handle` names.
    ///
    /// # Errors
    /// As [`Object::open`], also if its data is of another type.
    pub fn open_as(handle: Handle, kind: &'static Kind, shape: Shape) -> Result<Self, OpenError> {
        let object = Self::open(handle, kind)?;
        let found = object.inner.shape;
        if found == shape {
            return Ok(object);
        }
        Err(OpenError::WrongShape { what: kind.name(), wanted: shape, found })
    }

    fn open_anew(heap: &Arc<Heap>, handle: Handle, kind: &'static Kind) -> Result<Self, OpenError> {
        let offset = handle.offset;
        let what = kind.name();
        if !heap.may_have_block_at(offset) {
            return Err(OpenError::Malformed { what });
        }
        let count = Count::at(heap, offset).map_err(OpenError::OutOfMemory)?;
        let count = count.ok_or(OpenError::Gone { what })?;
        let slot = heap.registry.free.take(heap).map_err(OpenError::OutOfMemory)?;
        slot.set(heap, offset | CHANGING);
        if !count.take() {
            slot.set(heap, 0);
            heap.registry.free.put(slot);
            return Err(OpenError::Gone { what });
        }
        // From here on the object cannot end, so its header is that of an object.
        let checked = check(heap, handle, kind, count.capacity);
        let found = checked.inspect_err(|_| {
            unreference(heap, offset);
            slot.set(heap, 0);
            heap.registry.free.put(slot);
        })?;
        slot.set(heap, offset);
        Ok(Self::known(heap, found, slot))
    }

    fn known(heap: &Arc<Heap>, found: Found, slot: Slot) -> Self {
        let Found { offset, len, serial, kind, shape } = found;
        let slot = Mutex::new((slot, heap.me()));
        let heap = Arc::clone(heap);
        let inner = Arc::new(Inner { heap, offset, len, serial, kind, shape, slot });
        inner.heap.registry.lock().insert(offset, Arc::downgrade(&inner));
        Self { inner }
    }

    /// Where its bytes are in this process; 64-byte aligned.
    #[inline]
    pub fn payload(&self) -> NonNull<u8> {
        payload(&self.inner.heap, self.inner.offset)
    }

    /// How many bytes that are.
    pub fn len(&self) -> u64 {
        self.inner.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.inner.len == 0
    }

    /// The heap it lies in.
    pub fn heap(&self) -> &Arc<Heap> {
        &self.inner.heap
    }

    /// What it is.
    pub fn kind(&self) -> &'static Kind {
        self.inner.kind
    }

    /// What tells it from all other objects of the family at the moment.
    pub fn offset(&self) -> u64 {
        self.inner.offset
    }

    /// Its name, which keeps nothing alive.
    pub fn handle(&self) -> Handle {
        Handle {
            family: self.inner.heap.family(),
            offset: self.inner.offset,
            serial: self.inner.serial,
            kind: self.inner.kind.id(),
        }
    }

    /// Its name to be sent away. During [`Carried::collect`] the message counts as a holder; else
    /// nobody knows where the name goes, and this process keeps the object until it ends.
    pub fn travel(&self) -> Handle {
        if !carried::note(self) {
            let mut pinned = lock(&self.inner.heap.registry.pinned);
            pinned.entry(self.inner.offset).or_insert_with(|| self.clone());
        }
        self.handle()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.handle() == other.handle()
    }
}

impl Eq for Object {}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} at {:#x}>", self.inner.kind.name(), self.inner.offset)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (slot, party) = *self.slot.get_mut().unwrap_or_else(PoisonError::into_inner);
        // In a forked child that was given no reference of its own it is the parent's.
        if party != self.heap.me() {
            return;
        }
        let this: *const Self = self;
        let mut objects = self.heap.registry.lock();
        // Another thread may have opened it anew meanwhile.
        if objects.get(&self.offset).is_some_and(|weak| weak.as_ptr() == this) {
            objects.remove(&self.offset);
        }
        let is_last = objects.is_empty();
        drop(objects);
        slot.set(&self.heap, self.offset | CHANGING);
        unreference(&self.heap, self.offset);
        slot.set(&self.heap, 0);
        self.heap.registry.free.put(slot);
        if is_last && Arc::strong_count(&self.heap) <= N_IDLE {
            self.heap.release_warm();
        }
    }
}

impl Heap {
    fn next_serial(&self) -> u32 {
        loop {
            let serial = self.header().next_serial.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            // 0 is what an untouched page reads as.
            if serial != 0 {
                return serial;
            }
        }
    }

    /// Whether there could be a block, now or at another time.
    fn may_have_block_at(&self, offset: u64) -> bool {
        offset.is_multiple_of(64) && self.layout.region_of(offset).is_some()
    }

    /// Before a fork: what the child, as `party`, is to hold.
    pub(crate) fn inheritance_for(
        self: &Arc<Self>,
        party: Party,
    ) -> Result<Inheritance, OutOfMemory> {
        let living: Vec<Object> = {
            let objects = self.registry.lock();
            let inners = objects.values().filter_map(Weak::upgrade);
            inners.map(|inner| Object { inner }).collect()
        };
        let mut inheritance = Inheritance { objects: Vec::new(), free: Vec::new() };
        for object in living {
            if inheritance.free.is_empty() {
                inheritance.free = holds::new_page(self, party)?;
            }
            let slot = inheritance.free.pop().expect("a page has slots");
            let offset = object.inner.offset;
            slot.set(self, offset | CHANGING);
            // We hold it, so it lives; the child knows nothing of one that cannot be counted.
            if Count::at(self, offset).ok().flatten().is_some_and(Count::take) {
                slot.set(self, offset);
                inheritance.objects.push((object, slot));
            } else {
                slot.set(self, 0);
                inheritance.free.push(slot);
            }
        }
        Ok(inheritance)
    }

    /// In the child of a fork, which has become `party`: holds what was made for it.
    pub(crate) fn inherit(&self, inheritance: Inheritance, party: Party) {
        let mut objects = HashMap::new();
        for (object, slot) in &inheritance.objects {
            // Not `lock`: a thread of the parent may have had it.
            if let Ok(mut place) = object.inner.slot.try_lock() {
                *place = (*slot, party);
            }
            objects.insert(object.inner.offset, Arc::downgrade(&object.inner));
        }
        self.registry.renew(Registry {
            objects: Mutex::new(objects),
            free: FreeSlots::of_child(inheritance.free),
            pinned: Mutex::default(),
        });
    }

    /// The calling process, a party already, becomes `to`: as whom it was launched.
    pub(crate) fn change_party(&self, to: Party) {
        let from = self.me();
        holds::move_pages(self, from, to);
        // It is settled already, as the mapping that it joined by.
        assert!(self.become_party(to), "a process that runs is not buried");
        for inner in self.registry.lock().values().filter_map(Weak::upgrade) {
            lock(&inner.slot).1 = to;
        }
        self.free_entry(from);
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Weak<Inner>>> {
        lock(&self.objects)
    }
}

/// An object as its header describes it.
struct Found {
    offset: u64,
    len: u64,
    serial: u32,
    kind: &'static Kind,
    shape: Shape,
}

/// Whether the object that the caller has counted is the one that `handle` names.
fn check(
    heap: &Heap,
    handle: Handle,
    kind: &'static Kind,
    capacity: u64,
) -> Result<Found, OpenError> {
    let what = kind.name();
    let offset = handle.offset;
    let header = reach_header(heap, offset).map_err(OpenError::OutOfMemory)?;
    let serial = header.serial.load(Ordering::Relaxed);
    if serial != handle.serial {
        return Err(OpenError::Gone { what });
    }
    let id = header.kind.load(Ordering::Relaxed);
    if id != kind.id() {
        return Err(OpenError::wrong_kind(what, id));
    }
    let len = header.len.load(Ordering::Relaxed);
    let is_inside = len.checked_add(HEADER_LEN).is_some_and(|whole| whole <= capacity);
    if !is_inside {
        return Err(OpenError::Malformed { what });
    }
    heap.reach(offset, HEADER_LEN + len).map_err(OpenError::OutOfMemory)?;
    // SAFETY: an object of this kind and length, by its header, which the caller has counted.
    if !unsafe { kind.fits(payload(heap, offset), len) } {
        return Err(OpenError::Malformed { what });
    }
    let shape = Shape::from_word(header.shape.load(Ordering::Relaxed));
    Ok(Found { offset, len, serial, kind, shape })
}

/// Counts one more reference for a message that names the object; false: it is gone.
fn reference(heap: &Heap, handle: Handle) -> bool {
    living(heap, handle).is_some_and(Count::take)
}

/// The count of the object that the handle names, if that lives. For handles out of messages, which
/// keep what they name alive: anything else is no handle of theirs.
fn living(heap: &Heap, handle: Handle) -> Option<Count<'_>> {
    let count = Count::at(heap, handle.offset).ok().flatten()?;
    let is_it = count.get().is_some_and(|n| n != 0)
        && reach_header(heap, handle.offset).ok()?.serial.load(Ordering::Relaxed) == handle.serial;
    is_it.then_some(count)
}

/// Takes one reference off the count, and ends the object if it was the last.
///
/// In a process that may map no more, an object that it never reached stays with the family to its
/// end, and so does what it holds if only its header was reached.
fn unreference(heap: &Arc<Heap>, offset: u64) {
    let Ok(count) = Count::at(heap, offset) else { return };
    let left = count.and_then(Count::give_back);
    debug_assert!(left.is_some(), "a reference was released twice");
    if left != Some(0) {
        return;
    }
    let Ok(header) = reach_header(heap, offset) else { return };
    let len = header.len.load(Ordering::Relaxed);
    // A kind this process does not know cannot be ended here: it stays with the family.
    let Some(kind) = kind::known(header.kind.load(Ordering::Relaxed)) else { return };
    if heap.reach(offset, HEADER_LEN + len).is_ok() {
        // SAFETY: an object of this kind, which nobody else can reach any more.
        unsafe { kind.destroy(heap, payload(heap, offset), len) };
    }
    // SAFETY: the last reference was ours, so the block is.
    unsafe { heap.give_back(BlockRef { offset, len: HEADER_LEN + len }, NO_REFERENCE) };
}

/// Before an object is looked at that this process may not have seen.
fn reach_header(heap: &Heap, offset: u64) -> Result<&Header, OutOfMemory> {
    heap.reach(offset, HEADER_LEN)?;
    Ok(header(heap, offset))
}

/// Before a message is taken that names these objects: whoever has it can open them.
///
/// # Errors
/// [`OutOfMemory`] if this process may map no more.
pub fn reach_all(heap: &Heap, handles: &[Handle]) -> Result<(), OutOfMemory> {
    handles.iter().try_for_each(|handle| {
        let count = Count::at(heap, handle.offset)?;
        count.map_or(Ok(()), |count| heap.reach(handle.offset, count.capacity).map(drop))
    })
}

/// Of an object that was reached.
fn header(heap: &Heap, offset: u64) -> &Header {
    debug_assert!(heap.windows.is_mapped(offset, HEADER_LEN));
    // SAFETY: inside the file, mapped, aligned, made of atomics.
    unsafe { heap.place(offset).cast().as_ref() }
}

#[inline]
fn payload(heap: &Heap, offset: u64) -> NonNull<u8> {
    heap.place(offset + HEADER_LEN)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
