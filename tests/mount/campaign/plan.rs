//! What the writers of a round do: drawn from a seed, so that it can be had again.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A version of a file: which, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) tag: u64,
    pub(super) size: usize,
}

/// A line of content, by `content` here and in `writer.py`.
const LINE: usize = 64;

/// Even the shortest content says which version it is of.
const SHORTEST: u64 = 16;

impl Version {
    /// Its bytes: every line says which version it is of, and which line it is.
    pub(super) fn content(self) -> Vec<u8> {
        let mut text = String::with_capacity(self.size + LINE);
        for line in 0..self.size.div_ceil(LINE) {
            let _ = writeln!(text, "{:016x}{line:016x}{:.<31}", self.tag, "");
        }
        text.truncate(self.size);
        text.into_bytes()
    }

    /// The version that these bytes are, whole.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let tag = std::str::from_utf8(bytes.get(..16)?).ok()?;
        let version = Self {
            tag: u64::from_str_radix(tag, 16).ok()?,
            size: bytes.len(),
        };
        (version.content() == bytes).then_some(version)
    }
}

/// What one writer does in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// `cp`: a new file, or new content for one.
    Put {
        name: String,
        version: Version,
        chunk: usize,
        sync: bool,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
}

/// The name that all writers replace, by renames only: two that write into one file at once mix it themselves.
pub(super) const SHARED: &str = "shared.md";

/// Names of a writer's own that are only written and replaced, so that promise 3 is checked on them in full.
const STEADY: [&str; 2] = ["a", "b"];

/// Those that come and go.
const FICKLE: [&str; 4] = ["c", "d", "e", "f"];

/// How the names of files look that are renamed into place: an editor's, rsync's.
fn draft_of(writer: usize, name: &str, choice: u64) -> String {
    if choice == 0 {
        format!(".w{writer}-{name}.Ab3xYz")
    } else {
        format!("w{writer}-{name}.new")
    }
}

/// A stream of numbers (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        &these[self.below(these.len() as u64) as usize]
    }

    /// A few bytes mostly, a few megabytes at times.
    fn size(&mut self) -> usize {
        let end = [200, 5_000, 60_000, 200_000, 3_000_000][self.below(5) as usize];
        (SHORTEST + self.below(end)) as usize
    }
}

/// Plans `count` operations for a writer who begins with the names in `present`.
pub(super) fn plan(
    random: &mut Random,
    writer: usize,
    present: &BTreeSet<String>,
    count: usize,
) -> Vec<Operation> {
    let mut present = present.clone();
    let mut operations = Vec::new();
    while operations.len() < count {
        let fickle = format!("w{writer}-{}.md", random.one_of(&FICKLE));
        let any = match random.below(2) {
            0 => fickle.clone(),
            _ => format!("w{writer}-{}.md", random.one_of(&STEADY)),
        };
        match random.below(20) {
            0..8 => operations.push(put(random, &any)),
            8..12 => {
                let name = any.split(['-', '.']).nth(1).unwrap_or_default();
                let draft = draft_of(writer, name, random.below(2));
                operations.push(put(random, &draft));
                operations.push(rename(&draft, &any));
            }
            12..14 => {
                let draft = draft_of(writer, "shared", 1);
                operations.push(put(random, &draft));
                operations.push(rename(&draft, SHARED));
                continue;
            }
            14..17 if present.contains(&fickle) => {
                let to = format!("w{writer}-{}.md", random.one_of(&FICKLE));
                if to != fickle {
                    present.remove(&fickle);
                    operations.push(rename(&fickle, &to));
                    present.insert(to);
                }
                continue;
            }
            17.. if present.remove(&fickle) => {
                operations.push(Operation::Remove { name: fickle });
                continue;
            }
            _ => continue,
        }
        present.insert(any);
    }
    operations
}

fn put(random: &mut Random, name: &str) -> Operation {
    Operation::Put {
        name: name.to_owned(),
        version: Version {
            tag: random.next(),
            size: random.size(),
        },
        chunk: *random.one_of(&[4096, 65_536, 1 << 20]),
        sync: random.below(8) == 0,
    }
}

fn rename(from: &str, to: &str) -> Operation {
    Operation::Rename {
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

/// A plan as `writer.py` reads it.
pub(super) fn written(operations: &[Operation]) -> String {
    let mut text = String::new();
    for (number, operation) in operations.iter().enumerate() {
        let _ = match operation {
            Operation::Put {
                name,
                version: Version { tag, size },
                chunk,
                sync,
            } => {
                let sync = if *sync { "sync" } else { "-" };
                writeln!(text, "{number} put {name} {tag} {size} {chunk} {sync}")
            }
            Operation::Rename { from, to } => writeln!(text, "{number} rename {from} {to}"),
            Operation::Remove { name } => writeln!(text, "{number} remove {name}"),
        };
    }
    text
}

/// The names that a plan takes files from: they may be used again by its later steps.
pub(super) fn vacated(operations: &[Operation]) -> BTreeSet<&str> {
    let names = operations.iter().filter_map(|operation| match operation {
        Operation::Rename { from: name, .. } | Operation::Remove { name } => Some(name.as_str()),
        Operation::Put { .. } => None,
    });
    names.collect()
}
