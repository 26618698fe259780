//! The word that threads of several processes sleep on, without a system call for who need not.
//!
//! | word | meaning | left by |
//! |---|---|---|
//! | n, *quiet* | nobody asked to be woken since ring n | `listen`: sets *listened to* |
//! | n, *listened to* | somebody sleeps, or is about to | `ring`: n + 1, *quiet*, and all are woken |
//!
//! Who waits listens first and looks at its condition afterwards; who changes the condition changes
//! it first and rings afterwards. Both have a fence in between, so one of the two sees the other.
//! The count makes a ring that came between listening and sleeping end that sleep, even if a third
//! party listens again meanwhile.
//!
//! Who rings and is killed between the swap and the waking leaves sleepers asleep although their
//! time has come. Whoever sleeps here therefore comes up now and then, see `patience.rs`.

use manyhands_sys::atomic::{Ordering, fence};
use manyhands_sys::futex::{Futex, Shared};

/// See the table above. All zeros: quiet.
#[cfg_attr(not(loom), repr(transparent))]
pub(crate) struct Bell {
    word: Futex<Shared>,
}

const LISTENED_TO: u32 = 1;
const ONE_RING: u32 = 2;

impl Bell {
    /// Asks to be woken. To be followed by a look at the condition, then by a sleep on
    /// [`Bell::word`] while it is what is returned here.
    pub(crate) fn listen(&self) -> u32 {
        let before = self.word.fetch_or(LISTENED_TO, Ordering::Relaxed);
        // Meets the fence of `ring`: the look that follows sees what was done before a ring that
        // did not see us.
        fence(Ordering::SeqCst);
        before | LISTENED_TO
    }

    /// The word to sleep on.
    pub(crate) const fn word(&self) -> &Futex<Shared> {
        &self.word
    }

    /// Wakes all who listen. The caller has changed the condition and called [`changed`] since.
    #[inline]
    pub(crate) fn ring(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if word & LISTENED_TO != 0 {
            self.wake(word);
        }
    }

    /// Whether somebody listens: what [`Bell::ring`] looks at.
    #[inline]
    pub(crate) fn is_listened_to(&self) -> bool {
        self.word.load(Ordering::Relaxed) & LISTENED_TO != 0
    }

    #[cold]
    fn wake(&self, word: u32) {
        let after = word.wrapping_add(ONE_RING) & !LISTENED_TO;
        // Whoever else rings just now wakes them as well.
        if self.word.compare_exchange(word, after, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.word.wake_all();
        }
    }

    /// Wakes all, also those who were about to be woken by somebody that died.
    pub(crate) fn ring_in_any_case(&self) {
        self.word.fetch_add(ONE_RING, Ordering::Relaxed);
        self.word.wake_all();
    }
}

/// Between changing a condition and ringing its bells.
#[inline]
pub(crate) fn changed() {
    // Meets the fence of `listen`.
    fence(Ordering::SeqCst);
}

#[cfg(all(test, loom))]
mod model {
    //! What the fences are for: without either of them a model below reports a deadlock.

    use loom::sync::Arc;
    use loom::thread;
    use manyhands_sys::atomic::AtomicU32;

    use super::*;

    struct Door {
        n: AtomicU32,
        bell: Bell,
    }

    fn door() -> Arc<Door> {
        Arc::new(Door { n: AtomicU32::new(0), bell: Bell { word: Futex::new(0) } })
    }

    fn wait_for(door: &Door, n: u32) {
        while door.n.load(Ordering::Acquire) < n {
            let ticket = door.bell.listen();
            if door.n.load(Ordering::Acquire) < n {
                door.bell.word().wait(ticket, None);
            }
        }
    }

    fn add(door: &Door) {
        door.n.fetch_add(1, Ordering::Release);
        changed();
        door.bell.ring();
    }

    #[test]
    fn nobody_sleeps_past_a_ring() {
        loom::model(|| {
            let door = door();
            let other = Arc::clone(&door);
            let ringer = thread::spawn(move || {
                add(&other);
                add(&other);
            });
            wait_for(&door, 1);
            wait_for(&door, 2);
            ringer.join().unwrap();
        });
    }

    #[test]
    fn two_listeners_are_both_woken_by_two_ringers() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let door = door();
            let threads: Vec<_> = (0..2)
                .map(|idx| {
                    let door = Arc::clone(&door);
                    thread::spawn(move || {
                        add(&door);
                        if idx == 0 {
                            wait_for(&door, 2);
                        }
                    })
                })
                .collect();
            wait_for(&door, 2);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
