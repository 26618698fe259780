//! The kinds of objects of this crate.

use manyhands_shm::Kind;

use crate::{list, map, record};

/// All of them, to be made known at the start of a process.
pub static KINDS: [&Kind; 3] = [&map::KIND, &list::KIND, &record::STORED_KIND];
