//! A lock for people, shared by processes: reentrant or not.
//!
//! Guarantees: an uncontended acquisition is one compare-and-swap, a release one swap; a lock whose
//! owner's process ended goes to the next who wants it, who can ask who it was
//! ([`SharedLock::take_note`]): somebody that had the lock is told of every death, whoever else
//! dies meanwhile.
//!
//! What it does not do: it lends itself to no other process. A forked child does not hold what its
//! parent held.

use manyhands_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use manyhands_sys::futex::{Futex, Shared, low_half};

use crate::deadlock::Certainty;
use crate::lock::{Hold, NotHeld};
use crate::overflow::Overflow;
use crate::rlock::NotOwner;
use crate::robust::Owner;
use crate::shared::waiting::Waiting;
use crate::shared::word::{LockWord, Look};
use crate::sleep::Wait;
use crate::statistics::Counters;

/// A lock in shared memory.
#[repr(C)]
pub struct SharedLock {
    word: LockWord,
    /// An owner that died with the lock, as a word; 0: everybody who had to has been told.
    note: AtomicU64,
    /// The owner's alone to write.
    depth: AtomicU32,
    is_reentrant: AtomicU32,
    /// Released by somebody else, at least once.
    by_stranger: AtomicU32,
    /// For the layer above: what is to happen when an owner died.
    pub policy: AtomicU32,
    /// What has happened so far.
    pub counters: Counters,
    name: [AtomicU64; N_NAME_WORDS],
}

/// Longer names lose their end.
const N_NAME_WORDS: usize = 8;

const _: () = assert!(size_of::<SharedLock>() == 120);

impl SharedLock {
    /// A free lock.
    pub const fn new(is_reentrant: bool) -> Self {
        Self {
            word: LockWord::new(),
            note: AtomicU64::new(0),
            depth: AtomicU32::new(0),
            is_reentrant: AtomicU32::new(is_reentrant as u32),
            by_stranger: AtomicU32::new(0),
            policy: AtomicU32::new(0),
            counters: Counters::new(),
            name: [const { AtomicU64::new(0) }; N_NAME_WORDS],
        }
    }

    /// Makes zeros a lock that nobody else knows yet.
    pub fn set_up(&self, is_reentrant: bool, policy: u32, name: Option<&str>) {
        self.is_reentrant.store(is_reentrant.into(), Ordering::Relaxed);
        self.policy.store(policy, Ordering::Relaxed);
        let mut bytes = name.unwrap_or_default().bytes();
        for word in &self.name {
            let mut part = [0; 8];
            part.iter_mut().zip(&mut bytes).for_each(|(place, byte)| *place = byte);
            word.store(u64::from_le_bytes(part), Ordering::Relaxed);
        }
    }

    /// The name its maker gave it.
    pub fn name(&self) -> Option<String> {
        let words = self.name.iter().map(|word| word.load(Ordering::Relaxed).to_le_bytes());
        let bytes: Vec<u8> = words.flatten().take_while(|byte| *byte != 0).collect();
        let name = String::from_utf8_lossy(&bytes);
        (!name.is_empty()).then(|| name.trim_end_matches('\u{fffd}').to_owned())
    }

    /// Whether its owner may take it again.
    #[inline]
    pub fn is_reentrant(&self) -> bool {
        self.is_reentrant.load(Ordering::Relaxed) != 0
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self, me: Owner, hold: Hold) -> bool {
        let is_taken = self.word.try_take(me, hold);
        if is_taken {
            self.depth.store(1, Ordering::Relaxed);
            self.counters.acquired();
        }
        is_taken
    }

    /// Takes the lock once more if it is a reentrant one and the caller's.
    ///
    /// # Errors
    /// [`Overflow`]: the caller has it as often as can be counted.
    #[inline]
    pub fn try_lock_again(&self, me: Owner) -> Result<bool, Overflow> {
        let is_mine = self.is_reentrant() && self.is_of(me);
        if is_mine {
            let depth = self.depth.load(Ordering::Relaxed).checked_add(1).ok_or(Overflow)?;
            self.depth.store(depth, Ordering::Relaxed);
            self.counters.acquired();
        }
        Ok(is_mine)
    }

    /// Takes the lock, sleeping while others hold it.
    #[cold]
    pub fn lock_slow(&self, me: Owner, hold: Hold, waiting: &mut Waiting<'_>) -> Wait {
        self.lock_as(me, hold, waiting, false)
    }

    /// The same for a thread that may have slept for this lock already, see [`SharedLock::adopt`].
    pub fn lock_after_sleep(&self, me: Owner, hold: Hold, waiting: &mut Waiting<'_>) -> Wait {
        self.lock_as(me, hold, waiting, true)
    }

    /// Takes the lock if it is free, as a thread that may have slept for it.
    pub fn try_lock_after_sleep(&self, me: Owner, hold: Hold) -> bool {
        let is_taken = self.word.try_take_after_sleep(me, hold);
        if is_taken {
            self.depth.store(1, Ordering::Relaxed);
            self.counters.acquired();
        }
        is_taken
    }

    /// As [`LockWord::adopt`].
    pub fn adopt(&self, me: Owner, sleeper: &Futex<Shared>) -> bool {
        self.word.adopt(me, sleeper)
    }

    fn lock_as(&self, me: Owner, hold: Hold, waiting: &mut Waiting<'_>, has_slept: bool) -> Wait {
        let family = waiting.family();
        let is_alive = |party| family.is_alive(party);
        if waiting.begins() {
            self.counters.contended();
        }
        let lasted_ns = waiting.lasted_ns();
        let sleep = |word: &AtomicU64, expected: u64| {
            waiting.sleep_for_lock(low_half::<Shared>(word), expected as u32, self)
        };
        let taken = match has_slept {
            true => self.word.take_after_sleep(me, hold, is_alive, sleep),
            false => self.word.take(me, hold, is_alive, sleep),
        };
        self.counters.waited(waiting.lasted_ns() - lasted_ns);
        match taken {
            Ok(dead) => {
                self.has_taken(dead);
                Wait::Done
            }
            Err(end) => end,
        }
    }

    /// The caller has taken the lock, from an owner that died with it if there is one.
    fn has_taken(&self, dead: Option<Owner>) {
        if let Some(dead) = dead {
            // Before anything else: whoever comes after this process reads it.
            self.note.store(to_word(dead), Ordering::Relaxed);
        }
        self.depth.store(1, Ordering::Relaxed);
        self.counters.acquired();
    }

    /// Holder: the owner that died with the lock, if nobody was told yet. Who asks is told.
    #[inline]
    pub fn take_note(&self) -> Option<Owner> {
        if self.note.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(of_word(self.note.swap(0, Ordering::Relaxed)))
    }

    /// Holder: the next one is to be told (again) that `dead` died with the lock.
    pub fn leave_note(&self, dead: Owner) {
        self.note.store(to_word(dead), Ordering::Relaxed);
    }

    /// Releases a lock that is not reentrant, whoever holds it.
    ///
    /// # Errors
    /// [`NotHeld`] if nobody does.
    #[inline]
    pub fn unlock(&self, me: Owner) -> Result<(), NotHeld> {
        let (owner, is_waited) = self.word.release();
        if owner != Some(me) {
            if owner.is_none() {
                return Err(NotHeld);
            }
            self.by_stranger.store(1, Ordering::Relaxed);
        }
        if is_waited {
            self.word.wake_one();
        }
        Ok(())
    }

    /// Undoes one acquisition of a reentrant lock.
    ///
    /// # Errors
    /// [`NotOwner`] if the lock is free or another thread's.
    #[inline]
    pub fn unlock_mine(&self, me: Owner) -> Result<(), NotOwner> {
        if !self.is_of(me) {
            return Err(NotOwner);
        }
        let depth = self.depth.load(Ordering::Relaxed);
        if depth > 1 {
            self.depth.store(depth - 1, Ordering::Relaxed);
        } else {
            let _ = self.unlock(me);
        }
        Ok(())
    }

    /// Undoes all acquisitions of the caller and returns how many there were.
    ///
    /// # Errors
    /// [`NotOwner`] if the lock is free or another thread's.
    pub fn unlock_all(&self, me: Owner) -> Result<u32, NotOwner> {
        if !self.is_of(me) {
            return Err(NotOwner);
        }
        let depth = self.depth.load(Ordering::Relaxed);
        let _ = self.unlock(me);
        Ok(depth)
    }

    /// Owner: as if acquired so many times.
    pub fn set_depth(&self, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// How often `me` has taken it.
    pub fn depth_of(&self, me: Owner) -> u32 {
        if self.is_of(me) { self.depth.load(Ordering::Relaxed) } else { 0 }
    }

    /// Who holds it.
    #[inline]
    pub fn owner(&self) -> Option<Owner> {
        self.word.owner()
    }

    /// Whether `me` holds it.
    #[inline]
    pub fn is_of(&self, me: Owner) -> bool {
        self.owner() == Some(me)
    }

    /// How it is held.
    pub fn hold(&self) -> Hold {
        if self.word.is_scoped() { Hold::Scoped } else { Hold::Open }
    }

    /// How sure it is that only the owner will release it.
    pub fn certainty(&self) -> Certainty {
        if self.is_reentrant() || self.word.is_scoped() {
            return Certainty::Sure;
        }
        match self.by_stranger.load(Ordering::Relaxed) {
            0 => Certainty::Likely,
            _ => Certainty::Unsure,
        }
    }
}

impl Waiting<'_> {
    /// Sleeps for `lock`, and looks around when it is time to.
    fn sleep_for_lock(
        &mut self,
        word: &Futex<Shared>,
        expected: u32,
        lock: &SharedLock,
    ) -> Look<Wait> {
        // First, as a thread that looks at signals never sleeps to the end of a slice.
        if self.is_time_to_look() {
            return if self.look(lock) { Look::Leave(Wait::Stuck) } else { Look::AtOwner };
        }
        match self.sleep(word, expected).end() {
            None => Look::Again,
            // Also who never waits long, and comes again and again, gets the lock of a dead owner.
            Some(end @ Wait::TimedOut) => Look::LookAndLeave(end),
            Some(end) => Look::Leave(end),
        }
    }
}

fn to_word(owner: Owner) -> u64 {
    u64::from(owner.party) << 32 | u64::from(owner.thread)
}

fn of_word(word: u64) -> Owner {
    Owner { party: (word >> 32) as u32, thread: word as u32 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_depth_that_cannot_be_counted_is_refused_and_the_lock_is_kept() {
        let lock = SharedLock::new(true);
        let (me, other) = (Owner { party: 1, thread: 1 }, Owner { party: 1, thread: 2 });
        assert!(lock.try_lock(me, Hold::Scoped));
        lock.set_depth(u32::MAX - 1);
        assert_eq!(lock.try_lock_again(me), Ok(true));
        assert_eq!(lock.try_lock_again(me), Err(Overflow));
        assert_eq!(lock.try_lock_again(other), Ok(false));
        assert!(!lock.try_lock(other, Hold::Scoped));
        assert_eq!(lock.depth_of(me), u32::MAX);
        assert_eq!(lock.unlock_mine(me), Ok(()));
        assert_eq!(lock.try_lock_again(me), Ok(true));
    }
}
