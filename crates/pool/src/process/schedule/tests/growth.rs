//! When workers are started, and how many.

use super::*;

const A_BILLION: usize = 1_000_000_000;

#[test]
fn all_workers_are_started_without_a_task_if_asked() {
    let mut fake = Fake::new(3);
    fake.schedule.start_missing();
    fake.schedule.start_missing();
    assert_eq!(fake.n_launched(), 3, "and not twice");
}

#[test]
fn all_workers_are_started_with_the_first_task_of_a_pool_like_that() {
    let mut fake = Fake::with(3, None, true);
    fake.submit();
    assert_eq!(fake.n_launched(), 3);
}

#[test]
fn a_pool_of_a_billion_starts_one_worker_a_task_and_none_without() {
    for start_all in [false, true] {
        let mut fake = Fake::with(A_BILLION, None, start_all);
        fake.schedule.start_missing();
        assert_eq!(fake.n_launched(), 0);
        for n_tasks in 1..=5 {
            fake.submit();
            assert_eq!(fake.n_launched(), n_tasks);
        }
    }
}

#[test]
fn a_pool_of_a_billion_uses_its_idle_workers_again() {
    let mut fake = Fake::new(A_BILLION);
    fake.submit();
    let mut first = fake.ready(0);
    for _ in 0..10 {
        first.run(MS);
        fake.turn();
        fake.submit();
    }
    assert_eq!(fake.n_launched(), 1);
}

#[test]
fn a_closed_pool_starts_none_without_a_task() {
    let mut fake = Fake::new(3);
    fake.schedule.close();
    fake.schedule.start_missing();
    assert_eq!(fake.n_launched(), 0);
}

#[test]
fn a_worker_that_dies_idle_is_replaced_only_when_a_task_needs_it() {
    let (mut fake, workers) = Fake::with_idle(2);
    fake.is_killed(&workers[0]);
    fake.submit();
    assert_eq!(fake.n_launched(), 2, "the other one is idle");
    fake.submit();
    assert_eq!(fake.n_launched(), 3);
}
