//! One process for one task: what comes back, and what its death means.

use std::time::Duration;

use manyhands::{Process, TaskError};

manyhands::test_entry!();

#[manyhands::task]
fn own_pid() -> u32 {
    std::process::id()
}

#[manyhands::task]
fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

#[manyhands::task]
fn fail(why: String) {
    panic!("{why}");
}

#[test]
fn a_process_runs_its_task_elsewhere_and_gives_the_value_back() {
    let process = Process::spawn(own_pid::task, ()).expect("a process");
    let pid = process.join().expect("a value");
    assert_ne!(pid, std::process::id());
}

#[test]
fn the_process_id_is_known_while_the_process_lives() {
    let process = Process::builder().name("sleeper").spawn(sleep_for_ever::task, ()).expect("one");
    let pid = process.pid().expect("it lives");
    assert_ne!(pid, std::process::id());
    assert!(process.is_alive());
    let process = process.join_timeout(Duration::from_millis(20)).expect_err("it sleeps");
    process.kill();
    let Err(TaskError::Crashed(report)) = process.join() else { panic!("it was killed") };
    assert_eq!((report.pid, report.signal), (pid, Some(9)));
    assert!(report.task.is_some_and(|task| task.contains("sleeper")));
}

#[test]
fn a_process_can_be_asked_to_end() {
    let process = Process::spawn(sleep_for_ever::task, ()).expect("a process");
    process.pid().expect("it lives");
    process.terminate();
    match process.join() {
        Err(TaskError::Crashed(report)) => assert_eq!(report.signal, Some(15)),
        // It was told before it had begun.
        other => assert_eq!(other, Err(TaskError::Cancelled)),
    }
}

#[test]
fn a_panic_reaches_who_joins() {
    let process = Process::spawn(fail::task, "no rice".to_owned()).expect("a process");
    let Err(TaskError::Panicked { message, .. }) = process.join() else { panic!("it panicked") };
    assert_eq!(message, "no rice");
}
