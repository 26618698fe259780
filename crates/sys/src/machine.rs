//! What this process may use of the machine: processors and memory.

use std::fs;

/// Processors this process may use: the affinity mask, bounded by the cgroup's quota (rounded up).
pub fn n_usable_cpus() -> usize {
    let by_affinity = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
    cgroup_quota().map_or(by_affinity, |quota| by_affinity.min(quota.ceil() as usize)).max(1)
}

/// Processes and threads that the system has numbers for: there can be no more at once. How many
/// there can be at the moment may be much less.
pub fn n_most_processes() -> usize {
    number("/proc/sys/kernel/pid_max").map_or(usize::MAX, |most| most as usize)
}

/// Descriptors this process may have open, by its present limit.
pub fn n_most_descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// Bytes that can be allocated without swapping: what the machine has available, bounded by what
/// the cgroup leaves. `None` if the system does not tell.
pub fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let machine = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    Some(cgroup_headroom().map_or(machine, |headroom| machine.min(headroom)))
}

/// Processors' worth of time the control groups grant, over all levels of the hierarchy.
fn cgroup_quota() -> Option<f64> {
    let v2 = cgroup_dirs("").into_iter().filter_map(|dir| {
        let text = fs::read_to_string(format!("{dir}/cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    });
    let v1 = cgroup_dirs("cpu").into_iter().filter_map(|dir| {
        let quota = number(&format!("{dir}/cpu.cfs_quota_us")).filter(|quota| *quota > 0.0)?;
        Some(quota / number(&format!("{dir}/cpu.cfs_period_us"))?)
    });
    v2.chain(v1).filter(|quota| *quota > 0.0).reduce(f64::min)
}

fn cgroup_headroom() -> Option<u64> {
    let v2 = cgroup_dirs("").into_iter().filter_map(|dir| {
        Some(number(&format!("{dir}/memory.max"))? - number(&format!("{dir}/memory.current"))?)
    });
    let v1 = cgroup_dirs("memory").into_iter().filter_map(|dir| {
        let limit = number(&format!("{dir}/memory.limit_in_bytes"))?;
        Some(limit - number(&format!("{dir}/memory.usage_in_bytes"))?)
    });
    v2.chain(v1).reduce(f64::min).map(|bytes| bytes.max(0.0) as u64)
}

fn number(path: &str) -> Option<f64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The folders of this process's group and of all groups above it; `controller` is empty for the
/// unified hierarchy.
fn cgroup_dirs(controller: &str) -> Vec<String> {
    let Ok(text) = fs::read_to_string("/proc/self/cgroup") else { return Vec::new() };
    let group = text.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    });
    let roots: &[&str] = if controller.is_empty() {
        &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
    } else {
        &[&format!("/sys/fs/cgroup/{controller}")]
    };
    let mut path = group.unwrap_or("/").trim_end_matches('/');
    let mut dirs = Vec::new();
    loop {
        dirs.extend(roots.iter().map(|root| format!("{root}{path}")));
        match path.rfind('/') {
            Some(end) => path = &path[..end],
            None => return dirs,
        }
    }
}
