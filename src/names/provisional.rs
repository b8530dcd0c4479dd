//! *Provisional* names: those that programs give to files they are about to rename or remove, and that real files may
//! have as well. A save under such a name is durable here at once and goes to the service when the name has lasted for
//! a moment, or when the file got another one: then it is sent once, under that.
//!
//! One list, each pattern with the program it comes from. A real file that matches loses nothing but the moment.

/// What random letters a program makes names of.
type Letters = fn(u8) -> bool;

fn alphanumeric(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

fn alphabetic(c: u8) -> bool {
    c.is_ascii_alphabetic()
}

fn lower_or_digit(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_'
}

/// The shapes of temporary names.
enum Pattern {
    /// Exactly this.
    Whole(&'static str),
    /// Something, and this at its end.
    Ends(&'static str),
    /// This, and so many random letters.
    Random(&'static str, usize, Letters),
    /// The same, and perhaps an extension.
    RandomStem(&'static str, usize, Letters),
    /// This, something, a dot and so many random letters.
    Around(&'static str, usize, Letters),
}

use Pattern::{Around, Ends, Random, RandomStem, Whole};

const PATTERNS: &[Pattern] = &[
    // vim, to see whether it may create files here
    Whole("4913"),
    // rsync: .name.XXXXXX
    Around(".", 6, alphanumeric),
    // QSaveFile of Qt (Kate, Okular): name.XXXXXX, letters only; see `is_mixed`
    Around("", 6, alphabetic),
    // sed -i
    Random("sed", 6, alphanumeric),
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

/// Whether a file of this name may be about to get another one.
#[must_use]
pub fn is_provisional(name: &str) -> bool {
    PATTERNS.iter().any(|pattern| pattern.matches(name))
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        let all = |random: &str, count: usize, letters: Letters| {
            random.len() == count && random.bytes().all(letters)
        };
        match *self {
            Whole(whole) => name == whole,
            Ends(end) => name.strip_suffix(end).is_some_and(|rest| !rest.is_empty()),
            Random(start, count, letters) => name
                .strip_prefix(start)
                .is_some_and(|random| all(random, count, letters)),
            RandomStem(start, count, letters) => name
                .strip_prefix(start)
                .map(|rest| rest.split_once('.').map_or(rest, |(stem, _)| stem))
                .is_some_and(|random| all(random, count, letters)),
            Around(start, count, letters) => name
                .strip_prefix(start)
                .and_then(|rest| rest.rsplit_once('.'))
                .is_some_and(|(middle, random)| {
                    !middle.is_empty()
                        && all(random, count, letters)
                        && (!start.is_empty() || is_mixed(random))
                }),
        }
    }
}

/// Whether letters look random rather than like an extension: both cases, and not only its first letter is a capital.
fn is_mixed(letters: &str) -> bool {
    let is_capital = |c: u8| c.is_ascii_uppercase();
    letters.bytes().skip(1).any(is_capital) && !letters.bytes().all(is_capital)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_programs_make_up_are_provisional() {
        for name in [
            "4913",
            ".report.pdf.Xa91Qz",
            ".a.abcdef",
            "notes.md.aBcDeF",
            "sedAb12Cd",
            "tmpk3_x9a0q",
            "tmpk3_x9a0q.json",
            "tmp.Zk3x9a0qLp",
            "data.db-journal",
            "data.db-wal",
            "data.db-shm",
            "report.tmp",
            "~WRD0001.tmp",
            "report.temp",
            "settings.json.vsctmp",
            "Main.java___jb_tmp___",
            "Main.java___jb_old___",
            "video.mp4.part",
            "video.mp4.1f2e3d4c.partial",
            "image.iso.filepart",
        ] {
            assert!(is_provisional(name), "{name}");
        }
    }

    /// They match, and are only sent a moment later.
    #[test]
    fn some_real_files_are_called_so_too() {
        for name in [".env.sample", "sedentary", "chapter.part"] {
            assert!(is_provisional(name), "{name}");
        }
    }

    #[test]
    fn near_misses_are_ordinary() {
        for name in [
            "",
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
            assert!(!is_provisional(name), "{name}");
        }
    }
}
