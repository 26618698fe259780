//! The get side: records are copied out (or their blocks taken over), then one store says so.

use std::sync::Arc;

use manyhands_shm::message::{Taken, TakenBytes};
use manyhands_shm::object::{reach_all, release_message};
use manyhands_shm::{Carried, Handle, Heap, OutOfMemory, Party, Ticket};
use manyhands_sync::robust::Acquired;

use super::layout::{End, HEAD_LEN, Header, Progress, RecordHead, RecordKind, Segment};
use manyhands_sys::atomic::Ordering;

/// Whoever has the get side. What was taken is published when it is dropped, at the latest.
pub(super) struct Getter<'a> {
    heap: &'a Arc<Heap>,
    header: &'a Header,
    published: Progress,
    /// Items with those that are not published yet.
    n: u64,
    end: End,
}

/// A message on its way out; nobody may open what it names until the side is published.
pub(super) struct Got {
    bytes: TakenBytes,
    handles: Vec<Handle>,
}

impl Got {
    /// After the side was published.
    #[inline]
    pub(super) fn into_taken(self, heap: &Arc<Heap>) -> Taken {
        let carried = match self.handles.is_empty() {
            true => Carried::default(),
            // SAFETY: the message's own, which was taken out, once.
            false => unsafe { Carried::from_message(heap, &self.handles) },
        };
        Taken { bytes: self.bytes, carried }
    }

    /// A message that nobody will read.
    pub(super) fn release(self, heap: &Arc<Heap>) {
        // SAFETY: as in `into_taken`.
        unsafe { release_message(heap, &self.handles) };
    }
}

impl<'a> Getter<'a> {
    /// Takes the get side, waiting for others who get.
    pub(super) fn lock(heap: &'a Arc<Heap>, header: &'a Header) -> Self {
        let acquired = header.get.lock.lock(&**heap);
        Self::begin(heap, header, acquired)
    }

    /// `None`: somebody else has it.
    #[inline]
    pub(super) fn try_lock(heap: &'a Arc<Heap>, header: &'a Header) -> Option<Self> {
        let acquired = header.get.lock.try_lock(&**heap)?;
        Some(Self::begin(heap, header, acquired))
    }

    #[inline]
    fn begin(heap: &'a Arc<Heap>, header: &'a Header, acquired: Acquired) -> Self {
        if acquired != Acquired::Clean {
            mend(heap, header);
        }
        Self::resume(heap, header)
    }

    /// Without the lock: for who ends the queue, alone.
    #[inline]
    pub(super) fn resume(heap: &'a Arc<Heap>, header: &'a Header) -> Self {
        let published = header.get.progress();
        let end = header.get.end(published);
        Self { heap, header, published, n: published.n, end }
    }

    /// The next message, if there is one.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process cannot reach it: it stays where it is.
    #[inline]
    pub(super) fn pop(&mut self) -> Result<Option<Got>, OutOfMemory> {
        while self.has_next() {
            let segment = Segment::reach(self.heap, self.end.segment)?;
            let head = match segment.has_room(self.end.at, HEAD_LEN) {
                // SAFETY: eight bytes that the putter published, aligned.
                true => unsafe { segment.bytes(self.end.at, 8).cast::<u64>().read() },
                false => RecordHead::LINK.to_word(),
            };
            let head = RecordHead::from_word(head);
            if head.kind == RecordKind::Link {
                self.go_on_in_next_segment(segment)?;
                continue;
            }
            let got = self.read(segment, head)?;
            self.end.at += head.record_len();
            self.n += 1;
            if got.is_some() {
                return Ok(got);
            }
        }
        Ok(None)
    }

    /// Whether a message is there. What was seen of the other side is kept: it is asked anew only
    /// when that is used up.
    #[inline]
    fn has_next(&self) -> bool {
        let seen = &self.header.get.n_seen;
        if self.n < seen.load(Ordering::Relaxed) {
            return true;
        }
        let n_put = self.header.put.progress().n;
        seen.store(n_put, Ordering::Relaxed);
        self.n < n_put
    }

    /// `None`: its block died with somebody who was taking it.
    #[inline]
    fn read(&mut self, segment: Segment<'_>, head: RecordHead) -> Result<Option<Got>, OutOfMemory> {
        let record = segment.bytes(self.end.at, head.record_len()).as_ptr();
        let names_len = head.n_handles as usize * Handle::LEN;
        // SAFETY: a published record of this length, which stays until we publish that it is gone.
        let (names, bytes) = unsafe {
            let names = record.add(HEAD_LEN as usize);
            (
                std::slice::from_raw_parts(names, names_len),
                std::slice::from_raw_parts(names.add(names_len), head.len as usize),
            )
        };
        let handles = match names.is_empty() {
            true => Vec::new(),
            false => names.chunks(Handle::LEN).filter_map(|n| Handle::from_bytes(n).ok()).collect(),
        };
        reach_all(self.heap, &handles)?;
        if head.kind == RecordKind::Inline {
            return Ok(Some(Got { bytes: TakenBytes::Inline(bytes.to_vec()), handles }));
        }
        // Before it is published: a getter that dies in between has taken the message along, and
        // the next one finds nothing to take over.
        // SAFETY: the block of the message that this getter, who has the lock, takes out.
        match unsafe { self.heap.take_over_exactly(ticket_of(bytes), Party::FAMILY) }? {
            Some(block) => Ok(Some(Got { bytes: TakenBytes::Block(block), handles })),
            None => {
                self.forget_lost(head, &handles);
                Ok(None)
            }
        }
    }

    #[cold]
    fn forget_lost(&mut self, head: RecordHead, handles: &[Handle]) {
        let end = End { at: self.end.at + head.record_len(), ..self.end };
        self.published = self.header.get.publish(self.published, self.n + 1, end);
        self.header.get_note.n_lost.fetch_add(1, Ordering::Relaxed);
        // SAFETY: those of a message that is out of the queue now, and was not read.
        unsafe { release_message(self.heap, handles) };
    }

    /// Gives the segment back that has been read to its end.
    #[cold]
    fn go_on_in_next_segment(&mut self, read: Segment<'_>) -> Result<(), OutOfMemory> {
        let (next, ticket) = (Segment::reach(self.heap, read.next())?, read.ticket());
        if self.n > self.published.n {
            self.publish();
        }
        self.header.get_note.segment.write(ticket, self.published);
        self.end = next.first();
        self.publish();
        // SAFETY: a segment that is unlinked now: nobody reads or writes there any more.
        unsafe { self.heap.give_back_exactly(ticket, Party::FAMILY) };
        self.header.get_note.segment.clear();
        Ok(())
    }

    #[inline]
    fn publish(&mut self) {
        self.published = self.header.get.publish(self.published, self.n, self.end);
    }

    /// Publishes what was taken and gives the side back.
    #[inline]
    pub(super) fn unlock(mut self) {
        self.finish();
        self.header.get.lock.unlock();
        std::mem::forget(self);
    }

    /// As [`Getter::unlock`], for who had no lock: the segment that is left.
    pub(super) fn into_last_segment(mut self) -> Option<Ticket> {
        self.finish();
        let segment = self.end.segment;
        let heap = self.heap;
        std::mem::forget(self);
        let reached = (segment != 0).then(|| Segment::reach(heap, segment).ok())?;
        reached.map(|segment| segment.ticket())
    }

    #[inline]
    fn finish(&mut self) {
        if self.n > self.published.n {
            self.publish();
        }
    }
}

impl Drop for Getter<'_> {
    fn drop(&mut self) {
        self.finish();
        self.header.get.lock.unlock();
    }
}

/// After a death on the get side: a segment that was unlinked is given back.
///
/// | the getter died … | what is left | what happens |
/// |---|---|---|
/// | copying a message | nothing | the next getter gets it |
/// | with a block taken over, before the store | a record without it | message lost, block swept |
/// | after the word was stored | nothing | the message is lost with its getter |
/// | after the note, before the word was stored | a note with the word of now | it is cleared |
/// | after the word was stored, before the segment was freed | a note with an older word | freed |
pub(super) fn mend(heap: &Arc<Heap>, header: &Header) {
    let note = &header.get_note.segment;
    if let Some((ticket, true)) = note.left_behind(header.get.progress()) {
        // SAFETY: as there, by one who died before it could; the note says that it was unlinked.
        unsafe { heap.give_back_exactly(ticket, Party::FAMILY) };
    }
    note.clear();
}

fn ticket_of(bytes: &[u8]) -> Ticket {
    let mut words = [0; Ticket::N_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    Ticket::from_words(words)
}
