//! After a death: what the dead party held is given back, and its number is taken off the table.
//!
//! One party does that at a time, the *undertaker*, whose number stands in the heap's header. If it
//! dies itself the next one takes over; every step may be done twice. Nobody waits for its turn
//! with a lock in hand: should the undertaker be stopped, all others go on allocating.
//!
//! An undertaker that may map no more leaves what it cannot reach: the party stays condemned, and
//! whoever buries next, and can, finishes it.

use std::sync::Arc;
use std::time::Duration;

use manyhands_sys::atomic::Ordering;

use crate::heap::Heap;
use crate::layout::{BlockWord, RegionKind, RegionWord, n_blocks};
use crate::local::Local;
use crate::object;
use crate::party::{Party, is_object};

/// What a sweep gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Small blocks the dead party held.
    pub n_blocks: u64,
    /// Large blocks the dead party held.
    pub n_runs: u64,
    /// Small regions of the dead party that still hold blocks of others: now the caller's.
    pub n_adopted: u64,
    /// Places that could not be looked at, as the caller's process may map no more: the party stays
    /// on the table, and the rest is done with a later burial.
    pub n_unreached: u64,
}

/// How long to wait between two looks at another undertaker.
const PATIENCE: Duration = Duration::from_micros(500);

impl Heap {
    /// Ends the membership of `dead`: its references to objects are released, its blocks given
    /// back, its regions taken over, its number is free. Nothing happens if that was done before.
    ///
    /// Blocks it had handed over before (see [`Heap::take_over`]) are no longer its own.
    ///
    /// # Safety
    /// The party is dead, or was never started: no process uses what it holds.
    pub unsafe fn bury(self: &Arc<Self>, dead: Party) -> Swept {
        if dead == self.me() || dead == Party::FAMILY || self.entry(dead).is_none() {
            return Swept::default();
        }
        let turn = self.undertake();
        let swept = self.bury_in_turn(dead, None, &turn);
        self.finish_burials(&turn);
        swept
    }

    /// Goes on with those that somebody had to leave.
    fn finish_burials(self: &Arc<Self>, turn: &Turn<'_>) {
        let n_unfinished = &self.header().n_unfinished;
        if n_unfinished.load(Ordering::Relaxed) == 0 {
            return;
        }
        n_unfinished.store(0, Ordering::Relaxed);
        let due: Vec<_> = self.parties().filter(|party| self.is_condemned(*party)).collect();
        for dead in due {
            self.bury_in_turn(dead, None, turn);
        }
    }

    /// As [`Heap::bury`], for a party that was held for dead by the word `seen` in its entry; only
    /// if nobody else buries just now. `None`: somebody does.
    pub(crate) fn try_bury(self: &Arc<Self>, dead: Party, seen: u64) -> Option<Swept> {
        let turn = self.try_undertake()?;
        Some(self.bury_in_turn(dead, Some(seen), &turn))
    }

    fn bury_in_turn(self: &Arc<Self>, dead: Party, seen: Option<u64>, _turn: &Turn<'_>) -> Swept {
        if !self.condemn(dead, seen) {
            return Swept::default();
        }
        let n_unreached = object::release_holds_of(self, dead);
        // After the objects, whose ends may allocate. Never waits for the turn itself: whoever has
        // the allocator's lock and wants the turn (`trim`) only tries.
        let mut local = self.lock_local();
        let mut swept = self.sweep(dead, &mut local);
        swept.n_unreached += n_unreached;
        if swept.n_unreached == 0 {
            self.free_entry(dead);
        } else {
            self.header().n_unfinished.fetch_add(1, Ordering::Relaxed);
        }
        swept
    }

    /// How many blocks a party holds at the moment: looks at all of them. Objects are the family's.
    pub fn count_held_by(&self, party: Party) -> u64 {
        let is_its = |holder: Party| holder == party || party == Party::FAMILY && is_object(holder);
        let _turn = self.undertake();
        let end = self.header().high_water.load(Ordering::Acquire);
        let held = (0..end).map(|idx| {
            if self.reach_lines(idx, 1).is_err() {
                return 0;
            }
            let region = RegionWord::load(self.region_word(idx));
            let held = |block_idx: &u64| {
                is_its(BlockWord::load(self.block_word(idx, *block_idx)).holder())
            };
            match region.kind() {
                RegionKind::Small => {
                    let class = region.detail() as usize;
                    let is_reached = self.reach_block_words(idx, class).is_ok();
                    let n = if is_reached { n_blocks(class) } else { 0 };
                    (0..n).filter(held).count() as u64
                }
                RegionKind::Run => u64::from(is_its(region.owner())),
                _ => 0,
            }
        });
        held.sum()
    }

    /// Gives back every block `dead` held and takes over its regions.
    fn sweep(&self, dead: Party, local: &mut Local) -> Swept {
        let mut swept = Swept::default();
        let end = self.header().high_water.load(Ordering::Acquire);
        for idx in 0..end {
            if self.reach_lines(idx, 1).is_err() {
                swept.n_unreached += end - idx;
                break;
            }
            let region = RegionWord::load(self.region_word(idx));
            match region.kind() {
                RegionKind::Small => self.sweep_small(idx, region, dead, local, &mut swept),
                RegionKind::Run | RegionKind::Leaving if region.owner() == dead => {
                    self.release_run(idx, region);
                    swept.n_runs += 1;
                }
                _ => {}
            }
        }
        swept
    }

    fn sweep_small(
        &self,
        idx: u64,
        region: RegionWord,
        dead: Party,
        local: &mut Local,
        swept: &mut Swept,
    ) {
        let class = region.detail() as usize;
        if self.reach_block_words(idx, class).is_err() {
            swept.n_unreached += 1;
            return;
        }
        for block_idx in 0..n_blocks(class) {
            let word = self.block_word(idx, block_idx);
            let before = BlockWord::load(word);
            if before.holder() == dead && before.replace(word, before.freed()) {
                swept.n_blocks += 1;
            }
        }
        // Also where the dead party held nothing: it may have died between giving a block back
        // and counting it, and the owner would never look there again.
        self.count_freed(idx);
        let mine = RegionWord::small(self.me(), class);
        let adopted = region.owner() == dead && region.replace(self.region_word(idx), mine);
        if adopted && !self.release_if_empty(idx, class) {
            local.adopt(idx, class);
            swept.n_adopted += 1;
        }
    }

    /// Waits for its turn as undertaker.
    fn undertake(&self) -> Turn<'_> {
        loop {
            if let Some(turn) = self.try_undertake() {
                return turn;
            }
            std::thread::sleep(PATIENCE);
        }
    }

    /// The turn as undertaker, if nobody has it.
    pub(crate) fn try_undertake(&self) -> Option<Turn<'_>> {
        let word = &self.header().undertaker;
        let mine = Turn::mark(self);
        let before = word.load(Ordering::Acquire);
        let is_free = before == 0 || self.is_left_behind(before);
        // Acquire: meets the Release of `Turn::drop`.
        let swap = || word.compare_exchange(before, mine, Ordering::AcqRel, Ordering::Relaxed);
        // Not `then_some`: a `Turn` that is made and dropped would end the one this thread is in.
        (is_free && swap().is_ok()).then(|| Turn { heap: self, mine })
    }

    /// Whether the undertaker died in its turn.
    fn is_left_behind(&self, mark: u64) -> bool {
        let party = Party::from_number(mark as u32);
        party != self.me() && !self.is_alive(party)
    }
}

/// While it lives the calling thread is the family's only undertaker.
pub(crate) struct Turn<'a> {
    heap: &'a Heap,
    mine: u64,
}

impl Turn<'_> {
    /// The party, and the thread in it.
    fn mark(heap: &Heap) -> u64 {
        u64::from(heap.me().number()) | u64::from(manyhands_sys::thread_id::me()) << 32
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let word = &self.heap.header().undertaker;
        // Release: meets the Acquire of `try_undertake`. Another's mark stays: it was taken over
        // from us, who were thought dead.
        let _ = word.compare_exchange(self.mine, 0, Ordering::Release, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::heap::HeapConfig;

    #[test]
    fn who_allocates_as_undertaker_and_who_wants_to_bury_do_not_wait_for_each_other() {
        let heap = Heap::create(HeapConfig { limit_bytes: Some(16 << 20) }).unwrap();
        let (tell, done) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let undertaker = thread::spawn({
            let (heap, is_over) = (Arc::clone(&heap), Arc::clone(&is_over));
            // As when the end of an object needs memory.
            move || {
                while !is_over.load(Ordering::SeqCst) {
                    let turn = heap.try_undertake();
                    drop(heap.alloc(100).unwrap());
                    drop(turn);
                }
            }
        });
        thread::spawn(move || {
            for _ in 0..5_000 {
                // SAFETY: its process has ended, or was never started.
                unsafe { heap.bury(heap.new_party().unwrap()) };
            }
            is_over.store(true, Ordering::SeqCst);
            undertaker.join().unwrap();
            tell.send(()).unwrap();
        });
        let watchdog = Duration::from_secs(60);
        done.recv_timeout(watchdog).expect("both threads wait for each other");
    }

    #[test]
    fn a_process_allocates_while_another_undertaker_is_stopped() {
        let heap = Heap::create(HeapConfig { limit_bytes: Some(16 << 20) }).unwrap();
        let dead = heap.new_party().unwrap();
        let turn = heap.try_undertake().unwrap();
        assert_eq!(
            heap.try_bury(dead, dead.number().into()),
            None,
            "who looks around waits for nobody"
        );
        let burying = thread::spawn({
            let heap = Arc::clone(&heap);
            // SAFETY: its process has ended, or was never started.
            move || unsafe { heap.bury(dead) }
        });
        for _ in 0..10_000 {
            drop(heap.alloc(100).unwrap());
        }
        assert!(heap.is_listed(dead));
        drop(turn);
        burying.join().unwrap();
        assert!(!heap.is_listed(dead));
    }
}
