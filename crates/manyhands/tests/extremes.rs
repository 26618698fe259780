//! Sizes, counts and times at the ends of their types: each works, or is refused with a sentence.

use std::panic::catch_unwind;
use std::time::Duration;

use manyhands::queue::{Fifo, LifoQueue, Nothing, PriorityQueue, Queue};
use manyhands::sync::{Barrier, Condvar, Event, Mutex, ReentrantMutex, RwLock, Semaphore};
use manyhands::{
    Executor, Pipe, ProcessPool, ReturnWhen, ShareError, SharedBarrier, SharedCondvar, SharedEvent,
    SharedMutex, SharedQueue, SharedSemaphore, SharedSlice, SubmitError, ThreadPool, wait,
};

manyhands::test_entry!();

const COUNTS: [usize; 7] = [0, 1, u32::MAX as usize, 1 << 32, 1 << 62, 1 << 63, usize::MAX];

const EVER: Duration = Duration::MAX;

#[manyhands::task]
fn double(n: u64) -> u64 {
    n.wrapping_mul(2)
}

#[manyhands::task]
fn answer() -> u32 {
    42
}

fn check_map(pool: &impl Executor) {
    let doubled = pool.map(double::task, 0..3).map(Result::unwrap);
    assert_eq!(doubled.collect::<Vec<_>>(), [0, 2, 4]);
    for n_in_flight in COUNTS {
        let map = pool.options().in_flight(n_in_flight).map(double::task, 0..3);
        assert_eq!(map.map(Result::unwrap).sum::<u64>(), 6);
    }
}

#[test]
fn a_thread_pool_may_be_allowed_any_number_of_threads() {
    for n_threads in COUNTS {
        let pool = ThreadPool::new(n_threads).expect("a pool");
        assert_eq!(pool.max_workers(), n_threads.max(1));
        check_map(&pool);
        pool.shutdown();
    }
}

#[test]
fn a_process_pool_may_be_allowed_any_number_of_processes_and_tasks() {
    for n in COUNTS {
        let builder = ProcessPool::builder().max_workers(n).max_tasks_per_worker(n as u64);
        let pool = builder.build().expect("a pool");
        assert_eq!(pool.max_workers(), n.max(1));
        check_map(&pool);
        pool.shutdown();
    }
}

#[test]
fn a_map_of_a_process_pool_submits_a_bounded_number_ahead() {
    let pool = ProcessPool::new(1).expect("a pool");
    // Without an end.
    let doubled = pool.map(double::task, 0..).take(3).map(Result::unwrap);
    assert_eq!(doubled.collect::<Vec<_>>(), [0, 2, 4]);
    pool.cancel_pending();
    pool.shutdown();
}

#[test]
fn a_stack_of_any_size_is_a_thread_or_a_sentence() {
    for n_bytes in COUNTS {
        let pool =
            ThreadPool::builder().max_workers(1).stack_size(n_bytes).build().expect("a pool");
        match pool.spawn(|| 1) {
            Ok(future) => assert_eq!(future.result(), Ok(1)),
            Err(SubmitError::Broken(why)) => assert!(why.contains("thread could not be started")),
            Err(other) => panic!("{n_bytes} bytes of stack: {other}"),
        }
        pool.shutdown();
        assert_eq!(pool.spawn(|| 1).expect_err("it is shut down"), SubmitError::Closed);
    }
}

#[test]
fn timeouts_and_graces_may_be_as_long_as_a_duration_can_say() {
    let pool = ProcessPool::new(1).expect("a pool");
    let options = pool.options().timeout(EVER).grace(EVER);
    let future = options.submit(answer::task, ()).expect("it is taken");
    assert_eq!(future.result_timeout(EVER).expect("in time"), Ok(42));
    let future = options.submit(answer::task, ()).expect("it is taken");
    let mut futures = [future];
    assert_eq!(wait(&mut futures, Some(EVER), ReturnWhen::AllCompleted).done, [0]);
    assert!(!futures[0].cancel_running(EVER));
    pool.shutdown();
}

#[test]
fn waits_for_locks_may_be_as_long_as_a_duration_can_say() {
    assert!(Mutex::new(()).lock_for(EVER).is_some());
    assert!(ReentrantMutex::new(()).lock_for(EVER).is_some());
    assert!(RwLock::new(()).read_for(EVER).is_some());
    assert!(RwLock::new(()).write_for(EVER).is_some());
    assert!(Semaphore::new(1).acquire_for(EVER).is_some());
    assert_eq!(Barrier::new(1).wait_for(EVER), Ok(true));
    let event = Event::new();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| event.wait_for(EVER));
        event.set();
        assert!(waits.join().expect("it ends"));
    });
    let (mutex, condvar) = (Mutex::new(false), Condvar::new());
    std::thread::scope(|scope| {
        let mut guard = mutex.lock();
        scope.spawn(|| {
            *mutex.lock() = true;
            condvar.notify_one();
        });
        while !*guard {
            condvar.wait_for(&mut guard, EVER);
        }
    });
}

#[test]
fn waits_for_what_processes_share_may_be_as_long_as_a_duration_can_say() {
    let mutex = SharedMutex::new(0_u32).expect("a mutex");
    assert!(mutex.lock_for(EVER).is_some());
    assert!(SharedSemaphore::new(1).expect("a semaphore").acquire_for(EVER).is_some());
    assert_eq!(SharedBarrier::new(1).expect("a barrier").wait_for(EVER), Ok(true));
    let event = SharedEvent::new().expect("an event");
    event.set();
    assert!(event.wait_for(EVER));
    let condvar = SharedCondvar::new().expect("a condvar");
    condvar.notify_all();
    let queue = SharedQueue::<u32>::bounded(1).expect("a queue");
    queue.put_timeout(&1, EVER).expect("room");
    assert_eq!(queue.get_timeout(EVER).expect("a value"), 1);
    let (one, other) = Pipe::<u32, u32>::pair().expect("a pipe");
    one.send_timeout(&1, EVER).expect("room");
    assert_eq!(other.receive_timeout(EVER).expect("a value"), 1);
}

fn is_refused<T>(make: impl FnOnce() -> T + std::panic::UnwindSafe) -> bool {
    let Err(panic) = catch_unwind(make) else { return false };
    let sentence = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let sentence = sentence.or_else(|| panic.downcast_ref::<String>().cloned());
    sentence.is_some_and(|sentence| !sentence.contains("overflow"))
}

#[test]
fn counts_of_permits_and_parties_are_refused_where_they_cannot_be_counted() {
    let most = u32::MAX / 2;
    for n in [1 << 31, u32::MAX] {
        assert!(is_refused(|| Semaphore::new(n)), "{n} permits");
        assert!(is_refused(|| SharedSemaphore::new(n)), "{n} shared permits");
        assert!(is_refused(|| SharedBarrier::new(n)), "{n} shared parties");
    }
    assert!(is_refused(|| Barrier::new(0)) && is_refused(|| SharedBarrier::new(0)));
    assert_eq!(Barrier::new(u32::MAX).n_waiting(), 0);
    for n in [1, most, u32::MAX] {
        let (semaphore, shared) = (Semaphore::new(most), SharedSemaphore::new(most));
        let shared = shared.expect("a semaphore");
        let release = std::panic::AssertUnwindSafe(|| semaphore.release(n));
        assert!(catch_unwind(release).is_err(), "{n} more");
        assert!(catch_unwind(std::panic::AssertUnwindSafe(|| shared.release(n))).is_err());
        assert_eq!((semaphore.permits(), shared.permits()), (most, most));
    }
}

#[test]
fn queues_may_have_any_limit_and_be_asked_for_any_number_of_items() {
    fn check<S: manyhands_queue::Store<u32>>(queue: &Queue<u32, S>) {
        queue.put(1).expect("it is open");
        assert_eq!(queue.get_many(usize::MAX, None).expect("an item"), [1]);
        assert_eq!(queue.try_get_many(usize::MAX, &mut Vec::new()), 0);
        assert_eq!(queue.get_for(Duration::ZERO), Err(Nothing::Empty));
        queue.put_for(2, EVER).expect("it is open");
        assert_eq!(queue.get_for(EVER).expect("an item"), 2);
        // More than was put counts as what was put, however often it is said.
        (0..3).for_each(|_| queue.note_done(usize::MAX));
        assert!(queue.task_done().is_err());
        queue.put(3).expect("it is open");
        assert_eq!(queue.n_unfinished(), 1);
    }
    assert!(is_refused(|| Queue::<u32>::bounded(0)));
    for maxsize in COUNTS {
        if maxsize > 0 {
            check(&Queue::bounded(maxsize));
        }
        check(&Queue::with_store(Fifo::new(maxsize)));
        check(&LifoQueue::last_first(maxsize));
        check(&PriorityQueue::smallest_first(maxsize));
    }
}

#[test]
fn what_processes_share_may_be_asked_for_in_any_size() {
    for n in COUNTS {
        let queue = SharedQueue::<u64>::bounded(n as u64).expect("a queue");
        queue.put(&1).expect("room");
        assert_eq!(queue.get().expect("a value"), 1);
    }
    for len in [usize::MAX, usize::MAX / 8, usize::MAX / 8 + 1, 1 << 63, 1 << 60, 1 << 50] {
        let refused = SharedSlice::<u64>::new(len);
        assert!(matches!(refused, Err(ShareError::OutOfMemory(_))), "{len} numbers");
    }
    assert!(SharedSlice::<u64>::new(0).expect("room for none").is_empty());
}
