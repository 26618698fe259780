//! Waiting until another thread says that something has changed.
//!
//! Each waiter has a node of its own in a queue; a notification takes the oldest nodes out of it
//! and wakes exactly these. A waiter that gives up takes its own node out: if it is not there any
//! more it was notified, and must say so. So no notification goes to somebody who has left.
//!
//! The lock that belongs to the condition is the caller's: held when entering and when notifying.
//! If the condition is told which lock that is, a waiter that is notified under it is not woken
//! only to find it held: it sleeps on, for the lock.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;

use manyhands_sys::atomic::{AtomicU32, Mutex, MutexGuard, Ordering};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Private};

use crate::lock::RawLock;
use crate::sleep::{Wait, Waiting, sleep};

/// The waiters of one condition, oldest first.
pub struct RawCondition {
    waiters: Mutex<VecDeque<Arc<Node>>>,
    /// Their number, for who notifies: written under the lock above. Who entered before the
    /// notifier had the caller's lock is counted in what the notifier reads.
    n_waiting: AtomicU32,
}

/// One waiter.
pub struct Node {
    word: Futex<Private>,
    /// What the waiter takes when it is woken, if known. Lives while the node is in the queue.
    lock: Option<NonNull<RawLock<Private>>>,
}

// SAFETY: the lock may be reached by any thread.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

const WAITING: u32 = 0;
const NOTIFIED: u32 = 1;

impl RawCondition {
    /// Nobody waits.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { waiters: Mutex::new(VecDeque::new()), n_waiting: AtomicU32::new(0) }
    }

    /// Nobody waits.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { waiters: Mutex::new(VecDeque::new()), n_waiting: AtomicU32::new(0) }
    }

    /// Joins the queue; the caller's lock is held.
    pub fn enter(&self) -> Arc<Node> {
        self.add(None)
    }

    /// The same for a waiter that takes `lock` by [`RawLock::lock_after_sleep`] afterwards.
    ///
    /// # Safety
    /// `lock` lives until the waiter has called [`RawCondition::leave`] and then held the lock.
    pub unsafe fn enter_for(&self, lock: &RawLock<Private>) -> Arc<Node> {
        self.add(Some(NonNull::from(lock)))
    }

    fn add(&self, lock: Option<NonNull<RawLock<Private>>>) -> Arc<Node> {
        let node = Arc::new(Node { word: Futex::new(WAITING), lock });
        let mut waiters = self.waiters();
        waiters.push_back(Arc::clone(&node));
        self.count(&waiters);
        drop(waiters);
        node
    }

    /// Leaves the queue; true if the node was notified.
    pub fn leave(&self, node: &Arc<Node>) -> bool {
        if node.is_notified() {
            return true;
        }
        let mut waiters = self.waiters();
        let place = waiters.iter().position(|other| Arc::ptr_eq(other, node));
        let was_notified = place.map(|idx| waiters.remove(idx)).is_none();
        self.count(&waiters);
        was_notified
    }

    /// Wakes the `n` oldest waiters; how many there were. The caller's lock is held, or was since
    /// what the waiters look at has changed.
    #[inline]
    pub fn notify(&self, n: usize) -> usize {
        if self.n_waiting.load(Ordering::Relaxed) == 0 { 0 } else { self.wake(n) }
    }

    #[cold]
    fn wake(&self, n: usize) -> usize {
        let mut waiters = self.waiters();
        let n_woken = n.min(waiters.len());
        for node in waiters.drain(..n_woken) {
            // SAFETY: the node was in the queue when we locked that, so its waiter has not left. If
            // the lock is ours, the waiter cannot get it before we are done; else it is not used.
            let lock = node.lock.map(|lock| unsafe { lock.as_ref() });
            let our_lock = lock.filter(|lock| lock.is_mine());
            // Release: meets the Acquire of `is_notified`. From here on the waiter may leave.
            node.word.store(NOTIFIED, Ordering::Release);
            match our_lock {
                Some(lock) => lock.adopt(&node.word),
                None => node.word.wake_one(),
            }
        }
        self.count(&waiters);
        n_woken
    }

    /// How many wait.
    pub fn n_waiting(&self) -> usize {
        self.waiters().len()
    }

    fn count(&self, waiters: &VecDeque<Arc<Node>>) {
        self.n_waiting.store(waiters.len() as u32, Ordering::Relaxed);
    }

    fn waiters(&self) -> MutexGuard<'_, VecDeque<Arc<Node>>> {
        self.waiters.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for RawCondition {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    fn is_notified(&self) -> bool {
        self.word.load(Ordering::Acquire) == NOTIFIED
    }

    /// Sleeps until notified; the caller's lock is not held.
    pub fn wait(&self, deadline: Option<Deadline>, waiting: &mut Waiting<'_>) -> Wait {
        loop {
            if self.is_notified() {
                return Wait::Done;
            }
            if let Some(end) = sleep(&self.word, WAITING, deadline, waiting).end() {
                return end;
            }
        }
    }
}

/// Each model names the change of the code above that it catches.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc as Shared;
    use loom::thread;

    /// Catches: a notification that changes no word, or wakes nobody.
    #[test]
    fn a_notification_reaches_who_is_there() {
        loom::model(|| {
            let condition = Shared::new(RawCondition::new());
            let node = condition.enter();
            let other = Shared::clone(&condition);
            let waiter = thread::spawn(move || {
                assert_eq!(node.wait(None, &mut Waiting::default()), Wait::Done);
                assert!(other.leave(&node));
            });
            assert_eq!(condition.notify(1), 1);
            waiter.join().unwrap();
            assert_eq!(condition.n_waiting(), 0);
        });
    }

    /// Catches: a `leave` that trusts the word alone, or takes the node out and says notified; a
    /// notification that takes nodes out before it tells how many.
    #[test]
    fn a_notification_goes_to_one_who_leaves_or_to_the_other_but_to_one() {
        loom::model(|| {
            let condition = Shared::new(RawCondition::new());
            let (leaver, stayer) = (condition.enter(), condition.enter());
            let other = Shared::clone(&condition);
            let thread = thread::spawn(move || {
                let _ = leaver.wait(None, &mut Waiting::giving_up_after(0));
                other.leave(&leaver)
            });
            assert_eq!(condition.notify(1), 1);
            let leaver_was_notified = thread.join().unwrap();
            assert_ne!(leaver_was_notified, stayer.is_notified());
            assert_eq!(condition.n_waiting(), usize::from(leaver_was_notified));
        });
    }
}
