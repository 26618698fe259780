//! Shared numbers and memory as Python sees them, below the classes of `_mp/sharedctypes.py` and
//! `_mp/shared_array.py`.

pub mod array;
pub mod guard;
pub mod lost_update;
pub mod memory;
mod methods;
pub mod place;
pub mod scalar;
pub mod value;
