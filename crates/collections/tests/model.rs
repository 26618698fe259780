//! Random sequences of operations, beside a model of plain vectors; and nothing is left in the
//! heap.

use std::sync::Arc;

use manyhands_collections::{Draft, Key, SharedList, SharedMap};
use manyhands_shm::object::register;
use manyhands_shm::{Carried, Heap};
use proptest::prelude::*;

fn heap() -> Arc<Heap> {
    register(&manyhands_collections::KINDS);
    manyhands_shm::family::heap().unwrap()
}

fn draft<'a>(heap: &Arc<Heap>, bytes: &'a [u8]) -> Draft<'a> {
    Draft::new(heap, bytes, Carried::default()).unwrap()
}

/// A value of any class of records, or stored apart; and the number it was made of.
fn value(number: u32) -> Vec<u8> {
    let len = [4, 12, 40, 300, 1000, 3000, 9000][number as usize % 7];
    let mut bytes = vec![number as u8; len];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

#[derive(Clone, Debug)]
enum MapStep {
    Insert(u8, u32),
    Remove(u8),
    PopLast,
    Get(u8),
    Clear,
}

fn map_steps() -> impl Strategy<Value = Vec<MapStep>> {
    let step = prop_oneof![
        6 => (any::<u8>(), any::<u32>()).prop_map(|(key, value)| MapStep::Insert(key, value)),
        3 => any::<u8>().prop_map(MapStep::Remove),
        1 => Just(MapStep::PopLast),
        2 => any::<u8>().prop_map(MapStep::Get),
    ];
    let step = prop_oneof![200 => step, 1 => Just(MapStep::Clear)];
    proptest::collection::vec(step, 1..600)
}

/// Long keys, too, which no size class has.
fn key(number: u8) -> Vec<u8> {
    vec![number; if number.is_multiple_of(16) { 5000 } else { 1 + number as usize % 40 }]
}

#[derive(Clone, Debug)]
enum ListStep {
    Splice(u16, u16, Vec<u32>),
    Set(u16, u32),
    SetMany(Vec<u32>),
    Reverse,
    KeepEveryOther,
    Push(u32),
    PopFirst,
}

fn list_steps() -> impl Strategy<Value = Vec<ListStep>> {
    let values = || proptest::collection::vec(any::<u32>(), 0..6);
    let step = prop_oneof![
        4 => (any::<u16>(), 0..4_u16, values())
            .prop_map(|(at, n, values)| ListStep::Splice(at, n, values)),
        3 => (any::<u16>(), any::<u32>()).prop_map(|(at, value)| ListStep::Set(at, value)),
        1 => values().prop_map(ListStep::SetMany),
        1 => Just(ListStep::Reverse),
        1 => Just(ListStep::KeepEveryOther),
        6 => any::<u32>().prop_map(ListStep::Push),
        3 => Just(ListStep::PopFirst),
    ];
    proptest::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(150)
    })]

    #[test]
    fn a_map_does_what_a_vector_of_pairs_does(steps in map_steps()) {
        let heap = heap();
        let map = SharedMap::create(&heap).unwrap();
        let mut model: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for step in steps {
            let place = |key: &[u8], model: &[(Vec<u8>, Vec<u8>)]| {
                model.iter().position(|(known, _)| known == key)
            };
            match step {
                MapStep::Insert(number, content) => {
                    let (key, value) = (key(number), value(content));
                    let shown = Key { compared: &key, shown: &[7] };
                    map.lock().expect("room").insert(shown, draft(&heap, &value)).unwrap();
                    match place(&key, &model) {
                        Some(at) => model[at].1 = value,
                        None => model.push((key, value)),
                    }
                }
                MapStep::Remove(number) => {
                    let key = key(number);
                    let expected = place(&key, &model).map(|at| model.remove(at).1);
                    prop_assert_eq!(map.remove(&key).unwrap(), expected);
                }
                MapStep::PopLast => {
                    let popped = map.lock().expect("room").pop_last().unwrap();
                    let popped = popped.map(|(key, _, value)| (key, value.bytes().to_vec()));
                    prop_assert_eq!(popped, model.pop());
                }
                MapStep::Get(number) => {
                    let key = key(number);
                    let expected = place(&key, &model).map(|at| model[at].1.clone());
                    prop_assert_eq!(map.get(&key).unwrap(), expected);
                }
                MapStep::Clear => {
                    map.lock().expect("room").clear().unwrap();
                    model.clear();
                }
            }
            prop_assert_eq!(map.len(), model.len() as u64);
        }
        let guard = map.lock().expect("room");
        let keys: Vec<Vec<u8>> = guard.keys().map(|key| key.compared.to_vec()).collect();
        let values = guard.values().unwrap();
        let pairs: Vec<_> =
            keys.into_iter().zip(values.iter().map(|value| value.bytes().to_vec())).collect();
        drop(guard);
        prop_assert_eq!(pairs, model);
        drop(values);
        drop(map);
        heap.trim();
        // One region: the notes of what this process holds.
        prop_assert!(heap.claimed_bytes() <= 256 << 10, "{}", heap.claimed_bytes());
    }

    #[test]
    fn a_list_does_what_a_vector_does(steps in list_steps()) {
        let heap = heap();
        let list = SharedList::create(&heap).unwrap();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for step in steps {
            let mut guard = list.lock().expect("room");
            let len = model.len();
            match step {
                ListStep::Splice(at, n, values) => {
                    let start = at as usize % (len + 1);
                    let range = start..(start + n as usize).min(len);
                    let values: Vec<Vec<u8>> = values.into_iter().map(value).collect();
                    let drafts = values.iter().map(|value| draft(&heap, value)).collect();
                    guard.splice(range.start as u64..range.end as u64, drafts).unwrap();
                    model.splice(range, values);
                }
                ListStep::Set(at, content) if len > 0 => {
                    let (at, value) = (at as usize % len, value(content));
                    guard.set(vec![(at as u64, draft(&heap, &value))]).unwrap();
                    model[at] = value;
                }
                ListStep::SetMany(contents) if contents.len() <= len => {
                    let values: Vec<Vec<u8>> = contents.into_iter().map(value).collect();
                    let places = (0_u64..).zip(values.iter().map(|value| draft(&heap, value)));
                    guard.set(places.collect()).unwrap();
                    for (place, value) in values.into_iter().enumerate() {
                        model[place] = value;
                    }
                }
                ListStep::Reverse => {
                    let places: Vec<u64> = (0..len as u64).rev().collect();
                    guard.select(&places).unwrap();
                    model.reverse();
                }
                ListStep::KeepEveryOther if len > 20 => {
                    let places: Vec<u64> = (0..len as u64).step_by(2).collect();
                    guard.select(&places).unwrap();
                    model = model.into_iter().step_by(2).collect();
                }
                ListStep::Push(content) => {
                    let value = value(content);
                    guard.insert(len as u64, vec![draft(&heap, &value)]).unwrap();
                    model.push(value);
                }
                ListStep::PopFirst if len > 0 => {
                    guard.remove(0..1).unwrap();
                    model.remove(0);
                }
                _ => {}
            }
            drop(guard);
            prop_assert_eq!(list.len(), model.len() as u64);
        }
        let guard = list.lock().expect("room");
        let values = guard.values(0..guard.len()).unwrap();
        drop(guard);
        let items: Vec<Vec<u8>> = values.iter().map(|value| value.bytes().to_vec()).collect();
        prop_assert_eq!(items, model);
        drop(values);
        drop(list);
        heap.trim();
        prop_assert!(heap.claimed_bytes() <= 256 << 10, "{}", heap.claimed_bytes());
    }
}
