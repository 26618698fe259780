//! `manyhands._runtime.SharedList`: what `manyhands.multiprocessing.managers.ListProxy` derives
//! from.

use std::sync::Arc;

use manyhands_collections::{ListGuard, SharedList as CoreList, Value};
use manyhands_shm::Heap;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySlice};

use super::methods::container_methods;
use super::{Fault, Packed, inside, unpack};

/// A list in the family heap.
#[pyclass(module = "manyhands._runtime", subclass, frozen, weakref)]
pub struct SharedList {
    list: CoreList,
}

/// A slice before it is known how long the list is.
#[derive(Clone, Copy)]
struct Slice {
    start: isize,
    stop: isize,
    step: isize,
}

/// A slice of a list of known length.
struct Places {
    start: u64,
    step: isize,
    len: u64,
}

const OUT_OF_RANGE: &str = "list index out of range";

container_methods!(SharedList, list);

impl SharedList {
    fn do_inside<R: Send>(
        &self,
        py: Python<'_>,
        op: impl FnOnce(&mut ListGuard<'_>) -> Result<R, Fault> + Send,
    ) -> PyResult<R> {
        inside(py, &self.list, op)?.map_err(|fault| fault.into_error(py))
    }

    fn pack_all(&self, values: &Bound<'_, PyAny>) -> PyResult<Vec<Packed>> {
        let pack = |value: PyResult<Bound<'_, PyAny>>| Packed::new(&value?, self.heap());
        values.try_iter()?.map(pack).collect()
    }

    /// Puts `values` in front of the place that `where_to` finds for the length of the list.
    fn insert_all(
        &self,
        py: Python<'_>,
        mut values: Vec<Packed>,
        where_to: impl FnOnce(u64) -> u64 + Send,
    ) -> PyResult<()> {
        let drafts = drafts_of(&mut values, self.heap())?;
        self.do_inside(py, |guard| {
            let idx = where_to(guard.len());
            Ok(guard.insert(idx, drafts)?)
        })
    }
}

#[pymethods]
impl SharedList {
    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        if let Ok(slice) = key.cast::<PySlice>() {
            let slice = Slice::new(slice)?;
            let values = self.do_inside(py, |guard| {
                let places = slice.within(guard.len());
                let read = |idx| Ok(guard.get(idx)?);
                let values = places.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
                Ok(values.into_iter().flatten().collect::<Vec<Value>>())
            })?;
            let values: PyResult<Vec<_>> =
                values.into_iter().map(|value| unpack(py, value)).collect();
            return Ok(PyList::new(py, values?)?.into_any());
        }
        let idx = index_of(key)?;
        let value = self.do_inside(py, |guard| {
            let idx = place_of(idx, guard.len()).ok_or(Fault::NoSuchIndex(OUT_OF_RANGE))?;
            guard.get(idx)?.ok_or(Fault::NoSuchIndex(OUT_OF_RANGE))
        })?;
        unpack(py, value)
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = key.py();
        if let Ok(slice) = key.cast::<PySlice>() {
            let slice = Slice::new(slice)?;
            let mut values = self.pack_all(value)?;
            let drafts = drafts_of(&mut values, self.heap())?;
            return self.do_inside(py, |guard| {
                let places = slice.within(guard.len());
                if slice.step == 1 {
                    let range = places.start..places.start + places.len;
                    return Ok(guard.splice(range, drafts)?);
                }
                let (given, wanted) = (drafts.len(), places.len as usize);
                if given != wanted {
                    return Err(Fault::WrongLength { given, wanted });
                }
                Ok(guard.set(places.iter().zip(drafts).collect())?)
            });
        }
        let idx = index_of(key)?;
        let Packed { bytes, carried } = Packed::new(value, self.heap())?;
        let draft = Packed::into_draft(&bytes, carried, self.heap())?;
        self.do_inside(py, |guard| {
            const TEXT: &str = "list assignment index out of range";
            let idx = place_of(idx, guard.len()).ok_or(Fault::NoSuchIndex(TEXT))?;
            Ok(guard.set(vec![(idx, draft)])?)
        })
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = key.py();
        if let Ok(slice) = key.cast::<PySlice>() {
            let slice = Slice::new(slice)?;
            return self.do_inside(py, |guard| {
                let places = slice.within(guard.len());
                if slice.step == 1 {
                    return Ok(guard.remove(places.start..places.start + places.len)?);
                }
                let gone: std::collections::HashSet<u64> = places.iter().collect();
                let kept: Vec<u64> = (0..guard.len()).filter(|idx| !gone.contains(idx)).collect();
                Ok(guard.select(&kept)?)
            });
        }
        let idx = index_of(key)?;
        self.do_inside(py, |guard| {
            const TEXT: &str = "list assignment index out of range";
            let idx = place_of(idx, guard.len()).ok_or(Fault::NoSuchIndex(TEXT))?;
            Ok(guard.remove(idx..idx + 1)?)
        })
    }

    #[pyo3(signature = (value, /))]
    fn append(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = vec![Packed::new(value, self.heap())?];
        self.insert_all(value.py(), values, |len| len)
    }

    #[pyo3(signature = (iterable, /))]
    fn extend(&self, iterable: &Bound<'_, PyAny>) -> PyResult<()> {
        let values = self.pack_all(iterable)?;
        self.insert_all(iterable.py(), values, |len| len)
    }

    #[pyo3(signature = (index, value, /))]
    fn insert(&self, index: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let idx = index_of(index)? as i128;
        let values = vec![Packed::new(value, self.heap())?];
        self.insert_all(value.py(), values, move |len| {
            let from_start = if idx < 0 { idx + i128::from(len) } else { idx };
            from_start.clamp(0, i128::from(len)) as u64
        })
    }

    #[pyo3(signature = (index=None, /))]
    fn pop<'py>(
        &self,
        py: Python<'py>,
        index: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let idx = index.map_or(Ok(-1), index_of)?;
        let value = self.do_inside(py, |guard| {
            if guard.is_empty() {
                return Err(Fault::NoSuchIndex("pop from empty list"));
            }
            let no_such = || Fault::NoSuchIndex("pop index out of range");
            let idx = place_of(idx, guard.len()).ok_or_else(no_such)?;
            let value = guard.get(idx)?.ok_or_else(no_such)?;
            guard.remove(idx..idx + 1)?;
            Ok(value)
        })?;
        unpack(py, value)
    }

    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.do_inside(py, |guard| Ok(guard.remove(0..guard.len())?))
    }

    fn reverse(&self, py: Python<'_>) -> PyResult<()> {
        self.do_inside(py, |guard| {
            let places: Vec<u64> = (0..guard.len()).rev().collect();
            Ok(guard.select(&places)?)
        })
    }

    /// Puts the items into the order of these places, each of which comes once.
    fn _reorder(&self, py: Python<'_>, places: Vec<u64>) -> PyResult<()> {
        self.do_inside(py, |guard| Ok(guard.select(&places)?))
    }

    /// What happened to it so far, in all processes.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let statistics = PyDict::new(py);
        statistics.set_item("n_items", self.__len__(py)?)?;
        statistics.set_item("n_mended_after_death", self.list.n_mended())?;
        Ok(statistics)
    }
}

impl Slice {
    fn new(slice: &Bound<'_, PySlice>) -> PyResult<Self> {
        let (mut start, mut stop, mut step) = (0, 0, 0);
        // SAFETY: a slice, and three places to write to.
        let failed =
            unsafe { ffi::PySlice_Unpack(slice.as_ptr(), &mut start, &mut stop, &mut step) < 0 };
        if failed {
            return Err(PyErr::fetch(slice.py()));
        }
        Ok(Self { start, stop, step })
    }

    /// What it means for a list of this length.
    fn within(self, len: u64) -> Places {
        let len = len as i128;
        let from_end = |at: isize| {
            let at = at as i128;
            if at < 0 { at + len } else { at }
        };
        let (lowest, highest) = if self.step < 0 { (-1, len - 1) } else { (0, len) };
        let start = from_end(self.start).clamp(lowest, highest);
        let stop = from_end(self.stop).clamp(lowest, highest);
        let step = self.step as i128;
        let n = if step < 0 {
            (start - stop + -step - 1).max(0) / -step
        } else {
            (stop - start + step - 1).max(0) / step
        };
        Places { start: start.max(0) as u64, step: self.step, len: n as u64 }
    }
}

impl Places {
    fn iter(&self) -> impl Iterator<Item = u64> + use<> {
        let (start, step) = (self.start as i128, self.step as i128);
        (0..self.len).map(move |n| (start + n as i128 * step) as u64)
    }
}

fn drafts_of<'a>(
    values: &'a mut [Packed],
    heap: &Arc<Heap>,
) -> PyResult<Vec<manyhands_collections::Draft<'a>>> {
    let draft = |value: &'a mut Packed| {
        let carried = std::mem::take(&mut value.carried);
        Packed::into_draft(&value.bytes, carried, heap)
    };
    values.iter_mut().map(draft).collect()
}

fn index_of(key: &Bound<'_, PyAny>) -> PyResult<isize> {
    // SAFETY: any object may be asked; an index that is too large raises IndexError.
    let idx = unsafe { ffi::PyNumber_AsSsize_t(key.as_ptr(), ffi::PyExc_IndexError) };
    let error = (idx == -1).then(|| PyErr::take(key.py())).flatten();
    if let Some(error) = error {
        if !error.is_instance_of::<PyTypeError>(key.py()) {
            return Err(error);
        }
        let class = key.get_type().name()?.to_string();
        return Err(PyTypeError::new_err(format!(
            "list indices must be integers or slices, not {class}"
        )));
    }
    Ok(idx)
}

/// The place that an index, which may count from the end, means.
fn place_of(idx: isize, len: u64) -> Option<u64> {
    let idx = if idx < 0 { idx as i128 + i128::from(len) } else { idx as i128 };
    (0..i128::from(len)).contains(&idx).then_some(idx as u64)
}
