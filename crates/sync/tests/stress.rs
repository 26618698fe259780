//! 64 threads on a few processors: nobody is inside with somebody else, nothing is lost, nobody is
//! left asleep (the test would hang, and the runner's watchdog end it).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use manyhands_sync::deadlock::{self, Description, EndedBy, Mode, Resource, Site};
use manyhands_sync::lock::{Hold, RawLock};
use manyhands_sync::sleep::{Sleeper, Wait, Waiting, interrupt};
use manyhands_sync::{Barrier, Condvar, Event, Mutex, ReentrantMutex, RwLock, Semaphore};
use manyhands_sys::futex::Private;
use manyhands_sys::thread_id;

const N_THREADS: u32 = 64;
const N_ROUNDS: u32 = 2000;

/// Runs `body` in many threads at once.
fn in_all_threads(body: impl Fn(u32) + Sync) {
    sleep_until_woken();
    thread::scope(|scope| {
        for idx in 0..N_THREADS {
            let body = &body;
            scope.spawn(move || body(idx));
        }
    });
}

/// A wait that looks for deadlocks comes up now and then, and a wake-up that was lost would only
/// come late.
fn sleep_until_woken() {
    deadlock::set_mode(Mode::Off);
}

#[test]
fn one_thread_at_a_time_holds_a_mutex_whether_it_was_patient_or_not() {
    let (n, n_gave_up) = (Mutex::new(0), AtomicU32::new(0));
    in_all_threads(|idx| {
        for round in 0..N_ROUNDS {
            let taken = if (idx + round) % 3 == 0 {
                n.lock_for(Duration::from_micros(50))
            } else {
                Some(n.lock())
            };
            match taken {
                Some(mut n) => {
                    let before = *n;
                    if round % 50 == 0 {
                        thread::yield_now();
                    }
                    *n = before + 1;
                }
                None => drop(n_gave_up.fetch_add(1, Ordering::Relaxed)),
            }
        }
    });
    assert_eq!(n.into_inner() + n_gave_up.into_inner(), N_THREADS * N_ROUNDS);
}

#[test]
fn a_reentrant_mutex_counts_its_depth_for_each_thread() {
    let n = ReentrantMutex::new(std::cell::Cell::new(0));
    in_all_threads(|_| {
        for _ in 0..N_ROUNDS {
            let outer = n.lock();
            let inner = n.lock();
            inner.set(inner.get() + 1);
            drop(outer);
        }
    });
    assert_eq!(n.into_inner().get(), N_THREADS * N_ROUNDS);
}

#[test]
fn never_more_threads_inside_than_there_are_permits() {
    const N_PERMITS: u32 = 3;
    let (permits, n_inside) = (Semaphore::new(N_PERMITS), AtomicU32::new(0));
    in_all_threads(|idx| {
        for round in 0..N_ROUNDS {
            let permit = if (idx + round) % 3 == 0 {
                permits.acquire_for(Duration::from_micros(50))
            } else {
                Some(permits.acquire())
            };
            if permit.is_some() {
                assert!(n_inside.fetch_add(1, Ordering::SeqCst) < N_PERMITS);
                n_inside.fetch_sub(1, Ordering::SeqCst);
            }
        }
    });
    assert_eq!(permits.permits(), N_PERMITS);
}

#[test]
fn a_writer_is_alone_and_readers_see_whole_values() {
    let pair = RwLock::new((0_u32, 0_u32));
    in_all_threads(|idx| {
        for round in 0..N_ROUNDS {
            if (idx + round) % 8 == 0 {
                let Some(mut pair) = pair.write_for(Duration::from_millis(1)) else { continue };
                pair.0 += 1;
                thread::yield_now();
                pair.1 += 1;
            } else {
                let pair = pair.read();
                assert_eq!(pair.0, pair.1);
            }
        }
    });
}

#[test]
fn what_is_put_in_comes_out_once() {
    const CAPACITY: usize = 4;
    let (items, not_full, not_empty) =
        (Mutex::new(VecDeque::new()), Condvar::new(), Condvar::new());
    let sum = Mutex::new(0_u64);
    in_all_threads(|idx| {
        for round in 0..N_ROUNDS {
            let mut items = items.lock();
            if idx % 2 == 0 {
                not_full.wait_while(&mut items, |items| items.len() == CAPACITY);
                items.push_back(u64::from(idx * N_ROUNDS + round));
                not_empty.notify_one();
            } else {
                not_empty.wait_while(&mut items, |items| items.is_empty());
                *sum.lock() += items.pop_front().unwrap();
                not_full.notify_one();
            }
        }
    });
    let put =
        (0..N_THREADS).step_by(2).flat_map(|idx| (0..N_ROUNDS).map(move |n| idx * N_ROUNDS + n));
    assert_eq!(sum.into_inner(), put.map(u64::from).sum());
    assert!(items.into_inner().is_empty());
}

#[test]
fn who_gives_up_waiting_takes_no_notification_along() {
    let (tokens, more) = (Mutex::new(0_u32), Condvar::new());
    in_all_threads(|idx| {
        for _ in 0..N_ROUNDS {
            let mut tokens = tokens.lock();
            if idx % 2 == 0 {
                *tokens += 1;
                more.notify_one();
                continue;
            }
            while *tokens == 0 {
                if idx % 4 == 1 {
                    more.wait_for(&mut tokens, Duration::from_micros(20));
                } else {
                    more.wait(&mut tokens);
                }
            }
            *tokens -= 1;
        }
    });
    assert_eq!(tokens.into_inner(), 0);
}

#[test]
fn all_threads_pass_each_round_of_a_barrier_together() {
    let (barrier, n_arrived) = (Barrier::new(N_THREADS), AtomicU32::new(0));
    in_all_threads(|_| {
        for round in 1..=50 {
            n_arrived.fetch_add(1, Ordering::Relaxed);
            barrier.wait().unwrap();
            assert!(n_arrived.load(Ordering::Relaxed) >= round * N_THREADS);
            barrier.wait().unwrap();
        }
    });
}

#[test]
fn an_event_set_and_cleared_at_once_releases_all_who_wait() {
    sleep_until_woken();
    let (event, n_left) = (Event::new(), AtomicU32::new(N_THREADS));
    thread::scope(|scope| {
        for _ in 0..N_THREADS {
            scope.spawn(|| {
                for _ in 0..20 {
                    event.wait();
                }
                n_left.fetch_sub(1, Ordering::Release);
            });
        }
        while n_left.load(Ordering::Acquire) > 0 {
            event.set();
            event.clear();
            thread::yield_now();
        }
    });
}

/// Nobody knows who ends a wait for it.
struct Something;

impl Resource for Something {
    fn describe(&self) -> Description {
        Description { kind: "Lock", name: None, id: 1 }
    }

    fn ended_by(&self) -> EndedBy {
        EndedBy::Anyone
    }
}

/// An interrupt ends a sleep, and must not swallow the wake-up that may have come with it.
#[test]
fn interrupted_threads_that_give_up_leave_no_other_asleep() {
    sleep_until_woken();
    let (lock, is_over) = (RawLock::<Private>::new(), AtomicBool::new(false));
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let n_interrupted = AtomicU32::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..16)
            .map(|idx| {
                let (lock, numbers, n_interrupted) = (&lock, Arc::clone(&numbers), &n_interrupted);
                scope.spawn(move || {
                    let _sleeper = Sleeper::new();
                    // The patient ones are not interrupted: nothing but a release wakes them.
                    if idx % 2 == 1 {
                        numbers.lock().push(thread_id::me());
                    }
                    for _ in 0..N_ROUNDS {
                        if lock.try_lock(Hold::Open) || take(lock, idx % 2 == 0, n_interrupted) {
                            thread::yield_now();
                            lock.unlock().unwrap();
                        }
                    }
                })
            })
            .collect();
        let (numbers, is_over) = (Arc::clone(&numbers), &is_over);
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let numbers = numbers.lock().clone();
                for number in numbers {
                    interrupt(number);
                }
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(!lock.is_locked());
}

/// False: interrupted, and impatient enough to give up.
fn take(lock: &RawLock<Private>, is_patient: bool, n_interrupted: &AtomicU32) -> bool {
    let mut waiting = Waiting::new(&Something, Site::Unknown);
    loop {
        match lock.lock_slow(Hold::Open, None, &mut waiting) {
            Wait::Done => return true,
            Wait::Interrupted => drop(n_interrupted.fetch_add(1, Ordering::Relaxed)),
            Wait::TimedOut | Wait::Stuck => {}
        }
        if !is_patient {
            return false;
        }
    }
}
