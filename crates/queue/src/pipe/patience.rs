//! Waiting at a pipe: a moment of looking, then sleep, with a look around now and then.
//!
//! The looks are for deaths that nobody has told of: a party that was killed in the middle of
//! notifying somebody or of closing its side, in a family whose supervisor does not know it. They
//! are seldom and get more so; where deaths are told no wait depends on them. Who has to take over
//! what a party left before that is buried has reserved the burial, and is not forestalled.

use std::sync::Arc;
use std::time::Duration;

use manyhands_shm::Heap;
use manyhands_sync::event_count::EventCount;
use manyhands_sync::sleep::{Slept, Wait, Waiting};
use manyhands_sync::spin::{FOR_AN_ANSWER, soon};
use manyhands_sys::clock::Deadline;
use manyhands_sys::futex::Shared;

const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// How one operation waits, from its first sleep to its end.
pub(crate) struct Patience {
    /// Whether it has looked for a moment before it slept.
    has_spun: bool,
    pause: Duration,
    look_at: Option<Deadline>,
}

/// What an operation waits for.
pub(crate) enum Step<'a> {
    /// Nothing: it has ended.
    Ended,
    /// What is notified when it is worth another attempt.
    Blocked(&'a EventCount<Shared>),
}

impl Patience {
    pub(crate) const fn new() -> Self {
        Self { has_spun: false, pause: FIRST_LOOK, look_at: None }
    }

    /// Attempts until the operation has ended. `look` is called now and then while it has not.
    ///
    /// An attempt may be made at any time, and one that ends the operation is the last.
    pub(crate) fn wait<'a>(
        &mut self,
        heap: &Arc<Heap>,
        deadline: Option<Deadline>,
        waiting: &mut Waiting<'_>,
        mut attempt: impl FnMut() -> Step<'a>,
        mut look: impl FnMut(),
    ) -> Wait {
        loop {
            let Step::Blocked(event) = attempt() else { return Wait::Done };
            if deadline.is_some_and(Deadline::is_now) {
                return Wait::TimedOut;
            }
            if !self.has_spun {
                self.has_spun = true;
                if soon(FOR_AN_ANSWER, || matches!(attempt(), Step::Ended).then_some(())).is_some()
                {
                    return Wait::Done;
                }
                continue;
            }
            let ticket = event.listen();
            match attempt() {
                Step::Ended => return Wait::Done,
                // What is waited for now is something else.
                Step::Blocked(other) if !std::ptr::eq(other, event) => continue,
                Step::Blocked(_) => {}
            }
            let look_at = *self.look_at.get_or_insert_with(|| Deadline::after(self.pause));
            let wake_at = deadline.map_or(look_at, |deadline| deadline.min(look_at));
            match event.sleep(ticket, Some(wake_at), waiting) {
                Slept::Woken => {}
                Slept::TimedOut if deadline.is_some_and(Deadline::has_passed) => {
                    // What came with the deadline counts.
                    return match attempt() {
                        Step::Ended => Wait::Done,
                        Step::Blocked(_) => Wait::TimedOut,
                    };
                }
                Slept::TimedOut => self.look_around(heap, &mut look),
                Slept::Interrupted | Slept::Stuck => {
                    if look_at.has_passed() {
                        self.look_around(heap, &mut look);
                    }
                    return Wait::Interrupted;
                }
            }
        }
    }

    #[cold]
    fn look_around(&mut self, heap: &Arc<Heap>, look: &mut impl FnMut()) {
        heap.bury_the_dead();
        look();
        self.pause = (self.pause * 2).min(LAST_LOOK);
        self.look_at = None;
    }
}
