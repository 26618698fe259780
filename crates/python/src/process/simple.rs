//! The short way for simple values: numbers, short texts and None, alone or as arguments.
//!
//! They are most of what travels, and a pickler costs more than the rest of their journey. Each is
//! a tag and its bytes; what is not of exactly one of these types takes the pickler's way.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple};

const NONE: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
pub const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const BYTES: u8 = 6;

/// Longer texts and bytes are the pickler's.
const MAX_LEN: usize = 200;
/// So many arguments at the most.
const MAX_ARGS: usize = 8;

/// Appends the value's bytes; false, with `into` in any state, if it is not simple.
pub fn encode(value: &Bound<'_, PyAny>, into: &mut Vec<u8>) -> bool {
    if value.is_none() {
        into.push(NONE);
    } else if value.is_exact_instance_of::<PyInt>() {
        let Ok(number) = value.extract::<i64>() else { return false };
        into.push(INT);
        into.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(float) = value.cast_exact::<PyFloat>() {
        into.push(FLOAT);
        into.extend_from_slice(&float.value().to_le_bytes());
    } else if let Ok(text) = value.cast_exact::<PyString>() {
        // Lone surrogates have no UTF-8: the pickler knows how.
        return text.to_str().is_ok_and(|text| append(TEXT, text.as_bytes(), into));
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        into.push(if flag.is_true() { TRUE } else { FALSE });
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        return append(BYTES, bytes.as_bytes(), into);
    } else {
        return false;
    }
    true
}

/// As [`encode`], for a tuple of arguments.
pub fn encode_args(args: &Bound<'_, PyTuple>, into: &mut Vec<u8>) -> bool {
    args.len() <= MAX_ARGS && args.iter_borrowed().all(|arg| encode(&arg, into))
}

fn append(tag: u8, bytes: &[u8], into: &mut Vec<u8>) -> bool {
    if bytes.len() > MAX_LEN {
        return false;
    }
    into.extend_from_slice(&[tag, bytes.len() as u8]);
    into.extend_from_slice(bytes);
    true
}

/// The value at the start of `bytes`, which [`encode`] made; `bytes` moves on.
pub fn decode<'py>(py: Python<'py>, bytes: &mut &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let tag = take(bytes, 1)[0];
    Ok(match tag {
        NONE => py.None().into_bound(py),
        FALSE | TRUE => PyBool::new(py, tag == TRUE).to_owned().into_any(),
        INT => i64::from_le_bytes(eight(bytes)).into_pyobject(py)?.into_any(),
        FLOAT => PyFloat::new(py, f64::from_le_bytes(eight(bytes))).into_any(),
        _ => {
            let len = take(bytes, 1)[0].into();
            let content = take(bytes, len);
            match std::str::from_utf8(content) {
                Ok(text) if tag == TEXT => PyString::new(py, text).into_any(),
                _ => PyBytes::new(py, content).into_any(),
            }
        }
    })
}

/// The tuple of arguments that [`encode_args`] made.
pub fn decode_args<'py>(py: Python<'py>, mut bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut args = Vec::with_capacity(MAX_ARGS);
    while !bytes.is_empty() {
        args.push(decode(py, &mut bytes)?);
    }
    Ok(PyTuple::new(py, args)?.into_any())
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(n);
    *bytes = rest;
    taken
}

fn eight(bytes: &mut &[u8]) -> [u8; 8] {
    take(bytes, 8).try_into().expect("eight bytes were taken")
}
