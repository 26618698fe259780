//! Keys of a managed dict as bytes that are equal when the keys are.
//!
//! | key | compared |
//! |---|---|
//! | None, int, str, bytes, float, bool, and classes of these that inherit `==` | tag and content; 1, 1.0 and True are the same |
//! | another key that equals and hashes as its `int`, `float`, `str` or `bytes` (Decimal, NumPy's numbers) | as that |
//! | tuple of such keys | tag, length, each of them |
//! | anything else that is hashable | tag and pickle |
//!
//! The last sort may have equal keys with different pickles (two frozensets, two Decimals): before
//! such a key is new it is compared with all of its sort by `==`. That costs as many unpicklings as
//! the dict has keys of this sort.
//!
//! A key that is listed otherwise than it is compared (True as True, not as 1) has the bytes of
//! that as well.
//!
//! Not-a-number is equal to itself here; the standard dict tells by identity, which no other
//! process can.

use std::sync::Arc;

use manyhands_collections::Key;
use manyhands_shm::Heap;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple};

use super::Packed;
use crate::process::codec::{self, Shape};
use crate::process::simple;

const NONE: u8 = 0;
const INT: u8 = 1;
const BIG_INT: u8 = 2;
const FLOAT: u8 = 3;
const TEXT: u8 = 4;
const BYTES: u8 = 5;
const TUPLE: u8 = 6;
/// Compared by `==` of the unpickled keys.
const OTHER: u8 = 7;

/// A key on its way.
pub(super) struct PackedKey {
    pub(super) compared: Vec<u8>,
    pub(super) shown: Vec<u8>,
}

/// Tuples in tuples in tuples: deeper ones take the pickler's way.
const MAX_DEPTH: usize = 8;

impl PackedKey {
    /// # Errors
    /// TypeError if the key is not hashable, or names shared objects; what pickling raises.
    pub(super) fn new(key: &Bound<'_, PyAny>, heap: &Arc<Heap>) -> PyResult<Self> {
        let mut compared = Vec::with_capacity(32);
        let mut is_exact = true;
        if encode(key, &mut compared, &mut is_exact, 0)? {
            if is_exact {
                return Ok(Self { compared, shown: Vec::new() });
            }
            let shown = pack_alone(key, heap)?;
            return Ok(Self { compared, shown });
        }
        key.hash()?;
        compared.clear();
        compared.push(OTHER);
        compared.extend_from_slice(&pack_alone(key, heap)?);
        Ok(Self { compared, shown: Vec::new() })
    }

    pub(super) fn as_key(&self) -> Key<'_> {
        Key { compared: &self.compared, shown: &self.shown }
    }

    /// Whether there may be an equal key with other bytes.
    pub(super) fn is_other(&self) -> bool {
        is_other(&self.compared)
    }
}

/// Whether the bytes are those of a key that is compared by `==`.
pub(super) fn is_other(compared: &[u8]) -> bool {
    compared.first() == Some(&OTHER)
}

/// The key that the bytes are.
///
/// # Errors
/// What unpickling raises.
pub(super) fn unpack<'py>(
    py: Python<'py>,
    compared: &[u8],
    shown: &[u8],
) -> PyResult<Bound<'py, PyAny>> {
    if !shown.is_empty() {
        return Ok(codec::loads(py, shown, || None)?.object);
    }
    if is_other(compared) {
        return Ok(codec::loads(py, &compared[1..], || None)?.object);
    }
    decode(py, &mut &compared[..])
}

/// A pickle that carries nothing.
fn pack_alone(key: &Bound<'_, PyAny>, heap: &Arc<Heap>) -> PyResult<Vec<u8>> {
    let mut bytes = vec![Shape::SimpleObject as u8];
    if simple::encode(key, &mut bytes) {
        return Ok(bytes);
    }
    let packed = Packed::new(key, heap)?;
    if !packed.carried.is_empty() {
        return Err(PyTypeError::new_err(
            "a shared object cannot be (part of) a key of a managed dict: use a name or a number \
             of your own as the key and the shared object as the value",
        ));
    }
    Ok(packed.bytes)
}

/// Appends what is compared; false: `==` has to say it. `is_exact`: the bytes tell the whole key.
fn encode(
    key: &Bound<'_, PyAny>,
    into: &mut Vec<u8>,
    is_exact: &mut bool,
    depth: usize,
) -> PyResult<bool> {
    let py = key.py();
    if let Ok(text) = key.cast_exact::<PyString>() {
        encode_text(text, into)?;
    } else if key.is_exact_instance_of::<PyInt>() {
        encode_int(key, into)?;
    } else if key.is_none() {
        into.push(NONE);
    } else if key.is_exact_instance_of::<PyBool>() {
        *is_exact = false;
        encode_int(key, into)?;
    } else if let Ok(bytes) = key.cast_exact::<PyBytes>() {
        encode_content(BYTES, bytes.as_bytes(), into);
    } else if let Ok(float) = key.cast_exact::<PyFloat>() {
        encode_float(float, into, is_exact)?;
    } else if let Ok(tuple) = key.cast_exact::<PyTuple>() {
        return encode_tuple(tuple, into, is_exact, depth);
    } else if inherits_equality(key, py.get_type::<PyInt>().as_any())? {
        *is_exact = false;
        encode_int(key, into)?;
    } else if inherits_equality(key, py.get_type::<PyString>().as_any())? {
        *is_exact = false;
        encode_text(key.cast::<PyString>()?, into)?;
    } else if inherits_equality(key, py.get_type::<PyFloat>().as_any())? {
        *is_exact = false;
        encode_float(key.cast::<PyFloat>()?, into, is_exact)?;
    } else if inherits_equality(key, py.get_type::<PyBytes>().as_any())? {
        *is_exact = false;
        encode_content(BYTES, key.cast::<PyBytes>()?.as_bytes(), into);
    } else if inherits_equality(key, py.get_type::<PyTuple>().as_any())? {
        *is_exact = false;
        return encode_tuple(key.cast::<PyTuple>()?, into, is_exact, depth);
    } else if let Some(equal) = simple_equal(key)? {
        *is_exact = false;
        return encode(&equal, into, &mut false, depth);
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// The int, float, str or bytes that a key of another class equals, if it says so and hashes alike.
#[cold]
fn simple_equal<'py>(key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = key.py();
    // A number of any class may equal one of these; a text only if its class is derived.
    let classes = [
        (Some("__index__"), py.get_type::<PyInt>().into_any()),
        (Some("__float__"), py.get_type::<PyFloat>().into_any()),
        (None, py.get_type::<PyString>().into_any()),
        (None, py.get_type::<PyBytes>().into_any()),
    ];
    for (conversion, class) in classes {
        let converts = conversion.map_or(Ok(false), |name| key.hasattr(name))?;
        if !converts && !key.is_instance(&class)? {
            continue;
        }
        // A number too large for a float, or a class that refuses: it equals none.
        let Ok(simple) = class.call1((key,)) else { continue };
        if simple.get_type().is(&class) && simple.eq(key)? && simple.hash()? == key.hash()? {
            return Ok(Some(simple));
        }
    }
    Ok(None)
}

/// Whether the key is of a class derived from `class` that compares and hashes as that one does.
fn inherits_equality(key: &Bound<'_, PyAny>, class: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !key.is_instance(class)? {
        return Ok(false);
    }
    let own = key.get_type();
    let same = |name: &str| -> PyResult<bool> { Ok(own.getattr(name)?.is(&class.getattr(name)?)) };
    Ok(same("__hash__")? && same("__eq__")?)
}

fn encode_content(tag: u8, content: &[u8], into: &mut Vec<u8>) {
    into.push(tag);
    into.extend_from_slice(&(content.len() as u32).to_le_bytes());
    into.extend_from_slice(content);
}

fn encode_text(text: &Bound<'_, PyString>, into: &mut Vec<u8>) -> PyResult<()> {
    // Lone surrogates have no UTF-8, but bytes of their own all the same.
    if let Ok(text) = text.to_str() {
        encode_content(TEXT, text.as_bytes(), into);
        return Ok(());
    }
    let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
    encode_content(TEXT, bytes.cast::<PyBytes>()?.as_bytes(), into);
    Ok(())
}

fn encode_int(key: &Bound<'_, PyAny>, into: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(number) = key.extract::<i64>() {
        into.push(INT);
        into.extend_from_slice(&number.to_le_bytes());
        return Ok(());
    }
    // SAFETY: `key` is an int or of a class derived from it; the GIL is held.
    let number = unsafe {
        let raw = ffi::PyNumber_Index(key.as_ptr());
        Bound::from_owned_ptr_or_err(key.py(), raw)?
    };
    let digits = number.call_method1("__format__", ("x",))?.extract::<String>()?;
    encode_content(BIG_INT, digits.as_bytes(), into);
    Ok(())
}

fn encode_float(
    float: &Bound<'_, PyFloat>,
    into: &mut Vec<u8>,
    is_exact: &mut bool,
) -> PyResult<()> {
    let value = float.value();
    if value.is_finite() && value.fract() == 0.0 {
        *is_exact = false;
        return encode_int(&float.call_method0("__int__")?, into);
    }
    into.push(FLOAT);
    let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    into.extend_from_slice(&bits.to_le_bytes());
    Ok(())
}

fn encode_tuple(
    tuple: &Bound<'_, PyTuple>,
    into: &mut Vec<u8>,
    is_exact: &mut bool,
    depth: usize,
) -> PyResult<bool> {
    if depth == MAX_DEPTH {
        return Ok(false);
    }
    into.push(TUPLE);
    into.extend_from_slice(&(tuple.len() as u32).to_le_bytes());
    for item in tuple.iter() {
        if !encode(&item, into, is_exact, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn decode<'py>(py: Python<'py>, bytes: &mut &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let tag = take(bytes, 1)?[0];
    Ok(match tag {
        NONE => py.None().into_bound(py),
        INT => i64::from_le_bytes(fixed(bytes)?).into_pyobject(py)?.into_any(),
        FLOAT => PyFloat::new(py, f64::from_le_bytes(fixed(bytes)?)).into_any(),
        TUPLE => {
            let len = u32::from_le_bytes(fixed(bytes)?);
            let items: PyResult<Vec<_>> = (0..len).map(|_| decode(py, bytes)).collect();
            PyTuple::new(py, items?)?.into_any()
        }
        _ => {
            let len = u32::from_le_bytes(fixed(bytes)?);
            let content = take(bytes, len as usize)?;
            match tag {
                BYTES => PyBytes::new(py, content).into_any(),
                BIG_INT => {
                    let digits = PyBytes::new(py, content);
                    py.get_type::<PyInt>().call1((digits, 16))?
                }
                _ => match std::str::from_utf8(content) {
                    Ok(text) => PyString::new(py, text).into_any(),
                    Err(_) => PyBytes::new(py, content)
                        .call_method1("decode", ("utf-8", "surrogatepass"))?,
                },
            }
        }
    })
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> PyResult<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(n).ok_or_else(malformed)?;
    *bytes = rest;
    Ok(taken)
}

fn fixed<const N: usize>(bytes: &mut &[u8]) -> PyResult<[u8; N]> {
    take(bytes, N)?.try_into().map_err(|_| malformed())
}

fn malformed() -> PyErr {
    PyValueError::new_err(
        "a key of this dict was not written by Python: list it with the program that wrote it",
    )
}
