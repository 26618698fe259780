//! Waiting a moment for a thread that is in the middle of something.

/// Ever longer pauses: first the processor idles, then the thread yields to others.
pub struct Backoff {
    step: u32,
}

/// Up to here a pause is 2^step idle turns of the processor.
const N_SPIN_STEPS: u32 = 6;
/// After so many pauses it is time to sleep.
const N_STEPS: u32 = 10;

impl Backoff {
    /// Before the first pause.
    #[inline]
    pub const fn new() -> Self {
        Self { step: 0 }
    }

    /// Pauses.
    #[inline]
    pub fn pause(&mut self) {
        // In a model, time passes only when others move.
        #[cfg(loom)]
        loom::thread::yield_now();
        #[cfg(not(loom))]
        if self.step <= N_SPIN_STEPS {
            (0..1 << self.step).for_each(|_| std::hint::spin_loop());
        } else {
            std::thread::yield_now();
        }
        self.step = (self.step + 1).min(N_STEPS);
    }

    /// Whether more pauses would be a waste: what is waited for is not imminent.
    #[inline]
    pub fn is_over(&self) -> bool {
        // A model explores the sleep at once: the pauses before it would only multiply its paths.
        cfg!(loom) || self.step >= N_STEPS
    }
}
