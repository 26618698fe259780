//! Random programs that take locks in some order: those that must deadlock are found, in those
//! that cannot none is invented.

use std::sync::Arc;
use std::thread;

use manyhands_sync::{Barrier, Mutex};
use proptest::prelude::*;

/// What each thread takes, in this order, before it gives all back.
type Program = Vec<Vec<usize>>;

const N_LOCKS: usize = 6;

/// Runs the program, all threads with a pause after their first lock if they are to meet there;
/// how many threads were told of a deadlock. That it returns shows that none was missed.
fn n_told(program: &Program, meet: bool) -> usize {
    let locks: Arc<[Mutex<()>; N_LOCKS]> = Arc::new(std::array::from_fn(|_| Mutex::new(())));
    let met = Arc::new(Barrier::new(program.len() as u32));
    let threads = program.iter().cloned().map(|order| {
        let (locks, met) = (Arc::clone(&locks), Arc::clone(&met));
        thread::spawn(move || {
            let mut held = Vec::new();
            for lock_idx in order {
                held.push(locks[lock_idx].lock());
                if meet && held.len() == 1 {
                    met.wait().unwrap();
                }
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    threads.into_iter().filter_map(|thread| thread.join().err()).count()
}

/// Distinct locks in any order.
fn order() -> impl Strategy<Value = Vec<usize>> {
    Just((0..N_LOCKS).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_flat_map(|order| (1..=order.len()).prop_map(move |n| order[..n].to_vec()))
}

fn programs() -> impl Strategy<Value = Program> {
    prop::collection::vec(order(), 2..6)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Each thread takes a lock of its own, then the next one's, then perhaps others.
    #[test]
    fn a_ring_of_threads_is_always_found(n_threads in 2..=N_LOCKS, rest in order()) {
        let take = |idx: usize| {
            let (own, next) = (idx, (idx + 1) % n_threads);
            let rest = rest.iter().copied().filter(|lock| *lock >= n_threads);
            [own, next].into_iter().chain(rest).collect()
        };
        prop_assert_eq!(n_told(&(0..n_threads).map(take).collect(), true), 1);
    }

    /// With one order for all there is no cycle, whatever they take.
    #[test]
    fn in_programs_with_one_order_none_is_invented(mut program in programs()) {
        program.iter_mut().for_each(|order| order.sort_unstable());
        prop_assert_eq!(n_told(&program, false), 0);
    }

    /// Any program ends: whatever cycle comes up is found, and its victim lets the others go on.
    #[test]
    fn every_program_comes_to_its_end(program in programs()) {
        prop_assert!(n_told(&program, false) < program.len());
    }
}
