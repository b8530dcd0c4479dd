//! What is done: lists of system calls drawn by chance, on a few names and descriptors, so that they meet.

use std::fmt;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rustix::fs::OFlags;

/// Names of one list.
pub(super) const NAMES: usize = 4;

/// Descriptors that can be open at a time.
pub(super) const SLOTS: usize = 5;

/// Calls in one list.
pub(super) const OPERATIONS: usize = 30;

/// Contents up to the first are stored in a record, up to the second they are in memory while they are written, beyond
/// it in a file.
const INLINE: u64 = 64 * 1024;
const MEMORY: u64 = 1024 * 1024;

/// One system call. Names and slots are numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Open {
        slot: usize,
        name: usize,
        flags: Flags,
    },
    Close(usize),
    Dup {
        slot: usize,
        to: usize,
    },
    Read {
        slot: usize,
        len: usize,
    },
    Pread {
        slot: usize,
        offset: u64,
        len: usize,
    },
    Write {
        slot: usize,
        len: usize,
    },
    Pwrite {
        slot: usize,
        offset: u64,
        len: usize,
    },
    Seek {
        slot: usize,
        whence: Whence,
        offset: i64,
    },
    Ftruncate {
        slot: usize,
        size: u64,
    },
    Truncate {
        name: usize,
        size: u64,
    },
    /// Mode 0.
    Fallocate {
        slot: usize,
        offset: u64,
        len: u64,
    },
    /// `copy_file_range(2)`, at the descriptors' positions where no offset is given.
    Copy {
        from: usize,
        at: Option<u64>,
        to: usize,
        into: Option<u64>,
        len: usize,
    },
    Sendfile {
        from: usize,
        at: Option<u64>,
        to: usize,
        len: usize,
    },
    Fsync(usize),
    Fdatasync(usize),
    Stat(usize),
    Fstat(usize),
    Utimens {
        name: usize,
        atime: Time,
        mtime: Time,
    },
    Futimens {
        slot: usize,
        atime: Time,
        mtime: Time,
    },
    Rename {
        from: usize,
        to: usize,
        no_replace: bool,
    },
    Unlink(usize),
    Rmdir(usize),
    Chmod(usize),
    List,
    Mkdir(usize),
    Mkfifo(usize),
    Symlink(usize),
    Link {
        from: usize,
        to: usize,
    },
}

/// How a file is opened; shown by names.
#[derive(Clone, Copy)]
pub(super) struct Flags(pub(super) OFlags);

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.0 & OFlags::ACCMODE {
            OFlags::WRONLY => "WRONLY",
            OFlags::RDWR => "RDWR",
            _ => "RDONLY",
        };
        let rest = self.0 - OFlags::ACCMODE;
        f.write_str(mode)?;
        rest.iter_names()
            .try_for_each(|(name, _)| write!(f, "|{name}"))
    }
}

/// From where lseek(2) counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whence {
    Set,
    Cur,
    End,
    Data,
    Hole,
}

/// A time for utimensat(2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    Now,
    Omit,
    /// So many nanoseconds after [`super::side::LONG_AGO`].
    At(i64),
}

/// One list.
#[derive(Clone)]
pub(super) struct List {
    /// Whether all there is to see is looked at after each call: that may hide what a cache keeps too long.
    pub(super) is_watched: bool,
    pub(super) ops: Vec<Op>,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watched = if self.is_watched { ", watched" } else { "" };
        writeln!(f, "{} calls{watched}", self.ops.len())?;
        self.ops.iter().try_for_each(|op| writeln!(f, "  {op:?}"))
    }
}

fn name() -> impl Strategy<Value = usize> {
    0..NAMES
}

fn slot() -> impl Strategy<Value = usize> {
    0..SLOTS
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..400_u64,
        3 => 4_000..4_200_u64,
        2 => INLINE - 100..INLINE + 100,
        1 => MEMORY - 200..MEMORY + 200,
    ]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(0),
        8 => 1..300_usize,
        3 => 4_000..4_200_usize,
        2 => INLINE as usize - 100..INLINE as usize + 5_000,
        1 => 120_000..300_000_usize,
    ]
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 8 => offset()]
}

fn flags() -> impl Strategy<Value = Flags> {
    let mode = prop_oneof![
        1 => Just(OFlags::RDONLY),
        1 => Just(OFlags::WRONLY),
        4 => Just(OFlags::RDWR),
    ];
    let one = |weight, flag| {
        option::weighted(weight, Just(flag)).prop_map(|flag| flag.unwrap_or(OFlags::empty()))
    };
    let rest = (
        one(0.75, OFlags::CREATE),
        one(0.1, OFlags::EXCL),
        one(0.25, OFlags::TRUNC),
        one(0.2, OFlags::APPEND),
        one(0.05, OFlags::DSYNC),
        one(0.02, OFlags::DIRECTORY),
        one(0.03, OFlags::NOFOLLOW),
    );
    (mode, rest).prop_map(|(mode, (a, b, c, d, e, f, g))| Flags(mode | a | b | c | d | e | f | g))
}

fn whence() -> impl Strategy<Value = Whence> {
    prop::sample::select(
        &[
            Whence::Set,
            Whence::Cur,
            Whence::End,
            Whence::Data,
            Whence::Hole,
        ][..],
    )
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        Just(Time::Now),
        Just(Time::Omit),
        (0..1_000_000_000_000_i64).prop_map(Time::At),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![content(), content(), descriptors(), metadata(), directory(),]
}

fn content() -> impl Strategy<Value = Op> {
    let at = || option::weighted(0.5, offset());
    prop_oneof![
        6 => (slot(), len()).prop_map(|(slot, len)| Op::Read { slot, len }),
        6 => (slot(), offset(), len())
            .prop_map(|(slot, offset, len)| Op::Pread { slot, offset, len }),
        10 => (slot(), len()).prop_map(|(slot, len)| Op::Write { slot, len }),
        8 => (slot(), offset(), len())
            .prop_map(|(slot, offset, len)| Op::Pwrite { slot, offset, len }),
        4 => (slot(), size()).prop_map(|(slot, size)| Op::Ftruncate { slot, size }),
        3 => (name(), size()).prop_map(|(name, size)| Op::Truncate { name, size }),
        2 => (slot(), offset(), 0..5_000_u64)
            .prop_map(|(slot, offset, len)| Op::Fallocate { slot, offset, len }),
        3 => (slot(), at(), slot(), at(), len())
            .prop_map(|(from, at, to, into, len)| Op::Copy { from, at, to, into, len }),
        2 => (slot(), at(), slot(), len())
            .prop_map(|(from, at, to, len)| Op::Sendfile { from, at, to, len }),
    ]
}

fn descriptors() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (slot(), name(), flags())
            .prop_map(|(slot, name, flags)| Op::Open { slot, name, flags }),
        6 => slot().prop_map(Op::Close),
        2 => (slot(), slot()).prop_map(|(slot, to)| Op::Dup { slot, to }),
        5 => (slot(), whence(), -300..5_000_i64)
            .prop_map(|(slot, whence, offset)| Op::Seek { slot, whence, offset }),
    ]
}

fn metadata() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => slot().prop_map(Op::Fsync),
        1 => slot().prop_map(Op::Fdatasync),
        3 => name().prop_map(Op::Stat),
        3 => slot().prop_map(Op::Fstat),
        3 => (name(), time(), time())
            .prop_map(|(name, atime, mtime)| Op::Utimens { name, atime, mtime }),
        2 => (slot(), time(), time())
            .prop_map(|(slot, atime, mtime)| Op::Futimens { slot, atime, mtime }),
        1 => name().prop_map(Op::Chmod),
    ]
}

fn directory() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (name(), name(), any::<bool>())
            .prop_map(|(from, to, no_replace)| Op::Rename { from, to, no_replace }),
        6 => name().prop_map(Op::Unlink),
        4 => Just(Op::List),
        1 => name().prop_map(Op::Rmdir),
        1 => name().prop_map(Op::Mkdir),
        1 => name().prop_map(Op::Mkfifo),
        1 => name().prop_map(Op::Symlink),
        1 => (name(), name()).prop_map(|(from, to)| Op::Link { from, to }),
    ]
}

pub(super) fn list() -> impl Strategy<Value = List> {
    // Without an open file there is little to do.
    let first = name().prop_map(|name| Op::Open {
        slot: 0,
        name,
        flags: Flags(OFlags::RDWR | OFlags::CREATE),
    });
    (any::<bool>(), first, vec(op(), OPERATIONS - 1)).prop_map(|(is_watched, first, mut ops)| {
        ops.insert(0, first);
        List { is_watched, ops }
    })
}
