//! What is there after a restart, and what is there from the start.
//!
//! A crash is played by copying the data directory while the emulator runs: what a process killed in that moment would
//! leave to its successor.

use std::fs;
use std::io::Write;
use std::path::Path;

use afs::emulator::{Config, Emulator, EmulatorError, PlantedFile, StoredFile};
use tempfile::TempDir;

use crate::wire::{Api, BOUNDARY, connect, form, noise, start, wait_until};

fn durable(data: &Path) -> Config {
    Config {
        data: Some(data.to_owned()),
        ..Config::default()
    }
}

/// The data directory as it would be found if the process were killed now.
fn crash_image(data: &Path) -> TempDir {
    let image = tempfile::tempdir().unwrap();
    copy(data, image.path());
    image
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Everything there is to know, contents included.
fn everything(emulator: &Emulator) -> Vec<(StoredFile, Vec<u8>)> {
    let files = emulator.files().unwrap();
    files
        .into_iter()
        .map(|file| {
            let content = emulator.content(&file.id).unwrap().unwrap();
            (file, content)
        })
        .collect()
}

fn fill(emulator: &Emulator, api: &Api) {
    for size in [0, 5, 32 * 1024, 100_000, 2_000_000] {
        assert_eq!(api.upload(&format!("{size}.bin"), &noise(size)).status, 200);
    }
    let odd = PlantedFile {
        id: Some("abc".to_owned()),
        session: Some("sesn_1".to_owned()),
        created_at: Some("1999-01-01T00:00:00Z".parse().unwrap()),
        ..PlantedFile::output("a/b\n", noise(50_000))
    };
    emulator.plant(odd).unwrap();
    emulator.bulk(5, "bulk-", 300, true).unwrap();
    for victim in ["5.bin", "100000.bin", "bulk-0000002.txt"] {
        let files = emulator.files().unwrap();
        let file = files.iter().find(|file| file.filename == victim).unwrap();
        assert_eq!(api.delete(&format!("/v1/files/{}", file.id)).status, 200);
    }
}

#[test]
fn everything_answered_survives_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (emulator, api) = start(durable(data.path()));
    fill(&emulator, &api);
    let before = everything(&emulator);
    assert_eq!(before.len(), 8);
    drop(emulator);
    let (emulator, api) = start(durable(data.path()));
    assert_eq!(everything(&emulator), before);
    // What comes next stands above what was there, under an id nobody ever had.
    let next = api.upload("next", b"x").ok();
    assert_eq!(api.ids("/v1/files")[0], next["id"]);
    assert!(
        next["created_at"].as_str().unwrap() > format!("{:.6}", before[0].0.created_at).as_str()
    );
}

#[test]
fn everything_answered_survives_a_crash_and_nothing_else_does() {
    let data = tempfile::tempdir().unwrap();
    let (emulator, api) = start(durable(data.path()));
    fill(&emulator, &api);
    let before = everything(&emulator);
    let contents = fs::read_dir(data.path().join("content")).unwrap().count();
    // Half an upload, large enough to have a file of its own.
    let body = form(&[(
        r#"name="file"; filename="half""#,
        Some("text/plain"),
        &noise(1_000_000),
    )]);
    let mut stream = connect(&emulator);
    write!(
        stream,
        "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(&body[..500_000]).unwrap();
    wait_until("half of it has arrived", || {
        fs::read_dir(data.path().join("content")).unwrap().count() == contents + 1
    });
    let image = crash_image(data.path());
    let (after, _) = start(durable(image.path()));
    assert_eq!(everything(&after), before);
    assert_eq!(
        fs::read_dir(image.path().join("content")).unwrap().count(),
        contents
    );
    assert!(emulator.requests().last().unwrap().ended.is_none());
}

#[test]
fn an_id_is_never_given_twice() {
    let data = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (_emulator, api) = start(durable(data.path()));
        let id = api.upload("a", b"x").ok()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(!seen.contains(&id), "{id}");
        assert_eq!(api.delete(&format!("/v1/files/{id}")).status, 200);
        seen.push(id);
    }
}

#[test]
fn a_deleted_file_takes_its_bytes_with_it() {
    let data = tempfile::tempdir().unwrap();
    let (_emulator, api) = start(durable(data.path()));
    let id = api.upload("a", &noise(100_000)).ok()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let count = || fs::read_dir(data.path().join("content")).unwrap().count();
    assert_eq!(count(), 1);
    assert_eq!(api.delete(&format!("/v1/files/{id}")).status, 200);
    assert_eq!(count(), 0);
}

#[test]
fn one_data_directory_serves_one_emulator() {
    let data = tempfile::tempdir().unwrap();
    let (_emulator, _) = start(durable(data.path()));
    let second = Emulator::start(durable(data.path())).unwrap_err();
    assert!(matches!(second, EmulatorError::Data(..)));
    assert!(
        second.to_string().contains("another emulator is using it"),
        "{second}"
    );
}

#[test]
fn without_data_nothing_stays_and_ids_are_other_ones() {
    let (emulator, api) = start(Config::default());
    let first = api.upload("a", b"x").ok()["id"].clone();
    drop(emulator);
    let (emulator, api) = start(Config::default());
    assert!(emulator.files().unwrap().is_empty());
    assert_ne!(api.upload("a", b"x").ok()["id"], first);
}

#[test]
fn a_folder_is_served_without_being_touched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("report.md"), "# Report\n").unwrap();
    fs::write(folder.path().join("large.bin"), noise(1_000_000)).unwrap();
    fs::create_dir(folder.path().join("inner")).unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = || Config {
        import: Some(folder.path().to_owned()),
        ..durable(data.path())
    };
    let (emulator, api) = start(config());
    let files = emulator.files().unwrap();
    let mut names: Vec<_> = files
        .iter()
        .map(|file| (file.filename.as_str(), file.mime_type.as_str()))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            ("large.bin", "application/octet-stream"),
            ("report.md", "text/plain")
        ]
    );
    let id = |name: &str| {
        files
            .iter()
            .find(|file| file.filename == name)
            .unwrap()
            .id
            .clone()
    };
    let large = api.get(&format!("/v1/files/{}/content", id("large.bin")));
    assert!(large.status == 200 && large.body == noise(1_000_000));
    assert_eq!(
        fs::read_dir(data.path().join("content")).unwrap().count(),
        0
    );
    // Deleted at the emulator, still the user's.
    assert_eq!(
        api.delete(&format!("/v1/files/{}", id("large.bin"))).status,
        200
    );
    assert_eq!(
        fs::read(folder.path().join("large.bin")).unwrap().len(),
        1_000_000
    );
    drop(emulator);

    // The same file has the same id, a deleted one stays deleted, a changed one is another one.
    fs::write(folder.path().join("new.txt"), "new").unwrap();
    let (emulator, _) = start(config());
    let again = emulator.files().unwrap();
    let found: Vec<_> = again.iter().map(|file| file.filename.as_str()).collect();
    assert_eq!(found, ["new.txt", "report.md"]);
    assert_eq!(
        again[1],
        files[usize::from(files[1].filename == "report.md")]
    );
    drop(emulator);
    fs::write(folder.path().join("report.md"), "# Another\n").unwrap();
    let (emulator, _) = start(config());
    let changed = emulator.files().unwrap();
    assert_ne!(
        changed
            .iter()
            .find(|file| file.filename == "report.md")
            .unwrap()
            .id,
        again[1].id
    );
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let missing = Emulator::start(Config {
        import: Some("/nonexistent/folder".into()),
        ..Config::default()
    });
    assert!(matches!(missing, Err(EmulatorError::Import(..))));
}

#[test]
fn samples_are_planted_once() {
    let data = tempfile::tempdir().unwrap();
    let config = || Config {
        seed_samples: true,
        seed_demo: true,
        ..durable(data.path())
    };
    let (emulator, api) = start(config());
    let files = emulator.files().unwrap();
    let names: Vec<_> = files.iter().map(|file| file.filename.as_str()).collect();
    let expected = [
        "THIS IS A DEMO.txt",
        "visitors-report.md",
        "visitors-chart.png",
        "visitors.csv",
    ];
    assert_eq!(names, expected);
    for file in &files {
        let reply = api.get(&format!("/v1/files/{}/content", file.id));
        assert_eq!(
            (reply.status, reply.body.len() as u64),
            (200, file.size_bytes)
        );
    }
    let chart = emulator.content(&files[2].id).unwrap().unwrap();
    assert!(chart.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(emulator.delete(&files[3].id).unwrap());
    drop(emulator);
    let (emulator, _) = start(config());
    assert_eq!(emulator.files().unwrap(), files[..3]);
}

/// Databases of the version before files expired are taken over.
#[test]
fn a_database_from_before_files_expired_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let (emulator, api) = start(durable(dir.path()));
        api.upload("a.txt", b"a").ok();
        everything(&emulator)
    };
    let database = rusqlite::Connection::open(dir.path().join("emulator.db")).unwrap();
    database
        .execute_batch("ALTER TABLE files DROP COLUMN expires_us; PRAGMA user_version = 1;")
        .unwrap();
    drop(database);
    let expiring = PlantedFile {
        expires_at: Some("2030-01-01T00:00:00Z".parse().unwrap()),
        ..PlantedFile::output("b", "b")
    };
    {
        let (emulator, _) = start(durable(dir.path()));
        assert_eq!(everything(&emulator), before);
        emulator.plant(expiring.clone()).unwrap();
    }
    let (emulator, _) = start(durable(dir.path()));
    let newest = emulator.files().unwrap().remove(0);
    assert_eq!(newest.expires_at, expiring.expires_at);
}
