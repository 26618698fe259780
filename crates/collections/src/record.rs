//! Values and keys: what is given, how it lies in a table, what is given back.
//!
//! ```text
//! head (16 bytes) | handles (24 bytes each) | bytes
//! ```
//! A record belongs to the table it lies in, and with it the references to the objects that its
//! handles name: `n_handles` in its head says that it has them. Whoever takes a record out of use
//! writes 0 there first and releases them then; so they are never released twice, and a kill in
//! between keeps the objects until the family ends.
//!
//! What is longer than [`MAX_INLINE`] is an object of its own (*stored*), named by the record's
//! only handle: it is copied neither when the table grows nor while the lock is held.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_shm::object::{Shape, ids, release_message};
use manyhands_shm::{Carried, Handle, Heap, Kind, Object, OpenError, OutOfMemory};
use manyhands_sys::atomic::{AtomicU32, Ordering};

/// In front of every record.
#[repr(C)]
pub(crate) struct Head {
    /// Bytes after the handles; of a key that is shown differently also those.
    len: AtomicU32,
    pub(crate) n_handles: AtomicU32,
    /// Of a value: the stamp of the table it was last moved to. Of a key: how many of its bytes are
    /// compared.
    pub(crate) extra: AtomicU32,
    /// Low byte: size class. [`STORED`].
    flags: AtomicU32,
}

pub(crate) const HEAD_LEN: u64 = size_of::<Head>() as u64;

const _: () = assert!(HEAD_LEN == 16);

/// The one handle names a stored object, which has the bytes.
const STORED: u32 = 1 << 8;

/// Bytes and handles that a record takes; longer ones are stored apart.
const MAX_INLINE: u64 = 2048;

/// A value on its way into a container.
pub struct Draft<'a> {
    bytes: &'a [u8],
    carried: Carried,
    is_stored: bool,
}

/// A value out of a container: a copy, or the last of it.
pub struct Value {
    bytes: Bytes,
    /// The shared objects that the bytes name; to be dropped once they were opened.
    pub carried: Carried,
}

enum Bytes {
    Copied(Vec<u8>),
    Stored(Object),
}

/// The bytes of a long value.
// SAFETY: the one kind of this number.
pub(crate) static STORED_KIND: Kind =
    unsafe { Kind::new(ids::STORED, "stored value", fits_stored, destroy_stored) };

impl<'a> Draft<'a> {
    /// A value of these bytes, which name the carried objects.
    ///
    /// # Errors
    /// [`OutOfMemory`] if it is long.
    pub fn new(heap: &Arc<Heap>, bytes: &'a [u8], carried: Carried) -> Result<Self, OutOfMemory> {
        let len = bytes.len() as u64 + (carried.handles().len() * Handle::LEN) as u64;
        if len <= MAX_INLINE {
            return Ok(Self { bytes, carried, is_stored: false });
        }
        let stored = store(heap, bytes, carried)?;
        let ((), carried) = Carried::collect(|| {
            stored.travel();
        });
        Ok(Self { bytes: &[], carried, is_stored: true })
    }

    /// Bytes the record takes.
    pub(crate) fn record_len(&self) -> u64 {
        HEAD_LEN + (self.carried.handles().len() * Handle::LEN + self.bytes.len()) as u64
    }

    /// # Panics
    /// If it was made for another heap: its handles would name something else here.
    pub(crate) fn check(&self, heap: &Heap) {
        assert!(self.carried.is_in(heap), "a container takes values made for the heap it lies in");
    }

    pub(crate) fn has_handles(&self) -> bool {
        !self.carried.is_empty()
    }

    /// Writes the record, which is not linked yet, and hands it the references.
    pub(crate) fn write(self, at: Record<'_>) {
        let handles = self.carried.handles();
        let n_handles = handles.len() as u32;
        let stored = if self.is_stored { STORED } else { 0 };
        at.set(self.bytes.len() as u32, 0, at.class() | stored);
        let mut to = HEAD_LEN;
        for handle in handles {
            at.copy_in(to, &handle.to_bytes());
            to += Handle::LEN as u64;
        }
        at.copy_in(to, self.bytes);
        if n_handles != 0 {
            self.carried.leave_to_message();
            at.head().n_handles.store(n_handles, Ordering::Release);
        }
    }
}

impl Value {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Copied(bytes) => bytes,
            Bytes::Stored(object) => stored_bytes(object),
        }
    }
}

/// A record in the mapping, which lives as long as the lock is held.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    base: NonNull<u8>,
    table: PhantomData<&'a u8>,
}

impl<'a> Record<'a> {
    /// # Safety
    /// `base` points to a record, or to room for one, 8-byte aligned, of a table that the caller
    /// has the lock of or that nobody else can reach.
    pub(crate) const unsafe fn at(base: NonNull<u8>) -> Self {
        Self { base, table: PhantomData }
    }

    pub(crate) fn head(self) -> &'a Head {
        // SAFETY: by the contract of `at` there is a head, made of atomics.
        unsafe { self.base.cast().as_ref() }
    }

    pub(crate) fn class(self) -> u32 {
        self.head().flags.load(Ordering::Relaxed) & 0xff
    }

    /// Room for a record, of this size class.
    pub(crate) fn prepare(self, class: u32) {
        self.head().n_handles.store(0, Ordering::Relaxed);
        self.head().flags.store(class, Ordering::Relaxed);
    }

    /// The same where none was before: also how long it is, for whoever walks the arena.
    pub(crate) fn prepare_first(self, class: u32, size: u64) {
        self.head().len.store((size - HEAD_LEN) as u32, Ordering::Relaxed);
        self.prepare(class);
    }

    fn set(self, len: u32, extra: u32, flags: u32) {
        let head = self.head();
        head.len.store(len, Ordering::Relaxed);
        head.extra.store(extra, Ordering::Relaxed);
        head.flags.store(flags, Ordering::Relaxed);
    }

    pub(crate) fn n_handles(self) -> u32 {
        self.head().n_handles.load(Ordering::Acquire)
    }

    fn handles_len(self) -> u64 {
        u64::from(self.n_handles()) * Handle::LEN as u64
    }

    /// Bytes it takes altogether.
    pub(crate) fn record_len(self) -> u64 {
        HEAD_LEN + self.handles_len() + u64::from(self.head().len.load(Ordering::Relaxed))
    }

    fn slice(self, from: u64, len: u64) -> &'a [u8] {
        // SAFETY: inside the record; nobody writes a record that is linked, and the borrow is of a
        // value that lives no longer than the lock is held.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(from as usize), len as usize) }
    }

    fn copy_in(self, to: u64, bytes: &[u8]) {
        // SAFETY: the record was made large enough, and is not linked yet.
        unsafe {
            let to = self.base.as_ptr().add(to as usize);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    /// Writes a key: what is compared, and what is shown if that is something else.
    pub(crate) fn write_key(self, compared: &[u8], shown: &[u8]) {
        self.set((compared.len() + shown.len()) as u32, compared.len() as u32, self.class());
        self.copy_in(HEAD_LEN, compared);
        self.copy_in(HEAD_LEN + compared.len() as u64, shown);
    }

    pub(crate) fn key(self) -> (&'a [u8], &'a [u8]) {
        let len = u64::from(self.head().len.load(Ordering::Relaxed));
        let n_compared = self.head().extra.load(Ordering::Relaxed);
        self.slice(HEAD_LEN, len).split_at(n_compared as usize)
    }

    pub(crate) fn handles(self) -> Vec<Handle> {
        let all = self.slice(HEAD_LEN, self.handles_len());
        let each = all.chunks_exact(Handle::LEN).map(Handle::from_bytes);
        each.map(|handle| handle.expect("of the right length")).collect()
    }

    /// A copy of the value, with references of its own.
    ///
    /// # Errors
    /// [`OpenError`]: there is no room to note them.
    pub(crate) fn read(self, heap: &Arc<Heap>) -> Result<Value, OpenError> {
        if self.head().flags.load(Ordering::Relaxed) & STORED != 0 {
            return Object::open(self.handles()[0], &STORED_KIND).and_then(Value::stored);
        }
        let n_handles = self.n_handles();
        let len = u64::from(self.head().len.load(Ordering::Relaxed));
        let bytes = self.slice(HEAD_LEN + self.handles_len(), len).to_vec();
        let carried = match n_handles {
            0 => Carried::default(),
            _ => Carried::copied(heap, &self.handles()).map_err(OpenError::OutOfMemory)?,
        };
        Ok(Value { bytes: Bytes::Copied(bytes), carried })
    }

    /// Takes the references away from a record that is out of use.
    pub(crate) fn release(self, heap: &Arc<Heap>) -> Carried {
        if self.n_handles() == 0 {
            return Carried::default();
        }
        let handles = self.handles();
        // Before the references become ours: rather kept too long than released twice.
        self.head().n_handles.store(0, Ordering::SeqCst);
        // SAFETY: the record's own, which has none any more.
        unsafe { Carried::from_message(heap, &handles) }
    }

    /// Makes `to` a copy of this record, references and all.
    pub(crate) fn move_to(self, to: Record<'_>) {
        let head = self.head();
        to.set(
            head.len.load(Ordering::Relaxed),
            head.extra.load(Ordering::Relaxed),
            to.class() | head.flags.load(Ordering::Relaxed) & STORED,
        );
        to.head().n_handles.store(self.n_handles(), Ordering::Relaxed);
        let rest = self.record_len() - HEAD_LEN;
        to.copy_in(HEAD_LEN, self.slice(HEAD_LEN, rest));
    }
}

impl Value {
    fn stored(object: Object) -> Result<Self, OpenError> {
        let carried = Carried::copied(object.heap(), &stored_handles(object.payload()));
        let carried = carried.map_err(OpenError::OutOfMemory)?;
        Ok(Self { bytes: Bytes::Stored(object), carried })
    }
}

// A stored value: n_handles, len, handles, bytes.

fn store(heap: &Arc<Heap>, bytes: &[u8], carried: Carried) -> Result<Object, OutOfMemory> {
    let handles = carried.handles();
    let handles_len = handles.len() * Handle::LEN;
    let len = (16 + handles_len + bytes.len()) as u64;
    // SAFETY: zeros are an empty value without handles, and the bytes are written below.
    let object = unsafe { Object::create(heap, &STORED_KIND, Shape::NONE, len) }?;
    // SAFETY: the payload has that many bytes, and nobody else knows of it yet.
    let payload = unsafe {
        let len = object.len() as usize;
        std::slice::from_raw_parts_mut(object.payload().as_ptr(), len)
    };
    payload[8..16].copy_from_slice(&(bytes.len() as u64).to_ne_bytes());
    for (place, handle) in payload[16..].chunks_exact_mut(Handle::LEN).zip(handles) {
        place.copy_from_slice(&handle.to_bytes());
    }
    payload[16 + handles_len..].copy_from_slice(bytes);
    let n_handles = handles.len() as u64;
    carried.leave_to_message();
    payload[..8].copy_from_slice(&n_handles.to_ne_bytes());
    Ok(object)
}

fn stored_number(payload: NonNull<u8>, idx: usize) -> u64 {
    // SAFETY: a stored object starts with two numbers, aligned, and is not written any more.
    unsafe { payload.cast::<u64>().add(idx).read() }
}

fn stored_handles(payload: NonNull<u8>) -> Vec<Handle> {
    let n_handles = stored_number(payload, 0) as usize;
    // SAFETY: that many handles follow the two numbers.
    let all = unsafe {
        let first = payload.as_ptr().add(16);
        std::slice::from_raw_parts(first, n_handles * Handle::LEN)
    };
    let each = all.chunks_exact(Handle::LEN).map(Handle::from_bytes);
    each.map(|handle| handle.expect("of the right length")).collect()
}

fn stored_bytes(object: &Object) -> &[u8] {
    let payload = object.payload();
    let at = 16 + stored_number(payload, 0) as usize * Handle::LEN;
    // SAFETY: the bytes follow the handles; nobody writes them as long as the object lives.
    unsafe {
        let first = payload.as_ptr().add(at);
        std::slice::from_raw_parts(first, stored_number(payload, 1) as usize)
    }
}

/// Handles and bytes are as long as the two numbers say.
unsafe fn fits_stored(payload: NonNull<u8>, len: u64) -> bool {
    if len < 16 {
        return false;
    }
    let handles_len = stored_number(payload, 0).checked_mul(Handle::LEN as u64);
    let end =
        handles_len.and_then(|end| end.checked_add(16)?.checked_add(stored_number(payload, 1)));
    end.is_some_and(|end| end <= len)
}

unsafe fn destroy_stored(heap: &Arc<Heap>, payload: NonNull<u8>, _len: u64) {
    // SAFETY: the value's own references, which end with it.
    unsafe { release_message(heap, &stored_handles(payload)) };
}
