//! `afs put`, `get` and `rm`: through a mount, with the state of a key's workspace, and with nothing but the key. Each does
//! what copying and removing in a mount does, at the same price.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use afs::emulator::{FaultAction, FaultAnswer, FaultMoment, FaultRule, LoggedCall};

use super::{Ran, ran};
use crate::harness::{Calls, World, eventually, pattern, start};

/// How a command finds the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the mount.
    Mounted,
    /// By the key, with a state of its own.
    Alone,
    /// By the key, with nothing else.
    Bare,
}

const WAYS: [Way; 3] = [Way::Mounted, Way::Alone, Way::Bare];

/// A directory to work in, beside the world's mount and state.
struct Desk<'a> {
    world: &'a World,
    way: Way,
}

impl<'a> Desk<'a> {
    fn of(world: &'a World, way: Way) -> Self {
        fs::create_dir_all(world.dir.path().join("desk")).unwrap();
        Self { world, way }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.world.dir.path().join("desk").join(name)
    }

    /// The command as it is typed there, whose words may begin with the mount point.
    fn command(&self, name: &str, words: &[&str]) -> Command {
        let mut afs = self.world.afs();
        afs.current_dir(self.at("")).env("TZ", "UTC").arg(name);
        match self.way {
            Way::Mounted => {
                afs.arg(self.world.dir.path().join("mnt"));
            }
            Way::Alone => {
                // Named, for other tests have mounts of their own.
                afs.arg("--base-url").arg(self.world.emulator.base_url());
                afs.arg("--state-dir").arg(self.world.state_root());
                afs.arg("--cache-dir")
                    .arg(self.world.dir.path().join("cache"));
            }
            Way::Bare => {
                afs.arg("--base-url").arg(self.world.emulator.base_url());
                afs.env_remove("HOME");
            }
        }
        afs.args(words);
        afs
    }

    fn afs(&self, name: &str, words: &[&str]) -> Ran {
        ran(&mut self.command(name, words))
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.at(name), content).unwrap();
    }
}

/// Runs `act` once for each way; where there is one, the mount is there for as long as that takes.
fn each_way(act: impl Fn(&Desk<'_>)) {
    for way in WAYS {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount());
        act(&Desk::of(&world, way));
        drop(mount);
    }
}

const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

#[test]
fn put_is_one_upload_and_prints_the_id() {
    each_way(|desk| {
        let (world, content) = (desk.world, pattern(300_000));
        desk.write("report.pdf", &content);
        world.forget_calls();
        let put = desk.afs("put", &["report.pdf"]);
        let stored = world.stored("report.pdf");
        put.prints_beside_notices(0, &format!("{}  report.pdf\n", stored.id));
        assert_eq!(world.calls().but_lists(), ONE_UPLOAD, "{:?}", desk.way);
        assert_eq!(world.stored_bytes("report.pdf"), content);
        assert_eq!(stored.mime_type, "application/pdf");
    });
}

#[test]
fn put_gives_another_name_and_type_and_several_files_a_line_each() {
    each_way(|desk| {
        desk.write("out.txt", b"x = 1\n");
        desk.write("b.csv", b"a,b\n");
        let words = ["out.txt", "--name", "notes.md", "--mime-type", "text/plain"];
        assert_eq!(desk.afs("upload", &words).code, Some(0));
        assert_eq!(desk.world.stored("notes.md").mime_type, "text/plain");
        let both = desk.afs("put", &["out.txt", "b.csv", "--json"]);
        let json = both.json();
        assert_eq!(json[0]["name"], "out.txt");
        assert_eq!(json[1]["id"], *desk.world.stored("b.csv").id);
        let wrong = desk.afs("put", &["out.txt", "b.csv", "--name", "c"]);
        wrong.complains(2, "--name gives one file its name");
        desk.afs("put", &["b.csv", "--mime-type", "nonsense"])
            .is_refused_by_the_parser();
    });
}

#[test]
fn put_takes_what_another_program_prints() {
    each_way(|desk| {
        let mut command = desk.command("put", &["-", "--name", "table.csv"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = start(&mut command);
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"a,b\n1,2\n").unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        assert_eq!(desk.world.stored_bytes("table.csv"), b"a,b\n1,2\n");
        let nameless = desk.afs("put", &["-"]);
        nameless.complains(2, "--name NAME");
    });
}

#[test]
fn what_can_not_be_put_is_a_sentence_and_the_others_are_put() {
    each_way(|desk| {
        desk.write("a.txt", b"a");
        fs::create_dir(desk.at("dir")).unwrap();
        let ran = desk.afs("put", &["dir", "missing.txt", "a.txt"]);
        assert_eq!(ran.code, Some(1));
        assert!(
            ran.err.contains("dir: it can't be read: it is a directory"),
            "{}",
            ran.err
        );
        assert!(
            ran.err
                .contains("missing.txt: it can't be read: No such file"),
            "{}",
            ran.err
        );
        assert_eq!(desk.world.stored_bytes("a.txt"), b"a");
        assert_eq!(desk.world.emulator.files().unwrap().len(), 1);
    });
}

/// As a save over it does: the new one is confirmed before the old one goes, and the same bytes again cost nothing.
#[test]
fn put_replaces_a_file_of_the_name_and_sends_nothing_twice() {
    for way in [Way::Mounted, Way::Alone] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount());
        let desk = Desk::of(&world, way);
        desk.write("report.md", b"one\n");
        assert_eq!(desk.afs("put", &["report.md"]).code, Some(0));
        let first = world.stored("report.md").id;
        world.forget_calls();
        let again = desk.afs("put", &["report.md"]);
        assert_eq!(again.out, format!("{first}  report.md\n"));
        assert!(again.err.contains("is there already"), "{}", again.err);
        assert_eq!(world.calls().but_lists(), Calls::NONE);

        desk.write("report.md", b"one and two\n");
        world.forget_calls();
        assert_eq!(desk.afs("put", &["report.md"]).code, Some(0));
        eventually("the old one is deleted", || world.calls().delete == 1);
        assert_eq!(world.calls().upload, 1);
        assert_eq!(world.stored_bytes("report.md"), b"one and two\n");
        if let Some(mount) = &mount {
            // The kernel had seen the old one.
            assert_eq!(
                mount.sh("stat -c %s report.md; cat report.md"),
                "12\none and two\n"
            );
        }
    }
}

#[test]
fn an_open_file_keeps_what_it_had_when_put_replaces_it() {
    let world = World::new();
    let mount = world.mount();
    let desk = Desk::of(&world, Way::Mounted);
    mount.sh("echo one > a.md");
    desk.write("a.md", b"two\n");
    let put = desk.command("put", &["a.md"]);
    let words: Vec<String> = std::iter::once(put.get_program())
        .chain(put.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let source = desk.at("a.md");
    let (program, arguments) = words.split_first().unwrap();
    let typed = [
        arguments.split_last().unwrap().1,
        &[source.display().to_string()],
    ]
    .concat();
    let script = format!(
        "exec 3< a.md; {program} {} > /dev/null; cat - a.md <&3",
        typed.join(" ")
    );
    assert_eq!(mount.sh(&script), "one\ntwo\n");
    // Who has it open for writing is not overtaken.
    let script = format!("exec 3>> a.md; {program} {} 2>&1; echo $?", typed.join(" "));
    desk.write("a.md", b"three\n");
    let said = mount.sh(&script);
    assert!(
        said.contains("open for writing") && said.ends_with("1\n"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_put_while_the_service_is_away_is_safe_and_sent_later() {
    for way in [Way::Mounted, Way::Alone] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount_with(&["--timeout", "1s"]));
        let desk = Desk::of(&world, way);
        desk.write("known.md", b"known\n");
        assert_eq!(desk.afs("put", &["known.md"]).code, Some(0));
        let away = FaultRule {
            call: Some(LoggedCall::Upload),
            when: FaultMoment::BeforeEffect,
            ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
        };
        world.emulator.set_faults(vec![away]);
        desk.write("new.md", b"new\n");
        let words: &[&str] = match way {
            Way::Mounted => &["new.md"],
            _ => &["--timeout", "1s", "new.md"],
        };
        let ran = desk.afs("put", words);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        assert!(
            ran.err
                .contains("It is safe on this machine and is sent when it can be"),
            "{}",
            ran.err
        );
        world.emulator.clear_faults();
        if way == Way::Alone {
            // Whatever comes next sends it.
            desk.write("other.md", b"other\n");
            assert_eq!(desk.afs("put", &["other.md"]).code, Some(0));
        } else {
            assert_eq!(ran_retry(&world).code, Some(0));
        }
        eventually("it is sent", || world.all_stored("new.md").len() == 1);
        assert_eq!(world.stored_bytes("new.md"), b"new\n");
        drop(mount);
    }
}

fn ran_retry(world: &World) -> Ran {
    let mountpoint = world.dir.path().join("mnt");
    ran(world.afs().arg("pending").arg(mountpoint).arg("--retry"))
}

#[test]
fn put_has_a_file_expire() {
    for way in [Way::Mounted, Way::Alone, Way::Bare] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount_with(&["--dialect", "ga"]));
        let desk = Desk::of(&world, way);
        desk.write("a.txt", b"a");
        let put = desk.afs("put", &["a.txt", "--expires", "7d", "--json"]);
        assert_eq!(put.code, Some(0), "{}", put.err);
        assert!(put.json()[0]["expires_at"].is_string(), "{}", put.out);
        assert!(world.stored("a.txt").expires_at.is_some());
        drop(mount);
    }
    let world = World::new();
    let mount = world.mount();
    let desk = Desk::of(&world, Way::Mounted);
    desk.write("a.txt", b"a");
    desk.afs("put", &["a.txt", "--expires", "7d"])
        .complains(1, "--dialect ga");
    assert!(world.emulator.files().unwrap().is_empty());
    drop(mount);
}

const ONE_DOWNLOAD: Calls = Calls {
    content: 1,
    ..Calls::NONE
};

#[test]
fn get_is_one_download_and_writes_the_file() {
    each_way(|desk| {
        let (world, content) = (desk.world, pattern(2_000_000));
        world.output("chart.png", &content);
        world.forget_calls();
        let got = desk.afs("get", &["chart.png"]);
        got.prints_beside_notices(0, "chart.png  1.91 MiB\n");
        assert_eq!(world.calls().but_lists(), ONE_DOWNLOAD, "{:?}", desk.way);
        assert_eq!(fs::read(desk.at("chart.png")).unwrap(), content);
        assert_eq!(desk.names(), ["chart.png"]);
        let mode = fs::metadata(desk.at("chart.png"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o666 & !umask());
    });
}

fn umask() -> u32 {
    let said = Command::new("sh").args(["-c", "umask"]).output().unwrap();
    u32::from_str_radix(String::from_utf8_lossy(&said.stdout).trim(), 8).unwrap()
}

#[test]
fn get_goes_where_it_is_told_to() {
    each_way(|desk| {
        let id = desk.world.output("a.txt", b"a\n").id;
        desk.world.output("b.txt", b"b\n");
        fs::create_dir(desk.at("dir")).unwrap();
        let both = desk.afs("download", &["a.txt", "b.txt", "-o", "dir"]);
        both.prints_beside_notices(0, "dir/a.txt  2 B\ndir/b.txt  2 B\n");
        desk.afs("get", &[&id, "-o", "c.txt"])
            .prints_beside_notices(0, "c.txt  2 B\n");
        assert_eq!(fs::read(desk.at("c.txt")).unwrap(), b"a\n");
        assert_eq!(
            desk.afs("get", &["b.txt", "a.txt", "-o", "-"]).out,
            "b\na\n"
        );
        desk.afs("get", &["a.txt", "b.txt", "-o", "d.txt"])
            .complains(2, "is no directory");
        let nothing = desk.afs("get", &["nothing.txt"]);
        assert_eq!(nothing.code, Some(3), "{}", nothing.err);
        assert!(!desk.at("nothing.txt").exists());
    });
}

#[test]
fn get_overwrites_nothing_but_what_it_wrote() {
    each_way(|desk| {
        let world = desk.world;
        let first = world.output("a.txt", b"first\n").id;
        desk.write("a.txt", b"mine\n");
        let refused = desk.afs("get", &["a.txt"]);
        assert_eq!(refused.code, Some(4), "{}", refused.err);
        assert!(
            refused.err.contains("is not overwritten"),
            "{}",
            refused.err
        );
        assert_eq!(fs::read(desk.at("a.txt")).unwrap(), b"mine\n");
        symlink("elsewhere", desk.at("link")).unwrap();
        assert_eq!(desk.afs("get", &["a.txt", "-o", "link"]).code, Some(4));
        assert!(!desk.at("elsewhere").exists());

        fs::remove_file(desk.at("a.txt")).unwrap();
        assert_eq!(desk.afs("get", &["a.txt"]).code, Some(0));
        world.forget_calls();
        let again = desk.afs("get", &["a.txt"]);
        assert_eq!((again.code, &*again.out), (Some(0), ""));
        assert!(
            again.err.contains("a.txt is there already"),
            "{}",
            again.err
        );
        assert_eq!(world.calls().content, 0);

        // A tool makes it anew.
        let second = world.output("a.txt", b"second\n").id;
        assert_ne!(first, second);
        eventually("the newer one comes", || {
            desk.afs("get", &[&second]).code == Some(0)
                && fs::read(desk.at("a.txt")).unwrap() == b"second\n"
        });
        desk.write("a.txt", b"second, changed\n");
        assert_eq!(desk.afs("get", &[&second]).code, Some(4));
        assert_eq!(fs::read(desk.at("a.txt")).unwrap(), b"second, changed\n");
        assert_eq!(desk.names(), ["a.txt", "link"]);
    });
}

#[test]
fn a_download_that_fails_leaves_nothing_behind() {
    each_way(|desk| {
        let world = desk.world;
        world.output("a.bin", &pattern(100_000));
        world.foreign("theirs.pdf", b"%PDF");
        let short = FaultRule {
            call: Some(LoggedCall::Content),
            when: FaultMoment::BeforeEffect,
            ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
        };
        world.emulator.set_faults(vec![short]);
        let failed = desk.afs("get", &["a.bin"]);
        assert_eq!(failed.code, Some(1), "{}", failed.err);
        assert!(failed.err.contains("afs: a.bin: "), "{}", failed.err);
        let theirs = desk.afs("get", &["theirs.pdf"]);
        assert_eq!(theirs.code, Some(1));
        assert!(
            theirs
                .err
                .contains("the service gives back only what tools made"),
            "{}",
            theirs.err
        );
        assert_eq!(desk.names(), [""; 0]);
        world.emulator.clear_faults();
    });
}

const ONE_DELETION: Calls = Calls {
    delete: 1,
    ..Calls::NONE
};

#[test]
fn rm_is_one_deletion_and_returns_when_it_is_done() {
    each_way(|desk| {
        let world = desk.world;
        let id = world.output("b.txt", b"b").id;
        world.output("a.txt", b"a");
        world.removes("a.txt");
        world.removes("b.txt");
        world.forget_calls();
        desk.afs("rm", &["a.txt"])
            .prints_beside_notices(0, "deleted a.txt\n");
        assert_eq!(world.calls().but_lists().delete, ONE_DELETION.delete);
        assert!(world.all_stored("a.txt").is_empty());
        assert_eq!(desk.afs("delete", &[&id]).code, Some(0));
        assert!(world.emulator.files().unwrap().is_empty());
        let gone = desk.afs("rm", &["a.txt"]);
        assert_eq!(gone.code, Some(3), "{}", gone.err);
    });
}

#[test]
fn what_rm_deletes_is_in_the_trash_unless_it_is_purged() {
    for way in [Way::Mounted, Way::Alone] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount());
        let desk = Desk::of(&world, way);
        for name in ["kept.md", "secret.md"] {
            desk.write(name, name.as_bytes());
            assert_eq!(desk.afs("put", &[name]).code, Some(0));
            world.removes(name);
        }
        assert_eq!(desk.afs("rm", &["kept.md"]).code, Some(0));
        assert_eq!(desk.afs("rm", &["secret.md", "--purge"]).code, Some(0));
        assert!(world.emulator.files().unwrap().is_empty());
        let trash = world.state_dir().join("trash");
        let mut names = Vec::new();
        collect(&trash, &mut names);
        assert!(
            names.iter().any(|name| name.contains("kept.md")),
            "{names:?}"
        );
        assert!(holds(&world.state_dir(), b"kept.md"));
        assert!(!holds(&world.state_dir(), b"secret.md"));
        assert!(
            !names.iter().any(|name| name.contains("secret")),
            "{names:?}"
        );
        drop(mount);
    }
}

fn collect(dir: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
        collect(&entry.path(), names);
    }
}

/// Whether a file of just these bytes is below a directory.
fn holds(dir: &Path, content: &[u8]) -> bool {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                holds(&path, content)
            } else {
                fs::read(path).is_ok_and(|bytes| bytes == content)
            }
        })
}

#[test]
fn rm_is_refused_where_too_much_would_be_lost() {
    let world = World::new();
    for n in 0..3 {
        world.output(&format!("{n}.txt"), b"x");
    }
    let mount = world.mount_with(&["--delete-guard", "2"]);
    let desk = Desk::of(&world, Way::Mounted);
    world.removes("0.txt");
    world.removes("1.txt");
    let ran = desk.afs("rm", &["0.txt", "1.txt", "2.txt"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("afs allow-deletes"), "{}", ran.err);
    assert_eq!(mount.names(), ["2.txt"]);
}

/// In CI: no home directory, no mount, no state. Every question is a request, and nothing is written anywhere.
#[test]
fn the_key_alone_is_enough_to_list_and_to_look_up() {
    let world = World::new();
    world.output("a.txt", b"old");
    let newer = world.output("a.txt", b"newer").id;
    let pdf = world.foreign("b.pdf", b"%PDF").id;
    let desk = Desk::of(&world, Way::Bare);
    world.forget_calls();
    let ls = desk.afs("list", &[]);
    assert_eq!(
        world.calls(),
        Calls {
            list: 1,
            ..Calls::NONE
        }
    );
    assert_eq!(ls.out.lines().count(), 3, "{}", ls.out);
    assert!(
        ls.out.contains(&*newer) && ls.out.contains("b.pdf"),
        "{}",
        ls.out
    );
    desk.afs("id", &["a.txt"]).prints(0, &format!("{newer}\n"));
    world.forget_calls();
    let shown = desk.afs("metadata", &[&pdf, "--json"]).json();
    assert_eq!(shown[0]["filename"], "b.pdf");
    assert_eq!(
        world.calls(),
        Calls {
            metadata: 1,
            ..Calls::NONE
        }
    );
    let inline = desk.afs("block", &["a.txt", "--inline"]).json();
    assert_eq!(inline[0]["text"], "newer");
    let block = desk.afs("block", &["b.pdf"]).json();
    assert_eq!(block[0]["source"]["file_id"], *pdf);
    assert_eq!(desk.afs("show", &["nothing"]).code, Some(3));
    assert_eq!(desk.names(), [""; 0]);
}

/// Whoever repeats it must not delete an older one each time.
#[test]
fn with_the_key_alone_a_name_of_several_files_is_not_enough_to_delete() {
    let world = World::new();
    let older = world.output("a.txt", b"old").id;
    world.output("a.txt", b"new");
    let desk = Desk::of(&world, Way::Bare);
    desk.afs("rm", &["a.txt"])
        .complains(4, "2 files are called a.txt");
    assert_eq!(world.emulator.files().unwrap().len(), 2);
    world.removes("a.txt");
    desk.afs("rm", &[&older]).prints(0, "deleted a.txt\n");
    assert_eq!(world.stored_bytes("a.txt"), b"new");
}

/// A put that was given up leaves its save to whoever comes next, which can be seen and dropped.
#[test]
fn what_a_put_leaves_is_pending_and_can_be_dropped_or_flushed_without_a_mount() {
    let world = World::new();
    let desk = Desk::of(&world, Way::Alone);
    desk.write("known.md", b"known");
    assert_eq!(desk.afs("put", &["known.md"]).code, Some(0));
    let refused = FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
    };
    world.emulator.set_faults(vec![refused]);
    for name in ["a.md", "b.md"] {
        desk.write(name, name.as_bytes());
        assert_eq!(desk.afs("put", &["--timeout", "1s", name]).code, Some(1));
    }
    world.emulator.clear_faults();
    let pending = |words: &[&str]| {
        let mut afs = world.afs();
        afs.args(["pending", "--state-dir"]).arg(world.state_root());
        // The state is called by its place: it was never mounted.
        ran(afs.arg(world.state_dir()).args(words))
    };
    let listed = pending(&["--json"]).json();
    assert_eq!([&listed[0]["name"], &listed[1]["name"]], ["a.md", "b.md"]);
    let dropped = pending(&["--drop", "a.md"]);
    assert_eq!(dropped.code, Some(0), "{}", dropped.err);
    assert!(dropped.err.contains("a.md is not sent"), "{}", dropped.err);
    // A 503 may have had its effect: it is looked for, and deleted.
    let again = pending(&["--drop", "a.md"]);
    assert!(
        again.err.contains("it is given up already"),
        "{}",
        again.err
    );
    assert_eq!(pending(&["--drop", "none.md"]).code, Some(3));
    let mut flush = desk.command("flush", &[]);
    assert_eq!(ran(&mut flush).code, Some(0));
    assert!(world.all_stored("a.md").is_empty());
    assert_eq!(world.stored_bytes("b.md"), b"b.md");
}

#[test]
fn ctrl_c_of_a_put_says_what_goes_on() {
    let world = World::new();
    let mount = world.mount();
    let desk = Desk::of(&world, Way::Mounted);
    world.hang(&[LoggedCall::Upload]);
    desk.write("a.md", b"text");
    let mut put = desk.command("put", &["a.md"]);
    put.stderr(Stdio::piped());
    let child = start(&mut put);
    eventually("it is on its way", || world.calls().upload == 1);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("afs pending --drop a.md"), "{said}");
    world.emulator.clear_faults();
    eventually("it is sent", || world.all_stored("a.md").len() == 1);
    drop(mount);
}

impl Desk<'_> {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.at(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
