//! A thread set, whatever runs in it: who is started, idle, retired, abandoned, ended.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use manyhands_pool::threads::{Kind, NewThread, Refused, Slot, TaskKey, ThreadSet, is_worker};
use manyhands_sys::futex::{Private, Waker};

type Body = Box<dyn FnOnce(&Slot<usize>) + Send>;

/// Threads that do as a test says.
#[derive(Default)]
struct TestThreads {
    handles: Mutex<Vec<JoinHandle<()>>>,
    /// No thread can be started now.
    is_full: AtomicBool,
    /// A start is interrupted after the thread has begun.
    is_interrupted: AtomicBool,
    /// The beginning of each thread fails.
    is_broken: AtomicBool,
    /// What was being started when there was no room.
    late: Mutex<Option<Arc<NewThread<TestThreads>>>>,
    n_begun: AtomicUsize,
}

#[derive(Debug, PartialEq, Eq)]
enum NotStarted {
    NoRoom,
    Interrupted,
}

impl Kind for TestThreads {
    type Context<'c> = ();
    type Task = Body;
    type Thread = usize;
    type Error = NotStarted;

    const N_TASKS_PER_TURN: u32 = 2;

    fn start(&self, (): (), thread: &Arc<NewThread<Self>>) -> Result<(), NotStarted> {
        if self.is_full.load(Ordering::SeqCst) {
            *self.late.lock().unwrap() = Some(Arc::clone(thread));
            return Err(NotStarted::NoRoom);
        }
        let n_begun = self.n_begun.load(Ordering::SeqCst);
        let body = Arc::clone(thread);
        self.handles.lock().unwrap().push(std::thread::spawn(move || body.run(())));
        if self.is_interrupted.load(Ordering::SeqCst) {
            while self.n_begun.load(Ordering::SeqCst) == n_begun {
                std::hint::spin_loop();
            }
            return Err(NotStarted::Interrupted);
        }
        Ok(())
    }

    fn is_no_room(&self, (): (), error: &NotStarted) -> bool {
        *error == NotStarted::NoRoom
    }

    fn this_thread(&self, number: usize) -> usize {
        number
    }

    fn begin(&self, (): (), _set: &ThreadSet<Self>) -> bool {
        self.n_begun.fetch_add(1, Ordering::SeqCst);
        !self.is_broken.load(Ordering::SeqCst)
    }

    fn run(
        &self,
        (): (),
        set: &ThreadSet<Self>,
        slot: &Slot<usize>,
        body: Body,
    ) -> Option<Waker<Private>> {
        body(slot);
        set.count_finished();
        None
    }

    fn without<R: Send>((): (), f: impl FnOnce() -> R + Send) -> R {
        f()
    }
}

fn set_of(n_max_threads: usize) -> Arc<ThreadSet<TestThreads>> {
    Arc::new(ThreadSet::new(n_max_threads, TestThreads::default()))
}

fn join(set: &ThreadSet<TestThreads>) {
    let handles = std::mem::take(&mut *set.kind.handles.lock().unwrap());
    handles.into_iter().for_each(|handle| handle.join().unwrap());
}

/// Runs `body` in the set and returns what it returned.
fn ask<R: Send + 'static>(
    set: &Arc<ThreadSet<TestThreads>>,
    body: impl FnOnce(&Slot<usize>) -> R + Send + 'static,
) -> R {
    let (answer, answered) = mpsc::channel();
    set.submit((), Box::new(move |slot| answer.send(body(slot)).unwrap())).unwrap();
    answered.recv().unwrap()
}

/// A task that is entered and does not end before it is let go.
fn stuck(set: &Arc<ThreadSet<TestThreads>>, key: TaskKey) -> (Stuck, &'static Slot<usize>) {
    let (open, gate) = mpsc::channel::<()>();
    let (entered, is_entered) = mpsc::channel();
    set.submit(
        (),
        Box::new(move |slot| {
            slot.enter(key);
            entered.send(std::ptr::from_ref(slot) as usize).unwrap();
            let _ = gate.recv();
            slot.leave(key, || {}, || false);
        }),
    )
    .unwrap();
    let slot = is_entered.recv().unwrap() as *const Slot<usize>;
    // SAFETY: a set keeps its slots, and the set outlives the test's use of this one.
    (Stuck(open), unsafe { &*slot })
}

/// Lets the task go when it is dropped.
struct Stuck(#[allow(dead_code, reason = "its drop is what counts")] mpsc::Sender<()>);

#[test]
fn an_idle_thread_is_reused_before_another_is_started() {
    let set = set_of(4);
    for _ in 0..3 {
        assert_eq!(ask(&set, |slot| slot.thread), 0);
        while set.numbers().n_idle == 0 {
            std::hint::spin_loop();
        }
    }
    assert_eq!(set.numbers().n_started, 1);
    set.queue.close();
    join(&set);
}

#[test]
fn all_threads_can_be_started_at_once_and_no_more_than_there_may_be() {
    let set = set_of(3);
    set.start_missing(()).unwrap();
    assert_eq!((set.numbers().n_live, set.numbers().n_started), (3, 3));
    set.start_missing(()).unwrap();
    assert_eq!(set.numbers().n_started, 3);
    set.queue.close();
    join(&set);
    assert_eq!(set.numbers().n_live, 0);
}

#[test]
fn a_thread_that_cannot_be_started_is_an_error_only_if_there_is_no_other() {
    let set = set_of(2);
    set.kind.is_full.store(true, Ordering::SeqCst);
    let refused = set.submit((), Box::new(|_| ()));
    assert!(matches!(refused, Err(Refused::NoThread(NotStarted::NoRoom))));
    assert_eq!((set.numbers().n_live, set.numbers().n_submitted), (0, 0));
    set.queue.drain();
    set.kind.is_full.store(false, Ordering::SeqCst);
    let (stuck, _) = stuck(&set, TaskKey(1));
    set.kind.is_full.store(true, Ordering::SeqCst);
    set.submit((), Box::new(|_| ())).unwrap();
    assert_eq!(set.numbers().n_live, 1);
    drop(stuck);
    set.queue.close();
    join(&set);
    assert_eq!(set.numbers().n_finished, 2);
}

#[test]
fn a_thread_that_was_abandoned_does_nothing_when_it_begins() {
    let set = set_of(1);
    set.kind.is_full.store(true, Ordering::SeqCst);
    assert!(set.submit((), Box::new(|_| ())).is_err());
    let late = set.kind.late.lock().unwrap().take().unwrap();
    late.run(());
    assert!(late.abandon(), "abandoned once more: it still is");
    assert_eq!(set.kind.n_begun.load(Ordering::SeqCst), 0);
    assert_eq!((set.numbers().n_live, set.numbers().n_queued), (0, 1));
}

#[test]
fn a_thread_that_has_begun_stays_although_its_start_was_interrupted() {
    let set = set_of(1);
    set.kind.is_interrupted.store(true, Ordering::SeqCst);
    let refused = set.submit((), Box::new(|_| ()));
    assert!(matches!(refused, Err(Refused::NoThread(NotStarted::Interrupted))));
    assert_eq!(set.numbers().n_live, 1);
    assert_eq!(ask(&set, |slot| slot.thread), 0);
    set.queue.close();
    join(&set);
}

#[test]
fn a_thread_whose_beginning_fails_runs_nothing_and_counts_no_more() {
    let set = set_of(1);
    set.kind.is_broken.store(true, Ordering::SeqCst);
    set.submit((), Box::new(|_| panic!("ran"))).unwrap();
    join(&set);
    assert_eq!((set.numbers().n_live, set.numbers().n_queued), (0, 1));
}

#[test]
fn after_close_what_is_queued_is_done_and_every_thread_ends() {
    let set = set_of(2);
    let (stuck, _) = stuck(&set, TaskKey(1));
    (0..10).for_each(|_| set.submit((), Box::new(|_| ())).unwrap());
    set.queue.close();
    assert!(matches!(set.submit((), Box::new(|_| ())), Err(Refused::Closed)));
    drop(stuck);
    join(&set);
    assert_eq!((set.numbers().n_finished, set.numbers().n_live), (11, 0));
}

#[test]
fn what_was_drained_never_runs() {
    let set = set_of(1);
    let (stuck, _) = stuck(&set, TaskKey(1));
    set.submit((), Box::new(|_| panic!("ran"))).unwrap();
    assert_eq!(set.queue.drain().len(), 1);
    set.queue.close();
    drop(stuck);
    join(&set);
}

#[test]
fn a_thread_that_does_not_leave_its_task_is_retired_and_another_takes_its_place() {
    let set = set_of(1);
    let (stuck, slot) = stuck(&set, TaskKey(1));
    let (answer, answered) = mpsc::channel();
    set.submit((), Box::new(move |slot| answer.send(slot.thread).unwrap())).unwrap();
    let not_called = || panic!("it is in another task");
    assert_eq!(set.retire_if_in((), slot, TaskKey(2), not_called), Ok(false));
    let forgotten = AtomicBool::new(false);
    let forget = || {
        forgotten.store(true, Ordering::SeqCst);
        Ok(())
    };
    assert_eq!(set.retire_if_in((), slot, TaskKey(1), forget), Ok(true));
    assert!(forgotten.into_inner());
    assert_eq!(answered.recv(), Ok(1));
    assert_eq!(set.retire_if_in((), slot, TaskKey(1), || panic!("twice")), Ok(false));
    drop(stuck);
    set.queue.close();
    join(&set);
    assert_eq!((set.numbers().n_live, set.numbers().n_started), (0, 2));
}

#[test]
fn a_retired_thread_is_not_replaced_before_there_is_work() {
    let set = set_of(1);
    let (stuck, slot) = stuck(&set, TaskKey(1));
    assert_eq!(set.retire_if_in((), slot, TaskKey(1), || Ok(())), Ok(true));
    assert_eq!((set.numbers().n_live, set.numbers().n_started), (0, 1));
    assert_eq!(ask(&set, |slot| slot.thread), 1);
    drop(stuck);
    set.queue.close();
    join(&set);
}

#[test]
fn at_the_end_of_the_program_what_runs_is_found_and_interrupted() {
    let set = set_of(2);
    let (first, slot) = stuck(&set, TaskKey(1));
    let (second, _) = stuck(&set, TaskKey(2));
    set.queue.close();
    let mut running = set.map_running(|TaskKey(key)| key);
    running.sort_unstable();
    assert_eq!(running, [1, 2]);
    let raised = AtomicBool::new(false);
    assert!(slot.interrupt(TaskKey(1), || !raised.swap(true, Ordering::SeqCst)));
    assert!(raised.into_inner());
    drop((first, second));
    join(&set);
    assert!(set.map_running(|key| key).is_empty());
}

#[test]
fn a_thread_helps_its_own_set_only_and_only_if_none_is_idle() {
    let (set, other) = (set_of(2), set_of(1));
    assert!(set.slot_to_help_in().is_none() && !is_worker());
    let inner = Arc::clone(&set);
    let (alone, elsewhere) = ask(&set, move |slot| {
        let helps = inner.slot_to_help_in().is_some_and(|here| std::ptr::eq(here, slot));
        (helps && is_worker(), other.slot_to_help_in().is_some())
    });
    assert!(alone && !elsewhere);
    set.start_missing(()).unwrap();
    while set.numbers().n_idle < 2 {
        std::hint::spin_loop();
    }
    let inner = Arc::clone(&set);
    assert!(ask(&set, move |_| inner.slot_to_help_in().is_none()));
    set.queue.close();
    join(&set);
}
