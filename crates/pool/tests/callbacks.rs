//! Done-callbacks of a process pool: whatever they do, tasks go on.

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use manyhands_pool::future::Future;
use manyhands_pool::process::{ProcessPool, Reply};
use support::{end_of, finish, pool, submit};

#[test]
fn worker_entry() {
    support::serve_if_worker();
}

fn future(pool: &ProcessPool, function: &str, body: &[u8]) -> Future<Reply> {
    // SAFETY: the only one of a task that was made for it.
    unsafe { Future::new(submit(pool, function, body)) }
}

/// Tasks that end when the test says so: so it can add callbacks before.
struct Gate {
    path: PathBuf,
}

impl Gate {
    fn new() -> Self {
        static N_MADE: AtomicU32 = AtomicU32::new(0);
        let (pid, n) = (std::process::id(), N_MADE.fetch_add(1, Ordering::Relaxed));
        Self { path: std::env::temp_dir().join(format!("manyhands-callbacks-{pid}-{n}")) }
    }

    fn task(&self, pool: &ProcessPool) -> Future<Reply> {
        future(pool, "until", self.path.to_str().expect("a path in UTF-8").as_bytes())
    }

    fn open(&self) {
        std::fs::write(&self.path, "").expect("a folder for temporary files");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn says<T: Send + 'static>(to: &Sender<T>, what: T) -> impl FnOnce() + Send + use<T> {
    let to = to.clone();
    move || to.send(what).expect("the test listens")
}

#[test]
fn a_callback_may_wait_for_another_task_of_its_pool() {
    let _guard = support::guard(60);
    let (pool, gate) = (Arc::new(pool(1)), Gate::new());
    let (tell, told) = mpsc::channel();
    let same = Arc::clone(&pool);
    let outer = gate.task(&pool);
    outer.on_done(move || {
        let reply = end_of(&submit(&same, "echo", b"inner")).expect("it replies");
        tell.send(reply.body.bytes().to_vec()).expect("the test listens");
    });
    gate.open();
    outer.result().expect("it replies");
    assert_eq!(told.recv().expect("the callback ran"), b"inner");
    finish(&pool);
}

#[test]
fn tasks_go_on_while_callbacks_wait_for_ever() {
    let _guard = support::guard(60);
    let (pool, gate) = (pool(2), Gate::new());
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let futures: Vec<_> = (0..4).map(|_| gate.task(&pool)).collect();
    for future in &futures {
        let released = Arc::clone(&released);
        future.on_done(move || drop(released.lock().map(|released| released.recv())));
    }
    gate.open();
    for future in futures {
        future.result().expect("it replies");
    }
    for n in 0..100u64 {
        end_of(&submit(&pool, "echo", &n.to_le_bytes())).expect("it replies");
    }
    drop(release);
    finish(&pool);
    pool.flush_callbacks();
}

#[test]
fn a_callback_may_wait_for_what_a_later_one_does() {
    let _guard = support::guard(60);
    let (pool, gate) = (pool(1), Gate::new());
    let (tell, told) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let tasks = [gate.task(&pool), gate.task(&pool)];
    tasks[0].on_done(move || tell.send(gone.recv()).expect("the test listens"));
    tasks[1].on_done(says(&go, "from the later one"));
    gate.open();
    assert_eq!(told.recv().expect("the first one ran"), Ok("from the later one"));
    finish(&pool);
}

#[test]
fn callbacks_run_in_the_order_of_the_ends_and_of_their_adding() {
    let _guard = support::guard(60);
    let (pool, gate) = (pool(1), Gate::new());
    let (tell, told) = mpsc::channel();
    let first = gate.task(&pool);
    let behind_it: Vec<_> = (0..200).map(|_| future(&pool, "echo", b"")).collect();
    for (n, task) in [&first].into_iter().chain(&behind_it).enumerate() {
        (0..3).for_each(|part| task.on_done(says(&tell, (n, part))));
    }
    gate.open();
    finish(&pool);
    pool.flush_callbacks();
    // The only worker ends its tasks in their order.
    let expected: Vec<_> = (0..201).flat_map(|n| (0..3).map(move |part| (n, part))).collect();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_callback_that_is_added_late_runs_at_once_where_it_is_added() {
    let _guard = support::guard(60);
    let pool = pool(1);
    let future = future(&pool, "echo", b"");
    future.wait_until(None);
    let (tell, told) = mpsc::channel();
    let here = thread::current().id();
    future.on_done(move || tell.send(thread::current().id() == here).expect("it listens"));
    assert!(told.try_recv().expect("it has run"));
    finish(&pool);
}

#[test]
fn a_cancel_runs_the_callbacks_before_it_returns() {
    let _guard = support::guard(60);
    let (pool, gate) = (pool(1), Gate::new());
    let running = gate.task(&pool);
    // Behind the running one, so that no worker has claimed it.
    let waiting: Vec<_> = (0..3).map(|_| gate.task(&pool)).collect();
    let (tell, told) = mpsc::channel();
    let last = waiting.last().expect("there are some");
    last.on_done(says(&tell, ()));
    assert!(last.cancel());
    told.try_recv().expect("it has run");
    gate.open();
    running.result().expect("it replies");
    finish(&pool);
}

#[test]
fn a_callback_may_end_its_pool_and_be_the_last_to_have_it() {
    let _guard = support::guard(60);
    let (pool, gate) = (Arc::new(pool(1)), Gate::new());
    let (tell, told) = mpsc::channel();
    let future = gate.task(&pool);
    let (same, tell_too) = (Arc::clone(&pool), tell.clone());
    future.on_done(move || {
        finish(&same);
        same.flush_callbacks();
        tell_too.send(Arc::strong_count(&same)).expect("the test listens");
        drop(same);
    });
    drop(pool);
    gate.open();
    future.result().expect("it replies");
    assert_eq!(told.recv().expect("the callback ran"), 1);
}

#[test]
fn whoever_flushes_waits_for_all_callbacks_also_those_that_panic() {
    let _guard = support::guard(60);
    let pool = pool(2);
    let (tell, told) = mpsc::channel();
    let futures: Vec<_> = (0..50).map(|_| future(&pool, "echo", b"")).collect();
    for (n, future) in futures.iter().enumerate() {
        let tell = tell.clone();
        future.on_done(move || {
            tell.send(()).expect("the test listens");
            assert!(n % 2 == 0, "an odd one");
        });
    }
    finish(&pool);
    pool.flush_callbacks();
    assert_eq!(told.try_iter().count(), 50);
}

#[test]
fn no_thread_is_left_when_a_pool_has_ended() {
    let _guard = support::guard(60);
    let (pool, gate) = (pool(1), Gate::new());
    let future = gate.task(&pool);
    future.on_done(|| {});
    gate.open();
    future.result().expect("it replies");
    assert!(callback_threads() > 0);
    finish(&pool);
    // They end by themselves, nobody joins them.
    while callback_threads() > 0 {
        thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// How many threads of this process run callbacks.
fn callback_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.trim() == "mh-callbacks").count()
}
