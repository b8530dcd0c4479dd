//! `LocalSearch`, which was Tracker: GNOME's index. It does not go into a mount point below the directories it indexes, only
//! into one that is itself named in its settings (tracker-miners!375, "Do not recurse into mount points unless configured";
//! `LocalSearch`'s documents, "Indexed data"). What it goes into it reads: of outputs every one.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::super::helper;
use super::super::super::table::MountEntry;
use super::super::{Finding, LOOK, Machine};
use super::{expanded, named};

const CHECK: &str = "localsearch";

/// Where its settings are, by its former name too.
const SCHEMA: &str = "org.freedesktop.Tracker3.Miner.Files";

/// The settings that name directories.
const KEYS: [&str; 2] = ["index-recursive-directories", "index-single-directories"];

pub(super) fn examine(machine: &Machine, mounts: &[&MountEntry]) -> Finding {
    let names = ["localsearch-3", "tracker-miner-fs-3", "localsearch"];
    let directories = ["/usr/libexec", "/usr/lib", "/usr/bin"];
    let is_installed = machine.program(&names, &directories).is_some();
    let (Some(home), true) = (&machine.home, is_installed) else {
        return Finding::ok(CHECK, "not installed");
    };
    if mounts.is_empty() {
        return Finding::ok(CHECK, "no mount of afs is where it looks");
    }
    let mut indexed = Vec::new();
    for key in KEYS {
        let mut gsettings = Command::new("gsettings");
        gsettings.args(["get", SCHEMA, key]).env("HOME", home);
        let Some(said) = helper::output(&mut gsettings, LOOK) else {
            return Finding::ok(
                CHECK,
                "installed; which directories it indexes is not known",
            );
        };
        indexed.extend(directories_of(&said, home));
    }
    judge(&indexed, mounts)
}

fn judge(indexed: &[PathBuf], mounts: &[&MountEntry]) -> Finding {
    let read: Vec<&Path> = mounts
        .iter()
        .map(|entry| entry.mountpoint.as_path())
        .filter(|at| indexed.iter().any(|directory| directory == at))
        .collect();
    if read.is_empty() {
        return Finding::ok(CHECK, "no mount of afs is where it looks");
    }
    let files = named(&read);
    Finding::warn(
        CHECK,
        format!("GNOME's index reads all of {files}: each output there is downloaded once"),
        format!(
            "take it out of {KEYS:?} of {SCHEMA}, or mount below such a directory instead of on it"
        )
        .replace(['[', ']', '"'], ""),
    )
}

/// `['&DOCUMENTS', '$HOME/a']`, as `gsettings` prints a list of texts.
fn directories_of(list: &str, home: &Path) -> Vec<PathBuf> {
    let user_dirs =
        std::fs::read_to_string(home.join(".config/user-dirs.dirs")).unwrap_or_default();
    // What is between quotes is every second piece.
    let texts = list.split('\'').skip(1).step_by(2);
    texts
        .filter_map(|text| match text.strip_prefix('&') {
            Some(name) => user_directory(name, &user_dirs, home),
            None => expanded(text, home),
        })
        .collect()
}

/// The directory of a name such as `DOCUMENTS` (xdg-user-dirs); where the user has not said, its usual one.
fn user_directory(name: &str, user_dirs: &str, home: &Path) -> Option<PathBuf> {
    let key = format!("XDG_{name}_DIR=");
    let said = user_dirs
        .lines()
        .find_map(|line| line.trim().strip_prefix(key.as_str()));
    if let Some(said) = said {
        return expanded(said.trim_matches('"'), home);
    }
    let usual = match name {
        "DESKTOP" => "Desktop",
        "DOCUMENTS" => "Documents",
        "DOWNLOAD" => "Downloads",
        "MUSIC" => "Music",
        "PICTURES" => "Pictures",
        "PUBLIC_SHARE" => "Public",
        "TEMPLATES" => "Templates",
        "VIDEOS" => "Videos",
        _ => return None,
    };
    Some(home.join(usual))
}

#[cfg(test)]
mod tests {
    use super::super::super::Level::{Ok as Well, Warn};
    use super::super::super::tests::{bare_machine, is, plant};
    use super::super::tests::mounted;
    use super::*;

    #[test]
    fn it_is_spoken_of_where_it_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let machine = bare_machine(dir.path());
        is(&examine(&machine, &[]), Well, "not installed", "");
        plant(dir.path(), "usr/libexec/tracker-miner-fs-3", "");
        is(&examine(&machine, &[]), Well, "no mount of afs", "");
    }

    #[test]
    fn a_mount_on_an_indexed_directory_is_warned_of_and_one_below_is_not() {
        let indexed = [PathBuf::from("/home/ada/Documents")];
        for (at, is_warned) in [
            ("/home/ada/Documents", true),
            ("/home/ada/Documents/files", false),
            ("/home/ada/files", false),
        ] {
            let table = mounted(Path::new(at), "rw");
            let found = judge(&indexed, &table.ours().collect::<Vec<_>>());
            if is_warned {
                is(
                    &found,
                    Warn,
                    at,
                    "index-recursive-directories, index-single-directories of org",
                );
            } else {
                is(&found, Well, "no mount of afs", "");
            }
        }
    }

    #[test]
    fn the_directories_are_read_from_what_gsettings_prints() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        plant(
            home,
            ".config/user-dirs.dirs",
            "# c\nXDG_DOCUMENTS_DIR=\"$HOME/Dokumente\"\n",
        );
        let found = directories_of(
            "['&DOCUMENTS', '&MUSIC', '$HOME', '/srv/x', '&NONE', 'y']",
            home,
        );
        let expected = [
            home.join("Dokumente"),
            home.join("Music"),
            home.to_owned(),
            "/srv/x".into(),
        ];
        assert_eq!(found, expected);
        assert!(directories_of("@as []", home).is_empty());
    }
}
