//! What every thread of this process does at one moment, as the kernel sees it.
//!
//! The question it answers: may any thread still run by itself? A thread that sleeps on a private
//! futex without a deadline cannot: only another thread of the process wakes it. One in any other
//! system call (I/O, a timed wait, a wait on a word that other processes see) may.
//!
//! Guarantees: [`Census::take_if_all`] twice with equal answers means that between the two nobody
//! ran: the number of times each thread was put on or off a processor is part of the answer.
//! Where the kernel tells nothing, a thread counts as running.

use std::fs;

/// One thread at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its number.
    pub thread: u32,
    /// What it does.
    pub doing: Doing,
    /// How often it was put on or off a processor so far.
    n_switches: u64,
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Sleeps until another thread of this process wakes it.
    AsleepForEver,
    /// Sleeps on a futex that a deadline or another process may also end.
    AsleepOnWord,
    /// Anything else.
    Running,
}

/// All threads but the calling one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// In the kernel's order.
    pub threads: Vec<Sighting>,
}

/// Whether `thread` is one of this process that has not ended.
pub fn lives(thread: u32) -> bool {
    fs::exists(format!("/proc/self/task/{thread}")).unwrap_or(true)
}

/// Whether the program handles signals of its own accord, so that one might run code that wakes
/// threads. Handlers for faults, which every Rust program has, do not count; in doubt yes.
pub fn has_signal_handlers() -> bool {
    const OF_FAULTS: [libc::c_int; 7] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
    ];
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return true };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let Some(Ok(caught)) = mask.map(|mask| u64::from_str_radix(mask.trim(), 16)) else {
        return true;
    };
    // 32 and 33 are the C library's own.
    let ignored = OF_FAULTS.iter().chain(&[32, 33]).map(|number| 1_u64 << (number - 1));
    caught & !ignored.sum::<u64>() != 0
}

impl Census {
    /// Looks at every thread as long as all are as `expected`; `None` if one is not, or if the
    /// kernel does not tell.
    pub fn take_if_all(expected: impl Fn(&Sighting) -> bool) -> Option<Self> {
        let me = crate::thread_id::kernel_id();
        let mut threads = Vec::new();
        for entry in fs::read_dir("/proc/self/task").ok()? {
            let name = entry.ok()?.file_name();
            let thread: u32 = name.to_str()?.parse().ok()?;
            if thread != me {
                threads.push(Some(Sighting::of(thread)).filter(&expected)?);
            }
        }
        Some(Self { threads })
    }
}

impl Sighting {
    fn of(thread: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{file}"));
        // The count first: who ran in between has a higher one next time.
        let n_switches = read("status").ok().and_then(|status| n_switches(&status));
        let doing =
            read("syscall").map_or(Doing::Running, |call| doing(&call, lies_in_shared_memory));
        match n_switches {
            Some(n_switches) => Self { thread, doing, n_switches },
            None => Self { thread, doing: Doing::Running, n_switches: 0 },
        }
    }
}

fn n_switches(status: &str) -> Option<u64> {
    let mut sum = None;
    for line in status.lines() {
        if let Some((name, n)) = line.split_once(':')
            && name.ends_with("voluntary_ctxt_switches")
        {
            sum = Some(sum.unwrap_or(0) + n.trim().parse::<u64>().ok()?);
        }
    }
    sum
}

/// Reads a line like `202 0x7f66 0x189 0x0 0x0 0x0 0xffffffff …`: call, arguments.
fn doing(call: &str, is_shared: impl Fn(u64) -> bool) -> Doing {
    let mut words = call.split_ascii_whitespace();
    let number = words.next().and_then(|word| word.parse::<libc::c_long>().ok());
    if number != Some(libc::SYS_futex) {
        return Doing::Running;
    }
    let mut arguments =
        words.map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap_or(1));
    let word = arguments.next().unwrap_or(0);
    let operation = arguments.next().unwrap_or(0) as libc::c_int;
    let until = arguments.nth(1).unwrap_or(1);
    let command = operation & libc::FUTEX_CMD_MASK;
    if command != libc::FUTEX_WAIT && command != libc::FUTEX_WAIT_BITSET {
        return Doing::Running;
    }
    // Without the flag the word may still be this process's own: `pthread_join` waits like that.
    let is_private = || operation & libc::FUTEX_PRIVATE_FLAG != 0 || !is_shared(word);
    if until == 0 && is_private() { Doing::AsleepForEver } else { Doing::AsleepOnWord }
}

/// Whether other processes may map what lies at `address`; in doubt they may.
fn lies_in_shared_memory(address: u64) -> bool {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return true };
    // Lines like `7f5c3a000000-7f5c3a021000 rw-p 00000000 00:00 0`; the last letter tells.
    let is_private = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let at = |hex: &str| u64::from_str_radix(hex, 16).ok();
        let has_it = (at(start)?..at(end)?).contains(&address);
        has_it.then(|| rest.as_bytes().get(3) == Some(&b'p'))
    };
    !maps.lines().find_map(is_private).unwrap_or(false)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::futex::{Futex, Private};
    use std::sync::mpsc;

    fn seen(thread: u32) -> Doing {
        let census = Census::take_if_all(|_| true).unwrap();
        census.threads.iter().find(|sighting| sighting.thread == thread).unwrap().doing
    }

    fn until(thread: u32, doing: Doing) {
        while seen(thread) != doing {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_on_a_private_word_sleeps_for_ever_and_one_in_a_pipe_does_not() {
        static WORD: Futex<Private> = Futex::new(0);
        let (tell, told) = mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            tell.send(crate::thread_id::kernel_id()).unwrap();
            while WORD.load(std::sync::atomic::Ordering::Acquire) == 0 {
                WORD.wait(0, None);
            }
        });
        until(told.recv().unwrap(), Doing::AsleepForEver);
        WORD.store(1, std::sync::atomic::Ordering::Release);
        WORD.wake_all();
        sleeper.join().unwrap();

        let (reader, writer) = std::io::pipe().unwrap();
        let (tell, told) = mpsc::channel();
        let in_io = std::thread::spawn(move || {
            tell.send(crate::thread_id::kernel_id()).unwrap();
            std::io::copy(&mut &reader, &mut std::io::sink()).unwrap();
        });
        let thread = told.recv().unwrap();
        assert_eq!(seen(thread), Doing::Running);
        drop(writer);
        in_io.join().unwrap();
    }

    #[test]
    fn a_handler_of_the_program_counts_and_those_for_faults_do_not() {
        extern "C" fn handle(_: libc::c_int) {}
        assert!(!has_signal_handlers());
        let handle = handle as extern "C" fn(libc::c_int);
        // SAFETY: a handler that does nothing, for a signal that nobody sends.
        unsafe { libc::signal(libc::SIGUSR2, handle as libc::sighandler_t) };
        assert!(has_signal_handlers());
        // SAFETY: what it was before.
        unsafe { libc::signal(libc::SIGUSR2, libc::SIG_DFL) };
    }

    #[test]
    fn a_line_of_the_kernel_is_understood() {
        let line = "202 0x5628 0x189 0x0 0x0 0x0 0xffffffff 0x7f6b 0x7f6b";
        let doing = |line| super::doing(line, |word| word == 0x7777);
        assert_eq!(doing(line), Doing::AsleepForEver);
        assert_eq!(doing("202 0x5628 0x89 0x0 0x7f6b 0x0 0xffffffff 1 1"), Doing::AsleepOnWord);
        assert_eq!(doing("202 0x7777 0x109 0x0 0x0 0x0 0xffffffff 1 1"), Doing::AsleepOnWord);
        assert_eq!(doing("202 0x5628 0x109 0x0 0x0 0x0 0xffffffff 1 1"), Doing::AsleepForEver);
        assert_eq!(doing("0 0x3 0x7f6b 0x1 0x0 0x0 0x7f6b 0x7f6b 0x7f6b"), Doing::Running);
        assert_eq!(doing("running"), Doing::Running);
    }

    #[test]
    fn who_joins_a_thread_sleeps_for_ever_and_who_waits_in_shared_memory_does_not() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let joined = std::thread::spawn(move || ended.recv().is_ok());
        let joiner = std::thread::spawn(move || {
            tell.send(crate::thread_id::kernel_id()).unwrap();
            joined.join().unwrap();
        });
        until(told.recv().unwrap(), Doing::AsleepForEver);
        drop(end);
        joiner.join().unwrap();

        let local = 0u64;
        assert!(!lies_in_shared_memory(std::ptr::from_ref(&local) as u64));
        assert!(lies_in_shared_memory(8), "where nothing is mapped nobody knows");
    }
}
