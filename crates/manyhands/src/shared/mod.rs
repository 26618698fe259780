//! What processes of one family share. Each value here is a handle: sent as a task's argument or
//! result, or through a pipe or queue, it means the same thing in the process that gets it.
//!
//! The family is this program, the processes it starts, and those that they start. What nobody has
//! any more is gone, whoever was killed meanwhile; nothing of it has a name that could be left
//! behind.

mod cells;
mod errors;
mod locks;
mod map;
mod pipe;
mod queue;
mod travel;

use std::io;
use std::sync::{Arc, Once};

use manyhands_shm::{Heap, Kind, family, object};

pub use cells::{Shared, SharedSlice};
pub use errors::{ReceiveError, SendError, ShareError};
pub use locks::{
    OwnerDied, SharedBarrier, SharedCondvar, SharedEvent, SharedMutex, SharedMutexGuard,
    SharedPermit, SharedSemaphore,
};
pub use map::SharedMap;
pub use pipe::Pipe;
pub use queue::SharedQueue;
pub(crate) use travel::from_bytes;

/// Every kind of shared object, also those that this program does not use itself.
pub(crate) fn register_kinds() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let kinds: [&[&'static Kind]; 5] = [
            &[&manyhands_shm::cell::KIND],
            &manyhands_shm::locks::KINDS,
            &manyhands_queue::pipe::KINDS,
            &[&manyhands_queue::shared::QUEUE],
            &manyhands_collections::KINDS,
        ];
        kinds.into_iter().for_each(object::register);
    });
}

/// The heap of this program's family.
pub(crate) fn heap() -> io::Result<Arc<Heap>> {
    register_kinds();
    family::kept_heap()
}
