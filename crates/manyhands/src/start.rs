//! How a program becomes its own worker: it is started again, and [`init`] does not return there.
//!
//! A worker process is told apart by an environment variable *and* by the socket it finds as its
//! standard input: programs that a worker starts inherit the variable, but not the socket.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, Ordering};

use manyhands_process::Program;
use manyhands_sys::socket::MessageSocket;

use crate::error::PoolError;
use crate::worker;

static IS_INITIALISED: AtomicBool = AtomicBool::new(false);

const MARK: &str = "MANYHANDS_WORKER";

/// Also valid if the file at the program's path has been replaced since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Call this first in `main`: process pools start this program again for each worker, and here it
/// becomes one, and does not return. In the program itself it does next to nothing.
///
/// ```
/// fn main() {
///     manyhands::init();
///     // the program
/// }
/// ```
// That it stands in `main` is what the example shows.
#[allow(clippy::needless_doctest_main)]
pub fn init() {
    serve_if_worker();
    IS_INITIALISED.store(true, Ordering::Release);
}

/// Lets the tests of a file use process pools: put it once at the top level of a file in `tests/`,
/// or of the crate for unit tests. There the `main` is not yours, so that workers enter through a
/// test of their own, which in any other run passes at once.
///
/// ```
/// manyhands::test_entry!();
///
/// #[manyhands::task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// #[test]
/// fn doubles_in_another_process() {
///     let pool = manyhands::ProcessPool::new(1).unwrap();
///     assert_eq!(pool.submit(double::task, 21).unwrap().result(), Ok(42));
/// }
/// ```
// The example is a test file.
#[allow(clippy::test_attr_in_doctest)]
#[macro_export]
macro_rules! test_entry {
    () => {
        #[test]
        fn manyhands_test_entry() {
            $crate::__private::serve_if_worker();
        }

        $crate::__private::inventory::submit! {
            $crate::__private::TestEntry(::core::concat!(
                ::core::module_path!(),
                "::manyhands_test_entry"
            ))
        }
    };
}

/// The test through which workers of a test program enter.
#[derive(Debug)]
pub struct TestEntry(pub &'static str);

inventory::collect!(TestEntry);

/// Never returns in a worker.
pub fn serve_if_worker() {
    if is_worker_to_be() {
        worker::serve();
    }
}

/// How to start a worker.
pub(crate) fn worker_program() -> Result<Program, PoolError> {
    if is_worker_to_be() {
        return Err(PoolError::WorkerRunsMain);
    }
    let args = match inventory::iter::<TestEntry>.into_iter().next() {
        Some(entry) => entry.args(),
        None if !IS_INITIALISED.load(Ordering::Acquire) => return Err(PoolError::NotInitialised),
        None => std::env::args_os().collect(),
    };
    let args = args.into_iter().map(|arg| c_string(arg.into_vec())).collect();
    let inherited = std::env::vars_os().filter(|(name, _)| name != MARK);
    let env = inherited.chain([(OsString::from(MARK), OsString::from("1"))]);
    let entry = |(name, value): (OsString, OsString)| {
        c_string([&name.into_vec()[..], b"=", &value.into_vec()].concat())
    };
    Ok(Program { path: THIS_PROGRAM.into(), args, env: env.map(entry).collect() })
}

fn is_worker_to_be() -> bool {
    std::env::var_os(MARK).is_some() && MessageSocket::is_stdin()
}

fn c_string(bytes: Vec<u8>) -> CString {
    CString::new(bytes).expect("the system's own strings have no NUL in them")
}

impl TestEntry {
    /// What makes a test program run this test alone. The name of a test has no crate in it.
    fn args(&self) -> Vec<OsString> {
        let name = self.0.split_once("::").map_or(self.0, |(_crate, name)| name);
        let fixed = ["--exact", "--nocapture", "--quiet", "--test-threads=1"];
        let program = std::env::args_os().next().unwrap_or_default();
        [program, name.into()].into_iter().chain(fixed.map(Into::into)).collect()
    }
}
