//! Exit codes, of every command: 0 done, 1 failed, 2 typed wrongly, 3 nothing of that name or nothing mounted, 4 refused
//! for safety.

use std::fmt::Write;
use std::fs;

use super::ran;
use crate::harness::World;

/// What is typed after `afs`; MNT is the mount point, OUT a directory beside it, DIR one that is no mount.
const TABLE: [(i32, &[&str]); 34] = [
    (
        0,
        &[
            "ls MNT",
            "id MNT a.txt",
            "block MNT a.txt",
            "show MNT a.txt",
        ],
    ),
    (
        0,
        &[
            "find MNT a.txt",
            "find MNT *.png",
            "status MNT",
            "status MNT --json",
        ],
    ),
    (0, &["pending MNT", "flush MNT", "allow-deletes MNT"]),
    (0, &["doctor OUT/local.txt", "doctor OUT/mine.txt --json"]),
    // The other tests' mounts are looked at too, and some are dead.
    (1, &["doctor OUT", "doctor --key-file OUT/missing"]),
    (2, &["doctor --frobnicate", "doctor --timeout 0s"]),
    (
        0,
        &[
            "cache list MNT",
            "cache verify MNT",
            "cache pin MNT chart.png",
        ],
    ),
    (
        0,
        &[
            "cache unpin MNT chart.png",
            "cache evict MNT chart.png",
            "cache evict --all MNT",
        ],
    ),
    (0, &["trash list MNT", "trash list MNT --json"]),
    (0, &["prune MNT --outputs --older-than 0s --dry-run"]),
    (
        0,
        &["put MNT OUT/local.txt", "get MNT chart.png -o OUT/got.png"],
    ),
    // The same again: it is there.
    (
        0,
        &["put MNT OUT/local.txt", "get MNT chart.png -o OUT/got.png"],
    ),
    (
        0,
        &[
            "rm MNT local.txt",
            "trash restore MNT local.txt",
            "rm MNT local.txt",
        ],
    ),
    (0, &["trash empty MNT local.txt --yes"]),
    (1, &["put MNT OUT/missing.txt", "put MNT OUT"]),
    (
        1,
        &[
            "put MNT OUT/missing.txt OUT/local.txt",
            "get MNT theirs.pdf -o OUT",
        ],
    ),
    (1, &["get MNT chart.png -o OUT/missing/chart.png"]),
    (
        2,
        &[
            "ls MNT --sort colour",
            "ls MNT MNT",
            "id",
            "block",
            "show",
            "find",
        ],
    ),
    (
        2,
        &[
            "put",
            "put MNT",
            "put MNT a b --name c",
            "put MNT a --expires 1s",
        ],
    ),
    (
        2,
        &[
            "put MNT a --mime-type text",
            "get",
            "get MNT",
            "rm",
            "rm MNT",
            "get MNT a b -o OUT/c",
        ],
    ),
    (
        2,
        &[
            "watch MNT",
            "watch MNT --to OUT --every soon",
            "prune MNT --older-than old",
        ],
    ),
    (
        2,
        &[
            "trash",
            "trash restore",
            "trash restore MNT a b --as c",
            "status MNT MNT",
        ],
    ),
    (
        2,
        &[
            "allow-deletes MNT --for soon",
            "pending MNT --retry a --drop b",
            "block MNT chart.png --title t",
        ],
    ),
    (
        3,
        &[
            "id MNT none",
            "block MNT none",
            "show MNT none",
            "show MNT file_none",
            "find MNT none",
        ],
    ),
    (
        3,
        &[
            "find MNT *.none",
            "get MNT none -o OUT",
            "rm MNT none",
            "cache evict MNT none",
        ],
    ),
    (
        3,
        &[
            "cache pin MNT none",
            "cache unpin MNT none",
            "cache unpin MNT chart.png",
        ],
    ),
    (
        3,
        &[
            "trash restore MNT none",
            "trash empty MNT none --yes",
            "pending MNT --drop none",
        ],
    ),
    (
        3,
        &[
            "prune MNT --older-than 900d --yes",
            "pending MNT --retry none",
        ],
    ),
    (
        3,
        &[
            "ls DIR",
            "status DIR",
            "pending DIR",
            "flush DIR",
            "allow-deletes DIR",
            "prune DIR --older-than 1d --yes",
        ],
    ),
    (
        3,
        &[
            "id DIR/a",
            "show DIR/a",
            "get DIR/a",
            "rm DIR/a",
            "unmount DIR",
            "trash list DIR",
        ],
    ),
    (3, &["cache list DIR", "watch DIR --to OUT"]),
    (
        4,
        &[
            "get MNT chart.png -o OUT/mine.txt",
            "prune MNT --outputs --older-than 0s",
            "trash empty MNT",
        ],
    ),
    (4, &["trash restore MNT a.txt", "watch MNT --to MNT"]),
    (0, &["unmount MNT"]),
];

#[test]
fn every_command_ends_with_the_code_that_says_how_it_went() {
    let world = World::new();
    world.output("chart.png", b"chart");
    world.foreign("theirs.pdf", b"%PDF");
    for name in ["a.txt", "local.txt"] {
        world.removes(name);
    }
    let mount = world.mount();
    mount.sh("echo old > a.txt; rm a.txt; echo new > a.txt");
    let at = |name: &str| world.dir.path().join(name);
    fs::create_dir(at("out")).unwrap();
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("out/local.txt"), "local").unwrap();
    fs::write(at("out/mine.txt"), "mine").unwrap();
    let mut wrong = String::new();
    for (code, lines) in TABLE {
        for line in lines {
            let words = line.split(' ').map(|word| {
                [("MNT", "mnt"), ("OUT", "out"), ("DIR", "elsewhere")]
                    .into_iter()
                    .fold(word.to_owned(), |word, (short, name)| {
                        word.replace(short, at(name).to_str().unwrap())
                    })
            });
            let mut command = world.afs();
            let has_state = [
                "trash",
                "cache list",
                "cache evict",
                "cache pin",
                "cache unpin",
            ]
            .iter()
            .any(|group| line.starts_with(group));
            command.args(words);
            if has_state && code != 2 {
                command.arg("--state-dir").arg(world.state_root());
            }
            let ran = ran(&mut command);
            if ran.code != Some(code) {
                let _ = writeln!(
                    wrong,
                    "afs {line}: {:?}, not {code}: {}{}",
                    ran.code, ran.out, ran.err
                );
            }
            if code != 0 && !ran.err.starts_with("afs: ") && code != 2 {
                let _ = writeln!(wrong, "afs {line}: no sentence: {}", ran.err);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
