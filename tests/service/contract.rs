//! The contract of [`FilesApi`]: what callers rely on, whatever implements it. Each case is a function of an
//! implementation and the emulator behind it; `held_by!` makes tests of all of them for one implementation.

use std::collections::HashSet;
use std::io::{self, Cursor as Bytes, Read};

use afs::api::{
    Cursor, ErrorKind, FileId, FileMetadata, FilesApi, ListQuery, MAX_PAGE, Scope, Upload,
};
use afs::emulator::{
    Config, Emulator, FaultAction, FaultMoment, FaultRule, LoggedCall, PlantedFile,
};

use crate::{PATIENT, client, id, upload};

/// Files in the workspace where pages matter.
const MANY: u64 = 2500;

/// 20 MB: large enough that nothing holds it by chance.
const LARGE: usize = 20_000_000;

macro_rules! held_by {
    ($name:ident, $connect:expr, $($case:ident),+ $(,)?) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $case() {
                    let emulator = Emulator::start(Config::default()).unwrap();
                    super::$case(&$connect(&emulator), &emulator);
                }
            )+
        }
    };
}

held_by!(
    http_client,
    |emulator: &Emulator| client(&emulator.base_url(), PATIENT),
    an_upload_is_described_listed_and_deleted,
    names_come_back_as_they_were,
    names_the_service_refuses_are_refused,
    one_name_may_be_carried_by_many,
    pages_go_from_the_newest_to_the_oldest,
    pages_go_back_as_well,
    page_limits_are_the_services,
    files_of_sessions_are_listed_on_demand,
    outputs_are_read_exactly,
    the_rest_of_an_output_is_read_exactly,
    uploads_are_never_given_back,
    what_is_not_there_is_not_found,
    ids_are_opaque,
    empty_files_are_files,
    large_files_go_both_ways_unchanged,
    an_upload_without_an_answer_may_have_happened,
    an_upload_that_was_given_up_never_happened,
);

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
    assert!(!page.has_more);
    assert_eq!(page.first_id.as_ref(), Some(&file.id));
    assert_eq!(page.last_id.as_ref(), Some(&file.id));
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
fn follow(api: &dyn FilesApi, first: Cursor, next: impl Fn(FileId) -> Cursor) -> Vec<Vec<FileId>> {
    let mut pages = Vec::new();
    let mut cursor = first;
    loop {
        let page = api.list(&ListQuery::page(cursor.clone())).unwrap();
        assert!(page.files.len() <= usize::from(MAX_PAGE));
        assert_eq!(page.first_id.as_ref(), page.files.first().map(|f| &f.id));
        assert_eq!(page.last_id.as_ref(), page.files.last().map(|f| &f.id));
        let on = match cursor {
            Cursor::Before(_) => page.first_id,
            Cursor::Newest | Cursor::After(_) => page.last_id,
        };
        pages.push(page.files.into_iter().map(|file| file.id).collect());
        match on {
            Some(id) if page.has_more => cursor = next(id),
            _ => return pages,
        }
        assert!(pages.len() <= 3, "an endless listing");
    }
}

fn pages_go_from_the_newest_to_the_oldest(api: &dyn FilesApi, emulator: &Emulator) {
    emulator.bulk(MANY, "f", 1, true).unwrap();
    let pages = follow(api, Cursor::Newest, Cursor::After);
    assert_eq!(
        pages.iter().map(Vec::len).collect::<Vec<_>>(),
        [1000, 1000, 500]
    );
    let seen: Vec<&str> = pages.iter().flatten().map(FileId::as_str).collect();
    let files = emulator.files().unwrap();
    assert!(files.is_sorted_by(|a, b| a.created_at >= b.created_at));
    assert!(
        seen.iter().eq(files.iter().map(|file| &file.id)),
        "all of them, in their order"
    );

    let small = ListQuery {
        limit: 3,
        ..ListQuery::page(Cursor::After(id(seen[0])))
    };
    let page = api.list(&small).unwrap();
    assert!(
        page.files
            .iter()
            .map(|f| f.id.as_str())
            .eq(seen[1..4].iter().copied())
    );
    assert!(page.has_more);
}

fn pages_go_back_as_well(api: &dyn FilesApi, emulator: &Emulator) {
    emulator.bulk(MANY, "f", 1, true).unwrap();
    let files = emulator.files().unwrap();
    let oldest = id(&files.last().unwrap().id);
    let pages = follow(api, Cursor::Before(oldest), Cursor::Before);
    let mut seen = HashSet::new();
    for page in &pages {
        let place = |id: &FileId| files.iter().position(|f| f.id == id.as_str()).unwrap();
        assert!(
            page.iter().map(place).is_sorted(),
            "newest first within a page"
        );
        seen.extend(page.iter().cloned());
    }
    assert_eq!(
        seen.len() as u64,
        MANY - 1,
        "all but the cursor, none twice"
    );
    assert_eq!(pages.last().unwrap().first().unwrap().as_str(), files[0].id);
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
        let page = api.list(&ListQuery::page(Cursor::After(id.clone())));
        assert_eq!(page.unwrap().files, []);
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
