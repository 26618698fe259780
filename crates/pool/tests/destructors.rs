//! Values of the program whose destructors panic: no thread of a pool ends, no future is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use manyhands_pool::error::TaskError;
use manyhands_pool::future::Future;
use manyhands_pool::thread_pool::ThreadPool;
use manyhands_pool::wait::as_completed;

/// Panics when dropped, with a payload that does so, too. Counts how often it was dropped.
struct Bomb(Option<Arc<AtomicUsize>>);

impl Drop for Bomb {
    fn drop(&mut self) {
        if let Some(n_dropped) = &self.0 {
            n_dropped.fetch_add(1, Ordering::SeqCst);
        }
        if !std::thread::panicking() {
            std::panic::panic_any(Bomb(None));
        }
    }
}

/// A pool of one thread, and how many bombs were dropped.
struct Bombed {
    pool: ThreadPool,
    n_dropped: Arc<AtomicUsize>,
}

impl Bombed {
    fn new() -> Self {
        Self { pool: ThreadPool::new(1), n_dropped: Arc::default() }
    }

    fn bomb(&self) -> Bomb {
        Bomb(Some(Arc::clone(&self.n_dropped)))
    }

    /// The only thread is in a task, until the barrier is passed.
    fn stop_thread(&self) -> (Arc<Barrier>, Future<()>) {
        let gate = Arc::new(Barrier::new(2));
        let at_gate = Arc::clone(&gate);
        let both = move || {
            at_gate.wait();
            at_gate.wait();
        };
        let blocker = self.pool.submit(both).unwrap();
        gate.wait();
        (gate, blocker)
    }

    /// So many bombs were dropped, and the thread that was started first has survived them.
    fn check(&self, n_dropped: usize) {
        let name = || std::thread::current().name().map(ToOwned::to_owned);
        assert_eq!(self.pool.submit(name).unwrap().result().unwrap().unwrap(), "pool-0");
        self.pool.shutdown(true, false);
        assert_eq!(self.pool.statistics().n_queued, 0);
        assert_eq!(self.n_dropped.load(Ordering::SeqCst), n_dropped);
    }
}

fn is_panic<T>(result: &Result<T, TaskError>) -> bool {
    matches!(result, Err(TaskError::Panicked { .. }))
}

#[test]
fn a_panic_whose_payload_panics_is_the_error_of_its_task() {
    let bombed = Bombed::new();
    let payload = bombed.bomb();
    let failed = bombed.pool.submit(|| -> () { std::panic::panic_any(payload) }).unwrap();
    assert!(is_panic(&failed.result()));
    bombed.check(1);
}

#[test]
fn a_result_that_nobody_wants_is_dropped_where_it_harms_nobody() {
    let bombed = Bombed::new();
    let (gate, blocker) = bombed.stop_thread();
    let result = bombed.bomb();
    drop(bombed.pool.submit(move || result).unwrap());
    gate.wait();
    blocker.result().unwrap();
    bombed.check(1);
}

#[test]
fn a_result_that_is_dropped_with_its_future_harms_nobody_either() {
    let bombed = Bombed::new();
    let result = bombed.bomb();
    let future = bombed.pool.submit(move || result).unwrap();
    future.wait_until(None);
    drop(future);
    bombed.check(1);
}

#[test]
fn the_result_of_a_task_that_was_cancelled_while_it_ran_harms_nobody() {
    let bombed = Bombed::new();
    let (gate, at_gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (begun, to_end, result) = (Arc::clone(&gate), Arc::clone(&at_gate), bombed.bomb());
    let running = bombed
        .pool
        .submit(move || {
            begun.wait();
            to_end.wait();
            result
        })
        .unwrap();
    gate.wait();
    assert!(running.cancel_running(std::time::Duration::ZERO));
    at_gate.wait();
    assert!(matches!(running.result(), Err(TaskError::Cancelled)));
    bombed.check(1);
}

#[test]
fn a_closure_whose_captured_value_panics_fails_its_task_only() {
    let bombed = Bombed::new();
    let captured = bombed.bomb();
    let failed = bombed
        .pool
        .submit(move || {
            let _kept = &captured;
            5
        })
        .unwrap();
    assert!(is_panic(&failed.result()));
    bombed.check(1);
}

#[test]
fn a_closure_that_was_cancelled_harms_nobody() {
    let bombed = Bombed::new();
    let (gate, blocker) = bombed.stop_thread();
    let cancelled: Vec<_> = (0..3)
        .map(|_| {
            let captured = bombed.bomb();
            bombed.pool.submit(move || drop(captured)).unwrap()
        })
        .collect();
    assert!(cancelled.iter().all(Future::cancel));
    let mut ended = as_completed(cancelled);
    assert!(ended.all(|future| future.result() == Err(TaskError::Cancelled)));
    gate.wait();
    blocker.result().unwrap();
    bombed.check(3);
}

#[test]
fn closures_that_a_shutdown_cancels_harm_nobody() {
    let bombed = Bombed::new();
    let (gate, blocker) = bombed.stop_thread();
    let submit = |_| {
        let captured = bombed.bomb();
        bombed.pool.submit(move || drop(captured)).unwrap()
    };
    let cancelled: Vec<_> = (0..3).map(submit).collect();
    bombed.pool.shutdown(false, true);
    for future in cancelled {
        assert_eq!(future.result(), Err(TaskError::Cancelled));
    }
    // One that comes too late is given back, with what it has.
    let late = bombed.bomb();
    assert!(bombed.pool.submit(move || drop(late)).is_err());
    gate.wait();
    blocker.result().unwrap();
    bombed.pool.shutdown(true, false);
    assert_eq!(bombed.n_dropped.load(Ordering::SeqCst), 4);
}

#[test]
fn callbacks_that_panic_concern_neither_each_other_nor_the_thread() {
    let bombed = Bombed::new();
    let (gate, blocker) = bombed.stop_thread();
    let (payload, captured) = (bombed.bomb(), bombed.bomb());
    let (tell, told) = mpsc::channel();
    blocker.on_done(move || std::panic::panic_any(payload));
    blocker.on_done(move || {
        let _kept = &captured;
    });
    blocker.on_done(move || tell.send(()).unwrap());
    gate.wait();
    told.recv().unwrap();
    blocker.result().unwrap();
    bombed.check(2);
}

#[test]
fn a_conversion_that_panics_is_the_error_of_its_task() {
    let pool = ThreadPool::new(1);
    let future = pool.submit(|| 1).unwrap();
    let converted: Future<u8> = future.convert(|_| panic!("undecodable"), |_| false);
    let Err(TaskError::Panicked { message, .. }) = converted.result() else {
        panic!("not a panic")
    };
    assert_eq!(message, "undecodable");
}
