//! Values of the program whose destructors or codecs panic: scopes end, workers and futures live.

use std::sync::{Arc, mpsc};

use manyhands::queue::Queue;
use manyhands::{ProcessPool, TaskError, ThreadPool};
use serde::{Deserialize, Deserializer, Serialize};

manyhands::test_entry!();

/// Panics when dropped, except in this process while a panic unwinds already.
#[derive(Debug, Serialize, Deserialize)]
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any(format!("bomb {}", self.0));
        }
    }
}

/// Cannot be read.
#[derive(Debug, Serialize)]
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("unreadable")
    }
}

#[manyhands::task]
fn make_bomb(n: u32) -> Bomb {
    Bomb(n)
}

#[manyhands::task]
fn take_bomb(bomb: Bomb) -> u32 {
    let n = bomb.0;
    std::mem::forget(bomb);
    n
}

#[manyhands::task]
fn drop_bomb(bomb: Bomb) -> u32 {
    bomb.0
}

#[manyhands::task]
fn panic_with_bomb(n: u32) {
    std::panic::panic_any(Bomb(n));
}

#[manyhands::task]
fn make_unreadable() -> Unreadable {
    Unreadable
}

#[manyhands::task]
fn take_unreadable(_value: Unreadable) {}

#[manyhands::task]
fn worker() -> u32 {
    std::process::id()
}

fn is_panic<T>(result: &Result<T, TaskError>, message: &str) -> bool {
    matches!(result, Err(TaskError::Panicked { message: said, .. }) if said.contains(message))
}

#[test]
fn a_worker_process_outlives_the_values_of_its_tasks() {
    let pool = ProcessPool::new(1).expect("a pool");
    let worker_id = || pool.submit(worker::task, ()).unwrap().result().expect("a worker");
    let before = worker_id();
    // The worker's copy is dropped there; this one never.
    let made = pool.submit(make_bomb::task, 1).unwrap().result().expect("a bomb");
    assert_eq!(made.0, 1);
    std::mem::forget(made);
    drop(pool.submit(make_bomb::task, 2).unwrap());
    let taken = pool.map(take_bomb::task, [Bomb(3), Bomb(4)]);
    assert_eq!(taken.map(Result::unwrap).collect::<Vec<_>>(), [3, 4]);
    let dropped = pool.submit(panic_with_bomb::task, 5).unwrap().result();
    assert!(is_panic(&dropped, "not text"), "{dropped:?}");
    let unreadable = pool.submit(make_unreadable::task, ()).unwrap().result();
    assert!(is_panic(&unreadable.map(drop), "unreadable"));
    let unreadable = pool.submit(take_unreadable::task, Unreadable).unwrap().result();
    assert!(is_panic(&unreadable, "unreadable"));
    assert_eq!(worker_id(), before);
}

#[test]
fn a_task_that_drops_a_bomb_has_panicked() {
    let pool = ThreadPool::new(1).expect("a pool");
    let failed = pool.submit(drop_bomb::task, Bomb(1)).unwrap().result();
    assert!(is_panic(&failed, "bomb 1"), "{failed:?}");
    let kept = pool.submit(take_bomb::task, Bomb(2)).unwrap().result();
    assert_eq!(kept, Ok(2));
}

#[test]
fn a_scope_ends_whatever_its_threads_return() {
    let ended = manyhands::scope(|group| {
        drop(group.spawn("dropped", || Ok::<_, String>(Bomb(1))));
        let joined = group.spawn("joined", || Ok::<_, String>(Bomb(2)));
        // Nobody takes it: the thread's end or this block's does.
        group.spawn("left", || Ok::<_, String>(Bomb(3)));
        std::mem::forget(joined.join());
        7
    });
    assert_eq!(ended.expect("no thread has failed"), 7);
}

#[test]
fn a_scope_tells_of_a_panic_whose_payload_panics() {
    let failures = manyhands::scope(|group| {
        group.spawn("one", || -> () { std::panic::panic_any(Bomb(1)) });
    });
    let failures = failures.expect_err("it panicked");
    assert!(failures.list()[0].is_panic());
}

/// An error with a destructor that panics.
#[derive(Debug)]
struct Bad(#[expect(dead_code, reason = "dropped")] Bomb);

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bad")
    }
}

impl std::error::Error for Bad {}

#[test]
fn a_scope_whose_body_panics_drops_the_failures_of_its_threads_in_peace() {
    let panic = std::panic::catch_unwind(|| {
        manyhands::scope(|group| {
            let failed = group.spawn("failed", || Err::<(), _>(Bad(Bomb(1))));
            assert!(failed.join().is_none());
            panic!("the body's own");
        })
    });
    let panic = panic.expect_err("it panicked");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the body's own"));
}

#[test]
fn a_queue_that_drops_a_bomb_at_its_shutdown_leaves_no_putter_asleep() {
    let queue = Queue::bounded(1);
    queue.put(Bomb(0)).expect("room");
    std::thread::scope(|scope| {
        let putters = [1, 2].map(|n| {
            let queue = &queue;
            scope.spawn(move || queue.put(Bomb(n)).map_err(std::mem::forget))
        });
        while queue.statistics().n_putters_waiting < 2 {
            std::thread::yield_now();
        }
        let shutdown = std::panic::AssertUnwindSafe(|| queue.shutdown(true));
        assert!(std::panic::catch_unwind(shutdown).is_err(), "the bomb is the caller's to see");
        for putter in putters {
            assert_eq!(putter.join().expect("it gets its item back"), Err(()));
        }
    });
}

#[test]
fn a_callback_of_a_process_pool_may_wait_for_the_pool_and_a_shutdown_waits_for_it() {
    let pool = Arc::new(ProcessPool::new(1).expect("a pool"));
    let (tell, told) = mpsc::channel();
    let same = Arc::clone(&pool);
    let future = pool.submit(take_bomb::task, Bomb(1)).expect("it is taken");
    future.on_done(move || {
        let inner = same.submit(worker::task, ()).map(|inner| inner.result().is_ok());
        tell.send(inner).expect("the test listens");
    });
    assert_eq!(future.result(), Ok(1));
    pool.shutdown();
    // It was open when the callback began, or is told that it no longer is.
    assert!(told.try_recv().is_ok(), "the shutdown has waited");
}
