//! Processes that die with shared locks, or at them: the others go on, and are told.

use std::collections::VecDeque;
use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use manyhands::{
    OwnerDied, Process, Shared, SharedBarrier, SharedCondvar, SharedEvent, SharedMutex,
    SharedSemaphore, TaskError,
};
use manyhands_testing::n_kills;
use manyhands_testing::random::Random;

manyhands::test_entry!();

type Halves = SharedMutex<[u64; 2]>;

#[manyhands::task]
fn die_inside(halves: Halves, has_it: SharedEvent) {
    let mut guard = halves.lock().expect("the first one");
    guard[0] += 1;
    has_it.set();
    sleep_for_ever()
}

#[manyhands::task]
fn die_after_notifying(halves: Halves, changed: SharedCondvar) {
    let mut guard = halves.lock().expect("the first one");
    guard[0] += 1;
    changed.notify_one();
    std::process::abort()
}

#[manyhands::task]
fn wait_at_condvar(halves: Halves, changed: SharedCondvar) {
    let mut guard = halves.lock().expect("nobody died yet");
    guard[1] += 1;
    drop(changed.wait(guard));
}

#[manyhands::task]
fn wait_at_barrier(barrier: SharedBarrier) {
    let _ = barrier.wait();
}

#[manyhands::task]
fn wait_for_permit(semaphore: SharedSemaphore, is_here: SharedEvent) {
    is_here.set();
    semaphore.acquire().forget();
}

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

fn halves() -> Halves {
    SharedMutex::named("halves", [0; 2]).expect("a mutex")
}

/// The id of a process that was killed while it had `halves`.
fn killed_holder(halves: &Halves) -> u32 {
    let has_it = SharedEvent::new().expect("an event");
    let process = Process::spawn(die_inside::task, (halves.clone(), has_it.clone())).expect("one");
    has_it.wait();
    let pid = process.pid().expect("it lives");
    process.kill();
    process.join().expect_err("it was killed");
    pid
}

#[test]
fn the_next_owner_is_told_and_the_one_after_is_not() {
    let halves = halves();
    let pid = killed_holder(&halves);
    let died = halves.lock().expect_err("its owner died");
    assert_eq!(died.pid(), Some(pid));
    let text = died.to_string();
    assert!(text.starts_with(&format!("process {pid} died with SharedMutex \"halves\": mend")));
    let mut guard = died.into_inner();
    assert_eq!(*guard, [1, 0]);
    guard[1] = 1;
    drop(guard);
    assert_eq!(*halves.lock().expect("it was mended"), [1, 1]);
}

#[test]
fn who_does_not_mend_it_leaves_that_to_the_next() {
    let halves = halves();
    let pid = killed_holder(&halves);
    drop(halves.lock());
    let caught = std::panic::catch_unwind(|| drop(halves.lock().expect("nobody died")));
    assert!(caught.is_err());
    assert_eq!(halves.lock().expect_err("nobody has mended it").pid(), Some(pid));
    drop(halves.lock().unwrap_or_else(OwnerDied::into_inner));
    assert!(halves.lock().is_ok());
}

#[test]
fn who_does_not_wait_gets_it_from_a_dead_owner_too() {
    let halves = halves();
    for _ in 0..2 {
        killed_holder(&halves);
        let locked = halves.try_lock().expect("its owner is dead");
        drop(locked.expect_err("its owner died").into_inner());
        killed_holder(&halves);
        let locked = halves.lock_for(Duration::from_millis(1)).expect("its owner is dead");
        drop(locked.expect_err("its owner died").into_inner());
    }
    assert_eq!(halves.lock().expect("it was mended")[0], 4);
}

#[test]
fn who_waits_at_a_condvar_is_told_that_an_owner_died_meanwhile() {
    let (halves, changed) = (halves(), SharedCondvar::new().expect("a condvar"));
    let guard = halves.lock().expect("nobody died yet");
    let args = (halves.clone(), changed.clone());
    let process = Process::spawn(die_after_notifying::task, args).expect("a process");
    let died = changed.wait_while(guard, |halves| halves[0] == 0).expect_err("its owner died");
    assert_eq!(*died.into_inner(), [1, 0]);
    process.join().expect_err("it has aborted");
}

#[test]
fn the_dead_take_no_notification() {
    let (halves, changed) = (halves(), SharedCondvar::new().expect("a condvar"));
    let args = (halves.clone(), changed.clone());
    let process = Process::spawn(wait_at_condvar::task, args).expect("a process");
    while halves.lock().expect("nobody dies with it")[1] == 0 {
        std::thread::yield_now();
    }
    process.kill();
    process.join().expect_err("it was killed");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| wait_at_condvar(halves.clone(), changed.clone()));
        while halves.lock().expect("nobody dies with it")[1] == 1 {
            std::thread::yield_now();
        }
        changed.notify_one();
        waiter.join().expect("it was notified");
    });
}

#[test]
fn a_party_that_dies_at_a_barrier_breaks_it() {
    let barrier = SharedBarrier::new(3).expect("a barrier");
    let process = Process::spawn(wait_at_barrier::task, barrier.clone()).expect("a process");
    while barrier.n_waiting() == 0 {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(|| barrier.wait());
        while barrier.n_waiting() < 2 {
            std::thread::yield_now();
        }
        process.kill();
        other.join().expect("no panic").expect_err("one has died");
    });
    process.join().expect_err("it was killed");
    barrier.wait().expect_err("it stays broken");
    barrier.reset();
    std::thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(|| barrier.wait().expect("three come"))));
        barrier.wait().expect("three come");
    });
}

#[test]
fn who_dies_waiting_for_a_permit_takes_none() {
    let semaphore = SharedSemaphore::new(0).expect("a semaphore");
    let is_here = SharedEvent::new().expect("an event");
    let args = (semaphore.clone(), is_here.clone());
    let process = Process::spawn(wait_for_permit::task, args).expect("a process");
    is_here.wait();
    process.kill();
    process.join().expect_err("it was killed");
    semaphore.release(1);
    drop(semaphore.acquire());
    assert_eq!(semaphore.permits(), 1);
}

/// What the fuzz guards. `a` and `b` are equal whenever nobody is inside.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Account {
    a: u64,
    b: u64,
    n_told: u64,
    n_torn: u64,
    /// Times that somebody found them unequal and was not told.
    n_lies: u64,
}

#[manyhands::task]
fn count_for_ever(
    account: SharedMutex<Account>,
    n_done: Shared<u64>,
    n_here: Shared<u64>,
    n_told: Shared<u64>,
) {
    n_here.add(1).expect("the sum fits");
    loop {
        let mut account = account.lock().unwrap_or_else(|died| {
            let mut account = died.into_inner();
            account.n_told += 1;
            n_told.add(1).expect("the sum fits");
            if account.a != account.b {
                account.n_torn += 1;
                account.b = account.a;
            }
            account
        });
        if account.a != account.b {
            account.n_lies += 1;
        }
        account.a += 1;
        // Long enough for a kill to come in between.
        (0..200).for_each(|n| {
            std::hint::black_box(n);
        });
        account.b += 1;
        drop(account);
        n_done.add(1).expect("the sum fits");
    }
}

#[test]
fn what_a_mutex_guards_is_conserved_through_kills() {
    let zero = || Shared::new(0_u64).expect("a cell");
    let (n_done, n_here, n_told) = (zero(), zero(), zero());
    let account = SharedMutex::named("account", Account::zeroed()).expect("a mutex");
    let start = || {
        let args = (account.clone(), n_done.clone(), n_here.clone(), n_told.clone());
        Process::spawn(count_for_ever::task, args).expect("a process")
    };
    let mut random = Random::new(Random::SEED);
    let mut processes: VecDeque<_> = (0..3).map(|_| start()).collect();
    let mut n_started = 3;
    // Until so many were killed, and one of them was an owner.
    while n_started < 3 + n_kills(200) || n_told.get() == 0 {
        // After each death the others go on; killed sooner, nobody would live to notice the death.
        let n_before = n_done.get();
        while n_here.get() < n_started || n_done.get() == n_before {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(random.below(2_000)));
        let process = processes.pop_front().expect("three run");
        process.kill();
        processes.push_back(start());
        n_started += 1;
        let Err(TaskError::Crashed(report)) = process.join() else { panic!("it was killed") };
        assert_eq!(report.signal, Some(9), "{report:?}");
    }
    for process in processes {
        process.kill();
        process.join().expect_err("it was killed");
    }
    let n_killed = n_started;
    let locked = account.lock();
    let n_last = u64::from(locked.is_err());
    let account = *locked.unwrap_or_else(OwnerDied::into_inner);
    let n_torn_now = u64::from(account.a != account.b);
    println!("{n_killed} kills, {} done: {account:?}, last {n_last}", n_done.get());
    assert_eq!(account.n_lies, 0);
    assert!(account.n_torn <= account.n_told && account.n_told + n_last <= n_killed);
    assert!(n_torn_now <= n_last, "it is torn, and nobody was told");
    // Who was killed after it had counted in `a` has not said so.
    assert!((n_done.get()..=n_done.get() + n_killed).contains(&account.a));
}
