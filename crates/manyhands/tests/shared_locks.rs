//! The battery of the shared locks: in one process, across processes, as what travels.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use manyhands::{
    OwnerDied, Process, ProcessPool, SharedBarrier, SharedCondvar, SharedEvent, SharedMutex,
    SharedQueue, SharedSemaphore,
};

manyhands::test_entry!();

/// Two numbers that are equal whenever nobody is inside.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Pair {
    a: u64,
    b: u64,
}

const NAP: Duration = Duration::from_millis(5);

#[manyhands::task]
fn count(pair: SharedMutex<Pair>, n: u64) {
    for _ in 0..n {
        let mut pair = pair.lock().expect("nobody dies here");
        pair.a += 1;
        assert_eq!(pair.a, pair.b + 1);
        pair.b += 1;
    }
}

#[manyhands::task]
fn hold_until(mutex: SharedMutex<u32>, has_it: SharedEvent, enough: SharedEvent) {
    let _guard = mutex.lock().expect("nobody dies here");
    has_it.set();
    enough.wait();
}

#[manyhands::task]
fn ping_pong(ball: SharedMutex<u32>, turn: SharedCondvar, mine: u32, n: u32) {
    for _ in 0..n {
        let guard = ball.lock().expect("nobody dies here");
        let mut guard = turn.wait_while(guard, |at| *at % 2 != mine).expect("nobody dies here");
        *guard += 1;
        turn.notify_all();
    }
}

#[manyhands::task]
fn use_an_oven(ovens: SharedSemaphore, inside: SharedMutex<[u32; 2]>) {
    for _ in 0..50 {
        let _oven = ovens.acquire();
        {
            let mut inside = inside.lock().expect("nobody dies here");
            inside[0] += 1;
            inside[1] = inside[1].max(inside[0]);
        }
        inside.lock().expect("nobody dies here")[0] -= 1;
    }
}

#[manyhands::task]
fn pass_barrier(barrier: SharedBarrier, n: u32) -> u32 {
    (0..n).map(|_| u32::from(barrier.wait().expect("all come"))).sum()
}

#[manyhands::task]
fn unlock_what_comes(mutexes: SharedQueue<SharedMutex<u32>>) {
    while let Ok(mutex) = mutexes.get() {
        *mutex.lock().expect("nobody dies here") += 1;
    }
}

#[manyhands::task]
fn make_one() -> SharedMutex<i16> {
    SharedMutex::named("from a task", -7).expect("a mutex")
}

#[manyhands::task]
fn panic_inside(mutex: SharedMutex<u32>) {
    let mut guard = mutex.lock().expect("nobody dies here");
    *guard = 5;
    panic!("no rice");
}

fn pair() -> SharedMutex<Pair> {
    SharedMutex::named("pair", Pair { a: 0, b: 0 }).expect("a mutex")
}

#[test]
fn threads_of_several_processes_count_and_lose_nothing() {
    let pair = pair();
    let start = |_| Process::spawn(count::task, (pair.clone(), 2_000));
    let processes: Vec<_> = (0..3).map(start).collect::<Result<_, _>>().expect("processes");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| count(pair.clone(), 2_000));
        }
    });
    processes.into_iter().for_each(|process| process.join().expect("it ends"));
    assert_eq!(*pair.lock().expect("all have ended"), Pair { a: 10_000, b: 10_000 });
    assert!(pair.statistics().acquisitions >= 10_000);
}

#[test]
fn what_another_process_has_is_waited_for_no_longer_than_told() {
    let mutex = SharedMutex::new(0).expect("a mutex");
    let (has_it, enough) = (SharedEvent::new().expect("one"), SharedEvent::new().expect("one"));
    let args = (mutex.clone(), has_it.clone(), enough.clone());
    let process = Process::spawn(hold_until::task, args).expect("a process");
    has_it.wait();
    assert!(mutex.try_lock().is_none());
    assert!(mutex.lock_for(NAP).is_none());
    enough.set();
    drop(mutex.lock().expect("it was given back"));
    process.join().expect("it ends");
    assert!(mutex.lock_for(NAP).is_some_and(|locked| locked.is_ok()));
}

#[test]
fn a_panic_gives_the_mutex_back_and_is_no_death() {
    let mutex = SharedMutex::new(0).expect("a mutex");
    let process = Process::spawn(panic_inside::task, mutex.clone()).expect("a process");
    process.join().expect_err("it panicked");
    assert_eq!(*mutex.lock().expect("it was given back"), 5);
}

#[test]
fn mutexes_go_through_queues_and_come_from_tasks() {
    let queue = SharedQueue::unbounded().expect("a queue");
    let process = Process::spawn(unlock_what_comes::task, queue.clone()).expect("a process");
    let kept: Vec<_> = (0..10).map(|n| SharedMutex::new(n).expect("a mutex")).collect();
    for mutex in &kept {
        queue.put(mutex).expect("the queue is open");
        // Nobody but the message has this one.
        queue.put(&SharedMutex::new(0).expect("a mutex")).expect("the queue is open");
    }
    queue.shutdown();
    process.join().expect("it ends with the queue");
    let sum: u32 = kept.iter().map(|mutex| *mutex.lock().expect("nobody died")).sum();
    assert_eq!(sum, 55);
    let pool = ProcessPool::new(1).expect("a pool");
    let made = pool.submit(make_one::task, ()).expect("a task").result().expect("a mutex");
    assert_eq!(*made.lock().expect("its maker gave it back"), -7);
    assert!(format!("{made:?}").contains("from a task"));
}

#[test]
fn a_mutex_is_not_taken_for_one_of_another_size_or_alignment() {
    let queue = SharedQueue::<SharedMutex<u32>>::unbounded().expect("a queue");
    queue.put(&SharedMutex::new(1).expect("a mutex")).expect("the queue is open");
    let bytes = postcard_of(&SharedMutex::new(1_u32).expect("a mutex"));
    assert!(postcard::from_bytes::<SharedMutex<u64>>(&bytes).is_err());
    assert!(postcard::from_bytes::<SharedMutex<[u16; 2]>>(&bytes).is_err());
    assert!(postcard::from_bytes::<SharedEvent>(&bytes).is_err());
    // A name which this process made itself keeps what it names.
    assert!(postcard::from_bytes::<SharedMutex<i32>>(&bytes).is_ok());
}

fn postcard_of<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("a handle is bytes")
}

#[test]
fn data_lies_as_its_type_wants_it() {
    #[derive(Clone, Copy, Pod, Zeroable)]
    #[repr(C, align(64))]
    struct Line([u8; 64]);
    let mutex = SharedMutex::new(Line([7; 64])).expect("a mutex");
    let guard = mutex.lock().expect("nobody dies here");
    assert!(std::ptr::from_ref(&*guard).is_aligned() && guard.0 == [7; 64]);
    let nothing = SharedMutex::new(()).expect("a mutex");
    drop(nothing.lock());
}

#[test]
fn two_processes_take_turns_at_a_condvar() {
    let (ball, turn) = (SharedMutex::new(0).expect("one"), SharedCondvar::new().expect("one"));
    let args = |mine: u32| (ball.clone(), turn.clone(), mine, 200);
    let process = Process::spawn(ping_pong::task, args(1)).expect("a process");
    let (ball, turn, mine, n) = args(0);
    ping_pong(ball.clone(), turn, mine, n);
    process.join().expect("it ends");
    assert_eq!(*ball.lock().expect("nobody dies here"), 400);
}

#[test]
fn a_wait_at_a_condvar_ends_at_its_timeout_with_the_mutex_taken() {
    let (mutex, condvar) = (SharedMutex::new(0).expect("one"), SharedCondvar::new().expect("one"));
    let guard = mutex.lock().expect("nobody dies here");
    let (guard, was_notified) = condvar.wait_for(guard, NAP).expect("nobody dies here");
    assert!(!was_notified && mutex.try_lock().is_none());
    drop(guard);
    assert!(mutex.try_lock().is_some());
}

#[test]
fn each_notification_wakes_one_thread() {
    let (mutex, condvar) = (SharedMutex::new(0).expect("one"), SharedCondvar::new().expect("one"));
    let (n_waiting, n_woken) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let guard = mutex.lock().expect("nobody dies here");
                n_waiting.fetch_add(1, Ordering::SeqCst);
                let guard = condvar.wait(guard).expect("nobody dies here");
                n_woken.fetch_add(1, Ordering::SeqCst);
                drop(guard);
            });
        }
        let is_waiting = |n| {
            let _guard = mutex.lock().expect("nobody dies here");
            n_waiting.load(Ordering::SeqCst) == n
        };
        while !is_waiting(3) {
            std::thread::yield_now();
        }
        condvar.notify_one();
        while n_woken.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(n_woken.load(Ordering::SeqCst), 1);
        condvar.notify_all();
    });
    assert_eq!(n_woken.into_inner(), 3);
}

#[test]
fn a_semaphore_lets_in_as_many_as_it_has_permits() {
    let ovens = SharedSemaphore::new(2).expect("a semaphore");
    let inside = SharedMutex::new([0; 2]).expect("a mutex");
    let start = |_| Process::spawn(use_an_oven::task, (ovens.clone(), inside.clone()));
    let processes: Vec<_> = (0..4).map(start).collect::<Result<_, _>>().expect("processes");
    processes.into_iter().for_each(|process| process.join().expect("it ends"));
    let [now, most] = *inside.lock().expect("nobody dies here");
    assert!(now == 0 && (1..=2).contains(&most), "{now} inside, {most} at most");
    assert_eq!(ovens.permits(), 2);
}

#[test]
fn permits_are_kept_taken_and_released() {
    let semaphore = SharedSemaphore::new(1).expect("a semaphore");
    let permit = semaphore.try_acquire().expect("one");
    assert!(semaphore.try_acquire().is_none());
    assert!(semaphore.acquire_for(NAP).is_none());
    permit.forget();
    assert_eq!(semaphore.permits(), 0);
    semaphore.release(3);
    drop(semaphore.acquire());
    assert_eq!(semaphore.clone().permits(), 3);
    assert!(semaphore.statistics().acquisitions >= 2);
}

#[test]
fn an_event_is_set_cleared_and_waited_for() {
    let event = SharedEvent::new().expect("an event");
    assert!(!event.is_set() && !event.wait_for(NAP));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| event.wait());
        event.set();
        waiter.join().expect("it was released");
    });
    event.clear();
    assert!(!event.is_set());
}

#[test]
fn one_of_each_round_comes_last_at_a_barrier() {
    let barrier = SharedBarrier::new(3).expect("a barrier");
    let start = |_| Process::spawn(pass_barrier::task, (barrier.clone(), 100));
    let processes: Vec<_> = (0..2).map(start).collect::<Result<_, _>>().expect("processes");
    let mine = pass_barrier(barrier.clone(), 100);
    let theirs: u32 = processes.into_iter().map(|process| process.join().expect("a sum")).sum();
    assert_eq!(mine + theirs, 100);
}

#[test]
fn a_barrier_breaks_at_a_timeout_and_is_whole_again_after_a_reset() {
    let barrier = SharedBarrier::new(2).expect("a barrier");
    barrier.wait_for(NAP).expect_err("nobody else comes");
    assert!(barrier.is_broken());
    barrier.wait().expect_err("it is broken");
    barrier.reset();
    std::thread::scope(|scope| {
        scope.spawn(|| barrier.wait().expect("both come"));
        barrier.wait().expect("both come");
    });
    barrier.abort();
    assert!(barrier.wait().is_err() && barrier.n_waiting() == 0);
}

#[test]
fn a_result_is_got_without_a_word_about_deaths() {
    let mutex = SharedMutex::new(1).expect("a mutex");
    assert_eq!(*mutex.lock().unwrap_or_else(OwnerDied::into_inner), 1);
}
