//! Workers that somebody has stopped (SIGSTOP): nothing waits for them that could run elsewhere,
//! and no pool waits for them to leave.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use manyhands_pool::completion::Wait;
use manyhands_pool::error::TaskError;
use manyhands_pool::future::Future;
use manyhands_pool::process::{ProcessPool, ProcessTask, TaskOptions};
use manyhands_process::Program;
use manyhands_sys::clock::Deadline;
use manyhands_sys::pid::{PidFd, Signal};
use support::{end_of, finish, guard, pool, pool_of, program, submit, submit_with};

/// How long a task, or an end, may take before it counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(60);

#[test]
fn worker_entry() {
    support::serve_if_worker();
}

fn ends(task: &Arc<ProcessTask>, what: &str) {
    // SAFETY: the only one of this task, which this thread alone has.
    let future = unsafe { Future::new(Arc::clone(task) as _) };
    assert!(future.wait_until(Some(Deadline::after(LOST_AFTER))), "{what}");
    end_of(task).expect(what);
}

/// A worker of a pool under test.
struct Worker {
    pid: u32,
    process: PidFd,
}

impl Worker {
    fn open(pid: u32) -> Self {
        Self { pid, process: PidFd::open(pid).expect("it runs") }
    }

    /// Stops all its threads. The main thread, of whose state the kernel tells when it is asked for
    /// the process, is not the one that serves: that one may take another task after it.
    fn stop(&self) {
        self.process.signal(Signal::STOP).expect("a worker can be stopped");
        until("all its threads are stopped", || self.is_stopped());
    }

    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs");
        threads.map(|thread| thread.expect("an entry").path().join("stat")).all(|stat| {
            let stat = std::fs::read_to_string(stat).expect("a stopped thread stays");
            stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('T'))
        })
    }

    fn go_on(&self) {
        self.process.signal(Signal::CONT).expect("a worker can be continued");
    }
}

/// The workers of a pool that has all it may have, each idle.
fn idle_workers(pool: &ProcessPool, n_workers: usize) -> Vec<Worker> {
    let busy: Vec<_> =
        (0..n_workers).map(|_| submit(pool, "spin", &50_000u64.to_le_bytes())).collect();
    busy.iter().for_each(|task| ends(task, "a task never ran"));
    let workers = pool.workers();
    assert_eq!(workers.len(), n_workers);
    workers.iter().map(|worker| Worker::open(worker.pid)).collect()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let lost = Instant::now() + LOST_AFTER;
    while !is_so() {
        assert!(Instant::now() < lost, "it never was so: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn with_timeout(milliseconds: u64) -> TaskOptions {
    TaskOptions { timeout: Some(Duration::from_millis(milliseconds)), ..TaskOptions::default() }
}

#[test]
fn another_worker_is_started_in_the_place_of_the_only_one() {
    let _guard = guard(120);
    let pool = pool(1);
    let worker = idle_workers(&pool, 1).remove(0);
    worker.stop();
    for _ in 0..5 {
        ends(&submit(&pool, "echo", b"x"), "a task waits for a stopped worker");
    }
    assert_eq!(pool.counts().workers_started, 2, "one for the one that is stopped, and no more");
    worker.go_on();
    worker.process.wait_until_exited();
    until("the pool has one worker again", || pool.workers().len() == 1);
    ends(&submit(&pool, "echo", b"x"), "a task is lost");
    assert_eq!(pool.counts().workers_died, 0, "who leaves because it is too many has not died");
    finish(&pool);
}

#[test]
fn a_worker_that_goes_on_is_used_again_if_nobody_is_in_its_place() {
    let _guard = guard(120);
    let pool = pool(2);
    let workers = idle_workers(&pool, 2);
    workers[0].stop();
    workers[1].stop();
    ends(&submit(&pool, "echo", b"x"), "a task waits for a stopped worker");
    // One was started, and one of the two was not waited for.
    workers.iter().for_each(Worker::go_on);
    until("there are two workers again", || pool.workers().len() == 2);
    let both: Vec<_> = (0..2).map(|_| submit(&pool, "spin", &50_000u64.to_le_bytes())).collect();
    both.iter().for_each(|task| ends(task, "a task is lost"));
    finish(&pool);
}

#[test]
fn every_task_ends_once_while_all_workers_are_stopped_again_and_again() {
    let _guard = guard(120);
    let pool = pool(3);
    for _ in 0..3 {
        // All are stopped before there is a task: who is stopped in one is waited for.
        let workers = idle_workers(&pool, 3);
        workers.iter().for_each(Worker::stop);
        let tasks: Vec<_> = (0..60).map(|_| submit(&pool, "echo", b"x")).collect();
        tasks.iter().for_each(|task| ends(task, "a task waits for stopped workers"));
        workers.iter().for_each(Worker::go_on);
        until("surplus workers have left", || pool.workers().len() <= 3);
    }
    assert_eq!((pool.counts().replied, pool.counts().crashed), (3 * 63, 0));
    finish(&pool);
}

#[test]
fn a_worker_that_was_stopped_while_it_started_is_not_waited_for() {
    let _guard = guard(120);
    let mark = std::env::temp_dir().join(format!("manyhands-stopped-{}", std::process::id()));
    let worker = program();
    let mut args = vec![c"sh".to_owned(), c"-c".to_owned()];
    let script = format!(
        "[ -e {mark} ] || {{ : > {mark}; kill -STOP $$; }}; exec \"$0\" \"$@\"",
        mark = mark.display()
    );
    args.push(std::ffi::CString::new(script).expect("a script"));
    args.push(std::ffi::CString::new(worker.path.as_encoded_bytes()).expect("a path"));
    args.extend(worker.args.into_iter().skip(1));
    let shell = Program { path: "/bin/sh".into(), args, env: worker.env };
    let pool = pool_of(Arc::new(shell), 1, None);
    let first = submit(&pool, "echo", b"x");
    until("the first worker runs", || pool.workers().iter().any(|worker| worker.pid != 0));
    let stopped = Worker::open(pool.workers()[0].pid);
    ends(&first, "a task waits for a worker that was stopped at its start");
    std::fs::remove_file(&mark).expect("the first worker has made it");
    stopped.go_on();
    stopped.process.wait_until_exited();
    finish(&pool);
}

#[test]
fn a_closed_pool_does_not_wait_for_a_stopped_idle_worker() {
    let _guard = guard(120);
    let pool = pool(2);
    let workers = idle_workers(&pool, 2);
    workers[0].stop();
    pool.close(false);
    let wait = pool.wait_until_ended(Some(Deadline::after(LOST_AFTER)));
    assert_eq!(wait, Wait::Done, "the closed pool never ended");
    assert!(workers[0].process.has_exited());
}

#[test]
fn a_terminated_pool_ends_though_its_workers_are_stopped() {
    let _guard = guard(120);
    let pool = pool(1);
    let worker = idle_workers(&pool, 1).remove(0);
    let running = submit(&pool, "spin", &3_600_000_000u64.to_le_bytes());
    until("it runs", || running.runs_now());
    worker.stop();
    pool.terminate(true);
    let wait = pool.wait_until_ended(Some(Deadline::after(LOST_AFTER)));
    assert_eq!(wait, Wait::Done, "the terminated pool never ended");
}

#[test]
fn the_time_of_a_task_is_over_though_a_stopped_worker_does_not_claim_it() {
    let _guard = guard(120);
    let pool = pool(1);
    let worker = idle_workers(&pool, 1).remove(0);
    worker.stop();
    let task = submit_with(&pool, "echo", &vec![7; 1 << 20], with_timeout(1));
    assert!(matches!(end_of(&task), Err(TaskError::TimedOut)));
    assert_eq!(pool.counts().timed_out, 1);
    // At a moment when the worker is doubted, and not yet set aside.
    ends(&submit(&pool, "echo", b"x"), "a task waits for a worker that gets none");
    worker.go_on();
    ends(&submit(&pool, "echo", b"x"), "a task is lost");
    assert_eq!(pool.counts().replied, 3, "what has timed out does not run later");
    finish(&pool);
}

#[test]
fn the_time_of_a_task_is_over_though_its_worker_is_busy_with_something_else() {
    let _guard = guard(120);
    let pool = pool(1);
    idle_workers(&pool, 1);
    ends(&submit(&pool, "linger", b""), "a task is lost");
    let task = submit_with(&pool, "echo", b"x", with_timeout(1));
    assert!(matches!(end_of(&task), Err(TaskError::TimedOut)));
    pool.kill(true);
    pool.wait_until_ended(None);
}

#[test]
fn the_start_of_a_worker_is_not_the_tasks_time() {
    let _guard = guard(120);
    let worker = program();
    let mut args = ["sh", "-c", "sleep 2; exec \"$0\" \"$@\""]
        .map(|arg| std::ffi::CString::new(arg).expect("no NUL in it"))
        .to_vec();
    args.push(std::ffi::CString::new(worker.path.as_encoded_bytes()).expect("a path"));
    args.extend(worker.args.into_iter().skip(1));
    let slow = Program { path: "/bin/sh".into(), args, env: worker.env };
    let pool = pool_of(Arc::new(slow), 1, None);
    let task = submit_with(&pool, "echo", b"x", with_timeout(500));
    ends(&task, "it had its time, once there was a worker");
    finish(&pool);
}

#[test]
fn a_task_does_not_wander_between_stopped_workers_for_ever() {
    let _guard = guard(120);
    let pool = pool(3);
    let workers = idle_workers(&pool, 3);
    workers.iter().for_each(Worker::stop);
    for options in [TaskOptions::default(), with_timeout(50_000)] {
        let task = submit_with(&pool, "echo", b"x", options);
        ends(&task, "a task waits for a stopped worker");
    }
    let task = submit_with(&pool, "spin", &3_600_000_000u64.to_le_bytes(), with_timeout(1));
    assert!(matches!(end_of(&task), Err(TaskError::TimedOut)));
    workers.iter().for_each(Worker::go_on);
    finish(&pool);
}
