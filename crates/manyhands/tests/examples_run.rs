//! The programs under `examples/rust` run and print what they promise.

use std::path::PathBuf;
use std::process::Command;

/// Beside this test program's folder, where `cargo test` builds examples too.
fn example(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("a test program has a path");
    let path = me.ancestors().nth(2).expect("target/<profile>").join("examples").join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --examples` first", path.display());
    path
}

/// What an example prints, line by line.
fn lines_of(name: &str) -> Vec<String> {
    let output = Command::new(example(name)).output().expect("an example starts");
    assert!(output.status.success(), "{name}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("an example prints text");
    text.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn sums_on_threads_are_right_in_both_styles() {
    let names = ["Anna", "Ben", "Carla", "David"];
    let styles = ["submit_style", "map_style"];
    let expected =
        styles.map(|style| names.map(|name| format!("{style}: {name} = 50005000"))).concat();
    assert_eq!(lines_of("thread_pool_sums"), expected);
}

#[test]
fn two_of_three_urls_are_fetched_and_one_fails() {
    let lines = lines_of("process_pool_fetch");
    assert_eq!(lines[0], "at least one of 3 is done: true");
    let mut fetched = lines[1..].to_vec();
    fetched.sort();
    let expected = [
        "/apples: 700 bytes",
        "/nothing-here: failed, the server answered 404 Not Found",
        "/pears: 1200 bytes",
    ];
    assert_eq!(fetched, expected);
}

#[test]
fn one_word_changes_between_threads_and_processes() {
    let expected = ["ThreadPool: 4 primes, found here", "ProcessPool: 4 primes, found elsewhere"];
    assert_eq!(lines_of("one_word"), expected);
}

#[test]
fn a_producer_and_a_consumer_lose_nothing_and_do_not_wait_for_ever() {
    let expected = [
        "watching the clock: nothing lost: true",
        "forgotten: the consumer was told: true",
        "shut down: nothing lost: true",
        "last first: 3 2 1",
        "smallest first: 1 2 3",
    ];
    assert_eq!(lines_of("producer_consumer"), expected);
}

#[test]
fn who_joins_a_thread_goes_on_after_it() {
    let expected = [
        "joined: the thread starts, and sleeps",
        "joined: the thread ends",
        "joined: main goes on",
        "not joined: the thread starts, and sleeps",
        "not joined: main goes on",
        "not joined: the thread ends",
    ];
    assert_eq!(lines_of("thread_join"), expected);
}

#[test]
fn a_program_ends_without_its_detached_threads() {
    let expected =
        ["the joined thread has counted to 1000", "the detached one was still counting: true"];
    assert_eq!(lines_of("thread_detached"), expected);
}

#[test]
fn what_fails_in_a_thread_reaches_who_waits_for_it() {
    let mut lines = lines_of("thread_failures");
    // Who is asked to stop and who joins go on at the same time.
    lines[..2].sort();
    let expected = [
        "portions joined: None",
        "stirring: asked to stop",
        "1 of 2 threads of a scope failed:",
        "  \"portions\": nobody came",
        "\"burnt\" panicked: true",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn an_update_is_lost_without_the_lock_and_none_with_it() {
    let expected = [
        "without the lock: 2",
        "with the lock, until the end of a block: 3",
        "with the lock, given back by hand: 3",
    ];
    assert_eq!(lines_of("lock_data_store"), expected);
}

#[test]
fn one_of_two_threads_is_told_of_the_deadlock_and_the_other_goes_on() {
    let text = lines_of("lock_deadlock").join("\n");
    assert_eq!(text.matches("cut").count() - text.matches("cut(").count(), 1, "{text}");
    assert!(text.contains("1 of 2 threads of a scope failed:"), "{text}");
    assert!(text.contains("deadlock: 2 threads wait for each other, each for the next."), "{text}");
    for line in
        ["Thread \"left\"", "Thread \"right\"", "holds Mutex \"knife\"", "holds Mutex \"board\""]
    {
        assert!(text.contains(line), "no {line} in:\n{text}");
    }
}

#[test]
fn a_process_is_started_stopped_and_joined() {
    let expected = [
        "alive: true",
        "another process: true",
        "joined, ended by signal Some(9); the same process: true",
    ];
    assert_eq!(lines_of("process_start_stop"), expected);
}

#[test]
fn nine_named_processes_square_a_number_each() {
    let mut lines = lines_of("process_squares");
    lines.sort();
    let processes = lines.iter().enumerate().map(|(idx, line)| {
        let n = idx + 1;
        let (head, result) = line.split_once(": ").expect("name and process, then the square");
        assert_eq!(result, format!("{n} * {n} = {}", n * n));
        head.strip_prefix(&format!("square of {n}, process ")).expect("name and process").to_owned()
    });
    assert_eq!(processes.collect::<std::collections::HashSet<_>>().len(), 9);
}

#[test]
fn what_processes_count_in_their_own_memory_stays_there() {
    let mut expected: Vec<_> = (1..=9).map(|n| format!("a process has counted to {n}")).collect();
    expected.push("here it is 0".to_owned());
    assert_eq!(lines_of("process_unshared"), expected);
}

#[test]
fn a_shared_number_loses_no_atomic_step_and_none_under_a_lock() {
    let lines = lines_of("process_shared_value");
    assert!(lines[0].ends_with(" of 450 or fewer"), "{lines:?}");
    assert_eq!(lines[1..], ["add: 450", "under a lock: 450"]);
}

#[test]
fn five_processes_send_their_counts_through_a_queue_and_through_a_pipe() {
    assert_eq!(lines_of("process_queue_sum"), ["50000000"]);
    assert_eq!(lines_of("process_pipe_sum"), ["50000000"]);
}
