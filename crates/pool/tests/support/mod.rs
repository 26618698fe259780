//! Worker processes for the tests: this very test binary, re-entered through one of its tests.
//!
//! A worker understands a few functions, named by their bytes.

#![allow(dead_code, unused_imports, reason = "each test program uses its own part of it")]

pub mod tallied;

use std::sync::Arc;
use std::time::Duration;

use manyhands_pool::process::{
    Body, Next, PoolConfig, ProcessPool, ProcessTask, Reply, ReplyKind, TaskOptions, WorkerEnd,
};
use manyhands_process::{Launcher, Program};
use manyhands_sys::socket::MessageSocket;
use manyhands_sys::thread::exit_now;
use manyhands_testing::reentry::Reentry;
pub use manyhands_testing::watchdog::guard;

const MARK: &str = "MANYHANDS_TEST_WORKER";

/// Call this from a test named `worker_entry`: in a worker process it never returns.
pub fn serve_if_worker() {
    if std::env::var_os(MARK).is_none() {
        return;
    }
    // SAFETY: nothing else in a worker of the tests reads its standard input.
    let socket = unsafe { MessageSocket::from_stdin() }.expect("a worker has a socket");
    let launch = manyhands_process::receive_launch(&socket).expect("a launch arrives");
    let Some(launch) = launch else { exit_now(0) };
    // SAFETY: the launch that the test's pool has sent.
    let mut end = unsafe { WorkerEnd::join(launch) }.expect("the worker joins its family");
    end.set_ready();
    loop {
        match end.wait_next() {
            Next::Run => run(&mut end),
            Next::Interrupted => {}
            Next::Stop => exit_now(0),
        }
    }
}

fn run(end: &mut WorkerEnd) {
    let job = end.job().expect("room");
    let body = job.body.to_vec();
    let reply = match job.function {
        b"echo" => body,
        b"spin" => {
            let us = u64::from_le_bytes(body.try_into().expect("spin takes microseconds"));
            std::thread::sleep(Duration::from_micros(us));
            Vec::new()
        }
        b"until" => {
            // What the test makes when it wants the task to end.
            let path = String::from_utf8(body).expect("until takes a path");
            while !std::path::Path::new(&path).exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Vec::new()
        }
        b"tallied" => tallied::run(end, &body),
        b"check_bytes_later" => {
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(1));
                assert!(body_of(end).iter().all(|byte| *byte == 7), "the arguments changed");
            }
            Vec::new()
        }
        b"linger" => {
            // What a task leaves behind may keep its worker from the next one.
            end.reply(ReplyKind::Value, b"").expect("a short reply fits the slot");
            std::thread::sleep(Duration::from_secs(3_600));
            return;
        }
        b"abort" => std::process::abort(),
        b"exit" => exit_now(body[0].into()),
        other => panic!("unknown function {other:?}"),
    };
    if end.reply(ReplyKind::Value, &reply).is_err() {
        end.reply(ReplyKind::Raised, b"out of memory").expect("a short reply fits the slot");
    }
}

fn body_of(end: &WorkerEnd) -> &[u8] {
    end.job().expect("room").body
}

/// A pool of such workers.
pub fn pool(max_workers: usize) -> ProcessPool {
    pool_with(max_workers, None)
}

/// A pool whose workers run at most `quota` tasks each.
pub fn pool_with(max_workers: usize, quota: Option<u64>) -> ProcessPool {
    pool_of(Arc::new(program()), max_workers, quota)
}

/// A pool whose workers `launcher` starts.
pub fn pool_of(launcher: Arc<dyn Launcher>, max_workers: usize, quota: Option<u64>) -> ProcessPool {
    ProcessPool::new(PoolConfig {
        max_workers,
        max_tasks_per_worker: quota,
        start_all: false,
        launcher,
        setup: b"setup".to_vec(),
        fds: Vec::new(),
    })
    .expect("a pool starts")
}

/// What starts a worker: this test program, at its `worker_entry`.
pub fn program() -> Program {
    let Reentry { path, args, env } = Reentry::at("worker", "worker_entry", MARK);
    Program { path: path.into(), args, env }
}

/// Submits one call.
pub fn submit(pool: &ProcessPool, function: &str, body: &[u8]) -> Arc<ProcessTask> {
    submit_with(pool, function, body, TaskOptions::default())
}

/// Submits one call with options.
pub fn submit_with(
    pool: &ProcessPool,
    function: &str,
    body: &[u8],
    options: TaskOptions,
) -> Arc<ProcessTask> {
    let function = pool.function(function.as_bytes(), None).expect("room for a function");
    let body = Body::copy_of(body, pool.heap()).expect("room for the arguments");
    pool.submit(function, body, options).expect("an open pool takes tasks")
}

/// Waits for a task's end.
pub fn end_of(task: &Arc<ProcessTask>) -> Result<Reply, manyhands_pool::error::TaskError> {
    // SAFETY: the only one of this task at a time, which this thread alone waits for.
    unsafe { manyhands_pool::future::Future::new(Arc::clone(task) as _) }.result()
}

/// Ends the pool and waits for it.
pub fn finish(pool: &ProcessPool) {
    pool.close(false);
    pool.wait_until_ended(None);
}
