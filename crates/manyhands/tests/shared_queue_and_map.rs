//! Queues and maps between processes: what is put arrives, also handles of each other.

use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use manyhands::{Process, ReceiveError, SendError, Shared, SharedMap, SharedQueue};

manyhands::test_entry!();

#[manyhands::task]
fn put_squares(squares: SharedQueue<u64>, from: u64) {
    (from..from + 100).for_each(|n| squares.put(&(n * n)).expect("the queue is open"));
}

#[manyhands::task]
fn count_letters(counts: SharedMap<char, u32>, text: String) {
    for letter in text.chars() {
        counts.update(&letter, |n| n.unwrap_or(0) + 1).expect("room");
    }
}

#[manyhands::task]
fn add_to_what_comes(cells: SharedQueue<Shared<u32>>) {
    while let Ok(cell) = cells.get() {
        cell.add(1).expect("the sum fits");
    }
}

#[test]
fn what_several_processes_put_all_arrives() {
    let squares = SharedQueue::bounded(8).expect("a queue");
    let start = |idx: u64| Process::spawn(put_squares::task, (squares.clone(), idx * 100));
    let processes: Vec<_> = (0..4).map(start).collect::<Result<_, _>>().expect("processes");
    let mut got: Vec<_> = (0..400).map(|_| squares.get().expect("a square")).collect();
    got.sort_unstable();
    assert_eq!(got, (0..400).map(|n| n * n).collect::<Vec<_>>());
    processes.into_iter().for_each(|process| process.join().expect("it ends"));
}

#[test]
fn handles_go_through_a_queue_and_keep_what_they_name() {
    let cells = SharedQueue::unbounded().expect("a queue");
    let process = Process::spawn(add_to_what_comes::task, cells.clone()).expect("a process");
    let kept: Vec<_> = (0..10).map(|n| Shared::new(n).expect("a cell")).collect();
    for cell in &kept {
        cells.put(cell).expect("the queue is open");
        // Nobody but the message has this one.
        cells.put(&Shared::new(0).expect("a cell")).expect("the queue is open");
    }
    cells.shutdown();
    process.join().expect("it ends with the queue");
    assert_eq!(kept.iter().map(|cell| cell.get()).sum::<u32>(), 55);
}

#[test]
fn a_map_is_updated_by_several_processes_and_loses_nothing() {
    let counts = SharedMap::new().expect("a map");
    let text = "so many hands make a light meal".repeat(20);
    let start = |_| Process::spawn(count_letters::task, (counts.clone(), text.clone()));
    let processes: Vec<_> = (0..4).map(start).collect::<Result<_, _>>().expect("processes");
    processes.into_iter().for_each(|process| process.join().expect("it ends"));
    let n_spaces = text.chars().filter(|letter| *letter == ' ').count() as u32;
    assert_eq!(counts.get(&' ').expect("a count"), Some(4 * n_spaces));
    let keys = counts.keys().expect("letters");
    let total: u32 = keys.iter().map(|key| counts.get(key).expect("a count").unwrap_or(0)).sum();
    assert_eq!(total as usize, 4 * text.chars().count());
    assert!(counts.remove(&' ').expect("a letter") && !counts.contains(&' ').expect("a letter"));
}

/// A key that looks at its map while it is encoded and decoded.
struct Nosy(u32);

static LOOKED_AT: OnceLock<SharedMap<Nosy, u32>> = OnceLock::new();

fn look() {
    LOOKED_AT.get().map(SharedMap::len);
}

impl serde::Serialize for Nosy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        look();
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Nosy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        look();
        u32::deserialize(deserializer).map(Self)
    }
}

#[test]
fn keys_are_encoded_and_decoded_while_nobody_is_kept_out() {
    let map = LOOKED_AT.get_or_init(|| SharedMap::new().expect("a map"));
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        map.insert(&Nosy(1), &10).expect("room");
        assert!(map.contains(&Nosy(1)).expect("a key"));
        assert_eq!(map.keys().expect("keys").len(), 1);
        assert!(map.remove(&Nosy(1)).expect("a key"));
        let _ = done.send(());
    });
    is_done.recv_timeout(Duration::from_secs(60)).expect("it does not wait for itself");
}

#[test]
fn waits_end_at_their_timeout_and_with_the_queue() {
    let queue = SharedQueue::bounded(1).expect("a queue");
    let nap = Duration::from_millis(5);
    assert!(matches!(queue.get_timeout(nap), Err(ReceiveError::TimedOut)));
    queue.put(&1).expect("room");
    assert!(matches!(queue.put_timeout(&2, nap), Err(SendError::TimedOut)));
    queue.shutdown();
    assert!(matches!(queue.put(&3), Err(SendError::Closed)));
    assert_eq!(queue.get().expect("what was in it"), 1);
    assert!(matches!(queue.get(), Err(ReceiveError::Closed)));
}
