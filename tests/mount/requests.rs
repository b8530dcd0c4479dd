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
        ("{ echo a; sleep 1; echo b; } >> f", "a\nb\n"),
        ("echo x | tee -a f > /dev/null", "x\n"),
        // A child that outlives the one that opened.
        ("sh -c '{ sleep 0.3; echo late; } &' > f", "late\n"),
        (
            "python3 -c 'f = open(\"f\", \"w\"); f.write(\"a\"); f.flush(); f.write(\"b\"); f.flush(); f.close()'",
            "ab",
        ),
        (
            "python3 -c 'import os; f = os.open(\"f\", os.O_WRONLY | os.O_CREAT); os.dup2(f, 9); os.write(f, b\"a\"); \
             os.close(f); os.write(9, b\"b\"); os.close(9)'",
            "ab",
        ),
        (
            "python3 -c 'import os; f = os.open(\"f\", os.O_WRONLY | os.O_CREAT); os.write(f, b\"a\"); p = os.fork(); \
             p or (os.write(f, b\"b\"), os.close(f), os._exit(0)); os.waitpid(p, 0); os.write(f, b\"c\"); os.close(f)'",
            "abc",
        ),
        (
            "python3 -c 'import os; f = os.open(\"f\", os.O_WRONLY | os.O_CREAT); g = os.open(\"f\", os.O_RDWR); \
             os.write(f, b\"ab\"); os.close(f); os.pwrite(g, b\"B\", 1); os.close(g)'",
            "aB",
        ),
        (
            "python3 -c 'import subprocess; f = open(\"f\", \"w\"); subprocess.run([\"echo\", \"a\"], stdout=f); \
             subprocess.run([\"echo\", \"b\"], stdout=f); f.close()'",
            "a\nb\n",
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

/// Neither the emptiness between truncating and writing nor a half of it is ever a version.
#[test]
fn every_shell_way_of_writing_over_a_file_is_one_upload_and_one_deletion() {
    let ways = [
        ("echo x > f", "x\n"),
        ("(echo a; sleep 0.3; echo b) > f", "a\nb\n"),
        (": > f; echo x > f", "x\n"),
        ("truncate -s 0 f; echo x >> f", "x\n"),
        ("echo x >> f", "old\nx\n"),
        ("cp ../a f", "from a\n"),
        ("cat ../a | tee f > /dev/null", "from a\n"),
        (
            "exec 3> f; echo one >&3; echo two >&3; exec 3>&-",
            "one\ntwo\n",
        ),
        ("dd if=../a of=f conv=fsync status=none", "from a\n"),
        (
            "dd if=../a of=f conv=notrunc,fsync bs=1 count=2 status=none",
            "frd\n",
        ),
        (
            "python3 -c 'f = open(\"f\", \"r+\"); f.truncate(0); f.write(\"a\"); f.flush(); f.write(\"b\"); f.close()'",
            "ab",
        ),
    ];
    for (way, content) in ways {
        let world = World::new();
        fs::write(world.dir.path().join("a"), "from a\n").unwrap();
        let mount = world.mount_with(QUIET);
        mount.sh("echo old > f");
        world.forget_calls();
        mount.sh(way);
        assert_eq!(mount.sh("cat f"), content, "{way}");
        mount.unmount();
        assert_eq!(
            world.calls().but_lists(),
            Calls {
                upload: 1,
                delete: 1,
                ..Calls::NONE
            },
            "{way}"
        );
        assert_eq!(world.stored_bytes("f"), content.as_bytes(), "{way}");
    }
}

/// Its parent's close was the last one as far as anybody could see, and has been true.
#[test]
fn a_child_that_writes_on_after_its_parent_closed_is_a_save_of_its_own() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    let calls = world.calls_of(|| {
        mount.sh(
            "python3 -c 'import os; f = os.open(\"f\", os.O_WRONLY | os.O_CREAT); os.write(f, b\"early\"); \
             r, w = os.pipe(); p = os.fork(); p or (os.read(r, 1), os.write(f, b\", late\"), os.close(f), os._exit(0)); \
             os.close(f); os.write(w, b\"x\"); os.waitpid(p, 0)'",
        );
        mount.unmount();
    });
    assert_eq!(
        calls.but_lists(),
        Calls {
            upload: 2,
            delete: 1,
            ..Calls::NONE
        }
    );
    assert_eq!(world.stored_bytes("f"), b"early, late");
}
