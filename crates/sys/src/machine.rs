//! What this process may use of the machine: processors and memory.

use std::fs;
use std::path::Path;

use crate::cgroup::{Groups, number, number_behind};

/// Memory that can still be had, and what it is the rest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that can be had before somebody is killed for them.
    pub available: u64,
    /// Bytes there are in all, of what is scarcest: the machine, or a control group.
    pub whole: u64,
}

/// Processors this process may use: the affinity mask, bounded by the cgroup's quota (rounded up).
pub fn n_usable_cpus() -> usize {
    let by_affinity = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
    let quota = cgroup_quota(Path::new("/"));
    quota.map_or(by_affinity, |quota| by_affinity.min(quota.ceil() as usize)).max(1)
}

/// Processes and threads that the system has numbers for: there can be no more at once. How many
/// there can be at the moment may be much less.
pub fn n_most_processes() -> usize {
    number(Path::new("/proc/sys/kernel"), "pid_max").map_or(usize::MAX, |most| most as usize)
}

/// Descriptors this process may have open, by its present limit.
pub fn n_most_descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// Memory and swap that the machine has left, bounded by what each control group leaves. `None` if
/// the system does not tell. Reads a dozen files: some 100 µs.
pub fn memory() -> Option<Memory> {
    memory_below(Path::new("/"))
}

/// Processors' worth of time the control groups grant, over all levels of the hierarchy.
fn cgroup_quota(root: &Path) -> Option<f64> {
    let v2 = Groups::unified(root).dirs.into_iter().filter_map(|dir| {
        let text = fs::read_to_string(dir.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    });
    let v1 = Groups::of_controller(root, "cpu").dirs.into_iter().filter_map(|dir| {
        let quota = number(&dir, "cpu.cfs_quota_us").filter(|quota| *quota > 0)? as f64;
        Some(quota / number(&dir, "cpu.cfs_period_us")? as f64)
    });
    v2.chain(v1).filter(|quota| *quota > 0.0).reduce(f64::min)
}

fn memory_below(root: &Path) -> Option<Memory> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let bytes = |name: &str| number_behind(&text, name).map(|kib| kib * 1024);
    let swap_left = bytes("SwapFree").unwrap_or(0);
    let machine = Memory {
        available: bytes("MemAvailable")? + swap_left,
        whole: bytes("MemTotal")? + bytes("SwapTotal").unwrap_or(0),
    };
    let is_a_limit = |memory: &Memory| memory.whole < machine.whole;
    let v2 = Groups::unified(root).dirs.into_iter();
    let v2 = v2.filter_map(|dir| left_by_v2(&dir, swap_left));
    let v1 = Groups::of_controller(root, "memory").dirs.into_iter();
    let v1 = v1.filter_map(|dir| left_by_v1(&dir, swap_left));
    let all = v2.chain(v1).filter(is_a_limit).chain([machine]);
    all.min_by_key(|memory| memory.available)
}

fn left_by_v2(dir: &Path, swap_left: u64) -> Option<Memory> {
    let limit = number(dir, "memory.max")?;
    let left = limit.saturating_sub(number(dir, "memory.current")?);
    let swap = match (number(dir, "memory.swap.max"), number(dir, "memory.swap.current")) {
        (Some(limit), Some(used)) => limit.saturating_sub(used).min(swap_left),
        (None, Some(_unlimited)) => swap_left,
        // Without the controller's files nothing is known of swap.
        _ => 0,
    };
    Some(Memory { available: left + given_back_first(dir, "") + swap, whole: limit })
}

fn left_by_v1(dir: &Path, swap_left: u64) -> Option<Memory> {
    let limit = number(dir, "memory.limit_in_bytes")?;
    let left = limit.saturating_sub(number(dir, "memory.usage_in_bytes")?);
    let with_swap = number(dir, "memory.memsw.limit_in_bytes")
        .zip(number(dir, "memory.memsw.usage_in_bytes"))
        .map(|(limit, used)| limit.saturating_sub(used));
    let swap = match with_swap {
        Some(both) if number(dir, "memory.swappiness") != Some(0) => {
            both.saturating_sub(left).min(swap_left)
        }
        _ => 0,
    };
    Some(Memory { available: left + given_back_first(dir, "total_") + swap, whole: limit })
}

/// Bytes of the group's use that the kernel takes back before it kills: pages of files.
fn given_back_first(dir: &Path, prefix: &str) -> u64 {
    let Ok(text) = fs::read_to_string(dir.join("memory.stat")) else { return 0 };
    let bytes = |name: &str| number_behind(&text, &format!("{prefix}{name}")).unwrap_or(0);
    // Pages of programs that run are among the active ones: half of them is not to be counted on.
    bytes("inactive_file") + bytes("active_file") / 2
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A tree of files like the kernel's, removed when dropped.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let name = format!("manyhands-{name}-{}", std::process::id());
            let tree = Self(std::env::temp_dir().join(name));
            let meminfo = "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n\
                           SwapTotal: 1048576 kB\nSwapFree: 524288 kB\n";
            tree.write("proc/meminfo", meminfo);
            for (path, text) in files {
                tree.write(path, text);
            }
            tree
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mib_available(tree: &Tree) -> (u64, u64) {
        let memory = memory_below(&tree.0).unwrap();
        (memory.available / MIB, memory.whole / MIB)
    }

    #[test]
    fn without_control_groups_the_machine_and_its_swap_are_the_limit() {
        let tree = Tree::new("machine", &[]);
        assert_eq!(mib_available(&tree), (4096 + 512, 8192 + 1024));
        tree.write("proc/meminfo", "something else");
        assert_eq!(memory_below(&tree.0), None);
    }

    #[test]
    fn a_group_of_version_2_and_the_groups_above_it_are_limits() {
        let tree = Tree::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/outer/inner\n"),
                ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
                ("sys/fs/cgroup/outer/inner/memory.current", "104857600\n"),
                ("sys/fs/cgroup/outer/memory.max", "419430400\n"),
                ("sys/fs/cgroup/outer/memory.current", "209715200\n"),
                ("sys/fs/cgroup/outer/memory.stat", "anon 1\nfile 5\ninactive_file 10485760\n"),
            ],
        );
        assert_eq!(mib_available(&tree), (200 + 10, 400));
        tree.write("sys/fs/cgroup/outer/memory.swap.current", "0\n");
        tree.write("sys/fs/cgroup/outer/memory.swap.max", "0\n");
        assert_eq!(mib_available(&tree), (200 + 10, 400));
        tree.write("sys/fs/cgroup/outer/memory.swap.max", "max\n");
        assert_eq!(mib_available(&tree), (200 + 10 + 512, 400));
        tree.write("sys/fs/cgroup/outer/inner/memory.max", "104857600\n");
        assert_eq!(mib_available(&tree), (0, 100));
    }

    #[test]
    fn a_group_of_version_1_is_a_limit_also_where_only_its_top_is_to_be_seen() {
        let tree = Tree::new(
            "v1",
            &[
                ("proc/self/cgroup", "4:memory:/docker/0123\n0::/\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "419430400\n"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "314572800\n"),
                (
                    "sys/fs/cgroup/memory/memory.stat",
                    "inactive_file 1\ntotal_inactive_file 20971520\ntotal_active_file 20971520\n",
                ),
            ],
        );
        assert_eq!(mib_available(&tree), (100 + 20 + 10, 400));
        tree.write("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "524288000\n");
        tree.write("sys/fs/cgroup/memory/memory.memsw.usage_in_bytes", "314572800\n");
        assert_eq!(mib_available(&tree), (100 + 20 + 10 + 100, 400));
        tree.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(mib_available(&tree), (4096 + 512, 8192 + 1024), "that is no limit");
    }

    #[test]
    fn a_group_grants_the_processors_of_its_scarcest_level() {
        let tree = Tree::new(
            "cpu",
            &[
                ("proc/self/cgroup", "0::/outer/inner\n"),
                ("sys/fs/cgroup/outer/inner/cpu.max", "400000 100000\n"),
                ("sys/fs/cgroup/outer/cpu.max", "150000 100000\n"),
            ],
        );
        assert_eq!(cgroup_quota(&tree.0), Some(1.5));
    }
}
