//! Tests may call `init()` themselves instead of using `test_entry!()`: workers then enter through
//! the first test that does.

use manyhands::ProcessPool;

#[manyhands::task(name = "times-three")]
fn triple(n: u32) -> u32 {
    3 * n
}

#[test]
fn a_worker_becomes_one_where_init_is_called() {
    manyhands::init();
    let pool = ProcessPool::new(1).unwrap();
    assert_eq!(pool.submit(triple::task, 14).unwrap().result(), Ok(42));
}

#[test]
fn init_may_be_called_more_than_once() {
    manyhands::init();
    manyhands::init();
    let pool = ProcessPool::new(1).unwrap();
    assert_eq!(pool.options().name("six").submit(triple::task, 2).unwrap().result(), Ok(6));
}
