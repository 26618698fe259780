//! Numbers as atomic cells, through raw pointers: what lies in shared memory has no Rust owner.

use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering,
};

use crate::object::Sort;

/// A number that fits an atomic cell: integers of 8 to 64 bits, `f32`, `f64` and `bool`.
///
/// # Safety
/// For implementors: all bits that the operations can leave in a cell are a valid `Self`, and zeros
/// are; a type has the size and alignment of its atomic cell.
pub unsafe trait Number: Copy + PartialOrd + Send + Sync + 'static {
    /// What tells it from other numbers of the same size.
    const SORT: Sort;

    /// Reads the cell.
    ///
    /// # Safety
    /// - `cell` is mapped, and aligned to the size of `Self`.
    /// - Nobody accesses it other than atomically, except through buffers whose users know that
    ///   they race.
    unsafe fn load(cell: *mut Self) -> Self;

    /// Writes the cell.
    ///
    /// # Safety
    /// As for [`Number::load`].
    unsafe fn store(cell: *mut Self, value: Self);

    /// Writes the cell and returns what it held.
    ///
    /// # Safety
    /// As for [`Number::load`].
    unsafe fn swap(cell: *mut Self, value: Self) -> Self;

    /// Writes `new` if the cell holds exactly the bits of `expected`; else says what it holds.
    ///
    /// # Safety
    /// As for [`Number::load`].
    unsafe fn compare_exchange(cell: *mut Self, expected: Self, new: Self) -> Result<Self, Self>;

    /// The sum; `None` if the type has no such number.
    fn plus(self, other: Self) -> Option<Self>;

    /// The difference; `None` if the type has no such number.
    fn minus(self, other: Self) -> Option<Self>;

    /// Replaces what the cell holds by `change` of it, as often as somebody else comes in between.
    /// `Ok` with what it holds then; `Err` with what it holds if `change` has no answer for that,
    /// and nothing is written.
    ///
    /// # Safety
    /// As for [`Number::load`].
    #[inline]
    unsafe fn update(
        cell: *mut Self,
        mut change: impl FnMut(Self) -> Option<Self>,
    ) -> Result<Self, Self> {
        // SAFETY: the caller's promise.
        let mut now = unsafe { Self::load(cell) };
        loop {
            let Some(new) = change(now) else { return Err(now) };
            // SAFETY: the caller's promise.
            match unsafe { Self::compare_exchange(cell, now, new) } {
                Ok(_) => return Ok(new),
                Err(other) => now = other,
            }
        }
    }
}

/// Numbers that are made of bits.
pub trait Integer: Number {
    /// Bits set in both.
    fn and(self, other: Self) -> Self;
    /// Bits set in either.
    fn or(self, other: Self) -> Self;
    /// Bits set in one of them.
    fn xor(self, other: Self) -> Self;
}

macro_rules! access {
    ($atomic:ty, $to_bits:expr, $from_bits:expr) => {
        #[inline]
        unsafe fn load(cell: *mut Self) -> Self {
            // SAFETY: the caller's promise.
            ($from_bits)(unsafe { <$atomic>::from_ptr(cell.cast()) }.load(Ordering::SeqCst))
        }

        #[inline]
        unsafe fn store(cell: *mut Self, value: Self) {
            // SAFETY: the caller's promise.
            unsafe { <$atomic>::from_ptr(cell.cast()) }.store(($to_bits)(value), Ordering::SeqCst);
        }

        #[inline]
        unsafe fn swap(cell: *mut Self, value: Self) -> Self {
            // SAFETY: the caller's promise.
            let cell = unsafe { <$atomic>::from_ptr(cell.cast()) };
            ($from_bits)(cell.swap(($to_bits)(value), Ordering::SeqCst))
        }

        #[inline]
        unsafe fn compare_exchange(
            cell: *mut Self,
            expected: Self,
            new: Self,
        ) -> Result<Self, Self> {
            // SAFETY: the caller's promise.
            let cell = unsafe { <$atomic>::from_ptr(cell.cast()) };
            let (expected, new) = (($to_bits)(expected), ($to_bits)(new));
            cell.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst)
                .map($from_bits)
                .map_err($from_bits)
        }
    };
}

macro_rules! integers {
    ($sort:ident: $($number:ty: $atomic:ty;)*) => {$(
        // SAFETY: every pattern of bits is such an integer.
        unsafe impl Number for $number {
            const SORT: Sort = Sort::$sort;

            access!($atomic, std::convert::identity, std::convert::identity);

            #[inline]
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }

            #[inline]
            fn minus(self, other: Self) -> Option<Self> {
                self.checked_sub(other)
            }
        }

        impl Integer for $number {
            #[inline]
            fn and(self, other: Self) -> Self {
                self & other
            }

            #[inline]
            fn or(self, other: Self) -> Self {
                self | other
            }

            #[inline]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
        }
    )*};
}

macro_rules! floats {
    ($($number:ty: $atomic:ty;)*) => {$(
        // SAFETY: every pattern of bits is such a float.
        unsafe impl Number for $number {
            const SORT: Sort = Sort::Float;

            access!($atomic, <$number>::to_bits, <$number>::from_bits);

            #[inline]
            fn plus(self, other: Self) -> Option<Self> {
                Some(self + other)
            }

            #[inline]
            fn minus(self, other: Self) -> Option<Self> {
                Some(self - other)
            }
        }
    )*};
}

integers! {
    Signed:
    i8: AtomicI8;
    i16: AtomicI16;
    i32: AtomicI32;
    i64: AtomicI64;
}

integers! {
    Unsigned:
    u8: AtomicU8;
    u16: AtomicU16;
    u32: AtomicU32;
    u64: AtomicU64;
}

floats! {
    f32: AtomicU32;
    f64: AtomicU64;
}

// SAFETY: the cell is accessed as a byte, and every byte but 0 is read as true, so that one which a
// buffer's user wrote is no harm.
unsafe impl Number for bool {
    const SORT: Sort = Sort::Bool;

    access!(AtomicU8, u8::from, |byte: u8| byte != 0);

    fn plus(self, _other: Self) -> Option<Self> {
        None
    }

    fn minus(self, _other: Self) -> Option<Self> {
        None
    }
}

impl Integer for bool {
    fn and(self, other: Self) -> Self {
        self & other
    }

    fn or(self, other: Self) -> Self {
        self | other
    }

    fn xor(self, other: Self) -> Self {
        self ^ other
    }
}
