//! Who is in the family: for the Python code that forks and launches processes.

use manyhands_shm::{Party, family};
use pyo3::prelude::*;

/// The party that the last `os.fork()` of this thread has made its child, once. Whoever forked
/// says who it is (`name_party`), and buries it at its end, or at once if there is no child.
#[pyfunction]
pub fn last_forked_party() -> Option<u32> {
    family::last_forked().map(|(_, party)| party.number())
}

/// The party is the process `pid`.
#[pyfunction]
pub fn name_party(party: u32, pid: u32) {
    if let Some(heap) = family::existing() {
        heap.name_party(Party::from_number(party), pid);
    }
}

/// The party's process has ended: what it held is released, its memory given back.
#[pyfunction]
pub fn bury_party(py: Python<'_>, party: u32) {
    if let Some(heap) = family::existing() {
        // SAFETY: the Python code calls this for a child that it saw end, or that there is not.
        py.detach(|| unsafe { heap.bury(Party::from_number(party)) });
    }
}
