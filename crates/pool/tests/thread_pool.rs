//! The thread pool, its futures and the waits over them, from outside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use manyhands_pool::error::TaskError;
use manyhands_pool::future::Future;
use manyhands_pool::thread_pool::ThreadPool;
use manyhands_pool::wait::{ReturnWhen, as_completed, wait};

#[test]
fn results_come_back_to_their_futures() {
    let pool = ThreadPool::new(3);
    let futures: Vec<_> = (0..1_000).map(|n| pool.submit(move || n * 2).unwrap()).collect();
    for (n, future) in futures.into_iter().enumerate() {
        assert_eq!(future.result(), Ok(n * 2));
    }
}

#[test]
fn a_panic_fails_its_own_task_with_message_and_place() {
    let pool = ThreadPool::new(1);
    let broken = pool.submit(|| -> u8 { panic!("burnt") }).unwrap();
    let Err(TaskError::Panicked { message, location }) = broken.result() else {
        panic!("not a panic")
    };
    assert_eq!(message, "burnt");
    assert!(location.unwrap().contains("thread_pool.rs"));
    assert_eq!(pool.submit(|| 1).unwrap().result(), Ok(1));
}

#[test]
fn an_idle_thread_is_reused() {
    let pool = ThreadPool::new(4);
    for n in 0..3 {
        assert_eq!(pool.submit(move || n).unwrap().result(), Ok(n));
        while pool.statistics().n_idle == 0 {
            std::thread::yield_now();
        }
    }
    assert_eq!(pool.statistics().n_threads, 1);
}

#[test]
fn a_cancelled_task_never_starts() {
    let pool = ThreadPool::new(1);
    let gate = Arc::new(Barrier::new(2));
    let at_gate = Arc::clone(&gate);
    let blocker = pool.submit(move || at_gate.wait().is_leader()).unwrap();
    let waiting = pool.submit(|| panic!("ran")).unwrap();
    assert!(waiting.cancel());
    gate.wait();
    assert!(blocker.result().is_ok());
    assert_eq!(waiting.result(), Err(TaskError::Cancelled));
}

#[test]
fn a_result_that_is_late_gives_the_future_back() {
    let pool = ThreadPool::new(1);
    let (open, gate) = mpsc::channel::<()>();
    let future = pool.submit(move || gate.recv().is_ok()).unwrap();
    let future = future.result_timeout(Duration::from_millis(5)).unwrap_err();
    open.send(()).unwrap();
    assert_eq!(future.result(), Ok(true));
}

#[test]
fn a_running_task_that_is_cancelled_ends_its_future_at_once() {
    let pool = ThreadPool::new(1);
    let (open, gate) = mpsc::channel::<()>();
    let future = pool.submit(move || gate.recv().is_ok()).unwrap();
    while !future.is_running() {
        std::thread::yield_now();
    }
    assert!(!future.cancel());
    assert!(future.cancel_running(Duration::ZERO));
    assert_eq!(future.result(), Err(TaskError::Cancelled));
    open.send(()).unwrap();
}

#[test]
fn a_pool_used_inside_its_own_task_is_helped_along() {
    fn fib(pool: &Arc<ThreadPool>, n: u32) -> u32 {
        if n < 2 {
            return n;
        }
        let inner = Arc::clone(pool);
        let left = pool.submit(move || fib(&inner, n - 1)).unwrap();
        let right = fib(pool, n - 2);
        left.result().unwrap() + right
    }
    let pool = Arc::new(ThreadPool::new(1));
    let inner = Arc::clone(&pool);
    assert_eq!(pool.submit(move || fib(&inner, 10)).unwrap().result(), Ok(55));
}

#[test]
fn waits_over_many_inside_a_task_are_helped_along() {
    let pool = Arc::new(ThreadPool::new(1));
    let inner = Arc::clone(&pool);
    let outer = pool
        .submit(move || {
            let mut futures: Vec<_> = (0..5).map(|n| inner.submit(move || n).unwrap()).collect();
            let ended = wait(&mut futures, None, ReturnWhen::AllCompleted);
            assert_eq!(ended.done.len(), 5);
            let again: Vec<_> = (0..5).map(|n| inner.submit(move || n).unwrap()).collect();
            as_completed(again).map(|future| future.result().unwrap()).sum::<i32>()
        })
        .unwrap();
    assert_eq!(outer.result(), Ok(10));
}

#[test]
fn shutdown_waits_for_queued_work_and_refuses_more() {
    let pool = ThreadPool::new(2);
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let ran = Arc::clone(&ran);
        pool.submit(move || ran.fetch_add(1, Ordering::SeqCst)).unwrap();
    }
    pool.shutdown(true, false);
    assert_eq!(ran.load(Ordering::SeqCst), 100);
    assert!(pool.submit(|| ()).is_err());
}

#[test]
fn shutdown_can_cancel_what_waits() {
    let pool = ThreadPool::new(1);
    let gate = Arc::new(Barrier::new(2));
    let at_gate = Arc::clone(&gate);
    let blocker = pool.submit(move || at_gate.wait().is_leader()).unwrap();
    while !blocker.is_running() {
        std::thread::yield_now();
    }
    let waiting: Vec<Future<()>> = (0..9).map(|_| pool.submit(|| ()).unwrap()).collect();
    pool.shutdown(false, true);
    assert!(waiting.iter().all(Future::is_cancelled));
    gate.wait();
    pool.shutdown(true, false);
    assert!(blocker.is_done());
}

#[test]
fn a_dropped_pool_finishes_what_was_queued() {
    let pool = ThreadPool::new(1);
    let futures: Vec<_> = (0..50).map(|n| pool.submit(move || n).unwrap()).collect();
    drop(pool);
    let sum: i32 = futures.into_iter().map(|future| future.result().unwrap()).sum();
    assert_eq!(sum, (0..50).sum());
}

#[test]
fn wait_returns_at_the_first_failure_if_asked() {
    let pool = ThreadPool::new(2);
    let (open, gate) = mpsc::channel::<()>();
    let mut futures = vec![
        pool.submit(move || gate.recv().unwrap_or(())).unwrap(),
        pool.submit(|| panic!("first")).unwrap(),
    ];
    let ended = wait(&mut futures, None, ReturnWhen::FirstException);
    assert_eq!((ended.done, ended.pending), (vec![1], vec![0]));
    drop(open);
}

#[test]
fn wait_gives_up_at_its_timeout() {
    let pool = ThreadPool::new(1);
    let (open, gate) = mpsc::channel::<()>();
    let mut futures = vec![pool.submit(move || gate.recv().unwrap_or(())).unwrap()];
    let ended = wait(&mut futures, Some(Duration::from_millis(5)), ReturnWhen::AllCompleted);
    assert!(ended.done.is_empty());
    drop(open);
}

#[test]
fn a_callback_runs_once_and_its_panic_concerns_nobody() {
    let pool = ThreadPool::new(1);
    let future = pool.submit(|| 3).unwrap();
    let (tell, told) = mpsc::channel();
    future.on_done(|| panic!("in a callback"));
    future.on_done(move || tell.send(()).unwrap());
    told.recv().unwrap();
    assert_eq!(future.result(), Ok(3));
    assert_eq!(pool.submit(|| 4).unwrap().result(), Ok(4));
}
