//! Deadlocks are found and told to one thread, in words; what only looks like one is left alone.

mod support;

use std::io::Read;
use std::process::exit;
use std::sync::Arc;
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use manyhands_sync::{Barrier, Condvar, Event, Mutex, RwLock, Semaphore};

use support::{Ended, play, scenario};

/// Long enough for several looks of a waiter.
const A_WHILE: Duration = Duration::from_millis(700);

#[test]
fn scenario_entry() {
    let Some(name) = scenario() else { return };
    match &*name {
        "opposite order" => ring(2),
        "three threads" => ring(3),
        "itself" => {
            let till = Mutex::named("till", ());
            let _held = till.lock();
            let _again = till.lock();
        }
        "write while writing" => {
            let menu = RwLock::named("menu", ());
            let _held = menu.write();
            let _again = menu.read();
        }
        "writers in opposite order" => opposite_writers(),
        "semaphores in opposite order" => opposite_semaphores(),
        "nobody notifies" => {
            let (plates, clean) = (Mutex::new(0), Condvar::named("clean plates"));
            clean.wait_while(&mut plates.lock(), |plates| *plates == 0);
        }
        "two wait for events" => {
            let other = named("other", || Event::named("never").wait());
            Event::named("nowhere").wait();
            // The other one is alone now, and told in its turn.
            assert!(other.join().is_err());
        }
        "barrier of two" => {
            let start = Barrier::named("start", 2);
            start.wait().unwrap();
        }
        "opposite order, silently" => {
            named("both", || ring(2));
            thread::sleep(A_WHILE);
            exit(0);
        }
        "opposite order, printed" => {
            named("both", || ring(2));
            thread::sleep(2 * A_WHILE);
            exit(0);
        }
        "takes the lock again" => takes_the_lock_again(),
        "timed cycle" => timed_cycle(),
        "slow owner" => slow_owner(),
        "reader of a pipe" => reader_of_a_pipe(),
        "foreign thread" => foreign_thread(),
        "signal between threads" => signal_between_threads(),
        "timed wait of another" => {
            let event = Arc::new(Event::new());
            let other = Arc::clone(&event);
            let setter = named("setter", move || {
                assert!(!Event::new().wait_for(A_WHILE));
                other.set();
            });
            event.wait();
            setter.join().unwrap();
        }
        "many permits" => many_permits(),
        other => panic!("no scenario is called {other}"),
    }
}

fn named(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    Builder::new().name(name.into()).spawn(body).expect("a thread starts")
}

/// So many threads, each of which takes its lock, then the next one's.
fn ring(n_threads: usize) {
    static LOCKS: [Mutex<()>; 3] =
        [Mutex::named("till", ()), Mutex::named("stove", ()), Mutex::named("sink", ())];
    let all_have_one = Arc::new(Barrier::new(n_threads as u32));
    let cooks = (0..n_threads).map(|idx| {
        let all_have_one = Arc::clone(&all_have_one);
        named(&format!("cook-{idx}"), move || {
            let _first = LOCKS[idx].lock();
            all_have_one.wait().unwrap();
            let _second = LOCKS[(idx + 1) % n_threads].lock();
        })
    });
    let cooks: Vec<_> = cooks.collect();
    let n_panics = cooks.into_iter().filter_map(|cook| cook.join().err()).count();
    assert_eq!(n_panics, 1, "one of the cooks is told, the others go on");
}

fn opposite_writers() {
    let locks = Arc::new([RwLock::named("menu", ()), RwLock::named("prices", ())]);
    let both_have_one = Arc::new(Barrier::new(2));
    let writers = [0, 1].map(|idx| {
        let (locks, both_have_one) = (Arc::clone(&locks), Arc::clone(&both_have_one));
        named(&format!("writer-{idx}"), move || {
            let _first = locks[idx].write();
            both_have_one.wait().unwrap();
            let _second = locks[1 - idx].read();
        })
    });
    assert_eq!(writers.into_iter().filter_map(|writer| writer.join().err()).count(), 1);
}

fn opposite_semaphores() {
    let ovens = Arc::new([Semaphore::named("left", 1), Semaphore::named("right", 1)]);
    let both_have_one = Arc::new(Barrier::new(2));
    let bakers = [0, 1].map(|idx| {
        let (ovens, both_have_one) = (Arc::clone(&ovens), Arc::clone(&both_have_one));
        named(&format!("baker-{idx}"), move || {
            let _first = ovens[idx].acquire();
            both_have_one.wait().unwrap();
            let _second = ovens[1 - idx].acquire();
        })
    });
    thread::sleep(2 * A_WHILE);
    assert!(bakers.iter().all(|baker| !baker.is_finished()));
    exit(0);
}

/// A waiter is notified while the notifier holds its lock and waits for another one of the waiter.
fn takes_the_lock_again() {
    static STOVE: Mutex<bool> = Mutex::named("stove", false);
    static SINK: Mutex<()> = Mutex::named("sink", ());
    static HOT: Condvar = Condvar::new();
    static WAITS: Event = Event::new();
    let waiter = named("waiter", || {
        let _sink = SINK.lock();
        let mut is_hot = STOVE.lock();
        WAITS.set();
        HOT.wait_while(&mut is_hot, |is_hot| !*is_hot);
    });
    let notifier = named("notifier", || {
        WAITS.wait();
        // The waiter is known to wait for the notification by then; that must not hide what it
        // waits for afterwards.
        thread::sleep(A_WHILE);
        let mut is_hot = STOVE.lock();
        *is_hot = true;
        HOT.notify_one();
        let _sink = SINK.lock();
    });
    // The waiter must have its lock again before it may panic, so the notifier is told.
    assert!(notifier.join().is_err());
    assert!(waiter.join().is_ok());
    assert!(STOVE.try_lock().is_some() && SINK.try_lock().is_some());
}

fn timed_cycle() {
    let locks = Arc::new([Mutex::new(()), Mutex::new(())]);
    let both_have_one = Arc::new(Barrier::new(2));
    let threads = [0, 1].map(|idx| {
        let (locks, both_have_one) = (Arc::clone(&locks), Arc::clone(&both_have_one));
        named("timed", move || {
            let _first = locks[idx].lock();
            both_have_one.wait().unwrap();
            let timeout = A_WHILE * (1 + idx as u32);
            assert_eq!(locks[1 - idx].lock_for(timeout).is_some(), idx == 1);
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn slow_owner() {
    let lock = Arc::new(Mutex::new(()));
    let (other, is_held) = (Arc::clone(&lock), Arc::new(Event::new()));
    let tell = Arc::clone(&is_held);
    let owner = named("owner", move || {
        let _held = other.lock();
        tell.set();
        thread::sleep(A_WHILE);
    });
    is_held.wait();
    drop(lock.lock());
    owner.join().unwrap();
}

/// A thread in a system call may be ended by anything.
fn reader_of_a_pipe() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let event = Arc::new(Event::new());
    let other = Arc::clone(&event);
    let reading = named("reader", move || {
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
        other.set();
    });
    // Somebody outside closes the pipe later: here a process that sleeps.
    let mut outside = std::process::Command::new("sleep").arg("0.7").stdin(writer).spawn().unwrap();
    event.wait();
    reading.join().unwrap();
    outside.wait().unwrap();
}

/// Threads that use other means to wait count as asleep only while they really are.
fn foreign_thread() {
    let event = Arc::new(Event::new());
    let other = Arc::clone(&event);
    let parked = named("parked", move || {
        thread::park();
        other.set();
    });
    let handle = parked.thread().clone();
    let unparker = named("unparker", move || {
        thread::sleep(A_WHILE);
        handle.unpark();
    });
    event.wait();
    parked.join().unwrap();
    unparker.join().unwrap();
}

/// A semaphore of one permit that another thread releases is not a lock.
fn signal_between_threads() {
    let ready = Arc::new(Semaphore::new(1));
    ready.acquire().forget();
    let other = Arc::clone(&ready);
    let signaller = named("signaller", move || {
        thread::sleep(A_WHILE);
        other.release(1);
    });
    ready.acquire().forget();
    signaller.join().unwrap();
}

/// Who holds some of several permits is not the only one to wait for.
fn many_permits() {
    let ovens = Arc::new([Semaphore::new(2), Semaphore::new(2)]);
    let helper_permits = [ovens[0].acquire(), ovens[1].acquire()];
    let all_have_one = Arc::new(Barrier::new(3));
    let bakers = [0, 1].map(|idx| {
        let (ovens, all_have_one) = (Arc::clone(&ovens), Arc::clone(&all_have_one));
        named("baker", move || {
            let _first = ovens[idx].acquire();
            all_have_one.wait().unwrap();
            let _second = ovens[1 - idx].acquire();
        })
    });
    all_have_one.wait().unwrap();
    thread::sleep(A_WHILE);
    drop(helper_permits);
    bakers.into_iter().for_each(|baker| baker.join().unwrap());
}

#[track_caller]
fn found(name: &str) -> Ended {
    let ended = play(name, "raise");
    assert_eq!(ended.n_reports(), 1, "{}", ended.text);
    ended
}

#[track_caller]
fn no_alarm(name: &str) {
    let ended = play(name, "raise");
    assert!(ended.status.success() && ended.n_reports() == 0, "{}", ended.text);
}

#[test]
fn locks_in_opposite_order_are_told_to_one_thread_with_names_and_places() {
    let ended = found("opposite order");
    assert!(ended.status.success(), "{}", ended.text);
    ended.says("deadlock: 2 threads wait for each other, each for the next.");
    for (thread, held, wanted, other) in
        [("cook-0", "till", "stove", "cook-1"), ("cook-1", "stove", "till", "cook-0")]
    {
        ended.says(&format!("  Thread {thread:?}\n    holds Mutex {held:?}, acquired at "));
        ended.says(&format!("    waits for Mutex {wanted:?} at "));
        ended.says(&format!("(held by thread {other:?})"));
    }
    // One place for each acquisition, one for each wait, and that of the panic itself.
    assert_eq!(ended.text.matches("tests/deadlock.rs:").count(), 5, "{}", ended.text);
}

#[test]
fn a_cycle_of_three_is_found() {
    let ended = found("three threads");
    assert!(ended.status.success(), "{}", ended.text);
    ended.says("deadlock: 3 threads wait for each other");
}

#[test]
fn a_thread_that_takes_its_own_mutex_again_is_told() {
    found("itself").says("deadlock: a thread waits for itself.");
}

#[test]
fn a_writer_that_wants_to_read_is_told() {
    found("write while writing").says("waits for RwLock \"menu\"");
}

#[test]
fn writers_in_opposite_order_are_found() {
    assert!(found("writers in opposite order").status.success());
}

/// Another thread may release a semaphore: who holds it now is no proof.
#[test]
fn semaphores_of_one_permit_in_opposite_order_are_a_suspicion_that_raises_nothing() {
    let ended = play("semaphores in opposite order", "raise");
    assert!(ended.status.success() && !ended.text.contains("panicked"), "{}", ended.text);
    ended.says("2 threads wait for each other's locks: a deadlock, unless another thread releases");
    assert_eq!(ended.text.matches("wait for each other").count(), 1, "{}", ended.text);
}

#[test]
fn who_waits_for_a_notification_when_nobody_is_left_is_told() {
    let ended = found("nobody notifies");
    ended.says("deadlock: a thread waits, and nobody is left to wake it.");
    ended.says("waits for Condvar \"clean plates\" at ");
}

#[test]
fn a_barrier_to_which_nobody_comes_is_told() {
    found("barrier of two").says("waits for Barrier \"start\" at ");
}

#[test]
fn all_who_sleep_are_in_the_report() {
    let ended = play("two wait for events", "raise");
    ended.says("deadlock: 2 threads wait, and nobody is left to wake any of them.");
    ended.says("waits for Event \"never\"");
    ended.says("waits for Event \"nowhere\"");
}

#[test]
fn a_report_is_printed_once_and_the_wait_goes_on() {
    let ended = play("opposite order, printed", "report");
    assert!(ended.status.success(), "{}", ended.text);
    assert_eq!(ended.n_reports(), 1, "{}", ended.text);
    assert!(!ended.text.contains("panicked"), "{}", ended.text);
}

#[test]
fn nobody_looks_when_detection_is_off() {
    let ended = play("opposite order, silently", "off");
    assert!(ended.status.success() && ended.n_reports() == 0, "{}", ended.text);
}

#[test]
fn an_unknown_mode_is_a_sentence_and_deadlocks_raise() {
    let ended = play("itself", "loudly");
    ended.says("MANYHANDS_DEADLOCK: the deadlock mode must be 'raise', 'report' or 'off'");
    assert_eq!(ended.n_reports(), 1, "{}", ended.text);
}

#[test]
fn a_waiter_that_must_take_its_lock_again_leaves_the_report_to_the_other() {
    let ended = found("takes the lock again");
    ended.says("deadlock: 2 threads wait for each other, each for the next.");
    assert!(ended.status.success(), "{}", ended.text);
}

#[test]
fn a_cycle_of_timed_waits_is_no_deadlock() {
    no_alarm("timed cycle");
}

#[test]
fn a_slow_owner_is_no_deadlock() {
    no_alarm("slow owner");
}

#[test]
fn a_thread_that_reads_may_wake_the_others() {
    no_alarm("reader of a pipe");
}

#[test]
fn a_thread_with_means_of_its_own_may_wake_the_others() {
    no_alarm("foreign thread");
}

#[test]
fn a_thread_in_a_timed_wait_may_wake_the_others() {
    no_alarm("timed wait of another");
}

#[test]
fn a_semaphore_released_by_another_thread_is_no_lock() {
    no_alarm("signal between threads");
}

#[test]
fn permits_that_others_hold_as_well_close_no_cycle() {
    no_alarm("many permits");
}
