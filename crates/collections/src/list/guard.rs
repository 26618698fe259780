//! The operations of a list, under its lock.

use std::ops::Range;

use manyhands_shm::{OpenError, OutOfMemory};
use manyhands_sys::atomic::Ordering;

use super::table::{State, place, record_at, wanted};
use crate::core::{Inside, publish, publish_by};
use crate::record::{Draft, Value};
use crate::table::{Table, room_for};

/// A list, locked: all operations until it is dropped are one for others.
///
/// Not to be held while waiting for anything.
pub struct ListGuard<'a> {
    inside: Inside<'a>,
    table: Table,
}

impl<'a> ListGuard<'a> {
    pub(super) fn new(inside: Inside<'a>) -> Self {
        let table = inside.table();
        Self { inside, table }
    }

    /// The number of items.
    pub fn len(&self) -> u64 {
        State::of(&self.table).len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of an item.
    ///
    /// # Errors
    /// [`OpenError`] if there is no memory for the references of a value that has some.
    pub fn get(&self, idx: u64) -> Result<Option<Value>, OpenError> {
        (idx < self.len()).then(|| self.read(idx)).transpose()
    }

    /// Copies of some items.
    ///
    /// # Errors
    /// As [`ListGuard::get`].
    ///
    /// # Panics
    /// If the range goes beyond the end.
    pub fn values(&self, range: Range<u64>) -> Result<Vec<Value>, OpenError> {
        assert!(range.end <= self.len(), "the range goes beyond the end");
        range.map(|idx| self.read(idx)).collect()
    }

    /// Gives the items at these places other values, all at once.
    ///
    /// # Errors
    /// [`OutOfMemory`]: then nothing has changed.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn set(&mut self, values: Vec<(u64, Draft<'_>)>) -> Result<(), OutOfMemory> {
        let len = self.len();
        assert!(values.iter().all(|(idx, _)| *idx < len), "the place is beyond the end");
        let (places, values): (Vec<u64>, Vec<Draft<'_>>) = values.into_iter().unzip();
        let new = self.write(values)?;
        if let ([place], [at]) = (&places[..], &new[..]) {
            self.set_one(*place, *at);
            return Ok(());
        }
        let mut order = self.order();
        let mut gone = Vec::with_capacity(new.len());
        for (place, at) in places.into_iter().zip(&new) {
            gone.push(std::mem::replace(&mut order[place as usize], *at));
        }
        self.commit_or_give_up(&order, &gone, &new)
    }

    /// Inserts items in front of the one at `idx`, or at the end, all at once.
    ///
    /// # Errors
    /// [`OutOfMemory`]: then nothing has changed.
    ///
    /// # Panics
    /// If `idx` is beyond the end.
    pub fn insert(&mut self, idx: u64, values: Vec<Draft<'_>>) -> Result<(), OutOfMemory> {
        self.splice(idx..idx, values)
    }

    /// Removes some items.
    ///
    /// # Errors
    /// [`OutOfMemory`]: then nothing has changed.
    ///
    /// # Panics
    /// If the range goes beyond the end.
    pub fn remove(&mut self, range: Range<u64>) -> Result<(), OutOfMemory> {
        self.splice(range, Vec::new())
    }

    /// Puts `values` in the place of the items of `range`, all at once.
    ///
    /// # Errors
    /// [`OutOfMemory`]: then nothing has changed.
    ///
    /// # Panics
    /// If the range goes beyond the end.
    pub fn splice(&mut self, range: Range<u64>, values: Vec<Draft<'_>>) -> Result<(), OutOfMemory> {
        assert!(range.start <= range.end && range.end <= self.len(), "beyond the end");
        let new = self.write(values)?;
        if self.splice_in_place(&range, &new) {
            return Ok(());
        }
        let mut order = self.order();
        let places = range.start as usize..range.end as usize;
        let gone: Vec<u32> = order.splice(places, new.iter().copied()).collect();
        self.commit_or_give_up(&order, &gone, &new)
    }

    /// Keeps the items of these places, in this order: to sort, to reverse, to delete every other.
    ///
    /// # Errors
    /// [`OutOfMemory`]: then nothing has changed.
    ///
    /// # Panics
    /// If a place is beyond the end, or comes twice.
    pub fn select(&mut self, places: &[u64]) -> Result<(), OutOfMemory> {
        let mut rest: Vec<Option<u32>> = self.order().into_iter().map(Some).collect();
        let take = |place: &u64| rest[*place as usize].take().expect("each place comes once");
        let order: Vec<u32> = places.iter().map(take).collect();
        let gone: Vec<u32> = rest.into_iter().flatten().collect();
        self.commit(&order, &gone)
    }

    fn read(&self, idx: u64) -> Result<Value, OpenError> {
        self.table.record(record_at(&self.table, idx)).read(self.inside.heap())
    }

    fn order(&self) -> Vec<u32> {
        (0..self.len()).map(|idx| record_at(&self.table, idx)).collect()
    }

    fn set_one(&mut self, idx: u64, at: u32) {
        let state = State::of(&self.table);
        let word = place(&self.table, state.which, state.start + idx);
        let old = word.load(Ordering::Relaxed);
        // Release: the record is written before it is linked.
        publish_by(|| word.store(at, Ordering::Release));
        self.inside.retired(&self.table, old);
    }

    /// What needs but a few numbers beside the order; false: it needs another order.
    fn splice_in_place(&mut self, range: &Range<u64>, new: &[u32]) -> bool {
        let state = State::of(&self.table);
        let (n_gone, n_new) = (range.end - range.start, new.len() as u64);
        let after = match (n_gone, n_new) {
            (0, 0) => return true,
            (0, _) if range.start == state.len => self.add_at_end(state, new),
            (0, _) if range.start == 0 && state.start >= n_new => {
                let start = state.start - n_new;
                self.put_numbers(state.which, start, new);
                Some(State { start, len: state.len + n_new, ..state })
            }
            (1, 0) if range.end == state.len => Some(State { len: state.len - 1, ..state }),
            (1, 0) if range.start == 0 => {
                Some(State { start: state.start + 1, len: state.len - 1, ..state })
            }
            _ => None,
        };
        let Some(after) = after else { return false };
        let gone = (n_gone == 1).then(|| record_at(&self.table, range.start));
        // An empty list starts at its table's first place: it may have moved to the last one.
        let after = if after.len == 0 { State { start: 0, ..after } } else { after };
        publish(&self.table.header().state, after.word());
        if let Some(gone) = gone {
            self.inside.retired(&self.table, gone);
        }
        true
    }

    fn add_at_end(&self, state: State, new: &[u32]) -> Option<State> {
        let end = state.start + state.len;
        let has_room = end + new.len() as u64 <= self.table.capacity();
        has_room.then(|| {
            self.put_numbers(state.which, end, new);
            State { len: state.len + new.len() as u64, ..state }
        })
    }

    fn put_numbers(&self, which: u64, from: u64, numbers: &[u32]) {
        for (idx, number) in (from..).zip(numbers) {
            place(&self.table, which, idx).store(*number, Ordering::Relaxed);
        }
    }

    /// As `commit`; if that fails the new records are given up.
    fn commit_or_give_up(
        &mut self,
        order: &[u32],
        gone: &[u32],
        new: &[u32],
    ) -> Result<(), OutOfMemory> {
        self.commit(order, gone).inspect_err(|_| {
            for at in new {
                self.inside.retired(&self.table, *at);
            }
        })
    }

    /// Makes `order` the list's. `gone` are the records that it no longer has.
    fn commit(&mut self, order: &[u32], gone: &[u32]) -> Result<(), OutOfMemory> {
        if order.len() as u64 > self.table.capacity() {
            return self.renew(order, 0);
        }
        let which = 1 - State::of(&self.table).which;
        // A list that grows in front is likely to do so again.
        let spare = self.table.capacity() - order.len() as u64;
        let start = spare / 4;
        self.put_numbers(which, start, order);
        let state = State { which, start, len: order.len() as u64 };
        publish(&self.table.header().state, state.word());
        for at in gone {
            self.inside.retired(&self.table, *at);
        }
        Ok(())
    }

    /// Writes records for `values`, not linked yet. The table may be another afterwards.
    ///
    /// # Panics
    /// If a value was made for another heap.
    fn write(&mut self, values: Vec<Draft<'_>>) -> Result<Vec<u32>, OutOfMemory> {
        values.iter().for_each(|value| value.check(self.inside.heap()));
        let mut room = self.take_all(&values);
        if room.is_none() {
            let more = values.iter().map(|value| room_for(value.record_len())).sum();
            let order = self.order();
            self.renew(&order, more)?;
            room = self.take_all(&values);
        }
        let room = room.expect("the new table was made for them");
        for (value, at) in values.into_iter().zip(&room) {
            if value.has_handles() {
                self.table.note_handles();
            }
            value.write(self.table.record(*at));
        }
        Ok(room)
    }

    fn take_all(&self, values: &[Draft<'_>]) -> Option<Vec<u32>> {
        let mut room = Vec::with_capacity(values.len());
        for value in values {
            let Some(at) = self.table.take(value.record_len()) else {
                room.into_iter().for_each(|at| self.table.put(at));
                return None;
            };
            room.push(at);
        }
        Some(room)
    }

    /// Moves the records of `order` to a new table, with `more` bytes besides.
    #[cold]
    fn renew(&mut self, order: &[u32], more: u64) -> Result<(), OutOfMemory> {
        let old = self.table;
        let lens = order.iter().map(|at| room_for(old.record(*at).record_len()));
        let n_bytes: u64 = lens.sum();
        let new = self.inside.new_table(wanted(order.len() as u64 + 1, n_bytes + more))?;
        if old.has_handles() {
            new.table.note_handles();
        }
        let stamp = new.table.stamp() as u32;
        let start = new.table.capacity() / 8;
        for (idx, at) in (start..).zip(order) {
            let from = old.record(*at);
            let to = new.table.take(from.record_len()).expect("it was made for all of them");
            from.move_to(new.table.record(to));
            from.head().extra.store(stamp, Ordering::Relaxed);
            place(&new.table, 0, idx).store(to, Ordering::Relaxed);
        }
        let state = State { which: 0, start, len: order.len() as u64 };
        new.table.header().state.store(state.word(), Ordering::Relaxed);
        self.table = self.inside.replace_table(new);
        Ok(())
    }
}
