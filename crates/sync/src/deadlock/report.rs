//! A deadlock in words.

use std::fmt::{self, Display, Formatter};

use super::{Resource, Site};

/// What was found.
#[derive(Clone, Debug)]
pub struct Deadlock {
    /// Why it is one.
    pub kind: Kind,
    /// The threads that wait for ever; in a cycle each waits for the next.
    pub threads: Vec<StuckThread>,
}

/// Why nobody goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each waits for the next.
    Cycle,
    /// Each waits for a lock that the next has acquired; a thread that runs might release one.
    Suspected,
    /// No thread of the process is left to wake any of them.
    EveryoneAsleep,
}

/// One thread of a deadlock.
#[derive(Clone, Debug)]
pub struct StuckThread {
    /// Its number within the process.
    pub thread: u32,
    /// Its number as the system shows it.
    pub kernel_id: u32,
    /// Its name, if known.
    pub name: Option<String>,
    /// What it holds that others of the deadlock wait for, and where it took it.
    pub holds: Vec<Thing>,
    /// What it waits for, and where.
    pub waits_for: Thing,
    /// The thread that could end it; `None`: anybody.
    pub ended_by: Option<u32>,
}

/// A primitive, and the place where a thread took it or waits for it.
#[derive(Clone, Debug)]
pub struct Thing {
    /// `"Lock"`, `"Queue"`, …
    pub kind: &'static str,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Tells it from others.
    pub id: usize,
    /// Where, in words.
    pub at: String,
}

impl Thing {
    pub(super) fn new(resource: &dyn Resource, site: Site) -> Self {
        let description = resource.describe();
        Self {
            kind: description.kind,
            name: description.name,
            id: description.id,
            at: site.to_string(),
        }
    }
}

impl Deadlock {
    /// Gives each thread the name that `name` knows for the system's number.
    pub fn name_threads(&mut self, name: impl Fn(u32) -> Option<String>) {
        for thread in &mut self.threads {
            // In a forked child some still know a thread by the number it had before.
            let known = name(thread.kernel_id).or_else(|| name(thread.thread));
            thread.name = known.or(thread.name.take());
        }
    }

    fn name_of(&self, thread: u32) -> String {
        match self.threads.iter().find(|stuck| stuck.thread == thread) {
            Some(stuck) => stuck.to_string(),
            None if manyhands_sys::census::lives(thread) => format!("thread {thread}"),
            None => "a thread that has ended".to_owned(),
        }
    }
}

impl Display for Deadlock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.kind, self.threads.len()) {
            (Kind::Cycle, 1) => f.write_str("deadlock: a thread waits for itself.")?,
            (Kind::Cycle, n) => {
                write!(f, "deadlock: {n} threads wait for each other, each for the next.")?;
            }
            (Kind::Suspected, n) => write!(
                f,
                "{n} threads wait for each other's locks: a deadlock, unless another thread \
                 releases one of them."
            )?,
            (Kind::EveryoneAsleep, 1) => {
                f.write_str("deadlock: a thread waits, and nobody is left to wake it.")?;
            }
            (Kind::EveryoneAsleep, n) => {
                write!(f, "deadlock: {n} threads wait, and nobody is left to wake any of them.")?;
            }
        }
        for stuck in &self.threads {
            write!(f, "\n  T{}", &stuck.to_string()[1..])?;
            for (idx, held) in stuck.holds.iter().enumerate() {
                let verb = if idx == 0 { "holds" } else { "and" };
                write!(f, "\n    {verb} {held}, acquired at {}", held.at)?;
            }
            write!(f, "\n    waits for {} at {}", stuck.waits_for, stuck.waits_for.at)?;
            if let Some(thread) = stuck.ended_by {
                write!(f, " ({})", self.relation(stuck, thread))?;
            }
        }
        Ok(())
    }
}

impl Deadlock {
    fn relation(&self, stuck: &StuckThread, other: u32) -> String {
        match stuck.waits_for.kind {
            _ if stuck.thread == other => "its own".to_owned(),
            "Thread" => "which has not ended".to_owned(),
            _ => format!("held by {}", self.name_of(other)),
        }
    }
}

impl Display for StuckThread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "thread {name:?}"),
            None => write!(f, "thread {}", self.kernel_id),
        }
    }
}

impl Display for Thing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name:?}", self.kind),
            None => write!(f, "{} {:#x}", self.kind, self.id),
        }
    }
}

impl std::error::Error for Deadlock {}
