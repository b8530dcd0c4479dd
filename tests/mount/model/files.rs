//! What the directory has to show, and what of it has to outlive anything.
//!
//! Every file begins with its serial number, and no two writes write the same: so a version says whose it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::plan::SCRATCH;
use crate::disk::scenario::LARGE;

/// A file's name in the directory.
pub(super) type Name = &'static str;

/// Which file it is, whatever it is called.
pub(super) type Serial = u64;

/// The bytes that hold the serial number.
pub(super) const HEAD: usize = size_of::<Serial>();

/// Whose version this is; of an empty one, and of one that begins with a hole, nobody can say.
pub(super) fn serial_of(bytes: &[u8]) -> Option<Serial> {
    let head = bytes.first_chunk::<HEAD>()?;
    Some(Serial::from_le_bytes(*head)).filter(|serial| *serial > 0)
}

/// A file as the model knows it.
#[derive(Debug)]
pub(super) struct File {
    pub(super) serial: Serial,
    /// `None`: removed, or replaced.
    pub(super) name: Option<Name>,
    /// All it ever had.
    names: BTreeSet<Name>,
    /// What a reader finds.
    pub(super) now: Vec<u8>,
    /// Whether that is more than what was sealed.
    is_dirty: bool,
    /// Whether the draft has been too large for memory.
    is_staged: bool,
    /// What a crash may leave; `None`: no file.
    durable: Vec<Option<Vec<u8>>>,
    /// All that was ever sealed of it.
    versions: Vec<Vec<u8>>,
    /// What may show again under its name where it comes to nothing: versions of the files that made way for it.
    behind: Vec<Vec<u8>>,
    /// Whether anything was sealed since it was opened.
    pub(super) is_sealed: bool,
    pub(super) handles: usize,
}

/// What may be found under a name.
#[derive(Debug, Clone)]
struct Entry {
    serial: Serial,
    names: BTreeSet<Name>,
    behind: Vec<Vec<u8>>,
    allowed: Vec<Option<Vec<u8>>>,
    /// Whether it may come to nothing, and what it was about to replace show again.
    may_make_way: bool,
}

/// What may be found in the directory after a crash.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory(BTreeMap<Name, Entry>);

/// The files, and what an operation under way may lead to.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) files: Vec<File>,
    serials: Serial,
    written: u64,
    /// Directories a crash may leave now; the last one is that of the model.
    possible: Vec<Directory>,
    /// Contents sealed since the last question.
    sealed: Vec<Vec<u8>>,
    /// Versions of the files that were removed or replaced, by all the names they had.
    removed: HashMap<Name, Vec<Vec<u8>>>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            files: Vec::new(),
            serials: 0,
            written: 0,
            possible: vec![Directory::default()],
            sealed: Vec::new(),
            removed: HashMap::new(),
        }
    }

    pub(super) fn find(&self, name: Name) -> Option<usize> {
        self.files.iter().position(|file| file.name == Some(name))
    }

    /// Names and contents.
    pub(super) fn shown(&self) -> BTreeMap<String, Vec<u8>> {
        let named = self
            .files
            .iter()
            .filter_map(|file| Some((file.name?, file)));
        named
            .map(|(name, file)| (name.to_owned(), file.now.clone()))
            .collect()
    }

    /// The files that are there, whatever comes of what is under way, and not on this machine alone.
    pub(super) fn certain(&self) -> HashMap<Serial, BTreeSet<Name>> {
        let named = self
            .files
            .iter()
            .filter(|file| file.name.is_some_and(|name| name != SCRATCH));
        named
            .map(|file| (file.serial, file.names.clone()))
            .collect()
    }

    /// The scratch file, with all the names it had: what the service has of it goes when another file has its name there.
    pub(super) fn moved_aside(&self) -> Option<(Serial, BTreeSet<Name>)> {
        let file = &self.files[self.find(SCRATCH)?];
        Some((file.serial, file.names.clone()))
    }

    /// Whether these are bytes of the scratch file, or of one it has taken the place of: also of one that was removed or
    /// replaced, and still on its way when this one got the name.
    pub(super) fn is_aside(&self, bytes: &[u8]) -> bool {
        self.find(SCRATCH).is_some_and(|at| {
            let file = &self.files[at];
            let removed = file.names.iter().filter_map(|name| self.removed.get(name));
            let versions = file.versions.iter().chain(&file.behind);
            serial_of(bytes) == Some(file.serial)
                || versions
                    .chain(removed.flatten())
                    .any(|version| version == bytes)
        })
    }

    /// What has been sealed since this was asked.
    pub(super) fn take_sealed(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sealed)
    }

    /// Bytes that nobody has written before.
    pub(super) fn fresh(&mut self, file: usize, offset: usize, len: usize) -> Vec<u8> {
        self.written += 1;
        let mut state = self.written.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(len);
        if offset == 0 {
            let head = self.files[file].serial.to_le_bytes();
            bytes[..HEAD].copy_from_slice(&head);
        }
        bytes
    }

    pub(super) fn create(&mut self, name: Name) -> usize {
        self.serials += 1;
        self.files.push(File {
            serial: self.serials,
            name: Some(name),
            names: BTreeSet::from([name]),
            now: Vec::new(),
            is_dirty: true,
            is_staged: false,
            durable: vec![None],
            versions: Vec::new(),
            behind: Vec::new(),
            is_sealed: false,
            handles: 0,
        });
        self.files.len() - 1
    }

    pub(super) fn resize(&mut self, file: usize, size: usize) {
        let file = &mut self.files[file];
        if file.now.len() != size {
            file.now.resize(size, 0);
            file.changed();
        }
    }

    pub(super) fn write(&mut self, file: usize, offset: usize, data: &[u8]) {
        let file = &mut self.files[file];
        let end = offset + data.len();
        if file.now.len() < end {
            file.now.resize(end, 0);
        }
        file.now[offset..end].copy_from_slice(data);
        file.changed();
    }

    /// fsync(2), and what a rename of an open file does.
    pub(super) fn seal(&mut self, at: usize) {
        let file = &mut self.files[at];
        if file.name.is_some() && file.is_dirty {
            file.durable = vec![Some(file.now.clone())];
            file.is_dirty = false;
            file.is_staged = false;
            file.versions.push(file.now.clone());
            file.is_sealed = true;
            self.sealed.push(file.now.clone());
            self.note();
        }
    }

    /// The close of a duplicate.
    pub(super) fn flush(&mut self, at: usize) {
        let file = &mut self.files[at];
        if !file.now.is_empty() || file.durable == [None] {
            self.seal(at);
        } else if file.name.is_some() && file.is_dirty {
            // That an existing file was emptied is no promise before its last close. Without a kernel no descriptors can
            // be seen, and this may have looked like the last one.
            file.durable.push(Some(Vec::new()));
            self.sealed.push(Vec::new());
            self.note();
        }
    }

    /// The end of a handle.
    pub(super) fn release(&mut self, at: usize) {
        self.files[at].handles -= 1;
        if self.files[at].handles == 0 {
            self.seal(at);
            self.files[at].is_sealed = false;
        }
    }

    /// What is removed after it was moved aside made way for the file that has its name now.
    pub(super) fn unlink(&mut self, at: usize) {
        self.goes(at);
        for name in self.files[at].names.clone() {
            if let Some(successor) = self.find(name) {
                self.makes_way(at, successor);
            }
        }
        self.note();
    }

    /// Its name is no more. What the service has of it under a name it had before may still be on its way there: it goes
    /// when the next file of that name is there, and stays for as long as that one is moved aside.
    fn goes(&mut self, at: usize) {
        let file = &mut self.files[at];
        file.name = None;
        for name in &file.names {
            let versions = self.removed.entry(name).or_default();
            versions.extend(file.versions.iter().chain(&file.behind).cloned());
        }
    }

    fn makes_way(&mut self, old: usize, new: usize) {
        let old = &self.files[old];
        let (versions, names) = ([&old.versions[..], &old.behind].concat(), old.names.clone());
        let new = &mut self.files[new];
        new.behind.extend(versions);
        new.names.extend(names);
    }

    pub(super) fn rename(&mut self, at: usize, to: Name) {
        if self.files[at].handles > 0 {
            self.seal(at);
        }
        if let Some(over) = self.find(to).filter(|over| *over != at) {
            self.goes(over);
            self.makes_way(over, at);
        }
        let file = &mut self.files[at];
        file.name = Some(to);
        file.names.insert(to);
        self.note();
    }

    /// One more directory that may be found.
    fn note(&mut self) {
        self.possible.push(self.directory());
    }

    fn directory(&self) -> Directory {
        let named = self
            .files
            .iter()
            .filter_map(|file| Some((file.name?, file)));
        Directory(named.map(|(name, file)| (name, file.entry())).collect())
    }

    /// What was under way is acknowledged.
    pub(super) fn acknowledged(&mut self) {
        self.possible = vec![self.directory()];
    }

    /// This was found after a crash: where it is possible it is what is there from now on, closed.
    pub(super) fn found(&mut self, shown: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
        self.possible.push(self.directory());
        let Some(found) = self.possible.iter().rev().find(|one| one.allows(shown)) else {
            let possible: Vec<String> = self.possible.iter().map(Directory::told).collect();
            return Err(format!(
                "a crash left\n    {}\n  but possible is\n    {}",
                summary(shown),
                possible.join("\n    or ")
            ));
        };
        let there = shown.iter().filter_map(|(name, now)| {
            let entry = found.of(name, shown)?;
            Some(File::found(kept(name), entry.clone(), now.clone()))
        });
        self.files = there.collect();
        self.acknowledged();
        Ok(())
    }
}

impl File {
    /// What is there after a crash: closed.
    fn found(name: Name, entry: Entry, now: Vec<u8>) -> Self {
        Self {
            serial: serial_of(&now).unwrap_or(entry.serial),
            name: Some(name),
            names: entry.names,
            durable: vec![Some(now.clone())],
            versions: vec![now.clone()],
            behind: entry.behind,
            now,
            is_dirty: false,
            is_staged: false,
            is_sealed: false,
            handles: 0,
        }
    }

    fn changed(&mut self) {
        self.is_dirty = true;
        self.is_staged |= self.now.len() >= LARGE;
    }

    fn entry(&self) -> Entry {
        let mut allowed = self.durable.clone();
        // A file that was empty when its large draft was left, and that the service has nothing of, becomes an unfinished
        // draft and shows no more; what it was about to replace does.
        let may_make_way = self.is_staged && allowed.contains(&Some(Vec::new()));
        if may_make_way {
            allowed.push(None);
            allowed.extend(self.behind.iter().cloned().map(Some));
        }
        Entry {
            serial: self.serial,
            names: self.names.clone(),
            behind: [&self.versions[..], &self.behind].concat(),
            allowed,
            may_make_way,
        }
    }
}

impl Directory {
    fn allows(&self, shown: &BTreeMap<String, Vec<u8>>) -> bool {
        let is_right = |(name, entry): (&Name, &Entry)| {
            let found = shown.get(*name);
            entry
                .allowed
                .iter()
                .any(|allowed| allowed.as_ref() == found)
        };
        self.0.iter().all(is_right) && shown.keys().all(|name| self.of(name, shown).is_some())
    }

    /// The entry that says what may be found under this name. What a file that came to nothing was about to replace may
    /// have another name at the service, and shows under that one then; with a suffix where another file has it, which may
    /// be the one that came to nothing, empty.
    fn of(&self, name: &str, shown: &BTreeMap<String, Vec<u8>>) -> Option<&Entry> {
        if let Some(entry) = self.0.get(name) {
            return Some(entry);
        }
        let label = label(name);
        let has_suffix = label != name;
        self.0.iter().find_map(|(left, entry)| {
            let had_it = entry.names.iter().any(|former| *former == label);
            let is_back = if has_suffix {
                shown.contains_key(&label)
            } else {
                !shown.contains_key(*left)
            };
            let is_its = had_it && entry.behind.contains(&shown[name]);
            (entry.may_make_way && is_back && is_its).then_some(entry)
        })
    }

    fn told(&self) -> String {
        let told = self.0.iter().map(|(name, entry)| {
            let allowed: Vec<String> = entry.allowed.iter().map(Option::as_ref).map(told).collect();
            format!("{name}: {}", allowed.join(" or "))
        });
        told.collect::<Vec<_>>().join("; ")
    }
}

/// What the service calls a file of this name: without the suffix of several that it calls the same.
pub(super) fn label(name: &str) -> String {
    let (stem, extension) = match name.split_once('.') {
        Some((stem, extension)) => (stem, format!(".{extension}")),
        None => (name, String::new()),
    };
    match stem.split_once('~') {
        Some((label, suffix)) if suffix.len() == 8 => format!("{label}{extension}"),
        _ => name.to_owned(),
    }
}

/// A name for as long as the test runs. Those with a suffix are rare.
fn kept(name: &str) -> Name {
    String::from(name).leak()
}

/// Says a content by its size and where it is from.
fn told(bytes: Option<&Vec<u8>>) -> String {
    bytes.map_or("no file".to_owned(), |bytes| {
        let sum = bytes.iter().fold(0_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add((*byte).into())
        });
        let whose = serial_of(bytes).map_or("nobody".to_owned(), |serial| serial.to_string());
        format!("{} bytes of {whose} ({sum:08x})", bytes.len())
    })
}

/// Says files by name and size.
pub(super) fn summary(files: &BTreeMap<String, Vec<u8>>) -> String {
    let words = files
        .iter()
        .map(|(name, bytes)| format!("{name}: {}", told(Some(bytes))));
    words.collect::<Vec<_>>().join("; ")
}
