//! What a map and a list have in common: the lock, the word that names the table, and what is
//! mended after a death.
//!
//! | word | meaning | who dies with it set leaves |
//! |---|---|---|
//! | `table` | the container's contents | – |
//! | `other` | a new table that is the family's already | the new table: given back unless it is `table` by now |
//! | `previous` (in the table) | the table that this one has replaced | the old table: what was not moved is released, then it is given back |
//!
//! A record that has references and is not linked is half-made or was being removed: the arena is
//! walked for such, and they are released. Everything else in a table is derived and made anew, or
//! room that is lost until the next table.

use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::compiler_fence;

use manyhands_shm::object::{Shape, release_message};
use manyhands_shm::{Carried, Heap, Kind, Object, OutOfMemory, Party};
use manyhands_sync::robust::{Acquired, RobustLock};
use manyhands_sys::atomic::{AtomicU64, Ordering};

use crate::gate::Gate;
use crate::record::Record;
use crate::table::{Table, Wanted};

/// What a container's object is.
#[repr(C)]
pub(crate) struct Root {
    lock: RobustLock,
    pub(crate) gate: Gate,
    table: AtomicU64,
    other: AtomicU64,
    next_stamp: AtomicU64,
    /// Counts changes of which keys there are, or of the length.
    pub(crate) shape: AtomicU64,
    /// Counts deaths that somebody has mended.
    n_mended: AtomicU64,
    /// What its tables are marked with: where it lies.
    id: AtomicU64,
    /// Not 0: who came after a death could not reach what there is to mend.
    is_unmended: AtomicU64,
}

impl Root {
    fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }
}

/// How long to wait for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Not at all.
    Try,
    /// As long as somebody is in it; that is short.
    Wait,
}

/// Why a container could not be entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Somebody is in it at the moment.
    Entered,
    /// Another thread has closed its [`Gate`].
    Closed,
    /// It is not busy, but this process may map no more of the shared memory.
    OutOfMemory(OutOfMemory),
}

/// What the two containers differ in.
pub(crate) trait Contents {
    /// Calls `f` with every linked record of a value.
    fn for_each_value(table: &Table, f: &mut dyn FnMut(u32));
    /// Makes anew what is derived from the linked entries.
    fn derive(root: &Root, table: &Table);
}

/// The lock of a container, held; ends with the references that were taken out of it.
pub(crate) struct Inside<'a> {
    pub(crate) object: &'a Object,
    /// Dropped after the lock was given back: an object may end by it.
    released: Vec<Carried>,
}

/// The words of a container.
pub(crate) fn root(object: &Object) -> &Root {
    // SAFETY: containers are made with a payload of this size, 64-byte aligned, of atomics.
    unsafe { object.payload().cast().as_ref() }
}

/// The store that makes a change visible: nothing moves from one side of it to the other.
///
/// A kill cuts the instructions of a process at one point, so the order in which they are carried
/// out is all that counts: the compiler is told to keep it.
#[inline]
pub(crate) fn publish(word: &AtomicU64, value: u64) {
    publish_by(|| word.store(value, Ordering::Release));
}

/// The same for a word of another size, stored with Release by `store`.
#[inline]
pub(crate) fn publish_by(store: impl FnOnce()) {
    compiler_fence(Ordering::SeqCst);
    store();
    compiler_fence(Ordering::SeqCst);
}

/// A new container with an empty table.
pub(crate) fn create(
    heap: &Arc<Heap>,
    kind: &'static Kind,
    wanted: Wanted,
) -> Result<Object, OutOfMemory> {
    // SAFETY: zeros are a container without a table, which `destroy` knows; it gets one below.
    let object = unsafe { Object::create(heap, kind, Shape::NONE, size_of::<Root>() as u64) }?;
    let root = root(&object);
    root.gate.set_up();
    root.id.store(object.offset(), Ordering::Relaxed);
    root.next_stamp.store(2, Ordering::Relaxed);
    let (_, block) = Table::create(heap, object.offset(), 1, wanted)?;
    // First the word: who dies before the block is the family's leaves it to the sweep.
    root.table.store(block.at().offset, Ordering::Release);
    block.give_to(Party::FAMILY);
    Ok(object)
}

impl<'a> Inside<'a> {
    /// Takes the lock; mends what a dead process left.
    pub(crate) fn enter<C: Contents>(object: &'a Object, how: How) -> Result<Self, Busy> {
        let root = root(object);
        let heap: &Heap = object.heap();
        let acquired = match how {
            How::Try => root.lock.try_lock(heap).ok_or(Busy::Entered)?,
            How::Wait => root.lock.lock(heap),
        };
        let mut inside = Self { object, released: Vec::new() };
        if acquired != Acquired::Clean {
            root.is_unmended.store(1, Ordering::Relaxed);
        }
        inside.reach_table().map_err(Busy::OutOfMemory)?;
        if root.is_unmended.load(Ordering::Relaxed) != 0 {
            inside.mend::<C>().map_err(Busy::OutOfMemory)?;
        }
        if root.gate.is_closed(heap) {
            return Err(Busy::Closed);
        }
        Ok(inside)
    }

    pub(crate) fn heap(&self) -> &'a Arc<Heap> {
        self.object.heap()
    }

    pub(crate) fn root(&self) -> &'a Root {
        root(self.object)
    }

    /// First of all: somebody else may have made it.
    #[inline]
    fn reach_table(&self) -> Result<Table, OutOfMemory> {
        Table::reach(self.heap(), self.root().table.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn table(&self) -> Table {
        Table::at(self.heap(), self.root().table.load(Ordering::Relaxed))
    }

    /// References to be dropped after the lock.
    pub(crate) fn drop_later(&mut self, carried: Carried) {
        if !carried.is_empty() {
            self.released.push(carried);
        }
    }

    /// The record was unlinked: releases its references, and makes it room.
    pub(crate) fn retired(&mut self, table: &Table, at: u32) {
        let record = table.record(at);
        if record.n_handles() != 0 {
            let carried = record.release(self.heap());
            self.drop_later(carried);
        }
        table.put(at);
    }

    /// A new table, to be filled and then [published](Self::replace_table).
    pub(crate) fn new_table(&self, wanted: Wanted) -> Result<NewTable, OutOfMemory> {
        let root = self.root();
        let stamp = root.next_stamp.fetch_add(1, Ordering::Relaxed);
        let (table, block) = Table::create(self.heap(), root.id(), stamp, wanted)?;
        Ok(NewTable { table, block })
    }

    /// Makes `new` the contents, and gives the old table back with all that was not moved.
    pub(crate) fn replace_table(&mut self, new: NewTable) -> Table {
        let root = self.root();
        let NewTable { table, block } = new;
        let old = self.table();
        table.header().previous.store(old.offset, Ordering::Relaxed);
        // Named before it is the family's: until then the sweep frees it, from then on `mend` does.
        publish(&root.other, table.offset);
        block.give_to(Party::FAMILY);
        publish(&root.table, table.offset);
        publish(&root.other, 0);
        self.finish_previous(&table);
        table
    }

    /// Gives back the table that `table` has replaced.
    fn finish_previous(&mut self, table: &Table) {
        let previous = table.header().previous.load(Ordering::Relaxed);
        let heap = self.heap();
        if previous == 0 {
            return;
        }
        if Table::is_left_over(heap, previous, self.root().id(), table.stamp()) {
            let old = Table::at(heap, previous);
            for_each_unmoved(&old, table, &mut |record| {
                self.drop_later(record.release(heap));
            });
            old.give_back(heap);
        }
        publish(&table.header().previous, 0);
    }

    /// After a death of whoever had the lock. May itself be cut short, and done again.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process cannot reach all that is left: then who comes next does it.
    #[cold]
    fn mend<C: Contents>(&mut self) -> Result<(), OutOfMemory> {
        let (root, heap) = (self.root(), self.heap());
        let table = self.table();
        let other = root.other.load(Ordering::Acquire);
        table.reach_left_over(heap, other, root.id())?;
        let previous = table.header().previous.load(Ordering::Relaxed);
        table.reach_left_over(heap, previous, root.id())?;
        let is_other = other != 0 && other != table.offset;
        if is_other && Table::is_left_over(heap, other, root.id(), table.stamp()) {
            Table::at(heap, other).give_back(heap);
        }
        publish(&root.other, 0);
        self.finish_previous(&table);
        self.release_unlinked::<C>(&table);
        table.forget_free();
        C::derive(root, &table);
        root.n_mended.fetch_add(1, Ordering::Relaxed);
        root.is_unmended.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Releases what half-made and half-removed records refer to.
    fn release_unlinked<C: Contents>(&mut self, table: &Table) {
        if !table.has_handles() {
            return;
        }
        let mut linked = HashSet::new();
        C::for_each_value(table, &mut |at| {
            linked.insert(at);
        });
        let heap = self.heap();
        table.for_each_record(&mut |at| {
            if !linked.contains(&at) {
                self.drop_later(table.record(at).release(heap));
            }
        });
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.root().lock.unlock();
    }
}

/// A table that nobody else knows of yet.
pub(crate) struct NewTable {
    pub(crate) table: Table,
    block: manyhands_shm::Block,
}

/// How often somebody died in the container and was mended after.
pub(crate) fn n_mended(object: &Object) -> u64 {
    root(object).n_mended.load(Ordering::Relaxed)
}

/// Whether an object is long enough for a container.
///
/// # Safety
/// Any arguments will do.
pub(crate) unsafe fn fits(_payload: NonNull<u8>, len: u64) -> bool {
    len >= size_of::<Root>() as u64
}

/// The end of a container: nobody can reach it any more. What this process may not map of it stays
/// with the family.
///
/// # Safety
/// The payload of a container that nobody else can reach any more.
pub(crate) unsafe fn destroy(heap: &Arc<Heap>, payload: NonNull<u8>, _len: u64) {
    let _ = try_destroy(heap, payload);
}

fn try_destroy(heap: &Arc<Heap>, payload: NonNull<u8>) -> Result<(), OutOfMemory> {
    // SAFETY: as in `root`.
    let root: &Root = unsafe { payload.cast().as_ref() };
    let offset = root.table.load(Ordering::Acquire);
    if offset == 0 {
        // Its maker died before it had one.
        return Ok(());
    }
    let table = Table::reach(heap, offset)?;
    table.reach_left_over(heap, root.other.load(Ordering::Acquire), root.id())?;
    let previous = table.header().previous.load(Ordering::Acquire);
    table.reach_left_over(heap, previous, root.id())?;
    // Its last user may have been killed inside.
    // SAFETY: the references of the container's records, which end with it.
    let mut release = |record: Record<'_>| unsafe { release_message(heap, &record.handles()) };
    let is_left_over = |left| {
        left != 0 && left != offset && Table::is_left_over(heap, left, root.id(), table.stamp())
    };
    let other = root.other.load(Ordering::Acquire);
    if is_left_over(other) {
        Table::at(heap, other).give_back(heap);
    }
    let previous = table.header().previous.load(Ordering::Acquire);
    if is_left_over(previous) {
        let old = Table::at(heap, previous);
        for_each_unmoved(&old, &table, &mut release);
        old.give_back(heap);
    }
    if table.has_handles() {
        table.for_each_record(&mut |at| release(table.record(at)));
    }
    table.give_back(heap);
    Ok(())
}

/// The records of `old` that were not moved to `new`, and may have references.
fn for_each_unmoved(old: &Table, new: &Table, f: &mut dyn FnMut(Record<'_>)) {
    if !old.has_handles() {
        return;
    }
    let stamp = new.stamp() as u32;
    old.for_each_record(&mut |at| {
        let record = old.record(at);
        if record.head().extra.load(Ordering::Relaxed) != stamp {
            f(record);
        }
    });
}
