//! What would become of files that are to be uploaded, told without uploading them: which the service would refuse, and
//! which would stay on this machine. No request is made.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;

use super::super::table::MountTable;
use super::super::{helper, sys};
use super::{Finding, LOOK};
use crate::api::MAX_FILE_SIZE;
use crate::control::must_be_file;
use crate::names::{NameKind, NameRules, NameStyle, VIEWS};

const CHECK: &str = "file";

/// What a mount would make of names.
#[derive(Debug, Default)]
pub struct Naming {
    /// How they are given to the service.
    pub style: NameStyle,
    /// Which stay here.
    pub rules: NameRules,
}

/// A finding for each file, in their order, and with the paths as they are given.
#[must_use]
pub fn look_at(files: &[PathBuf], naming: &Naming) -> Vec<Finding> {
    // Where nothing is known of mounts, looking at them waits for nobody less.
    let table = MountTable::read().unwrap_or_default();
    let mut directories = HashMap::new();
    files
        .iter()
        .map(|file| {
            let finding = examine(file, naming, &table, &mut directories);
            Finding {
                found: format!("{}: {}", file.display(), finding.found),
                ..finding
            }
        })
        .collect()
}

/// `answering`: the directories that were looked at before, and whether they answered.
fn examine(
    file: &Path,
    naming: &Naming,
    table: &MountTable,
    answering: &mut HashMap<PathBuf, bool>,
) -> Finding {
    match found(file, table, answering) {
        Ok(found) => judge(file.file_name().unwrap_or_default(), found.len(), naming),
        Err(finding) => finding,
    }
}

/// What an upload would find. It is not opened, which would fetch an output of a mount. What could hang is looked at from
/// outside first: directories, mount points and what links lead to.
fn found(
    file: &Path,
    table: &MountTable,
    answering: &mut HashMap<PathBuf, bool>,
) -> Result<Metadata, Finding> {
    let path = std::path::absolute(file).map_err(|error| unreadable(&error))?;
    let hangs = || {
        let found = "it does not answer: the disk or the mount it is on hangs";
        Finding::fail(CHECK, found, "afs doctor without files tells of mounts")
    };
    if let Some(directory) = path.parent() {
        let answers = answering
            .entry(directory.to_owned())
            .or_insert_with(|| helper::answers(directory, LOOK));
        if !*answers {
            return Err(hangs());
        }
    }
    let is_mount = table.at(&path).is_some();
    let is_link = || {
        path.symlink_metadata()
            .is_ok_and(|found| found.is_symlink())
    };
    if (is_mount || is_link()) && !helper::answers(&path, LOOK) {
        return Err(hangs());
    }
    let found = path.metadata().map_err(|error| unreadable(&error))?;
    match must_be_file(&found) {
        Err(error) if found.is_dir() => Err(Finding::fail(
            CHECK,
            error.to_string(),
            format!(
                "name the files in it, or make one of it: tar czf NAME.tar.gz {}",
                file.display()
            ),
        )),
        Err(error) => Err(unreadable(&error)),
        Ok(()) if !sys::may_read(&path) => Err(unreadable(&io::ErrorKind::PermissionDenied.into())),
        Ok(()) => Ok(found),
    }
}

fn unreadable(error: &io::Error) -> Finding {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "is it spelled right?",
        io::ErrorKind::PermissionDenied => "chmod u+r, or ask whom it belongs to",
        _ => "name a file of this machine that can be read",
    };
    Finding::fail(CHECK, error.to_string(), remedy)
}

/// What a name and a size mean. Of several things that are wrong the worst is said.
fn judge(name: &OsStr, size: u64, naming: &Naming) -> Finding {
    const RENAME: &str = "give it another name: afs put FILE --name NAME";
    let Some(name) = name.to_str() else {
        return Finding::fail(CHECK, "its name is no text (UTF-8)", RENAME);
    };
    if let Err(error) = naming.style.filename(name) {
        return Finding::fail(CHECK, error.to_string(), RENAME);
    }
    if name == VIEWS {
        return Finding::fail(
            CHECK,
            "a mount has a directory of its own of this name",
            RENAME,
        );
    }
    let bytes = HumanBytes(size);
    if size > MAX_FILE_SIZE {
        return Finding::fail(
            CHECK,
            format!(
                "{bytes} are more than the service takes ({})",
                HumanBytes(MAX_FILE_SIZE)
            ),
            "make it smaller, or several of it: split -b 400M",
        );
    }
    match naming.rules.kind_of(name) {
        NameKind::Junk => Finding::fail(
            CHECK,
            "by its name it is a thing of this system that nobody wants to have uploaded",
            RENAME,
        ),
        NameKind::Scratch => Finding::warn(
            CHECK,
            "by its name it is a program's own, and would stay on this machine",
            format!("{RENAME}; in a mount, mv it, or mount with --send GLOB"),
        ),
        NameKind::Provisional => Finding::warn(
            CHECK,
            "by its name it is temporary: it is sent when it has kept that for five seconds",
            format!("nothing, where it is meant so; else {RENAME}"),
        ),
        NameKind::Ordinary if size == 0 => Finding::ok(
            CHECK,
            "it is empty, and is sent when it has been so for five seconds",
        ),
        NameKind::Ordinary => Finding::ok(CHECK, format!("{bytes} to send")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::super::Level::{self, Fail, Ok as Well, Warn};
    use super::super::tests::{is, plant};
    use super::*;

    #[test]
    fn what_becomes_of_a_file_is_told_by_its_name_and_size() {
        let table: [(&str, u64, Level, &str, &str); 11] = [
            ("report.pdf", 2048, Well, "2.00 KiB to send", ""),
            ("report.pdf", MAX_FILE_SIZE, Well, "500.00 MiB to send", ""),
            (
                "report.pdf",
                MAX_FILE_SIZE + 1,
                Fail,
                "more than the service takes (500.00 MiB)",
                "split",
            ),
            ("empty", 0, Well, "it is empty", ""),
            ("a:b", 1, Fail, "no names with : in them", "--name"),
            (".afs", 1, Fail, "a directory of its own", "--name"),
            (".f.swp", 1, Warn, "would stay on this machine", "--send"),
            ("x.tmp", 1, Warn, "five seconds", "--name"),
            ("Thumbs.db", 1, Fail, "nobody wants", "--name"),
            // What is refused is said before what would only wait.
            ("a?.tmp", 1, Fail, "with ? in them", "--name"),
            ("x.tmp", MAX_FILE_SIZE + 1, Fail, "more than", "split"),
        ];
        for (name, size, level, says, remedy) in table {
            is(
                &judge(OsStr::new(name), size, &Naming::default()),
                level,
                says,
                remedy,
            );
        }
        let long = "x".repeat(256);
        is(
            &judge(OsStr::new(&long), 1, &Naming::default()),
            Fail,
            "longer than 255 bytes",
            "--name",
        );
        is(
            &judge(OsStr::from_bytes(b"\xff"), 1, &Naming::default()),
            Fail,
            "UTF-8",
            "--name",
        );
    }

    #[test]
    fn a_mounts_own_settings_count() {
        let globs = |text: &str| vec![text.parse().unwrap()];
        let naming = Naming {
            style: NameStyle::Encode,
            rules: NameRules {
                scratch: globs("*.bak"),
                send: globs("*.swp"),
            },
        };
        for (name, level) in [
            ("a:b", Well),
            ("a.bak", Warn),
            (".f.swp", Well),
            ("a\u{7}", Fail),
        ] {
            assert_eq!(judge(OsStr::new(name), 1, &naming).level, level, "{name}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        plant(dir.path(), "sub/report.pdf", "%PDF");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("sub/report.pdf", dir.path().join("link")).unwrap();
        for (name, level, says, remedy) in [
            ("sub", Fail, "the service knows files only", "tar czf"),
            ("sub/report.pdf", Well, "4 B to send", ""),
            ("link", Well, "4 B to send", ""),
            ("fifo", Fail, "it is no file", "name a file"),
            ("none", Fail, "No such file", "spelled"),
        ] {
            let path = dir.path().join(name);
            let found = look_at(std::slice::from_ref(&path), &Naming::default());
            assert_eq!(found.len(), 1);
            is(&found[0], level, says, remedy);
            assert!(found[0].found.starts_with(path.to_str().unwrap()));
        }
    }
}
