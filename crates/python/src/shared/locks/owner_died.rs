//! What happens when the owner of a shared lock has died with it.
//!
//! | number | word | what the next owner gets |
//! |---|---|---|
//! | 0 | – | what the process's mode says |
//! | 1 | `"warn"` | an `OwnerDied` warning |
//! | 2 | `"raise"` | the same as an error |
//! | 3 | `"ignore"` | nothing |

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::call::call;
use crate::contract;

const WORDS: [&str; 3] = ["warn", "raise", "ignore"];

/// The number of a mode.
///
/// # Errors
/// ValueError for a word that is none.
pub fn policy_of(word: Option<&str>) -> PyResult<u32> {
    let Some(word) = word else { return Ok(0) };
    let idx = WORDS.iter().position(|known| *known == word);
    idx.map(|idx| idx as u32 + 1).ok_or_else(|| {
        let text = format!("owner_died must be 'warn', 'raise' or 'ignore', not '{word}'");
        PyValueError::new_err(text)
    })
}

/// Tells that the process `pid` (`None`: nobody knows any more which) died with `what`.
///
/// # Errors
/// `OwnerDied`, if that is what the policy, or a warnings filter, wants.
pub fn tell(py: Python<'_>, policy: u32, pid: Option<u32>, what: &str) -> PyResult<()> {
    let word = policy.checked_sub(1).and_then(|idx| WORDS.get(idx as usize));
    let tell = contract::TELL_OWNER_DIED.get(py)?;
    call(tell, &(word.copied(), pid, what).into_pyobject(py)?, None).map(drop)
}
