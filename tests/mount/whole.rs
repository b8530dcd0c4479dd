//! The mount as a whole: what was there is there again, and what was done is done.

use super::harness::{World, contents};

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
