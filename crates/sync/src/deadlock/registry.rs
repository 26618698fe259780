//! The waits of this process that have lasted a while, and what they prove.
//!
//! One mutex guards the list. Nobody waits for anything, runs an interpreter, or lets go of its
//! lock while holding it; resources are only asked what their words say.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use manyhands_sys::atomic::{AtomicU64, Ordering};
use manyhands_sys::census::{Census, Doing, Sighting};
use manyhands_sys::clock::monotonic_ns;
use manyhands_sys::per_process::PerProcess;
use manyhands_sys::thread_id;

use super::graph::{Cycle, Edge, cycle_through, waits_for_another};
use super::report::{Deadlock, Kind, StuckThread, Thing};
use super::{EndedBy, HOOKS, Resource, Site};

/// A wait in the registry, until dropped.
pub struct Entry<'a> {
    serial: u64,
    thread: u32,
    /// The wait outlives neither the resource nor the thread.
    resource: PhantomData<(&'a dyn Resource, *const ())>,
}

struct Wait {
    serial: u64,
    thread: u32,
    kernel_id: u32,
    name: Option<String>,
    resource: NonNull<dyn Resource>,
    site: Site,
    /// It was told of a deadlock, and will end or has reported: others need not be told as well.
    is_told: bool,
    /// The suspicion that it is part of a deadlock was told, by this wait or another.
    is_suspected: bool,
}

// SAFETY: the resource is `Sync`, and lives until its entry is dropped, which takes the wait out.
unsafe impl Send for Wait {}

#[derive(Default)]
struct Waits {
    next_serial: u64,
    list: Vec<Wait>,
}

/// When the kernel may be asked again; `u64::MAX`: somebody is asking.
static NEXT_CENSUS_NS: AtomicU64 = AtomicU64::new(0);

static WAITS: PerProcess<Mutex<Waits>> = PerProcess::new();

/// The calling thread has waited for `resource` for a while.
pub fn enter<'a>(resource: &'a dyn Resource, site: Site) -> Entry<'a> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| manyhands_sys::fork::in_child(forget_after_fork));
    let thread = thread_id::me();
    let name = std::thread::current().name().map(ToOwned::to_owned);
    let pointer = NonNull::from(resource);
    // SAFETY: only the lifetime in the type changes; the entry ends before the lifetime does.
    let resource = unsafe {
        std::mem::transmute::<NonNull<dyn Resource + 'a>, NonNull<dyn Resource + 'static>>(pointer)
    };
    let mut waits = waits();
    waits.next_serial += 1;
    let serial = waits.next_serial;
    let kernel_id = thread_id::kernel_id();
    waits.list.push(Wait {
        serial,
        thread,
        kernel_id,
        name,
        resource,
        site,
        is_told: false,
        is_suspected: false,
    });
    Entry { serial, thread, resource: PhantomData }
}

/// How many waits are entered.
pub fn n_waiting() -> u32 {
    waits().list.len() as u32
}

/// Whether the wait of `entry` cannot end, as far as can be told without the layers above; or, if
/// `suspects`, whether that is likely.
pub fn is_stuck(entry: &Entry<'_>, suspects: bool) -> bool {
    match cycle_of(entry) {
        Some(cycle) if cycle.is_sure => return true,
        Some(_) if suspects && !is_suspected(entry) => return true,
        _ => {}
    }
    Pace::begin().is_some_and(|_pace| everyone_asleep(entry).is_some())
}

/// The report, if the wait of `entry` cannot end, or if that is likely and was not said yet. One
/// wait of a deadlock gets it.
pub fn explain(entry: &Entry<'_>) -> Option<Deadlock> {
    let (kind, serials) = find(entry)?;
    is_first_to_tell(entry, kind, &serials).then(|| report(kind, &serials))
}

/// The same for a wait that goes on whatever it is told: it is not the one that gets the report, so
/// another one still may.
pub fn witness(entry: &Entry<'_>) -> Option<Deadlock> {
    let (kind, serials) = find(entry)?;
    let is_told = |wait: &Wait| wait.is_told && serials.contains(&wait.serial);
    let is_news = kind != Kind::Suspected && !waits().list.iter().any(is_told);
    is_news.then(|| report(kind, &serials))
}

/// Why the wait of `entry` cannot end, or why that is likely, and with which others.
fn find(entry: &Entry<'_>) -> Option<(Kind, Vec<u64>)> {
    let cycle = cycle_of(entry);
    let is_sure = cycle.as_ref().is_some_and(|cycle| cycle.is_sure);
    let asleep =
        if is_sure { None } else { everyone_asleep(entry).filter(|_| !may_be_signalled()) };
    let of_cycle = cycle.map(|cycle| cycle.waits.iter().map(|edge| edge.serial).collect());
    match (of_cycle, asleep) {
        (Some(of_cycle), asleep) if is_sure || asleep.is_some() => Some((Kind::Cycle, of_cycle)),
        (None, Some(all)) => Some((Kind::EveryoneAsleep, all)),
        (Some(of_cycle), _) => Some((Kind::Suspected, of_cycle)),
        (None, None) => None,
    }
}

/// Whether the suspicion that `entry` is part of a deadlock was told.
fn is_suspected(entry: &Entry<'_>) -> bool {
    waits().list.iter().any(|wait| wait.serial == entry.serial && wait.is_suspected)
}

/// Whether a signal could run code that ends waits.
fn may_be_signalled() -> bool {
    match HOOKS.get() {
        Some(hooks) => (hooks.main_may_be_signalled)(),
        None => manyhands_sys::census::has_signal_handlers(),
    }
}

/// Marks `entry` as told, unless another wait of the same deadlock is.
fn is_first_to_tell(entry: &Entry<'_>, kind: Kind, serials: &[u64]) -> bool {
    let mut waits = waits();
    let of_it = |wait: &Wait| serials.contains(&wait.serial);
    if kind == Kind::Suspected {
        let is_first = !waits.list.iter().any(|wait| wait.is_suspected && of_it(wait));
        for wait in &mut waits.list {
            wait.is_suspected |= of_it(wait);
        }
        return is_first;
    }
    if waits.list.iter().any(|wait| wait.is_told && of_it(wait)) {
        return false;
    }
    for wait in &mut waits.list {
        wait.is_told |= wait.serial == entry.serial;
    }
    true
}

/// The cycle that `entry` is part of.
fn cycle_of(entry: &Entry<'_>) -> Option<Cycle> {
    let find = || {
        let waits = waits();
        let of_thread = |thread: u32| waits.list.iter().find(|wait| wait.thread == thread);
        cycle_through(entry.thread, |thread| of_thread(thread).map(Wait::edge))
    };
    let cycle = find()?;
    // Twice the same waits: each thread was asleep from before the first look until after it.
    (find()? == cycle).then_some(cycle)
}

/// All waits, if no thread of the process can run by itself, and `entry` is one to be told: not if
/// it just waits for another of them, which is told itself.
fn everyone_asleep(entry: &Entry<'_>) -> Option<Vec<u64>> {
    let before = edges();
    let may_end = |edge: &Edge| matches!(edge.ended_by, EndedBy::Nobody | EndedBy::OtherProcess);
    if before.iter().any(may_end) {
        return None;
    }
    if waits_for_another(entry.thread, &before) {
        return None;
    }
    let entered: Vec<u32> = waits().list.iter().map(|wait| wait.kernel_id).collect();
    let sleeps = |sighting: &Sighting| match sighting.doing {
        Doing::AsleepForEver => true,
        // Entered waits come up now and then to look, as this one does.
        Doing::AsleepOnWord => entered.contains(&sighting.thread),
        Doing::Running => false,
    };
    let census = Census::take_if_all(sleeps)?;
    // Between two equal answers nobody ran, so what the words say in between is the whole truth.
    if edges() != before || Census::take_if_all(sleeps)? != census {
        return None;
    }
    Some(before.iter().map(|edge| edge.serial).collect())
}

/// Asking the kernel about thousands of threads takes a while: only one waiter at a time does it,
/// and between two times at least so much time passes that it costs a few percent of a processor.
struct Pace {
    began_ns: u64,
}

impl Pace {
    const REST: u64 = 30;

    fn begin() -> Option<Self> {
        let now_ns = monotonic_ns();
        let next_ns = NEXT_CENSUS_NS.load(Ordering::Relaxed);
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let is_mine = next_ns <= now_ns
            && NEXT_CENSUS_NS.compare_exchange(next_ns, u64::MAX, success, failure).is_ok();
        is_mine.then_some(Self { began_ns: now_ns })
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        let now_ns = monotonic_ns();
        let next_ns = now_ns + Self::REST * (now_ns - self.began_ns);
        NEXT_CENSUS_NS.store(next_ns, Ordering::Relaxed);
    }
}

fn edges() -> Vec<Edge> {
    waits().list.iter().map(Wait::edge).collect()
}

fn report(kind: Kind, serials: &[u64]) -> Deadlock {
    let waits = waits();
    let of_serial = |serial: &u64| waits.list.iter().find(|wait| wait.serial == *serial);
    let waits: Vec<&Wait> = serials.iter().filter_map(of_serial).collect();
    let stuck = |wait: &&Wait| {
        let holds = waits.iter().filter_map(|other| match other.resource().ended_by() {
            EndedBy::Owner { thread, acquired_at, .. } if thread == wait.thread => {
                Some(Thing::new(other.resource(), acquired_at))
            }
            _ => None,
        });
        let mut holds: Vec<Thing> = holds.collect();
        holds.dedup_by_key(|thing| thing.id);
        StuckThread {
            thread: wait.thread,
            kernel_id: wait.kernel_id,
            name: wait.name.clone(),
            holds,
            waits_for: Thing::new(wait.resource(), wait.site),
            ended_by: match wait.resource().ended_by() {
                EndedBy::Owner { thread, .. } | EndedBy::EndOf(thread) => Some(thread),
                EndedBy::Anyone | EndedBy::OtherProcess | EndedBy::Nobody => None,
            },
        }
    };
    Deadlock { kind, threads: waits.iter().map(stuck).collect() }
}

fn waits() -> MutexGuard<'static, Waits> {
    WAITS.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a forked child nobody waits.
extern "C" fn forget_after_fork() {
    WAITS.forget();
    NEXT_CENSUS_NS.store(0, Ordering::Relaxed);
    crate::sleep::forget_after_fork();
}

impl Wait {
    fn edge(&self) -> Edge {
        Edge { serial: self.serial, thread: self.thread, ended_by: self.resource().ended_by() }
    }

    fn resource(&self) -> &dyn Resource {
        // SAFETY: the wait is in the list, so its entry, and with it the resource, lives.
        unsafe { self.resource.as_ref() }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        waits().list.retain(|wait| wait.serial != self.serial);
    }
}
