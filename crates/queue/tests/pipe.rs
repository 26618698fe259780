//! Pipes between threads: order, bounds, ends, lost and cut-off messages. What processes add is in
//! `pipe_deaths.rs`.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use manyhands_queue::Deadline;
use manyhands_queue::pipe::{End, KINDS, NoMessage, NotSent, Watch};
use manyhands_shm::{Carried, Heap, HeapConfig, object};
use manyhands_sync::deadlock::Site;
use manyhands_sync::sleep::{Wait, Waiting};
use proptest::prelude::*;

const NOW: Option<Deadline> = Some(Deadline::NOW);

fn heap() -> Arc<Heap> {
    object::register(&KINDS);
    Heap::create(HeapConfig { limit_bytes: Some(64 << 20) }).unwrap()
}

fn pair(is_duplex: bool) -> (End, End) {
    End::pair(&heap(), is_duplex).unwrap()
}

fn send(end: &End, bytes: &[u8]) {
    end.send_bytes(0, bytes, Carried::default(), None).unwrap();
}

fn receive(end: &End) -> Vec<u8> {
    end.receive_bytes(None).unwrap().bytes
}

fn body(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|idx| (seed.wrapping_mul(31) + idx * 7 + idx / 251) as u8).collect()
}

#[test]
fn messages_go_both_ways_of_a_duplex_pipe_in_order() {
    let (a, b) = pair(true);
    for n in 0..100_u8 {
        send(&a, &[n]);
        send(&b, &[n, n]);
    }
    for n in 0..100_u8 {
        assert_eq!(receive(&b), [n]);
        assert_eq!(receive(&a), [n, n]);
    }
    assert!(!a.is_ready() && !b.is_ready());
}

#[test]
fn a_one_way_pipe_has_a_reader_and_a_writer() {
    let (reader, writer) = pair(false);
    assert!(reader.is_readable() && !reader.is_writable());
    assert!(writer.is_writable() && !writer.is_readable());
    send(&writer, b"one");
    assert_eq!(receive(&reader), b"one");
    assert_eq!(reader.send_bytes(0, b"", Carried::default(), None), Err(NotSent::Broken));
    assert_eq!(writer.receive_bytes(None).unwrap_err(), NoMessage::EndOfFile);
}

#[test]
fn the_tag_and_an_empty_body_arrive() {
    let (a, b) = pair(true);
    a.send_bytes(77, b"", Carried::default(), None).unwrap();
    assert!(b.is_ready());
    let received = b.receive_bytes(None).unwrap();
    assert_eq!((received.tag, received.bytes.len()), (77, 0));
}

#[test]
fn what_was_sent_is_read_before_the_end_of_file() {
    let (a, b) = pair(true);
    send(&a, b"last words");
    drop(a);
    assert_eq!(receive(&b), b"last words");
    assert!(b.is_ready());
    assert_eq!(b.receive_bytes(None).unwrap_err(), NoMessage::EndOfFile);
    assert_eq!(b.send_bytes(0, b"", Carried::default(), None), Err(NotSent::Broken));
}

#[test]
fn an_end_is_closed_with_its_last_clone_only() {
    let (a, b) = pair(true);
    let clone = a.clone();
    drop(a);
    assert!(!b.is_ready() && !b.is_peer_closed());
    drop(clone);
    assert!(b.is_ready() && b.is_peer_closed());
}

#[test]
fn closing_an_end_wakes_who_waits_at_the_other() {
    let (a, b) = pair(true);
    thread::scope(|scope| {
        let reader = scope.spawn(|| b.receive_bytes(None).unwrap_err());
        let writer = scope.spawn(|| {
            // More than the pipe holds: it waits for a reader.
            b.send_bytes(0, &body(1, 1 << 20), Carried::default(), None)
        });
        thread::sleep(Duration::from_millis(30));
        drop(a);
        assert_eq!(reader.join().unwrap(), NoMessage::EndOfFile);
        assert_eq!(writer.join().unwrap(), Err(NotSent::Broken));
    });
}

#[test]
fn small_messages_wait_for_room_and_a_deadline_ends_the_wait() {
    let (a, b) = pair(true);
    let mut n_sent = 0;
    while a.send_bytes(0, &body(n_sent, 1000), Carried::default(), NOW).is_ok() {
        n_sent += 1;
    }
    assert!(n_sent > 100, "a hundred small messages need no reader");
    let soon = Some(Deadline::after(Duration::from_millis(20)));
    let late = a.send_bytes(0, &body(0, 1000), Carried::default(), soon);
    assert_eq!(late, Err(NotSent::TimedOut));
    for n in 0..n_sent {
        assert_eq!(receive(&b), body(n, 1000));
    }
    assert_eq!(b.receive_bytes(NOW).unwrap_err(), NoMessage::TimedOut);
}

#[test]
fn a_message_larger_than_the_pipe_is_streamed() {
    let (a, b) = pair(false);
    let sent = body(3, 5 << 20);
    thread::scope(|scope| {
        scope.spawn(|| send(&b, &sent));
        assert!(receive(&a) == sent);
    });
}

#[test]
fn a_large_message_that_is_given_up_is_never_seen() {
    let (a, b) = pair(true);
    let soon = Some(Deadline::after(Duration::from_millis(20)));
    let late = a.send_bytes(0, &body(0, 1 << 20), Carried::default(), soon);
    assert_eq!(late, Err(NotSent::TimedOut));
    assert!(!b.is_ready());
    send(&a, b"next");
    assert!(b.is_ready());
    assert_eq!(receive(&b), b"next");
}

#[test]
fn a_message_given_up_while_it_is_read_is_thrown_away() {
    let (a, b) = pair(true);
    let large = body(0, 1 << 20);
    let parts = [large.as_slice()];
    let mut sending = a.send(0, &parts, Carried::default()).unwrap();
    let mut waiting = Waiting::new(&a, Site::Unknown);
    // As much as there is room for.
    assert_eq!(sending.step(NOW, &mut waiting), Wait::TimedOut);
    let mut receiving = b.receive().unwrap();
    assert_eq!(receiving.begin(NOW, &mut waiting), Wait::Done);
    let mut room = vec![std::mem::MaybeUninit::uninit(); 1 << 20];
    assert_eq!(receiving.fill(&mut room, NOW, &mut waiting), Wait::TimedOut);
    drop(sending);
    send(&a, b"next");
    assert_eq!(receiving.fill(&mut room, NOW, &mut waiting), Wait::Done);
    assert!(!receiving.is_whole());
    drop(receiving);
    assert_eq!(receive(&b), b"next");
}

#[test]
fn a_message_looked_at_stays_and_one_read_in_part_is_skipped() {
    let (a, b) = pair(true);
    send(&a, b"first");
    let mut waiting = Waiting::new(&b, Site::Unknown);
    let mut receiving = b.receive().unwrap();
    assert_eq!(receiving.begin(NOW, &mut waiting), Wait::Done);
    drop(receiving);
    assert_eq!(receive(&b), b"first");

    thread::scope(|scope| {
        scope.spawn(|| {
            send(&a, &body(5, 1 << 20));
            send(&a, b"after");
        });
        let mut receiving = b.receive().unwrap();
        while receiving.begin(None, &mut waiting) != Wait::Done {}
        let mut room = vec![std::mem::MaybeUninit::uninit(); 1 << 20];
        let _ = receiving.fill(&mut room, NOW, &mut waiting);
        drop(receiving);
        assert_eq!(receive(&b), b"after");
    });
}

#[test]
fn several_senders_and_receivers_share_an_end_and_nothing_is_lost_or_mixed() {
    const N: usize = 3;
    const EACH: usize = 2_000;
    let (reader, writer) = pair(false);
    let mut all: HashMap<(u8, u32), usize> = HashMap::new();
    thread::scope(|scope| {
        for sender in 0..N {
            let writer = writer.clone();
            scope.spawn(move || {
                for n in 0..EACH {
                    // Now and then one that is streamed.
                    let len = if n % 500 == 7 { 300_000 } else { n % 700 };
                    let mut bytes = vec![sender as u8];
                    bytes.extend_from_slice(&(n as u32).to_le_bytes());
                    bytes.extend_from_slice(&body(n, len));
                    send(&writer, &bytes);
                }
            });
        }
        drop(writer);
        let receivers: Vec<_> = (0..N)
            .map(|_| {
                let reader = &reader;
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    while let Ok(received) = reader.receive_bytes(None) {
                        let bytes = received.bytes;
                        let n = u32::from_le_bytes(bytes[1..5].try_into().unwrap());
                        assert!(bytes[5..] == body(n as usize, bytes.len() - 5));
                        seen.push((bytes[0], n));
                    }
                    seen
                })
            })
            .collect();
        for receiver in receivers {
            let seen = receiver.join().unwrap();
            let mut last: HashMap<u8, u32> = HashMap::new();
            for (sender, n) in seen {
                *all.entry((sender, n)).or_default() += 1;
                let before = last.insert(sender, n);
                assert!(before.is_none_or(|before| before < n), "each sender's are in order");
            }
        }
    });
    assert_eq!(all.len(), N * EACH);
    assert!(all.values().all(|n| *n == 1));
}

#[test]
fn polling_waits_for_a_message_and_takes_none() {
    let (a, b) = pair(true);
    let mut waiting = Waiting::new(&b, Site::Unknown);
    let soon = Some(Deadline::after(Duration::from_millis(10)));
    assert_eq!(b.poll(soon, &mut waiting), Wait::TimedOut);
    thread::scope(|scope| {
        scope.spawn(|| send(&a, b"here"));
        while b.poll(None, &mut waiting) != Wait::Done {}
    });
    assert_eq!(receive(&b), b"here");
}

#[test]
fn a_pipe_gives_its_memory_back() {
    let heap = heap();
    let before = heap.claimed_bytes();
    for _ in 0..300 {
        let (a, b) = End::pair(&heap, true).unwrap();
        send(&a, b"never read");
        drop((a, b));
    }
    assert!(heap.claimed_bytes() <= before + (1 << 20));
}

#[derive(Clone, Debug)]
enum Op {
    Send(usize),
    Receive,
    GiveUp(usize),
    Poll,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let len = || prop_oneof![0..64_usize, 0..40_000_usize, 100_000..200_000_usize];
    let op = prop_oneof![
        4 => len().prop_map(Op::Send),
        4 => Just(Op::Receive),
        1 => (0..400_000_usize).prop_map(Op::GiveUp),
        2 => Just(Op::Poll),
    ];
    prop::collection::vec(op, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a list of what was sent. One thread: nothing may wait.
    #[test]
    fn a_pipe_is_a_bounded_list_of_messages(ops in ops(), is_duplex: bool) {
        let (b, a) = pair(is_duplex);
        let mut model = std::collections::VecDeque::new();
        for (n, op) in ops.into_iter().enumerate() {
            match op {
                Op::Send(len) => {
                    let bytes = body(n, len);
                    if a.send_bytes(n as u16, &bytes, Carried::default(), NOW).is_ok() {
                        model.push_back((n as u16, bytes));
                    }
                }
                Op::GiveUp(len) => {
                    let bytes = body(n, len);
                    let parts = [bytes.as_slice()];
                    let mut sending = a.send(n as u16, &parts, Carried::default()).unwrap();
                    let mut waiting = Waiting::new(&a, Site::Unknown);
                    if sending.step(NOW, &mut waiting) == Wait::Done {
                        drop(sending);
                        model.push_back((n as u16, bytes));
                    }
                }
                Op::Receive => match b.receive_bytes(NOW) {
                    Ok(received) => {
                        let (tag, bytes) = model.pop_front().expect("something was sent");
                        prop_assert_eq!(received.tag, tag);
                        prop_assert!(received.bytes == bytes);
                    }
                    Err(error) => {
                        prop_assert_eq!(error, NoMessage::TimedOut);
                        prop_assert!(model.is_empty());
                    }
                },
                Op::Poll => prop_assert_eq!(b.is_ready(), !model.is_empty()),
            }
        }
    }
}

#[test]
fn a_later_pipe_at_the_same_place_has_sockets_of_its_own() {
    let heap = heap();
    let stale = {
        let (a, b) = End::pair(&heap, true).unwrap();
        let watch = Watch::new(a.clone()).unwrap();
        let mut socket = UnixStream::from(watch.as_fd().try_clone_to_owned().unwrap());
        // Nobody reads it: the pair is kept for the other end, for as long as there is one.
        socket.write_all(b"stale").unwrap();
        drop(watch);
        drop((a, b));
        socket
    };
    // No place is kept warm for others.
    heap.trim();
    let (_a, b) = End::pair(&heap, true).unwrap();
    let watch = Watch::new(b.clone()).unwrap();
    let mut socket = UnixStream::from(watch.as_fd().try_clone_to_owned().unwrap());
    socket.set_nonblocking(true).unwrap();
    let read = socket.read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::WouldBlock));
    // With the pipe its sockets went, unread: this one has no peer any more.
    stale.set_nonblocking(true).unwrap();
    let read = (&stale).read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_watch_that_works_is_renewed_as_it_is() {
    for is_duplex in [false, true] {
        let (a, b) = pair(is_duplex);
        let watch = Watch::new(a.clone()).unwrap();
        let before = watch.number();
        let watch = watch.renew().unwrap();
        assert_eq!(watch.number(), before);
        send(&b, b"news");
        let ready = manyhands_sys::event::poll(&[watch.as_fd()], None).unwrap();
        assert_eq!(ready, [0], "the thread goes on keeping it true");
        drop(watch);
        assert_eq!(receive(&a), b"news");
    }
}
