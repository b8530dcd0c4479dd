//! `--names encode`: names that the service refuses are stored there with full-width look-alikes, and come back as they
//! were typed.

mod restyled;
mod work;

use std::time::Duration;

use afs::emulator::StoredFile;
use afs::names::NameStyle;

use super::dropping::trashed;
use super::harness::{Calls, World, eventually};
use super::surface::{NEW, On, Setup, calls_by_the_end, on_both};
use super::views::sessions;

on_both! {
    a_name_is_stored_wide_and_comes_back_as_it_was_typed
    it_costs_what_other_names_cost
    names_that_differ_in_their_quotes_only_are_files_of_their_own
    what_is_too_long_as_it_would_be_stored_is_refused_before_a_byte_is_written
    what_the_service_refuses_otherwise_stays_refused
    a_file_gets_such_a_name_by_a_rename_and_loses_it_so
    what_looks_alike_is_told_apart_by_suffixes
    what_tools_call_by_names_that_nobody_may_send_can_be_written_over
    hostile_names_lead_to_their_files_in_this_style_too
    kinds_and_media_types_are_told_by_the_name_that_was_typed
    views_show_the_names_of_the_style
}

/// Every character that is stored as another.
const ALL: &str = "<>:\"|?*\\";
const ALL_STORED: &str = "＜＞：＂｜？＊＼";

fn encode() -> Setup {
    Setup {
        names: NameStyle::Encode,
        ..Setup::default()
    }
}

/// The service's filenames, sorted.
fn stored(world: &World) -> Vec<String> {
    let files = world.emulator.files().unwrap();
    let mut names: Vec<String> = files.into_iter().map(|file| file.filename).collect();
    names.sort();
    names
}

fn sorted<const N: usize>(names: [&str; N]) -> [&str; N] {
    let mut names = names;
    names.sort_unstable();
    names
}

fn suffix(file: &StoredFile) -> &str {
    &file.id[file.id.len() - 8..]
}

fn a_name_is_stored_wide_and_comes_back_as_it_was_typed(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    let names = [
        ("Meeting 10:30.pdf", "Meeting 10：30.pdf".to_owned()),
        (ALL, ALL_STORED.to_owned()),
        ("a%2Fb:", "a%2Fb：".to_owned()),
        ("100%.txt", "100%.txt".to_owned()),
        ("it‛s.txt", "it‛s.txt".to_owned()),
        ("caf\u{e9}?", "caf\u{e9}？".to_owned()),
    ];
    for (name, filename) in &names {
        fs.put(name, name.as_bytes()).unwrap();
        assert_eq!(world.stored_bytes(filename), name.as_bytes(), "{name}");
    }
    let typed = sorted(names.each_ref().map(|(name, _)| *name));
    assert_eq!(fs.names(), typed);
    fs.end();
    // From its state, and from nothing but the listing.
    for is_known in [true, false] {
        if !is_known {
            for below in ["state", "direct-state"] {
                let _ = std::fs::remove_dir_all(world.dir.path().join(below));
            }
        }
        let fs = on.start_with(&world, encode());
        assert_eq!(fs.names(), typed, "{is_known}");
        for name in typed {
            let expected = if is_known {
                Ok(name.as_bytes().to_vec())
            } else {
                Err(libc::EACCES)
            };
            assert_eq!(fs.get(name), expected, "{name}");
        }
        fs.end();
    }
}

fn it_costs_what_other_names_cost(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    let calls = |upload, delete| Calls {
        upload,
        delete,
        ..Calls::NONE
    };
    let spent = |act: &dyn Fn(), expected: Calls| {
        world.forget_calls();
        act();
        eventually("it has cost what it costs", || {
            world.calls().but_lists() == expected
        });
    };
    spent(&|| fs.put("a:b", b"one").unwrap(), calls(1, 0));
    spent(&|| fs.put("a:b", b"one").unwrap(), calls(0, 0));
    spent(&|| assert_eq!(fs.get("a:b").unwrap(), b"one"), calls(0, 0));
    spent(&|| fs.put("a:b", b"two").unwrap(), calls(1, 1));
    spent(&|| fs.rename("a:b", "c?", 0).unwrap(), calls(1, 1));
    assert_eq!(stored(&world), ["c？"]);
    world.removes("c？");
    spent(&|| fs.unlink("c?").unwrap(), calls(0, 1));
    assert_eq!(calls_by_the_end(&world, fs), calls(0, 1));
    assert_eq!(trashed(&world).len(), 2);
}

fn names_that_differ_in_their_quotes_only_are_files_of_their_own(on: On) {
    let names = [
        ("a:b", "a：b"),
        ("a：b", "a‛：b"),
        ("a‛:b", "a‛‛：b"),
        ("a‛：b", "a‛‛‛：b"),
        ("a‛b", "a‛b"),
        ("a‛‛b", "a‛‛‛b"),
        ("‛", "‛"),
        ("‛‛", "‛‛‛"),
    ];
    let world = World::new();
    let fs = on.start_with(&world, encode());
    for (name, filename) in names {
        fs.put(name, name.as_bytes()).unwrap();
        assert_eq!(world.stored_bytes(filename), name.as_bytes());
    }
    fs.end();
    let listed = Setup {
        refresh: Duration::ZERO,
        ..encode()
    };
    let fs = on.start_with(&world, listed);
    assert_eq!(fs.names(), sorted(names.map(|(name, _)| name)));
    for (name, _) in names {
        assert_eq!(fs.get(name).unwrap(), name.as_bytes());
    }
}

fn what_is_too_long_as_it_would_be_stored_is_refused_before_a_byte_is_written(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    let (longest, longer) = (":".repeat(85), ":".repeat(86));
    fs.put(&longest, b"text").unwrap();
    assert_eq!(world.stored_bytes(&"：".repeat(85)), b"text");
    world.forget_calls();
    let mixed = format!("{}:", "n".repeat(253));
    for name in [&longer, &mixed, &"n".repeat(256)] {
        assert_eq!(fs.open(name, NEW), Err(libc::ENAMETOOLONG), "{name}");
        assert_eq!(fs.rename(&longest, name, 0), Err(libc::ENAMETOOLONG));
    }
    assert_eq!(fs.names(), [longest]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn what_the_service_refuses_otherwise_stays_refused(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    fs.put("a", b"text").unwrap();
    world.forget_calls();
    for c in ['\n', '\x01', '\x7f', '\u{85}'] {
        let name = format!("a{c}:b");
        assert_eq!(fs.open(&name, NEW), Err(libc::EINVAL), "{c:?}");
        assert_eq!(fs.rename("a", &name, 0), Err(libc::EINVAL), "{c:?}");
    }
    assert_eq!(fs.names(), ["a"]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn a_file_gets_such_a_name_by_a_rename_and_loses_it_so(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    fs.put("draft", b"text").unwrap();
    fs.put("done?", b"older").unwrap();
    // Onto one that is there.
    fs.rename("draft", "done?", 0).unwrap();
    assert_eq!(fs.get("done?").unwrap(), b"text");
    eventually("it has replaced the other", || stored(&world) == ["done？"]);
    fs.rename("done?", "done", 0).unwrap();
    assert_eq!(fs.names(), ["done"]);
    eventually("it is stored so", || stored(&world) == ["done"]);
    // What was not sent yet goes out once, under its last name.
    let fd = fs.open("new", NEW).unwrap();
    fs.pwrite(fd, 0, b"new").unwrap();
    fs.rename("new", "new*", 0).unwrap();
    world.forget_calls();
    fs.close(fd).unwrap();
    assert_eq!(world.stored_bytes("new＊"), b"new");
    assert_eq!(world.calls().upload, 1);
    fs.end();
    assert_eq!(stored(&world), ["done", "new＊"]);
}

fn what_looks_alike_is_told_apart_by_suffixes(on: On) {
    let world = World::new();
    let oldest = world.output("a：b.md", b"oldest");
    // No service would take it; what tools make may be called anything.
    let plain = world.output("a:b.md", b"plain");
    let newest = world.output("a：b.md", b"newest");
    let fs = on.start_with(&world, encode());
    let aside = |file: &StoredFile| format!("a:b~{}.md", suffix(file));
    let mut expected = ["a:b.md".to_owned(), aside(&oldest), aside(&plain)];
    expected.sort();
    assert_eq!(fs.names(), expected);
    assert_eq!(fs.get("a:b.md").unwrap(), b"newest");
    assert_eq!(fs.get(&aside(&oldest)).unwrap(), b"oldest");
    assert_eq!(fs.get(&aside(&plain)).unwrap(), b"plain");
    world.removes("a:b.md");
    fs.unlink(&aside(&plain)).unwrap();
    // A suffix stays when the newest is removed.
    world.removes("a：b.md");
    fs.unlink("a:b.md").unwrap();
    assert_eq!(fs.names(), [aside(&oldest)]);
    fs.end();
    assert!(world.emulator.content(&newest.id).unwrap().is_none());
    assert_eq!(stored(&world), ["a：b.md"]);
}

fn what_tools_call_by_names_that_nobody_may_send_can_be_written_over(on: On) {
    let world = World::new();
    world.output("a:b.md", b"made by a tool");
    let fs = on.start_with(&world, encode());
    world.removes("a:b.md");
    fs.put("a:b.md", b"ours").unwrap();
    eventually("the other is gone", || stored(&world) == ["a：b.md"]);
    assert_eq!(fs.names(), ["a:b.md"]);
    assert_eq!(fs.get("a:b.md").unwrap(), b"ours");
    fs.end();
    assert_eq!(
        trashed(&world),
        [("a：b.md".to_owned(), b"made by a tool".to_vec())]
    );
}

fn hostile_names_lead_to_their_files_in_this_style_too(on: On) {
    let world = World::new();
    let long = "：".repeat(200);
    let names = [
        "",
        "..",
        ".",
        "/",
        "a/b：",
        "a%2Fb：",
        "\n：",
        "%2E%2E",
        "：/‛：",
        "‛‛",
        "‛",
        ".afs",
        &long,
    ];
    let planted: Vec<StoredFile> = names
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| world.output(name, name.as_bytes()))
        .collect();
    for names in [NameStyle::Encode, NameStyle::Strict, NameStyle::Encode] {
        let fs = on.start_with(&world, Setup { names, ..encode() });
        let mut contents: Vec<Vec<u8>> = fs
            .names()
            .iter()
            .map(|name| {
                let is_harmless = |c: char| c != '/' && !c.is_control();
                assert!(
                    name.len() <= 255 && name.chars().all(is_harmless),
                    "{name:?}"
                );
                fs.get(name).unwrap()
            })
            .collect();
        contents.sort();
        let mut expected: Vec<Vec<u8>> = planted
            .iter()
            .map(|file| file.filename.clone().into_bytes())
            .collect();
        expected.sort();
        assert_eq!(contents, expected, "{names:?}");
        fs.end();
    }
}

fn kinds_and_media_types_are_told_by_the_name_that_was_typed(on: On) {
    let world = World::new();
    let setup = Setup {
        scratch: &["*:draft"],
        mime_types: &["*:?.log=text/x-log"],
        ..encode()
    };
    let fs = on.start_with(&world, setup);
    fs.put("a:draft", b"here").unwrap();
    fs.put("w:1.log", b"log").unwrap();
    fs.put("w:1.log", b"log again").unwrap();
    eventually("the first one is gone", || {
        world.all_stored("w：1.log").len() == 1
    });
    assert_eq!(world.stored("w：1.log").mime_type, "text/x-log");
    assert_eq!(fs.names(), ["a:draft", "w:1.log"]);
    fs.end();
    assert_eq!(stored(&world), ["w：1.log"]);
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["a：draft", "w：1.log"]);
    assert_eq!(fs.get("a：draft").unwrap(), b"here");
}

fn views_show_the_names_of_the_style(on: On) {
    let world = World::new();
    world.output("x：y.png", b"output");
    sessions::plant(&world, "sesn_1", "s：1", b"first");
    sessions::plant(&world, "sesn_1", "s：1", b"second");
    let expected = [
        (NameStyle::Encode, "x:y.png", "s:1"),
        (NameStyle::Strict, "x：y.png", "s：1"),
        (NameStyle::Encode, "x:y.png", "s:1"),
    ];
    for (names, output, scoped) in expected {
        let fs = on.start_with(&world, Setup { names, ..encode() });
        let listed = |path: &str| -> Vec<String> {
            let listed = fs.list(path).unwrap();
            listed.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(listed(".afs/outputs"), [output]);
        assert_eq!(
            fs.get(&format!(".afs/outputs/{output}")).unwrap(),
            b"output"
        );
        // The listing of a session is asked for again at most; its names are there before.
        let in_session = listed(".afs/sessions/sesn_1");
        assert_eq!(in_session.len(), 2, "{in_session:?}");
        let path = format!(".afs/sessions/sesn_1/{scoped}");
        assert_eq!(fs.get(&path).unwrap(), b"second");
        let begins = format!("{scoped}~");
        assert!(
            in_session.iter().any(|name| name.starts_with(&begins)),
            "{in_session:?}"
        );
        fs.end();
    }
}

#[test]
fn cp_mv_ls_cat_and_rm_do_with_such_names_what_they_do_with_others() {
    let world = World::new();
    let mount = world.mount_with(&["--names", "encode"]);
    std::fs::write(world.dir.path().join("10:30 <a|b>?.md"), b"text\n").unwrap();
    mount.sh("cp ../10:30* .");
    assert_eq!(stored(&world), ["10：30 ＜a｜b＞？.md"]);
    assert_eq!(mount.sh("ls -1"), "10:30 <a|b>?.md\n");
    assert_eq!(mount.sh("cat 10:30*"), "text\n");
    mount.sh("cp 10:30* 'copy*' && mv 'copy*' 'C:\\copy'");
    eventually("it is renamed", || {
        stored(&world) == sorted(["10：30 ＜a｜b＞？.md", "C：＼copy"])
    });
    assert_eq!(mount.sh("cat 'C:\\copy'"), "text\n");
    assert_eq!(mount.sh("ls -1"), "10:30 <a|b>?.md\nC:\\copy\n");
    let id = world.stored("C：＼copy").id;
    assert_eq!(
        mount.sh(&format!("readlink .afs/by-id/{id}")),
        "../../C:\\copy\n"
    );
    assert_eq!(mount.sh(&format!("cat .afs/by-id/{id}")), "text\n");
    mount.sh("rm *");
    mount.unmount();
    assert!(world.emulator.files().unwrap().is_empty());
}

#[test]
fn a_refusal_in_the_strict_style_says_that_there_is_another() {
    let world = World::new();
    let mount = world.mount();
    let said = mount.try_sh("echo text > 'Meeting 10:30.pdf'");
    assert!(String::from_utf8_lossy(&said.stderr).contains("Invalid argument"));
    let why = "the service takes no names with : in them; afs mount --names encode stores it as ：";
    assert!(mount.log().contains(why), "{}", mount.log());
    mount.unmount();
    assert!(world.emulator.files().unwrap().is_empty());
}
