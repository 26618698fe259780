//! Who waits for whom: a cycle in it is a deadlock.

use super::{Certainty, EndedBy};

/// One wait, as far as the graph is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    /// Which wait it is: a later one of the same thread has another number.
    pub(super) serial: u64,
    pub(super) thread: u32,
    pub(super) ended_by: EndedBy,
}

/// Threads that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    /// Their waits, each for the thread of the next.
    pub(super) waits: Vec<Edge>,
    /// Nobody else could end any of them.
    pub(super) is_sure: bool,
}

/// The cycle through `thread`, starting with its own wait; `edge_of` finds a thread's wait.
pub(super) fn cycle_through(thread: u32, edge_of: impl Fn(u32) -> Option<Edge>) -> Option<Cycle> {
    let mut waits: Vec<Edge> = Vec::new();
    let mut at = thread;
    loop {
        let edge = edge_of(at)?;
        waits.push(edge);
        at = match edge.ended_by {
            EndedBy::Owner { thread, certainty, .. } if certainty >= Certainty::Likely => thread,
            EndedBy::EndOf(thread) => thread,
            _ => return None,
        };
        if at == thread {
            break;
        }
        if waits.iter().any(|edge| edge.thread == at) {
            // A cycle of others, which are told themselves.
            return None;
        }
    }
    let is_sure = |edge: &Edge| {
        matches!(
            edge.ended_by,
            EndedBy::EndOf(_) | EndedBy::Owner { certainty: Certainty::Sure, .. }
        )
    };
    let is_sure = waits.iter().all(is_sure);
    // A fresh lock that one thread takes twice is more likely a signal from another one.
    (is_sure || waits.len() > 1).then_some(Cycle { waits, is_sure })
}

/// Whether `thread` waits for one of the others that wait, and not in a cycle.
pub(super) fn waits_for_another(thread: u32, edges: &[Edge]) -> bool {
    let waits_for = |thread: u32| {
        let edge = edges.iter().find(|edge| edge.thread == thread)?;
        match edge.ended_by {
            EndedBy::Owner { thread, .. } | EndedBy::EndOf(thread) => {
                edges.iter().any(|edge| edge.thread == thread).then_some(thread)
            }
            EndedBy::Anyone | EndedBy::OtherProcess | EndedBy::Nobody => None,
        }
    };
    // As many steps as there are waits lead back to `thread` if it is in a cycle.
    let mut at = waits_for(thread);
    for _ in edges {
        match at {
            Some(other) if other == thread => return false,
            Some(other) if waits_for(other).is_some() => at = waits_for(other),
            other => return other.is_some(),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadlock::Site;

    fn cycle_through(thread: u32, edges: &[Edge]) -> Option<Cycle> {
        super::cycle_through(thread, |at| edges.iter().copied().find(|edge| edge.thread == at))
    }

    fn owned(thread: u32, owner: u32, certainty: Certainty) -> Edge {
        let ended_by = EndedBy::Owner { thread: owner, certainty, acquired_at: Site::Unknown };
        Edge { serial: thread.into(), thread, ended_by }
    }

    fn joins(thread: u32, other: u32) -> Edge {
        Edge { serial: thread.into(), thread, ended_by: EndedBy::EndOf(other) }
    }

    #[test]
    fn two_locks_in_opposite_order_are_a_cycle() {
        let edges = [owned(1, 2, Certainty::Likely), owned(2, 1, Certainty::Likely)];
        assert_eq!(cycle_through(1, &edges).unwrap().waits.len(), 2);
        assert_eq!(cycle_through(2, &edges).unwrap().waits[0].thread, 2);
        assert!(!cycle_through(2, &edges).unwrap().is_sure);
    }

    #[test]
    fn a_lock_that_others_release_closes_no_cycle() {
        let edges = [owned(1, 2, Certainty::Unsure), owned(2, 1, Certainty::Sure)];
        assert_eq!(cycle_through(1, &edges), None);
    }

    #[test]
    fn a_fresh_lock_taken_twice_by_one_thread_may_be_a_signal() {
        assert_eq!(cycle_through(1, &[owned(1, 1, Certainty::Likely)]), None);
        assert!(cycle_through(1, &[owned(1, 1, Certainty::Sure)]).is_some());
    }

    #[test]
    fn a_join_in_the_cycle_asks_for_sure_locks() {
        let likely = [joins(1, 2), owned(2, 1, Certainty::Likely)];
        assert!(!cycle_through(1, &likely).unwrap().is_sure);
        let sure = [joins(1, 2), owned(2, 1, Certainty::Sure)];
        assert!(cycle_through(1, &sure).unwrap().is_sure);
    }

    #[test]
    fn who_waits_for_a_cycle_is_not_in_it() {
        let edges = [
            owned(3, 1, Certainty::Sure),
            owned(1, 2, Certainty::Sure),
            owned(2, 1, Certainty::Sure),
        ];
        assert_eq!(cycle_through(3, &edges), None);
        assert!(cycle_through(1, &edges).is_some());
    }

    #[test]
    fn who_joins_a_waiting_thread_is_not_the_one_to_be_told() {
        let anyone = Edge { serial: 2, thread: 2, ended_by: EndedBy::Anyone };
        let edges =
            [joins(1, 2), anyone, owned(3, 4, Certainty::Unsure), owned(4, 3, Certainty::Unsure)];
        let told = [1, 2, 3, 4].map(|thread| !waits_for_another(thread, &edges));
        assert_eq!(told, [false, true, true, true]);
        let joins_a_cycle = [joins(1, 3), edges[2], edges[3], owned(5, 6, Certainty::Sure)];
        let told = [1, 3, 4, 5].map(|thread| !waits_for_another(thread, &joins_a_cycle));
        assert_eq!(told, [false, true, true, true]);
    }

    #[test]
    fn whoever_runs_ends_no_cycle() {
        assert_eq!(cycle_through(1, &[owned(1, 2, Certainty::Sure)]), None);
    }
}
