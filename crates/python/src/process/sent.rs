//! A call on its way to a worker: what is called, and the bytes of what it is called with.
//!
//! The function itself is sent once (see [`super::functions`]); one whose meaning may change
//! between two calls travels with each of them.

use std::sync::Arc;

use crate::contract;
use manyhands_pool::process::{Body, Function, ProcessPool};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::codec::{Pickled, Shape, simple_args};
use super::functions::Functions;

/// What a function is to be called with.
#[derive(Clone, Copy)]
pub enum Call<'a, 'py> {
    /// Once, with these.
    Once(&'a Bound<'py, PyTuple>, Option<&'a Bound<'py, PyDict>>),
    /// With each of these items.
    Each(&'a Bound<'py, PyAny>),
    /// With each of these items as its arguments.
    Starred(&'a Bound<'py, PyAny>),
}

/// Bytes that are not worth a block of the heap before they are in a slot.
const INLINE_LIMIT: usize = 424;

/// The function as workers know it, and the body of the task.
pub fn pickle<'py>(
    pool: &ProcessPool,
    functions: &Functions,
    function: &Bound<'py, PyAny>,
    call: Call<'_, 'py>,
) -> PyResult<(Arc<Function>, Body)> {
    let call = match call {
        Call::Once(args, kwargs) => Call::Once(args, kwargs.filter(|kwargs| !kwargs.is_empty())),
        chunk => chunk,
    };
    let Some(sent) = functions.get(pool, function)? else {
        let pickled = with_function(function, call)?;
        return Ok((functions.carried(pool)?, pickled.into_body(pool.heap(), INLINE_LIMIT)?));
    };
    let pickled = match call {
        Call::Once(args, None) if args.is_empty() => return Ok((sent, Body::empty())),
        Call::Once(args, None) => match simple_args(args) {
            Some(body) => return Ok((sent, body)),
            // One shape for the fallback: it always pickles both.
            None => Pickled::new_or(args, Shape::Args, Shape::ArgsAndKwargs, &|buffers| {
                dumps_call(args, &PyDict::new(args.py()), buffers)
            })?,
        },
        Call::Once(args, Some(kwargs)) => {
            let both = PyTuple::new(args.py(), [args.as_any(), kwargs.as_any()])?;
            let fallback = |buffers: &_| dumps_call(args, kwargs, buffers);
            Pickled::new(both.as_any(), Shape::ArgsAndKwargs, &fallback)?
        }
        Call::Each(items) => chunk(items, Shape::Chunk)?,
        Call::Starred(items) => chunk(items, Shape::StarredChunk)?,
    };
    Ok((sent, pickled.into_body(pool.heap(), INLINE_LIMIT)?))
}

fn chunk<'py>(items: &Bound<'py, PyAny>, shape: Shape) -> PyResult<Pickled<'py>> {
    Pickled::new(items, shape, &|buffers| {
        contract::DUMPS_CHUNK.get(items.py())?.call1((items, buffers))
    })
}

/// The whole call in one pickle.
fn with_function<'py>(function: &Bound<'py, PyAny>, call: Call<'_, 'py>) -> PyResult<Pickled<'py>> {
    let py = function.py();
    let whole = match call {
        Call::Once(args, kwargs) => {
            let kwargs = kwargs.map_or_else(|| PyDict::new(py), Clone::clone);
            PyTuple::new(py, [function, args.as_any(), kwargs.as_any()])?
        }
        Call::Each(items) | Call::Starred(items) => {
            let is_starred = matches!(call, Call::Starred(_));
            let run = if is_starred { &contract::RUN_STARRED_CHUNK } else { &contract::RUN_CHUNK };
            let args = PyTuple::new(py, [function, items])?;
            PyTuple::new(py, [run.get(py)?, args.as_any(), PyDict::new(py).as_any()])?
        }
    };
    Pickled::new(whole.as_any(), Shape::WholeCall, &|buffers| {
        contract::DUMPS_WHOLE_CALL.get(py)?.call1((&whole, buffers))
    })
}

fn dumps_call<'py>(
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
    buffers: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyAny>> {
    contract::DUMPS_CALL.get(args.py())?.call1((args, kwargs, buffers))
}
