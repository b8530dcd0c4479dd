//! Room on the local disk. Below a limit new content is refused before it is written: what is left is for what was taken
//! in already, which has to reach the outbox and the service.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::lock;

/// The limit where nobody sets one, unless a hundredth of the disk is less.
const USUAL_LIMIT: u64 = 2 << 30;

/// What a hundredth has to be at least, on a disk that has four times as much: a look at the disk counts for
/// [`LASTS_FOR`] bytes, and the database must have room to note what is removed.
const LEAST_LIMIT: u64 = 64 << 20;

/// How long a look at the disk counts, and for how many bytes: small writes don't cost a system call each.
const LASTS: Duration = Duration::from_secs(1);
const LASTS_FOR: u64 = 16 << 20;

/// How long it counts that there is no room: somebody is making some, perhaps.
const FULL_LASTS: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Space {
    /// Somewhere on the disk.
    dir: PathBuf,
    /// So many bytes stay free.
    limit: u64,
    look: Mutex<Look>,
}

/// The last look at the disk.
#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    /// Bytes that were free.
    free: u64,
    /// Bytes taken in since.
    since: u64,
    /// What did not fit, while it does not.
    refused: Option<u64>,
}

impl Look {
    fn is_stale(&self, now: Instant) -> bool {
        let lasts = if self.refused.is_some() {
            FULL_LASTS
        } else {
            LASTS
        };
        self.since >= LASTS_FOR
            || self
                .at
                .is_none_or(|at| now.saturating_duration_since(at) >= lasts)
    }
}

/// The limit of a disk of so many bytes.
fn usual_limit(disk: u64) -> u64 {
    USUAL_LIMIT.min((disk / 100).max(LEAST_LIMIT.min(disk / 4)))
}

impl Space {
    /// Keeps `limit` bytes free on the disk of `dir`; `None`: the usual.
    pub(super) fn new(dir: &Path, limit: Option<u64>) -> io::Result<Self> {
        let limit = match limit {
            Some(limit) => limit,
            None => usual_limit(sizes(dir)?.1),
        };
        Ok(Self {
            dir: dir.to_owned(),
            limit,
            look: Mutex::default(),
        })
    }

    /// Fails with `StorageFull` where `growth` more bytes would be too many.
    pub(super) fn take(&self, growth: u64) -> io::Result<()> {
        if self.limit == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut look = lock(&self.look);
        if look.is_stale(now) {
            look.free = sizes(&self.dir)?.0;
            look.at = Some(now);
            look.since = 0;
        }
        let fits = |growth: u64| look.free >= self.limit.saturating_add(growth);
        if !fits(growth) {
            if look.refused.replace(growth).is_none() {
                self.tell_full();
            }
            return Err(io::ErrorKind::StorageFull.into());
        }
        if look.refused.is_some_and(fits) {
            look.refused = None;
            log::info!(
                "there is room again on the disk of {}: writing goes on",
                self.dir.display()
            );
        }
        look.since += growth;
        Ok(())
    }

    /// The same for who must not wait for a disk: `false` where it would have to be looked at, or there is no room.
    pub(super) fn take_now(&self, growth: u64) -> bool {
        if self.limit == 0 {
            return true;
        }
        let Ok(mut look) = self.look.try_lock() else {
            return false;
        };
        let fits = look.free >= self.limit.saturating_add(growth);
        if look.is_stale(Instant::now()) || look.refused.is_some() || !fits {
            return false;
        }
        look.since += growth;
        true
    }

    fn tell_full(&self) {
        log::error!(
            "writing is refused: less than {} bytes would stay free on the disk of {}; remove something there, or mount \
             with a smaller --min-free. Reading, deleting and uploading go on",
            self.limit,
            self.dir.display()
        );
    }
}

/// What a disk has for files of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this user may still write.
    pub free: u64,
    /// Bytes that stay free unless somebody sets another limit: below that, new content is refused.
    pub reserve: u64,
}

impl Room {
    /// That of the disk of `dir`.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let (free, size) = sizes(dir)?;
        Ok(Self {
            free,
            reserve: usual_limit(size),
        })
    }
}

/// Bytes that this user may still write to the disk of `dir`, and its size.
fn sizes(dir: &Path) -> io::Result<(u64, u64)> {
    let found = statvfs(dir)?;
    let block = found.fragment_size();
    Ok((
        block.saturating_mul(found.blocks_available()),
        block.saturating_mul(found.blocks()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_limit_is_a_part_of_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (_, size) = sizes(dir.path()).unwrap();
        let space = Space::new(dir.path(), None).unwrap();
        assert_eq!(space.limit, usual_limit(size));
        assert_eq!(Room::of(dir.path()).unwrap().reserve, space.limit);
        for (disk, limit) in [
            (8 << 20, 2 << 20),
            (300 << 20, 64 << 20),
            (20 << 30, 20 * (1 << 30) / 100),
            (1 << 40, 2 << 30),
        ] {
            assert_eq!(usual_limit(disk), limit);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let none = Space::new(dir.path(), Some(0)).unwrap();
        none.take(u64::MAX).unwrap();
        let much = Space::new(dir.path(), Some(u64::MAX)).unwrap();
        let error = much.take(1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_is_too_large_leaves_room_for_what_is_small() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path(), Some(1)).unwrap();
        space.take(u64::MAX).unwrap_err();
        space.take(1).unwrap();
    }

    #[test]
    fn who_must_not_wait_lives_by_the_last_look() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path(), Some(1)).unwrap();
        assert!(!space.take_now(1), "nobody has looked yet");
        space.take(1).unwrap();
        assert!(space.take_now(1));
        assert!(
            !space.take_now(u64::MAX),
            "no room: that is for others to say"
        );
        assert!(space.take_now(LASTS_FOR));
        assert!(!space.take_now(1), "too much was taken since");
        assert!(Space::new(dir.path(), Some(0)).unwrap().take_now(u64::MAX));
    }

    #[test]
    fn a_look_counts_for_a_while_and_for_some_bytes() {
        let at = Instant::now();
        let look = |refused, since| Look {
            at: Some(at),
            free: 0,
            since,
            refused,
        };
        for (look, after_ms, is_stale) in [
            (look(None, 0), 999, false),
            (look(None, 0), 1000, true),
            (look(Some(1), 0), 99, false),
            (look(Some(1), 0), 100, true),
            (look(None, LASTS_FOR), 0, true),
        ] {
            let now = at + Duration::from_millis(after_ms);
            assert_eq!(look.is_stale(now), is_stale, "{look:?} {after_ms}");
        }
    }
}
