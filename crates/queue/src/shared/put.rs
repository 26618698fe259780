//! The put side: records are written behind the last one, then published by one store.

use std::sync::Arc;

use manyhands_shm::message::{Body, Message};
use manyhands_shm::{Handle, Heap, OutOfMemory, Party, Ticket};
use manyhands_sync::robust::Acquired;

use super::layout::{End, HEAD_LEN, Header, Note, Progress, RecordHead, RecordKind, Segment};

/// Bytes of the first segment, and the most that one is made of without need.
pub(super) const FIRST_SEGMENT: u64 = 4 << 10;
const LARGEST_SEGMENT: u64 = 32 << 10;

/// Whoever has the put side. What was pushed is published when it is dropped, at the latest.
pub(super) struct Putter<'a> {
    heap: &'a Arc<Heap>,
    header: &'a Header,
    published: Progress,
    /// Items with those that are not published yet.
    n: u64,
    end: End,
}

impl<'a> Putter<'a> {
    /// Takes the put side, waiting for others who put.
    pub(super) fn lock(heap: &'a Arc<Heap>, header: &'a Header) -> Self {
        let acquired = header.put.lock.lock(&**heap);
        Self::begin(heap, header, acquired)
    }

    /// `None`: somebody else has it.
    #[inline]
    pub(super) fn try_lock(heap: &'a Arc<Heap>, header: &'a Header) -> Option<Self> {
        let acquired = header.put.lock.try_lock(&**heap)?;
        Some(Self::begin(heap, header, acquired))
    }

    #[inline]
    fn begin(heap: &'a Arc<Heap>, header: &'a Header, acquired: Acquired) -> Self {
        if acquired != Acquired::Clean {
            mend(heap, header);
        }
        let published = header.put.progress();
        let end = header.put.end(published);
        Self { heap, header, published, n: published.n, end }
    }

    /// How many more items there may be at the moment.
    #[inline]
    pub(super) fn room(&self) -> u64 {
        match self.header.maxsize() {
            0 => u64::MAX,
            maxsize => maxsize.saturating_sub(self.n - self.header.get.progress().n),
        }
    }

    /// Writes the message behind the last one.
    ///
    /// # Errors
    /// If there is no memory for it; those before it are safe.
    pub(super) fn push(&mut self, message: Message<'_>) -> Result<(), OutOfMemory> {
        let head = RecordHead {
            len: match &message.body {
                Body::Inline(bytes) => bytes.len() as u32,
                Body::Block(_) => (Ticket::N_WORDS * 8) as u32,
            },
            kind: match &message.body {
                Body::Inline(_) => RecordKind::Inline,
                Body::Block(_) => RecordKind::Block,
            },
            n_handles: message.carried.handles().len() as u32,
        };
        let segment = Segment::reach(self.heap, self.end.segment)?;
        if !segment.has_room(self.end.at, head.record_len()) {
            self.go_on_in_new_segment(head.record_len())?;
        }
        let Message { body, carried } = message;
        match body {
            Body::Inline(bytes) => self.write(head, carried.handles(), bytes),
            Body::Block(block) => {
                // A note holds one block, which is linked by the next store.
                if self.n > self.published.n {
                    self.publish();
                }
                let ticket = block.ticket();
                self.header.put_notes.body.write(ticket, self.published);
                block.give_to(Party::FAMILY);
                let words = ticket.to_words().map(u64::to_ne_bytes);
                self.write(head, carried.handles(), words.as_flattened());
            }
        }
        carried.leave_to_message();
        self.end.at += head.record_len();
        self.n += 1;
        if head.kind == RecordKind::Block {
            self.publish();
            self.header.put_notes.body.clear();
        }
        Ok(())
    }

    /// The last one, which [`Self::push`] has reached.
    #[inline]
    fn segment(&self) -> Segment<'a> {
        Segment::at(self.heap, self.end.segment)
    }

    /// Links a segment that takes a record of `len` bytes.
    fn go_on_in_new_segment(&mut self, len: u64) -> Result<(), OutOfMemory> {
        let full = self.segment();
        let getter_at = self.header.get.end(self.header.get.progress()).segment;
        // A backlog that fits a segment needs no larger one.
        let usual = if getter_at == self.end.segment { full.len() } else { full.len() * 2 };
        let needed = super::layout::FIRST_RECORD + len;
        let block = self.heap.alloc(usual.min(LARGEST_SEGMENT).max(needed))?;
        let ticket = block.ticket();
        let note = &self.header.put_notes.segment;
        note.write(ticket, self.published_now());
        let segment = Segment::begin(self.heap, ticket);
        block.give_to(Party::FAMILY);
        if full.has_room(self.end.at, HEAD_LEN) {
            write_word(full, self.end.at, RecordHead::LINK.to_word());
        }
        full.set_next(ticket.at().offset);
        self.end = segment.first();
        // A getter follows the link only if it knows of a record behind it: there is none yet.
        self.publish();
        note.clear();
        Ok(())
    }

    fn published_now(&mut self) -> Progress {
        if self.n > self.published.n {
            self.publish();
        }
        self.published
    }

    #[inline]
    fn write(&self, head: RecordHead, handles: &[Handle], bytes: &[u8]) {
        let record = self.segment().bytes(self.end.at, head.record_len());
        // SAFETY: the record's place is ours until it is published, and long enough for its parts.
        unsafe {
            record.cast::<u64>().write(head.to_word());
            let mut at = record.add(HEAD_LEN as usize);
            for handle in handles {
                at.copy_from_nonoverlapping(
                    std::ptr::NonNull::from(&handle.to_bytes()).cast(),
                    Handle::LEN,
                );
                at = at.add(Handle::LEN);
            }
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.as_ptr(), bytes.len());
        }
    }

    #[inline]
    fn publish(&mut self) {
        self.published = self.header.put.publish(self.published, self.n, self.end);
    }
}

impl Drop for Putter<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.n > self.published.n {
            self.publish();
        }
        self.header.put.lock.unlock();
    }
}

/// A segment for a queue that nobody knows yet.
pub(super) fn begin(heap: &Arc<Heap>, header: &Header) -> Result<(), OutOfMemory> {
    let block = heap.alloc(FIRST_SEGMENT)?;
    let ticket = block.ticket();
    header.put_notes.segment.write(ticket, header.put.progress());
    block.give_to(Party::FAMILY);
    let first = Segment::begin(heap, ticket).first();
    header.get.begin_at(first);
    header.put.begin_at(first);
    header.put_notes.segment.clear();
    Ok(())
}

/// After a death on the put side: what was handed over but not linked is given back.
///
/// | the putter died … | what is left | what happens |
/// |---|---|---|
/// | writing a record | bytes behind the end | the next record is written over them |
/// | after a note, before the block was the family's | a note | the sweep frees the block |
/// | after that, before the word was stored | a note with the word of now | the block is freed |
/// | after the word was stored | a note with an older word | the note is cleared |
pub(super) fn mend(heap: &Arc<Heap>, header: &Header) {
    let now = header.put.progress();
    let mend = |note: &Note| {
        if let Some((ticket, false)) = note.left_behind(now) {
            // SAFETY: handed over and never linked: nobody knows of it but the note.
            unsafe { heap.give_back_exactly(ticket, Party::FAMILY) };
        }
        note.clear();
    };
    mend(&header.put_notes.segment);
    mend(&header.put_notes.body);
}

fn write_word(segment: Segment<'_>, at: u64, word: u64) {
    // SAFETY: eight bytes of the segment that no published record covers.
    unsafe { segment.bytes(at, 8).cast::<u64>().write(word) };
}
