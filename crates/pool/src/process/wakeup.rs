//! Who sleeps on what, and why nobody is left asleep: the worker's parking and the pool's bell.
//!
//! Both work alike. The sleeper says that it is about to sleep, *then* looks a last time; the other
//! side publishes, *then* looks whether somebody sleeps. Whatever the processors reorder, at least
//! one of the two sees the other. The models at the end of this file prove it.
//!
//! What it does not do: it carries no data. What was published lies in slots, read by their words.

use manyhands_sys::atomic::{AtomicU32, Ordering, fence, order_for_loom};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Shared, WaitEnd};

/// Where one worker sleeps. 1: it sleeps, or is about to. All zeros: it is awake.
#[cfg_attr(not(loom), repr(transparent))]
pub(crate) struct Parking {
    parked: Futex<Shared>,
}

/// The word every worker of a pool rings when it has something to say. All zeros: silent.
#[cfg_attr(not(loom), repr(C, align(64)))]
pub(crate) struct Bell {
    rings: Futex<Shared>,
    /// The collector's [`Watch`].
    parked: AtomicU32,
}

/// Whether the collector sleeps, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Watch {
    /// It will look at everything once more.
    Awake = 0,
    /// It sleeps, and looks again soon by itself.
    Dozing = 1,
    /// It sleeps until somebody rings or a deadline it knows comes.
    Asleep = 2,
}

impl Parking {
    /// Worker: sleeps until woken, unless `ready` finds that there is something already. False: a
    /// signal handler ran.
    pub(crate) fn park(&self, ready: impl Fn() -> bool) -> bool {
        self.parked.store(1, Ordering::SeqCst);
        // SeqCst fence: meets the one in `wake`. Either the root sees us parked, or we see what
        // it published.
        fence(Ordering::SeqCst);
        let mut undisturbed = true;
        if !ready() {
            undisturbed = self.parked.wait(1, None) != WaitEnd::Interrupted;
        }
        self.parked.store(0, Ordering::Relaxed);
        undisturbed
    }

    /// Root, after publishing: wakes the worker if it sleeps.
    pub(crate) fn wake(&self) {
        // SeqCst fence: meets the one in `park`.
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) == 1 && self.parked.swap(0, Ordering::Relaxed) == 1 {
            self.parked.wake_one();
        }
    }
}

impl Bell {
    /// Tells the collector that there is something to see; wakes it only if it sleeps.
    ///
    /// A ringer that stops or dies between the two steps delays nobody else: the next ring
    /// changes the count again and finds the collector still parked.
    pub(crate) fn ring(&self) {
        // SeqCst, as every access to both words: in the one order of all of them this ring comes
        // before the collector's last look at `rings`, or the load below after its `set_watch`.
        self.rings.fetch_add(1, Ordering::SeqCst);
        order_for_loom();
        if self.is_parked() {
            self.rings.wake_one();
        }
    }

    /// Wakes the collector even from a nap.
    pub(crate) fn ring_loudly(&self) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        self.rings.wake_one();
    }

    /// Rings so far: what [`Bell::sleep`] compares with.
    pub(crate) fn rings(&self) -> u32 {
        self.rings.load(Ordering::SeqCst)
    }

    /// Whether the collector sleeps or is about to. If not, it will look at everything once more.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::SeqCst) != Watch::Awake as u32
    }

    /// Whether nobody will see, unless told, that a worker does not claim what it was given.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.parked.load(Ordering::SeqCst) == Watch::Asleep as u32
    }

    /// From now on (or no longer) a ring must wake.
    pub(crate) fn set_watch(&self, watch: Watch) {
        self.parked.store(watch as u32, Ordering::SeqCst);
        order_for_loom();
    }

    /// Sleeps unless somebody rang since `rings`.
    pub(crate) fn sleep(&self, rings: u32, deadline: Option<Deadline>) {
        self.rings.wait(rings, deadline);
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    const PUBLISHED: u32 = 1;
    const DONE: u32 = 2;

    /// A lane of one slot, the pool's bell, and the pool's lock.
    struct Pool {
        parking: Parking,
        bell: Bell,
        slot: AtomicU32,
        /// Tasks the root has put into the lane.
        schedule: Mutex<u32>,
    }

    impl Pool {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                parking: Parking { parked: Futex::new(0) },
                bell: Bell { rings: Futex::new(0), parked: AtomicU32::new(0) },
                slot: AtomicU32::new(0),
                schedule: Mutex::new(0),
            })
        }

        /// The worker's loop, for one task.
        fn work(&self, reply: bool) {
            let is_published = || self.slot.load(Ordering::Acquire) == PUBLISHED;
            while !is_published() {
                self.parking.park(is_published);
            }
            if reply {
                self.slot.store(DONE, Ordering::Release);
                self.bell.ring();
            }
        }

        /// A submit in a burst: the worker is woken only if the collector sleeps.
        fn submit_in_burst(&self) {
            let mut n_given = self.schedule.lock().unwrap();
            *n_given += 1;
            let in_burst = !self.bell.is_parked();
            self.slot.store(PUBLISHED, Ordering::Release);
            if !in_burst {
                self.parking.wake();
            }
        }

        /// The collector's loop: a look, another one as parked, then sleep.
        fn collect(&self, has_ended: impl Fn(&Self) -> bool) {
            let mut watch = Watch::Awake;
            loop {
                let rings = self.bell.rings();
                let ended = {
                    let n_given = self.schedule.lock().unwrap();
                    self.bell.set_watch(watch);
                    if *n_given > 0 {
                        self.parking.wake();
                    }
                    has_ended(self)
                };
                if ended {
                    return;
                }
                if watch == Watch::Awake {
                    watch = Watch::Dozing;
                } else {
                    self.bell.sleep(rings, None);
                }
            }
        }
    }

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    #[test]
    fn a_parked_worker_sees_what_is_published() {
        check(|| {
            let pool = Pool::new();
            let other = Arc::clone(&pool);
            let worker = thread::spawn(move || other.work(false));
            pool.slot.store(PUBLISHED, Ordering::Release);
            pool.parking.wake();
            worker.join().unwrap();
        });
    }

    #[test]
    fn a_sleeping_collector_sees_every_reply() {
        check(|| {
            let pool = Pool::new();
            let other = Arc::clone(&pool);
            let worker = thread::spawn(move || {
                other.slot.store(DONE, Ordering::Release);
                other.bell.ring();
            });
            pool.collect(|pool| pool.slot.load(Ordering::Acquire) == DONE);
            worker.join().unwrap();
        });
    }

    #[test]
    fn a_task_given_in_a_burst_runs_and_is_collected() {
        check(|| {
            let pool = Pool::new();
            let (for_worker, for_submit) = (Arc::clone(&pool), Arc::clone(&pool));
            let worker = thread::spawn(move || for_worker.work(true));
            let submitter = thread::spawn(move || for_submit.submit_in_burst());
            pool.collect(|pool| pool.slot.load(Ordering::Acquire) == DONE);
            submitter.join().unwrap();
            worker.join().unwrap();
        });
    }
}
