//! `afs cache` and `--cache-size`: which downloaded copies are here, which go and which stay, and that one that is not
//! what was downloaded is downloaded again.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall, PlantedFile, StoredFile};
use serde_json::{Value, json};

use super::commands::{Ran, ran};
use super::harness::{Calls, Mount, World, eventually, pattern};

/// Each output has this size.
const SIZE: usize = 100_000;

/// Room for two of them.
const TWO: &str = "250000";

const ONE_DOWNLOAD: Calls = Calls {
    content: 1,
    ..Calls::NONE
};

impl Ran {
    #[track_caller]
    fn must_be(&self, code: i32, out: &str, err: &str) {
        let Self { out: o, err: e, .. } = self;
        assert_eq!(self.code, Some(code), "{o}{e}");
        assert_eq!(o, out);
        assert!(e.contains(err) && e.is_empty() == err.is_empty(), "{e}");
    }
}

/// Runs `afs cache COMMAND` about this world's mount point, mounted or not.
fn cache(world: &World, command: &str, words: &[&str]) -> Ran {
    let mountpoint = world.dir.path().join("mnt");
    run(
        world,
        command,
        &[&[mountpoint.to_str().unwrap()], words].concat(),
    )
}

fn run(world: &World, command: &str, words: &[&str]) -> Ran {
    let mut afs = world.afs();
    afs.args(["cache", command]).args(words);
    ran(afs.arg("--state-dir").arg(world.state_root()))
}

/// Outputs of these names, each with bytes of its own.
fn outputs<const N: usize>(world: &World, names: [&str; N]) -> [StoredFile; N] {
    names.map(|name| world.output(name, &content(name)))
}

fn content(name: &str) -> Vec<u8> {
    let mut content = pattern(SIZE);
    content[..name.len()].copy_from_slice(name.as_bytes());
    content
}

/// The copy of a file, where there is one.
fn copy_of(world: &World, file: &StoredFile) -> Option<PathBuf> {
    let workspaces = fs::read_dir(world.dir.path().join("cache")).unwrap();
    let mut copies = workspaces.map(|entry| entry.unwrap().path().join(&file.id));
    copies.find(|copy| copy.exists())
}

fn is_here(world: &World, file: &StoredFile) -> bool {
    copy_of(world, file).is_some()
}

/// Reads an output that the kernel has no page of yet, and waits until its copy is safe on the disk, which is a moment after its last close.
fn fetch(world: &World, mount: &Mount, file: &StoredFile) {
    assert!(fs::read(mount.at(&file.filename)).unwrap() == content(&file.filename));
    eventually("it is a cached copy", || is_here(world, file));
}

/// Requests of a read through a mount whose kernel has no page of it yet, and which is listed.
fn calls_of_reading(world: &World, mount: &Mount, file: &StoredFile) -> Calls {
    let calls = world.calls_of(|| {
        assert!(fs::read(mount.at(&file.filename)).unwrap() == content(&file.filename));
    });
    calls.but_lists()
}

/// Waits until copies of some files are here and of others are not: what is open goes when it is closed, and the kernel
/// tells of a close when it is over.
#[track_caller]
fn only_these_stay(world: &World, files: &[(&StoredFile, bool)]) {
    let wrong = || {
        let mut wrong = files
            .iter()
            .filter(|(file, stays)| is_here(world, file) != *stays);
        wrong.next().map(|(file, _)| file.filename.clone())
    };
    eventually(&format!("{files:?}"), || wrong().is_none());
}

fn used(copy: &Path, ago: Duration) {
    let time = SystemTime::now() - ago;
    let file = File::options().write(true).open(copy).unwrap();
    file.set_times(FileTimes::new().set_accessed(time)).unwrap();
}

#[test]
fn a_list_has_each_copy_and_their_sum() {
    let world = World::new();
    let [chart, table] = outputs(&world, ["b chart.png", "a.csv"]);
    world.output("never read", b"text");
    let mount = world.mount();
    mount.sh("echo text > own");
    cache(&world, "list", &[]).must_be(0, "nothing is downloaded; the limit is 10.00 GiB\n", "");
    fetch(&world, &mount, &chart);
    fetch(&world, &mount, &table);
    cache(&world, "pin", &["a.csv"]).must_be(0, "pinned a.csv, 97.66 KiB\n", "");
    used(
        &copy_of(&world, &chart).unwrap(),
        Duration::from_secs(3 * 3600),
    );
    used(
        &copy_of(&world, &table).unwrap(),
        Duration::from_secs(50 * 3600),
    );
    world.forget_calls();
    let lines = format!(
        "   97.66 KiB  2 days ago        pinned  {}  a.csv\n\
         \u{20}  97.66 KiB  3 hours ago               {}  b chart.png\n\
         2 downloaded copies, 195.31 KiB; the limit is 10.00 GiB\n",
        table.id, chart.id
    );
    cache(&world, "list", &[]).must_be(0, &lines, "");
    let listed = cache(&world, "list", &["--json"]);
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    let mut listed: Value = serde_json::from_str(&listed.out).unwrap();
    for copy in listed[0]["copies"].as_array_mut().unwrap() {
        let used = copy["last_used"].take().as_i64().unwrap();
        assert!(used > 1_600_000_000_000, "milliseconds: {used}");
    }
    let copy = |file: &StoredFile, pinned| json!({"name": file.filename, "id": file.id, "size": SIZE, "last_used": null, "pinned": pinned});
    let expected = json!([{
        "mountpoint": mount.path(),
        "limit": 10_u64 << 30,
        "bytes": 2 * SIZE,
        "copies": [copy(&table, true), copy(&chart, false)],
    }]);
    assert_eq!(listed, expected);
}

#[test]
fn what_is_evicted_is_downloaded_again() {
    let world = World::new();
    let [a, b, c] = outputs(&world, ["a", "b", "c"]);
    let mount = world.mount();
    for file in [&a, &b, &c] {
        fetch(&world, &mount, file);
    }
    // By name, by id, by path.
    cache(&world, "evict", &["a"]).must_be(0, "evicted a, 97.66 KiB\n", "");
    cache(&world, "evict", &[&b.id]).must_be(0, "evicted b, 97.66 KiB\n", "");
    let path = mount.at(".afs/outputs/c");
    run(&world, "evict", &[path.to_str().unwrap()]).must_be(0, "evicted c, 97.66 KiB\n", "");
    assert!([&a, &b, &c].iter().all(|file| !is_here(&world, file)));
    mount.unmount();
    let mount = world.mount();
    mount.names();
    assert_eq!(calls_of_reading(&world, &mount, &a), ONE_DOWNLOAD);
    assert_eq!(calls_of_reading(&world, &mount, &b), ONE_DOWNLOAD);
}

/// No wait: as in `cat a; afs cache evict a`.
#[test]
fn what_was_just_read_can_be_evicted_at_once() {
    let world = World::new();
    let [a] = outputs(&world, ["a"]);
    let mount = world.mount();
    for _ in 0..5 {
        mount.sh("cat a > /dev/null");
        cache(&world, "evict", &["a"]).must_be(0, "evicted a, 97.66 KiB\n", "");
        assert!(!is_here(&world, &a));
        // The kernel forgets its pages, too.
        let file = File::open(mount.at("a")).unwrap();
        let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        nix::fcntl::posix_fadvise(&file, 0, 0, advice).unwrap();
    }
}

#[test]
fn what_must_stay_is_not_evicted() {
    let world = World::new();
    let [open, pinned, other] = outputs(&world, ["open", "pinned", "other"]);
    world.foreign("foreign", b"text");
    let mount = world.mount();
    mount.sh("echo text > own");
    for file in [&open, &pinned, &other] {
        fetch(&world, &mount, file);
    }
    cache(&world, "pin", &["pinned"]).must_be(0, "pinned pinned, 97.66 KiB\n", "");
    let file = File::open(mount.at("open")).unwrap();
    cache(&world, "evict", &["own"]).must_be(
        1,
        "",
        "afs: own was saved here: the copy on this machine is the only one",
    );
    cache(&world, "evict", &["open"]).must_be(1, "", "open is open in some program");
    cache(&world, "evict", &["pinned"]).must_be(
        1,
        "",
        "pinned is pinned and stays; to release it: afs cache unpin pinned",
    );
    cache(&world, "evict", &["foreign"]).must_be(3, "", "foreign is not downloaded");
    cache(&world, "evict", &["nothing"]).must_be(3, "", "there is no file of this name or id");
    // What can be done is done, and the exit code is that of the worst.
    cache(&world, "evict", &["nothing", "other", "own"]).must_be(
        1,
        "evicted other, 97.66 KiB\n",
        "nothing: there is no file",
    );
    let all = cache(&world, "evict", &["--all"]);
    let said = format!(
        "{}: 0 evicted, 0 B; 1 pinned stay\n",
        mount.path().display()
    );
    all.must_be(1, &said, "1 open in some program and stay (open)");
    drop(file);
    let all = cache(&world, "evict", &["--all"]);
    let said = format!(
        "{}: 1 evicted, 97.66 KiB; 1 pinned stay\n",
        mount.path().display()
    );
    all.must_be(0, &said, "");
    assert!(is_here(&world, &pinned));
    assert_eq!(mount.sh("cat own"), "text\n");
    cache(&world, "unpin", &["pinned"]).must_be(0, "unpinned pinned\n", "");
    cache(&world, "unpin", &["pinned"]).must_be(3, "", "pinned is not pinned");
    cache(&world, "evict", &["pinned"]).must_be(0, "evicted pinned, 97.66 KiB\n", "");
}

#[test]
fn a_pinned_copy_outlives_the_limit_and_a_remount() {
    let world = World::new();
    let [a, b, c, d] = outputs(&world, ["a", "b", "c", "d"]);
    let mount = world.mount_with(&["--cache-size", TWO]);
    mount.names();
    let calls = world.calls_of(|| {
        cache(&world, "pin", &["a"]).must_be(0, "pinned a, 97.66 KiB\n", "");
        cache(&world, "pin", &["a"]).must_be(0, "pinned a, 97.66 KiB\n", "");
    });
    assert_eq!(calls.but_lists(), ONE_DOWNLOAD);
    assert!(is_here(&world, &a), "pinned means downloaded");
    fetch(&world, &mount, &b);
    fetch(&world, &mount, &c);
    only_these_stay(&world, &[(&a, true), (&b, false), (&c, true)]);
    mount.unmount();
    // By its last use it would be the first to go, and at a start the limit may be another one.
    used(&copy_of(&world, &a).unwrap(), Duration::from_secs(3600));
    let mount = world.mount_with(&["--cache-size", "1"]);
    assert_eq!(
        [&a, &c].map(|file| is_here(&world, file)),
        [true, true],
        "the newest stays"
    );
    fetch(&world, &mount, &d);
    only_these_stay(&world, &[(&a, true), (&c, false), (&d, true)]);
    assert_eq!(calls_of_reading(&world, &mount, &a), Calls::NONE);
    cache(&world, "unpin", &["a"]).must_be(0, "unpinned a\n", "");
    fetch(&world, &mount, &b);
    only_these_stay(&world, &[(&a, false), (&b, true), (&d, false)]);
}

#[test]
fn the_least_recently_used_goes_over_a_remount_too_and_never_an_open_file() {
    let world = World::new();
    let [first, second, third, fourth, fifth, sixth] =
        outputs(&world, ["a", "b", "c", "d", "e", "f"]);
    let mount = world.mount_with(&["--cache-size", TWO]);
    fetch(&world, &mount, &first);
    fetch(&world, &mount, &second);
    mount.unmount();
    let mount = world.mount_with(&["--cache-size", TWO]);
    // Opening is first use.
    drop(File::open(mount.at("a")).unwrap());
    fetch(&world, &mount, &third);
    only_these_stay(&world, &[(&first, true), (&second, false), (&third, true)]);
    let open = File::open(mount.at("a")).unwrap();
    fetch(&world, &mount, &second);
    fetch(&world, &mount, &fourth);
    only_these_stay(
        &world,
        &[
            (&first, true),
            (&second, false),
            (&third, false),
            (&fourth, true),
        ],
    );
    drop(open);
    // The kernel tells of the close when it is over: the first of them may come before that.
    fetch(&world, &mount, &fifth);
    fetch(&world, &mount, &sixth);
    only_these_stay(&world, &[(&first, false), (&sixth, true)]);
}

/// Three that are open are more than the limit allows; the next close brings them to it, without another download.
#[test]
fn what_is_open_goes_when_it_is_closed() {
    let world = World::new();
    let [a, b, c] = outputs(&world, ["a", "b", "c"]);
    let mount = world.mount_with(&["--cache-size", TWO]);
    let mut open = Vec::new();
    for file in [&a, &b, &c] {
        open.push(File::open(mount.at(&file.filename)).unwrap());
        fetch(&world, &mount, file);
    }
    assert!([&a, &b, &c].iter().all(|file| is_here(&world, file)));
    drop(open.remove(0));
    only_these_stay(&world, &[(&a, false), (&b, true), (&c, true)]);
}

/// Damages a copy while nobody has it open; whether it is noticed, and what is read then.
fn damaged(damage: impl Fn(&Path)) {
    let world = World::new();
    let [a] = outputs(&world, ["a"]);
    let mount = world.mount();
    fetch(&world, &mount, &a);
    mount.unmount();
    damage(&copy_of(&world, &a).unwrap());
    let mount = world.mount();
    mount.names();
    assert_eq!(calls_of_reading(&world, &mount, &a), ONE_DOWNLOAD);
    assert!(
        mount
            .log()
            .contains("is damaged; it will be downloaded again")
    );
    eventually("it is a cached copy", || is_here(&world, &a));
    mount.unmount();
    let mount = world.mount();
    mount.names();
    assert_eq!(calls_of_reading(&world, &mount, &a), Calls::NONE);
}

#[test]
fn a_short_copy_is_downloaded_again() {
    damaged(|copy| {
        let file = File::options().write(true).open(copy).unwrap();
        file.set_len(SIZE as u64 - 1).unwrap();
    });
}

#[test]
fn a_copy_that_somebody_wrote_to_is_downloaded_again() {
    damaged(|copy| fs::write(copy, vec![b'x'; SIZE]).unwrap());
}

#[test]
fn without_a_mount_the_copies_are_listed_evicted_and_pinned() {
    let world = World::new();
    let [a, b, c] = outputs(&world, ["a", "b", "c"]);
    let mount = world.mount_with(&["--cache-size", TWO]);
    mount.sh("echo text > own");
    fetch(&world, &mount, &a);
    fetch(&world, &mount, &b);
    mount.unmount();
    world.forget_calls();
    cache(&world, "pin", &["a"]).must_be(0, "pinned a, 97.66 KiB\n", "");
    cache(&world, "pin", &["c"]).must_be(
        1,
        "",
        "c is not downloaded, and only a mount can do that",
    );
    cache(&world, "evict", &["own"]).must_be(1, "", "is the only one");
    cache(&world, "evict", &["a"]).must_be(1, "", "afs cache unpin a");
    cache(&world, "evict", &["b"]).must_be(0, "evicted b, 97.66 KiB\n", "");
    cache(&world, "evict", &["b"]).must_be(3, "", "b is not downloaded");
    let listed = cache(&world, "list", &[]);
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    let lines: Vec<&str> = listed.out.lines().collect();
    assert!(
        lines[0].contains("pinned") && lines[0].ends_with("  a"),
        "{lines:?}"
    );
    assert_eq!(
        lines[1..],
        ["1 downloaded copy, 97.66 KiB; the limit is 244.14 KiB"]
    );
    assert_eq!(world.calls(), Calls::NONE);
    let elsewhere = world.dir.path().join("elsewhere");
    run(&world, "list", &[elsewhere.to_str().unwrap()]).must_be(3, "", "is not a mount of afs");
    let mount = world.mount_with(&["--cache-size", TWO]);
    mount.names();
    assert_eq!(calls_of_reading(&world, &mount, &b), ONE_DOWNLOAD);
    fetch(&world, &mount, &c);
    assert_eq!(calls_of_reading(&world, &mount, &a), Calls::NONE);
    assert_eq!(mount.sh("cat own"), "text\n");
}

#[test]
fn what_can_not_be_downloaded_is_not_pinned() {
    let world = World::new();
    let [a] = outputs(&world, ["a"]);
    world.foreign("foreign", b"text");
    let mount = world.mount();
    mount.sh("echo text > own");
    cache(&world, "pin", &["own"]).must_be(1, "", "such copies stay anyway");
    cache(&world, "pin", &["foreign"]).must_be(1, "", "foreign can't be downloaded");
    cache(&world, "pin", &["nothing"]).must_be(3, "", "there is no file");
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Content),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
    cache(&world, "pin", &["a"]).must_be(1, "", "a could not be downloaded");
    world.emulator.clear_faults();
    assert!(!is_here(&world, &a));
    cache(&world, "unpin", &["a"]).must_be(3, "", "a is not pinned");
}

/// Anybody may clean ~/.cache.
#[test]
fn a_pin_outlives_its_copy_and_shows_that_it_is_gone() {
    let world = World::new();
    let [a] = outputs(&world, ["a"]);
    let mount = world.mount();
    cache(&world, "pin", &["a"]).must_be(0, "pinned a, 97.66 KiB\n", "");
    fs::remove_file(copy_of(&world, &a).unwrap()).unwrap();
    let lines = format!(
        "   97.66 KiB  not downloaded    pinned  {}  a\n\
         nothing is downloaded; the limit is 10.00 GiB\n",
        a.id
    );
    cache(&world, "list", &[]).must_be(0, &lines, "");
    cache(&world, "pin", &["a"]).must_be(0, "pinned a, 97.66 KiB\n", "");
    assert!(is_here(&world, &a));
    // With its file it goes for good.
    mount.sh("rm a");
    eventually("it is gone", || world.emulator.files().unwrap().is_empty());
    mount.unmount();
    let mount = world.mount();
    cache(&world, "list", &[]).must_be(0, "nothing is downloaded; the limit is 10.00 GiB\n", "");
    drop(mount);
}

#[test]
fn files_of_sessions_have_their_names_in_the_mount() {
    let world = World::new();
    let planted = PlantedFile {
        session: Some("sesn_1".to_owned()),
        ..PlantedFile::output("a", content("a"))
    };
    let file = world.emulator.plant(planted).unwrap();
    let mount = world.mount();
    let name = ".afs/sessions/sesn_1/a";
    mount.sh(&format!("ls .afs/sessions/sesn_1; cat {name} > /dev/null"));
    eventually("it is a cached copy", || is_here(&world, &file));
    let listed = cache(&world, "list", &[]);
    assert!(
        listed.out.contains(&format!("{}  {name}\n", file.id)),
        "{}",
        listed.out
    );
    cache(&world, "evict", &[name]).must_be(0, &format!("evicted {name}, 97.66 KiB\n"), "");
    assert!(!is_here(&world, &file));
}
