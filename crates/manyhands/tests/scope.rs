//! The threads of a scope end before it does, and a failure concerns all of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use manyhands::sync::{Event, Mutex};

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_scope_waits_for_threads_nobody_joined_and_they_may_borrow() {
    let n_done = AtomicU32::new(0);
    manyhands::scope(|group| {
        for name in ["a", "b", "c"] {
            group.spawn(name, || {
                n_done.fetch_add(1, Ordering::Relaxed);
            });
        }
    })
    .unwrap();
    assert_eq!(n_done.into_inner(), 3);
}

#[test]
fn join_hands_out_the_value_and_the_scope_that_of_its_body() {
    let answer = manyhands::scope(|group| {
        let six = group.spawn("six", || Ok::<_, String>(6));
        let seven = group.spawn("seven", || Ok::<_, String>(7));
        six.join().unwrap() * seven.join().unwrap()
    });
    assert_eq!(answer.unwrap(), 42);
}

#[test]
fn the_first_failure_asks_the_siblings_to_stop_and_all_failures_are_collected() {
    let failures = manyhands::scope(|group| {
        let patient = group.spawn("patient", || {
            while !manyhands::stop_requested() {
                std::thread::yield_now();
            }
            Err::<(), _>("interrupted")
        });
        group.spawn("hasty", || -> () { panic!("no {}", "salt") });
        assert!(patient.join().is_none());
        assert!(group.stop_requested());
    });
    let failures = failures.unwrap_err();
    let named: Vec<_> =
        failures.list().iter().map(|failure| (failure.thread(), failure.is_panic())).collect();
    assert_eq!(named, [("hasty", true), ("patient", false)]);
    let text = failures.to_string();
    assert!(
        text.starts_with("2 of 2 threads of a scope failed:\n  \"hasty\" panicked at"),
        "{text}"
    );
    assert!(text.contains("scope.rs") && text.ends_with("\"patient\": interrupted"), "{text}");
    assert!(!manyhands::stop_requested());
}

#[test]
fn a_thread_that_sleeps_in_its_group_is_woken_by_a_stop() {
    manyhands::scope(|group| {
        let sleeper = group.clone();
        group.spawn("sleeper", move || assert!(!sleeper.sleep(LONG)));
        group.stop();
    })
    .unwrap();
}

#[test]
fn a_thread_may_start_others_and_the_scope_waits_for_them_too() {
    let has_run = Event::new();
    manyhands::scope(|group| {
        let inner = group.clone();
        group.spawn("outer", || {
            let inner = inner;
            inner.spawn("inner", || has_run.set());
        });
    })
    .unwrap();
    assert!(has_run.is_set());
}

#[test]
fn a_group_inside_a_stopped_group_is_asked_to_stop() {
    manyhands::scope(|outer| {
        outer.spawn("outer", || {
            manyhands::scope(|inner| {
                inner.spawn("inner", || while !manyhands::stop_requested() {});
            })
        });
        outer.stop();
    })
    .unwrap();
}

#[test]
fn a_body_that_panics_stops_its_threads_first() {
    let ended = Event::new();
    let outcome = std::panic::catch_unwind(|| {
        let _ = manyhands::scope(|group| {
            group.spawn("patient", || {
                while !manyhands::stop_requested() {
                    std::thread::yield_now();
                }
                ended.set();
            });
            panic!("the body");
        });
    });
    assert!(outcome.is_err() && ended.is_set());
}

#[test]
fn a_scope_that_waits_for_a_thread_that_waits_for_its_lock_ends_with_a_report() {
    let lock = Mutex::named("till", ());
    let held = lock.lock();
    let failures = manyhands::scope(|group| {
        group.spawn("cashier", || drop(lock.lock()));
    });
    drop(held);
    let text = failures.unwrap_err().to_string();
    assert!(text.contains("\"cashier\" panicked") && text.contains("Mutex \"till\""), "{text}");
    assert!(
        text.contains("waits for Thread \"cashier\" at crates/manyhands/tests/scope.rs"),
        "{text}"
    );
}
