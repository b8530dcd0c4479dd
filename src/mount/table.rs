//! The kernel's mount table: which mounts there are, read without touching any of them.
//!
//! `stat` of a mount whose process hangs does not come back. So whoever wants to know something of a mount point asks
//! here first.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::FILESYSTEM_TYPE;

/// One mount, as `/proc/self/mountinfo` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The mount's number.
    pub id: u64,
    /// The number of the mount it hangs below.
    pub parent: u64,
    /// The device's minor number: for FUSE also the name of the connection under `/sys/fs/fuse/connections`.
    pub minor: u32,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The type, such as `ext4` or `fuse.afs`.
    pub kind: String,
    /// What is mounted: `afs` or `afs:demo` for ours.
    pub source: String,
    /// The file system's own options, comma separated.
    pub options: String,
}

impl MountEntry {
    /// Whether it is one of this program's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.kind == FILESYSTEM_TYPE
    }

    /// Who mounted it, where it is a FUSE mount.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        self.options
            .split(',')
            .find_map(|option| option.strip_prefix("user_id="))
            .and_then(|uid| uid.parse().ok())
    }

    /// One line of the table; `None` for what cannot be read.
    fn parse(line: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = line
            .split(|b| *b == b' ')
            .filter(|f| !f.is_empty())
            .collect();
        // Between the fixed fields and the type stand any number of tags, closed by a dash of its own.
        let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
        let text = |index: usize| Some(String::from_utf8_lossy(fields.get(index)?).into_owned());
        Some(Self {
            id: text(0)?.parse().ok()?,
            parent: text(1)?.parse().ok()?,
            minor: text(2)?.split_once(':')?.1.parse().ok()?,
            mountpoint: OsString::from_vec(unescape(fields.get(4)?)).into(),
            kind: text(dash + 1)?,
            source: text(dash + 2)?,
            options: text(dash + 3).unwrap_or_default(),
        })
    }
}

/// Undoes the kernel's `\040` for a space, `\011`, `\012`, `\134` and their like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = octal {
            plain.push(byte);
            rest = &tail[3..];
        } else {
            plain.push(first);
            rest = tail;
        }
    }
    plain
}

/// All mounts this process can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountTable(Vec<MountEntry>);

impl MountTable {
    /// Asks the kernel.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    fn parse(content: &[u8]) -> Self {
        Self(
            content
                .split(|b| *b == b'\n')
                .filter_map(MountEntry::parse)
                .collect(),
        )
    }

    /// The mount that is seen at a path. Where several are stacked on one another: the uppermost.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&MountEntry> {
        let here = || self.0.iter().filter(|entry| entry.mountpoint == path);
        // A lone mount on "/" may be its own parent.
        here().find(|entry| !here().any(|above| above.parent == entry.id && above.id != entry.id))
    }

    /// This program's mounts.
    pub fn ours(&self) -> impl Iterator<Item = &MountEntry> {
        self.0.iter().filter(|entry| entry.is_ours())
    }

    /// Those of them that are a user's business: what somebody else has mounted is nobody's but theirs and root's.
    pub fn of_user(&self, uid: u32) -> impl Iterator<Item = &MountEntry> {
        self.ours()
            .filter(move |entry| uid == 0 || entry.owner().is_none_or(|owner| owner == uid))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 0:26 / /proc rw,nosuid - proc proc rw
95 22 0:53 / /home/ada/claude-files rw,nosuid,nodev,noexec shared:7 master:2 - fuse.afs afs rw,user_id=1000,group_id=1000
96 22 0:54 / /mnt/a\\040b\\134c\\012d rw - fuse.afs afs:demo rw,user_id=0
99 98 0:57 / /mnt/stack rw - fuse.afs afs rw,user_id=5
98 22 0:56 / /mnt/stack rw - tmpfs tmpfs rw
nonsense
97 22 0:55 / /mnt/short rw
";

    #[test]
    fn ours_are_found_by_their_type() {
        let table = MountTable::parse(TABLE.as_bytes());
        let minors: Vec<u32> = table.ours().map(|entry| entry.minor).collect();
        assert_eq!(minors, [53, 54, 57]);
    }

    #[test]
    fn a_users_mounts_are_those_that_the_user_has_made() {
        let table = MountTable::parse(TABLE.as_bytes());
        let minors = |uid| -> Vec<u32> { table.of_user(uid).map(|entry| entry.minor).collect() };
        assert_eq!(minors(1000), [53]);
        assert_eq!(minors(5), [57]);
        assert_eq!(minors(7), [0; 0]);
        assert_eq!(minors(0), [53, 54, 57], "root can reach them all");
    }

    #[test]
    fn an_entry_says_what_and_whose_it_is() {
        let table = MountTable::parse(TABLE.as_bytes());
        let entry = table.at(Path::new("/home/ada/claude-files")).unwrap();
        assert_eq!((entry.id, entry.parent, entry.minor), (95, 22, 53));
        assert_eq!(entry.source, "afs");
        assert_eq!(entry.owner(), Some(1000));
        assert_eq!(table.at(Path::new("/proc")).unwrap().owner(), None);
        assert_eq!(table.at(Path::new("/home/ada")), None);
    }

    #[test]
    fn escaped_names_are_read_as_they_are() {
        let table = MountTable::parse(TABLE.as_bytes());
        assert_eq!(
            table.at(Path::new("/mnt/a b\\c\nd")).unwrap().source,
            "afs:demo"
        );
        for (escaped, plain) in [
            (&b"plain"[..], &b"plain"[..]),
            (b"\\040", b" "),
            (b"a\\011b", b"a\tb"),
            (b"\\134040", b"\\040"),
            (b"end\\", b"end\\"),
            (b"end\\04", b"end\\04"),
            (b"\\999", b"\\999"),
            (b"\\777", b"\\777"),
            (b"\xff\\040\xfe", b"\xff \xfe"),
        ] {
            assert_eq!(unescape(escaped), plain);
        }
    }

    #[test]
    fn a_name_need_not_be_text() {
        let table = MountTable::parse(b"1 0 0:9 / /mnt/\xff rw - fuse.afs afs rw\n");
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/mnt/\xff"));
        assert!(table.at(path).is_some());
    }

    #[test]
    fn of_stacked_mounts_the_uppermost_is_seen_whatever_the_order() {
        let table = MountTable::parse(TABLE.as_bytes());
        assert_eq!(table.at(Path::new("/mnt/stack")).unwrap().kind, "fuse.afs");
    }

    #[test]
    fn the_root_may_be_its_own_parent() {
        let table = MountTable::parse(b"1 1 0:2 / / rw - overlay overlay rw\n");
        assert!(table.at(Path::new("/")).is_some());
    }

    #[test]
    fn the_real_table_has_a_root() {
        assert!(MountTable::read().unwrap().at(Path::new("/proc")).is_some());
    }
}
