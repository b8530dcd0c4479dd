//! A file's bytes: where they are, how they come in, how they go out.
//!
//! Small ones stay in memory (or in the database's row), large ones go to a file of their own while they arrive,
//! imported ones stay where the user has them, and *synthetic* ones exist only while they are read.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ids::mix;

/// Bodies up to this size need no file of their own.
const SMALL: usize = 32 * 1024;

/// How many bytes of small bodies are held in memory in all; then they get files too.
const MEMORY: u64 = 128 * 1024 * 1024;

/// How much is read or made at once. Smaller pieces cost throughput, larger ones memory.
pub(super) const CHUNK: usize = 512 * 1024;

/// How many pieces may wait between a disk and a socket.
const QUEUE: usize = 4;

/// Where a file's bytes are.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Here.
    Memory(Bytes),
    /// In the file's row of the database.
    Row,
    /// In a file of the emulator's own.
    File(PathBuf),
    /// In a file of the user's, which is only ever read.
    Imported(PathBuf),
    /// Nowhere: computed from this number.
    Synthetic(u64),
}

/// Bytes on their way out.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A source of bytes that blocks.
pub(super) type Reader = Box<dyn Read + Send>;

/// The directory of large bodies.
#[derive(Debug)]
pub(super) struct Shelter {
    directory: PathBuf,
    /// Bodies have to survive the machine, and small ones go to the database.
    durable: bool,
    in_memory: Arc<AtomicU64>,
    _temporary: Option<TempDir>,
}

impl Shelter {
    /// One that ends with the process.
    pub(super) fn temporary() -> io::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("afs-emulator-").tempdir()?;
        Ok(Self {
            directory: temporary.path().to_owned(),
            durable: false,
            in_memory: Arc::default(),
            _temporary: Some(temporary),
        })
    }

    /// One that stays.
    pub(super) fn durable(directory: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            durable: true,
            in_memory: Arc::default(),
            _temporary: None,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Removes every file that `is_known` does not know: what was half received when the process died.
    pub(super) fn sweep(&self, is_known: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(&is_known) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Takes in a body of unknown length.
    pub(super) fn receive(self: &Arc<Self>) -> Incoming {
        Incoming {
            shelter: Arc::clone(self),
            small: BytesMut::new(),
            size: 0,
            writer: None,
        }
    }

    /// Takes in a body that is here already.
    pub(super) fn receive_now(&self, body: Vec<u8>) -> io::Result<Received> {
        let size = body.len() as u64;
        let body = if body.len() <= SMALL && self.has_room_in_memory(body.len()) {
            ReceivedBody::Small(body.into())
        } else {
            let mut file = self.new_file()?;
            file.write_all(&body)?;
            self.settle(&file)?;
            ReceivedBody::Large(file)
        };
        Ok(Received { size, body })
    }

    fn new_file(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix("")
            .tempfile_in(&self.directory)
    }

    /// Makes sure that a file outlives the machine, where it is to.
    fn settle(&self, file: &NamedTempFile) -> io::Result<()> {
        if self.durable {
            file.as_file().sync_all()?;
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(())
    }

    /// A small body of this size is held in memory from now on.
    pub(super) fn remember(&self, size: usize) {
        self.in_memory.fetch_add(size as u64, Ordering::Relaxed);
    }

    /// One of this size is gone.
    pub(super) fn forget(&self, size: usize) {
        self.in_memory.fetch_sub(size as u64, Ordering::Relaxed);
    }

    fn has_room_in_memory(&self, size: usize) -> bool {
        self.durable || self.in_memory.load(Ordering::Relaxed) + size as u64 <= MEMORY
    }
}

/// A body while it comes in. Dropped before [`Incoming::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Incoming {
    shelter: Arc<Shelter>,
    small: BytesMut,
    size: u64,
    writer: Option<Writer>,
}

/// A body that is here whole and, with a durable shelter, on the disk. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) size: u64,
    pub(super) body: ReceivedBody,
}

/// Where a received body waits.
#[derive(Debug)]
pub(super) enum ReceivedBody {
    Small(Bytes),
    Large(NamedTempFile),
}

impl Incoming {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) async fn write(&mut self, data: Bytes) {
        self.size += data.len() as u64;
        if let Some(writer) = &self.writer {
            return writer.send(data).await;
        }
        let total = self.small.len() + data.len();
        if total <= SMALL && self.shelter.has_room_in_memory(total) {
            self.small.extend_from_slice(&data);
            return;
        }
        let writer = Writer::start(Arc::clone(&self.shelter));
        writer.send(self.small.split().freeze()).await;
        writer.send(data).await;
        self.writer = Some(writer);
    }

    pub(super) async fn finish(self) -> io::Result<Received> {
        let body = match self.writer {
            Some(writer) => ReceivedBody::Large(writer.finish().await?),
            None => ReceivedBody::Small(self.small.freeze()),
        };
        Ok(Received {
            size: self.size,
            body,
        })
    }
}

/// A thread that writes what it is sent, so that socket and disk work at the same time.
#[derive(Debug)]
struct Writer {
    data: mpsc::Sender<Bytes>,
    task: JoinHandle<io::Result<NamedTempFile>>,
}

impl Writer {
    fn start(shelter: Arc<Shelter>) -> Self {
        let (data, mut arriving) = mpsc::channel::<Bytes>(QUEUE);
        let task = tokio::task::spawn_blocking(move || {
            let mut file = shelter.new_file()?;
            while let Some(piece) = arriving.blocking_recv() {
                file.write_all(&piece)?;
            }
            shelter.settle(&file)?;
            Ok(file)
        });
        Self { data, task }
    }

    async fn send(&self, piece: Bytes) {
        // The thread ends early only when it can't write; `finish` says why.
        let _ = self.data.send(piece).await;
    }

    async fn finish(self) -> io::Result<NamedTempFile> {
        drop(self.data);
        self.task.await.map_err(io::Error::other)?
    }
}

impl Content {
    /// Reads `length` bytes from `offset`. `row` gives the bytes of a body that is in the database.
    pub(super) fn open(
        &self,
        offset: u64,
        length: u64,
        row: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Reader> {
        Ok(match self {
            Self::Memory(bytes) => Box::new(Cursor::new(slice(bytes, offset, length))),
            Self::Row => Box::new(Cursor::new(slice(&row()?.into(), offset, length))),
            Self::File(path) | Self::Imported(path) => {
                Box::new(open_file(path, offset)?.take(length))
            }
            Self::Synthetic(seed) => Box::new(Synthetic {
                seed: *seed,
                position: offset,
                end: offset + length,
            }),
        })
    }
}

fn slice(bytes: &Bytes, offset: u64, length: u64) -> Bytes {
    let start = (offset as usize).min(bytes.len());
    let end = (start + length as usize).min(bytes.len());
    bytes.slice(start..end)
}

fn open_file(path: &Path, offset: u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    Ok(file)
}

/// The next piece of a body of which `left` bytes are still to come. A source that ends early is an error.
pub(super) fn next_piece(reader: &mut Reader, left: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; left.min(CHUNK as u64) as usize];
    reader.read_exact(&mut piece)?;
    Ok(piece.into())
}

/// Reads ahead of the socket in a thread of its own.
pub(super) fn stream(mut reader: Reader, length: u64) -> Chunks {
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let mut left = length;
        while left > 0 {
            let piece = next_piece(&mut reader, left);
            left -= piece.as_ref().map_or(left, |piece| piece.len() as u64);
            if sender.blocking_send(piece).is_err() {
                return; // The client has gone.
            }
        }
    });
    Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)))
}

/// The SHA-256 of all that a reader gives, in hexadecimal.
pub(super) fn sha256(mut reader: Reader, length: u64) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut left = length;
    while left > 0 {
        let piece = next_piece(&mut reader, left)?;
        hash.update(&piece);
        left -= piece.len() as u64;
    }
    Ok(hash
        .finalize()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
            text
        }))
}

/// Text of no meaning, in lines of 64 bytes, the same for the same seed.
#[derive(Debug)]
struct Synthetic {
    seed: u64,
    position: u64,
    end: u64,
}

impl Synthetic {
    /// Eight characters, those from `8 * index`.
    fn word(&self, index: u64) -> [u8; 8] {
        let noise = mix(self.seed.rotate_left(40) ^ index);
        // All eight bytes at once: six bits of noise each, moved to the printable characters from '0' on.
        let mut word = ((noise & 0x3f3f_3f3f_3f3f_3f3f) + 0x3030_3030_3030_3030).to_le_bytes();
        if index % 8 == 7 {
            word[7] = b'\n';
        }
        word
    }
}

impl Read for Synthetic {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = (self.end - self.position).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < wanted {
            let word = self.word(self.position / 8);
            let rest = &word[(self.position % 8) as usize..];
            let count = rest.len().min(wanted - done);
            buffer[done..done + count].copy_from_slice(&rest[..count]);
            done += count;
            self.position += count as u64;
        }
        Ok(done)
    }
}
