//! Deadlocks at shared mutexes: one of the threads is told, whatever process it is in.

use manyhands::sync::{DeadlockMode, set_deadlock_mode};
use manyhands::{Process, SharedBarrier, SharedMutex, TaskError};

manyhands::test_entry!();

/// Locks both, when the other one has locked its first. `mode`: 0 raises, 1 reports.
#[manyhands::task]
fn cross(first: SharedMutex<u8>, second: SharedMutex<u8>, both: SharedBarrier, mode: u8) {
    set_deadlock_mode(if mode == 0 { DeadlockMode::Raise } else { DeadlockMode::Report });
    let _first = first.lock().expect("nobody dies");
    both.wait().expect("both come");
    let _second = second.lock().expect("nobody dies");
}

#[manyhands::task]
fn lock_twice(mutex: SharedMutex<u8>) {
    let same = mutex.clone();
    let _first = mutex.lock().expect("nobody dies");
    let _second = same.lock().expect("nobody dies");
}

struct Crossing {
    left: SharedMutex<u8>,
    right: SharedMutex<u8>,
    both: SharedBarrier,
}

impl Crossing {
    fn new() -> Self {
        let mutex = |name| SharedMutex::named(name, 0).expect("a mutex");
        let both = SharedBarrier::new(2).expect("a barrier");
        Self { left: mutex("left"), right: mutex("right"), both }
    }

    fn start(&self, leftmost: bool, mode: u8) -> Process<()> {
        let (left, right) = (self.left.clone(), self.right.clone());
        let (first, second) = if leftmost { (left, right) } else { (right, left) };
        Process::spawn(cross::task, (first, second, self.both.clone(), mode)).expect("a process")
    }
}

fn report_of(end: Result<(), TaskError>) -> Option<String> {
    match end {
        Ok(()) => None,
        Err(TaskError::Panicked { message, .. }) => Some(message),
        Err(other) => panic!("a deadlock panics, it is no {other:?}"),
    }
}

fn check_report(report: &str, n_processes: u32) {
    let threads = format!("deadlock: 2 threads of {n_processes} processes wait for each other's");
    assert!(report.starts_with(&threads), "{report}");
    for name in ["left", "right"] {
        let holds = format!("holds SharedMutex {name:?}, acquired at ");
        let waits = format!("waits for SharedMutex {name:?} at ");
        assert!(report.contains(&holds) && report.contains(&waits), "{report}");
    }
    assert_eq!(report.matches("shared_deadlock.rs:").count(), 4, "{report}");
    assert!(report.contains("cross\" (pid "), "{report}");
}

#[test]
fn a_cycle_of_two_processes_panics_in_one_of_them() {
    let crossing = Crossing::new();
    let processes = [crossing.start(true, 0), crossing.start(false, 0)];
    let reports: Vec<_> =
        processes.into_iter().filter_map(|process| report_of(process.join())).collect();
    assert_eq!(reports.len(), 1, "one is told, the other goes on: {reports:?}");
    check_report(&reports[0], 2);
}

#[test]
fn the_one_that_panics_is_in_a_process_that_wants_it() {
    for leftmost in [true, false] {
        let crossing = Crossing::new();
        let prints = crossing.start(leftmost, 1);
        let panics = crossing.start(!leftmost, 0);
        let report = report_of(panics.join()).expect("it is told");
        check_report(&report, 2);
        prints.join().expect("it goes on");
    }
}

#[test]
fn this_process_may_be_part_of_it() {
    let crossing = Crossing::new();
    let process = crossing.start(true, 1);
    let (left, right, both) = (crossing.left.clone(), crossing.right.clone(), crossing.both);
    let thread = std::thread::Builder::new().name("ours".to_owned());
    let ours = thread.spawn(move || cross(right, left, both, 0)).expect("a thread");
    let panic = ours.join().expect_err("it is told");
    let report = panic.downcast_ref::<String>().expect("a report");
    check_report(report, 2);
    assert!(report.contains(", thread \"ours\"\n"), "{report}");
    process.join().expect("it goes on");
}

#[test]
fn a_thread_that_waits_for_itself_is_told() {
    let mutex = SharedMutex::named("salt", 0).expect("a mutex");
    let process = Process::spawn(lock_twice::task, mutex.clone()).expect("a process");
    let report = report_of(process.join()).expect("it is told");
    assert!(report.starts_with("deadlock: a thread waits for itself."), "{report}");
    assert!(report.contains("SharedMutex \"salt\" at ") && report.contains("(its own)"));
    drop(mutex.lock().expect("the panic gave it back"));
}
