//! The types of shared cells, and how their values look in Python.
//!
//! Two ways in: `wrapped` is what ctypes does with an assigned value (the low bits of an integer
//! are kept), `exact` refuses what the type does not have.

use std::ffi::CStr;

use manyhands_shm::cell::{Integer, Number};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat};

/// The type of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

/// What an atomic operation with one operand does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Add,
    Sub,
    Max,
    Min,
    And,
    Or,
    Xor,
}

/// Runs `$body` with the Rust type of a [`Scalar`] as `$T`.
macro_rules! with_type {
    ($scalar:expr, $T:ident => $body:expr) => {
        match $scalar {
            $crate::shared::values::scalar::Scalar::Bool => {
                type $T = bool;
                $body
            }
            $crate::shared::values::scalar::Scalar::I8 => {
                type $T = i8;
                $body
            }
            $crate::shared::values::scalar::Scalar::U8 => {
                type $T = u8;
                $body
            }
            $crate::shared::values::scalar::Scalar::I16 => {
                type $T = i16;
                $body
            }
            $crate::shared::values::scalar::Scalar::U16 => {
                type $T = u16;
                $body
            }
            $crate::shared::values::scalar::Scalar::I32 => {
                type $T = i32;
                $body
            }
            $crate::shared::values::scalar::Scalar::U32 => {
                type $T = u32;
                $body
            }
            $crate::shared::values::scalar::Scalar::I64 => {
                type $T = i64;
                $body
            }
            $crate::shared::values::scalar::Scalar::U64 => {
                type $T = u64;
                $body
            }
            $crate::shared::values::scalar::Scalar::F32 => {
                type $T = f32;
                $body
            }
            $crate::shared::values::scalar::Scalar::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}
pub(super) use with_type;

impl Scalar {
    /// The type that a `struct` format character of native size means.
    pub fn of_code(code: &str) -> PyResult<Self> {
        Ok(match code {
            "?" => Self::Bool,
            "b" => Self::I8,
            "B" => Self::U8,
            "h" => Self::I16,
            "H" => Self::U16,
            "i" => Self::I32,
            "I" => Self::U32,
            "q" => Self::I64,
            "Q" => Self::U64,
            "f" => Self::F32,
            "d" => Self::F64,
            _ => {
                let text = format!("a cell of type {code:?} is not known; use one of ?bBhHiIqQfd");
                return Err(PyValueError::new_err(text));
            }
        })
    }

    /// Its format character.
    pub const fn code(self) -> &'static CStr {
        match self {
            Self::Bool => c"?",
            Self::I8 => c"b",
            Self::U8 => c"B",
            Self::I16 => c"h",
            Self::U16 => c"H",
            Self::I32 => c"i",
            Self::U32 => c"I",
            Self::I64 => c"q",
            Self::U64 => c"Q",
            Self::F32 => c"f",
            Self::F64 => c"d",
        }
    }

    /// Bytes of a cell.
    pub fn size(self) -> usize {
        with_type!(self, T => size_of::<T>())
    }
}

impl Op {
    const fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Max => "max",
            Self::Min => "min",
            Self::And => "and_",
            Self::Or => "or_",
            Self::Xor => "xor",
        }
    }
}

/// A number with a face in Python.
pub trait Cell: Number {
    const CODE: &'static str;
    const RANGE: &'static str;

    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>>;

    /// As ctypes: the low bits of integers, the nearest of floats.
    fn wrapped(value: &Bound<'_, PyAny>) -> PyResult<Self>;

    /// OverflowError for what the type does not have.
    fn exact(value: &Bound<'_, PyAny>) -> PyResult<Self>;

    fn bitwise(self, op: Op, other: Self) -> Option<Self>;

    /// Whether the type has the operation at all.
    fn has(op: Op) -> bool;

    /// The result of `op`; `None` if the type has no such number.
    #[inline]
    fn apply(self, op: Op, other: Self) -> Option<Self> {
        match op {
            Op::Add => self.plus(other),
            Op::Sub => self.minus(other),
            Op::Max => Some(if other > self { other } else { self }),
            Op::Min => Some(if other < self { other } else { self }),
            Op::And | Op::Or | Op::Xor => self.bitwise(op, other),
        }
    }

    #[cold]
    fn refuse(op: Op) -> PyErr {
        PyTypeError::new_err(format!(
            "a cell of type {:?} has no {}(); update(function) computes anything",
            Self::CODE,
            op.word()
        ))
    }

    #[cold]
    fn overflow(self, py: Python<'_>, op: Op, other: Self) -> PyErr {
        let show = |value: Self| value.to_python(py).map(|it| it.to_string()).unwrap_or_default();
        PyOverflowError::new_err(format!(
            "{}({}) of a cell that holds {} leaves what its type {:?} can hold ({}); nothing was \
             changed",
            op.word(),
            show(other),
            show(self),
            Self::CODE,
            Self::RANGE,
        ))
    }
}

fn bits<T: Integer>(now: T, op: Op, other: T) -> Option<T> {
    match op {
        Op::And => Some(now.and(other)),
        Op::Or => Some(now.or(other)),
        Op::Xor => Some(now.xor(other)),
        _ => None,
    }
}

macro_rules! integer_cells {
    ($($number:ty, $code:literal, $range:literal, $new:ident as $wide:ty;)*) => {$(
        impl Cell for $number {
            const CODE: &'static str = $code;
            const RANGE: &'static str = $range;

            #[inline]
            fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                // SAFETY: attached; a new reference or null with an exception set.
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::$new(self as $wide)) }
            }

            #[inline]
            fn wrapped(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                // SAFETY: attached, a live object. It may run `__index__`.
                let bits = unsafe { ffi::PyLong_AsUnsignedLongLongMask(value.as_ptr()) };
                if bits == u64::MAX && let Some(error) = PyErr::take(value.py()) {
                    return Err(error);
                }
                Ok(bits as Self)
            }

            #[inline]
            fn exact(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                value.extract().map_err(|error: PyErr| {
                    if !error.is_instance_of::<PyOverflowError>(value.py()) {
                        return error;
                    }
                    PyOverflowError::new_err(format!(
                        "{value} does not fit a cell of type {:?} ({}); nothing was changed",
                        Self::CODE, Self::RANGE
                    ))
                })
            }

            #[inline]
            fn bitwise(self, op: Op, other: Self) -> Option<Self> {
                bits(self, op, other)
            }

            #[inline]
            fn has(_op: Op) -> bool {
                true
            }
        }
    )*};
}

integer_cells! {
    i8, "b", "-128 to 127", PyLong_FromLong as i64;
    u8, "B", "0 to 255", PyLong_FromLong as i64;
    i16, "h", "-32768 to 32767", PyLong_FromLong as i64;
    u16, "H", "0 to 65535", PyLong_FromLong as i64;
    i32, "i", "-2147483648 to 2147483647", PyLong_FromLong as i64;
    u32, "I", "0 to 4294967295", PyLong_FromLong as i64;
    i64, "q", "-2**63 to 2**63 - 1", PyLong_FromLongLong as i64;
    u64, "Q", "0 to 2**64 - 1", PyLong_FromUnsignedLongLong as u64;
}

macro_rules! float_cells {
    ($($number:ty, $code:literal;)*) => {$(
        impl Cell for $number {
            const CODE: &'static str = $code;
            const RANGE: &'static str = "any float";

            #[inline]
            fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                Ok(PyFloat::new(py, self.into()).into_any())
            }

            #[inline]
            fn wrapped(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                value.extract::<f64>().map(|value| value as Self)
            }

            #[inline]
            fn exact(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                Self::wrapped(value)
            }

            fn bitwise(self, _op: Op, _other: Self) -> Option<Self> {
                None
            }

            #[inline]
            fn has(op: Op) -> bool {
                !matches!(op, Op::And | Op::Or | Op::Xor)
            }
        }
    )*};
}

float_cells! {
    f32, "f";
    f64, "d";
}

impl Cell for bool {
    const CODE: &'static str = "?";
    const RANGE: &'static str = "False and True";

    fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(PyBool::new(py, self).to_owned().into_any())
    }

    fn wrapped(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        value.is_truthy()
    }

    fn exact(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        value.is_truthy()
    }

    fn bitwise(self, op: Op, other: Self) -> Option<Self> {
        bits(self, op, other)
    }

    fn has(op: Op) -> bool {
        !matches!(op, Op::Add | Op::Sub)
    }
}
