//! Processes that share a pipe and are killed at random moments: the others go on, every message
//! arrives whole and at most once, and each death costs at most what was being sent or received.
//!
//! Alone in its program: the family is a fact about the whole process, and a fork copies only the
//! thread that calls it. `MANYHANDS_KILLS` says how many are killed (default 60).

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use manyhands_queue::Deadline;
use manyhands_queue::pipe::{End, KINDS, NoMessage};
use manyhands_shm::{Carried, Heap, family, object};
use manyhands_testing::fork::{ForkedParty, fork_party};
use manyhands_testing::ledger::Ledger;
use manyhands_testing::random::Random;

/// Forks as Python does; the child runs `child` and exits.
fn forked(heap: &Arc<Heap>, child: impl FnOnce()) -> ForkedParty {
    let child = || {
        child();
        true
    };
    // SAFETY: the only test of this program, and it starts no thread.
    unsafe { fork_party(child) }.named(heap)
}

fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = seed.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|idx| (seed.wrapping_mul(31) + idx as u64 * 7) as u8));
    bytes
}

/// Sends for ever: 8 bytes of number, and a body that follows from it. Says before each message
/// which one it is.
fn send_for_ever(writer: &End, sender: u64, sent: &AtomicU64) {
    let mut n = 0_u64;
    loop {
        let len = match n % 50 {
            7 => 300_000,
            n => (n as usize * 97) % 3000,
        };
        if writer.send_bytes(0, &body(sender << 32 | n, len), Carried::default(), None).is_err() {
            return;
        }
        n += 1;
        sent.store(n, Ordering::SeqCst);
    }
}

fn n_kills() -> u64 {
    manyhands_testing::n_kills(60)
}

/// Up to a few milliseconds, another time each time.
fn a_moment(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(1 << 12))
}

#[test]
fn killed_senders_and_receivers_cost_at_most_what_they_held() {
    object::register(&KINDS);
    let heap = family::heap().unwrap();
    let mut random = Random::new(7);
    killed_senders(&heap, &mut random);
    killed_receivers(&heap, &mut random);
    the_end_of_file_comes_when_the_last_holder_is_killed(&heap);
    drop(heap);
}

/// Senders are killed while this process receives, and while another sender goes on.
fn killed_senders(heap: &Arc<Heap>, random: &mut Random) {
    let (reader, writer) = End::pair(heap, false).unwrap();
    let tally = Ledger::create(heap, 4096);
    let mut next: HashMap<u64, u64> = HashMap::new();
    let mut lost = 0;
    let start = |sender: u64| {
        tally.word(sender % 256).store(0, Ordering::SeqCst);
        forked(heap, || send_for_ever(&writer, sender, tally.word(sender % 256)))
    };
    let mut living = vec![(0_u64, start(0)), (1, start(1))];
    for kill_nr in 0..n_kills() {
        let until = Instant::now() + a_moment(random);
        let mut n_received = 0;
        while Instant::now() < until || n_received == 0 {
            let soon = Some(Deadline::after(Duration::from_secs(20)));
            let received = reader.receive_bytes(soon).expect("another sender goes on");
            check(&received.bytes, &mut next, &mut lost);
            n_received += 1;
        }
        let (sender, process) = living.remove(0);
        let dead = process.kill();
        if kill_nr % 2 == 0 {
            // The other half is found by those who look around.
            dead.bury(heap);
        }
        living.push((sender + 2, start(sender + 2)));
        std::thread::sleep(a_moment(random));
    }
    living.into_iter().for_each(|(_, process)| _ = process.kill().bury(heap));
    drop(writer);
    loop {
        match reader.receive_bytes(Some(Deadline::after(Duration::from_secs(20)))) {
            Ok(received) => check(&received.bytes, &mut next, &mut lost),
            Err(error) => {
                assert_eq!(error, NoMessage::EndOfFile);
                break;
            }
        }
    }
    assert_eq!(lost, 0, "a sender that lives on loses nothing");
}

/// One sender's messages come whole, in order, without a gap.
fn check(bytes: &[u8], next: &mut HashMap<u64, u64>, lost: &mut u64) {
    let id = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert!(bytes == body(id, bytes.len() - 8), "a message is not what was sent");
    let expected = next.entry(id >> 32).or_default();
    *lost += (id & 0xffff_ffff) - *expected;
    *expected = (id & 0xffff_ffff) + 1;
}

/// Receivers are killed while this process sends, and while another receiver goes on.
fn killed_receivers(heap: &Arc<Heap>, random: &mut Random) {
    let (reader, writer) = End::pair(heap, false).unwrap();
    let (log_reader, log_writer) = End::pair(heap, false).unwrap();
    let writer = RefCell::new(Some(writer));
    let receive_for_ever = || {
        // The child has inherited it, and the pipe does not end while somebody has it.
        writer.take();
        while let Ok(received) = reader.receive_bytes(None) {
            let id = u64::from_le_bytes(received.bytes[..8].try_into().unwrap());
            assert!(received.bytes == body(id, received.bytes.len() - 8));
            if log_writer.send_bytes(0, &id.to_le_bytes(), Carried::default(), None).is_err() {
                return;
            }
        }
    };
    let mut seen = HashSet::new();
    let mut note = |end: &End, deadline: Option<Deadline>| {
        let received = end.receive_bytes(deadline).ok()?;
        let id = u64::from_le_bytes(received.bytes[..8].try_into().unwrap());
        assert!(seen.insert(id), "a message was received twice");
        Some(())
    };
    let now = Some(Deadline::NOW);
    let mut living = vec![forked(heap, receive_for_ever), forked(heap, receive_for_ever)];
    let mut n_sent = 0_u64;
    for kill_nr in 0..n_kills() {
        let until = Instant::now() + a_moment(random);
        while Instant::now() < until {
            let len = if n_sent % 50 == 7 { 300_000 } else { (n_sent as usize * 97) % 3000 };
            let soon = Some(Deadline::after(Duration::from_secs(20)));
            // What the receivers log must be read meanwhile.
            while note(&log_reader, now).is_some() {}
            let bytes = body(n_sent, len);
            let writer = writer.borrow();
            writer.as_ref().unwrap().send_bytes(0, &bytes, Carried::default(), soon).unwrap();
            n_sent += 1;
        }
        let dead = living.remove(0).kill();
        if kill_nr % 2 == 0 {
            dead.bury(heap);
        }
        living.push(forked(heap, receive_for_ever));
        std::thread::sleep(a_moment(random));
    }
    writer.take();
    // The living ones read the rest and end by the end of file; this process has the reader too,
    // and no writer.
    for receiver in living {
        while !receiver.process.has_ended() {
            while note(&log_reader, now).is_some() {}
            std::thread::yield_now();
        }
        receiver.ends_well().bury(heap);
    }
    drop(log_writer);
    while note(&log_reader, None).is_some() {}
    // A receiver that is killed may have one message in hand, and one that it has not logged.
    let n_lost = n_sent - seen.len() as u64;
    assert!(n_lost <= 2 * n_kills(), "{n_lost} of {n_sent} messages were lost");
}

fn the_end_of_file_comes_when_the_last_holder_is_killed(heap: &Arc<Heap>) {
    for is_told in [true, false] {
        let (a, b) = End::pair(heap, true).unwrap();
        let holder = forked(heap, || {
            a.send_bytes(0, b"I have it", Carried::default(), None).unwrap();
            loop {
                std::thread::park();
            }
        });
        drop(a);
        assert_eq!(b.receive_bytes(None).unwrap().bytes, b"I have it");
        let dead = holder.kill();
        if is_told {
            dead.bury(heap);
            assert!(b.is_ready());
        }
        assert_eq!(b.receive_bytes(None).unwrap_err(), NoMessage::EndOfFile);
    }
}
