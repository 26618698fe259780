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
