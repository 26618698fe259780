//! The one heap of this process's family: made when first needed, or joined by a launched process.
//!
//! The process that made it lets it go with its last user, unless it asked for [`kept_heap`]; one
//! that joined keeps it to its end.
//!
//! A fork is announced: [`before_fork`] makes the child a party, with references of its own to all
//! the objects of its parent. Without that (a fork in C code) the child must not use the heap.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use manyhands_sys::per_process::PerProcess;

use crate::heap::{Heap, HeapConfig};
use crate::object::Inheritance;
use crate::party::Party;
use crate::size;

/// The variable that limits a new heap, see [`crate::size`].
const LIMIT_VARIABLE: &str = "MANYHANDS_HEAP_LIMIT";

#[derive(Default)]
struct Current {
    heap: Weak<Heap>,
    /// Stays to the end of the process: it was born into the family, or has used shared objects.
    kept: Option<Arc<Heap>>,
    /// Children that nobody has asked about: forked by programs that know nothing of us.
    foundlings: Vec<Party>,
}

/// A fork that is about to happen in this thread.
struct Plan {
    heap: Arc<Heap>,
    child: Party,
    inheritance: Inheritance,
}

static CURRENT: PerProcess<Mutex<Current>> = PerProcess::new();

thread_local! {
    static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
    static LAST_FORKED: RefCell<Option<(Weak<Heap>, Party)>> = const { RefCell::new(None) };
}

/// The heap of the calling process's family.
///
/// # Errors
/// If shared memory cannot be had, or `MANYHANDS_HEAP_LIMIT` is no size.
pub fn heap() -> io::Result<Arc<Heap>> {
    lock().heap()
}

/// The same, kept by this process from now on: to make and unmap a heap costs many times what a
/// small object does, and a program may make and drop one after the other. What stays of an unused
/// heap are the pages of small blocks: the last object takes the [warm](Heap::warm_bytes) ones
/// with it.
///
/// # Errors
/// As [`heap`].
pub fn kept_heap() -> io::Result<Arc<Heap>> {
    let mut current = lock();
    let heap = current.heap()?;
    if current.kept.is_none() {
        current.kept = Some(Arc::clone(&heap));
    }
    Ok(heap)
}

/// The heap, if there is one at the moment.
pub fn existing() -> Option<Arc<Heap>> {
    lock().heap.upgrade()
}

/// Joins the family whose heap is behind `fd` as the party that the launcher of this process has
/// for it.
///
/// # Errors
/// If that is no heap of this version.
///
/// # Safety
/// As for [`Heap::attach`].
pub unsafe fn join(fd: OwnedFd, me: Party) -> io::Result<Arc<Heap>> {
    // SAFETY: the caller's promise.
    let joined = unsafe { Heap::attach(fd, me) }?;
    let mut current = lock();
    let heap = match current.heap.upgrade() {
        // Forked from a member: what it inherited lies in the mapping that it has.
        Some(here) if here.family() == joined.family() => {
            here.change_party(me);
            here
        }
        _ => joined,
    };
    current.heap = Arc::downgrade(&heap);
    current.kept = Some(Arc::clone(&heap));
    Ok(heap)
}

/// Before this thread forks: prepares the child's membership.
pub fn before_fork() {
    let plan = existing().and_then(|heap| {
        bury_dead_foundlings(&heap);
        let child = heap.new_party().ok()?;
        match heap.inheritance_for(child) {
            Ok(inheritance) => Some(Plan { heap, child, inheritance }),
            Err(_) => {
                // SAFETY: there is no child yet.
                unsafe { heap.bury(child) };
                None
            }
        }
    });
    PLAN.set(plan);
}

/// After the fork, in the parent.
pub fn after_fork_in_parent() {
    let plan = PLAN.take();
    if let Some(plan) = &plan {
        lock().foundlings.push(plan.child);
    }
    LAST_FORKED.set(plan.map(|plan| (Arc::downgrade(&plan.heap), plan.child)));
}

/// The party that the last fork of this thread made its child; once.
///
/// Whoever asks tells who it is ([`Heap::name_party`]), and [buries](Heap::bury) it at its end, or
/// at once if there is no child. Children that nobody asks about are buried some forks later.
pub fn last_forked() -> Option<(Arc<Heap>, Party)> {
    let (heap, child) = LAST_FORKED.take()?;
    lock().foundlings.retain(|party| *party != child);
    Some((heap.upgrade()?, child))
}

fn bury_dead_foundlings(heap: &Arc<Heap>) {
    let mut foundlings = std::mem::take(&mut lock().foundlings);
    // One that has no process id yet may be a fork that failed: it stays, for one that succeeded.
    foundlings.retain(|party| {
        // Not to wait here: a fork must not depend on another undertaker.
        !heap.try_bury_if_dead(*party) || heap.is_listed(*party)
    });
    lock().foundlings.append(&mut foundlings);
}

/// After the fork, in the child: a party of its own from now on, which holds what its parent did.
///
/// Without a plan (no memory, or too many members), or if its parent has ended and others have
/// buried the child with it before it came here, the child is in no family, and its copies of
/// shared objects refuse what would change who holds them.
pub fn after_fork_in_child() {
    let before = lock_of_parent();
    CURRENT.forget();
    crate::waits::forget_after_fork();
    LAST_FORKED.take();
    let Some(Plan { heap, child, inheritance }) = PLAN.take() else {
        if let Some(heap) = before {
            heap.windows.renew();
            heap.become_nobody();
            // Its copies of objects keep it mapped.
            std::mem::forget(heap);
        }
        return;
    };
    heap.windows.renew();
    heap.local.renew(Mutex::default());
    if !heap.become_party(child) {
        std::mem::forget((heap, inheritance, before));
        return;
    }
    heap.inherit(inheritance, child);
    let mut current = lock();
    current.heap = Arc::downgrade(&heap);
    current.kept = Some(heap);
}

impl Current {
    fn heap(&mut self) -> io::Result<Arc<Heap>> {
        if let Some(heap) = self.heap.upgrade() {
            if heap.file.is_intact() {
                return Ok(heap);
            }
            // Closed with all other descriptors, by a program that became a daemon: what lies there
            // can be used here on, and sent to nobody. Never dropped: the number may be another's.
            self.kept = None;
            std::mem::forget(heap);
        }
        let heap = Heap::create(HeapConfig { limit_bytes: limit()? })?;
        self.heap = Arc::downgrade(&heap);
        Ok(heap)
    }
}

/// The heap that the parent had, if its lock is free.
fn lock_of_parent() -> Option<Arc<Heap>> {
    CURRENT.get().try_lock().ok()?.heap.upgrade()
}

fn lock() -> MutexGuard<'static, Current> {
    CURRENT.get().lock().unwrap_or_else(PoisonError::into_inner)
}

fn limit() -> io::Result<Option<u64>> {
    let Some(text) = std::env::var_os(LIMIT_VARIABLE) else { return Ok(None) };
    let text = text.to_string_lossy();
    size::parse(&text).map(Some).map_err(|why| {
        let text = format!(
            "the environment variable {LIMIT_VARIABLE} is {text:?}, which {why}: give a number of \
             bytes, or one with a unit, as in 512M, 1.5G or 2GiB"
        );
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}
