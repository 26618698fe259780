//! Monotonic time, comparable between processes of one machine, and deadlines made of it.

use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`: the same clock in every process of the machine.
#[inline]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of processor time used by the calling thread.
#[inline]
pub fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds of processor time used by a thread of this process, by the kernel's number of it;
/// `None` if there is no such thread.
pub fn cpu_ns_of(kernel_id: u32) -> Option<u64> {
    // The kernel's encoding of "the CPU clock of that thread": the number inverted, then two bits
    // for the scheduler's clock and one for a single thread.
    let clock = (!(kernel_id as libc::clockid_t) << 3) | 6;
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to; an unknown clock is refused.
    let refused = unsafe { libc::clock_gettime(clock, &mut now) };
    (refused == 0).then_some(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

#[inline]
fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to, and both clocks always exist on Linux.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A point of monotonic time at which a wait gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// Who has this one does not want to wait at all, and pays for no system call.
    pub const NOW: Self = Self(0);

    /// Whether it is [`Deadline::NOW`]: one that has passed meanwhile is not.
    pub const fn is_now(self) -> bool {
        self.0 == Self::NOW.0
    }

    /// The deadline `timeout` from now; a sum beyond the clock's range never comes.
    pub fn after(timeout: Duration) -> Self {
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Self(monotonic_ns().saturating_add(timeout_ns))
    }

    /// The deadline at an absolute time of [`monotonic_ns`].
    pub const fn at_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// The absolute time of [`monotonic_ns`] this deadline stands for.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Whether the deadline has come.
    pub fn has_passed(self) -> bool {
        monotonic_ns() >= self.0
    }

    /// The time left, zero once the deadline has come.
    pub fn remaining(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(monotonic_ns()))
    }
}
