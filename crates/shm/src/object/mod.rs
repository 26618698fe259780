//! Objects that several processes share: counted, and ended with their last reference.
//!
//! An object is a block of the heap that belongs to the family ([`Party::FAMILY`]) and starts with
//! a header: how many references there are, and its serial number, in one word.
//!
//! | references | meaning | left by |
//! |---|---|---|
//! | 1 or more | the object lives | `open`, `travel`: one more; drop, `bury`: one less |
//! | 0 | whoever counted down to 0 ends it: `Kind::destroy`, then the block is given back | that one |
//!
//! Who counts: each process once, however many [`Object`] values it has (see `holds.rs`, where the
//! undertaker finds it after a death); each message that names the object ([`Carried`]).
//!
//! A [`Handle`] counts nothing. It opens the object while somebody else holds it; the serial number
//! tells if what lies there is another object by now, in the same compare-and-swap that counts.

mod carried;
mod handle;
mod holds;
mod kind;

use std::collections::HashMap;
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::block::{Block, BlockRef};
use crate::family;
use crate::heap::{Heap, OutOfMemory};
use crate::layout::LARGEST_SMALL;
use crate::party::Party;
use holds::{FreeSlots, Slot};

pub use carried::{Carried, release_message};
pub use handle::{Handle, OpenError};
pub(crate) use holds::release_holds_of;
pub use kind::{Kind, ids, register};

/// A reference to a shared object, this process's. Clones are counted within the process only.
#[derive(Clone)]
pub struct Object {
    inner: Arc<Inner>,
}

struct Inner {
    heap: Arc<Heap>,
    offset: u64,
    len: u64,
    serial: u32,
    kind: &'static Kind,
    /// Where the reference is written down, and whose it is; both change in a forked child.
    slot: Mutex<(Slot, Party)>,
}

/// In front of every object.
#[repr(C, align(64))]
struct Header {
    /// Low half: references. High half: serial number.
    word: AtomicU64,
    kind: AtomicU32,
    _unused: AtomicU32,
    len: AtomicU64,
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

/// What this process has of the family's objects.
#[derive(Default)]
pub(crate) struct Registry {
    objects: Mutex<HashMap<u64, Weak<Inner>>>,
    free: FreeSlots,
    /// Named in pickles that nobody here knows the whereabouts of: kept as long as the process.
    pinned: Mutex<HashMap<u64, Object>>,
}

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
    pub fn create(heap: &Arc<Heap>, kind: &'static Kind, len: u64) -> Result<Self, OutOfMemory> {
        Self::create_in(heap, kind, len, || {
            let whole = HEADER_LEN.saturating_add(len);
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
    pub fn create_sparse(
        heap: &Arc<Heap>,
        kind: &'static Kind,
        len: u64,
    ) -> Result<Self, OutOfMemory> {
        Self::create_in(heap, kind, len, || heap.alloc_sparse(HEADER_LEN.saturating_add(len)))
    }

    fn create_in(
        heap: &Arc<Heap>,
        kind: &'static Kind,
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
        header.kind.store(kind.id, Ordering::Relaxed);
        header.len.store(len, Ordering::Relaxed);
        header.word.store(u64::from(serial) << 32 | 1, Ordering::Release);
        slot.set(heap, offset | MAKING);
        block.give_to(Party::FAMILY);
        slot.set(heap, offset);
        Ok(Self::known(heap, offset, len, serial, kind, slot))
    }

    /// The object that `handle` names.
    ///
    /// # Errors
    /// [`OpenError`], each a sentence for the user.
    pub fn open(handle: Handle, kind: &'static Kind) -> Result<Self, OpenError> {
        let what = kind.name;
        let heap = family::existing().ok_or(OpenError::NoFamily { what })?;
        if heap.family() != handle.family {
            return Err(OpenError::OtherFamily { what });
        }
        if handle.kind != kind.id {
            let found = kind::known(handle.kind).map_or("something else", |kind| kind.name);
            return Err(OpenError::WrongKind { what, found });
        }
        let known = heap.registry.lock().get(&handle.offset).and_then(Weak::upgrade);
        if let Some(inner) = known.filter(|inner| inner.serial == handle.serial) {
            return Ok(Self { inner });
        }
        Self::open_anew(&heap, handle, kind)
    }

    fn open_anew(heap: &Arc<Heap>, handle: Handle, kind: &'static Kind) -> Result<Self, OpenError> {
        let offset = handle.offset;
        if !heap.has_object_at(offset) {
            return Err(OpenError::Malformed);
        }
        let header = reach_header(heap, offset).map_err(OpenError::OutOfMemory)?;
        let slot = heap.registry.free.take(heap).map_err(OpenError::OutOfMemory)?;
        slot.set(heap, offset | CHANGING);
        if !header.reference(handle.serial) {
            slot.set(heap, 0);
            heap.registry.free.put(slot);
            return Err(OpenError::Gone { what: kind.name });
        }
        slot.set(heap, offset);
        let len = header.len.load(Ordering::Relaxed);
        let object = Self::known(heap, offset, len, handle.serial, kind, slot);
        // Its drop, if that fails, gives the reference back.
        heap.reach(offset, HEADER_LEN + len).map_err(OpenError::OutOfMemory)?;
        Ok(object)
    }

    fn known(
        heap: &Arc<Heap>,
        offset: u64,
        len: u64,
        serial: u32,
        kind: &'static Kind,
        slot: Slot,
    ) -> Self {
        let slot = Mutex::new((slot, heap.me()));
        let inner = Arc::new(Inner { heap: Arc::clone(heap), offset, len, serial, kind, slot });
        heap.registry.lock().insert(offset, Arc::downgrade(&inner));
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
            kind: self.inner.kind.id,
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
        write!(f, "<{} at {:#x}>", self.inner.kind.name, self.inner.offset)
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

    fn has_object_at(&self, offset: u64) -> bool {
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
            // We hold it, so it lives.
            header(self, offset).reference_once_more();
            slot.set(self, offset);
            inheritance.objects.push((object, slot));
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

impl Header {
    /// Counts one more reference to an object that somebody holds.
    fn reference_once_more(&self) {
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let counted = self.word.fetch_update(success, failure, |word| Some(one_more(word)));
        debug_assert!(counted.is_ok_and(|word| word as u32 != 0), "nobody holds the object");
    }

    /// Counts one more reference to the object with this serial number, if it lives.
    fn reference(&self, serial: u32) -> bool {
        let mut word = self.word.load(Ordering::Acquire);
        while (word >> 32) as u32 == serial && word as u32 != 0 {
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match self.word.compare_exchange(word, one_more(word), success, failure) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }
}

/// The word with one reference more, which must not become another serial number.
fn one_more(word: u64) -> u64 {
    assert!(word as u32 != u32::MAX, "an object is named so often that it cannot be counted");
    word + 1
}

/// Takes one reference off the count, and ends the object if it was the last.
///
/// In a process that may map no more, an object that it never reached stays with the family to its
/// end, and so does what it holds if only its header was reached.
fn unreference(heap: &Arc<Heap>, offset: u64) {
    let Ok(header) = reach_header(heap, offset) else { return };
    // AcqRel: who ends the object sees what all other holders did to it.
    let before = header.word.fetch_sub(1, Ordering::AcqRel);
    debug_assert!(before as u32 != 0, "a reference was released twice");
    if before as u32 != 1 {
        return;
    }
    let len = header.len.load(Ordering::Relaxed);
    // A kind this process does not know cannot be ended here: it stays with the family.
    let Some(kind) = kind::known(header.kind.load(Ordering::Relaxed)) else { return };
    if heap.reach(offset, HEADER_LEN + len).is_ok() {
        (kind.destroy)(heap, payload(heap, offset), len);
    }
    heap.give_back(BlockRef { offset, len: HEADER_LEN + len }, Party::FAMILY);
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
        let len = reach_header(heap, handle.offset)?.len.load(Ordering::Relaxed);
        heap.reach(handle.offset, HEADER_LEN + len).map(drop)
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
