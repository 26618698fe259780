//! What a pool tells about itself: numbers of tasks and workers, and who the workers are.

/// What has happened in a pool so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolCounts {
    /// Tasks taken.
    pub submitted: u64,
    /// Tasks that replied.
    pub replied: u64,
    /// Tasks whose worker died.
    pub crashed: u64,
    /// Tasks stopped at their timeout.
    pub timed_out: u64,
    /// Workers started.
    pub workers_started: u64,
    /// Workers that ended otherwise than asked to.
    pub workers_died: u64,
    /// Tasks waiting for room in a lane.
    pub pending: u64,
    /// Tasks in lanes, waiting or running.
    pub in_lanes: u64,
}

/// One worker of the moment.
#[derive(Clone, Debug)]
pub struct WorkerInfo {
    /// Number within the pool.
    pub id: u64,
    /// Process id; 0 while it starts.
    pub pid: u32,
    /// Tasks in its lane, the running one included.
    pub n_tasks: usize,
    /// Whether it runs tasks already.
    pub ready: bool,
}
