//! The worker's side: this program, started again, that runs tasks until its pool needs it no
//! more.
//!
//! Guarantees: `main` is never entered beyond [`init`](crate::init()); a panic ends its task, not
//! the worker; what a task printed is flushed before the worker sleeps.
//!
//! What it does not do: it does not react to Ctrl-C. SIGINT stays blocked, the parent decides.

use std::cell::Cell;
use std::io::{self, Write};
use std::process::exit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use manyhands_pool::panics;
use manyhands_pool::process::{Body, Next, ReplyKind, WorkerEnd};
use manyhands_sys::socket::MessageSocket;

use crate::task::{Entry, Registry};
use crate::wire::Failure;

thread_local! {
    /// The connection while a task runs, in the thread that runs it.
    static RUNNING: Cell<*const WorkerEnd> = const { Cell::new(ptr::null()) };
}

/// Whether the task that calls this has been asked to stop: it was cancelled, or its timeout is
/// over. A long task that looks at it now and then can leave in order within its grace; after
/// that the worker is killed.
///
/// In a thread of a [`scope`](crate::scope()): whether the group, or one around it, was asked to
/// stop, for example because another of its threads has failed.
///
/// Always false in other threads that the task has started, in thread pools, and outside of tasks.
///
/// ```
/// #[manyhands::task]
/// fn count_for_ever() -> u64 {
///     let mut n = 0;
///     while !manyhands::stop_requested() {
///         n += 1;
///     }
///     n
/// }
/// assert!(!manyhands::stop_requested());
/// ```
pub fn stop_requested() -> bool {
    let end = RUNNING.get();
    // SAFETY: not null only while `Running` exists in this thread, which borrows the connection.
    let is_task_to_stop = !end.is_null() && unsafe { &*end }.interrupt_wanted();
    is_task_to_stop || crate::scope::stop_requested()
}

/// The task that this worker runs, or ran last.
static LAST_TASK: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

/// What people know this process by, for reports: the task that it runs. `None`: it is no worker.
pub(crate) fn task_name() -> Option<&'static str> {
    // SAFETY: null, or from a `&'static Entry`, of which nothing is ever changed.
    unsafe { LAST_TASK.load(Ordering::Acquire).as_ref() }.map(|entry| entry.name)
}

/// Marks a task as running in this thread, until dropped.
struct Running<'a> {
    _end: &'a WorkerEnd,
}

/// Becomes a worker.
pub(crate) fn serve() -> ! {
    crate::shared::register_kinds();
    let code = match connect() {
        Ok(Some(end)) => {
            run(end);
            0
        }
        // The root is gone already.
        Ok(None) => 0,
        Err(error) => {
            eprintln!("manyhands: a worker process cannot join its pool: {error}");
            1
        }
    };
    exit(code)
}

fn connect() -> io::Result<Option<WorkerEnd>> {
    // SAFETY: the root put the socket there for us, and `main` has not begun.
    let socket = unsafe { MessageSocket::from_stdin() }?;
    let Some(mut launch) = manyhands_process::receive_launch(&socket)? else { return Ok(None) };
    launch.state.enter()?;
    manyhands_sys::thread::set_name(c"mh-worker");
    // SAFETY: it came through the socket that a pool starts its workers with.
    unsafe { WorkerEnd::join(launch) }.map(Some)
}

fn run(mut end: WorkerEnd) {
    let registry = match Registry::get() {
        Ok(registry) => registry,
        Err(error) => return end.set_failed(&error.to_string()),
    };
    end.seal();
    let mut buffer = [0; Body::MAX_INLINE];
    let mut functions = Functions { registry, by_id: Vec::new() };
    end.set_ready();
    loop {
        let next = end.try_next().unwrap_or_else(|| {
            flush();
            end.wait_next()
        });
        match next {
            Next::Run => run_task(&mut end, &mut functions, &mut buffer),
            Next::Interrupted => {}
            Next::Stop => return flush(),
        }
    }
}

/// The tasks this worker has run, by the number its pool gave them.
struct Functions {
    registry: &'static Registry,
    by_id: Vec<Option<&'static Entry>>,
}

impl Functions {
    fn get(&mut self, id: u64, name: &[u8]) -> Option<&'static Entry> {
        let idx = id as usize;
        if self.by_id.len() <= idx {
            self.by_id.resize(idx + 1, None);
        }
        if self.by_id[idx].is_none() {
            self.by_id[idx] = self.registry.find(name);
        }
        self.by_id[idx]
    }
}

fn run_task(end: &mut WorkerEnd, functions: &mut Functions, buffer: &mut [u8; Body::MAX_INLINE]) {
    let outcome = match end.job() {
        Err(error) => Err(Failure::Other(format!("the task's arguments: {error}"))),
        Ok(job) => match functions.get(job.function_id, job.function) {
            None => Err(unknown(job.function)),
            Some(entry) => {
                LAST_TASK.store(ptr::from_ref(entry).cast_mut(), Ordering::Release);
                let _running = Running::new(end);
                panics::catch(|| (entry.run)(job.body, end.heap(), buffer))
                    .unwrap_or_else(|panic| Err(panic.into()))
            }
        },
    };
    match outcome {
        Ok((encoded, carried)) => {
            end.reply_body(ReplyKind::Value, encoded.into_body(buffer), carried);
        }
        Err(failure) => reply_failure(end, &failure),
    }
}

fn unknown(name: &[u8]) -> Failure {
    Failure::Other(format!(
        "this worker knows no task called {}: do not replace parts of a program that runs",
        String::from_utf8_lossy(name)
    ))
}

fn reply_failure(end: &mut WorkerEnd, failure: &Failure) {
    let bytes = postcard::to_stdvec(failure).expect("strings always encode");
    if end.reply(ReplyKind::Raised, &bytes).is_err() {
        let short = Failure::Other("the task failed, and no memory was left to say why".to_owned());
        let bytes = postcard::to_stdvec(&short).expect("strings always encode");
        reply_inline(end, ReplyKind::Raised, &bytes);
    }
}

fn reply_inline(end: &mut WorkerEnd, kind: ReplyKind, bytes: &[u8]) {
    end.reply(kind, bytes).expect("what fits a slot needs no memory");
}

/// Lines are printed as they end; this is for the rest. An output that is closed is no concern.
fn flush() {
    let _ = io::stdout().flush();
}

impl<'a> Running<'a> {
    fn new(end: &'a WorkerEnd) -> Self {
        RUNNING.set(end);
        Self { _end: end }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        RUNNING.set(ptr::null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_no_worker_knows_is_a_sentence_with_its_name() {
        let registry = Registry::get().unwrap();
        let mut functions = Functions { registry, by_id: Vec::new() };
        assert!(functions.get(3, b"app::gone").is_none());
        let Failure::Other(why) = unknown(b"app::gone") else { panic!("not a sentence") };
        assert!(why.contains("no task called app::gone"), "{why}");
    }
}
