//! Whether a function sent by value still means what it meant: the compiled form of
//! `manyhands._pickling.captured.Guard`, asked at every submit.
//!
//! Compares identities only: no Python code runs.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyWeakrefMethods, PyWeakrefReference};

/// What a function, and the by-value functions it calls, had captured when it was sent.
pub struct Guard {
    functions: Vec<Captured>,
}

struct Captured {
    function: Seen,
    code: Py<PyAny>,
    defaults: Py<PyAny>,
    kwdefaults: Py<PyAny>,
    cells: Vec<Seen>,
    globals: Vec<(Py<PyString>, Seen)>,
}

/// An object whose identity is remembered; it cannot be mistaken for another at its address.
enum Seen {
    /// An unbound variable.
    Nothing,
    Strong(Py<PyAny>),
    Weak(Py<PyWeakrefReference>),
}

impl Guard {
    /// From a `manyhands._pickling.captured.Guard`.
    pub fn new(guard: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut functions = Vec::new();
        for entry in guard.call_method0("watched")?.try_iter()? {
            functions.push(Captured::new(&entry?)?);
        }
        Ok(Self { functions })
    }

    /// Whether no captured variable was rebound.
    pub fn holds(&self, py: Python<'_>) -> bool {
        self.functions.iter().all(|captured| captured.holds(py))
    }
}

impl Captured {
    fn new(entry: &Bound<'_, PyAny>) -> PyResult<Self> {
        let part = |idx: usize| entry.get_item(idx);
        let mut cells = Vec::new();
        for cell in part(5)?.try_iter()? {
            let cell = cell?;
            cells.push(Seen::new(&cell.get_item(0)?, &cell.get_item(1)?)?);
        }
        let mut globals = Vec::new();
        for global in part(6)?.try_iter()? {
            let global = global?;
            let name = global.get_item(0)?.cast_into::<PyString>()?.unbind();
            globals.push((name, Seen::new(&global.get_item(1)?, &global.get_item(2)?)?));
        }
        Ok(Self {
            function: Seen::new(&part(0)?, &part(1)?)?,
            code: part(2)?.unbind(),
            defaults: part(3)?.unbind(),
            kwdefaults: part(4)?.unbind(),
            cells,
            globals,
        })
    }

    fn holds(&self, py: Python<'_>) -> bool {
        // A callee that is gone was rebound somewhere, and that place reports it.
        let Some(function) = self.function.get(py) else { return true };
        let function = function.as_ptr();
        // SAFETY: attached; a live function; the pointers are borrowed and only compared.
        unsafe {
            if ffi::PyFunction_Check(function) == 0 {
                return true;
            }
            is_same(ffi::PyFunction_GetCode(function), &self.code)
                && is_same(ffi::PyFunction_GetDefaults(function), &self.defaults)
                && is_same(ffi::PyFunction_GetKwDefaults(function), &self.kwdefaults)
                && self.cells_hold(py, ffi::PyFunction_GetClosure(function))
                && self.globals_hold(py, ffi::PyFunction_GetGlobals(function))
        }
    }

    /// # Safety
    /// `closure` is the closure of a live function, or null.
    unsafe fn cells_hold(&self, py: Python<'_>, closure: *mut ffi::PyObject) -> bool {
        let is_unchanged = |(idx, seen): (usize, &Seen)| {
            // SAFETY: a closure is a tuple of as many cells as there were; `PyCell_Get` gives a
            // new reference, or null for an empty cell.
            let contents = unsafe {
                let cell = ffi::PyTuple_GetItem(closure, idx as ffi::Py_ssize_t);
                Bound::from_owned_ptr_or_opt(py, ffi::PyCell_Get(cell))
            };
            seen.is(py, contents.as_ref())
        };
        self.cells.iter().enumerate().all(is_unchanged)
    }

    /// # Safety
    /// `namespace` is the globals of a live function.
    unsafe fn globals_hold(&self, py: Python<'_>, namespace: *mut ffi::PyObject) -> bool {
        if self.globals.is_empty() {
            return true;
        }
        // SAFETY: the caller's contract.
        let namespace = unsafe { Bound::from_borrowed_ptr(py, namespace) };
        let Ok(namespace) = namespace.cast::<PyDict>() else { return false };
        self.globals.iter().all(|(name, seen)| {
            let value = namespace.get_item(name).ok().flatten();
            seen.is(py, value.as_ref())
        })
    }
}

impl Seen {
    fn new(is_weak: &Bound<'_, PyAny>, object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if is_weak.extract()? {
            return Ok(Self::Weak(object.cast::<PyWeakrefReference>()?.clone().unbind()));
        }
        if object.is_none() {
            return Ok(Self::Nothing);
        }
        Ok(Self::Strong(object.get_item(0)?.unbind()))
    }

    fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        match self {
            Self::Nothing => None,
            Self::Strong(object) => Some(object.bind(py).clone()),
            Self::Weak(reference) => reference.bind(py).upgrade(),
        }
    }

    fn is(&self, py: Python<'_>, object: Option<&Bound<'_, PyAny>>) -> bool {
        match (self, object) {
            (Self::Nothing, None) => true,
            (Self::Nothing, Some(_)) | (_, None) => false,
            (_, Some(object)) => self.get(py).is_some_and(|seen| seen.is(object)),
        }
    }
}

/// Whether a borrowed pointer of the interpreter, null for None, is this object.
fn is_same(pointer: *mut ffi::PyObject, object: &Py<PyAny>) -> bool {
    let object = object.as_ptr();
    // SAFETY: None is immortal.
    pointer == object || (pointer.is_null() && object == unsafe { ffi::Py_None() })
}
