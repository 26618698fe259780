//! A 32-bit word on which threads, or processes, sleep until it changes.
//!
//! The scope is part of the type: a `Futex<Private>` may only be reached by threads of one
//! process, a `Futex<Shared>` may lie in memory that several processes map. Mixing them up (the
//! classic bug: a private wait on a shared word never wakes) does not compile.
//!
//! Guarantees: `wait` returns at once if the word differs from `expected`; it may return
//! spuriously, so callers loop on their own condition; deadlines are absolute and monotonic.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::atomic::AtomicU32;
use crate::clock::Deadline;

/// A word with a queue of sleepers. Dereferences to its atomic.
#[cfg_attr(not(loom), repr(transparent))]
pub struct Futex<S: Scope> {
    word: AtomicU32,
    #[cfg(loom)]
    sleepers: (loom::sync::Mutex<()>, loom::sync::Condvar),
    scope: PhantomData<S>,
}

/// Who may wait on a word.
pub trait Scope: sealed::Sealed + Send + Sync + 'static {
    /// Whether those who wait may be of several processes, of which each may die alone.
    const IS_SHARED: bool;

    #[doc(hidden)]
    const FLAG: libc::c_int;
}

/// Threads of one process.
pub enum Private {}

/// Threads of any process that maps the word.
pub enum Shared {}

impl Scope for Private {
    const IS_SHARED: bool = false;
    const FLAG: libc::c_int = libc::FUTEX_PRIVATE_FLAG;
}

impl Scope for Shared {
    const IS_SHARED: bool = true;
    const FLAG: libc::c_int = 0;
}

/// Wakes the sleepers of a word that may be gone by then: it keeps the address, never reads it.
/// On a word that is gone the kernel finds no sleeper, or wakes one of whatever lies there now,
/// spuriously, which every wait allows.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub struct Waker<S: Scope> {
    address: usize,
    scope: PhantomData<S>,
}

/// A [`Waker`] of either scope.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub struct AnyWaker {
    address: usize,
    is_shared: bool,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// Woken, or the word already differed, or spuriously: look at your condition again.
    Woken,
    /// The deadline came.
    TimedOut,
    /// A signal handler ran in this thread.
    Interrupted,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Private {}
    impl Sealed for super::Shared {}
}

impl<S: Scope> Deref for Futex<S> {
    type Target = AtomicU32;

    #[inline]
    fn deref(&self) -> &AtomicU32 {
        &self.word
    }
}

/// The low half of a 64-bit word as one to sleep on, while the whole is changed at once. To be
/// slept on and woken only, not to be changed.
#[cfg(not(loom))]
pub fn low_half<S: Scope>(word: &crate::atomic::AtomicU64) -> &Futex<S> {
    const { assert!(cfg!(target_endian = "little"), "the low half is the first one") };
    // SAFETY: four of the eight bytes, aligned, for as long as the whole is borrowed; a `Futex` is
    // its atomic (`repr(transparent)`).
    unsafe { &*std::ptr::from_ref(word).cast::<Futex<S>>() }
}

#[cfg(not(loom))]
impl<S: Scope> Futex<S> {
    /// A word with this value and no sleeper.
    pub const fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value), scope: PhantomData }
    }

    /// Sleeps while the word is `expected`, until woken, `deadline`, or a signal.
    pub fn wait(&self, expected: u32, deadline: Option<Deadline>) -> WaitEnd {
        let until = deadline.map(|deadline| libc::timespec {
            tv_sec: (deadline.as_ns() / 1_000_000_000) as libc::time_t,
            tv_nsec: (deadline.as_ns() % 1_000_000_000) as libc::c_long,
        });
        let until_ptr = until.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the word lives as long as `&self`; `until_ptr` is null or points to `until`,
        // which outlives the call. FUTEX_WAIT_BITSET takes an absolute monotonic time.
        let rc = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAIT_BITSET | S::FLAG,
                expected,
                until_ptr,
                std::ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
        if rc == 0 {
            return WaitEnd::Woken;
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::ETIMEDOUT) => WaitEnd::TimedOut,
            Some(libc::EINTR) => WaitEnd::Interrupted,
            _ => WaitEnd::Woken,
        }
    }

    /// Wakes one sleeper, if there is one.
    pub fn wake_one(&self) {
        self.wake(1);
    }

    /// Wakes all sleepers.
    pub fn wake_all(&self) {
        self.wake(i32::MAX);
    }

    /// Wakes up to `n_sleepers` of them.
    pub fn wake_n(&self, n_sleepers: u32) {
        self.wake(i32::try_from(n_sleepers).unwrap_or(i32::MAX));
    }

    /// Moves one sleeper, if there is one, to `other`: it sleeps on there, and what wakes a sleeper
    /// of `other` ends its wait for this word.
    pub fn requeue_one(&self, other: &Self) {
        // SAFETY: both words live as long as the references; FUTEX_REQUEUE only hashes them.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_REQUEUE | S::FLAG,
                0,
                // How many to move: goes where other calls have their deadline.
                1_usize,
                other.word.as_ptr(),
            );
        }
    }

    /// A way to wake the sleepers after the word itself may have been freed.
    pub fn waker(&self) -> Waker<S> {
        Waker { address: self.word.as_ptr() as usize, scope: PhantomData }
    }

    fn wake(&self, n_sleepers: i32) {
        wake::<S>(self.word.as_ptr() as usize, n_sleepers);
    }
}

#[cfg(not(loom))]
impl<S: Scope> Waker<S> {
    /// Wakes all sleepers.
    pub fn wake_all(self) {
        wake::<S>(self.address, i32::MAX);
    }

    /// The same without the scope in its type.
    pub const fn of_any_scope(self) -> AnyWaker {
        AnyWaker { address: self.address, is_shared: S::IS_SHARED }
    }
}

#[cfg(not(loom))]
impl AnyWaker {
    /// Wakes all sleepers.
    pub fn wake_all(self) {
        if self.is_shared {
            wake::<Shared>(self.address, i32::MAX);
        } else {
            wake::<Private>(self.address, i32::MAX);
        }
    }
}

#[cfg(not(loom))]
fn wake<S: Scope>(address: usize, n_sleepers: i32) {
    // SAFETY: FUTEX_WAKE only hashes the address; it reads and writes nothing through it.
    unsafe {
        libc::syscall(libc::SYS_futex, address, libc::FUTEX_WAKE | S::FLAG, n_sleepers);
    }
}

/// Under loom a word carries a condition variable: a wake-up that is lost leaves its sleeper
/// asleep, and the model reports the deadlock. Deadlines never come.
#[cfg(loom)]
impl<S: Scope> Futex<S> {
    /// A word with this value and no sleeper.
    pub fn new(value: u32) -> Self {
        Self {
            word: AtomicU32::new(value),
            sleepers: (loom::sync::Mutex::new(()), loom::sync::Condvar::new()),
            scope: PhantomData,
        }
    }

    /// Sleeps while the word is `expected`, until woken.
    pub fn wait(&self, expected: u32, _deadline: Option<Deadline>) -> WaitEnd {
        // The kernel compares and queues under one lock that every wake takes: so here.
        let queue = self.sleepers.0.lock().unwrap();
        if self.word.load(crate::atomic::Ordering::SeqCst) == expected {
            drop(self.sleepers.1.wait(queue).unwrap());
        }
        WaitEnd::Woken
    }

    /// Wakes one sleeper, if there is one.
    pub fn wake_one(&self) {
        let _queue = self.sleepers.0.lock().unwrap();
        self.sleepers.1.notify_one();
    }

    /// Wakes all sleepers.
    pub fn wake_all(&self) {
        let _queue = self.sleepers.0.lock().unwrap();
        self.sleepers.1.notify_all();
    }

    /// Wakes up to `n_sleepers` of them.
    pub fn wake_n(&self, n_sleepers: u32) {
        if n_sleepers == u32::MAX {
            self.wake_all();
        } else {
            (0..n_sleepers).for_each(|_| self.wake_one());
        }
    }

    /// Moves one sleeper to `other`; here it wakes it, which every wait allows.
    pub fn requeue_one(&self, _other: &Self) {
        self.wake_one();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_moved_sleeper_is_woken_by_the_other_word() {
        let (own, other) = (Futex::<Private>::new(0), Futex::<Private>::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while own.load(Ordering::Acquire) == 0 {
                    own.wait(0, None);
                }
            });
            own.store(1, Ordering::Release);
            // Until it sleeps it sees the change by itself; if it does, it is here or there.
            own.requeue_one(&other);
            other.wake_one();
        });
    }
}
