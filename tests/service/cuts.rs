//! Connections that end at any byte, of a request on its way there or of an answer on its way back: a call brings all that
//! was said or an error, never something short.

use std::io::{Cursor as Bytes, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use afs::api::{ApiError, ErrorKind, FilesApi, HttpClient};
use afs::emulator::{Config, Emulator, PlantedFile};

use crate::wire::noise;
use crate::{PATIENT, api_error, client, id, newest, upload};

/// Cut at each byte up to here,
const EACH: usize = 2000;

/// and at so many of those behind it.
const SOME: usize = 200;

const LARGE: usize = 1 << 20;

/// After how many bytes a connection ends, all of which arrive.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Nowhere,
    Request(usize),
    Answer(usize),
}

/// Passes connections on to the service and cuts each as it is told.
struct Cutter {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    service: SocketAddr,
    cut: Mutex<Cut>,
    /// How many bytes the last connection has passed: of the request, of the answer.
    passed: [AtomicUsize; 2],
    is_over: AtomicBool,
}

impl Cutter {
    fn before(emulator: &Emulator) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            service: emulator.addr(),
            cut: Mutex::new(Cut::Nowhere),
            passed: Default::default(),
            is_over: AtomicBool::default(),
        });
        let cutter = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.pass_on(&stream));
            }
        });
        cutter
    }

    /// A client of its own: it has no connection yet.
    fn client(&self, cut: Cut) -> HttpClient {
        *self.shared.cut.lock().unwrap() = cut;
        client(&format!("http://{}", self.address), PATIENT)
    }

    fn passed(&self) -> [usize; 2] {
        let passed = &self.shared.passed;
        [0, 1].map(|way| passed[way].load(Ordering::SeqCst))
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn pass_on(&self, client: &TcpStream) {
        let service = TcpStream::connect(self.service).unwrap();
        client.set_nodelay(true).unwrap();
        service.set_nodelay(true).unwrap();
        let limits = match *self.cut.lock().unwrap() {
            Cut::Nowhere => [usize::MAX; 2],
            Cut::Request(bytes) => [bytes, usize::MAX],
            Cut::Answer(bytes) => [usize::MAX, bytes],
        };
        for passed in &self.passed {
            passed.store(0, Ordering::SeqCst);
        }
        thread::scope(|scope| {
            scope.spawn(|| self.copy(client, &service, 0, limits[0]));
            self.copy(&service, client, 1, limits[1]);
        });
    }

    /// Copies up to `limit` bytes. Then both sides are closed, for both ways.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, way: usize, limit: usize) {
        let mut left = limit;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let room = buffer.len().min(left);
            match from.read(&mut buffer[..room]) {
                Ok(read @ 1..) => {
                    self.passed[way].fetch_add(read, Ordering::SeqCst);
                    left -= read;
                    if to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                _ => break,
            }
        }
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The places to cut something of this length at.
fn places(length: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..length.min(EACH)).collect();
    if length > EACH {
        let drawn = noise(8 * SOME);
        let drawn = drawn.chunks(8).map(|bytes| {
            let number = u64::from_le_bytes(bytes.try_into().unwrap());
            EACH + (number % (length - EACH) as u64) as usize
        });
        places.extend(drawn);
        places.push(length - 1);
    }
    places
}

/// Makes a call uncut, and cut at each place of its request and its answer. `call` says whether all is as it should be.
fn cut_everywhere(call: impl Fn(&Emulator, &HttpClient) -> Result<(), ApiError>) {
    let emulator = Emulator::start(Config::default()).unwrap();
    let cutter = Cutter::before(&emulator);
    call(&emulator, &cutter.client(Cut::Nowhere)).unwrap();
    let lengths = cutter.passed();
    assert!(lengths.iter().all(|length| *length > 100), "{lengths:?}");
    let ways: [fn(usize) -> Cut; 2] = [Cut::Request, Cut::Answer];
    for (way, length) in ways.into_iter().zip(lengths) {
        for place in places(length) {
            let cut = way(place);
            let error = call(&emulator, &cutter.client(cut)).expect_err("it is not whole");
            assert_eq!(error.kind, ErrorKind::Interrupted, "{cut:?}: {error}");
            assert!(error.may_have_happened());
        }
    }
}

#[test]
fn an_upload_is_cut_at_any_byte() {
    cut_everywhere(|_, client| {
        let stored = client.upload(upload("a.txt", 3, Bytes::new("abc")))?;
        assert_eq!((stored.filename.as_str(), stored.size_bytes), ("a.txt", 3));
        Ok(())
    });
}

#[test]
fn a_large_upload_is_cut_anywhere() {
    let content = noise(LARGE);
    cut_everywhere(|emulator, client| {
        let body = Bytes::new(content.clone());
        let stored = client.upload(upload("a.bin", LARGE as u64, body))?;
        let held = emulator.content(stored.id.as_str()).unwrap().unwrap();
        assert!(held == content);
        Ok(())
    });
}

#[test]
fn a_listing_is_cut_at_any_byte() {
    cut_everywhere(|emulator, client| {
        if emulator.files().unwrap().is_empty() {
            emulator.bulk(1000, "file-", 1, true).unwrap();
        }
        assert_eq!(client.list(&newest())?.files.len(), 1000);
        Ok(())
    });
}

#[test]
fn metadata_are_cut_at_any_byte() {
    cut_everywhere(|emulator, client| {
        let file = emulator.plant(PlantedFile::output("a", "abc")).unwrap();
        let metadata = client.metadata(&id(&file.id))?;
        assert_eq!((metadata.filename.as_str(), metadata.size_bytes), ("a", 3));
        Ok(())
    });
}

#[test]
fn a_download_is_cut_anywhere() {
    let content = noise(LARGE);
    cut_everywhere(|emulator, client| {
        let files = emulator.files().unwrap();
        let known = files.first().map(|file| file.id.clone());
        let planted = || PlantedFile::output("a", content.clone());
        let file = known.unwrap_or_else(|| emulator.plant(planted()).unwrap().id);
        let mut download = client.download(&id(&file), 0)?;
        let mut bytes = Vec::new();
        let read = download.body.read_to_end(&mut bytes);
        assert!(content.starts_with(&bytes));
        read.map_err(|error| api_error(&error))?;
        assert_eq!(bytes.len(), LARGE);
        Ok(())
    });
}

#[test]
fn a_deletion_is_cut_at_any_byte() {
    cut_everywhere(|emulator, client| {
        let file = emulator.plant(PlantedFile::output("a", "abc")).unwrap();
        client.delete(&id(&file.id))?;
        assert_eq!(emulator.content(&file.id).unwrap(), None);
        Ok(())
    });
}
