//! Whole numbers of any size from Python: one beyond 64 bits counts as the largest there is, as it
//! says the same ("as many as you like") or is refused with the same sentence.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

/// For arguments of type `i64`.
///
/// # Errors
/// TypeError if it is no whole number.
pub fn clamped(number: &Bound<'_, PyAny>) -> PyResult<i64> {
    match number.extract::<i64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(number.py()) => {
            Ok(if number.lt(0)? { i64::MIN } else { i64::MAX })
        }
        extracted => extracted,
    }
}

/// For arguments of type `usize`.
///
/// # Errors
/// TypeError if it is no whole number; OverflowError if it is negative.
pub fn clamped_usize(number: &Bound<'_, PyAny>) -> PyResult<usize> {
    match number.extract::<usize>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(number.py()) && number.gt(0)? => {
            Ok(usize::MAX)
        }
        extracted => extracted,
    }
}

/// For arguments that may be None.
///
/// # Errors
/// As [`clamped_usize`].
pub fn clamped_or_none(number: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if number.is_none() { Ok(None) } else { clamped_usize(number).map(Some) }
}
