//! Made-up handles in another process of the family.

use manyhands::{Process, Shared, SharedMutex, SharedSlice};
use serde::{Deserialize, Serialize, Serializer};

use crate::every_type::{Bytes, Parts, TYPES, Type, bytes_of, opens};

/// An argument whose bytes are made up here, and a mutex there.
#[derive(Deserialize)]
#[serde(transparent)]
struct Argument(#[serde(deserialize_with = "mutex")] Sent);

enum Sent {
    Forged(Bytes),
    Opened(SharedMutex<[u64; 8]>),
}

fn mutex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Sent, D::Error> {
    SharedMutex::deserialize(deserializer).map(Sent::Opened)
}

impl Serialize for Argument {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        match &self.0 {
            Sent::Forged(bytes) => bytes.serialize(serializer),
            Sent::Opened(mutex) => mutex.serialize(serializer),
        }
    }
}

#[manyhands::task]
fn lock(argument: Argument) -> u64 {
    match argument.0 {
        Sent::Opened(mutex) => mutex.lock().expect("nobody died with it")[0],
        Sent::Forged(_) => unreachable!("it was opened when it came"),
    }
}

#[manyhands::task]
fn what_opens(forged: Vec<Vec<u8>>) -> Vec<Vec<bool>> {
    let all = |bytes: &Vec<u8>| TYPES.into_iter().map(|as_type| opens(bytes, as_type)).collect();
    forged.iter().map(all).collect()
}

#[test]
fn a_task_does_not_begin_with_an_argument_that_is_another_kind_of_object() {
    let mutex = SharedMutex::new([3_u64; 8]).unwrap();
    let row = SharedSlice::<u64>::new(24).unwrap();
    let run = |sent| Process::spawn(lock::task, Argument(sent)).unwrap().join();
    assert_eq!(run(Sent::Opened(mutex.clone())), Ok(3));
    let (right, wrong) = (Parts::of(bytes_of(&mutex)), Parts::of(bytes_of(&row)));
    for forged in [wrong, Parts { kind: right.kind, ..wrong }, Parts { offset: 0, ..right }] {
        let error = run(Sent::Forged(forged.bytes())).unwrap_err().to_string();
        assert!(error.contains("cannot be decoded: this handle names"), "{error}");
    }
    assert_eq!(run(Sent::Forged(right.bytes())), Ok(3), "the right bytes are as good as it");
}

#[test]
fn what_a_handle_opens_is_the_same_in_another_process() {
    let (number, mutex) = (Shared::new(1_u64).unwrap(), SharedMutex::new([0_u64; 512]).unwrap());
    let whole = [Parts::of(bytes_of(&number)), Parts::of(bytes_of(&mutex))];
    let mut sent: Vec<Parts> = whole.to_vec();
    for one in whole {
        sent.push(Parts { offset: one.offset + 64, ..one });
        sent.push(Parts { offset: one.offset ^ 1 << 18, ..one });
        sent.push(Parts { serial: one.serial.wrapping_sub(1), ..one });
        sent.push(Parts { kind: one.kind ^ 9, ..one });
        sent.push(Parts { family: one.family ^ 9, ..one });
    }
    sent.push(Parts { kind: whole[0].kind, ..whole[1] });
    sent.push(Parts { kind: whole[1].kind, ..whole[0] });
    let sent: Vec<Vec<u8>> = sent.into_iter().map(|parts| parts.bytes().to_vec()).collect();
    let there = Process::spawn(what_opens::task, sent).unwrap().join().unwrap();
    for (idx, opened) in there.iter().enumerate() {
        let right = |as_type: &Type| match idx {
            0 => *as_type == Type::U64,
            1 => *as_type == Type::LongMutex,
            _ => false,
        };
        let right: Vec<bool> = TYPES.iter().map(right).collect();
        assert_eq!(*opened, right, "handle {idx}");
    }
}
