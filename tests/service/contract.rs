//! The contract of [`FilesApi`]: what callers rely on, whatever implements it. Each case is a function of an
//! implementation and the emulator behind it; `held_by!` makes tests of all of them for one implementation.

use std::io::{self, Cursor as Bytes, Read};

use afs::api::{
    ApiError, Cursor, Dialect, Download, ErrorKind, FileId, FileMetadata, FilePage, FilesApi,
    HttpClient, ListQuery, MAX_PAGE, Scope, Upload,
};
use afs::emulator::{
    Config, Dialect as Spoken, Emulator, FaultAction, FaultMoment, FaultRule, LoggedCall,
    PlantedFile,
};

use crate::{PATIENT, client, client_of, id, upload};

/// Files in the workspace where pages matter.
const MANY: u64 = 2500;

/// 20 MB: large enough that nothing holds it by chance.
const LARGE: usize = 20_000_000;

macro_rules! held_by {
    ($name:ident, $held:path, $($case:ident),+ $(,)?) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $case() {
                    let emulator = Emulator::start(Config::default()).unwrap();
                    super::$case(&$held(&emulator), &emulator);
                }
            )+
        }
    };
}

macro_rules! held_by_http {
    ($name:ident, $held:path) => {
        held_by!(
            $name,
            $held,
            an_upload_is_described_listed_and_deleted,
            names_come_back_as_they_were,
            names_the_service_refuses_are_refused,
            one_name_may_be_carried_by_many,
            pages_go_from_the_newest_to_the_oldest,
            page_limits_are_the_services,
            files_of_sessions_are_listed_on_demand,
            outputs_are_read_exactly,
            the_rest_of_an_output_is_read_exactly,
            what_has_expired_is_told_from_what_is_gone,
            uploads_are_never_given_back,
            what_is_not_there_is_not_found,
            ids_are_opaque,
            empty_files_are_files,
            large_files_go_both_ways_unchanged,
            an_upload_without_an_answer_may_have_happened,
            an_upload_that_was_given_up_never_happened,
        );
    };
}

held_by_http!(http_client, Http::of_the_beta);
held_by_http!(http_client_ga, Http::of_today);

/// The HTTP client in one of the dialects, each of whose calls has to be in it.
struct Http<'a> {
    client: HttpClient,
    emulator: &'a Emulator,
    spoken: Spoken,
}

impl<'a> Http<'a> {
    fn of_the_beta(emulator: &'a Emulator) -> Self {
        Self::new(emulator, Dialect::Beta, Spoken::Beta)
    }

    fn of_today(emulator: &'a Emulator) -> Self {
        Self::new(emulator, Dialect::Ga { expires: None }, Spoken::Ga)
    }

    fn new(emulator: &'a Emulator, dialect: Dialect, spoken: Spoken) -> Self {
        Self {
            client: client_of(&emulator.base_url(), PATIENT, dialect),
            emulator,
            spoken,
        }
    }

    fn checked<T>(&self, answer: T) -> T {
        let requests = self.emulator.requests();
        assert!(
            requests
                .iter()
                .all(|request| request.dialect == self.spoken)
        );
        answer
    }
}

impl FilesApi for Http<'_> {
    fn upload(&self, upload: Upload) -> Result<FileMetadata, ApiError> {
        self.checked(self.client.upload(upload))
    }

    fn list(&self, query: &ListQuery) -> Result<FilePage, ApiError> {
        self.checked(self.client.list(query))
    }

    fn metadata(&self, id: &FileId) -> Result<FileMetadata, ApiError> {
        self.checked(self.client.metadata(id))
    }

    fn download(&self, id: &FileId, from: u64) -> Result<Download, ApiError> {
        self.checked(self.client.download(id, from))
    }

    fn delete(&self, id: &FileId) -> Result<(), ApiError> {
        self.checked(self.client.delete(id))
    }
}

fn listed(api: &dyn FilesApi) -> Vec<FileMetadata> {
    api.list(&ListQuery::page(Cursor::Newest)).unwrap().files
}

fn put(api: &dyn FilesApi, name: &str, body: &'static [u8]) -> FileMetadata {
    api.upload(upload(name, body.len() as u64, Bytes::new(body)))
        .unwrap()
}

/// Bytes in which no two places look alike.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn fetched(api: &dyn FilesApi, id: &FileId) -> Vec<u8> {
    let mut download = api.download(id, 0).unwrap();
    let mut bytes = Vec::new();
    download.body.read_to_end(&mut bytes).unwrap();
    assert!(
        download
            .length
            .is_none_or(|length| length == bytes.len() as u64)
    );
    bytes
}

fn an_upload_is_described_listed_and_deleted(api: &dyn FilesApi, emulator: &Emulator) {
    let file = api
        .upload(Upload {
            filename: "table.csv".to_owned(),
            mime_type: "text/csv".to_owned(),
            size: 4,
            expires_in_seconds: None,
            body: Box::new(Bytes::new("a,b\n")),
        })
        .unwrap();
    assert_eq!(file.filename, "table.csv");
    assert_eq!(file.mime_type, "text/csv");
    assert_eq!(file.size_bytes, 4);
    assert!(!file.downloadable);
    assert_eq!(file.scope, None);

    assert_eq!(api.metadata(&file.id).unwrap(), file);
    let page = api.list(&ListQuery::page(Cursor::Newest)).unwrap();
    assert_eq!(page.files, std::slice::from_ref(&file));
    assert_eq!(page.next, None);
    assert!(page.date.is_some());
    let stored = emulator.content(file.id.as_str()).unwrap();
    assert_eq!(stored.as_deref(), Some(&b"a,b\n"[..]));

    api.delete(&file.id).unwrap();
    assert_eq!(listed(api), []);
    let calls: Vec<_> = emulator.requests().iter().map(|r| r.call).collect();
    assert_eq!(
        calls,
        [
            LoggedCall::Upload,
            LoggedCall::Metadata,
            LoggedCall::List,
            LoggedCall::Delete,
            LoggedCall::List
        ],
        "one request each"
    );
}

fn names_come_back_as_they_were(api: &dyn FilesApi, _: &Emulator) {
    let longest = format!("{}.txt", "x".repeat(251));
    for name in [
        "plain.txt",
        "two  spaces and 'quotes'.md",
        "Ünïcödé 报告 \u{1f600}.pdf",
        "U\u{0308}.txt",
        "100%.txt",
        "a%2Fb;=&.txt",
        ".hidden",
        "CASE.TXT",
        "case.txt",
        "no extension",
        &longest,
    ] {
        let file = put(api, name, b"x");
        assert_eq!(file.filename, name);
        assert_eq!(api.metadata(&file.id).unwrap().filename, name);
    }
}

fn names_the_service_refuses_are_refused(api: &dyn FilesApi, emulator: &Emulator) {
    let too_long = "x".repeat(256);
    for name in [
        "say \"hi\"",
        "a<b",
        "a:b",
        "what?",
        "*",
        "a|b",
        "line\nfeed",
        &too_long,
    ] {
        let error = api.upload(upload(name, 1, Bytes::new("x"))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{name:?}: {error}");
        assert_eq!(error.status, Some(400));
        assert!(error.request_id.is_some());
        assert!(!error.may_have_happened());
    }
    assert_eq!(emulator.files().unwrap(), []);
}

fn one_name_may_be_carried_by_many(api: &dyn FilesApi, _: &Emulator) {
    let (old, new) = (put(api, "same", b"1"), put(api, "same", b"22"));
    assert_ne!(old.id, new.id);
    assert_eq!(listed(api), [new, old]);
}

/// Follows the cursors, at most as far as there are files.
fn follow(api: &dyn FilesApi, limit: u16) -> Vec<Vec<FileId>> {
    let mut pages = Vec::new();
    let mut cursor = Cursor::Newest;
    loop {
        let query = ListQuery {
            limit,
            ..ListQuery::page(cursor)
        };
        let page = api.list(&query).unwrap();
        assert!(page.files.len() <= usize::from(limit));
        pages.push(page.files.into_iter().map(|file| file.id).collect());
        let Some(next) = page.next else {
            return pages;
        };
        cursor = next;
        assert!(pages.len() <= 3, "an endless listing");
    }
}

fn pages_go_from_the_newest_to_the_oldest(api: &dyn FilesApi, emulator: &Emulator) {
    emulator.bulk(MANY, "f", 1, true).unwrap();
    for (limit, sizes) in [(MAX_PAGE, [1000, 1000, 500]), (900, [900, 900, 700])] {
        let pages = follow(api, limit);
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        let seen: Vec<&str> = pages.iter().flatten().map(FileId::as_str).collect();
        let files = emulator.files().unwrap();
        assert!(files.is_sorted_by(|a, b| a.created_at >= b.created_at));
        assert!(
            seen.iter().eq(files.iter().map(|file| &file.id)),
            "all of them, in their order"
        );
    }
}

fn page_limits_are_the_services(api: &dyn FilesApi, _: &Emulator) {
    for (limit, good) in [(0, false), (1, true), (1000, true), (1001, false)] {
        let query = ListQuery {
            limit,
            ..ListQuery::page(Cursor::Newest)
        };
        match api.list(&query) {
            Ok(_) => assert!(good, "{limit}"),
            Err(error) => assert!(!good && error.kind == ErrorKind::Refused, "{error}"),
        }
    }
}

fn files_of_sessions_are_listed_on_demand(api: &dyn FilesApi, emulator: &Emulator) {
    let unscoped = put(api, "mine", b"1");
    let scoped = emulator
        .plant(PlantedFile {
            session: Some("sesn_1".to_owned()),
            ..PlantedFile::output("theirs", *b"22")
        })
        .unwrap();
    assert_eq!(listed(api), [unscoped]);
    let session = |session: &str| {
        let query = ListQuery {
            scope_id: Some(session.to_owned()),
            ..ListQuery::page(Cursor::Newest)
        };
        api.list(&query).unwrap().files
    };
    let [file] = <[_; 1]>::try_from(session("sesn_1")).unwrap();
    assert_eq!(file.id.as_str(), scoped.id);
    let scope = Scope {
        id: "sesn_1".to_owned(),
    };
    assert_eq!(file.scope, Some(scope));
    assert_eq!(api.metadata(&file.id).unwrap(), file);
    assert_eq!(session("sesn_2"), []);
}

fn outputs_are_read_exactly(api: &dyn FilesApi, emulator: &Emulator) {
    for length in [1, 4095, 65_536, 300_001] {
        let content = pattern(length);
        let planted = emulator
            .plant(PlantedFile::output("a/b.bin", content.clone()))
            .unwrap();
        let id = id(&planted.id);
        let file = api.metadata(&id).unwrap();
        assert!(file.downloadable);
        assert_eq!(file.filename, "a/b.bin", "tools name files as they like");
        assert_eq!(file.size_bytes, length as u64);
        assert!(api.download(&id, 0).unwrap().request_id.is_some());
        assert_eq!(fetched(api, &id), content);
    }
}

fn the_rest_of_an_output_is_read_exactly(api: &dyn FilesApi, emulator: &Emulator) {
    let content = pattern(300_001);
    let planted = emulator.plant(PlantedFile::output("f", content.clone()));
    let id = id(&planted.unwrap().id);
    assert!(api.download(&id, 0).unwrap().honours_ranges, "it says so");
    for from in [0, 1, 65_536, 300_000] {
        let mut download = api.download(&id, from).unwrap();
        assert_eq!((download.start, download.honours_ranges), (from, true));
        assert!(
            download
                .length
                .is_none_or(|length| length == 300_001 - from)
        );
        let mut bytes = Vec::new();
        download.body.read_to_end(&mut bytes).unwrap();
        assert!(bytes == content[from as usize..], "from {from}");
    }
    let error = api.download(&id, 300_001).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
}

#[test]
fn a_service_without_ranges_sends_the_whole_file_and_says_where_it_begins() {
    let mut config = Config::default();
    config.switches.ranges = false;
    let emulator = Emulator::start(config).unwrap();
    let api = client(&emulator.base_url(), PATIENT);
    let content = pattern(10_000);
    let planted = emulator.plant(PlantedFile::output("f", content.clone()));
    let id = id(&planted.unwrap().id);
    for from in [0, 5_000] {
        let mut download = api.download(&id, from).unwrap();
        assert_eq!((download.start, download.honours_ranges), (0, false));
        let mut bytes = Vec::new();
        download.body.read_to_end(&mut bytes).unwrap();
        assert!(bytes == content);
    }
}

/// The beta does not tell times, and refuses with the same code.
fn what_has_expired_is_told_from_what_is_gone(api: &dyn FilesApi, emulator: &Emulator) {
    let expiring = emulator.plant(PlantedFile {
        expires_at: Some("2020-01-01T00:00:00Z".parse().unwrap()),
        ..PlantedFile::output("old", *b"bytes")
    });
    let id = id(&expiring.unwrap().id);
    let error = api.download(&id, 0).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Expired, "{error}");
    assert!(!error.is_transient() && !error.may_have_happened());
    assert_eq!(listed(api)[0].id, id);
    assert_eq!(api.metadata(&id).unwrap(), listed(api)[0]);
    api.delete(&id).unwrap();
    assert_eq!(api.download(&id, 0).unwrap_err().kind, ErrorKind::NotFound);
}

fn uploads_are_never_given_back(api: &dyn FilesApi, _: &Emulator) {
    let file = put(api, "mine", b"bytes");
    let error = api.download(&file.id, 0).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotDownloadable, "{error}");
    assert!(!error.is_transient());
}

fn what_is_not_there_is_not_found(api: &dyn FilesApi, _: &Emulator) {
    let gone = put(api, "gone", b"1").id;
    api.delete(&gone).unwrap();
    for id in [
        &gone,
        &id("file_never"),
        &id("other"),
        &id("a/../b c?d#e%"),
        &id("ä\n"),
    ] {
        for error in [
            api.metadata(id).unwrap_err(),
            api.download(id, 0).unwrap_err(),
            api.delete(id).unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::NotFound, "{id}: {error}");
            assert!(error.request_id.is_some());
        }
    }
    assert_eq!(api.metadata(&id("")).unwrap_err().kind, ErrorKind::Refused);
}

fn ids_are_opaque(api: &dyn FilesApi, emulator: &Emulator) {
    let long = format!("-_{}", "x".repeat(198));
    for name in ["a-_", "file_0123456789abcdef0123456789-_ABCDEFGHI", &long] {
        let planted = PlantedFile {
            id: Some(name.to_owned()),
            ..PlantedFile::output("f", name)
        };
        emulator.plant(planted).unwrap();
        let id = id(name);
        assert_eq!(listed(api)[0].id, id);
        assert_eq!(api.metadata(&id).unwrap().id, id);
        assert_eq!(fetched(api, &id), name.as_bytes());
        api.delete(&id).unwrap();
        assert_eq!(api.metadata(&id).unwrap_err().kind, ErrorKind::NotFound);
    }
}

fn empty_files_are_files(api: &dyn FilesApi, emulator: &Emulator) {
    assert_eq!(put(api, "empty", b"").size_bytes, 0);
    let void = emulator.plant(PlantedFile::output("void", *b"")).unwrap();
    assert_eq!(fetched(api, &id(&void.id)), b"");
}

fn large_files_go_both_ways_unchanged(api: &dyn FilesApi, emulator: &Emulator) {
    let content = pattern(LARGE);
    let body = Bytes::new(content.clone());
    let file = api.upload(upload("up", LARGE as u64, body)).unwrap();
    let stored = emulator.content(file.id.as_str()).unwrap();
    assert!(stored.as_ref() == Some(&content));

    let planted = emulator.plant(PlantedFile::output("down", content.clone()));
    let mut download = api.download(&id(&planted.unwrap().id), 0).unwrap();
    // In pieces of an odd size, as a reader may.
    let mut piece = vec![0; 7919];
    let mut rest = content.as_slice();
    loop {
        let n = download.body.read(&mut piece).unwrap();
        if n == 0 {
            break;
        }
        assert!(rest.starts_with(&piece[..n]));
        rest = &rest[n..];
    }
    assert!(rest.is_empty());
}

fn an_upload_without_an_answer_may_have_happened(api: &dyn FilesApi, emulator: &Emulator) {
    emulator.set_faults(vec![FaultRule {
        when: FaultMoment::AfterEffect,
        ..FaultRule::new(FaultAction::DropAnswer)
    }]);
    let error = api.upload(upload("a", 1, Bytes::new("x"))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Interrupted, "{error}");
    assert!(error.may_have_happened());
    emulator.clear_faults();
    assert_eq!(listed(api).len(), 1, "and here it has");
    let uploads = |r: &&afs::emulator::LoggedRequest| r.call == LoggedCall::Upload;
    assert_eq!(emulator.requests().iter().filter(uploads).count(), 1);
}

fn an_upload_that_was_given_up_never_happened(api: &dyn FilesApi, emulator: &Emulator) {
    let half = io::repeat(7).take(5_000_000);
    let error = api.upload(upload("half", 10_000_000, half)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Body);
    assert_eq!(listed(api), []);
    assert_eq!(emulator.files().unwrap(), []);
}
