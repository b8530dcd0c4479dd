//! Requests per user action: the headline. The emulator's log is what counts.

use std::fs;

use super::harness::{Calls, World, eventually};

/// Nothing is refreshed while a test counts, unless it says so.
const QUIET: &[&str] = &["--refresh", "1h"];

#[test]
fn listing_2500_files_takes_three_lists_and_then_none() {
    let world = World::new();
    world.emulator.bulk(2_500, "doc-", 10, true).unwrap();
    world.forget_calls();

    let mount = world.mount_with(QUIET);
    assert_eq!(mount.sh("ls -l").lines().count(), 2_501);
    assert_eq!(
        world.calls(),
        Calls {
            list: 3,
            ..Calls::NONE
        }
    );

    let again = world.calls_of(|| {
        mount.sh("ls -l; find . -name 'doc-7*'; stat doc-1 || true");
    });
    assert_eq!(again, Calls::NONE);

    mount.unmount();
    let remounted = world.calls_of(|| {
        let mount = world.mount_with(QUIET);
        assert_eq!(mount.sh("ls -l").lines().count(), 2_501);
        mount.unmount();
    });
    assert_eq!(
        remounted,
        Calls {
            list: 1,
            ..Calls::NONE
        }
    );
}

#[test]
fn copying_a_file_in_is_one_upload() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    fs::write(world.dir.path().join("report.pdf"), b"%PDF-1.7 text").unwrap();
    let calls = world.calls_of(|| {
        mount.sh("cp ../report.pdf .");
    });
    assert_eq!(
        calls.but_lists(),
        Calls {
            upload: 1,
            ..Calls::NONE
        }
    );
    assert_eq!(world.stored_bytes("report.pdf"), b"%PDF-1.7 text");
    assert_eq!(world.stored("report.pdf").mime_type, "application/pdf");
}

#[test]
fn reading_an_output_is_one_download_and_then_none() {
    let world = World::new();
    world.output("chart.png", b"not really a picture");
    let mount = world.mount_with(QUIET);
    let first = world.calls_of(|| assert_eq!(mount.sh("cat chart.png"), "not really a picture"));
    assert_eq!(
        first.but_lists(),
        Calls {
            content: 1,
            ..Calls::NONE
        }
    );
    let again = world.calls_of(|| assert_eq!(mount.sh("cat chart.png"), "not really a picture"));
    assert_eq!(again.but_lists(), Calls::NONE);
    mount.unmount();

    let mount = world.mount_with(QUIET);
    let remounted =
        world.calls_of(|| assert_eq!(mount.sh("cat chart.png"), "not really a picture"));
    assert_eq!(remounted.but_lists(), Calls::NONE);
}

#[test]
fn removing_a_file_is_one_deletion_soon_after() {
    let world = World::new();
    world.output("old.csv", b"a,b\n");
    let mount = world.mount_with(QUIET);
    world.forget_calls();
    mount.sh("rm old.csv");
    assert!(mount.names().is_empty());
    eventually("the file is deleted at the service", || {
        world.all_stored("old.csv").is_empty()
    });
    assert_eq!(
        world.calls().but_lists(),
        Calls {
            delete: 1,
            ..Calls::NONE
        }
    );
}

#[test]
fn every_shell_way_of_writing_a_file_is_one_upload() {
    let ways = [
        ("echo hello > f", "hello\n"),
        ("(echo a; echo b) > f", "a\nb\n"),
        ("{ echo a; echo b; } | tee f > /dev/null", "a\nb\n"),
        ("printf x > f", "x"),
        (
            "dd if=/dev/zero of=f bs=1000 count=3 conv=fsync status=none",
            &*"\0".repeat(3000),
        ),
        ("touch f; echo x > f", "x\n"),
        ("cat > f <<< word", "word\n"),
        ("(cat ../a; cat ../b) > f", "from a\nfrom b\n"),
        ("for w in a b c; do echo $w; done > f", "a\nb\nc\n"),
        ("for w in a b c; do /bin/echo $w; done > f", "a\nb\nc\n"),
        (
            "exec 3> f; echo one >&3; cat ../a >&3; exec 3>&-",
            "one\nfrom a\n",
        ),
        ("cat ../a | tee f > /dev/null", "from a\n"),
        ("(echo early; (echo late) ) > f", "early\nlate\n"),
        ("{ echo a; /bin/true; echo b; } >> f", "a\nb\n"),
        (
            "python3 -c 'import os; f = open(\"f\", \"w\"); g = os.dup(f.fileno()); f.write(\"x\"); f.close(); \
             os.write(g, b\"y\"); os.close(g)'",
            "xy",
        ),
    ];
    for (way, content) in ways {
        let world = World::new();
        fs::write(world.dir.path().join("a"), "from a\n").unwrap();
        fs::write(world.dir.path().join("b"), "from b\n").unwrap();
        let mount = world.mount_with(QUIET);
        let calls = world.calls_of(|| {
            mount.sh(way);
        });
        assert_eq!(
            calls.but_lists(),
            Calls {
                upload: 1,
                ..Calls::NONE
            },
            "{way}"
        );
        assert_eq!(world.stored_bytes("f"), content.as_bytes(), "{way}");
        mount.unmount();
    }
}
