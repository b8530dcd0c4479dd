//! Baloo: KDE's index. By default it reads all of the home directory but what is hidden. It passes over removable disks and
//! the network shares that Solid knows (`storagedevices.cpp`, `fileindexerconfig.cpp` of Baloo), and a mount of this kind is
//! none of them.

use std::path::{Path, PathBuf};

use super::super::super::table::MountEntry;
use super::super::{Finding, Machine};
use super::{expanded, lies_in, named};

const CHECK: &str = "baloo";

/// Its settings: those of the user, and behind them those of the system.
const CONF: &str = "baloofilerc";

pub(super) fn examine(machine: &Machine, mounts: &[&MountEntry]) -> Finding {
    let directories = [
        "/usr/bin",
        "/usr/libexec",
        "/usr/libexec/kf5",
        "/usr/libexec/kf6",
        "/usr/lib",
        "/usr/lib/kf6",
        "/usr/lib/x86_64-linux-gnu/libexec",
        "/usr/lib/x86_64-linux-gnu/libexec/kf6",
        "/usr/lib/aarch64-linux-gnu/libexec",
        "/usr/lib/aarch64-linux-gnu/libexec/kf6",
    ];
    let is_installed = machine.program(&["baloo_file"], &directories).is_some();
    let (Some(home), true) = (&machine.home, is_installed) else {
        return Finding::ok(CHECK, "not installed");
    };
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let own = read(home.join(".config").join(CONF));
    let settings = Settings::of(&own, &read(machine.at("/etc/xdg").join(CONF)), home);
    let read: Vec<&Path> = mounts
        .iter()
        .map(|entry| entry.mountpoint.as_path())
        .filter(|at| settings.reads(at))
        .collect();
    let Some(first) = read.first() else {
        return Finding::ok(CHECK, "no mount of afs is where it looks");
    };
    let (files, first) = (named(&read), first.display());
    Finding::warn(
        CHECK,
        format!("KDE's index reads all of {files}: each output there is downloaded once"),
        format!("balooctl config add excludeFolders {first} (balooctl6 in Plasma 6)"),
    )
}

/// Which directories it reads.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    is_on: bool,
    reads_hidden: bool,
    folders: Vec<PathBuf>,
    excluded: Vec<PathBuf>,
}

impl Settings {
    fn of(own: &str, of_system: &str, home: &Path) -> Self {
        let entry = |group: &str, key: &str| {
            entry(own, group, key).or_else(|| entry(of_system, group, key))
        };
        let folders = |key: &str| {
            let paths = entry("General", key)?;
            let paths = paths.split(',').filter_map(|path| expanded(path, home));
            Some(paths.collect::<Vec<_>>())
        };
        Self {
            is_on: entry("Basic Settings", "Indexing-Enabled") != Some("false"),
            reads_hidden: entry("General", "index hidden folders") == Some("true"),
            folders: folders("folders").unwrap_or_else(|| vec![home.to_owned()]),
            excluded: folders("exclude folders").unwrap_or_default(),
        }
    }

    /// Of the directories that a path lies in, the nearest says whether it is read.
    fn reads(&self, path: &Path) -> bool {
        let nearest = |directories: &[PathBuf]| {
            let around = directories
                .iter()
                .filter(|directory| lies_in(path, directory));
            around.map(|directory| directory.components().count()).max()
        };
        let is_hidden = path.to_string_lossy().contains("/.");
        self.is_on
            && (self.reads_hidden || !is_hidden)
            && nearest(&self.folders) > nearest(&self.excluded)
    }
}

/// The value of a key in a group of a file as KDE has them: `[Group]`, `key=value`, `key[$e]=value` where variables are
/// to be expanded.
fn entry<'a>(text: &'a str, group: &str, key: &str) -> Option<&'a str> {
    let mut is_in = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            is_in = name == group;
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| is_in) else {
            continue;
        };
        let name = name.trim();
        if name.strip_suffix("[$e]").unwrap_or(name) == key {
            return Some(value.trim());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::super::Level::{Ok as Well, Warn};
    use super::super::super::tests::{bare_machine, is, plant};
    use super::super::tests::mounted;
    use super::*;

    #[test]
    fn a_mount_in_the_home_directory_is_warned_of_unless_it_is_excluded() {
        let excluded = "[General]\nexclude folders[$e]=$HOME/x/,$HOME/files/\n";
        for (at, own, of_system, is_warned) in [
            ("home/files", "", "", true),
            ("home/a/files", excluded, "", true),
            ("home/files", excluded, "", false),
            ("home/files", "", excluded, false),
            (
                "home/files",
                "[General]\nexclude folders[$e]=\n",
                excluded,
                true,
            ),
            (
                "home/files",
                "[Basic Settings]\nIndexing-Enabled=false\n",
                "",
                false,
            ),
            ("home/.files", "", "", false),
            (
                "home/.files",
                "[General]\nindex hidden folders=true\n",
                "",
                true,
            ),
            ("elsewhere", "", "", false),
            (
                "home/files",
                "[General]\nfolders[$e]=$HOME/Documents/\n",
                "",
                false,
            ),
            (
                "home/files",
                "[General]\nfolders[$e]=$HOME/files\nexclude folders[$e]=$HOME\n",
                "",
                true,
            ),
            (
                "home/files",
                "[Other]\nexclude folders[$e]=$HOME/files/\n",
                "",
                true,
            ),
        ] {
            let dir = tempfile::Builder::new().prefix("afs-").tempdir().unwrap();
            let mut machine = bare_machine(dir.path());
            let path = dir.path().join(at);
            machine.table = mounted(&path, "rw");
            plant(dir.path(), "home/.config/baloofilerc", own);
            plant(dir.path(), "etc/xdg/baloofilerc", of_system);
            let look =
                |machine: &Machine| examine(machine, &machine.table.ours().collect::<Vec<_>>());
            is(&look(&machine), Well, "not installed", "");
            plant(
                dir.path(),
                "usr/lib/x86_64-linux-gnu/libexec/baloo_file",
                "",
            );
            let found = look(&machine);
            if is_warned {
                is(&found, Warn, path.to_str().unwrap(), "excludeFolders");
            } else {
                is(&found, Well, "no mount of afs", "");
            }
        }
    }
}
