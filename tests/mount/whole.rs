//! The mount as a whole: one hung caller holds nobody up, and what was there is there again.

use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::Duration;

use super::harness::{World, contents, eventually, within};
use afs::emulator::LoggedCall;

/// What needs no network must not wait for it. A thousand times what it takes, for slow machines; who is held up
/// here is held up for ever.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn forty_hung_readers_and_a_hung_deletion_hold_nobody_up() {
    let world = World::new();
    for n in 0..40 {
        world.output(&format!("output-{n}"), b"remote");
    }
    world.output("doomed", b"remote");
    let mount = world.mount_with(&["--refresh", "1h"]);
    mount.sh("echo local > local; echo source > ../source");
    world.hang(&[LoggedCall::Content, LoggedCall::Delete, LoggedCall::List]);
    let readers: Vec<_> = (0..40)
        .map(|n| {
            let mut file = File::open(mount.at(format!("output-{n}"))).unwrap();
            thread::spawn(move || {
                let mut text = String::new();
                file.read_to_string(&mut text).map(|_| text)
            })
        })
        .collect();
    eventually("all readers wait for the service", || {
        world.calls().content == 40
    });
    mount.sh("rm doomed");
    eventually("the deletion hangs", || world.calls().delete == 1);
    let mount = within(AT_ONCE, "local work", move || {
        assert_eq!(mount.names().len(), 41);
        assert_eq!(mount.sh("cat local"), "local\n");
        mount.sh("ls -l > /dev/null; stat local > /dev/null; ! stat missing 2> /dev/null");
        mount.sh("cp ../source copied; sync copied; mv copied moved; rm local");
        mount
    });
    assert_eq!(world.stored_bytes("moved"), b"source\n");
    world.emulator.clear_faults();
    for reader in readers {
        assert_eq!(reader.join().unwrap().unwrap(), "remote");
    }
    mount.unmount();
    assert!(world.all_stored("doomed").is_empty());
}

#[test]
fn everything_reads_the_same_after_a_remount() {
    let world = World::new();
    world.output("output", b"remote");
    world.output("twice", b"one");
    world.output("twice", b"two");
    let mount = world.mount();
    mount.sh("echo own > own; printf x >> output; head -c 3000000 /dev/urandom > large");
    let before = contents(&mount);
    assert_eq!(before.len(), 5);
    mount.unmount();
    assert_eq!(contents(&world.mount()), before);
}

#[test]
fn a_terminated_mount_has_sent_everything_and_ends_well() {
    let world = World::new();
    world.output("doomed", b"text");
    let mount = world.mount();
    mount.sh("echo one > a; mv a b; rm doomed");
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    assert_eq!(world.stored_bytes("b"), b"one\n");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}
