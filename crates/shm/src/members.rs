//! Who is in the family: a table of processes in the heap.
//!
//! One word says it, and every step is one compare-and-swap:
//!
//! | low half | high half | meaning | left by |
//! |---|---|---|---|
//! | 0 | times used | free | `new_party`: to a fresh number |
//! | number | 0 | being launched: as alive as its launcher | `settle`, `name_party`, `condemn` |
//! | number | process id | a process | `condemn` |
//! | number | `CONDEMNED` | dead, being buried | `free_entry` |
//!
//! So a party that is held for dead because its launcher died before it said who it is cannot
//! come to life afterwards: of `settle` and `condemn` one fails, and who comes too late is in no
//! family.
//!
//! The times that an entry was used are part of the number: a number is not given out again until
//! its entry has been used half a million times more. So whoever finds a number in a lock or a
//! block can tell a dead party from a living one by the table alone, once the dead one is buried;
//! until then the kernel is asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use manyhands_sync::robust::Parties;
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::pid::{Identity, exists};

use crate::heap::Heap;
use crate::layout::PARTIES_AT;
use crate::out_of_memory::OutOfMemory;
use crate::party::{Entry, IDX_BITS, N_ENTRIES, Party, USES_BITS};

/// In an entry's word: from here on it can only become free.
const CONDEMNED: u64 = 1 << 63;

/// For a family that is full: how often the dead are looked for, and how long another undertaker is
/// waited for in between.
const N_TRIES: u32 = 100;
const PATIENCE: Duration = Duration::from_millis(5);

impl Heap {
    /// A number for a process about to join. Whoever asked for it [buries](Heap::bury) it when that
    /// process has ended, or could not be started.
    ///
    /// # Errors
    /// If the family has 4,095 members already.
    pub fn new_party(self: &Arc<Self>) -> io::Result<Party> {
        for _ in 0..N_TRIES {
            if let Some(party) = self.claim_entry() {
                return Ok(party);
            }
            if !self.bury_the_dead() {
                break;
            }
            // Somebody else is about to free some.
            std::thread::sleep(PATIENCE);
        }
        let text = format!("a family has at most {} processes at a time", N_ENTRIES - 1);
        self.claim_entry().ok_or_else(|| io::Error::new(io::ErrorKind::QuotaExceeded, text))
    }

    fn claim_entry(&self) -> Option<Party> {
        // The last one would get the number of the family itself some day.
        (0..N_ENTRIES - 1).find_map(|idx| {
            let entry = self.entry_at(idx);
            let word = entry.word.load(Ordering::Acquire);
            if word as u32 != 0 {
                return None;
            }
            // Not 0, so that no number is.
            let n_uses = ((word >> 32) + 1) % (1 << USES_BITS);
            let n_uses = if n_uses == 0 { 1 } else { n_uses };
            let number = (n_uses as u32) << IDX_BITS | idx;
            // Acquire: meets the Release of `free_entry`.
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            entry.word.compare_exchange(word, number.into(), success, failure).ok()?;
            entry.last_pid.store(0, Ordering::Relaxed);
            entry.launcher.store(self.me().number(), Ordering::Release);
            Some(Party::from_word(number))
        })
    }

    /// Only the caller's process buries `party`, as long as it lives itself: for who has to take
    /// over first what the dead one had [left for it](crate::Block::leave_to_receiver). To be said
    /// before the party's process is started.
    pub fn reserve_burial(&self, party: Party) {
        if let Some(entry) = self.entry(party) {
            entry.buried_by.store(self.me().number(), Ordering::Release);
        }
    }

    /// # Errors
    /// If the calling process is in no family: what it took would be nobody's, and so free.
    pub(crate) fn check_membership(&self, wanted: u64) -> Result<(), OutOfMemory> {
        if self.me() == Party::NOBODY {
            let why = "this process is in no family: it was forked while none could be joined";
            return Err(OutOfMemory::new(wanted, why.to_owned()));
        }
        Ok(())
    }

    /// Whether somebody else who lives has reserved the burial of `party`.
    fn is_reserved(&self, party: Party) -> bool {
        let Some(entry) = self.entry(party) else { return false };
        let reserved_for = Party::from_word(entry.buried_by.load(Ordering::Acquire));
        reserved_for != Party::NOBODY && self.is_alive(reserved_for)
    }

    /// The calling process is the party `me` from now on. False: that was held for dead, as its
    /// launcher is, and buried.
    #[must_use]
    pub(crate) fn settle(&self, me: Party) -> bool {
        let mine = u64::from(me.number()) | u64::from(std::process::id()) << 32;
        let settled = self.change_entry(me, |word| (word & CONDEMNED == 0).then_some(mine));
        let Some(entry) = settled else { return false };
        // Until then any process of this id will do.
        entry.started.store(Identity::current().started, Ordering::Relaxed);
        true
    }

    /// Tells who a launched party is, in case it dies before it can tell so itself.
    pub fn name_party(&self, party: Party, pid: u32) {
        let named = |word: u64| (word >> 32 == 0).then_some(word | u64::from(pid) << 32);
        let _ = self.change_entry(party, named);
    }

    /// Before a burial: from now on the party cannot settle any more. `seen` is the word by which
    /// it was held for dead, if it was not known to be. False: it has settled since, or is buried.
    pub(crate) fn condemn(&self, party: Party, seen: Option<u64>) -> bool {
        let condemned = self.change_entry(party, |word| {
            let is_as_seen = word & CONDEMNED != 0 || seen.is_none_or(|seen| seen == word);
            is_as_seen.then_some(word | CONDEMNED)
        });
        condemned.is_some()
    }

    /// Whether a burial of the party has begun.
    pub(crate) fn is_condemned(&self, party: Party) -> bool {
        self.entry(party).is_some_and(|entry| entry.word.load(Ordering::Acquire) & CONDEMNED != 0)
    }

    /// Changes the word of a party's entry. `None`: there is no such party, or `change` declined.
    fn change_entry(&self, party: Party, change: impl Fn(u64) -> Option<u64>) -> Option<&Entry> {
        let entry = self.entry(party)?;
        let is_it = |word: u64| word as u32 == party.number();
        let change = |word: u64| if is_it(word) { change(word) } else { None };
        entry.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).ok()?;
        Some(entry)
    }

    /// The process id of a party, if it has one already. Also of one that was buried, until its
    /// place in the table is given to another.
    pub fn pid_of(&self, party: Party) -> Option<u32> {
        let pid = match self.entry(party) {
            Some(entry) => pid_in(entry.word.load(Ordering::Acquire)),
            None => self.last_pid_of(party)?,
        };
        (pid != 0).then_some(pid)
    }

    fn last_pid_of(&self, party: Party) -> Option<u32> {
        let entry = self.entry_at(party.idx());
        // What the word of a free entry is that this party used last.
        let left = u64::from(party.number() >> IDX_BITS) << 32;
        // Acquire: meets the Release of `free_entry`.
        let is_its = || entry.word.load(Ordering::Acquire) == left;
        let pid = is_its().then(|| entry.last_pid.load(Ordering::Acquire));
        pid.filter(|_| is_its())
    }

    /// Whether the table knows the party: false once it was buried. A few loads.
    pub fn is_listed(&self, party: Party) -> bool {
        party == Party::FAMILY || self.entry(party).is_some()
    }

    /// Whether the party's process has not ended. Asks the kernel: microseconds.
    pub fn is_alive(&self, party: Party) -> bool {
        let mut party = party;
        // Up the line of launchers while they are being launched.
        for _ in 0..N_ENTRIES {
            if party == self.me() || party == Party::FAMILY {
                return true;
            }
            let Some(entry) = self.entry(party) else { return false };
            let word = entry.word.load(Ordering::Acquire);
            if word & CONDEMNED != 0 {
                return false;
            }
            let pid = pid_in(word);
            if pid != 0 {
                let started = entry.started.load(Ordering::Relaxed);
                return exists(pid) && Identity { pid, started }.is_alive();
            }
            party = Party::from_word(entry.launcher.load(Ordering::Acquire));
            if party == Party::NOBODY {
                // Claimed a moment ago: its launcher is about to sign.
                return true;
            }
        }
        false
    }

    /// A place for the offset of a table of the party's long waits; the block it names must be held
    /// by the party. `None`: no such party.
    pub(crate) fn party_waits(&self, party: Party) -> Option<&AtomicU64> {
        self.entry(party).map(|entry| &entry.waits_at)
    }

    /// All members.
    pub fn parties(&self) -> impl Iterator<Item = Party> + '_ {
        // An entry is used only if all before it are, or were.
        let used = (0..N_ENTRIES).map_while(|idx| {
            let word = self.entry_at(idx).word.load(Ordering::Acquire);
            (word != 0).then_some(word as u32)
        });
        used.filter(|number| *number != 0).map(Party::from_word)
    }

    /// [Buries](Heap::bury) every party whose process has ended unnoticed, except those whose
    /// burial is [reserved](Heap::reserve_burial). Waits for nobody: true if somebody else was at
    /// it just then, so that some may be left.
    pub fn bury_the_dead(self: &Arc<Self>) -> bool {
        let due: Vec<_> = self.parties().filter(|party| !self.is_reserved(*party)).collect();
        due.into_iter().any(|party| !self.try_bury_if_dead(party))
    }

    /// Buries the party if it is dead. False: somebody else was burying just then.
    pub(crate) fn try_bury_if_dead(self: &Arc<Self>, party: Party) -> bool {
        let Some(entry) = self.entry(party) else { return true };
        // First the word: should the party settle meanwhile, it is not the one it was judged by.
        let seen = entry.word.load(Ordering::Acquire);
        self.is_alive(party) || self.try_bury(party, seen).is_some()
    }

    pub(crate) fn entry(&self, party: Party) -> Option<&Entry> {
        let entry = self.entry_at(party.idx());
        let is_it = entry.word.load(Ordering::Acquire) as u32 == party.number();
        (is_it && party != Party::NOBODY).then_some(entry)
    }

    /// The last step of a burial.
    pub(crate) fn free_entry(&self, party: Party) {
        let Some(entry) = self.entry(party) else { return };
        let pid = pid_in(entry.word.load(Ordering::Relaxed));
        entry.last_pid.store(pid, Ordering::Release);
        entry.launcher.store(0, Ordering::Relaxed);
        entry.buried_by.store(0, Ordering::Relaxed);
        entry.started.store(0, Ordering::Relaxed);
        entry.holds_at.store(0, Ordering::Relaxed);
        entry.waits_at.store(0, Ordering::Relaxed);
        entry.committing.store(0, Ordering::Relaxed);
        // Release: meets the Acquire of `claim_entry`.
        entry.word.store(u64::from(party.number() >> IDX_BITS) << 32, Ordering::Release);
    }

    fn entry_at(&self, idx: u32) -> &Entry {
        let at = PARTIES_AT + u64::from(idx) * size_of::<Entry>() as u64;
        // SAFETY: inside the table, which lies in the window that is always mapped; aligned, and
        // made of atomics.
        unsafe { self.place(at).cast().as_ref() }
    }
}

/// The process id in an entry's word.
const fn pid_in(word: u64) -> u32 {
    ((word & !CONDEMNED) >> 32) as u32
}

impl Parties for Heap {
    fn me(&self) -> u32 {
        self.me().number()
    }

    fn is_alive(&self, party: u32) -> bool {
        self.is_alive(Party::from_number(party))
    }
}
