//! Cycles of waits for shared locks, through any processes of the family.
//!
//! From its own wait a thread follows owners until it is back at itself. The walk is made twice and
//! must meet the same waits with the same owners; see `crates/sync/README.md` for why that proves
//! that at one moment in between nobody of the cycle could go on. Then each process of it must be
//! alive: the locks of a dead one are taken over.
//!
//! One is told: of those whose processes raise deadlocks, the one with the highest number; all
//! compute the same. Without such a one the highest whose process reports.

use std::fmt::{self, Display, Formatter};

use crate::deadlock::{Certainty, Mode};
use crate::robust::Owner;
use crate::shared::lock::SharedLock;
use crate::shared::waits::{Family, Notice, Seen};

/// Threads of processes that wait for each other's locks.
#[derive(Clone, Debug)]
pub struct FamilyDeadlock {
    /// Nobody else could end any of the waits; else it is a suspicion.
    pub is_sure: bool,
    /// Each waits for a lock that the next one holds.
    pub threads: Vec<Stuck>,
}

/// One thread of a deadlock.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The process, as the system shows it.
    pub pid: u32,
    /// The thread, as the system shows it.
    pub kernel_id: u32,
    /// What it said of itself when its wait became long.
    pub notice: Notice,
    /// Where the lock it waits for lies.
    pub lock_at: u64,
}

/// Longer cycles are not looked for.
const MAX_HOPS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hop {
    waiter: Owner,
    wait: Seen,
    owner: Owner,
    certainty: Certainty,
}

/// The deadlock that the wait of `me` for `lock` is part of, if it is `me` who is to be told; with
/// `suspects` also one that is only likely.
pub(super) fn find(
    family: &dyn Family,
    me: Owner,
    lock: &SharedLock,
    suspects: bool,
) -> Option<FamilyDeadlock> {
    // What most looks find: an owner that does not wait for long itself. Cheap to see.
    let owner = lock.owner()?;
    if owner != me {
        family.board_of(owner.party)?.wait_of(owner.thread)?;
    }
    let cycle = walk(family, me)?;
    let is_sure = cycle.iter().all(|hop| hop.certainty == Certainty::Sure);
    // A lock that one thread takes twice is more likely a signal from another one.
    if !is_sure && (!suspects || cycle.len() == 1) {
        return None;
    }
    if walk(family, me)? != cycle {
        return None;
    }
    let lives = |hop: &Hop| hop.waiter.party == me.party || family.is_alive(hop.waiter.party);
    if !cycle.iter().all(lives) || to_be_told(&cycle)? != me {
        return None;
    }
    let stuck = |hop: &Hop| Stuck {
        pid: family.pid_of(hop.waiter.party).unwrap_or_default(),
        kernel_id: hop.wait.kernel_id,
        notice: notice_of(family, hop),
        lock_at: hop.wait.lock_at,
    };
    Some(FamilyDeadlock { is_sure, threads: cycle.iter().map(stuck).collect() })
}

/// The cycle through the wait of `me`, starting there.
fn walk(family: &dyn Family, me: Owner) -> Option<Vec<Hop>> {
    let mut hops: Vec<Hop> = Vec::new();
    let mut at = me;
    while hops.len() < MAX_HOPS {
        let wait = family.board_of(at.party)?.wait_of(at.thread)?;
        let lock = family.lock_at(wait.lock_at)?;
        let (owner, certainty) = (lock.owner()?, lock.certainty());
        if certainty < Certainty::Likely {
            return None;
        }
        hops.push(Hop { waiter: at, wait, owner, certainty });
        if owner == me {
            return Some(hops);
        }
        if hops.iter().any(|hop| hop.waiter == owner) {
            // A cycle of others, who look themselves.
            return None;
        }
        at = owner;
    }
    None
}

/// One that raises rather than one that prints.
fn to_be_told(cycle: &[Hop]) -> Option<Owner> {
    let told = cycle.iter().filter(|hop| hop.wait.mode != Mode::Off as u32);
    let rank =
        |hop: &&Hop| (hop.wait.mode == Mode::Raise as u32, hop.waiter.party, hop.waiter.thread);
    told.max_by_key(rank).map(|hop| hop.waiter)
}

fn notice_of(family: &dyn Family, hop: &Hop) -> Notice {
    let board = family.board_of(hop.waiter.party);
    board.and_then(|board| board.notice_of(hop.wait.serial)).unwrap_or_default()
}

impl Display for FamilyDeadlock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut pids: Vec<u32> = self.threads.iter().map(|stuck| stuck.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        let who = match (self.threads.len(), pids.len()) {
            (1, _) => "a thread waits for itself".to_owned(),
            (n, 1) => format!("{n} threads wait for each other, each for the next"),
            (n, n_pids) => format!(
                "{n} threads of {n_pids} processes wait for each other's locks, each for the next"
            ),
        };
        match self.is_sure {
            true => write!(f, "deadlock: {who}.")?,
            false => {
                write!(f, "{who}: a deadlock, unless somebody else releases one of the locks.")?
            }
        }
        let n = self.threads.len();
        for (idx, stuck) in self.threads.iter().enumerate() {
            let next = &self.threads[(idx + 1) % n];
            let before = &self.threads[(idx + n - 1) % n];
            write!(f, "\n  {}", capitalized(&stuck.to_string()))?;
            let held = stuck.notice.holds.iter().find(|(at, ..)| *at == before.lock_at);
            match held {
                Some((_, what, at)) => write!(f, "\n    holds {what}, acquired at {at}")?,
                None => write!(f, "\n    holds {}", before.notice.waits_for)?,
            }
            let (what, at) = (&stuck.notice.waits_for, &stuck.notice.waits_at);
            write!(f, "\n    waits for {what} at {at}")?;
            match n {
                1 => f.write_str(" (its own)")?,
                _ => write!(f, " (held by {next})")?,
            }
        }
        Ok(())
    }
}

impl Display for Stuck {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.notice.process {
            Some(name) => write!(f, "process {name:?} (pid {})", self.pid)?,
            None => write!(f, "process {}", self.pid)?,
        }
        match &self.notice.thread {
            Some(name) => write!(f, ", thread {name:?}"),
            None => write!(f, ", thread {}", self.kernel_id),
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

impl std::error::Error for FamilyDeadlock {}
