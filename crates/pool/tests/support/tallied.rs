//! Tasks that leave a mark in shared memory each time they run, so that a test can tell how often
//! each of them ran, whatever became of its worker.

use std::sync::Arc;
use std::time::Duration;

use manyhands_pool::process::{
    Body, Function, ProcessPool, ProcessTask, SubmitError, TaskOptions, WorkerEnd,
};
use manyhands_shm::{Block, Heap};
use manyhands_sys::atomic::{AtomicU32, Ordering};

const HEADER_BYTES: usize = 24;

/// How often each task ran.
pub struct Tally {
    heap: Arc<Heap>,
    block: Block,
    n_tasks: usize,
}

/// What one task is to do.
#[derive(Clone)]
pub struct Work {
    pub idx: usize,
    pub sleep_us: u64,
    pub payload_bytes: usize,
    pub options: TaskOptions,
}

impl Tally {
    pub fn new(n_tasks: usize) -> Self {
        let heap = manyhands_shm::family::heap().expect("a heap");
        let mut block = heap.alloc(n_tasks as u64 * 4).expect("room");
        block.fill(0);
        Self { heap, block, n_tasks }
    }

    pub fn n_runs(&self, idx: usize) -> u32 {
        assert!(idx < self.n_tasks);
        mark(&self.heap, self.block.at().offset, idx).load(Ordering::Acquire)
    }

    pub fn submit(
        &self,
        pool: &ProcessPool,
        function: &Arc<Function>,
        work: &Work,
    ) -> Result<Arc<ProcessTask>, SubmitError> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + work.payload_bytes);
        for word in [self.block.at().offset, work.idx as u64, work.sleep_us] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(payload(work));
        let body = Body::copy_of(&bytes, pool.heap()).expect("room for the arguments");
        pool.submit(Arc::clone(function), body, work.options.clone())
    }
}

/// The bytes a task gets and has to send back.
pub fn payload(work: &Work) -> impl Iterator<Item = u8> {
    let seed = work.idx;
    (0..work.payload_bytes).map(move |at| (seed.wrapping_mul(31) ^ at) as u8)
}

pub fn function(pool: &ProcessPool) -> Arc<Function> {
    pool.function(b"tallied", None).expect("room for a function")
}

/// In the worker.
pub fn run(end: &WorkerEnd, body: &[u8]) -> Vec<u8> {
    let word = |nth: usize| {
        u64::from_le_bytes(body[nth * 8..][..8].try_into().expect("eight bytes are a word"))
    };
    mark(end.heap(), word(0), word(1) as usize).fetch_add(1, Ordering::AcqRel);
    if word(2) > 0 {
        std::thread::sleep(Duration::from_micros(word(2)));
    }
    body[HEADER_BYTES..].to_vec()
}

fn mark(heap: &Heap, table: u64, idx: usize) -> &AtomicU32 {
    // SAFETY: the tally's block has a word for each task, used only as an atomic, and lives as
    // long as the test.
    unsafe { heap.address(table + idx as u64 * 4, 4).cast().as_ref() }
}
