//! Runs a scenario in a process of its own: this very test binary, re-entered through one of its
//! tests. "Everyone is asleep" speaks of all threads of a process, and a mode belongs to it.

#![allow(dead_code, reason = "each test program uses its own part of it")]

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const NAME: &str = "MANYHANDS_TEST_SCENARIO";

/// After so long a scenario hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a scenario ended, and what it wrote to standard error.
pub struct Ended {
    pub status: ExitStatus,
    pub text: String,
}

/// The scenario this process is to play, if it was started for one.
pub fn scenario() -> Option<String> {
    std::env::var(NAME).ok()
}

/// Plays the scenario `name` in the deadlock mode `mode`.
///
/// The test harness of the other process waits without a deadline for its one test, so that it does
/// not count as a thread that may still run.
pub fn play(name: &str, mode: &str) -> Ended {
    let mut child = Command::new(std::env::current_exe().expect("a test program has a path"))
        .args(["--exact", "scenario_entry", "--test-threads=1", "--nocapture"])
        .env(NAME, name)
        .env("MANYHANDS_DEADLOCK", mode)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test program starts again");
    let mut stderr = child.stderr.take().expect("standard error is a pipe");
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).expect("a scenario writes text");
        let _ = tell.send(());
        text
    });
    let is_late = told.recv_timeout(PATIENCE).is_err();
    if is_late {
        child.kill().expect("a child can be killed");
    }
    let status = child.wait().expect("a child ends");
    let text = reader.join().expect("the reader does not panic");
    assert!(!is_late, "the scenario {name} hangs:\n{text}");
    Ended { status, text }
}

impl Ended {
    /// How many reports there are.
    pub fn n_reports(&self) -> usize {
        self.text.matches("deadlock: ").count()
    }

    #[track_caller]
    pub fn says(&self, what: &str) {
        assert!(self.text.contains(what), "no {what:?} in:\n{}", self.text);
    }
}
