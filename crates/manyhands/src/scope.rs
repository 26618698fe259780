//! Threads that end before the block that started them does: structured concurrency.
//!
//! Guarantees:
//! - [`scope`] returns after the last of its threads has ended, also when its body panics;
//! - the first failure (an `Err` or a panic) asks the others to stop; all failures are collected;
//! - what the threads borrow may lie outside of the scope, as with `std::thread::scope`;
//! - waiting for a thread is known to deadlock detection. At the end of a scope it is the threads
//!   that are told of a deadlock, not the one that waits for them: leaving early would be unsound.
//!
//! What it does not do: it stops no thread by force. A thread that was asked to stop looks at
//! [`stop_requested`](crate::stop_requested()) now and then, or sleeps in [`Group::sleep`]. One
//! that waits for a lock or a queue goes on waiting for it.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use manyhands_pool::error::TaskError;
use manyhands_pool::panics::{self, Contained};
use manyhands_sync::Event;
use manyhands_sync::blocking::{block, block_without_panic};
use manyhands_sync::deadlock::{Description, EndedBy, Resource, Site};
use manyhands_sync::event::RawEvent;
use manyhands_sync::sleep::Waiting;
use manyhands_sys::futex::Private;
use manyhands_sys::thread_id;

/// Runs `body`, which starts threads in the group it gets, and waits until all have ended.
///
/// ```
/// let words = ["rice", "beans"];
/// let total = manyhands::scope(|group| {
///     let letters = words.map(|word| group.spawn(word, move || Ok::<_, String>(word.len())));
///     letters.into_iter().filter_map(|letters| letters.join()).sum::<usize>()
/// });
/// assert_eq!(total.unwrap(), 9);
/// ```
///
/// The first failure asks the others to stop:
///
/// ```
/// let failed = manyhands::scope(|group| {
///     group.spawn("patient", || while !manyhands::stop_requested() {});
///     group.spawn("hasty", || Err::<(), _>("no salt"));
/// });
/// let failures = failed.unwrap_err();
/// assert_eq!(failures.list()[0].thread(), "hasty");
/// assert!(failures.to_string().contains("no salt"));
/// ```
///
/// # Errors
/// [`Failures`] if a thread failed.
///
/// # Panics
/// If `body` does, after all threads were asked to stop and have ended.
#[track_caller]
pub fn scope<'env, T>(
    body: impl for<'scope> FnOnce(&Group<'scope, 'env>) -> T,
) -> Result<T, Failures> {
    let here = Location::caller();
    let shared = Arc::new(Shared { parent: current(), ..Shared::default() });
    let outcome = thread::scope(|threads| {
        let group = Group { threads, shared: Arc::clone(&shared) };
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&group)));
        if outcome.is_err() {
            shared.stop.set();
        }
        shared.wait_for_all(here);
        outcome
    });
    let failures = std::mem::take(&mut *lock(&shared.failures));
    match outcome {
        Err(panic) => {
            // Before unwinding, during which a destructor must not panic.
            panics::discard(failures);
            resume_unwind(panic)
        }
        Ok(value) if failures.is_empty() => Ok(value),
        Ok(_) => Err(Failures { n_threads: lock(&shared.members).len(), list: failures }),
    }
}

/// The threads of one [`scope`]. A thread that is to start others gets a clone.
#[derive(Clone)]
pub struct Group<'scope, 'env: 'scope> {
    threads: &'scope thread::Scope<'scope, 'env>,
    shared: Arc<Shared>,
}

/// One thread of a [`Group`].
pub struct Spawned<'scope, T> {
    member: Arc<Member>,
    value: Arc<Mutex<Contained<T>>>,
    scope: PhantomData<&'scope ()>,
}

/// What a thread of a group may return: nothing, or a `Result` whose error can be shown.
pub trait Outcome {
    /// What [`Spawned::join`] hands out.
    type Value: Send;

    /// The value, or why there is none.
    ///
    /// # Errors
    /// The thread's own.
    fn into_result(self) -> Result<Self::Value, Box<dyn Error + Send + Sync>>;
}

/// What went wrong in the threads of a scope, in the order in which it did.
#[derive(Debug)]
pub struct Failures {
    n_threads: usize,
    list: Vec<Failure>,
}

/// Why one thread of a scope failed.
#[derive(Debug)]
pub struct Failure {
    thread: String,
    cause: Box<dyn Error + Send + Sync>,
}

/// What the group, its threads and who joins them share.
#[derive(Default)]
struct Shared {
    stop: Event,
    failures: Mutex<Vec<Failure>>,
    members: Mutex<Vec<Arc<Member>>>,
    /// The group that the scope's own thread belongs to.
    parent: Option<Arc<Shared>>,
}

/// One thread, as far as others wait for it.
struct Member {
    name: String,
    ended: RawEvent<Private>,
    /// 0: it has not begun.
    thread: AtomicU32,
}

thread_local! {
    static GROUP: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// Whether the calling thread belongs to a group that was asked to stop.
pub(crate) fn stop_requested() -> bool {
    GROUP.with_borrow(|group| group.as_ref().is_some_and(|group| group.stop_requested()))
}

impl<'scope> Group<'scope, '_> {
    /// Starts a thread.
    ///
    /// # Panics
    /// If the system refuses to start one.
    pub fn spawn<R: Outcome>(
        &self,
        name: impl Into<String>,
        body: impl FnOnce() -> R + Send + 'scope,
    ) -> Spawned<'scope, R::Value>
    where
        R::Value: 'scope,
    {
        let member = Arc::new(Member {
            name: name.into(),
            ended: RawEvent::new(),
            thread: AtomicU32::new(0),
        });
        let value = Arc::new(Mutex::new(Contained::empty()));
        let (shared, me, result) =
            (Arc::clone(&self.shared), Arc::clone(&member), Arc::clone(&value));
        let run = move || {
            let running = Running::begin(&me, &shared);
            match panics::catch(|| body().into_result()) {
                Ok(Ok(value)) => *lock(&result) = Contained::new(value),
                Ok(Err(cause)) => shared.fail(&me, cause),
                Err(panic) => shared.fail(&me, panic.into()),
            }
            // The value belongs to who joins, who may be waiting for this thread's end; or it is
            // dropped here.
            drop(result);
            drop(running);
        };
        let started = thread::Builder::new().name(member.name.clone());
        // Listed only if it runs: who leaves the scope waits for all that are.
        if let Err(error) = started.spawn_scoped(self.threads, run) {
            panic!("the thread {:?} cannot be started: {error}", member.name);
        }
        lock(&self.shared.members).push(Arc::clone(&member));
        Spawned { member, value, scope: PhantomData }
    }

    /// Asks all threads to stop.
    pub fn stop(&self) {
        self.shared.stop.set();
    }

    /// Whether the threads were asked to stop, here or in a group around this one.
    pub fn stop_requested(&self) -> bool {
        self.shared.stop_requested()
    }

    /// Sleeps; false if the threads were asked to stop before `duration` was over. Not woken when
    /// only a group around this one is.
    pub fn sleep(&self, duration: Duration) -> bool {
        !self.shared.stop.wait_for(duration)
    }
}

impl<T> Spawned<'_, T> {
    /// Waits until the thread has ended. `None`: it failed, and [`scope`] will say why.
    ///
    /// # Panics
    /// With the report, if the wait could never end.
    #[track_caller]
    pub fn join(self) -> Option<T> {
        let member = &*self.member;
        let generation = member.ended.generation();
        let mut waiting = Waiting::new(member, Site::Rust(Location::caller()));
        block(&mut waiting, None, |deadline, waiting| {
            member.ended.wait(generation, deadline, waiting)
        });
        lock(&self.value).take()
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.member.ended.is_set()
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.member.name
    }
}

impl Shared {
    fn stop_requested(&self) -> bool {
        self.stop.is_set() || self.parent.as_ref().is_some_and(|parent| parent.stop_requested())
    }

    fn fail(&self, member: &Member, cause: Box<dyn Error + Send + Sync>) {
        lock(&self.failures).push(Failure { thread: member.name.clone(), cause });
        self.stop.set();
    }

    fn wait_for_all(&self, here: &'static Location<'static>) {
        // A thread may start others meanwhile, so the list is looked at anew each time.
        let mut n_joined = 0;
        while let Some(member) = { lock(&self.members).get(n_joined).cloned() } {
            let generation = member.ended.generation();
            let mut waiting = Waiting::new(&*member, Site::Rust(here));
            block_without_panic(&mut waiting, |waiting| {
                member.ended.wait(generation, None, waiting)
            });
            n_joined += 1;
        }
    }
}

/// Marks the calling thread as a running member, until dropped.
struct Running {
    member: Arc<Member>,
}

impl Running {
    fn begin(member: &Arc<Member>, shared: &Arc<Shared>) -> Self {
        member.thread.store(thread_id::me(), Ordering::Release);
        GROUP.set(Some(Arc::clone(shared)));
        Self { member: Arc::clone(member) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        GROUP.set(None);
        self.member.ended.set();
    }
}

impl Resource for Member {
    fn describe(&self) -> Description {
        let id = std::ptr::from_ref(self) as usize;
        Description { kind: "Thread", name: Some(self.name.clone()), id }
    }

    fn ended_by(&self) -> EndedBy {
        match self.thread.load(Ordering::Acquire) {
            _ if self.ended.is_set() => EndedBy::Nobody,
            0 => EndedBy::Anyone,
            thread => EndedBy::EndOf(thread),
        }
    }
}

impl Outcome for () {
    type Value = ();

    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

impl<T: Send, E: Into<Box<dyn Error + Send + Sync>>> Outcome for Result<T, E> {
    type Value = T;

    fn into_result(self) -> Result<T, Box<dyn Error + Send + Sync>> {
        self.map_err(Into::into)
    }
}

impl Failures {
    /// Each failure, the first one first.
    pub fn list(&self) -> &[Failure] {
        &self.list
    }
}

impl Failure {
    /// The name of the thread.
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// The error that the thread returned, or [`TaskError::Panicked`].
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }

    /// Whether the thread panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.cause.downcast_ref(), Some(TaskError::Panicked { .. }))
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} threads of a scope failed:", self.list.len(), self.n_threads)?;
        self.list.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause.downcast_ref() {
            Some(TaskError::Panicked { message, location: Some(location) }) => {
                write!(f, "{:?} panicked at {location}: {message}", self.thread)
            }
            _ => write!(f, "{:?}: {}", self.thread, self.cause),
        }
    }
}

impl Error for Failures {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.list.first().map(|failure| &*failure.cause as _)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

fn current() -> Option<Arc<Shared>> {
    GROUP.with_borrow(Clone::clone)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
