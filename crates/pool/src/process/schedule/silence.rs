//! How long nothing was heard of one worker that is waited for, and what the kernel said of it.
//!
//! | state | it gets tasks | another may be in its place | left when |
//! |---|---|---|---|
//! | not waited for | yes | no | somebody waits for it: looked at again after a pause |
//! | waited for | yes | no | it is not any more; or a look finds it stopped |
//! | doubted | no | no | a look finds that it runs; or it is found stopped five times in a row |
//! | set aside | no | yes | it has passed what was taken back ([`Silence::NONE`]) |
//!
//! Guarantees: only what the kernel says counts, and only five times in a row. What it does not do:
//! it asks nobody and moves no task; that is `set_aside.rs`.

/// A worker that was idle claims what it is given sooner than this.
pub(crate) const SILENT_NS: u64 = 20_000_000;

/// How often one is looked at that starts, or leaves: that takes its time.
pub(super) const PATIENT_NS: u64 = 100_000_000;

/// So often in a row a worker is found stopped before anything is done about it.
pub(super) const MAX_STOPPED_LOOKS: u32 = 5;

/// What is known of a worker that is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Silence {
    /// When to look at it; 0: it is not waited for.
    look_at_ns: u64,
    n_stopped_looks: u32,
    is_set_aside: bool,
}

impl Silence {
    pub(super) const NONE: Self = Self { look_at_ns: 0, n_stopped_looks: 0, is_set_aside: false };

    /// Whether it was found stopped when somebody looked last.
    pub(super) const fn is_doubted(&self) -> bool {
        self.n_stopped_looks > 0
    }

    /// Whether it gets no tasks for the time being.
    pub(super) const fn is_stopped(&self) -> bool {
        self.is_set_aside || self.is_doubted()
    }

    /// Whether it gets no tasks until it goes on, and another may be in its place.
    pub(super) const fn is_set_aside(&self) -> bool {
        self.is_set_aside
    }

    /// What decides whether it gets tasks and whether another may take its place.
    pub(super) const fn standing(&self) -> (bool, bool) {
        (self.is_doubted(), self.is_set_aside)
    }

    /// It gets no tasks from now on, if `is_set_aside`.
    pub(super) const fn set_aside(&mut self, is_set_aside: bool) {
        self.is_set_aside = is_set_aside;
    }

    /// Nothing is expected of it at the moment.
    pub(super) const fn stop_waiting(&mut self) {
        *self = Self { is_set_aside: self.is_set_aside, ..Self::NONE };
    }

    /// It is waited for: asks `is_stopped` if it is time to, which is every `pause_ns`. True: it
    /// was found stopped five times in a row.
    pub(super) fn look(
        &mut self,
        now_ns: u64,
        pause_ns: u64,
        is_stopped: impl FnOnce() -> bool,
    ) -> bool {
        if self.look_at_ns == 0 {
            self.look_at_ns = now_ns + pause_ns;
            return false;
        }
        if now_ns < self.look_at_ns {
            return false;
        }
        self.look_at_ns = now_ns + pause_ns;
        self.n_stopped_looks = if is_stopped() { self.n_stopped_looks + 1 } else { 0 };
        if self.n_stopped_looks < MAX_STOPPED_LOOKS {
            return false;
        }
        self.n_stopped_looks = 0;
        true
    }

    /// When it is looked at next.
    pub(super) const fn look_at_ns(&self) -> u64 {
        self.look_at_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(silence: &mut Silence, answers: &[bool]) -> Vec<bool> {
        let mut now_ns = silence.look_at_ns().max(1);
        let look = |answer: &bool| {
            now_ns += SILENT_NS;
            silence.look(now_ns, SILENT_NS, || *answer)
        };
        answers.iter().map(look).collect()
    }

    #[test]
    fn a_worker_is_given_a_pause_before_anybody_asks() {
        let mut silence = Silence::NONE;
        assert!(!silence.look(1_000, SILENT_NS, || panic!("asked at once")));
        assert!(!silence.look(1_000 + SILENT_NS - 1, SILENT_NS, || panic!("asked too early")));
        assert!(!silence.look(1_000 + SILENT_NS, SILENT_NS, || true));
        assert!(silence.is_doubted() && !silence.is_set_aside());
    }

    #[test]
    fn five_looks_in_a_row_that_find_it_stopped_are_enough_and_fewer_are_not() {
        let mut silence = Silence::NONE;
        // The first only begins the wait.
        assert_eq!(looks(&mut silence, &[true; 5]), [false; 5]);
        assert_eq!(looks(&mut silence, &[true]), [true]);
    }

    #[test]
    fn one_look_that_finds_it_running_begins_the_count_anew() {
        let mut silence = Silence::NONE;
        looks(&mut silence, &[true; 5]);
        assert_eq!(looks(&mut silence, &[false]), [false]);
        assert!(!silence.is_doubted());
        assert_eq!(looks(&mut silence, &[true; 4]), [false; 4]);
        assert_eq!(looks(&mut silence, &[true]), [true]);
    }

    #[test]
    fn one_that_is_not_waited_for_any_more_stays_set_aside() {
        let mut silence = Silence::NONE;
        looks(&mut silence, &[true; 3]);
        silence.set_aside(true);
        silence.stop_waiting();
        assert_eq!(silence.standing(), (false, true));
        assert_eq!(silence.look_at_ns(), 0);
    }
}
