//! A workspace that is mounted in the other style than before: everything is called by its names in that at once, and
//! nothing is sent or deleted for it.

use std::time::Duration;

use afs::emulator::{ChangeKind, FaultAction, FaultAnswer, FaultRule, LoggedCall, StoredFile};
use afs::names::NameStyle;
use afs::uploader::Conduct;

use super::{encode, sorted, stored, suffix};
use crate::dropping::trashed;
use crate::harness::{World, eventually};
use crate::surface::{NEW, On, Setup, Surface, on_both};

on_both! {
    in_the_other_style_everything_is_called_so_at_once
    what_is_pending_goes_out_as_the_same_file_in_either_style
    drafts_and_what_is_given_up_have_the_names_of_the_style
    files_that_are_only_here_and_look_alike_are_told_apart
    an_overwrite_that_waits_is_the_same_in_the_other_style
}

/// With little patience for a service that is away.
fn impatient(names: NameStyle) -> Setup {
    let conduct = Conduct {
        patience: Duration::from_millis(200),
        ..Setup::default().conduct
    };
    Setup {
        names,
        conduct,
        ..Setup::default()
    }
}

/// Uploads and deletions fail until the faults change.
fn away(world: &World) {
    let rules = [LoggedCall::Upload, LoggedCall::Delete].map(|call| FaultRule {
        call: Some(call),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
    });
    world.emulator.set_faults(rules.into());
}

fn in_the_other_style_everything_is_called_so_at_once(on: On) {
    let world = World::new();
    let older = world.output("d：d.txt", b"older");
    world.output("d：d.txt", b"newer");
    world.output("plain.txt", b"plain");
    // Older than ours, and alike in one style only.
    let quoted = world.output("‛‛q", b"quoted");
    let fs = on.start(&world);
    fs.put("‛q", b"ours").unwrap();
    fs.end();
    let fs = on.start_with(&world, encode());
    fs.put("own:1", b"own").unwrap();
    fs.put("own：2", b"own too").unwrap();
    let aside =
        |start: &str, file: &StoredFile, end: &str| format!("{start}~{}{end}", suffix(file));
    let suffixed = aside("d:d", &older, ".txt");
    let other = aside("‛q", &quoted, "");
    let mut encoded = vec![
        ("d:d.txt".to_owned(), "newer"),
        (suffixed, "older"),
        ("plain.txt".to_owned(), "plain"),
        ("own:1".to_owned(), "own"),
        ("own：2".to_owned(), "own too"),
        ("‛q".to_owned(), "ours"),
        (other, "quoted"),
    ];
    let check = |fs: &dyn Surface, expected: &mut Vec<(String, &str)>| {
        expected.sort();
        let names: Vec<&String> = expected.iter().map(|(name, _)| name).collect();
        assert_eq!(fs.names().iter().collect::<Vec<_>>(), names);
        for (name, content) in expected {
            assert_eq!(fs.get(name).unwrap(), content.as_bytes(), "{name}");
        }
    };
    check(&*fs, &mut encoded);
    fs.end();
    let before = stored(&world);
    world.forget_calls();
    // Nothing can be asked for: it is the state that has the names.
    world.hang(&[LoggedCall::List]);
    let fs = on.start(&world);
    let mut strict = vec![
        ("d：d.txt".to_owned(), "newer"),
        (aside("d：d", &older, ".txt"), "older"),
        ("plain.txt".to_owned(), "plain"),
        ("own：1".to_owned(), "own"),
        ("own‛：2".to_owned(), "own too"),
        ("‛q".to_owned(), "ours"),
        (aside("‛‛q", &quoted, ""), "quoted"),
    ];
    check(&*fs, &mut strict);
    for name in ["d:d.txt", "own:1", "own：2"] {
        assert_eq!(fs.stat(name), Err(libc::ENOENT), "{name}");
    }
    fs.end();
    let fs = on.start_with(&world, encode());
    check(&*fs, &mut encoded);
    fs.end();
    world.emulator.clear_faults();
    let calls = world.calls();
    assert_eq!((calls.upload, calls.delete), (0, 0));
    assert_eq!(stored(&world), before);
}

fn what_is_pending_goes_out_as_the_same_file_in_either_style(on: On) {
    use NameStyle::{Encode, Strict};
    for (typed_in, typed, seen_in, seen, filename) in [
        (Encode, "p:1", Strict, "p：1", "p：1"),
        (Encode, "p：1", Strict, "p‛：1", "p‛：1"),
        (Strict, "p：1", Encode, "p:1", "p：1"),
        (Encode, "p:1", Encode, "p:1", "p：1"),
    ] {
        let world = World::new();
        let fs = on.start_with(&world, impatient(typed_in));
        fs.put("gone：1", b"gone").unwrap();
        away(&world);
        fs.put(typed, b"text").unwrap_err();
        world.removes("gone：1");
        world.removes("gone‛：1");
        fs.unlink("gone：1").unwrap();
        fs.kill();
        let fs = on.start_with(&world, impatient(seen_in));
        assert_eq!(fs.names(), [seen], "{typed} in {typed_in:?}");
        assert_eq!(fs.get(seen).unwrap(), b"text");
        world.emulator.clear_faults();
        fs.retry(None).unwrap();
        eventually("both are done", || stored(&world) == [filename]);
        assert_eq!(fs.names(), [seen]);
        assert_eq!(world.stored_bytes(filename), b"text");
        fs.end();
        let mut sent = world.emulator.history().unwrap();
        sent.retain(|change| change.kind == ChangeKind::Stored && change.filename == filename);
        assert_eq!(sent.len(), 1, "{typed} in {typed_in:?}");
    }
}

fn drafts_and_what_is_given_up_have_the_names_of_the_style(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, impatient(NameStyle::Encode));
    fs.put("old:1", b"before").unwrap();
    for name in ["u:1", "u:2", "old:1"] {
        let fd = fs.open(name, NEW).unwrap();
        fs.pwrite(fd, 0, name.as_bytes()).unwrap();
    }
    fs.terminate();
    let fs = on.start(&world);
    let drafts = |fs: &dyn Surface| -> Vec<String> {
        fs.unfinished().into_iter().map(|(name, _)| name).collect()
    };
    let mut names = drafts(&*fs);
    names.sort();
    assert_eq!(names, ["old：1", "u：1", "u：2"]);
    eventually("it can be sent", || fs.retry(Some("u：1")) == Ok(1));
    eventually("it is sent", || world.all_stored("u：1").len() == 1);
    fs.end();
    let fs = on.start_with(&world, impatient(NameStyle::Encode));
    names = drafts(&*fs);
    names.sort();
    assert_eq!(names, ["old:1", "u:2"]);
    assert_eq!(fs.get("old:1").unwrap(), b"before");
    let dropped = fs.drop_pending("u:2").unwrap();
    assert_eq!((dropped.len(), &*dropped[0].name), (1, "u:2"));
    assert!(trashed(&world).contains(&("u：2".to_owned(), b"u:2".to_vec())));
    eventually("it can be sent", || fs.retry(Some("old:1")) == Ok(1));
    eventually("it has replaced what was there", || {
        stored(&world) == ["old：1", "u：1"] && world.stored_bytes("old：1") == b"old:1"
    });
    // A save that is given up.
    away(&world);
    fs.put("old:1", b"after").unwrap_err();
    let mut dropped = Vec::new();
    eventually("it can be dropped", || match fs.drop_pending("old:1") {
        Ok(changes) => {
            dropped = changes;
            true
        }
        Err(_) => false,
    });
    assert_eq!((dropped.len(), &*dropped[0].name), (1, "old:1"));
    assert_eq!(fs.get("old:1").unwrap(), b"old:1");
    assert_eq!(fs.names(), ["old:1", "u:1"]);
}

fn files_that_are_only_here_and_look_alike_are_told_apart(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, impatient(NameStyle::Strict));
    away(&world);
    fs.put("‛q.md", b"one").unwrap_err();
    fs.put("‛‛q.md", b"two").unwrap_err();
    fs.kill();
    let fs = on.start_with(&world, impatient(NameStyle::Encode));
    let names = fs.names();
    assert_eq!(names.len(), 2, "{names:?}");
    let aside = names.iter().find(|name| *name != "‛q.md").unwrap();
    let suffix = aside.strip_prefix("‛q~");
    assert!(
        suffix.is_some_and(|rest| rest.strip_suffix(".md").is_some()),
        "{aside}"
    );
    let mut contents = [fs.get("‛q.md").unwrap(), fs.get(aside).unwrap()];
    contents.sort();
    assert_eq!(contents, [b"one", b"two"]);
    world.emulator.clear_faults();
    fs.retry(None).unwrap();
    eventually("both are sent", || {
        stored(&world) == sorted(["‛q.md", "‛‛q.md"])
    });
    assert_eq!(world.stored_bytes("‛q.md"), b"one");
    assert_eq!(world.stored_bytes("‛‛q.md"), b"two");
    assert_eq!(fs.names(), names);
}

/// What it is to replace comes back under the name it has now, should the save be given up.
fn an_overwrite_that_waits_is_the_same_in_the_other_style(on: On) {
    for gives_up in [true, false] {
        let world = World::new();
        let older = world.output("a：b.md", b"older");
        let fs = on.start_with(&world, impatient(NameStyle::Encode));
        fs.put("a:b.md", b"newer").unwrap();
        fs.put("c:d.md", b"before").unwrap();
        let aside = format!("~{}.md", suffix(&older));
        eventually("one is there", || stored(&world).len() == 2);
        away(&world);
        fs.put("c:d.md", b"after").unwrap_err();
        fs.kill();
        let fs = on.start_with(&world, impatient(NameStyle::Strict));
        assert_eq!(fs.get("c：d.md").unwrap(), b"after");
        assert_eq!(fs.stat(&format!("a：b{aside}")), Err(libc::ENOENT));
        let expected: &[u8] = if gives_up {
            eventually("it can be dropped", || fs.drop_pending("c：d.md").is_ok());
            b"before"
        } else {
            b"after"
        };
        assert_eq!(fs.get("c：d.md").unwrap(), expected);
        world.emulator.clear_faults();
        fs.retry(None).unwrap();
        eventually("it is as it is shown", || {
            stored(&world) == ["a：b.md", "c：d.md"] && world.stored_bytes("c：d.md") == expected
        });
        assert_eq!(fs.names(), ["a：b.md", "c：d.md"]);
        fs.end();
    }
}
