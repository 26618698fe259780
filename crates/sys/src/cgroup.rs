//! Control groups: where this process's are, in both versions of their file system.
//!
//! Everything is read below a `root`, which is `/` except in tests.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders of this process's group and of all groups above it, of one version's hierarchy.
pub(crate) struct Groups {
    pub(crate) dirs: Vec<PathBuf>,
}

impl Groups {
    /// Of version 2, where one hierarchy has all controllers.
    pub(crate) fn unified(root: &Path) -> Self {
        Self::find(root, "", &["sys/fs/cgroup", "sys/fs/cgroup/unified"])
    }

    /// Of version 1, where each controller has a hierarchy.
    pub(crate) fn of_controller(root: &Path, controller: &str) -> Self {
        Self::find(root, controller, &[&format!("sys/fs/cgroup/{controller}")])
    }

    /// In a container the path may be the one outside of it, of which only the top is to be seen:
    /// folders that are not there are harmless.
    fn find(root: &Path, controller: &str, mounts: &[&str]) -> Self {
        let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let group = text.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        });
        let mut path = group.unwrap_or("/").trim_matches('/');
        let mut dirs = Vec::new();
        loop {
            dirs.extend(mounts.iter().map(|mount| root.join(mount).join(path)));
            if path.is_empty() {
                return Self { dirs };
            }
            path = path.rfind('/').map_or("", |end| &path[..end]);
        }
    }
}

/// The number that a file consists of; `None` also for "max".
pub(crate) fn number(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

/// The number behind `name` and a blank or a colon, in a file of such lines.
pub(crate) fn number_behind(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix([' ', ':']))?;
    rest.split_whitespace().next()?.parse().ok()
}
