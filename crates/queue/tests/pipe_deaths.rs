//! Processes that share a pipe and are killed at random moments: the others go on, every message
//! arrives whole and at most once, and each death costs at most what was being sent or received.
//!
//! Alone in its program: the family is a fact about the whole process, and a fork copies only the
//! thread that calls it. `MANYHANDS_KILLS` says how many are killed (default 60).

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use manyhands_queue::Deadline;
use manyhands_queue::pipe::{End, KINDS, NoMessage};
use manyhands_shm::{Block, Carried, Heap, Party, family, object};

/// Forks as Python does; the child runs `child` and exits.
fn forked(child: impl FnOnce()) -> (libc::pid_t, Party) {
    family::before_fork();
    // SAFETY: the only test of this program, and it starts no thread.
    match unsafe { libc::fork() } {
        0 => {
            family::after_fork_in_child();
            child();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        pid => {
            assert!(pid > 0, "fork works");
            family::after_fork_in_parent();
            let (heap, party) = family::last_forked().expect("the child is a party");
            heap.name_party(party, pid as u32);
            (pid, party)
        }
    }
}

fn kill(pid: libc::pid_t) {
    // SAFETY: a child of ours that was not waited for.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
}

fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = seed.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|idx| (seed.wrapping_mul(31) + idx as u64 * 7) as u8));
    bytes
}

/// Counters that a child leaves behind, in the heap.
struct Tally {
    block: Block,
}

impl Tally {
    fn new(heap: &std::sync::Arc<Heap>) -> Self {
        let mut block = heap.alloc(4096).unwrap();
        block.fill(0);
        Self { block }
    }

    fn at(&self, idx: usize) -> &AtomicU64 {
        // SAFETY: inside the block, aligned, used only as atomics after this.
        unsafe { &*self.block.as_ptr().cast::<AtomicU64>().add(idx) }
    }
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

fn n_kills() -> usize {
    std::env::var("MANYHANDS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

/// A pause of up to a few milliseconds, another one each time.
fn random_pause(state: &mut u64) {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    std::thread::sleep(Duration::from_micros(*state >> 33 & 0xfff));
}

#[test]
fn killed_senders_and_receivers_cost_at_most_what_they_held() {
    object::register(&KINDS);
    let heap = family::heap().unwrap();
    let mut random = 7;
    killed_senders(&heap, &mut random);
    killed_receivers(&heap, &mut random);
    the_end_of_file_comes_when_the_last_holder_is_killed(&heap);
    drop(heap);
}

/// Senders are killed while this process receives, and while another sender goes on.
fn killed_senders(heap: &std::sync::Arc<Heap>, random: &mut u64) {
    let (reader, writer) = End::pair(heap, false).unwrap();
    let tally = Tally::new(heap);
    let mut next: HashMap<u64, u64> = HashMap::new();
    let mut lost = 0;
    let start = |sender: u64| {
        tally.at(sender as usize % 256).store(0, Ordering::SeqCst);
        forked(|| send_for_ever(&writer, sender, tally.at(sender as usize % 256)))
    };
    let mut living = vec![(0_u64, start(0)), (1, start(1))];
    for kill_nr in 0..n_kills() as u64 {
        let until = Instant::now() + Duration::from_micros(*random >> 33 & 0xfff);
        let mut n_received = 0;
        while Instant::now() < until || n_received == 0 {
            let soon = Some(Deadline::after(Duration::from_secs(20)));
            let received = reader.receive_bytes(soon).expect("another sender goes on");
            check(&received.bytes, &mut next, &mut lost);
            n_received += 1;
        }
        let (sender, (pid, party)) = living.remove(0);
        kill(pid);
        if kill_nr % 2 == 0 {
            // The other half is found by those who look around.
            // SAFETY: its process has ended, or was never started.
            unsafe { heap.bury(party) };
        }
        living.push((sender + 2, start(sender + 2)));
        random_pause(random);
    }
    for (_, (pid, party)) in living {
        kill(pid);
        // SAFETY: its process has ended, or was never started.
        unsafe { heap.bury(party) };
    }
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
fn killed_receivers(heap: &std::sync::Arc<Heap>, random: &mut u64) {
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
    let mut living = vec![forked(receive_for_ever), forked(receive_for_ever)];
    let mut n_sent = 0_u64;
    for kill_nr in 0..n_kills() {
        let until = Instant::now() + Duration::from_micros(*random >> 33 & 0xfff);
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
        let (pid, party) = living.remove(0);
        kill(pid);
        if kill_nr % 2 == 0 {
            // SAFETY: its process has ended, or was never started.
            unsafe { heap.bury(party) };
        }
        living.push(forked(receive_for_ever));
        random_pause(random);
    }
    writer.take();
    // The living ones read the rest and end by the end of file; this process has the reader too,
    // and no writer.
    for (pid, party) in living {
        loop {
            while note(&log_reader, now).is_some() {}
            // SAFETY: a child of ours that was not waited for.
            if unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) } == pid {
                break;
            }
            std::thread::yield_now();
        }
        // SAFETY: its process has ended, or was never started.
        unsafe { heap.bury(party) };
    }
    drop(log_writer);
    while note(&log_reader, None).is_some() {}
    // A receiver that is killed may have one message in hand, and one that it has not logged.
    let n_lost = n_sent - seen.len() as u64;
    assert!(n_lost <= 2 * n_kills() as u64, "{n_lost} of {n_sent} messages were lost");
}

fn the_end_of_file_comes_when_the_last_holder_is_killed(heap: &std::sync::Arc<Heap>) {
    for is_told in [true, false] {
        let (a, b) = End::pair(heap, true).unwrap();
        let (pid, party) = forked(|| {
            a.send_bytes(0, b"I have it", Carried::default(), None).unwrap();
            loop {
                std::thread::park();
            }
        });
        drop(a);
        assert_eq!(b.receive_bytes(None).unwrap().bytes, b"I have it");
        kill(pid);
        if is_told {
            // SAFETY: its process has ended, or was never started.
            unsafe { heap.bury(party) };
            assert!(b.is_ready());
        }
        assert_eq!(b.receive_bytes(None).unwrap_err(), NoMessage::EndOfFile);
    }
}
