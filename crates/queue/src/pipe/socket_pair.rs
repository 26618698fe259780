//! A pair of sockets beside a duplex pipe, for what cannot go through memory: descriptors.
//!
//! Programs send descriptors with `sendmsg` on the descriptor of a connection, and expect that what
//! is written there arrives at the other end. So the descriptor of a duplex end is one of two
//! connected sockets. Messages do not go through them. That an end has something to receive is told
//! by a *mark*, one byte that whoever keeps the descriptor true puts there and takes away.
//!
//! Who first asks for the descriptor makes the pair, and its process gives both sockets to any
//! other process of the family that asks: it has a *descriptor broker* (`manyhands_sys::broker`),
//! whose number stands in the pipe. The pair is lost with that process if nobody else has asked
//! before; the next one who asks makes a new one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use manyhands_sys::broker::{self, Broker, Question};
use manyhands_sys::clock::Deadline;
use manyhands_sys::descriptor::out_of_the_way;
use manyhands_sys::event::{EventFd, poll};
use manyhands_sys::per_process::PerProcess;

use super::end::End;

/// How long one process waits for another at a broker.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells from what programs write there.
const MARK: u8 = 0xa7;

/// The two sockets.
pub(crate) struct SocketPair {
    /// By the side of the pipe.
    sockets: [OwnedFd; 2],
    /// Whether another process has got them.
    is_given: AtomicBool,
}

/// Which pipe: the family, where in its heap, and the serial number of what lies there.
pub(super) type Key = [u64; 3];

/// Bytes of a key as a question.
const KEY_LEN: usize = size_of::<Key>();

/// What this process gives to those who ask.
#[derive(Default)]
struct Offers {
    offers: HashMap<Key, Arc<SocketPair>>,
    open: Option<Opened>,
}

struct Opened {
    number: u64,
    is_over: Arc<EventFd>,
    thread: JoinHandle<()>,
}

static OFFERS: PerProcess<Mutex<Offers>> = PerProcess::new();

/// In a forked child: the broker is the parent's.
pub fn forget_after_fork() {
    OFFERS.forget();
}

impl SocketPair {
    /// The sockets of the pipe that `end` belongs to. `number_word` is the pipe's word for the
    /// broker.
    pub(super) fn of(end: &End, number_word: &AtomicU64) -> io::Result<Arc<Self>> {
        let key = end.pipe_key();
        let mut number = number_word.load(Ordering::Acquire);
        for _ in 0..8 {
            if let Some(known) = lock().offers.get(&key) {
                return Ok(Arc::clone(known));
            }
            if number != 0
                && let Some(given) = ask(number, key)
            {
                return Ok(Arc::new(Self::new(given, end)));
            }
            let made = Arc::new(Self::new(broker::stream_pair()?, end));
            let mine = offer(key, &made)?;
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match number_word.compare_exchange(number, mine, success, failure) {
                Ok(_) => return Ok(made),
                Err(other) => {
                    // Somebody else was faster.
                    withdraw(key);
                    number = other;
                }
            }
        }
        Err(io::Error::other("the other processes of this pipe are busy ending"))
    }

    fn new([a, b]: [OwnedFd; 2], end: &End) -> Self {
        // The program gets the one of its own side.
        let sockets = match end.side() {
            0 => [a, out_of_the_way(b)],
            _ => [out_of_the_way(a), b],
        };
        Self { sockets, is_given: AtomicBool::new(false) }
    }

    /// The socket of a side.
    pub(super) fn socket(&self, side: usize) -> BorrowedFd<'_> {
        self.sockets[side].as_fd()
    }

    /// Makes the socket of `side` readable, or not if nothing but marks is there.
    pub(super) fn mark(&self, side: usize, is_ready: bool, is_at_end: bool) {
        let (mine, theirs) = (&self.sockets[side], &self.sockets[1 - side]);
        if is_at_end {
            broker::end_sending(theirs);
        } else if is_ready && broker::peek(mine).is_none() {
            broker::send_byte(theirs, MARK);
        }
        while (is_at_end || !is_ready) && broker::peek(mine) == Some(MARK) {
            broker::take_byte(mine);
        }
    }

    /// Whether something was written to it that nobody can read any more once this process ends.
    fn has_unread(&self) -> bool {
        let is_unread = |socket| broker::peek(socket).is_some_and(|byte| byte != MARK);
        !self.is_given.load(Ordering::Acquire) && self.sockets.iter().any(is_unread)
    }
}

/// Nobody here uses the sockets of the pipe any more; they stay if somebody else has to get them.
pub(super) fn let_go(end: &End) {
    let key = end.pipe_key();
    let is_needed = |pair: &Arc<SocketPair>| {
        // One is the broker's, one the caller's.
        Arc::strong_count(pair) > 2 || pair.has_unread()
    };
    let is_needed = lock().offers.get(&key).is_some_and(is_needed);
    if !is_needed {
        withdraw(key);
    }
}

/// Before this process ends: waits a moment for those who have to get what was written.
pub fn linger(at_most: Duration) {
    let until = Instant::now() + at_most;
    let has_unread = || lock().offers.values().any(|pair| pair.has_unread());
    while Instant::now() < until && has_unread() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Asks the process behind a broker.
fn ask(number: u64, key: Key) -> Option<[OwnedFd; 2]> {
    let words = key.map(u64::to_ne_bytes);
    // A process that is stopped does not answer: not to wait for it is worse only for it.
    let fds = Broker::ask(number, words.as_flattened(), Deadline::after(PATIENCE)).ok()??;
    <[OwnedFd; 2]>::try_from(fds).ok()
}

/// Offers the sockets at this process's broker; its number.
fn offer(key: Key, pair: &Arc<SocketPair>) -> io::Result<u64> {
    let mut keeper = lock();
    keeper.offers.insert(key, Arc::clone(pair));
    if let Some(open) = &keeper.open {
        return Ok(open.number);
    }
    let number = RandomState::new().hash_one((std::process::id(), key)) | 1;
    let open = Broker::open(number).and_then(|broker| {
        let is_over = Arc::new(EventFd::new()?.out_of_the_way());
        let seen = Arc::clone(&is_over);
        let builder = std::thread::Builder::new().name("manyhands-broker".into());
        let thread = builder.stack_size(128 << 10).spawn(move || keep(&broker, &seen))?;
        Ok(Opened { number, is_over, thread })
    });
    match open {
        Ok(open) => {
            keeper.open = Some(open);
            Ok(number)
        }
        Err(error) => {
            keeper.offers.remove(&key);
            Err(error)
        }
    }
}

/// The pipe is gone: nobody is left who could read what was written to its sockets. Waits for
/// nobody.
pub(super) fn forget(key: Key) {
    if let Some(open) = take_back(key) {
        open.is_over.notify();
    }
}

/// Takes an offer back, and closes the broker behind the last one.
fn withdraw(key: Key) {
    if let Some(open) = take_back(key) {
        open.is_over.notify();
        // A thread that panicked is over as well.
        let _ = open.thread.join();
    }
}

/// The broker, if that was the last offer there.
fn take_back(key: Key) -> Option<Opened> {
    let mut keeper = lock();
    let pair = keeper.offers.remove(&key);
    let open = if keeper.offers.is_empty() { keeper.open.take() } else { None };
    drop(keeper);
    drop(pair);
    open
}

fn keep(broker: &Broker, is_over: &EventFd) {
    loop {
        let ready = poll(&[is_over.as_fd(), broker.as_fd()], None).unwrap_or_default();
        if ready.contains(&0) {
            return;
        }
        if let Ok(Some(question)) = broker.question() {
            let _ = answer(broker, &question);
        }
    }
}

fn answer(broker: &Broker, question: &Question) -> Option<()> {
    let bytes = <[u8; KEY_LEN]>::try_from(question.bytes.as_slice()).ok()?;
    let mut key = Key::default();
    for (word, bytes) in key.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    let Some(pair) = lock().offers.get(&key).map(Arc::clone) else {
        // Not to let it wait.
        return broker.answer(question, &[]).ok();
    };
    broker.answer(question, &[pair.socket(0), pair.socket(1)]).ok()?;
    pair.is_given.store(true, Ordering::Release);
    // One is the broker's, one ours: then it was kept for this one.
    let mut keeper = lock();
    if Arc::strong_count(&pair) == 2 {
        keeper.offers.remove(&key);
    }
    Some(())
}

fn lock() -> MutexGuard<'static, Offers> {
    OFFERS.get().lock().unwrap_or_else(PoisonError::into_inner)
}
