//! What is left when nobody needs children any more, and when the root itself is killed: nothing.
//!
//! One test a program run: descriptors, threads and children are counted.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use manyhands_process::{Launcher, stop_templates};
use manyhands_sys::lifeline;
use manyhands_sys::pid::{ExitStatus, PidFd, Signal};
use support::{LOST_AFTER, Log, guard, launch, template};

const ALONE: &str = "MANYHANDS_TEST_ALONE";

#[test]
fn template_entry() {
    support::serve_if_template();
}

/// Runs the calling test again, alone in a program of its own. True: this is that program.
fn is_alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().expect("a path"))
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("the test binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    false
}

#[test]
fn thread_descriptors_and_processes_go_with_the_last_child() {
    if !is_alone("thread_descriptors_and_processes_go_with_the_last_child") {
        return;
    }
    let _guard = guard(60);
    // The line that children hang on is the program's, to its end.
    drop(lifeline::own().expect("descriptors"));
    let fds_before = count("/proc/self/fd");
    for _ in 0..3 {
        let log = Log::new();
        let in_use = template("leftovers");
        for id in 0..5 {
            launch(&in_use, id, &[b'x', 0], &log);
        }
        // A child that is a program of its own, and one whose template is killed.
        let program = support::program("no_such_test", "MANYHANDS_TEST_NOTHING");
        program.launch(9, b"", &[], Arc::clone(&log) as _).expect("a child");
        (0..12).for_each(|_| drop(log.next()));
        launch(&in_use, 10, b"stay", &log);
        let (_, child) = log.started();
        in_use.process().signal(Signal::KILL).expect("a template can be killed");
        child.signal(Signal::KILL).expect("a child can be killed");
        assert_eq!(log.exited().0, 10);
        drop(in_use);
        stop_templates();
        nothing_is_left(fds_before, child);
    }
}

fn nothing_is_left(fds_before: usize, last: PidFd) {
    drop(last);
    let patience = Instant::now() + LOST_AFTER;
    while supervisor_runs() || !children().is_empty() || count("/proc/self/fd") > fds_before {
        let left = (supervisor_runs(), children(), count("/proc/self/fd"));
        assert!(Instant::now() < patience, "left: {left:?}, descriptors before: {fds_before}");
        std::thread::yield_now();
    }
}

#[test]
fn a_stopped_template_does_not_hold_up_the_end_of_the_program() {
    if !is_alone("a_stopped_template_does_not_hold_up_the_end_of_the_program") {
        return;
    }
    let _guard = guard(60);
    let in_use = template("stopped");
    in_use.process().signal(Signal::STOP).expect("a template can be stopped");
    stop_templates();
    assert!(in_use.process().has_exited());
}

#[test]
fn nobody_survives_a_killed_root() {
    const ROOT: &str = "MANYHANDS_TEST_ROOT";
    if std::env::var_os(ROOT).is_some() {
        // The root: it says who its relatives are, and waits for the end.
        let (in_use, log) = (template("family"), Log::new());
        let pids = (0..3).map(|id| {
            launch(&in_use, id, b"stay", &log);
            pid_of(&log.started().1)
        });
        let pids: Vec<_> = pids.chain([pid_of(in_use.process())]).collect();
        println!("\nfamily: {}", pids.join(" "));
        loop {
            std::thread::park();
        }
    }
    let _guard = guard(60);
    for _ in 0..5 {
        let mut root = Command::new(std::env::current_exe().expect("a path"))
            .args(["nobody_survives_a_killed_root", "--exact", "--nocapture"])
            .env(ROOT, "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary runs");
        let lines = BufReader::new(root.stdout.take().expect("a pipe")).lines();
        let family = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("family: ").map(ToOwned::to_owned))
            .expect("the root says who its relatives are");
        let relatives: Vec<_> = family
            .split(' ')
            .map(|pid| PidFd::open(pid.parse().expect("a number")).expect("it runs"))
            .collect();
        root.kill().expect("a child can be killed");
        root.wait().expect("a child can be waited for");
        relatives.iter().for_each(PidFd::wait_until_exited);
    }
}

#[test]
fn a_program_that_cannot_be_a_template_is_no_zombie() {
    if !is_alone("a_program_that_cannot_be_a_template_is_no_zombie") {
        return;
    }
    let _guard = guard(60);
    let log = Log::new();
    let program = manyhands_process::Program {
        path: "/bin/true".into(),
        args: vec![c"true".into()],
        env: Vec::new(),
    };
    for round in 0..20u8 {
        let start = manyhands_process::TemplateStart::Program(&program);
        let key = [b'n', b'o', round];
        let in_use = manyhands_process::TemplateUse::get(&key, start).expect("it starts");
        // Taken or refused, and never answered: failed.
        if support::try_launch(&in_use, 1, b"stay", &[], &log).is_ok() {
            let event = log.next();
            let failed = matches!(event, manyhands_process::Event::Failed { id: 1, .. });
            assert!(failed, "nothing can start there: {event:?}");
        }
    }
    stop_templates();
    let patience = Instant::now() + LOST_AFTER;
    while !children().is_empty() || supervisor_runs() {
        assert!(Instant::now() < patience, "left: {:?}", children());
        std::thread::yield_now();
    }
    assert_eq!(ExitStatus::Unknown.as_exitcode(), None);
}

fn pid_of(process: &PidFd) -> String {
    use std::os::fd::{AsFd, AsRawFd};
    let path = format!("/proc/self/fdinfo/{}", process.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).expect("procfs is there");
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd");
    line.trim().to_owned()
}

fn supervisor_runs() -> bool {
    let names = std::fs::read_dir("/proc/self/task").expect("procfs is there").flatten();
    let mut names =
        names.filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok());
    names.any(|name| name.trim() == "mh-supervisor")
}

fn children() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").expect("procfs is there").flatten();
    let all: String = threads
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("children")).ok())
        .collect();
    all.split_whitespace().map(ToOwned::to_owned).collect()
}

fn count(dir: &str) -> usize {
    std::fs::read_dir(dir).expect("procfs is there").count()
}
