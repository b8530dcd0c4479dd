//! The names themselves, and the ids where they matter.

/// How many there are.
pub(super) const MANY: usize = 2_000;

/// What names are put together from: all that a directory, a path, a terminal or our own mapping could trip over.
const TOKENS: [&str; 20] = [
    "/",
    "..",
    ".",
    "%",
    "%2F",
    "%25",
    "%2E%2E",
    "\0",
    "\n",
    "\x1b[2J",
    "\u{9b}",
    "\u{202e}",
    "\u{2066}",
    "~",
    "a",
    "A",
    "\u{e9}",
    "e\u{301}",
    "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghi",
    ".md",
];

/// Whole names that are special somewhere.
pub(super) const WHOLE: [&str; 26] = [
    ".",
    "..",
    "/",
    "//",
    "/..",
    "%empty",
    "%2E",
    ".afs",
    ".afs/by-id",
    "%2Eafs",
    "\0",
    "\u{7f}",
    " ",
    "\u{feff}",
    "\u{200b}",
    "-rf",
    "*",
    "~",
    "~/.ssh/id_rsa",
    "NUL",
    "README.md",
    "readme.MD",
    ".Trash-0",
    ".notes.md.swp",
    ".fuse_hidden0000000100000001",
    "autorun.inf",
];

/// Fifty files have this name.
pub(super) const CROWDED: &str = "../minutes of the meeting.md";

/// Ids that end alike in their usual eight characters.
pub(super) const TWIN_IDS: [&str; 3] = [
    "file_011AAAAAAAAAAAANR6q4V8w",
    "file_011BBBBBBBBBBBBNR6q4V8w",
    "file_011BBBBBBBBBBBANR6q4V8w",
];

/// All names, oldest first, with the id where it matters.
pub(super) fn names_to_plant(escape: &str) -> Vec<(String, Option<&'static str>)> {
    let mut planned: Vec<(String, Option<&str>)> = vec![
        // Called as an older file is called that gives its name up.
        ("letter~NR6q4V8w.pdf".to_owned(), None),
        ("letter.pdf".to_owned(), Some(TWIN_IDS[0])),
        ("letter.pdf".to_owned(), None),
        // The same, and the one that is called so is the newest; and the ids of two files end alike.
        ("report.pdf".to_owned(), Some(TWIN_IDS[1])),
        ("report.pdf".to_owned(), Some(TWIN_IDS[2])),
        ("report.pdf".to_owned(), None),
        ("report~NR6q4V8w.pdf".to_owned(), None),
    ];
    let mut add = |name: String| planned.push((name, None));
    // Out of the mount, were they paths.
    for path in ["..", "../..", "../../..", "/tmp", "a/../..", "./.."] {
        add(format!("{path}/{escape}"));
    }
    for _ in 0..50 {
        add(CROWDED.to_owned());
    }
    for name in WHOLE.iter().chain(&WHOLE[..9]) {
        add((*name).to_owned());
    }
    for n in 0..8 {
        // Alike in far more than their first 255 bytes.
        add(format!("{}{n}.pdf", "x".repeat(400)));
        add(format!("{}{n}", "\u{1f600}".repeat(499)));
        add(format!("{}{n}", "\x01".repeat(499)));
        // One that fits, and others that begin so.
        add("y".repeat(255 + n));
    }
    let mut n = 0;
    while planned.len() < MANY {
        // A stride that is prime to 8,000 meets every combination of three once.
        let at = n * 1_237 % 8_000;
        let token = |digit: usize| TOKENS[at / 20_usize.pow(digit as u32) % 20];
        planned.push(([token(0), token(1), token(2)].concat(), None));
        n += 1;
    }
    planned
}
