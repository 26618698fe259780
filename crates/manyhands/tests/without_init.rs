//! A program that forgets `init()` is told so, before any worker is started.

use manyhands::{PoolError, ProcessPool};

#[test]
fn a_pool_without_init_is_an_error_that_says_what_to_do() {
    let error = ProcessPool::new(1).unwrap_err();
    assert!(matches!(error, PoolError::NotInitialised));
    assert!(error.to_string().contains("call manyhands::init() at the top of main"), "{error}");
}

#[test]
fn threads_need_no_init() {
    let pool = manyhands::ThreadPool::new(1).unwrap();
    assert_eq!(pool.spawn(|| 42).unwrap().result(), Ok(42));
}
