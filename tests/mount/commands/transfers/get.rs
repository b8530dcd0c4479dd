//! `afs get`: whole files, over nothing but what it wrote itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use afs::emulator::{FaultAction, FaultAnswer, FaultMoment, FaultRule, LoggedCall};

use super::each_way;
use crate::harness::{Calls, eventually, pattern};

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
