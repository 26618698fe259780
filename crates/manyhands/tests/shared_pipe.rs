//! Pipes between processes: values and ends of pipes go through them, and a death is their end.

use manyhands::{Pipe, Process, ProcessPool, ReceiveError, SendError};

manyhands::test_entry!();

#[manyhands::task]
fn double_all(numbers: Pipe<u64>) {
    while let Ok(n) = numbers.receive() {
        numbers.send(&(2 * n)).expect("the test listens");
    }
}

#[manyhands::task]
fn answer_on_what_comes(ends: Pipe<(), Pipe<String>>) {
    let end = ends.receive().expect("an end of another pipe");
    end.send(&format!("from {}", std::process::id())).expect("the test listens");
}

#[manyhands::task]
fn make_one() -> Pipe<u32> {
    let (ours, theirs) = Pipe::<u32>::pair().expect("a pipe");
    ours.send(&7).expect("it has room");
    theirs
}

#[manyhands::task]
fn hold(end: Pipe<u8>) {
    end.send(&1).expect("the test listens");
    loop {
        std::thread::park();
    }
}

#[test]
fn values_go_there_and_back() {
    let (here, there) = Pipe::pair().expect("a pipe");
    let process = Process::spawn(double_all::task, there).expect("a process");
    for n in 0..1_000 {
        here.send(&n).expect("the process listens");
        assert_eq!(here.receive().expect("an answer"), 2 * n);
    }
    drop(here);
    process.join().expect("it ends with the pipe");
}

#[test]
fn an_end_of_a_pipe_goes_through_a_pipe() {
    let (ours, theirs) = Pipe::<Pipe<String>, ()>::pair().expect("a pipe");
    let process = Process::spawn(answer_on_what_comes::task, theirs).expect("a process");
    let (here, there) = Pipe::<String>::pair().expect("a pipe");
    ours.send(&there).expect("the process listens");
    drop(there);
    let answer = here.receive().expect("an answer");
    assert!(answer.starts_with("from ") && !answer.ends_with(&std::process::id().to_string()));
    process.join().expect("it ends");
    assert!(matches!(here.receive(), Err(ReceiveError::Closed)));
    assert!(matches!(here.send(&String::new()), Err(SendError::Closed)));
}

#[test]
fn a_pipe_that_a_task_made_is_a_result() {
    let pool = ProcessPool::new(1).expect("a pool");
    let pipe = pool.submit(make_one::task, ()).expect("a task").result().expect("a pipe");
    assert_eq!(pipe.receive().expect("what the task has sent"), 7);
    assert!(matches!(pipe.receive(), Err(ReceiveError::Closed)), "the task dropped its end");
}

#[test]
fn the_death_of_who_has_the_other_end_is_the_end_of_the_pipe() {
    let (here, there) = Pipe::pair().expect("a pipe");
    let process = Process::spawn(hold::task, there).expect("a process");
    assert_eq!(here.receive().expect("it lives"), 1);
    process.kill();
    assert!(matches!(here.receive(), Err(ReceiveError::Closed)));
    process.join().expect_err("it was killed");
}

#[test]
fn what_nobody_sends_is_waited_for_no_longer_than_told() {
    let (receiver, sender) = Pipe::<(), u8>::one_way().expect("a pipe");
    let nap = std::time::Duration::from_millis(5);
    assert!(matches!(receiver.receive_timeout(nap), Err(ReceiveError::TimedOut)));
    sender.send(&3).expect("it has room");
    assert_eq!(receiver.receive_timeout(nap).expect("it was sent"), 3);
}
