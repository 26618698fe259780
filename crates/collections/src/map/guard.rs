//! The operations of a map, under its lock.

use manyhands_shm::{OpenError, OutOfMemory};
use manyhands_sys::atomic::Ordering;

use super::Key;
use super::table::{
    add_to_index, entry, find, forget_ends, is_index_full, living, n_used, remove_from_index,
    wanted,
};
use crate::core::{Inside, publish};
use crate::hash::hash;
use crate::record::{Draft, HEAD_LEN, Record, Value};
use crate::table::{Table, room_for};

/// So that a record's 32 bits can count them.
const MAX_KEY: u64 = 1 << 31;

/// A map, locked: all operations until it is dropped are one for others.
///
/// Not to be held while waiting for anything.
pub struct MapGuard<'a> {
    inside: Inside<'a>,
    table: Table,
}

impl<'a> MapGuard<'a> {
    pub(super) fn new(inside: Inside<'a>) -> Self {
        let table = inside.table();
        Self { inside, table }
    }

    /// The number of keys.
    pub fn len(&self) -> u64 {
        self.table.header().n_live.load(Ordering::Relaxed)
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &[u8]) -> bool {
        find(&self.table, self.hash(key), key).is_some()
    }

    /// A copy of the value of `key`.
    ///
    /// # Errors
    /// [`OpenError`] if there is no memory for the references of a value that has some.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, OpenError> {
        let found = find(&self.table, self.hash(key), key);
        found.map(|idx| self.read(idx)).transpose()
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// [`OutOfMemory`]: then nothing has changed.
    ///
    /// # Panics
    /// If the value was made for another heap.
    pub fn insert(&mut self, key: Key<'_>, value: Draft<'_>) -> Result<(), OutOfMemory> {
        value.check(self.inside.heap());
        let hash = self.hash(key.compared);
        match find(&self.table, hash, key.compared) {
            Some(idx) => self.replace(idx, value),
            None => self.append(hash, key, value),
        }
    }

    /// Removes `key`; its value.
    ///
    /// # Errors
    /// As [`MapGuard::get`]: then nothing has changed.
    pub fn remove(&mut self, key: &[u8]) -> Result<Option<Value>, OpenError> {
        let Some(idx) = find(&self.table, self.hash(key), key) else { return Ok(None) };
        let value = self.read(idx)?;
        self.remove_entry(idx);
        Ok(Some(value))
    }

    /// Removes `key` without a look at its value. Whether it was there.
    pub fn discard(&mut self, key: &[u8]) -> bool {
        let found = find(&self.table, self.hash(key), key);
        found.is_some_and(|idx| {
            self.remove_entry(idx);
            true
        })
    }

    /// Removes the key that came last.
    ///
    /// # Errors
    /// As [`MapGuard::remove`].
    #[expect(clippy::type_complexity, reason = "key as compared and as shown, and its value")]
    pub fn pop_last(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>, Value)>, OpenError> {
        let Some(idx) = living(&self.table).next_back() else { return Ok(None) };
        let value = self.read(idx)?;
        let key = self.key(idx);
        let (compared, shown) = (key.compared.to_vec(), key.shown.to_vec());
        self.remove_entry(idx);
        Ok(Some((compared, shown, value)))
    }

    /// Removes all keys, by one store.
    ///
    /// # Errors
    /// [`OutOfMemory`]: the empty table could not be had.
    pub fn clear(&mut self) -> Result<(), OutOfMemory> {
        let new = self.inside.new_table(wanted(0, 0))?;
        self.table = self.inside.replace_table(new);
        self.count_change();
        Ok(())
    }

    /// All keys, in the order in which they came.
    pub fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        living(&self.table).map(|idx| self.key(idx))
    }

    /// Copies of all values, in the order of their keys.
    ///
    /// # Errors
    /// As [`MapGuard::get`].
    pub fn values(&self) -> Result<Vec<Value>, OpenError> {
        living(&self.table).map(|idx| self.read(idx)).collect()
    }

    /// How often the set of keys has changed.
    pub fn shape(&self) -> u64 {
        self.inside.root().shape.load(Ordering::Relaxed)
    }

    fn hash(&self, key: &[u8]) -> u64 {
        hash(self.inside.heap().family(), key)
    }

    fn key(&self, idx: u64) -> Key<'_> {
        let at = entry(&self.table, idx).key.load(Ordering::Relaxed);
        let (compared, shown) = self.table.record(at).key();
        Key { compared, shown }
    }

    fn read(&self, idx: u64) -> Result<Value, OpenError> {
        let at = entry(&self.table, idx).value.load(Ordering::Relaxed) as u32;
        self.table.record(at).read(self.inside.heap())
    }

    fn replace(&mut self, idx: u64, value: Draft<'_>) -> Result<(), OutOfMemory> {
        let len = value.record_len();
        let Some(at) = self.table.take(len) else {
            let key = self.key(idx).compared.to_vec();
            self.renew(room_for(len))?;
            let found = find(&self.table, self.hash(&key), &key);
            return self.replace(found.expect("every key was moved"), value);
        };
        self.write(at, value);
        let word = &entry(&self.table, idx).value;
        let old = word.load(Ordering::Relaxed) as u32;
        publish(word, u64::from(at));
        self.inside.retired(&self.table, old);
        Ok(())
    }

    fn append(&mut self, hash: u64, key: Key<'_>, value: Draft<'_>) -> Result<(), OutOfMemory> {
        let key_len = HEAD_LEN + (key.compared.len() + key.shown.len()) as u64;
        if key_len > MAX_KEY {
            let why = format!("a key takes at most {MAX_KEY} bytes");
            return Err(OutOfMemory::new(key_len, why));
        }
        let value_len = value.record_len();
        let idx = n_used(&self.table);
        let room = || {
            let key_at = self.table.take(key_len)?;
            let value_at = self.table.take(value_len);
            if value_at.is_none() {
                self.table.put(key_at);
            }
            Some((key_at, value_at?))
        };
        let has_entry = idx < self.table.capacity() && !is_index_full(&self.table);
        let Some((key_at, value_at)) = has_entry.then(room).flatten() else {
            self.renew(room_for(key_len) + room_for(value_len))?;
            return self.append(hash, key, value);
        };
        self.table.record(key_at).write_key(key.compared, key.shown);
        self.write(value_at, value);
        let new = entry(&self.table, idx);
        new.hash.store(hash, Ordering::Relaxed);
        new.key.store(key_at, Ordering::Relaxed);
        new.value.store(u64::from(value_at), Ordering::Relaxed);
        add_to_index(&self.table, hash, idx);
        let header = self.table.header();
        publish(&header.state, idx + 1);
        header.n_live.fetch_add(1, Ordering::Relaxed);
        self.count_change();
        Ok(())
    }

    fn remove_entry(&mut self, idx: u64) {
        let gone = entry(&self.table, idx);
        let value_at = gone.value.load(Ordering::Relaxed) as u32;
        publish(&gone.value, 0);
        self.inside.retired(&self.table, value_at);
        remove_from_index(&self.table, gone.hash.load(Ordering::Relaxed), idx);
        self.table.put(gone.key.load(Ordering::Relaxed));
        self.table.header().n_live.fetch_sub(1, Ordering::Relaxed);
        forget_ends(&self.table);
        self.count_change();
    }

    fn write(&self, at: u32, value: Draft<'_>) {
        if value.has_handles() {
            self.table.note_handles();
        }
        value.write(self.table.record(at));
    }

    fn count_change(&self) {
        self.inside.root().shape.fetch_add(1, Ordering::Release);
    }

    /// Moves everything to a table with room for as much again, and `more` bytes.
    #[cold]
    fn renew(&mut self, more: u64) -> Result<(), OutOfMemory> {
        let old = self.table;
        let record_len = |at: u32| room_for(old.record(at).record_len());
        let n_bytes = living(&old).map(|idx| {
            let entry = entry(&old, idx);
            let value_at = entry.value.load(Ordering::Relaxed) as u32;
            record_len(entry.key.load(Ordering::Relaxed)) + record_len(value_at)
        });
        let n_bytes: u64 = n_bytes.sum();
        let new = self.inside.new_table(wanted(self.len() + 1, n_bytes + more))?;
        let stamp = new.table.stamp() as u32;
        if old.has_handles() {
            new.table.note_handles();
        }
        let mut n_moved = 0;
        for idx in living(&old) {
            let from = entry(&old, idx);
            let to = entry(&new.table, n_moved);
            let value = old.record(from.value.load(Ordering::Relaxed) as u32);
            let value_at = move_record(value, &new.table);
            value.head().extra.store(stamp, Ordering::Relaxed);
            let key_at = move_record(old.record(from.key.load(Ordering::Relaxed)), &new.table);
            let hash = from.hash.load(Ordering::Relaxed);
            to.hash.store(hash, Ordering::Relaxed);
            to.key.store(key_at, Ordering::Relaxed);
            to.value.store(u64::from(value_at), Ordering::Relaxed);
            add_to_index(&new.table, hash, n_moved);
            n_moved += 1;
        }
        let header = new.table.header();
        header.state.store(n_moved, Ordering::Relaxed);
        header.n_live.store(n_moved, Ordering::Relaxed);
        self.table = self.inside.replace_table(new);
        Ok(())
    }
}

/// Copies a record to another table with room for it.
fn move_record(from: Record<'_>, table: &Table) -> u32 {
    let at = table.take(from.record_len()).expect("the new table was made for all of them");
    from.move_to(table.record(at));
    at
}
