//! Who is in the way: the processes that hold something inside a mount.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A process that holds a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

impl Holder {
    /// Whether it is still there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.pid)
    }
}

/// The processes that hold something below `mountpoint`, by what `/proc` says of their open files, working directories
/// and mapped files. Names are read, nothing is touched.
pub(super) fn holders(mountpoint: &Path) -> Vec<Holder> {
    let mut found = BTreeMap::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if holds(&process.path(), mountpoint) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.insert(pid, name.trim().to_owned());
        }
    }
    found
        .into_iter()
        .map(|(pid, name)| Holder { name, pid })
        .collect()
}

fn holds(process: &Path, mountpoint: &Path) -> bool {
    let leads_in =
        |link: PathBuf| std::fs::read_link(link).is_ok_and(|target| target.starts_with(mountpoint));
    if ["cwd", "root", "exe"]
        .iter()
        .any(|name| leads_in(process.join(name)))
    {
        return true;
    }
    let open = std::fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    if open
        .into_iter()
        .any(|descriptor| leads_in(descriptor.path()))
    {
        return true;
    }
    // A line is "address permissions offset device inode path"; only the path holds slashes that can match.
    std::fs::read_to_string(process.join("maps")).is_ok_and(|maps| {
        maps.lines()
            .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
            .any(|path| path.starts_with(mountpoint))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_a_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        let own = |holders: Vec<Holder>| {
            holders
                .iter()
                .any(|holder| holder.pid == std::process::id())
        };
        assert!(!own(holders(&path)));
        let file = std::fs::File::create(path.join("open")).unwrap();
        assert!(own(holders(&path)));
        // Next door is not inside.
        assert!(!own(holders(&path.join("op"))));
        drop(file);
    }
}
