//! The queue: two sides, three lines of sleepers, and the count of what is done.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_shm::message::{Body, Message, Taken};
use manyhands_shm::object::{Shape, ids};
use manyhands_shm::{Handle, Heap, Kind, Object, OpenError, OutOfMemory, Party};
use manyhands_sys::atomic::Ordering;

use super::SharedEnlisted;
use super::get::{self, Getter};
use super::layout::{Header, RecordHead};
use super::put::{self, Putter};
use crate::outcome::TooManyDone;

/// What a queue is among the family's objects.
// SAFETY: the one kind of this number.
pub static QUEUE: Kind = unsafe { Kind::new(ids::QUEUE, "queue", fits, destroy) };

/// Messages on their way between processes, first in first out.
#[derive(Clone, Debug)]
pub struct SharedQueue {
    object: Object,
}

/// Why a message was not put.
pub enum NotPut<'a> {
    /// The queue holds as many messages as it may, and did so until the deadline if there was one.
    Full(Message<'a>),
    /// The queue takes no more messages.
    ShutDown(Message<'a>),
    /// There is no memory for it. It is gone, those before it are safe.
    OutOfMemory(OutOfMemory),
    /// Somebody else is putting: only if one must not wait for that.
    Busy(Message<'a>),
}

/// Why no message was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotGot {
    /// The queue is empty, and was so until the deadline if there was one.
    Empty,
    /// The queue is empty and will stay so.
    ShutDown,
    /// This process may map no more of the shared memory. The message stays where it is.
    OutOfMemory(OutOfMemory),
}

/// What happened at a queue so far, and who waits there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedStatistics {
    /// Messages ever put.
    pub n_put: u64,
    /// Messages ever taken out.
    pub n_got: u64,
    /// Of these, the large ones that were lost with a process that was just taking them.
    pub n_lost: u64,
    /// Messages put and not done.
    pub n_unfinished: u64,
    /// Threads of any process that wait for a message.
    pub n_getters_waiting: u32,
    /// Threads that wait for room.
    pub n_putters_waiting: u32,
    /// How often a get had to wait.
    pub n_get_waits: u64,
    /// How often a put had to wait.
    pub n_put_waits: u64,
}

/// Longer messages are blocks of their own.
const INLINE_LIMIT: usize = 4 << 10;

/// How often to try for a side that somebody has, where one must not wait for long.
const N_BRIEF_TRIES: u32 = 50;

impl Header {
    #[inline]
    pub(super) fn maxsize(&self) -> u64 {
        self.maxsize.load(Ordering::Relaxed)
    }
}

impl SharedQueue {
    /// A new queue for at most `maxsize` messages; 0: without a limit.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn create(heap: &Arc<Heap>, maxsize: u64) -> Result<Self, OutOfMemory> {
        manyhands_shm::object::register(&[&QUEUE]);
        // SAFETY: set up below; a queue of zeros has no segments, which `destroy` knows.
        let object =
            unsafe { Object::create(heap, &QUEUE, Shape::NONE, size_of::<Header>() as u64) }?;
        let queue = Self { object };
        queue.header().maxsize.store(maxsize, Ordering::Relaxed);
        put::begin(heap, queue.header())?;
        Ok(queue)
    }

    /// The queue that `handle` names.
    ///
    /// # Errors
    /// [`OpenError`], each a sentence for the user.
    pub fn open(handle: Handle) -> Result<Self, OpenError> {
        manyhands_shm::object::register(&[&QUEUE]);
        Object::open(handle, &QUEUE).map(Self::of)
    }

    /// The queue that the object is.
    ///
    /// # Panics
    /// If it is something else.
    pub fn of(object: Object) -> Self {
        assert!(std::ptr::eq(object.kind(), &raw const QUEUE), "{object:?} is no queue");
        Self { object }
    }

    /// What holds it.
    pub const fn object(&self) -> &Object {
        &self.object
    }

    /// Its name, which keeps nothing alive.
    pub fn handle(&self) -> Handle {
        self.object.handle()
    }

    fn heap(&self) -> &Arc<Heap> {
        self.object.heap()
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the payload is a header, zeroed and then set up by `create`, 64-byte aligned and
        // made of atomics; the object keeps it.
        unsafe { self.object.payload().cast().as_ref() }
    }

    /// Puts the message if there is room, waiting for others who put just now.
    ///
    /// # Errors
    /// [`NotPut`], with the message.
    pub fn try_put<'a>(&self, message: Message<'a>) -> Result<(), NotPut<'a>> {
        let message = self.fit(message)?;
        if let Some(refused) = self.refused_at_once() {
            return Err(refused.of(message));
        }
        self.put_with(Putter::lock(self.heap(), self.header()), message)
    }

    /// As [`Self::try_put`], but who puts just now is waited for only for a microsecond.
    ///
    /// # Errors
    /// [`NotPut`], also [`NotPut::Busy`].
    #[inline]
    pub fn try_put_briefly<'a>(&self, message: Message<'a>) -> Result<(), NotPut<'a>> {
        let message = self.fit(message)?;
        if let Some(refused) = self.refused_at_once() {
            return Err(refused.of(message));
        }
        match briefly(|| Putter::try_lock(self.heap(), self.header())) {
            Some(putter) => self.put_with(putter, message),
            None => Err(NotPut::Busy(message)),
        }
    }

    #[inline]
    fn put_with<'a>(&self, mut putter: Putter<'_>, message: Message<'a>) -> Result<(), NotPut<'a>> {
        let header = self.header();
        // Under the lock: after a shutdown has returned nothing is put.
        if header.is_closed.load(Ordering::Relaxed) {
            return Err(NotPut::ShutDown(message));
        }
        if putter.room() == 0 {
            return Err(NotPut::Full(message));
        }
        putter.push(message).map_err(NotPut::OutOfMemory)?;
        drop(putter);
        header.getters.call(1);
        Ok(())
    }

    /// Puts as many of `messages` as there is room for, from the front, and takes the lock once.
    ///
    /// # Errors
    /// [`NotPut`] with the first that was not put, except if the queue is full.
    pub fn try_put_many<'a>(&self, messages: &mut VecDeque<Message<'a>>) -> Result<(), NotPut<'a>> {
        let header = self.header();
        // Large ones are written to the heap before the lock.
        for idx in 0..messages.len() {
            let is_checked = self.check(&messages[idx]);
            let len = messages[idx].body.len();
            let is_large =
                matches!(messages[idx].body, Body::Inline(_)) && len > INLINE_LIMIT as u64;
            if is_large || is_checked.is_err() {
                let message = messages.remove(idx).expect("idx is inside");
                is_checked.map_err(NotPut::OutOfMemory)?;
                messages.insert(idx, self.fit(message)?);
            }
        }
        let mut putter = Putter::lock(self.heap(), header);
        let mut n_put = 0;
        let mut refused = None;
        while let Some(message) = messages.pop_front() {
            if header.is_closed.load(Ordering::Relaxed) {
                refused = Some(NotPut::ShutDown(message));
                break;
            }
            if putter.room() == 0 {
                messages.push_front(message);
                break;
            }
            if let Err(error) = putter.push(message) {
                refused = Some(NotPut::OutOfMemory(error));
                break;
            }
            n_put += 1;
        }
        drop(putter);
        if n_put > 0 {
            header.getters.call(n_put);
        }
        refused.map_or(Ok(()), Err)
    }

    /// Gets a message if there is one, waiting for others who get just now.
    ///
    /// # Errors
    /// [`NotGot`].
    pub fn try_get(&self) -> Result<Taken, NotGot> {
        if let Some(nothing) = self.nothing_there() {
            return Err(nothing);
        }
        self.get_with(Getter::lock(self.heap(), self.header()))
    }

    /// As [`Self::try_get`]; `None` if somebody is getting, and is not done within a microsecond.
    #[inline]
    pub fn try_get_briefly(&self) -> Option<Result<Taken, NotGot>> {
        if let Some(nothing) = self.nothing_there() {
            return Some(Err(nothing));
        }
        let getter = briefly(|| Getter::try_lock(self.heap(), self.header()))?;
        Some(self.get_with(getter))
    }

    #[inline]
    fn get_with(&self, mut getter: Getter<'_>) -> Result<Taken, NotGot> {
        let got = getter.pop();
        getter.unlock();
        let Some(got) = got.map_err(NotGot::OutOfMemory)? else {
            return Err(self.nothing_there().unwrap_or(NotGot::Empty));
        };
        self.call_putters(1);
        Ok(got.into_taken(self.heap()))
    }

    /// Gets up to `n_max` messages into `taken`, without waiting, and says how many. Takes the lock
    /// once.
    ///
    /// # Errors
    /// [`OutOfMemory`] if there are some and this process cannot reach the first of them.
    pub fn try_get_many(&self, n_max: usize, taken: &mut Vec<Taken>) -> Result<usize, OutOfMemory> {
        if n_max == 0 || self.nothing_there().is_some() {
            return Ok(0);
        }
        let mut getter = Getter::lock(self.heap(), self.header());
        let mut got = Vec::new();
        let mut end = Ok(());
        while got.len() < n_max {
            match getter.pop() {
                Ok(Some(one)) => got.push(one),
                Ok(None) => break,
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        getter.unlock();
        let n_got = got.len();
        if n_got > 0 {
            self.call_putters(n_got);
        }
        taken.extend(got.into_iter().map(|got| got.into_taken(self.heap())));
        // The next call says what was wrong with the one behind them.
        if n_got > 0 { Ok(n_got) } else { end.map(|()| 0) }
    }

    /// Reports one message that was got as done.
    ///
    /// # Errors
    /// If so many were reported that this one cannot have been put.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        let header = self.header();
        let one_more = |n_done| (n_done < header.put.progress().n).then_some(n_done + 1);
        let done = header.n_done.0.fetch_update(Ordering::SeqCst, Ordering::Relaxed, one_more);
        done.map_err(|_| TooManyDone)?;
        self.call_joiners();
        Ok(())
    }

    /// Refuses further messages and ends every wait that cannot succeed any more. What is in the
    /// queue can still be got, unless `is_immediate`: then it is dropped and counts as done.
    pub fn shutdown(&self, is_immediate: bool) {
        let header = self.header();
        let putter = Putter::lock(self.heap(), header);
        header.is_closed.store(true, Ordering::Release);
        drop(putter);
        if is_immediate {
            let mut dropped = Vec::new();
            // What cannot be reached stays, for who gets it or ends the queue.
            while self.try_get_many(256, &mut dropped).is_ok_and(|n| n > 0) {
                header.n_done.0.fetch_add(dropped.len() as u64, Ordering::SeqCst);
                dropped.clear();
            }
            self.call_joiners();
        }
        for line in [&header.getters, &header.putters, &header.joiners] {
            line.call(usize::MAX);
        }
    }

    /// Whether the queue refuses further messages.
    pub fn is_shut_down(&self) -> bool {
        self.header().is_closed.load(Ordering::Acquire)
    }

    /// How many messages are in the queue now.
    pub fn len(&self) -> u64 {
        // In this order: more may be put in between, but none is got that was not counted.
        let n_got = self.header().get.progress().n;
        let n_items = self.header().put.progress().n - n_got;
        // Got and put meanwhile: there were never more than fit.
        if self.maxsize() > 0 { n_items.min(self.maxsize()) } else { n_items }
    }

    /// Whether no message is in the queue now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room now.
    pub fn is_full(&self) -> bool {
        let n_put = self.header().put.progress().n;
        let n_got = self.header().get.progress().n;
        self.maxsize() > 0 && n_put.saturating_sub(n_got) >= self.maxsize()
    }

    /// How many messages there may be, zero if there is no limit.
    pub fn maxsize(&self) -> u64 {
        self.header().maxsize()
    }

    /// How many of the messages that were put are not done.
    pub fn n_unfinished(&self) -> u64 {
        // In this order: one may be put and done in between, but not done before it is put.
        let n_done = self.header().n_done.0.load(Ordering::SeqCst);
        self.header().put.progress().n.saturating_sub(n_done)
    }

    /// What happened so far.
    pub fn statistics(&self) -> SharedStatistics {
        let header = self.header();
        let n_got = header.get.progress().n;
        SharedStatistics {
            n_put: header.put.progress().n,
            n_got,
            n_lost: header.get_note.n_lost.load(Ordering::Relaxed),
            n_unfinished: self.n_unfinished(),
            n_getters_waiting: header.getters.n_waiting(),
            n_putters_waiting: header.putters.n_waiting(),
            n_get_waits: header.getters.n_enlisted(),
            n_put_waits: header.putters.n_enlisted(),
        }
    }

    /// A place among those who wait for a message. For waits that are made of steps: enlist, try to
    /// get once more, sleep, leave, try again.
    pub fn enlist_getter(&self) -> SharedEnlisted<'_> {
        self.header().getters.enlist()
    }

    /// A place among those who wait for room; as [`Self::enlist_getter`].
    pub fn enlist_putter(&self) -> SharedEnlisted<'_> {
        self.header().putters.enlist()
    }

    /// A place among those who wait until [`Self::n_unfinished`] is zero.
    pub fn enlist_joiner(&self) -> SharedEnlisted<'_> {
        self.header().joiners.enlist()
    }

    /// For who was called and does not go on: the next getter and the next putter look instead.
    pub fn pass_on(&self) {
        self.header().getters.call(1);
        self.header().putters.call(1);
    }

    /// Without a lock: why there is nothing to get.
    #[inline]
    fn nothing_there(&self) -> Option<NotGot> {
        // Before the counts: after it was set nothing is put any more.
        let is_closed = self.is_shut_down();
        self.is_empty().then_some(if is_closed { NotGot::ShutDown } else { NotGot::Empty })
    }

    /// Without a lock: why nothing can be put.
    #[inline]
    fn refused_at_once(&self) -> Option<Refusal> {
        if self.is_shut_down() {
            return Some(Refusal::ShutDown);
        }
        self.is_full().then_some(Refusal::Full)
    }

    /// Whether a record can hold the message.
    ///
    /// # Panics
    /// If it lies in another heap than the queue.
    #[inline]
    fn check(&self, message: &Message<'_>) -> Result<(), OutOfMemory> {
        let heap: &Heap = self.heap();
        let is_elsewhere = match &message.body {
            Body::Block(block) => !block.is_in(heap),
            Body::Inline(_) => false,
        };
        let is_here = !is_elsewhere && message.carried.is_in(heap);
        assert!(is_here, "a queue takes messages of the heap that it lies in itself");
        let n_handles = message.carried.handles().len();
        if n_handles > RecordHead::MAX_HANDLES {
            let why = format!("one message names at most {} objects", RecordHead::MAX_HANDLES);
            return Err(OutOfMemory::new((n_handles * Handle::LEN) as u64, why));
        }
        Ok(())
    }

    /// The message with bytes that fit a record.
    #[inline]
    fn fit<'a>(&self, message: Message<'a>) -> Result<Message<'a>, NotPut<'a>> {
        self.check(&message).map_err(NotPut::OutOfMemory)?;
        match message.body {
            Body::Inline(bytes) if bytes.len() > INLINE_LIMIT => self.move_to_block(bytes, message),
            _ => Ok(message),
        }
    }

    #[cold]
    fn move_to_block<'a>(
        &self,
        bytes: &'a [u8],
        message: Message<'a>,
    ) -> Result<Message<'a>, NotPut<'a>> {
        match self.heap().alloc_for_overwrite(bytes.len() as u64) {
            Ok(mut block) => {
                block.copy_from_slice(bytes);
                Ok(Message { body: Body::Block(block), ..message })
            }
            Err(error) => Err(NotPut::OutOfMemory(error)),
        }
    }

    #[inline]
    fn call_putters(&self, n: usize) {
        if self.maxsize() > 0 {
            self.header().putters.call(n);
        }
    }

    fn call_joiners(&self) {
        if self.n_unfinished() == 0 {
            self.header().joiners.call(usize::MAX);
        }
    }
}

/// [`NotPut`] without its message.
enum Refusal {
    Full,
    ShutDown,
}

impl Refusal {
    fn of(self, message: Message<'_>) -> NotPut<'_> {
        match self {
            Self::Full => NotPut::Full(message),
            Self::ShutDown => NotPut::ShutDown(message),
        }
    }
}

#[inline]
fn briefly<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..N_BRIEF_TRIES {
        if let Some(done) = attempt() {
            return Some(done);
        }
        std::hint::spin_loop();
    }
    None
}

unsafe fn fits(_payload: NonNull<u8>, len: u64) -> bool {
    len >= size_of::<Header>() as u64
}

/// Nobody else can reach the queue any more; whoever could may have died in the middle of a step.
unsafe fn destroy(heap: &Arc<Heap>, payload: NonNull<u8>, _len: u64) {
    // SAFETY: the payload of a queue, by the caller's promise.
    let header: &Header = unsafe { payload.cast().as_ref() };
    put::mend(heap, header);
    get::mend(heap, header);
    let mut getter = Getter::resume(heap, header);
    // What this process cannot reach stays with the family.
    while let Ok(Some(got)) = getter.pop() {
        // Allocates nothing: an undertaker may be who ends the queue.
        got.release(heap);
    }
    if let Some(last) = getter.into_last_segment() {
        // SAFETY: the segment of a queue that nobody can reach any more.
        unsafe { heap.give_back_exactly(last, Party::FAMILY) };
    }
}

impl PartialEq for SharedQueue {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl Eq for SharedQueue {}

impl std::fmt::Debug for NotPut<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::ShutDown(_) => "ShutDown",
            Self::OutOfMemory(_) => "OutOfMemory",
            Self::Busy(_) => "Busy",
        })
    }
}
