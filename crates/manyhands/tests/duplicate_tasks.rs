//! Two tasks of one name are an error when the first pool is made.

use manyhands::{PoolError, ProcessPool};

manyhands::test_entry!();

#[manyhands::task(name = "stir")]
fn stir_rice() -> u8 {
    1
}

#[manyhands::task(name = "stir")]
fn stir_beans() -> u8 {
    2
}

#[test]
fn two_tasks_of_one_name_are_an_error_that_names_both_places() {
    assert_eq!(stir_rice() + stir_beans(), 3);
    let error = ProcessPool::new(1).unwrap_err();
    assert!(matches!(error, PoolError::DuplicateTask { name: "stir", .. }));
    let text = error.to_string();
    assert_eq!(text.matches("tests/duplicate_tasks.rs:").count(), 2, "{text}");
    assert!(text.contains("#[task(name = "), "{text}");
}
