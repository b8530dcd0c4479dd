//! Programs that look at everything by themselves, and whether a mount lies where they look. Each is spoken of where it is
//! installed and a mount is in its way.

mod baloo;
mod localsearch;
mod updatedb;

use std::path::{Path, PathBuf};

use super::super::table::MountEntry;
use super::{Finding, Machine, lies_in};

pub(super) fn examine(machine: &Machine) -> Vec<Finding> {
    let mounts: Vec<&MountEntry> = machine.table.ours().collect();
    vec![
        updatedb::examine(machine, &mounts),
        localsearch::examine(machine, &mounts),
        baloo::examine(machine, &mounts),
    ]
}

/// Mount points in a row.
fn named(mounts: &[&Path]) -> String {
    let names: Vec<String> = mounts.iter().map(|at| at.display().to_string()).collect();
    names.join(", ")
}

/// A path as these programs' settings have it: `$HOME` and `~` stand for the home directory. `None` for no absolute path.
fn expanded(text: &str, home: &Path) -> Option<PathBuf> {
    let below_home = |rest: &str| home.join(rest.trim_start_matches('/'));
    let text = text.trim();
    for word in ["$HOME", "${HOME}", "~"] {
        match text.strip_prefix(word) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                return Some(below_home(rest));
            }
            _ => {}
        }
    }
    let path = PathBuf::from(text);
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::table::MountTable;

    /// A table with one mount there.
    pub(super) fn mounted(at: &Path, options: &str) -> MountTable {
        let line = format!("9 1 0:9 / {} rw - fuse.afs afs {options}", at.display());
        MountTable::parse(line.as_bytes())
    }

    #[test]
    fn home_is_written_in_several_ways() {
        let home = Path::new("/home/ada");
        for (text, expected) in [
            ("$HOME", Some("/home/ada")),
            ("$HOME/a", Some("/home/ada/a")),
            ("${HOME}/a/", Some("/home/ada/a")),
            ("~/a", Some("/home/ada/a")),
            ("/b ", Some("/b")),
            ("$HOMER", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(expanded(text, home), expected.map(PathBuf::from), "{text}");
        }
    }
}
