//! Of the threads of a deadlock one gets the report, however many look at the same moment.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use manyhands_sync::deadlock::{
    Certainty, Description, EndedBy, Kind, Resource, Site, enter, explain, witness,
};
use manyhands_sys::thread_id;

/// A lock that the other thread will never give back.
struct HeldBy(AtomicU32);

impl Resource for HeldBy {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Lock", name: None, id }
    }

    fn ended_by(&self) -> EndedBy {
        let thread = self.0.load(Ordering::Relaxed);
        EndedBy::Owner { thread, certainty: Certainty::Sure, acquired_at: Site::Unknown }
    }
}

#[test]
fn one_of_two_threads_that_look_at_once_gets_the_report_and_a_witness_takes_it_from_nobody() {
    let locks = [const { HeldBy(AtomicU32::new(0)) }; 2];
    let step = Barrier::new(2);
    let n_told: usize = thread::scope(|scope| {
        let threads = [0, 1].map(|idx| {
            let (locks, step) = (&locks, &step);
            scope.spawn(move || {
                locks[1 - idx].0.store(thread_id::me(), Ordering::Relaxed);
                step.wait();
                let wait = enter(&locks[idx], Site::Unknown);
                step.wait();
                let seen = witness(&wait).expect("nobody was told yet");
                assert_eq!((seen.kind, seen.threads.len()), (Kind::Cycle, 2));
                step.wait();
                let is_told = explain(&wait).is_some();
                step.wait();
                assert!(explain(&wait).is_none() && witness(&wait).is_none());
                step.wait();
                usize::from(is_told)
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(n_told, 1);
}
