//! Why a task has no result: one type for thread and process tasks, with sentences for people.
//!
//! What it does not do: it does not carry a task's own error. A task that returns a `Result`
//! finishes with that `Result` as its value.

use std::fmt;

use manyhands_sys::pid::signal_name;

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked.
    Panicked {
        /// What the panic said.
        message: String,
        /// File, line and column of the panic, where known.
        location: Option<String>,
    },
    /// The task was cancelled.
    Cancelled,
    /// The task ran longer than its own timeout and was stopped, or an idle worker that had it for
    /// so long did not begin it.
    TimedOut,
    /// The process that ran the task died.
    Crashed(CrashReport),
    /// The pool cannot run tasks: its workers cannot be started or prepared.
    PoolBroken(String),
    /// The memory for its arguments or its result could not be had: a sentence.
    OutOfMemory(String),
    /// Anything else, as a sentence.
    Other(String),
}

/// What is known of the death of a worker process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// The name of the task that was running.
    pub task: Option<String>,
    /// The worker's process id.
    pub pid: u32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The code it exited with.
    pub exit_code: Option<i32>,
    /// The last traceback of the worker, where one could be written.
    pub traceback: Option<String>,
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location: Some(location) } => {
                write!(f, "the task panicked at {location}: {message}")
            }
            Self::Panicked { message, location: None } => {
                write!(f, "the task panicked: {message}")
            }
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::TimedOut => {
                f.write_str("the task ran longer than its timeout allows and was stopped")
            }
            Self::Crashed(report) => report.fmt(f),
            Self::PoolBroken(sentence) | Self::OutOfMemory(sentence) | Self::Other(sentence) => {
                f.write_str(sentence)
            }
        }
    }
}

impl std::error::Error for TaskError {}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker process {} ", self.pid)?;
        match (self.signal, self.exit_code) {
            (Some(signal), _) => match signal_name(signal) {
                Some(name) => write!(f, "was killed by {name} (signal {signal})")?,
                None => write!(f, "was killed by signal {signal}")?,
            },
            (None, Some(code)) => write!(f, "exited with code {code}")?,
            (None, None) => f.write_str("died")?,
        }
        match &self.task {
            Some(task) => write!(f, " while it ran {task}"),
            None => f.write_str(" while it ran a task"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_names_the_task_the_process_and_the_signal() {
        let report = CrashReport {
            task: Some("resize".to_owned()),
            pid: 42,
            signal: Some(9),
            ..CrashReport::default()
        };
        assert_eq!(
            TaskError::Crashed(report).to_string(),
            "worker process 42 was killed by SIGKILL (signal 9) while it ran resize"
        );
    }

    #[test]
    fn a_panic_says_what_and_where() {
        let error = TaskError::Panicked {
            message: "no rice left".to_owned(),
            location: Some("src/main.rs:3:5".to_owned()),
        };
        assert_eq!(error.to_string(), "the task panicked at src/main.rs:3:5: no rice left");
    }
}
