//! What a process pool of Rust tasks promises, with real worker processes.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use manyhands::{
    Future, ProcessPool, ReturnWhen, SubmitError, TaskError, ThreadPool, as_completed, wait,
};
use serde::{Deserialize, Serialize};

manyhands::test_entry!();

#[manyhands::task]
fn fib(n: u32) -> u64 {
    if n < 2 { n.into() } else { fib(n - 1) + fib(n - 2) }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Dish {
    name: String,
    portions: BTreeMap<String, f64>,
    note: Option<Box<Dish>>,
}

#[manyhands::task]
fn scale(mut dish: Dish, factor: f64, (mut suffix, _): (String, ())) -> Dish {
    suffix.insert(0, ' ');
    dish.name += &suffix;
    dish.portions.values_mut().for_each(|amount| *amount *= factor);
    dish
}

#[manyhands::task]
fn worker_pid() -> u32 {
    std::process::id()
}

#[manyhands::task]
fn nothing() {}

#[manyhands::task]
fn echo(text: String) -> String {
    text
}

#[manyhands::task]
fn parse(text: String) -> Result<i64, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

#[manyhands::task]
fn fail(message: String) -> u8 {
    panic!("no {message}")
}

#[manyhands::task]
fn sleep_ms(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

#[manyhands::task]
fn until_stopped() {
    while !manyhands::stop_requested() {
        thread::yield_now();
    }
}

#[manyhands::task]
fn sum_in_a_pool_of_its_own(n: u32) -> u64 {
    let pool = ProcessPool::new(2).expect("a worker may have a pool");
    let sum = pool.map(fib::task, 0..n).map(|fib| fib.expect("no crash")).sum();
    pool.shutdown();
    sum
}

mod elsewhere {
    #[manyhands::task]
    pub fn triple(n: i32) -> i32 {
        3 * n
    }
}

const AN_HOUR_MS: u64 = 3_600_000;

fn pool(max_workers: usize) -> ProcessPool {
    ProcessPool::new(max_workers).expect("a pool starts")
}

fn until_running<T: Send + 'static>(future: &Future<T>) {
    while !future.is_running() {
        thread::yield_now();
    }
}

#[test]
fn a_task_is_also_a_plain_function() {
    let fib_of = [5, 10].map(fib);
    assert_eq!(fib_of, [5, 55]);
    // A local variable may have the name of the task.
    let fib = fib(20);
    assert_eq!(pool(1).submit(fib::task, 20).unwrap().result(), Ok(fib));
}

#[test]
fn structs_tuples_and_several_arguments_travel() {
    let salad = Dish { name: "salad".into(), portions: [("oil".into(), 0.5)].into(), note: None };
    let dish = Dish {
        name: "rice".into(),
        portions: [("rice".into(), 2.0), ("salt".into(), 0.25)].into(),
        note: Some(Box::new(salad)),
    };
    let args = (dish.clone(), 2.0, ("for two".to_owned(), ()));
    let doubled = pool(1).submit(scale::task, args.clone()).unwrap().result().unwrap();
    assert_eq!(doubled, scale(args.0, args.1, args.2));
    assert_eq!(doubled.name, "rice for two");
}

#[test]
fn a_task_without_arguments_or_result_is_one_too() {
    let pool = pool(1);
    assert_eq!(pool.submit(nothing::task, ()).unwrap().result(), Ok(()));
    assert_ne!(pool.submit(worker_pid::task, ()).unwrap().result(), Ok(std::process::id()));
}

#[test]
fn a_task_of_another_module_is_imported_like_a_function() {
    use elsewhere::triple;
    assert_eq!(pool(1).submit(triple::task, triple(2)).unwrap().result(), Ok(18));
}

#[test]
fn values_of_any_size_come_back_unchanged() {
    let pool = pool(2);
    for len in [0, 1, 420, 421, 424, 425, 5_000, 1 << 24] {
        let text: String = ('a'..='z').cycle().take(len).collect();
        let future = pool.submit(echo::task, text.clone()).unwrap();
        assert!(future.result().unwrap() == text, "{len} bytes came back changed");
    }
}

#[test]
fn an_error_that_a_task_returns_is_a_value() {
    let pool = pool(1);
    let [good, bad] = ["7", "seven"].map(|text| pool.submit(parse::task, text.to_owned()).unwrap());
    assert_eq!(good.result(), Ok(Ok(7)));
    assert_eq!(bad.result(), Ok(Err("\"seven\": invalid digit found in string".to_owned())));
}

#[test]
fn a_panic_comes_back_with_message_and_place_and_the_worker_goes_on() {
    let pool = pool(1);
    let before = pool.submit(worker_pid::task, ()).unwrap().result();
    match pool.submit(fail::task, "rice".to_owned()).unwrap().result() {
        Err(TaskError::Panicked { message, location }) => {
            assert_eq!(message, "no rice");
            assert!(location.unwrap().contains("tests/process_pool.rs:"));
        }
        other => panic!("a panic is not reported as {other:?}"),
    }
    assert_eq!(pool.submit(worker_pid::task, ()).unwrap().result(), before);
}

#[test]
fn a_panic_message_of_any_length_comes_back() {
    let message = "rice ".repeat(100_000);
    match pool(1).submit(fail::task, message.clone()).unwrap().result() {
        Err(TaskError::Panicked { message: got, .. }) => assert!(got == format!("no {message}")),
        other => panic!("a panic is not reported as {other:?}"),
    }
}

#[test]
fn a_map_keeps_the_order_and_bounds_what_is_in_flight() {
    let pool = pool(2);
    // An endless iterator: what is not asked for is not submitted, but for a few.
    let mut fibs = pool.options().in_flight(3).map(fib::task, (0..).map(|n| n % 20));
    for n in 0..50 {
        assert_eq!(fibs.next().unwrap(), Ok(fib(n % 20)));
    }
    drop(fibs);
    assert!(pool.statistics().submitted <= 53);
}

#[test]
fn one_failure_in_a_map_leaves_the_others_unharmed() {
    let words = ["1", "x", "3"].map(str::to_owned);
    let pool = pool(2);
    let numbers: Vec<_> = pool.map(parse::task, words).map(|number| number.unwrap().ok()).collect();
    assert_eq!(numbers, [Some(1), None, Some(3)]);
    let naps = pool.options().timeout(Duration::from_millis(50)).grace(Duration::ZERO);
    let naps: Vec<_> = naps.map(sleep_ms::task, [0, AN_HOUR_MS, 0]).collect();
    assert_eq!(naps, [Ok(()), Err(TaskError::TimedOut), Ok(())]);
}

#[test]
fn a_map_over_a_pool_that_is_shut_down_says_so_and_ends() {
    let pool = pool(1);
    pool.shutdown();
    let results: Vec<_> = pool.map(fib::task, 0..5).collect();
    let [Err(TaskError::PoolBroken(why))] = &results[..] else { panic!("{results:?}") };
    assert!(why.contains("shut down"), "{why}");
    assert_eq!(pool.submit(fib::task, 1).unwrap_err(), SubmitError::Closed);
}

#[test]
fn a_task_is_stopped_at_its_timeout_and_its_worker_replaced() {
    let pool = pool(1);
    let options = pool.options().timeout(Duration::from_millis(30)).grace(Duration::ZERO);
    let slow = options.submit(sleep_ms::task, AN_HOUR_MS).unwrap();
    let next = pool.submit(fib::task, 10).unwrap();
    assert_eq!(slow.result(), Err(TaskError::TimedOut));
    assert_eq!(next.result(), Ok(55));
    assert_eq!(pool.statistics().timed_out, 1);
}

#[test]
fn a_cancelled_pending_task_never_starts() {
    let pool = pool(1);
    let long = pool.submit(sleep_ms::task, AN_HOUR_MS).unwrap();
    until_running(&long);
    let pending: Vec<_> = (0..100).map(|_| pool.submit(nothing::task, ()).unwrap()).collect();
    assert!(pending.iter().all(Future::cancel));
    assert!(!long.cancel(), "a plain cancel leaves a running task alone");
    assert!(pending.into_iter().all(|future| future.result() == Err(TaskError::Cancelled)));
    assert!(long.cancel_running(Duration::ZERO));
    assert_eq!(long.result(), Err(TaskError::Cancelled));
    assert_eq!(pool.submit(fib::task, 10).unwrap().result(), Ok(55));
    pool.shutdown();
    assert_eq!(pool.statistics().replied, 1);
}

#[test]
fn a_task_that_looks_whether_to_stop_keeps_its_worker() {
    let pool = pool(1);
    let before = pool.submit(worker_pid::task, ()).unwrap().result();
    let endless = pool.submit(until_stopped::task, ()).unwrap();
    until_running(&endless);
    assert!(endless.cancel_running(Duration::from_secs(3_600)));
    assert_eq!(endless.result(), Err(TaskError::Cancelled));
    assert_eq!(pool.submit(worker_pid::task, ()).unwrap().result(), before);
    pool.shutdown();
    assert_eq!(pool.statistics().workers_died, 0);
}

#[test]
fn waits_know_that_a_panic_is_a_failure() {
    let pool = pool(2);
    let long = pool.submit(sleep_ms::task, AN_HOUR_MS).unwrap();
    let bad = pool.options().name("bad").submit(fail::task, "salt".to_owned()).unwrap();
    assert_eq!(bad.name(), Some("bad"));
    let mut futures = [bad];
    let ended = wait(&mut futures, None, ReturnWhen::FirstException);
    assert_eq!(ended.done, [0]);
    let mut futures = [long, pool.submit(nothing::task, ()).unwrap()];
    let ended = wait(&mut futures, None, ReturnWhen::FirstCompleted);
    assert_eq!((ended.done, ended.pending), (vec![1], vec![0]));
    pool.kill();
}

#[test]
fn futures_tell_when_and_where_their_task_ran() {
    let pool = pool(1);
    let mut futures = [pool.submit(worker_pid::task, ()).unwrap()];
    assert_eq!(futures[0].name(), Some("process_pool::worker_pid"));
    wait(&mut futures, None, ReturnWhen::AllCompleted);
    let [future] = futures;
    let times = future.times().unwrap();
    assert!(times.queued_ns <= times.started_ns && times.started_ns <= times.finished_ns);
    assert_eq!(future.result(), Ok(times.worker_pid));
}

#[test]
fn workers_with_a_quota_are_replaced_and_nothing_is_lost() {
    let pool = ProcessPool::builder().max_workers(2).max_tasks_per_worker(5).build().unwrap();
    let fibs = pool.map(fib::task, (0..50).map(|n| n % 10)).map(Result::unwrap).sum::<u64>();
    assert_eq!(fibs, 5 * (0..10).map(fib).sum::<u64>());
    pool.shutdown();
    assert!(pool.statistics().workers_started >= 10);
    assert_eq!(pool.statistics().workers_died, 0);
}

#[test]
fn a_warm_start_needs_no_task() {
    let pool = ProcessPool::builder().max_workers(2).warm_start(true).build().unwrap();
    while pool.workers().iter().filter(|worker| worker.ready).count() < 2 {
        thread::yield_now();
    }
    assert_eq!(pool.statistics().submitted, 0);
    pool.shutdown();
    assert_eq!(pool.statistics().workers_died, 0);
}

#[test]
fn a_task_may_have_a_pool_of_its_own() {
    let future = pool(1).submit(sum_in_a_pool_of_its_own::task, 10).unwrap();
    assert_eq!(future.result(), Ok((0..10).map(fib).sum()));
}

#[test]
fn a_hundred_thousand_tasks_all_end() {
    let pool = pool(2);
    let sum: u64 = pool.map(fib::task, (0..100_000).map(|n| n % 5)).map(Result::unwrap).sum();
    assert_eq!(sum, 20_000 * (0..5).map(fib).sum::<u64>());
    pool.shutdown();
    let statistics = pool.statistics();
    assert_eq!((statistics.submitted, statistics.replied), (100_000, 100_000));
    assert_eq!((statistics.pending, statistics.in_lanes), (0, 0));
}

#[test]
fn threads_and_processes_give_the_same() {
    let threads = ThreadPool::new(2).unwrap();
    let processes = pool(2);
    let here = (0..10).map(|n| threads.submit(fib::task, n).unwrap());
    let there = (0..10).map(|n| processes.submit(fib::task, n).unwrap());
    // Futures of both kinds are one type.
    let sum: u64 = as_completed(here.chain(there)).map(|future| future.result().unwrap()).sum();
    assert_eq!(sum, 2 * (0..10).map(fib).sum::<u64>());
    let panic = threads.submit(fail::task, "rice".to_owned()).unwrap().result();
    assert!(matches!(panic, Err(TaskError::Panicked { .. })));
    threads.shutdown();
    assert_eq!(threads.submit(nothing::task, ()).unwrap_err(), SubmitError::Closed);
}
