//! One worker as the root sees it: its process, its lane, and the tasks in the lane.
//!
//! What it does not do: it decides nothing. Who gets a task is `hand_out.rs`; who is stopped, set
//! aside or buried, the files of those names.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use manyhands_shm::{BlockRef, Party};
use manyhands_sys::atomic::Ordering;
use manyhands_sys::pid::Signal;

use super::super::lane::{LaneRoot, Status};
use super::super::slot::{ANNOUNCE_START, State};
use super::super::task::{Body, ProcessTask};
use super::environment::{Environment, Process};
use super::silence::{SILENT_NS, Silence};

/// One worker process and its lane.
pub(super) struct Worker<E: Environment> {
    pub(super) id: u64,
    pub(super) party: Party,
    pub(super) lane: LaneRoot,
    /// What is in the lane, from its tail; `None`: taken back.
    pub(super) tasks: VecDeque<Option<Arc<ProcessTask>>>,
    /// Tasks in the lane that were not taken back.
    pub(super) n_tasks: usize,
    pub(super) process: Option<E::Process>,
    pid: u32,
    pub(super) ready: bool,
    pub(super) leaving: bool,
    pub(super) kill_on_start: bool,
    /// That it never started is another's fault, and told already.
    pub(super) is_excused: bool,
    pub(super) n_given: u64,
    /// Running mean of how long its tasks take; 0: not known yet.
    pub(super) mean_ns: u64,
    pub(super) stop: Option<Stop>,
    pub(super) silence: Silence,
    /// When it was last given a task while it had none, had done the one before, or became ready.
    pub(super) busy_since_ns: u64,
}

/// A worker has been asked to leave the task at `position`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) position: u64,
    pub(super) kill_at_ns: u64,
}

/// A worker is given at most this much work ahead.
const AHEAD_NS: u64 = 1_000_000;
const MAX_AHEAD: u64 = 128;

/// A task that has run this long holds up those behind it.
const STUCK_NS: u64 = 20_000;

impl<E: Environment> Worker<E> {
    /// A worker that was asked for and has not started.
    pub(super) const fn new(id: u64, party: Party, lane: LaneRoot) -> Self {
        Self {
            id,
            party,
            lane,
            tasks: VecDeque::new(),
            n_tasks: 0,
            process: None,
            pid: 0,
            ready: false,
            leaving: false,
            kill_on_start: false,
            is_excused: false,
            n_given: 0,
            mean_ns: 0,
            stop: None,
            silence: Silence::NONE,
            busy_since_ns: 0,
        }
    }

    /// Room for another task: an unknown or slow worker gets one ahead of the running one.
    pub(super) fn takes_one_more(&self) -> bool {
        let ahead = match (self.ready, self.mean_ns) {
            (false, _) => 0,
            (true, 0) => 1,
            (true, mean_ns) => (AHEAD_NS / mean_ns).clamp(1, MAX_AHEAD),
        };
        let is_there = !self.leaving && !self.silence.is_stopped();
        is_there && self.lane.has_room() && self.n_tasks as u64 <= ahead
    }

    /// Whether it is one of those that the pool may have.
    pub(super) const fn stays(&self) -> bool {
        !self.leaving && !self.silence.is_set_aside()
    }

    pub(super) fn give(&mut self, task: Arc<ProcessTask>, env: &E) {
        let announce = if task.options.timeout.is_some() { ANNOUNCE_START } else { 0 };
        let call = task.call.lock().unwrap_or_else(PoisonError::into_inner);
        let (function, arguments) = call.as_ref().expect("a task that waits has its call");
        let position = self.lane.publish(|content| {
            content.function_id = function.id;
            content.function = function.code.at();
            content.flags = announce;
            match &arguments.body {
                Body::Block(block) => content.block = block.at(),
                Body::Inline(bytes) => {
                    content.block = BlockRef::default();
                    content.inline_len = bytes.len() as u32;
                    content.inline[..bytes.len()].copy_from_slice(bytes);
                }
            }
        });
        drop(call);
        if self.n_tasks == 0 {
            self.busy_since_ns = env.now_ns();
        }
        task.place.set(self.id, position);
        self.tasks.push_back(Some(task));
        self.n_tasks += 1;
        self.n_given += 1;
    }

    /// Takes the task at `position` back if the worker has not claimed it.
    pub(super) fn take_back(&mut self, position: u64) -> Option<Arc<ProcessTask>> {
        let idx = position.checked_sub(self.lane.tail)? as usize;
        if self.tasks.get(idx)?.is_none() || !self.lane.revoke(position) {
            return None;
        }
        let task = self.tasks[idx].take()?;
        task.place.clear();
        self.n_tasks -= 1;
        self.n_given -= 1;
        Some(task)
    }

    /// Takes back the task that would be run last.
    pub(super) fn take_back_last(&mut self) -> Option<Arc<ProcessTask>> {
        let idx = self.tasks.iter().rposition(Option::is_some)?;
        self.take_back(self.lane.tail + idx as u64)
    }

    /// Tasks in the lane that the worker has probably not claimed.
    pub(super) fn n_movable(&self, env: &E) -> usize {
        let claims = self.ready && !self.is_silent(env);
        if claims { self.n_tasks.saturating_sub(1) } else { self.n_tasks }
    }

    /// Whether it has tasks and has not claimed the first of them.
    pub(super) fn is_unclaimed(&self) -> bool {
        let first = self.tasks.iter().position(Option::is_some);
        first.is_some_and(|idx| self.lane.state(self.lane.tail + idx as u64) == State::Pending)
    }

    /// Whether it had nothing to do and has not claimed its next task for so long that it must be
    /// stopped (SIGSTOP), or starved.
    fn is_silent(&self, env: &E) -> bool {
        self.is_unclaimed() && env.now_ns().saturating_sub(self.busy_since_ns) > SILENT_NS
    }

    /// Whether what waits in the lane is so little that moving it costs more.
    pub(super) fn would_be_done_in(&self, ns: u64, env: &E) -> bool {
        let oldest = self.started_ns(self.lane.tail);
        let stuck = oldest != 0 && env.now_ns().saturating_sub(oldest) > STUCK_NS;
        let stuck = stuck || self.is_silent(env);
        self.ready && !stuck && self.mean_ns != 0 && self.mean_ns * self.n_tasks as u64 <= ns
    }

    pub(super) fn started_ns(&self, position: u64) -> u64 {
        match self.lane.state(position) {
            State::Running => self.lane.view().slot(position).started_ns.load(Ordering::Acquire),
            _ => 0,
        }
    }

    /// Its process id; 0 while it starts. A fast worker says so itself before its launcher does.
    pub(super) fn pid(&self) -> u32 {
        if self.pid == 0 { self.lane.view().pid() } else { self.pid }
    }

    /// The launcher tells who it is. What was to be signalled before gets its signal now.
    pub(super) fn on_started(&mut self, pid: u32, process: E::Process) {
        self.pid = pid;
        if self.kill_on_start {
            process.signal(Signal::KILL);
        } else if self.stop.is_some() {
            process.signal(Signal::INT);
        }
        self.process = Some(process);
    }

    /// Kills it, as soon as it can be reached.
    pub(super) fn kill(&mut self) {
        self.kill_on_start = true;
        if let Some(process) = &self.process {
            process.signal(Signal::KILL);
        }
    }

    /// Whether it ever got as far as running tasks.
    pub(super) fn was_ready(&self) -> bool {
        self.ready || self.lane.view().status() == Status::Ready
    }

    /// It claims from now on: the time it took to get there is not its tasks'.
    pub(super) fn become_ready(&mut self, env: &E) {
        self.ready = true;
        self.busy_since_ns = env.now_ns();
    }

    /// The worker takes no more tasks and ends after those it has.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.lane.stop_at_head();
    }
}
