//! How to start the test program again at one of its tests, as another process.

use std::ffi::CString;
use std::path::PathBuf;

/// A start of this very test program.
pub struct Reentry {
    /// The test program.
    pub path: PathBuf,
    /// Its arguments; the first is its name.
    pub args: Vec<CString>,
    /// This process's environment, and the mark.
    pub env: Vec<CString>,
}

impl Reentry {
    /// At the test `entry`, which sees by the variable `mark` that it is not run as a test.
    pub fn at(name: &str, entry: &str, mark: &str) -> Self {
        let text = |text: String| CString::new(text).expect("no NUL in it");
        let args = [name, entry, "--exact", "--nocapture", "--quiet"];
        let inherited = std::env::vars().map(|(name, value)| format!("{name}={value}"));
        Self {
            path: std::env::current_exe().expect("the test program has a path"),
            args: args.iter().map(|arg| text((*arg).into())).collect(),
            env: inherited.chain([format!("{mark}=1")]).map(text).collect(),
        }
    }
}
