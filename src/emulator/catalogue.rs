//! Which files there are and in what order: newest first, by the time of their making and then by the order of their
//! coming. All of it in memory; what keeps it over a restart is the database's business.
//!
//! A *shelf* is the ordered set a list walks along: one for the files without a session, one for each session. A
//! *range* is a run of synthetic files of which only the description is kept.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use super::config::UnknownCursor;
use super::content::Content;
use super::ids::Mint;
use super::past::{Difference, Past};

/// A place in the order: the time in microseconds, then the file's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) created_us: i64,
    pub(super) seq: u64,
}

/// A file as the emulator knows it. Never changed once it stands in the catalogue.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) place: Place,
    pub(super) id: String,
    pub(super) filename: String,
    pub(super) mime_type: String,
    pub(super) size: u64,
    pub(super) downloadable: bool,
    pub(super) session: Option<String>,
    /// When its bytes are given up; `None`: never.
    pub(super) expires_us: Option<i64>,
    pub(super) content: Content,
    /// Computed when somebody asks: hashing would cost an upload half of its speed.
    pub(super) sha256: OnceLock<String>,
}

impl Stored {
    /// When it was made. A time outside of what can be written is the epoch; none is ever taken in.
    pub(super) fn created_at(&self) -> Timestamp {
        Timestamp::from_microsecond(self.place.created_us).unwrap_or_default()
    }

    /// When its bytes are given up.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.expires_us
            .map(|us| Timestamp::from_microsecond(us).unwrap_or_default())
    }

    /// The same without its bytes.
    fn without_content(&self) -> Self {
        Self {
            place: self.place,
            id: self.id.clone(),
            filename: self.filename.clone(),
            mime_type: self.mime_type.clone(),
            size: self.size,
            downloadable: self.downloadable,
            session: self.session.clone(),
            expires_us: self.expires_us,
            content: Content::Synthetic(self.place.seq),
            sha256: OnceLock::new(),
        }
    }

    /// Whether its bytes are given up.
    pub(super) fn is_expired(&self, now_us: i64) -> bool {
        self.expires_us.is_some_and(|us| us <= now_us)
    }
}

/// A run of synthetic files.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) first: Place,
    pub(super) count: u64,
    pub(super) prefix: String,
    pub(super) size: u64,
    pub(super) downloadable: bool,
}

impl Range {
    /// Where its file number `index` stands: one microsecond and one number after the one before.
    pub(super) fn place(&self, index: u64) -> Place {
        Place {
            created_us: self.first.created_us + index as i64,
            seq: self.first.seq + index,
        }
    }

    fn file(&self, seq: u64, mint: Mint) -> Arc<Stored> {
        let index = seq - self.first.seq;
        Arc::new(Stored {
            place: self.place(index),
            id: mint.file_id(seq),
            filename: format!("{}{index:07}.txt", self.prefix),
            mime_type: "text/plain".to_owned(),
            size: self.size,
            downloadable: self.downloadable,
            session: None,
            expires_us: None,
            content: Content::Synthetic(seq),
            sha256: OnceLock::new(),
        })
    }
}

#[derive(Debug)]
enum Entry {
    File(Arc<Stored>),
    InRange(Arc<Range>),
}

/// What a list asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageQuery {
    pub(super) limit: usize,
    pub(super) cursor: Option<Cursor>,
    pub(super) session: Option<String>,
}

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cursor {
    After(String),
    Before(String),
    /// The files below a place, whether there is one in it or not.
    Below(Place),
}

/// What a list gets, newest first.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) files: Vec<Arc<Stored>>,
    /// Whether there are more in the direction of the cursor.
    pub(super) has_more: bool,
    /// Whether that direction is towards older ones.
    pub(super) goes_down: bool,
}

/// The files of the workspace.
#[derive(Debug)]
pub(super) struct Catalogue {
    mint: Mint,
    shelves: HashMap<Option<String>, BTreeMap<Place, Entry>>,
    by_id: HashMap<String, Arc<Stored>>,
    ranges: BTreeMap<u64, Arc<Range>>,
    next_seq: u64,
    newest_us: i64,
    used: u64,
    /// The sizes, within `used`, of what expires, by its time and number.
    expiring: BTreeMap<(i64, u64), u64>,
    past: Past,
}

impl Catalogue {
    pub(super) fn new(mint: Mint) -> Self {
        Self {
            mint,
            shelves: HashMap::new(),
            by_id: HashMap::new(),
            ranges: BTreeMap::new(),
            next_seq: 1,
            newest_us: 0,
            used: 0,
            expiring: BTreeMap::new(),
            past: Past::default(),
        }
    }

    /// The place for a file that comes now: later than every other, however fast they come.
    pub(super) fn next_place(&self, now_us: i64) -> Place {
        Place {
            created_us: now_us.max(self.newest_us + 1),
            seq: self.next_seq,
        }
    }

    /// The place of the first of `count` files that come now: in the past, where there is room.
    pub(super) fn next_run(&self, now_us: i64, count: u64) -> Place {
        self.next_place(now_us.saturating_sub_unsigned(count))
    }

    /// What makes ids and page tokens.
    pub(super) fn mint(&self) -> Mint {
        self.mint
    }

    pub(super) fn file_id(&self, seq: u64) -> String {
        self.mint.file_id(seq)
    }

    /// How many bytes count against the quota: those of files without a session that have not expired.
    pub(super) fn used(&self, now_us: i64) -> u64 {
        let expired = self.expiring.range(..=(now_us, u64::MAX));
        self.used - expired.map(|(_, size)| size).sum::<u64>()
    }

    /// Whatever comes now is to stand above this place, also where its file is gone.
    pub(super) fn reserve(&mut self, newest: Place) {
        self.next_seq = self.next_seq.max(newest.seq + 1);
        self.newest_us = self.newest_us.max(newest.created_us);
    }

    /// Adds a file where its place says. That may be any time, the far future too, so it does not move the clock of
    /// later files; [`Catalogue::reserve`] does.
    pub(super) fn insert(&mut self, file: Arc<Stored>) {
        self.next_seq = self.next_seq.max(file.place.seq + 1);
        self.past.came(file.place.seq, 1);
        if file.session.is_none() {
            self.used += file.size;
            if let Some(expires_us) = file.expires_us {
                self.expiring
                    .insert((expires_us, file.place.seq), file.size);
            }
        }
        self.by_id.insert(file.id.clone(), Arc::clone(&file));
        self.shelves
            .entry(file.session.clone())
            .or_default()
            .insert(file.place, Entry::File(file));
    }

    /// Adds the files of a range except those that were deleted from it.
    pub(super) fn insert_range(&mut self, range: Range, is_deleted: impl Fn(u64) -> bool) {
        if range.count == 0 {
            return;
        }
        self.reserve(range.place(range.count - 1));
        self.past.came(range.first.seq, range.count);
        let range = Arc::new(range);
        let entries = self.shelves.entry(None).or_default();
        for index in 0..range.count {
            let place = range.place(index);
            if !is_deleted(place.seq) {
                entries.insert(place, Entry::InRange(Arc::clone(&range)));
                self.used += range.size;
            }
        }
        self.ranges.insert(range.first.seq, range);
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Stored>> {
        if let Some(file) = self.by_id.get(id) {
            return Some(Arc::clone(file));
        }
        let seq = self.mint.seq(id)?;
        let (_, range) = self.ranges.range(..=seq).next_back()?;
        let index = seq - range.first.seq;
        let is_there =
            index < range.count && self.shelves.get(&None)?.contains_key(&range.place(index));
        is_there.then(|| range.file(seq, self.mint))
    }

    pub(super) fn remove(&mut self, file: &Stored) {
        self.by_id.remove(&file.id);
        let Some(entries) = self.shelves.get_mut(&file.session) else {
            return;
        };
        if entries.remove(&file.place).is_none() {
            return;
        }
        self.past.went(file.without_content());
        if file.session.is_none() {
            self.used -= file.size;
            if let Some(expires_us) = file.expires_us {
                self.expiring.remove(&(expires_us, file.place.seq));
            }
        }
    }

    /// Whatever is there was always there.
    pub(super) fn forget_past(&mut self) {
        self.past.forget();
    }

    /// One page of what was there so long ago; `None` when the cursor names no file and such cursors are refused.
    pub(super) fn page(
        &self,
        query: &PageQuery,
        unknown: UnknownCursor,
        age: Duration,
    ) -> Option<Page> {
        let since = &self.past.ago(age);
        let (before, id) = match &query.cursor {
            None => return Some(self.older(query, Bound::Unbounded, since)),
            Some(Cursor::After(id)) => (false, id),
            Some(Cursor::Before(id)) => (true, id),
            Some(Cursor::Below(place)) => {
                return Some(self.older(query, Bound::Excluded(*place), since));
            }
        };
        match (self.get_then(id, since), unknown) {
            (Some(file), _) if before => Some(self.newer(query, file.place, since)),
            (Some(file), _) => Some(self.older(query, Bound::Excluded(file.place), since)),
            (None, UnknownCursor::Refused) => None,
            (None, UnknownCursor::EmptyPage) => Some(Page::default()),
            (None, UnknownCursor::Ignored) => Some(self.older(query, Bound::Unbounded, since)),
        }
    }

    /// Those of these files that were there so long ago, newest first, each once.
    pub(super) fn these(&self, ids: &[String], age: Duration) -> Page {
        let since = &self.past.ago(age);
        let found: BTreeMap<_, _> = ids
            .iter()
            .filter_map(|id| self.get_then(id, since))
            .map(|file| (file.place, file))
            .collect();
        Page {
            files: found.into_values().rev().collect(),
            ..Page::default()
        }
    }

    fn get_then(&self, id: &str, since: &Difference) -> Option<Arc<Stored>> {
        let here = self.get(id).filter(|file| !since.hides(file.place));
        here.or_else(|| since.gone(id).cloned())
    }

    /// The newest files below a place, those of sessions too.
    pub(super) fn batch(&self, below: Option<Place>, limit: usize) -> Vec<Arc<Stored>> {
        let below = below.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found: Vec<_> = self
            .shelves
            .values()
            .flat_map(|entries| entries.range((Bound::Unbounded, below)).rev().take(limit))
            .collect();
        found.sort_unstable_by_key(|(place, _)| std::cmp::Reverse(**place));
        found.truncate(limit);
        found
            .into_iter()
            .map(|(place, entry)| self.file(*place, entry))
            .collect()
    }

    fn older(&self, query: &PageQuery, from: Bound<Place>, since: &Difference) -> Page {
        let range = (Bound::Unbounded, from);
        let here = self.here(query, range, since).rev();
        let gone = Self::gone(query, range, since).rev();
        let wanted = query.limit + 1;
        let mut files: Vec<_> = here.take(wanted).chain(gone.take(wanted)).collect();
        files.sort_unstable_by_key(|file| std::cmp::Reverse(file.place));
        let has_more = files.len() > query.limit;
        files.truncate(query.limit);
        Page {
            files,
            has_more,
            goes_down: true,
        }
    }

    fn newer(&self, query: &PageQuery, than: Place, since: &Difference) -> Page {
        let range = (Bound::Excluded(than), Bound::Unbounded);
        let here = self.here(query, range, since);
        let gone = Self::gone(query, range, since);
        let wanted = query.limit + 1;
        let mut files: Vec<_> = here.take(wanted).chain(gone.take(wanted)).collect();
        files.sort_unstable_by_key(|file| file.place);
        let has_more = files.len() > query.limit;
        files.truncate(query.limit);
        files.reverse();
        Page {
            files,
            has_more,
            goes_down: false,
        }
    }

    /// The files of a range that are there and were there then, oldest first.
    fn here(
        &self,
        query: &PageQuery,
        range: (Bound<Place>, Bound<Place>),
        since: &Difference,
    ) -> impl DoubleEndedIterator<Item = Arc<Stored>> {
        let entries = self.shelves.get(&query.session).into_iter();
        entries
            .flat_map(move |entries| entries.range(range))
            .filter(|(place, _)| !since.hides(**place))
            .map(|(place, entry)| self.file(*place, entry))
    }

    /// The files of a range that were there then and have gone, oldest first.
    fn gone(
        query: &PageQuery,
        range: (Bound<Place>, Bound<Place>),
        since: &Difference,
    ) -> impl DoubleEndedIterator<Item = Arc<Stored>> {
        let gone = since.went.range(range).map(|(_, file)| file);
        gone.filter(|file| file.session == query.session).cloned()
    }

    fn file(&self, place: Place, entry: &Entry) -> Arc<Stored> {
        match entry {
            Entry::File(file) => Arc::clone(file),
            Entry::InRange(range) => range.file(place.seq, self.mint),
        }
    }
}
