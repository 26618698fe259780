//! `manyhands._runtime.SharedDict`: what `manyhands.multiprocessing.managers.DictProxy` derives
//! from.

use manyhands_collections::{Draft, MapGuard, SharedMap, Value};
use manyhands_shm::Carried;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::closing::close;
use super::iterator::SharedKeyIterator;
use super::key::{self, PackedKey, is_other};
use super::methods::container_methods;
use super::{Fault, Packed, inside, unpack};
use crate::process::codec::{Shape, out_of_memory};
use crate::process::simple;
use crate::shared::open_error;

/// A dict in the family heap.
#[pyclass(module = "manyhands._runtime", subclass, frozen, weakref)]
pub struct SharedDict {
    map: SharedMap,
}

container_methods!(SharedDict, map);

impl SharedDict {
    fn do_inside<R: Send>(
        &self,
        py: Python<'_>,
        op: impl FnOnce(&mut MapGuard<'_>) -> R + Send,
    ) -> PyResult<R> {
        inside(py, &self.map, op)
    }

    /// The key as bytes: those of an equal key that is there, if bytes alone do not tell.
    fn pack_key(&self, key: &Bound<'_, PyAny>) -> PyResult<PackedKey> {
        let mut packed = PackedKey::new(key, self.heap())?;
        if packed.is_other() {
            self.find_equal(key, &mut packed)?;
        }
        Ok(packed)
    }

    #[cold]
    fn find_equal(&self, key: &Bound<'_, PyAny>, packed: &mut PackedKey) -> PyResult<()> {
        let py = key.py();
        let same = &packed.compared;
        let others: Vec<Vec<u8>> = self.do_inside(py, |guard| {
            if guard.contains(same) {
                return Vec::new();
            }
            let others = guard.keys().filter(|key| is_other(key.compared));
            others.map(|key| key.compared.to_vec()).collect()
        })?;
        let hash = key.hash()?;
        for compared in others {
            let other = key::unpack(py, &compared, &[])?;
            if other.hash()? == hash && other.eq(key)? {
                packed.compared = compared;
                break;
            }
        }
        Ok(())
    }

    /// Does what may add a key. Two processes may add keys that are equal but have different bytes:
    /// they take turns.
    fn adding<R>(
        &self,
        key: &Bound<'_, PyAny>,
        add: impl FnOnce(&PackedKey) -> PyResult<R>,
    ) -> PyResult<R> {
        let packed = PackedKey::new(key, self.heap())?;
        if !packed.is_other() {
            return add(&packed);
        }
        let _closed = close(key.py(), &self.map, None)?;
        self.pack_key(key).and_then(|packed| add(&packed))
    }

    fn take(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Value>> {
        let packed = self.pack_key(key)?;
        let (py, compared) = (key.py(), &packed.compared);
        let taken = self.do_inside(py, |guard| guard.remove(compared))?;
        taken.map_err(|error| open_error(py, &error))
    }

    /// Sets keys to values; the gate is closed if bytes alone do not tell which key is meant.
    fn set_packed(
        &self,
        py: Python<'_>,
        keys: &mut [(PackedKey, Bound<'_, PyAny>)],
        drafts: Vec<Draft<'_>>,
    ) -> PyResult<()> {
        for (packed, key) in keys.iter_mut().filter(|(packed, _)| packed.is_other()) {
            self.find_equal(key, packed)?;
        }
        let keys: Vec<_> = keys.iter().map(|(packed, _)| packed.as_key()).collect();
        let done = self.do_inside(py, |guard| {
            let mut pairs = keys.into_iter().zip(drafts);
            pairs.try_for_each(|(key, draft)| guard.insert(key, draft))
        })?;
        done.map_err(|error| out_of_memory(&error))
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<(Vec<PackedKey>, Vec<Value>)> {
        let snapshot = self.do_inside(py, |guard| {
            let keys = copied_keys(guard);
            Ok((keys, guard.values()?))
        })?;
        snapshot.map_err(|error: Fault| error.into_error(py))
    }
}

#[pymethods]
impl SharedDict {
    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let packed = self.pack_key(key)?;
        self.do_inside(key.py(), |guard| guard.contains(&packed.compared))
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.find(key)?.ok_or_else(|| PyKeyError::new_err((key.clone().unbind(),)))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let Packed { bytes, carried } = Packed::new(value, self.heap())?;
        let draft = Packed::into_draft(&bytes, carried, self.heap())?;
        let py = key.py();
        self.adding(key, |packed| {
            let done = self.do_inside(py, |guard| guard.insert(packed.as_key(), draft))?;
            done.map_err(|error| out_of_memory(&error))
        })
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let packed = self.pack_key(key)?;
        if self.do_inside(key.py(), |guard| guard.discard(&packed.compared))? {
            return Ok(());
        }
        Err(PyKeyError::new_err((key.clone().unbind(),)))
    }

    fn __iter__(&self, py: Python<'_>) -> PyResult<SharedKeyIterator> {
        self.iterate(py, false)
    }

    fn __reversed__(&self, py: Python<'_>) -> PyResult<SharedKeyIterator> {
        self.iterate(py, true)
    }

    #[pyo3(signature = (key, default=None, /))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.find(key)?.or(default);
        Ok(found.unwrap_or_else(|| key.py().None().into_bound(key.py())))
    }

    #[pyo3(signature = (key, default=None, /))]
    fn setdefault<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let default = default.unwrap_or_else(|| py.None().into_bound(py));
        let Packed { bytes, carried } = Packed::new(&default, self.heap())?;
        let draft = Packed::into_draft(&bytes, carried, self.heap())?;
        let found = self.adding(key, |packed| {
            let found = self.do_inside(py, |guard| -> Result<_, Fault> {
                if !guard.contains(&packed.compared) {
                    guard.insert(packed.as_key(), draft)?;
                }
                Ok(guard.get(&packed.compared)?)
            })?;
            found.map_err(|fault| fault.into_error(py))
        })?;
        found.map_or(Ok(default), |value| unpack(py, value))
    }

    #[pyo3(signature = (key, *default))]
    fn pop<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let n_args = default.len() + 1;
        if n_args > 2 {
            let text = format!("pop expected at most 2 arguments, got {n_args}");
            return Err(pyo3::exceptions::PyTypeError::new_err(text));
        }
        match self.take(key)? {
            Some(value) => unpack(key.py(), value),
            None if n_args == 2 => default.get_item(0),
            None => Err(PyKeyError::new_err((key.clone().unbind(),))),
        }
    }

    fn popitem<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let popped = self.do_inside(py, |guard| guard.pop_last())?;
        let Some((compared, shown, value)) = popped.map_err(|error| open_error(py, &error))? else {
            return Err(PyKeyError::new_err("popitem(): dictionary is empty"));
        };
        PyTuple::new(py, [key::unpack(py, &compared, &shown)?, unpack(py, value)?])
    }

    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let done = self.do_inside(py, |guard| guard.clear())?;
        done.map_err(|error| out_of_memory(&error))
    }

    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let keys = self.do_inside(py, |guard| copied_keys(guard))?;
        list_of_keys(py, keys)
    }

    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let values = self.do_inside(py, |guard| guard.values())?;
        let values = values.map_err(|error| open_error(py, &error))?;
        let values: PyResult<Vec<_>> = values.into_iter().map(|value| unpack(py, value)).collect();
        PyList::new(py, values?)
    }

    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (keys, values) = self.snapshot(py)?;
        let copy = PyDict::new(py);
        for (key, value) in keys.into_iter().zip(values) {
            let key = key::unpack(py, &key.compared, &key.shown)?;
            copy.set_item(key, unpack(py, value)?)?;
        }
        Ok(copy)
    }

    /// Sets several keys in one step as seen by others; all is packed before the first one is set.
    fn _set_all(&self, pairs: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = pairs.py();
        let mut keys = Vec::with_capacity(pairs.len());
        let mut values = Vec::with_capacity(pairs.len());
        for (key, value) in pairs.iter() {
            keys.push((PackedKey::new(&key, self.heap())?, key));
            values.push(Packed::new(&value, self.heap())?);
        }
        let mut drafts = Vec::with_capacity(values.len());
        for Packed { bytes, carried } in &mut values {
            drafts.push(Packed::into_draft(bytes, std::mem::take(carried), self.heap())?);
        }
        // As in `adding`.
        let is_gated = keys.iter().any(|(packed, _)| packed.is_other());
        let _closed = if is_gated { close(py, &self.map, None)? } else { None };
        self.set_packed(py, &mut keys, drafts)
    }

    /// Adds `n` to the int that `key` has, or to 0; the sum. None: it has something else, or the
    /// sum takes more than 64 bits.
    fn _add(&self, key: &Bound<'_, PyAny>, n: i64) -> PyResult<Option<i64>> {
        let py = key.py();
        self.adding(key, |packed| {
            let heap = self.heap();
            let added = self.do_inside(py, |guard| -> Result<_, Fault> {
                let before = match guard.get(&packed.compared)? {
                    None => Some(0),
                    Some(value) => int_of(value.bytes()),
                };
                let Some(sum) = before.and_then(|before| before.checked_add(n)) else {
                    return Ok(None);
                };
                let mut bytes = vec![Shape::SimpleObject as u8, simple::INT];
                bytes.extend_from_slice(&sum.to_le_bytes());
                let draft = Draft::new(heap, &bytes, Carried::default())?;
                guard.insert(packed.as_key(), draft)?;
                Ok(Some(sum))
            })?;
            added.map_err(|fault| fault.into_error(py))
        })
    }

    /// What happened to it so far, in all processes.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let statistics = PyDict::new(py);
        statistics.set_item("n_items", self.__len__(py)?)?;
        statistics.set_item("n_key_changes", self.map.shape())?;
        statistics.set_item("n_mended_after_death", self.map.n_mended())?;
        Ok(statistics)
    }
}

impl SharedDict {
    fn find<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let packed = self.pack_key(key)?;
        let found = self.do_inside(py, |guard| guard.get(&packed.compared))?;
        let found = found.map_err(|error| open_error(py, &error))?;
        found.map(|value| unpack(py, value)).transpose()
    }

    fn iterate(&self, py: Python<'_>, is_reversed: bool) -> PyResult<SharedKeyIterator> {
        let (mut keys, shape) = self.do_inside(py, |guard| (copied_keys(guard), guard.shape()))?;
        if is_reversed {
            keys.reverse();
        }
        let keys = list_of_keys(py, keys)?.unbind();
        Ok(SharedKeyIterator { map: Some(self.map.clone()), keys, next: 0, shape })
    }
}

/// The int that a packed value is, if it is a simple one.
fn int_of(bytes: &[u8]) -> Option<i64> {
    let (head, number) = bytes.split_at_checked(2)?;
    let is_int = head == [Shape::SimpleObject as u8, simple::INT];
    is_int.then(|| number.try_into().ok().map(i64::from_le_bytes)).flatten()
}

fn copied_keys(guard: &MapGuard<'_>) -> Vec<PackedKey> {
    let copied = guard
        .keys()
        .map(|key| PackedKey { compared: key.compared.to_vec(), shown: key.shown.to_vec() });
    copied.collect()
}

fn list_of_keys(py: Python<'_>, keys: Vec<PackedKey>) -> PyResult<Bound<'_, PyList>> {
    let keys = keys.into_iter().map(|key| key::unpack(py, &key.compared, &key.shown));
    PyList::new(py, keys.collect::<PyResult<Vec<_>>>()?)
}
