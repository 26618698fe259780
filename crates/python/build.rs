//! Lets the code ask which Python it is built for, as in `cfg(Py_3_12)`.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
