//! Cells with a type, for Rust: [`Shared`] is one number, [`SharedSlice`] a row of them.

use std::marker::PhantomData;
use std::sync::Arc;

use super::{Memory, Number};
use crate::heap::Heap;
use crate::object::Shape;
use crate::out_of_memory::OutOfMemory;
use crate::{Handle, OpenError};

/// A number that all processes of the family see.
///
/// Clones are the same number. Each method is one atomic step.
#[derive(Clone, Debug)]
pub struct Shared<T: Number> {
    cells: SharedSlice<T>,
}

/// A row of numbers that all processes of the family see.
#[derive(Clone, Debug)]
pub struct SharedSlice<T: Number> {
    memory: Memory,
    _numbers: PhantomData<T>,
}

impl<T: Number> Shared<T> {
    const SHAPE: Shape = Shape::one::<T>(T::SORT);

    /// A cell that holds `value`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(heap: &Arc<Heap>, value: T) -> Result<Self, OutOfMemory> {
        let cells = SharedSlice::create(heap, Self::SHAPE, 1)?;
        cells.set(0, value);
        Ok(Self { cells })
    }

    /// The cell that `handle` names.
    ///
    /// # Errors
    /// [`OpenError`], also if it is of another type, or a row of cells.
    pub fn open(handle: Handle) -> Result<Self, OpenError> {
        let memory = Memory::open_as(handle, Self::SHAPE)?;
        Ok(Self { cells: SharedSlice { memory, _numbers: PhantomData } })
    }

    /// What names the cell elsewhere in the family; see [`crate::Object::travel`].
    pub fn travel(&self) -> Handle {
        self.cells.travel()
    }

    /// What it holds.
    pub fn get(&self) -> T {
        self.cells.get(0)
    }

    /// Makes it hold `value`.
    pub fn set(&self, value: T) {
        self.cells.set(0, value);
    }

    /// Makes it hold `value`; returns what it held.
    pub fn swap(&self, value: T) -> T {
        self.cells.swap(0, value)
    }

    /// Adds `n`; returns the sum, or `Err` with the number as it stays if the type has no such sum.
    pub fn add(&self, n: T) -> Result<T, T> {
        self.update(|now| now.plus(n))
    }

    /// Subtracts `n`; as [`Shared::add`].
    pub fn sub(&self, n: T) -> Result<T, T> {
        self.update(|now| now.minus(n))
    }

    /// Makes it hold `new` if it holds `expected`; else `Err` with what it holds.
    pub fn compare_exchange(&self, expected: T, new: T) -> Result<T, T> {
        self.cells.compare_exchange(0, expected, new)
    }

    /// Replaces what it holds by `change` of it; see [`Number::update`].
    pub fn update(&self, change: impl FnMut(T) -> Option<T>) -> Result<T, T> {
        self.cells.update(0, change)
    }
}

impl<T: Number> SharedSlice<T> {
    const SHAPE: Shape = Shape::row::<T>(T::SORT);

    /// `len` numbers, all 0.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(heap: &Arc<Heap>, len: usize) -> Result<Self, OutOfMemory> {
        Self::create(heap, Self::SHAPE, len)
    }

    fn create(heap: &Arc<Heap>, shape: Shape, len: usize) -> Result<Self, OutOfMemory> {
        let n_bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        let memory = Memory::create_as(heap, shape, n_bytes, 0)?;
        Ok(Self { memory, _numbers: PhantomData })
    }

    /// The numbers that `handle` names.
    ///
    /// # Errors
    /// [`OpenError`], also if they are of another type, or a single one.
    pub fn open(handle: Handle) -> Result<Self, OpenError> {
        Ok(Self { memory: Memory::open_as(handle, Self::SHAPE)?, _numbers: PhantomData })
    }

    /// What names the numbers elsewhere in the family; see [`crate::Object::travel`].
    pub fn travel(&self) -> Handle {
        self.memory.object().travel()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.memory.len() as usize / size_of::<T>()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the number at `idx` is.
    ///
    /// # Panics
    /// Like all that follow, if `idx` is not below [`SharedSlice::len`].
    pub fn get(&self, idx: usize) -> T {
        // SAFETY: a cell of ours.
        unsafe { T::load(self.cell(idx)) }
    }

    /// Makes the number at `idx` be `value`.
    pub fn set(&self, idx: usize, value: T) {
        // SAFETY: a cell of ours.
        unsafe { T::store(self.cell(idx), value) };
    }

    /// Makes the number at `idx` be `value`; returns what it was.
    pub fn swap(&self, idx: usize, value: T) -> T {
        // SAFETY: a cell of ours.
        unsafe { T::swap(self.cell(idx), value) }
    }

    /// Makes the number at `idx` be `new` if it is `expected`; else `Err` with what it is.
    pub fn compare_exchange(&self, idx: usize, expected: T, new: T) -> Result<T, T> {
        // SAFETY: a cell of ours.
        unsafe { T::compare_exchange(self.cell(idx), expected, new) }
    }

    /// Replaces the number at `idx` by `change` of it; see [`Number::update`].
    pub fn update(&self, idx: usize, change: impl FnMut(T) -> Option<T>) -> Result<T, T> {
        // SAFETY: a cell of ours.
        unsafe { T::update(self.cell(idx), change) }
    }

    fn cell(&self, idx: usize) -> *mut T {
        let len = self.len();
        assert!(idx < len, "index {idx} of {len} shared numbers");
        // SAFETY: within the data, which is aligned to 64 bytes and mapped as long as `self`.
        unsafe { self.memory.data().cast::<T>().add(idx).as_ptr() }
    }
}
