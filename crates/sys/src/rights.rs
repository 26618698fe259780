//! What the kernel lets a process do and see, to be compared: a process that was started under
//! other rights is not asked to start anything for this one.
//!
//! Guarantees: two readings are equal only if users, groups, capabilities, `no_new_privs`, seccomp
//! filters, security label, root directory, namespaces and control group are.
//!
//! Does not do: see Landlock rules, which the kernel does not tell of. And the secure bits are
//! always those of the calling thread: of other threads they are not told.

use std::fs;
use std::io;

use crate::proc_status::{ProcStatus, read};

/// The rights of a program or thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Names and values; the names are for people.
    facts: Vec<(&'static str, String)>,
}

/// Fields of `status`, and what people call them.
const FIELDS: [(&str, &str); 10] = [
    ("Uid", "user ids"),
    ("Gid", "group ids"),
    ("Groups", "supplementary groups"),
    ("CapInh", "inheritable capabilities"),
    ("CapPrm", "permitted capabilities"),
    ("CapEff", "effective capabilities"),
    ("CapBnd", "bounding capabilities"),
    ("CapAmb", "ambient capabilities"),
    ("NoNewPrivs", "no_new_privs"),
    ("Seccomp_filters", "seccomp filters"),
];

/// Of `/proc/<pid>/ns`.
const NAMESPACES: [&str; 8] =
    ["user", "mnt", "pid_for_children", "net", "ipc", "uts", "cgroup", "time_for_children"];

impl Rights {
    /// What the program may do at the moment: the rights of its main thread. The C library changes
    /// users and groups in all threads; what a program does to one thread alone it does here.
    ///
    /// # Errors
    /// If there is no descriptor left to look with.
    pub fn of_program() -> io::Result<Self> {
        Self::read(ProcStatus::of_program()?, "/proc/self")
    }

    /// What the calling thread may do, and so what it starts.
    ///
    /// # Errors
    /// As above.
    pub fn of_this_thread() -> io::Result<Self> {
        Self::read(ProcStatus::of_this_thread()?, "/proc/thread-self")
    }

    fn read(status: Option<ProcStatus>, folder: &str) -> io::Result<Self> {
        let mut facts = match status {
            Some(status) => FIELDS
                .iter()
                .map(|(field, name)| (*name, status.field(field).unwrap_or_default().to_owned()))
                .collect(),
            None => ids_without_proc(),
        };
        let root = rustix::fs::stat("/").map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
        facts.push(("root directory", root.unwrap_or_default()));
        for name in NAMESPACES {
            let namespace = fs::read_link(format!("{folder}/ns/{name}")).unwrap_or_default();
            facts.push(("namespaces", namespace.to_string_lossy().into_owned()));
        }
        for (file, name) in [("cgroup", "control group"), ("attr/current", "security label")] {
            facts.push((name, read(&format!("{folder}/{file}"))?.unwrap_or_default()));
        }
        // SAFETY: takes no argument.
        let secure_bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS) };
        facts.push(("secure bits", secure_bits.to_string()));
        Ok(Self { facts })
    }

    /// What is not the same in `other`, for a sentence, such as `user ids and group ids`.
    pub fn difference(&self, other: &Self) -> String {
        let pairs = self.facts.iter().zip(&other.facts);
        let mut names: Vec<_> = pairs.filter(|(a, b)| a != b).map(|(fact, _)| fact.0).collect();
        names.dedup();
        names.join(" and ")
    }
}

fn ids_without_proc() -> Vec<(&'static str, String)> {
    let (mut uids, mut gids) = ([0; 3], [0; 3]);
    // SAFETY: each pointer is to an id of its own.
    unsafe {
        libc::getresuid(&mut uids[0], &mut uids[1], &mut uids[2]);
        libc::getresgid(&mut gids[0], &mut gids[1], &mut gids[2]);
    }
    // SAFETY: PR_GET_NO_NEW_PRIVS takes only zeros.
    let no_new_privs = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    vec![
        ("user ids", format!("{uids:?}")),
        ("group ids", format!("{gids:?}")),
        ("no_new_privs", no_new_privs.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_changes_nothing_has_the_same_rights_in_all_its_threads() {
        let rights = Rights::of_program().unwrap();
        assert_eq!(rights.difference(&Rights::of_program().unwrap()), "");
        let in_thread = std::thread::spawn(Rights::of_this_thread).join().unwrap().unwrap();
        assert_eq!(rights, in_thread, "{}", rights.difference(&in_thread));
    }

    #[test]
    fn what_one_thread_gives_up_is_seen_and_named() {
        let before = Rights::of_program().unwrap();
        let after = std::thread::spawn(|| {
            // SAFETY: takes numbers.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
            Rights::of_this_thread().unwrap()
        });
        let after = after.join().unwrap();
        assert_eq!(before.difference(&after), "no_new_privs");
        assert_ne!(before, after);
    }
}
