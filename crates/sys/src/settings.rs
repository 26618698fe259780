//! What a process inherits from the one that forks it, and may change without any right: so that
//! a process forked from another one can be as if this program had forked it.
//!
//! Guarantees: after [`Settings::apply`] the calling process has the umask, the resource limits,
//! the scheduling, the processors, the `oom_score_adj`, the blocked signals and the saved ids that
//! the program had when [`Settings::of_program`] looked, and no capability that it had not.
//!
//! Does not do: what needs rights; see [`Settings::are_in_reach_of`] and [`crate::rights`]. Ignored
//! signals are told, and not applied: an interpreter has notes of its own on them.

use std::io;
use std::time::Duration;

use crate::capabilities::Capabilities;
use crate::proc_status::{ProcStatus, read};

const N_LIMITS: usize = 16;
/// 1,024 processors.
const N_CPU_WORDS: usize = 16;

/// The settings of a program at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    umask: Option<u32>,
    niceness: i32,
    policy: i32,
    priority: i32,
    oom_score_adj: Option<i32>,
    dumpable: i32,
    /// Bit n - 1 is signal n, here and below.
    blocked: u64,
    ignored: u64,
    /// Soft and hard, by the number of the resource.
    limits: [(u64, u64); N_LIMITS],
    /// All zeros: not known.
    cpus: [u64; N_CPU_WORDS],
    capabilities: Capabilities,
    /// The saved ones, which a new program loses.
    saved_uid: u32,
    saved_gid: u32,
}

/// How often, and how far apart, a main thread is looked at that blocks every signal.
const N_LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
/// The signals that a thread can block: not SIGKILL, SIGSTOP and the two of the C library.
const BLOCKABLE: u64 = !(1 << 8 | 1 << 18 | 1 << 31 | 1 << 32);

const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_RESOURCE: u32 = 24;

impl Settings {
    /// What the program has at the moment; where threads differ, its main thread.
    ///
    /// # Errors
    /// If there is no descriptor left to look with.
    pub fn of_program() -> io::Result<Self> {
        let status = settled_status()?;
        let me = std::process::id() as libc::pid_t;
        let umask = status.as_ref().and_then(|status| status.field("Umask"));
        let mut scheduling = libc::sched_param { sched_priority: 0 };
        let mut cpus = [0; N_CPU_WORDS];
        // SAFETY: the pointers are to a structure and to an array of the size that is told.
        let (niceness, policy, dumpable) = unsafe {
            libc::sched_getparam(me, &mut scheduling);
            libc::sched_getaffinity(me, size_of_val(&cpus), (&raw mut cpus).cast());
            (
                libc::getpriority(libc::PRIO_PROCESS, me as libc::id_t),
                libc::sched_getscheduler(me),
                libc::prctl(libc::PR_GET_DUMPABLE),
            )
        };
        Ok(Self {
            umask: umask.and_then(|umask| u32::from_str_radix(umask, 8).ok()),
            niceness,
            policy,
            priority: scheduling.sched_priority,
            oom_score_adj: oom_score_adj()?,
            dumpable,
            blocked: status.as_ref().map_or(0, |status| status.bits("SigBlk")),
            ignored: status.as_ref().map_or(0, |status| status.bits("SigIgn")),
            limits: std::array::from_fn(|resource| limit(resource).unwrap_or_default()),
            cpus,
            capabilities: Capabilities::from_status(status.as_ref()),
            saved_uid: saved_id(status.as_ref(), "Uid"),
            saved_gid: saved_id(status.as_ref(), "Gid"),
        })
    }

    /// Whether a child of a process with `from` can get these without rights that it may lack: a
    /// hard limit, a niceness and a score can only be made worse.
    pub fn are_in_reach_of(&self, from: &Self) -> bool {
        let wants_resources = self.limits.iter().zip(&from.limits).any(|(to, from)| to.1 > from.1)
            || self.oom_score_adj < from.oom_score_adj;
        let wants_time = self.niceness < from.niceness
            || (self.policy, self.priority) != (from.policy, from.priority);
        (!wants_resources || has_capability(CAP_SYS_RESOURCE))
            && (!wants_time || has_capability(CAP_SYS_NICE))
    }

    /// Gives them to the calling process, which has one thread and was just forked. SIGINT stays
    /// blocked if it is.
    ///
    /// # Errors
    /// If one of them is refused: the process must not go on with more than it was meant to have.
    pub fn apply(&self) -> io::Result<()> {
        let now = Self::of_program()?;
        if let Some(umask) = self.umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        }
        if (self.policy, self.priority) != (now.policy, now.priority) {
            let scheduling = libc::sched_param { sched_priority: self.priority };
            // SAFETY: the pointer is to a living structure.
            check(unsafe { libc::sched_setscheduler(0, self.policy, &scheduling) })?;
        }
        if self.niceness != now.niceness {
            // SAFETY: takes numbers.
            check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.niceness) })?;
        }
        if self.cpus != now.cpus && self.cpus != [0; N_CPU_WORDS] {
            let (len, cpus) = (size_of_val(&self.cpus), (&raw const self.cpus).cast());
            // SAFETY: the pointer is to an array of that size.
            check(unsafe { libc::sched_setaffinity(0, len, cpus) })?;
        }
        if let Some(score) = self.oom_score_adj.filter(|score| Some(*score) != now.oom_score_adj) {
            std::fs::write("/proc/self/oom_score_adj", score.to_string())?;
        }
        self.block_signals(now.blocked);
        for (resource, (wanted, had)) in self.limits.iter().zip(now.limits).enumerate() {
            if *wanted != had {
                set_limit(resource, *wanted)?;
            }
        }
        self.apply_rights(&now)
    }

    /// What the start of a new program has changed: less of it, never more.
    fn apply_rights(&self, now: &Self) -> io::Result<()> {
        const SAME: u32 = u32::MAX;
        if self.saved_gid != now.saved_gid {
            // SAFETY: takes numbers. A single thread: the C library has no other to tell.
            check(unsafe { libc::setresgid(SAME, SAME, self.saved_gid) })?;
        }
        if self.saved_uid != now.saved_uid {
            // SAFETY: as above.
            check(unsafe { libc::setresuid(SAME, SAME, self.saved_uid) })?;
        }
        let now = Capabilities::from_status(ProcStatus::of_this_thread()?.as_ref());
        self.capabilities.restrict(now)
    }

    fn block_signals(&self, blocked_now: u64) {
        let interrupt = 1 << (libc::SIGINT - 1);
        let wanted = self.blocked | (blocked_now & interrupt);
        // SAFETY: sigset_t is plain data, made empty before it is filled and read.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for number in numbers_in(wanted & BLOCKABLE) {
                libc::sigaddset(&mut set, number);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
        }
    }

    /// Whether the program lets others look into its memory: told to the kernel last, as a process
    /// that does not may not open its own `/proc/self/fd` either.
    pub fn apply_dumpable(&self) {
        let dumpable = libc::c_ulong::from(self.dumpable == 1);
        // SAFETY: takes numbers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable) };
    }

    /// The numbers of the signals that the program ignores.
    pub fn ignored_signals(&self) -> Vec<i32> {
        numbers_in(self.ignored).collect()
    }

    /// Whether the program blocks SIGINT.
    pub const fn blocks_interrupt(&self) -> bool {
        self.blocked & (1 << (libc::SIGINT - 1)) != 0
    }

    /// As numbers, for a message.
    pub fn encode(&self) -> Vec<u64> {
        let known = |value: Option<i64>| value.map_or(u64::MAX, |value| value as u32 as u64);
        let mut words = vec![
            known(self.umask.map(i64::from)),
            self.niceness as u64,
            self.policy as u64,
            self.priority as u64,
            known(self.oom_score_adj.map(i64::from)),
            self.dumpable as u64,
            self.blocked,
            self.ignored,
        ];
        words.extend(self.limits.iter().flat_map(|(soft, hard)| [*soft, *hard]));
        words.extend(self.cpus);
        let Capabilities { effective, permitted, inheritable } = self.capabilities;
        words.extend([effective, permitted, inheritable]);
        words.extend([self.saved_uid, self.saved_gid].map(u64::from));
        words
    }

    /// What was [encoded](Settings::encode). `None`: these are no settings.
    pub fn decode(words: &[u64]) -> Option<Self> {
        let (numbers, rest) = words.split_first_chunk::<8>()?;
        let (limits, rest) = rest.split_at_checked(2 * N_LIMITS)?;
        let (cpus, rest) = rest.split_at_checked(N_CPU_WORDS)?;
        let &[effective, permitted, inheritable, saved_uid, saved_gid] = rest else { return None };
        let known = |word: u64| (word != u64::MAX).then_some(word as u32);
        Some(Self {
            umask: known(numbers[0]),
            niceness: numbers[1] as i32,
            policy: numbers[2] as i32,
            priority: numbers[3] as i32,
            oom_score_adj: known(numbers[4]).map(|score| score as i32),
            dumpable: numbers[5] as i32,
            blocked: numbers[6],
            ignored: numbers[7],
            limits: std::array::from_fn(|idx| (limits[2 * idx], limits[2 * idx + 1])),
            cpus: cpus.try_into().ok()?,
            capabilities: Capabilities { effective, permitted, inheritable },
            saved_uid: saved_uid as u32,
            saved_gid: saved_gid as u32,
        })
    }
}

/// The program's status, not in a moment in which its main thread blocks every signal only to
/// start a thread or a process.
fn settled_status() -> io::Result<Option<ProcStatus>> {
    let mut n_looks = 1;
    loop {
        let status = ProcStatus::of_program()?;
        let blocks_all =
            status.as_ref().is_some_and(|status| status.bits("SigBlk") & BLOCKABLE == BLOCKABLE);
        if !blocks_all || n_looks == N_LOOKS {
            return Ok(status);
        }
        std::thread::sleep(BETWEEN_LOOKS);
        n_looks += 1;
    }
}

/// The third of the real, effective, saved and file system's ids. Without `/proc` it is left alone.
fn saved_id(status: Option<&ProcStatus>, field: &str) -> u32 {
    let ids = status.and_then(|status| status.field(field));
    ids.and_then(|ids| ids.split_whitespace().nth(2)?.parse().ok()).unwrap_or(u32::MAX)
}

fn oom_score_adj() -> io::Result<Option<i32>> {
    Ok(read("/proc/self/oom_score_adj")?.and_then(|text| text.trim().parse().ok()))
}

fn has_capability(number: u32) -> bool {
    let status = ProcStatus::of_program().ok().flatten();
    let set = status.map_or(0, |status| status.bits("CapEff"));
    set & (1 << number) != 0
}

fn limit(resource: usize) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a living structure.
    check(unsafe { libc::getrlimit(resource as _, &mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

fn set_limit(resource: usize, (soft, hard): (u64, u64)) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the pointer is to a living structure.
    check(unsafe { libc::setrlimit(resource as _, &limit) })
}

fn numbers_in(set: u64) -> impl Iterator<Item = i32> {
    (1..=64).filter(move |number| set & (1 << (number - 1)) != 0)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_arrive_as_they_were_sent() {
        let mut settings = Settings::of_program().unwrap();
        settings.niceness = -7;
        settings.oom_score_adj = Some(-500);
        settings.umask = None;
        assert_eq!(Settings::decode(&settings.encode()), Some(settings));
        assert_eq!(Settings::decode(&[1, 2, 3]), None);
    }

    #[test]
    fn what_an_ordinary_user_cannot_take_back_is_out_of_reach() {
        // Without the right to do so, which this test may have.
        let before = Settings::of_program().unwrap();
        let (may_raise, may_hurry) =
            (has_capability(CAP_SYS_RESOURCE), has_capability(CAP_SYS_NICE));
        let mut from = before.clone();
        from.limits[libc::RLIMIT_CORE as usize].1 = 0;
        let mut to = from.clone();
        to.limits[libc::RLIMIT_CORE as usize].1 = 1;
        assert_eq!(to.are_in_reach_of(&from), may_raise);
        assert!(from.are_in_reach_of(&to));
        let (mut slow, mut fast) = (before.clone(), before);
        (slow.niceness, fast.niceness) = (5, 4);
        assert_eq!(fast.are_in_reach_of(&slow), may_hurry);
        assert!(slow.are_in_reach_of(&fast));
    }

    #[test]
    fn what_only_gets_worse_is_in_reach_and_applies() {
        let before = Settings::of_program().unwrap();
        let mut worse = before.clone();
        worse.limits[libc::RLIMIT_CORE as usize] = (0, 0);
        worse.umask = Some(0o077);
        assert!(worse.are_in_reach_of(&before));
        // The whole test program's, and of no harm to it.
        worse.apply().unwrap();
        let after = Settings::of_program().unwrap();
        assert_eq!(after.limits, worse.limits);
        assert_eq!(after.umask, Some(0o077));
    }
}
