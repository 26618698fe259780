//! The Python extension manyhands._runtime.
