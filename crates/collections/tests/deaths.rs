//! Processes killed at any instruction of an operation: the others go on, every change was made to
//! the end or not at all, and the heap has its memory back.
//!
//! The members are this very test binary, re-entered. They change a map, a list of values that say
//! whether they are whole, a deck that is only ever shuffled, and a number that counts. After each
//! kill the root looks at all of it. `MANYHANDS_KILLS` sets how many are killed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manyhands_collections::{Draft, SharedList, SharedMap};
use manyhands_shm::object::register;
use manyhands_shm::{Carried, Handle, Heap, Party, family};
use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_testing::dead::Dead;
use manyhands_testing::ledger::Ledger;
use manyhands_testing::member::{Member as Joined, Started, start};
use manyhands_testing::random::Random;
use manyhands_testing::spin_for;

const N_MEMBERS: usize = 4;
const N_KEYS: u64 = 100;
const N_CARDS: u64 = 52;
const LONGEST_LIST: u64 = 200;
/// Of several classes of records; the last is stored apart, so the record refers to an object.
const LENGTHS: [usize; 8] = [16, 16, 24, 60, 200, 700, 1_900, 6_000];

/// What members write down: for each how many additions it has begun, and how many it has done.
struct Notes(Ledger);

impl Notes {
    fn complaint(&self) -> &AtomicU64 {
        self.0.word(0)
    }

    fn begun(&self, row: u64) -> &AtomicU64 {
        self.0.word(1 + 2 * row)
    }

    fn done(&self, row: u64) -> &AtomicU64 {
        self.0.word(2 + 2 * row)
    }
}

struct Shared {
    map: SharedMap,
    list: SharedList,
    deck: SharedList,
    counts: SharedMap,
    /// What some of the values refer to.
    companion: SharedMap,
}

impl Shared {
    fn create(heap: &Arc<Heap>) -> Self {
        let map = || SharedMap::create(heap).expect("room");
        let list = || SharedList::create(heap).expect("room");
        let shared =
            Self { map: map(), list: list(), deck: list(), counts: map(), companion: map() };
        for card in 0..N_CARDS {
            shared.deck.push(&card.to_le_bytes()).expect("room");
        }
        shared
    }

    fn handles(&self) -> Vec<u8> {
        let objects = [
            self.map.object(),
            self.list.object(),
            self.deck.object(),
            self.counts.object(),
            self.companion.object(),
        ];
        objects.iter().flat_map(|object| object.handle().to_bytes()).collect()
    }

    /// Which of the objects with these handles have not ended, in the order of `handles`.
    fn living(handles: &[u8]) -> Vec<bool> {
        let is_living = |(idx, bytes): (usize, &[u8])| {
            let handle = Handle::from_bytes(bytes).expect("24");
            match idx {
                1 | 2 => SharedList::open(handle).is_ok(),
                _ => SharedMap::open(handle).is_ok(),
            }
        };
        handles.chunks_exact(Handle::LEN).enumerate().map(is_living).collect()
    }

    fn open(handles: &[u8]) -> Self {
        let mut handles =
            handles.chunks_exact(Handle::LEN).map(|bytes| Handle::from_bytes(bytes).expect("24"));
        let mut next = || handles.next().expect("five handles");
        Self {
            map: SharedMap::open(next()).expect("the map"),
            list: SharedList::open(next()).expect("the list"),
            deck: SharedList::open(next()).expect("the deck"),
            counts: SharedMap::open(next()).expect("the counts"),
            companion: SharedMap::open(next()).expect("the companion"),
        }
    }
}

/// A value that says what it is of, and whether it is whole.
fn value(of: u64, carries: bool, random: &mut Random) -> Vec<u8> {
    let n_lengths = LENGTHS.len() - usize::from(!carries);
    let len = LENGTHS[random.below(n_lengths as u64) as usize];
    let filling = random.below(256) as u8;
    let mut bytes = vec![filling; len];
    bytes[..8].copy_from_slice(&of.to_le_bytes());
    bytes
}

fn is_whole(bytes: &[u8], of: Option<u64>) -> bool {
    let Some((head, filling)) = bytes.split_at_checked(8) else { return false };
    let is_of = of.is_none_or(|of| head == of.to_le_bytes());
    is_of && LENGTHS.contains(&bytes.len()) && filling.iter().all(|byte| *byte == filling[0])
}

struct Member {
    notes: Notes,
    shared: Shared,
    row: u64,
    carries: bool,
    random: Random,
}

impl Member {
    fn draft<'a>(&mut self, bytes: &'a [u8]) -> Draft<'a> {
        let carried = match self.random.below(4) {
            0 if self.carries => Carried::collect(|| self.shared.companion.object().travel()).1,
            _ => Carried::default(),
        };
        Draft::new(self.notes.0.heap(), bytes, carried).expect("room")
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=6 => self.change_map(),
            7..=13 => self.change_list(),
            14 | 15 => self.shuffle(),
            16 => self.clear(),
            _ => self.count(),
        }
    }

    fn change_map(&mut self) {
        let number = self.random.below(N_KEYS);
        let key = number.to_le_bytes();
        match self.random.below(8) {
            0..=3 => {
                let bytes = value(number, self.carries, &mut self.random);
                let draft = self.draft(&bytes);
                self.shared
                    .map
                    .lock()
                    .expect("room")
                    .insert(key.as_slice().into(), draft)
                    .expect("room");
            }
            4 | 5 => {
                let found = self.shared.map.lock().expect("room").get(&key).expect("room");
                if found.is_some_and(|found| !is_whole(found.bytes(), Some(number))) {
                    self.complain(1);
                }
            }
            6 => _ = self.shared.map.lock().expect("room").discard(&key),
            _ => {
                let popped = self.shared.map.lock().expect("room").pop_last().expect("room");
                let is_right =
                    |(key, _, found): (Vec<u8>, Vec<u8>, manyhands_collections::Value)| {
                        let of = u64::from_le_bytes(key.try_into().expect("eight"));
                        is_whole(found.bytes(), Some(of))
                    };
                if popped.is_some_and(|popped| !is_right(popped)) {
                    self.complain(2);
                }
            }
        }
    }

    fn change_list(&mut self) {
        let n_new = 1 + self.random.below(3);
        let values: Vec<_> =
            (0..n_new).map(|of| value(of, self.carries, &mut self.random)).collect();
        let drafts: Vec<_> = values.iter().map(|bytes| self.draft(bytes)).collect();
        let (step, place) = (self.random.below(8), self.random.below(LONGEST_LIST));
        let list = self.shared.list.clone();
        let mut guard = list.lock().expect("room");
        let len = guard.len();
        let at = if len == 0 { 0 } else { place % len };
        match step {
            _ if len > LONGEST_LIST => guard.remove(0..len / 2).expect("room"),
            0 | 1 => guard.insert(len, drafts).expect("room"),
            2 => guard.insert(at, drafts).expect("room"),
            3 if len > 0 => {
                let places = (at..len).zip(drafts).collect();
                guard.set(places).expect("room");
            }
            4 if len > 0 => guard.remove(at..at + 1).expect("room"),
            5 => {
                let end = (at + 3).min(len);
                guard.splice(at..end, drafts).expect("room");
            }
            6 => {
                let kept: Vec<u64> = (0..len).rev().filter(|idx| idx % 7 != 3).collect();
                guard.select(&kept).expect("room");
            }
            _ if len > 0 => {
                let found = guard.get(at).expect("room").expect("it is there");
                if !is_whole(found.bytes(), None) {
                    self.complain(3);
                }
            }
            _ => {}
        }
    }

    fn shuffle(&mut self) {
        let mut places: Vec<u64> = (0..N_CARDS).collect();
        for idx in (1..places.len()).rev() {
            places.swap(idx, self.random.below(idx as u64 + 1) as usize);
        }
        self.shared.deck.lock().expect("room").select(&places).expect("room");
    }

    fn clear(&mut self) {
        if self.random.below(10) == 0 {
            self.shared.map.lock().expect("room").clear().expect("room");
        }
    }

    fn count(&mut self) {
        let (begun, done) = (self.notes.begun(self.row), self.notes.done(self.row));
        begun.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.shared.counts.lock().expect("room");
        let before = guard.get(b"count").expect("room");
        let before = before.map_or(0, |value| number_of(value.bytes()));
        let bytes = (before + 1).to_le_bytes();
        let draft = Draft::new(self.notes.0.heap(), &bytes, Carried::default()).expect("room");
        guard.insert(b"count".as_slice().into(), draft).expect("room");
        drop(guard);
        done.fetch_add(1, Ordering::SeqCst);
    }

    fn complain(&self, what: u64) {
        self.notes.complaint().store(what, Ordering::SeqCst);
    }
}

fn number_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

#[test]
fn member_entry() {
    register(&manyhands_collections::KINDS);
    // SAFETY: the heap of this test, and a number of the joining process alone.
    let joined = Joined::of_this_process(|fd, party| unsafe { family::join(fd, party) });
    let Some(joined) = joined.expect("a heap") else { return };
    let [at, len, row, seed, carries] = joined.words;
    // SAFETY: what the root has sent, which outlives its members.
    let notes = Notes(unsafe { Ledger::open(&joined.heap, [at, len]) });
    let mut member = Member {
        notes,
        shared: Shared::open(&joined.bytes),
        row,
        carries: carries != 0,
        random: Random::new(seed),
    };
    joined.work(|| member.step());
}

struct Root {
    notes: Notes,
    shared: Shared,
    n_rows: u64,
    carries: bool,
    random: Random,
}

impl Root {
    fn start(&mut self) -> Started {
        let ledger = &self.notes.0;
        let [at, len] = ledger.to_words();
        let seed = self.random.next_u64();
        let words = [at, len, self.n_rows, seed, u64::from(self.carries)];
        self.n_rows += 1;
        start(ledger.heap(), &words, &self.shared.handles()).expect("a member starts")
    }

    fn check(&self) {
        assert_eq!(self.notes.complaint().load(Ordering::SeqCst), 0, "a member complained");
        let guard = self.shared.map.lock().expect("room");
        let keys: Vec<u64> = guard.keys().map(|key| number_of(key.compared)).collect();
        assert_eq!(keys.len() as u64, guard.len(), "the count is right");
        for key in &keys {
            let found =
                guard.get(&key.to_le_bytes()).expect("room").expect("a listed key is found");
            assert!(is_whole(found.bytes(), Some(*key)), "the value of {key} is whole");
        }
        let n_absent = (0..N_KEYS).filter(|key| !guard.contains(&key.to_le_bytes())).count();
        assert_eq!(n_absent + keys.len(), N_KEYS as usize, "no key is there twice");
        drop(guard);
        let guard = self.shared.list.lock().expect("room");
        let values = guard.values(0..guard.len()).expect("room");
        drop(guard);
        assert!(values.iter().all(|value| is_whole(value.bytes(), None)), "all items are whole");
        let guard = self.shared.deck.lock().expect("room");
        let cards = guard.values(0..guard.len()).expect("room");
        drop(guard);
        let mut cards: Vec<u64> = cards.iter().map(|card| number_of(card.bytes())).collect();
        cards.sort_unstable();
        assert_eq!(cards, (0..N_CARDS).collect::<Vec<_>>(), "no card is lost, none is there twice");
    }

    /// Waits until the members have done more than one thing each, on average: a slow machine may
    /// not have started them yet.
    fn wait_for_work(&self) {
        while self.n_done() <= self.n_rows + 1 {
            std::thread::yield_now();
        }
    }

    fn n_done(&self) -> u64 {
        (0..self.n_rows).map(|row| self.notes.done(row).load(Ordering::SeqCst)).sum()
    }

    fn check_count(&self) {
        let count = self.shared.counts.get(b"count").expect("room");
        let count = count.map_or(0, |bytes| number_of(&bytes));
        let begun = |row| self.notes.begun(row).load(Ordering::SeqCst);
        let (begun, done) = ((0..self.n_rows).map(begun).sum::<u64>(), self.n_done());
        assert!((done..=begun).contains(&count), "{done} <= {count} <= {begun}");
    }

    fn n_mended(&self) -> u64 {
        let Shared { map, list, deck, counts, .. } = &self.shared;
        map.n_mended() + list.n_mended() + deck.n_mended() + counts.n_mended()
    }
}

fn n_kills() -> u64 {
    manyhands_testing::n_kills(80)
}

/// Both fuzzes of this program use the family's heap, and each looks at what is left in it.
static ALONE: Mutex<()> = Mutex::new(());

/// What is left at the end.
struct Left {
    bytes: u64,
    /// Blocks of the family's, which are parts of containers or what their values refer to.
    n_blocks: u64,
    /// Which containers have not ended, the companion last: somebody was killed in the instruction
    /// in which it opened or dropped them (`crates/shm/README.md`).
    living: Vec<bool>,
}

fn fuzz(carries: bool) -> Left {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    register(&manyhands_collections::KINDS);
    let n_kills = n_kills();
    let heap = family::heap().expect("a heap");
    let ledger_len = 8 * (1 + 2 * (n_kills + N_MEMBERS as u64));
    let notes = Notes(Ledger::create(&heap, ledger_len.max(1 << 18)));
    let shared = Shared::create(&heap);
    let random = Random::new(Random::SEED);
    let mut root = Root { notes, shared, n_rows: 0, carries, random };
    let mut members: Vec<_> = (0..N_MEMBERS).map(|_| root.start()).collect();
    let mut unburied: Vec<Dead> = Vec::new();
    for n_killed in 0..n_kills {
        root.wait_for_work();
        spin_for(Duration::from_micros(root.random.below(12_000)));
        let victim = members.swap_remove(root.random.index(N_MEMBERS));
        unburied.push(victim.kill());
        // Others may come to what it left before it is buried, or after.
        if n_killed % 3 == 0 {
            unburied.drain(..).for_each(|dead| _ = dead.bury(&heap));
        }
        root.check();
        members.push(root.start());
    }
    unburied.extend(members.into_iter().map(Started::kill));
    unburied.drain(..).for_each(|dead| _ = dead.bury(&heap));
    root.check();
    root.check_count();
    println!("{n_kills} killed, {} of them inside", root.n_mended());
    let handles = root.shared.handles();
    drop(root);
    let living = Shared::living(&handles);
    heap.trim();
    Left { bytes: heap.claimed_bytes(), n_blocks: heap.count_held_by(Party::FAMILY), living }
}

#[test]
fn killed_members_leave_every_change_made_or_not_made() {
    let Left { bytes, n_blocks, living } = fuzz(false);
    let is_living = living.contains(&true);
    assert_eq!(n_blocks > 0, is_living, "{n_blocks} blocks are left of {living:?}");
    // The pages on which this process writes down what it holds.
    assert!(bytes <= 256 << 10 || is_living, "{bytes} bytes are left");
}

#[test]
fn killed_members_leave_what_values_refer_to() {
    let Left { bytes, living, .. } = fuzz(true);
    // What a value refers to stays if somebody is killed in the few instructions in which it
    // changes hands: at most one object for each of the dead, of up to 8 KiB here.
    let n_dead = n_kills() + N_MEMBERS as u64;
    let is_bounded = bytes <= (1 << 20) + n_dead * (8 << 10);
    let is_living = living[..living.len() - 1].contains(&true);
    assert!(is_bounded || is_living, "{bytes} bytes are left");
}
