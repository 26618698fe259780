//! What tasks print in workers comes out where the program's own output does.

use std::process::Command;

use manyhands::ProcessPool;

manyhands::test_entry!();

#[manyhands::task]
fn say(word: String) {
    print!("<{word}>");
}

const MARK: &str = "MANYHANDS_TEST_SPEAKS";

/// Not a test by itself: the program that the test below looks at.
#[test]
fn speaker() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    let pool = ProcessPool::new(1).unwrap();
    pool.map(say::task, ["rice", "beans"].map(str::to_owned)).for_each(Result::unwrap);
    pool.shutdown();
}

#[test]
fn what_a_task_prints_without_a_line_end_is_not_lost() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["speaker", "--exact", "--nocapture"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("<rice><beans>"), "{text}");
}
