//! A short time of trying again before a thread goes to sleep.
//!
//! Going to sleep and being woken costs some microseconds and two system calls; whoever holds a
//! lock for a moment, or is in the middle of something, is done sooner.
//!
//! Guarantees: it is over after some microseconds of a running processor, whatever others do.
//!
//! What it does not do: offer the processor to others (`sched_yield`). Who does so on busy cores
//! gives the rest of its slice away and is back milliseconds later; who sleeps instead lets the
//! others run as well, and is woken when what it waits for is there.

/// Pauses of the processor, each twice as long as the one before up to a limit.
pub struct Backoff {
    round: u32,
}

/// Rounds for somebody who holds something for less than a microsecond. The last of them is 2^6
/// idle turns of the processor, and all together are twice that: some microseconds.
pub const FOR_A_HOLDER: u32 = 7;

/// Rounds for the answer of a thread or a process: a fraction of a microsecond. Who has a processor
/// of its own and is awake answers within that; who has not needs ours, and gets it sooner by a
/// sleep than by a longer moment.
pub const FOR_AN_ANSWER: u32 = 3;

impl Backoff {
    /// Before the first pause.
    #[inline]
    pub const fn new() -> Self {
        Self { round: 0 }
    }

    /// Pauses.
    #[inline]
    pub fn pause(&mut self) {
        // In a model, time passes only when others move.
        #[cfg(loom)]
        loom::thread::yield_now();
        #[cfg(not(loom))]
        (0..1 << self.round).for_each(|_| std::hint::spin_loop());
        self.round = (self.round + 1).min(FOR_A_HOLDER);
    }

    /// Whether more pauses would be a waste.
    #[inline]
    pub const fn is_over(&self) -> bool {
        // A model explores the sleep at once: the pauses before it would only multiply its paths.
        cfg!(loom) || self.round >= FOR_A_HOLDER
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// What `attempt` gives, if it gives something in one of so many rounds. It is made after each
/// pause.
#[inline]
pub fn soon<T>(n_rounds: u32, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let mut backoff = Backoff::new();
    while backoff.round < n_rounds && !backoff.is_over() {
        backoff.pause();
        if let Some(got) = attempt() {
            return Some(got);
        }
    }
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_soon_is_given_up_after_a_bounded_number_of_attempts() {
        let mut n_attempts = 0;
        let got = soon(FOR_AN_ANSWER, || {
            n_attempts += 1;
            None::<()>
        });
        assert_eq!((got, n_attempts), (None, FOR_AN_ANSWER));
    }

    #[test]
    fn what_comes_soon_ends_the_attempts() {
        let mut attempts = [None, None, Some("rice"), None].into_iter();
        let attempt = || attempts.next().expect("no attempt after the last");
        assert_eq!(soon(FOR_A_HOLDER, attempt), Some("rice"));
        assert_eq!(attempts.next(), Some(None));
    }
}
