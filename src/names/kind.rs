//! Names that are not ordinary. Programs make files beside the ones that people mean, and what becomes of those can be
//! told by their names:
//!
//! - *scratch*: unmistakably a program's own (a swap file, a lock, a backup, a download that is not done). Such a file is
//!   on this machine only, for as long as it has such a name.
//! - *provisional*: most often about to be renamed or removed, and real files may be called so as well. A save under such
//!   a name is durable here at once and goes to the service when the name has lasted for a moment, or when the file got
//!   another one: then it is sent once, under that.
//! - *junk*: what desktops strew into every directory. It can't be created.
//!
//! The lists are about names that are given here. What the service lists is a file like any other, whatever its name.

use crate::api::Glob;

use super::pattern::Pattern::{
    self, Around, Begins, Between, Ends, Extends, Random, RandomBetween, RandomStem, Whole,
};
use super::pattern::{alphabetic, alphanumeric, lower_or_digit};

/// What may be expected of a new file by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// It is saved when it is closed.
    Ordinary,
    /// It is saved when its name has lasted for a moment, or under the next one.
    Provisional,
    /// It is never sent under this name.
    Scratch,
    /// It is not created.
    Junk,
}

const SCRATCH: &[Pattern] = &[
    // vim's swap files: .name.swp, the next ones .swo, .swn, .swm
    Ends(".swp"),
    Between(".", ".swo"),
    Between(".", ".swn"),
    Between(".", ".swm"),
    // backups of emacs, nano, joe, vim (and its undo files, .un~), KDE's Kate; Thunar's copies on their way (.partial~)
    Ends("~"),
    // emacs: auto-save, lock
    Between("#", "#"),
    Begins(".#"),
    // Kate's swap file
    Between(".", ".kate-swp"),
    // LibreOffice: lock, the new content until it gets its name
    Between(".~lock.", "#"),
    RandomBetween("lu", lower_or_digit, ".tmp"),
    // Microsoft Office: who has it open
    Begins("~$"),
    // GLib (gedit, GNOME Text Editor, file managers): the new content until it gets its name
    Begins(".goutputstream-"),
    // browsers: Chromium, Chrome and Edge, Opera
    Ends(".crdownload"),
    Ends(".opdownload"),
    // aria2: how far a download is
    Ends(".aria2"),
    // macOS: what does not fit into a file, how a window looked
    Begins("._"),
    Whole(".DS_Store"),
];

const PROVISIONAL: &[Pattern] = &[
    // vim, to see whether it may create files here
    Whole("4913"),
    // rsync: .name.XXXXXX
    Around(".", 6, alphanumeric),
    // QSaveFile of Qt (Kate, Okular): name.XXXXXX, letters only; see `is_mixed`
    Around("", 6, alphabetic),
    // patch: name.oXXXXXX; one in 190 looks like a word (.outline, .overlay) and is sent
    Extends("o", 6, alphanumeric),
    // sed -i
    Random("sed", 6, alphanumeric),
    // perl -i
    Random("XX", 6, alphanumeric),
    // zip
    Random("zi", 6, alphanumeric),
    // Python's tempfile, a suffix may follow
    RandomStem("tmp", 8, lower_or_digit),
    // mktemp(1)
    Random("tmp.", 10, alphanumeric),
    // SQLite: rollback journal, write-ahead log, its index
    Ends("-journal"),
    Ends("-wal"),
    Ends("-shm"),
    // many: Microsoft Office, Syncthing, Go and Node programs
    Ends(".tmp"),
    Ends(".temp"),
    // git bundle
    Ends(".bundle.lock"),
    // Visual Studio Code
    Ends(".vsctmp"),
    // IDEs by JetBrains: the new file, and the old one until the new one has its name
    Ends("___jb_tmp___"),
    Ends("___jb_old___"),
    // Firefox, yt-dlp, KDE's KIO
    Ends(".part"),
    // rclone, rsync --partial-dir's users
    Ends(".partial"),
    // WinSCP
    Ends(".filepart"),
];

const JUNK: &[Pattern] = &[
    // the trash of desktops (freedesktop.org: .Trash, .Trash-UID) and of macOS (.Trashes); Windows's own
    Whole(".Trash"),
    Begins(".Trash-"),
    Whole(".Trashes"),
    Whole("$RECYCLE.BIN"),
    // macOS: indexes, versions, events
    Whole(".Spotlight-V100"),
    Whole(".DocumentRevisions-V100"),
    Whole(".TemporaryItems"),
    Whole(".fseventsd"),
    Whole(".VolumeIcon.icns"),
    // Windows, also through Samba: what to start, how a folder looks, its thumbnails
    Whole("autorun.inf"),
    Whole("Autorun.inf"),
    Whole("desktop.ini"),
    Whole("Desktop.ini"),
    Whole("Thumbs.db"),
    Whole("ehthumbs.db"),
    Whole("System Volume Information"),
    // KDE's Dolphin: how a folder looks
    Whole(".directory"),
    // file managers, of every volume
    Whole(".xdg-volume-info"),
    Whole("lost+found"),
];

/// The lists, and what the person who mounts says beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameRules {
    /// More names that are scratch.
    pub scratch: Vec<Glob>,
    /// Names that are ordinary, whatever the lists say.
    pub send: Vec<Glob>,
}

impl NameRules {
    /// What may be expected of a new file of this name.
    #[must_use]
    pub fn kind_of(&self, name: &str) -> NameKind {
        let is_in = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(name));
        if is_in(&self.send) {
            NameKind::Ordinary
        } else if is_in(&self.scratch) {
            NameKind::Scratch
        } else {
            listed(name)
        }
    }
}

fn listed(name: &str) -> NameKind {
    let is_in = |list: &[Pattern]| list.iter().any(|pattern| pattern.matches(name));
    if is_in(SCRATCH) {
        NameKind::Scratch
    } else if is_in(PROVISIONAL) {
        NameKind::Provisional
    } else if is_in(JUNK) {
        NameKind::Junk
    } else {
        NameKind::Ordinary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> NameKind {
        NameRules::default().kind_of(name)
    }

    #[test]
    fn what_is_a_programs_own_is_scratch() {
        for name in [
            ".notes.md.swp",
            "notes.md.swp",
            ".notes.md.swo",
            "notes.md~",
            "report.odt.partial~",
            ".notes.md.un~",
            "#notes.md#",
            ".#notes.md",
            ".notes.md.kate-swp",
            ".~lock.report.odt#",
            "lu21852ghkq3.tmp",
            "~$report.docx",
            ".goutputstream-7K3X91",
            "Unconfirmed 123456.crdownload",
            "video.mp4.opdownload",
            "image.iso.aria2",
            "._chart.png",
            ".DS_Store",
        ] {
            assert_eq!(kind(name), NameKind::Scratch, "{name}");
        }
    }

    #[test]
    fn what_desktops_strew_is_junk() {
        for name in [
            ".Trash",
            ".Trash-1000",
            ".Trashes",
            ".Spotlight-V100",
            "autorun.inf",
            "Thumbs.db",
            "desktop.ini",
            ".directory",
        ] {
            assert_eq!(kind(name), NameKind::Junk, "{name}");
        }
    }

    #[test]
    fn what_the_person_says_goes_before_the_lists() {
        let globs = |globs: &[&str]| globs.iter().map(|glob| glob.parse().unwrap()).collect();
        let rules = NameRules {
            scratch: globs(&["*.bak", "*.swp.txt"]),
            send: globs(&["*.swp", "keep*", "thumbs.db"]),
        };
        for (name, expected) in [
            ("a.bak", NameKind::Scratch),
            ("keep.bak", NameKind::Ordinary),
            ("a.swp", NameKind::Ordinary),
            ("Thumbs.db", NameKind::Ordinary),
            ("keep.tmp", NameKind::Ordinary),
            ("b.tmp", NameKind::Provisional),
            ("a~", NameKind::Scratch),
        ] {
            assert_eq!(rules.kind_of(name), expected, "{name}");
        }
    }

    #[test]
    fn names_that_programs_make_up_are_provisional() {
        for name in [
            "4913",
            ".report.pdf.Xa91Qz",
            ".a.abcdef",
            "notes.md.aBcDeF",
            "report.md.osZdXa7",
            "f.ogz0fmk",
            "f.o123456",
            "f.oABCDEF",
            "sedAb12Cd",
            "XX7ypWrc",
            "zirxgVKU",
            "tmpk3_x9a0q",
            "tmpk3_x9a0q.json",
            "tmp.Zk3x9a0qLp",
            "data.db-journal",
            "data.db-wal",
            "data.db-shm",
            "report.tmp",
            "~WRD0001.tmp",
            "report.temp",
            "project.bundle.lock",
            "settings.json.vsctmp",
            "Main.java___jb_tmp___",
            "Main.java___jb_old___",
            "video.mp4.part",
            "video.mp4.1f2e3d4c.partial",
            "image.iso.filepart",
        ] {
            assert_eq!(kind(name), NameKind::Provisional, "{name}");
        }
    }

    /// They match, and are only sent a moment later.
    #[test]
    fn some_real_files_are_called_so_too() {
        for name in [".env.sample", "sedentary", "zirconia", "chapter.part"] {
            assert_eq!(kind(name), NameKind::Provisional, "{name}");
        }
    }

    #[test]
    fn near_misses_are_ordinary() {
        for name in [
            "",
            "~",
            "##",
            "#",
            "a.swpx",
            "a~b.txt",
            "a~NR6q4V8w.pdf",
            "lunch",
            "#1 plan.md",
            "x.DS_Store",
            "Trash",
            "4913.txt",
            "14913",
            ".bashrc",
            ".env",
            ".env.local",
            ".env.samples",
            "..abcdef",
            ".a.abc-ef",
            "notes.md.backup",
            "notes.md.README",
            "notes.md.Backup",
            "notes.md.outline",
            "board.overlay",
            "notes.md.o12345",
            ".o123456",
            "notes.md.aBcDeFg",
            "Cargo.lock",
            "data.sqlite",
            "sed",
            "sedation",
            "sedimentary",
            "sed-12345",
            "tmp",
            "tmpk3_x9a0",
            "tmpk3_x9a0qq",
            "tmpABCDEFGH",
            "tmp.short",
            "template",
            "journal",
            "-journal",
            "my-journal.md",
            ".tmp",
            "tmp.md",
            "a.tmpl",
            "parts",
            ".part",
            "a.part1",
            "a.partially",
            "jb_tmp",
        ] {
            assert_eq!(kind(name), NameKind::Ordinary, "{name}");
        }
    }
}
