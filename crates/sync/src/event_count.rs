//! An event count: how a thread waits for a condition that others make true, whatever that is.
//!
//! A thread must not go to sleep just after the condition became true. So who waits says that it is
//! about to sleep ([`listen`](EventCount::listen)), looks at its condition once more, and sleeps
//! with the ticket it was given. Who makes the condition true changes it first and notifies
//! afterwards. Between the two steps each side has a fence, so at least one of them sees the other.
//! If nobody listens, a notification is one fence and one load; it writes nothing and makes no
//! system call.
//!
//! | word | meaning | left by |
//! |---|---|---|
//! | n, *quiet* | nobody has asked to be woken | `listen`: n, *listened to* |
//! | n, *listened to* | somebody sleeps, or is about to | `notify_all`: n + 1, *quiet*, wakes all; `notify_one`: n + 1, *listened to*, wakes one; `unlisten`: n, *quiet* |
//! | either | | `notify_in_any_case`: n + 1, wakes as many as it is told |
//!
//! The count ends also the sleep of a listener that has not reached the kernel yet: its ticket
//! names a word that is no longer there.
//!
//! # What a death leaves
//!
//! An `EventCount<Shared>` lies in memory that several processes map. All zeros is the start.
//!
//! | dies, or is stopped | what is left | what makes up for it |
//! |---|---|---|
//! | a listener, anywhere | *listened to* | nothing has to: the next notification makes one system call too many |
//! | a notifier, before it moves the word | a change that nobody was told of | a time at which sleepers look by themselves, or [`notify_in_any_case`](EventCount::notify_in_any_case) by who learns of the death |
//! | `notify_all`, before the waking | sleepers on a word that has moved, *quiet* | the same; other notifications do not find them |
//! | `notify_one`, before the waking | the same, *listened to* | the next notification |
//!
//! # Which notification
//!
//! - [`notify_all`](EventCount::notify_all): any number of sleepers.
//! - [`notify_one`](EventCount::notify_one): a single sleeper that takes its asking back when it is
//!   awake ([`unlisten`](EventCount::unlisten)), among notifiers that may be stopped at any step.
//! - [`notify_in_any_case`](EventCount::notify_in_any_case): who counts its sleepers itself and so
//!   knows that there are some.
//!
//! There is no count of the sleepers in here. One that dies would stay counted for ever, while the
//! bit goes with the next notification; most users have one sleeper or wake all; and the kernel
//! compares four bytes, so that a count beside the bit would leave too few for the notifications.
//! Where each change is meant for one sleeper of many, the counts of who was called are a layer
//! above (`Line` in `manyhands-queue`, `Injector` in `manyhands-pool`).
//!
//! What it does not do: it carries no data and orders none. Who is woken looks at its condition
//! again, with whatever ordering that needs.

use manyhands_sys::atomic::{Ordering, fence};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::{Futex, Scope, WaitEnd};

use crate::sleep::{Slept, Waiting, sleep};

/// See the table above. All zeros: quiet.
#[cfg_attr(not(loom), repr(transparent))]
pub struct EventCount<S: Scope> {
    word: Futex<S>,
}

/// What the word was when a wait began. A sleep with it ends with the next notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u32);

/// Says that the fence between a change and its notifications was passed: one fence is enough for
/// the notifications of several event counts. Good for what was changed before it was made.
#[derive(Clone, Copy, Debug)]
pub struct Changed(());

/// As many as there are, for [`EventCount::notify_in_any_case`].
pub const ALL: u32 = u32::MAX;

const LISTENED_TO: u32 = 1;
const ONE_NOTIFICATION: u32 = 2;

/// The fence between a change and what is told of it.
#[inline]
#[must_use = "who has changed something notifies those who wait for it"]
pub fn changed() -> Changed {
    // Meets the fence of `listen`.
    fence(Ordering::SeqCst);
    Changed(())
}

impl<S: Scope> EventCount<S> {
    /// Nobody listens.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { word: Futex::new(0) }
    }

    /// Nobody listens.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { word: Futex::new(0) }
    }

    /// Asks to be woken. To be followed by a look at the condition, then by a sleep.
    pub fn listen(&self) -> Ticket {
        let before = self.word.fetch_or(LISTENED_TO, Ordering::Relaxed);
        // Meets the fence of `changed`: the look that follows sees what was changed before a
        // notification that did not see us.
        fence(Ordering::SeqCst);
        Ticket(before | LISTENED_TO)
    }

    /// A ticket that asks for nothing: only [`notify_in_any_case`](Self::notify_in_any_case) is
    /// sure to end a sleep with it. For callers that count their sleepers themselves; the ticket is
    /// taken before the count, or both under one lock.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.word.load(Ordering::Relaxed))
    }

    /// Takes the asking back. For a single sleeper that is awake: another one would not be woken.
    pub fn unlisten(&self) {
        if self.is_listened_to() {
            self.word.fetch_and(!LISTENED_TO, Ordering::Relaxed);
        }
    }

    /// Whether somebody listens.
    #[inline]
    pub fn is_listened_to(&self) -> bool {
        self.word.load(Ordering::Relaxed) & LISTENED_TO != 0
    }

    /// Whether there was a notification since `ticket`. False for one that found nobody listening.
    #[inline]
    pub fn has_moved(&self, ticket: Ticket) -> bool {
        self.ticket().count() != ticket.count()
    }

    /// Wakes all who listen, after the condition was changed.
    #[inline]
    pub fn notify_all(&self) {
        self.notify_all_of(changed());
    }

    /// The same after a fence that serves several event counts.
    #[inline]
    pub fn notify_all_of(&self, _changed: Changed) {
        let word = self.word.load(Ordering::Relaxed);
        if word & LISTENED_TO != 0 {
            self.wake_all(word);
        }
    }

    /// Wakes one who listens, after the condition was changed. The word stays *listened to*, so who
    /// is woken has to [`unlisten`](Self::unlisten).
    #[inline]
    pub fn notify_one(&self) {
        let _ = changed();
        if self.is_listened_to() {
            self.notify_in_any_case(1);
        }
    }

    /// Wakes so many, also those who were about to be woken by somebody that died.
    #[cold]
    pub fn notify_in_any_case(&self, n_sleepers: u32) {
        self.count_one();
        self.word.wake_n(n_sleepers);
    }

    /// Sleeps until a notification, or what else ends a wait for a primitive.
    pub fn sleep(
        &self,
        ticket: Ticket,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
    ) -> Slept {
        self.rest(ticket, Slept::Woken, |word| sleep(word, ticket.0, deadline, waiting))
    }

    /// Sleeps until a notification, `deadline`, or a signal. For threads that nobody interrupts and
    /// that are no part of a deadlock.
    pub fn park(&self, ticket: Ticket, deadline: Option<Deadline>) -> WaitEnd {
        self.rest(ticket, WaitEnd::Woken, |word| word.wait(ticket.0, deadline))
    }

    /// Every sleep on an event count goes through here: whoever wants to look for a while before a
    /// thread goes to sleep does it here.
    fn rest<End>(&self, ticket: Ticket, moved: End, sleep: impl FnOnce(&Futex<S>) -> End) -> End {
        if self.has_moved(ticket) { moved } else { sleep(&self.word) }
    }

    fn count_one(&self) {
        self.word.fetch_add(ONE_NOTIFICATION, Ordering::Relaxed);
    }

    #[cold]
    fn wake_all(&self, mut word: u32) {
        // Whoever else makes it quiet wakes the same sleepers. A notification that is not for all
        // does not, so it only makes us try again.
        while word & LISTENED_TO != 0 {
            let after = word.wrapping_add(ONE_NOTIFICATION) & !LISTENED_TO;
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.word.compare_exchange(word, after, success, failure) {
                Ok(_) => return self.word.wake_all(),
                Err(now) => word = now,
            }
        }
    }
}

impl<S: Scope> Default for EventCount<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl Ticket {
    /// How many notifications there were, but for those that found nobody listening.
    #[inline]
    pub const fn count(self) -> u32 {
        self.0 / ONE_NOTIFICATION
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<EventCount<manyhands_sys::futex::Shared>>() == 4);

/// Each model names the change of the code above that it catches.
#[cfg(all(test, loom))]
mod model {
    use loom::sync::atomic::AtomicU32;
    use loom::sync::{Arc, Mutex};
    use loom::thread;
    use manyhands_sys::futex::Shared;

    use super::*;

    /// A number to wait for, published without a lock.
    struct Open {
        n: AtomicU32,
        event: EventCount<Shared>,
    }

    impl Open {
        fn new() -> Arc<Self> {
            Arc::new(Self { n: AtomicU32::new(0), event: EventCount::new() })
        }

        fn is(&self, n: u32) -> bool {
            self.n.load(Ordering::Acquire) >= n
        }

        fn add(&self) {
            self.n.fetch_add(1, Ordering::Release);
        }

        fn wait_for(&self, n: u32) {
            while !self.is(n) {
                let ticket = self.event.listen();
                if !self.is(n) {
                    self.event.park(ticket, None);
                }
            }
        }

        /// As a single sleeper waits.
        fn wait_alone_for(&self, n: u32) {
            while !self.is(n) {
                let ticket = self.event.listen();
                if !self.is(n) {
                    self.event.park(ticket, None);
                }
                self.event.unlisten();
            }
        }
    }

    fn check(n_preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(n_preemptions);
        builder.check(model);
    }

    /// Catches: either fence left out; a sleep without a second look; a ticket without the bit.
    #[test]
    fn nobody_sleeps_past_a_notification() {
        check(3, || {
            let open = Open::new();
            let other = Arc::clone(&open);
            let notifier = thread::spawn(move || {
                for _ in 0..2 {
                    other.add();
                    other.event.notify_all();
                }
            });
            open.wait_for(1);
            open.wait_for(2);
            notifier.join().unwrap();
        });
    }

    /// Catches: a notification of all that wakes one, or that moves no count.
    #[test]
    fn two_listeners_are_both_woken_by_two_notifiers() {
        check(3, || {
            let open = Open::new();
            let threads = [false, true].map(|waits| {
                let open = Arc::clone(&open);
                thread::spawn(move || {
                    open.add();
                    open.event.notify_all();
                    if waits {
                        open.wait_for(2);
                    }
                })
            });
            open.wait_for(2);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    /// Catches: a notification of all that gives up when the word has moved.
    #[test]
    fn a_notification_of_one_takes_nothing_from_one_of_all() {
        check(2, || {
            let open = Open::new();
            let sleeper = {
                let open = Arc::clone(&open);
                thread::spawn(move || open.wait_for(1))
            };
            let decoy = {
                let open = Arc::clone(&open);
                thread::spawn(move || open.event.notify_one())
            };
            open.add();
            open.event.notify_all();
            sleeper.join().unwrap();
            decoy.join().unwrap();
        });
    }

    /// Catches: the fence of `notify_one` left out; a notification of one that makes the word quiet
    /// before the waking, to which the stopped thread does not come.
    #[test]
    fn a_single_sleeper_needs_nobody_who_was_stopped_in_the_middle() {
        check(3, || {
            let open = Open::new();
            let stopped = {
                let open = Arc::clone(&open);
                thread::spawn(move || {
                    let _ = changed();
                    if open.event.is_listened_to() {
                        open.event.count_one();
                    }
                })
            };
            let notifier = {
                let open = Arc::clone(&open);
                thread::spawn(move || {
                    open.add();
                    open.event.notify_one();
                })
            };
            open.wait_alone_for(1);
            stopped.join().unwrap();
            notifier.join().unwrap();
        });
    }

    /// Catches: `unlisten` after the next `listen`; the fence of `listen` left out.
    #[test]
    fn a_single_sleeper_hears_of_every_change() {
        check(3, || {
            let open = Open::new();
            let notifiers = [(); 2].map(|()| {
                let open = Arc::clone(&open);
                thread::spawn(move || {
                    open.add();
                    open.event.notify_one();
                })
            });
            open.wait_alone_for(1);
            open.wait_alone_for(2);
            notifiers.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    /// Catches: a sleeper that takes its asking back although it is not the only one.
    #[test]
    fn who_gives_up_takes_no_notification_along() {
        check(3, || {
            let open = Open::new();
            let leaver = {
                let open = Arc::clone(&open);
                thread::spawn(move || {
                    let ticket = open.event.listen();
                    open.event.sleep(ticket, None, &mut Waiting::giving_up_after(0))
                })
            };
            let stayer = {
                let open = Arc::clone(&open);
                thread::spawn(move || open.wait_for(1))
            };
            open.add();
            open.event.notify_all();
            stayer.join().unwrap();
            let _ = leaver.join().unwrap();
        });
    }

    /// Sleepers that are counted under a lock. Catches: a notification in any case that moves no
    /// count; a ticket that is taken after the lock was let go.
    #[test]
    fn counted_sleepers_are_woken_in_any_case() {
        #[derive(Default)]
        struct State {
            n_items: u32,
            n_idle: u32,
        }
        check(2, || {
            let shared = Arc::new((Mutex::new(State::default()), EventCount::<Shared>::new()));
            let takers = [(); 2].map(|()| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let mut state = shared.0.lock().unwrap();
                    while state.n_items == 0 {
                        state.n_idle += 1;
                        let ticket = shared.1.ticket();
                        drop(state);
                        shared.1.park(ticket, None);
                        state = shared.0.lock().unwrap();
                    }
                    state.n_items -= 1;
                })
            });
            for _ in 0..2 {
                let mut state = shared.0.lock().unwrap();
                state.n_items += 1;
                let n_idle = std::mem::take(&mut state.n_idle);
                drop(state);
                if n_idle > 0 {
                    shared.1.notify_in_any_case(n_idle);
                }
            }
            takers.into_iter().for_each(|taker| taker.join().unwrap());
        });
    }
}
