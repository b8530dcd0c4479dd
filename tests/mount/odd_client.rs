//! What no server brings about: a client that panics in the middle of a call, and one that is handed a page which was
//! out of date before it was asked for, or whose service stores what it has when nobody waits for it any more. On the file system in this process, over a decorated client.

use std::io::{Cursor, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use afs::api::{
    ApiError, Call, Download, ErrorKind, FileId, FileMetadata, FilePage, FilesApi, ListQuery,
    Upload,
};
use afs::disk::Disk;

use super::harness::{World, eventually};
use super::surface::{Direct, Ground, Setup, Surface};

/// A client with a flaw.
struct Odd {
    api: Arc<dyn FilesApi>,
    /// So many uploads and deletions panic when the service has done them.
    panics: AtomicUsize,
    /// How much later the next upload takes effect than its connection breaks.
    is_late_by: Mutex<Option<Duration>>,
    /// What the next list is answered with.
    page: Mutex<Option<FilePage>>,
}

impl Odd {
    fn over(world: &World, panics: usize) -> Arc<Self> {
        Arc::new(Self {
            api: Ground::client(world),
            panics: AtomicUsize::new(panics),
            is_late_by: Mutex::default(),
            page: Mutex::default(),
        })
    }

    fn start(self: &Arc<Self>, world: &World, setup: &Setup) -> Direct {
        let directory = |name| {
            let path = world.dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let ground = Ground {
            api: Arc::clone(self) as _,
            disk: Disk::real(),
            state: directory("state"),
            cache: directory("cache"),
        };
        Direct::start_on(ground, setup).unwrap()
    }

    fn may_panic(&self) {
        let left = |panics: usize| panics.checked_sub(1);
        let strikes = self
            .panics
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
        assert!(strikes.is_err(), "a flaw that nobody has found yet");
    }
}

impl FilesApi for Odd {
    fn upload(&self, mut upload: Upload) -> Result<FileMetadata, ApiError> {
        if let Some(late_by) = self.is_late_by.lock().unwrap().take() {
            let mut bytes = Vec::new();
            upload.body.read_to_end(&mut bytes).unwrap();
            upload.body = Box::new(Cursor::new(bytes));
            let api = Arc::clone(&self.api);
            thread::spawn(move || {
                thread::sleep(late_by);
                api.upload(upload).unwrap();
            });
            let why = "the connection broke";
            return Err(ApiError::local(Call::Upload, ErrorKind::Interrupted, why));
        }
        let file = self.api.upload(upload);
        self.may_panic();
        file
    }

    fn list(&self, query: &ListQuery) -> Result<FilePage, ApiError> {
        match self.page.lock().unwrap().take() {
            Some(page) => Ok(page),
            None => self.api.list(query),
        }
    }

    fn metadata(&self, id: &FileId) -> Result<FileMetadata, ApiError> {
        self.api.metadata(id)
    }

    fn download(&self, id: &FileId, from: u64) -> Result<Download, ApiError> {
        self.api.download(id, from)
    }

    fn delete(&self, id: &FileId) -> Result<(), ApiError> {
        self.api.delete(id)?;
        self.may_panic();
        Ok(())
    }
}

/// A worker that panicked kept its record for ever: its closer hung, and nothing of the inode was sent any more.
#[test]
fn work_that_panics_is_done_in_the_end() {
    let world = World::new();
    let fs = Odd::over(&world, 1).start(&world, &Setup::default());
    let fs: &dyn Surface = &fs;
    fs.put("a", b"one").unwrap();
    assert_eq!(world.stored_bytes("a"), b"one");
    fs.put("a", b"another").unwrap();
    eventually("the version before is gone", || {
        world.all_stored("a").len() == 1
    });
    assert_eq!(world.stored_bytes("a"), b"another");
}

/// More of them than there are workers.
#[test]
fn deletions_that_panic_are_done_in_the_end() {
    const FILES: usize = 40;
    let world = World::new();
    let odd = Odd::over(&world, 0);
    let direct = odd.start(&world, &Setup::default());
    let fs: &dyn Surface = &direct;
    for n in 0..FILES {
        fs.put(&format!("file {n}"), b"text").unwrap();
    }
    odd.panics.store(FILES, Ordering::SeqCst);
    for n in 0..FILES {
        fs.unlink(&format!("file {n}")).unwrap();
    }
    eventually("all is done", || {
        direct.state().hurry();
        direct.state().pending().is_empty()
    });
    assert!(world.emulator.files().unwrap().is_empty());
}

/// The look came before the effect, and the second upload was a second file.
#[test]
fn an_upload_that_takes_effect_when_its_connection_is_gone_is_not_sent_twice() {
    let world = World::new();
    let odd = Odd::over(&world, 0);
    let mut setup = Setup::default();
    setup.conduct.settles = Duration::from_secs(3);
    let direct = odd.start(&world, &setup);
    *odd.is_late_by.lock().unwrap() = Some(Duration::from_secs(1));
    let fs: &dyn Surface = &direct;
    fs.put("a", b"text").unwrap();
    assert_eq!(world.calls().upload, 1);
    assert_eq!(world.stored_bytes("a"), b"text");
}

/// Two listings can be under way at once, and what one brings may have been read before what the other brings. A deleted
/// id was forgotten as soon as a complete listing did not show it, and an older page brought it back.
#[test]
fn a_page_that_comes_late_brings_nothing_deleted_back() {
    let world = World::new();
    let odd = Odd::over(&world, 0);
    let direct = odd.start(&world, &Setup::refreshing());
    let fs: &dyn Surface = &direct;
    fs.put("a", b"text").unwrap();
    let page = odd.api.list(&ListQuery::page(afs::api::Cursor::Newest));
    fs.unlink("a").unwrap();
    eventually("it is deleted", || direct.state().pending().is_empty());
    let deleted = afs::state::now();
    eventually("the clock moves on", || afs::state::now() > deleted);
    assert_eq!(fs.names(), [""; 0]);
    *odd.page.lock().unwrap() = Some(page.unwrap());
    assert_eq!(fs.names(), [""; 0]);
    assert!(odd.page.lock().unwrap().is_none(), "nobody asked");
    assert_eq!(world.calls().upload, 1);
}
