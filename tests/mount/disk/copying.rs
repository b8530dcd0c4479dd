//! What is copied when content is changed that is not to change: as much of it as stays.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afs::disk::{Disk, Step, Watch};

use crate::harness::{World, eventually, pattern};
use crate::surface::{Direct, Ground, Setup, Surface};

/// Counts bytes that are written.
#[derive(Debug, Default)]
struct Written(AtomicU64);

impl Watch for Written {
    fn before(&self, step: &Step<'_>) -> std::io::Result<()> {
        if let Step::Write { len, .. } = step {
            self.0.fetch_add(*len, Ordering::SeqCst);
        }
        Ok(())
    }
}

fn start(world: &World, dir: &Path, written: &Arc<Written>) -> Direct {
    let path = |name| {
        let path = dir.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let ground = Ground {
        api: Ground::client(world),
        disk: Disk::watched(Arc::clone(written) as _),
        state: path("state"),
        cache: path("cache"),
    };
    Direct::start_on(ground, &Setup::default()).unwrap()
}

/// `truncate -s` of a kept copy of 500 MB copied it whole, to throw most of it away.
#[test]
fn cutting_a_kept_copy_copies_what_stays_of_it() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let written = Arc::new(Written::default());
    let direct = start(&world, dir.path(), &written);
    let fs: &dyn Surface = &direct;
    let mut content = pattern(8 << 20);
    fs.put("f", &content).unwrap();
    // Staged, in memory and then staged, in the record; and longer again.
    for size in [(3 << 20) + 5, 2 << 20, 300_000, 1000, 2 << 20] {
        let copied = size.min(content.len()) as u64;
        written.0.store(0, Ordering::SeqCst);
        fs.truncate("f", size as u64).unwrap();
        eventually("it is sent", || direct.state().pending().is_empty());
        assert_eq!(written.0.load(Ordering::SeqCst), copied, "{size}");
        content.resize(size, 0);
        assert!(fs.get("f").unwrap() == content, "{size}");
        assert!(world.stored_bytes("f") == content, "{size}");
    }
    Box::new(direct).end();
}

/// What is written after a copy goes into the copy alone.
#[test]
fn writing_into_a_kept_copy_copies_it_once() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let written = Arc::new(Written::default());
    let direct = start(&world, dir.path(), &written);
    let fs: &dyn Surface = &direct;
    let mut content = pattern(3 << 20);
    fs.put("f", &content).unwrap();
    written.0.store(0, Ordering::SeqCst);
    let fd = fs.open("f", libc::O_RDWR).unwrap();
    fs.pwrite(fd, 1_000_000, b"changed").unwrap();
    fs.close(fd).unwrap();
    eventually("it is sent", || direct.state().pending().is_empty());
    assert_eq!(written.0.load(Ordering::SeqCst), (3 << 20) + 7);
    content[1_000_000..1_000_007].copy_from_slice(b"changed");
    assert!(fs.get("f").unwrap() == content);
    assert!(world.stored_bytes("f") == content);
    Box::new(direct).end();
}
