//! Numbers that several processes see.

use std::ops::Deref;

use manyhands_shm::cell::Number;
use manyhands_shm::{Shared as Cell, SharedSlice as Cells};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ShareError, heap, travel};

/// A number that all processes of the family see; each method is one atomic step.
///
/// Clones are the same number, in this process or, sent to it, in another one.
///
/// ```
/// use manyhands::{Process, Shared};
///
/// #[manyhands::task]
/// fn count(total: Shared<u64>) {
///     for _ in 0..50 {
///         total.add(1).expect("the sum fits");
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # manyhands::init();
/// let total = Shared::new(0)?;
/// let start = |_| Process::spawn(count::task, total.clone());
/// let processes = (0..9).map(start).collect::<Result<Vec<_>, _>>()?;
/// for process in processes {
///     process.join()?;
/// }
/// assert_eq!(total.get(), 450);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Shared<T: Number>(Cell<T>);

/// A row of numbers that all processes of the family see; each method is one atomic step.
///
/// ```
/// let seats = manyhands::SharedSlice::<u32>::new(4)?;
/// seats.set(2, 7);
/// assert_eq!(seats.update(2, |n| n.checked_mul(2)), Ok(14));
/// assert_eq!((0..seats.len()).map(|idx| seats.get(idx)).sum::<u32>(), 14);
/// # Ok::<(), manyhands::ShareError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedSlice<T: Number>(Cells<T>);

impl<T: Number> Shared<T> {
    /// A cell that holds `value`.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn new(value: T) -> Result<Self, ShareError> {
        Ok(Self(Cell::new(&heap()?, value)?))
    }
}

impl<T: Number> SharedSlice<T> {
    /// `len` numbers, all 0.
    ///
    /// # Errors
    /// [`ShareError`].
    pub fn new(len: usize) -> Result<Self, ShareError> {
        Ok(Self(Cells::new(&heap()?, len)?))
    }
}

impl<T: Number> Deref for Shared<T> {
    type Target = Cell<T>;

    fn deref(&self) -> &Cell<T> {
        &self.0
    }
}

impl<T: Number> Deref for SharedSlice<T> {
    type Target = Cells<T>;

    fn deref(&self) -> &Cells<T> {
        &self.0
    }
}

impl<T: Number> Serialize for Shared<T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.0.travel(), serializer)
    }
}

impl<'de, T: Number> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Cell::open).map(Self)
    }
}

impl<T: Number> Serialize for SharedSlice<T> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        travel::serialize(self.0.travel(), serializer)
    }
}

impl<'de, T: Number> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        travel::deserialize(deserializer, Cells::open).map(Self)
    }
}
