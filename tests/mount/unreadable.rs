//! Files whose bytes can't be had: uploads of others, which the service never gives back. They are shown as what they
//! are, refused at once and without a request, and never half-written.

use super::harness::{Calls, World};
use super::surface::{NEW, On, calls_by_the_end, on_both};

on_both! {
    a_foreign_upload_shows_no_read_permission
    access_answers_as_opening_would
    a_foreign_upload_is_refused_at_once_and_unchanged
    a_foreign_upload_can_be_replaced_as_a_whole
    a_foreign_upload_can_be_emptied_by_truncate_and_filled
    a_foreign_upload_that_was_replaced_here_is_readable
}

fn a_foreign_upload_shows_no_read_permission(on: On) {
    let world = World::new();
    world.foreign("theirs", b"text");
    world.output("output", b"text");
    let fs = on.start(&world);
    fs.put("ours", b"text").unwrap();
    assert_eq!(fs.stat("theirs").unwrap().mode, 0o200);
    assert_eq!(fs.stat("output").unwrap().mode, 0o600);
    assert_eq!(fs.stat("ours").unwrap().mode, 0o600);
    assert_eq!(fs.stat("theirs").unwrap().size, 4);
}

/// Also for root, whom the kernel would let through on its own.
fn access_answers_as_opening_would(on: On) {
    let world = World::new();
    world.foreign("theirs", b"text");
    world.output("output", b"text");
    let fs = on.start(&world);
    world.forget_calls();
    assert_eq!(fs.access("theirs", libc::F_OK), Ok(()));
    assert_eq!(fs.access("theirs", libc::R_OK), Err(libc::EACCES));
    assert_eq!(fs.access("theirs", libc::W_OK), Ok(()));
    assert_eq!(
        fs.access("theirs", libc::R_OK | libc::W_OK),
        Err(libc::EACCES)
    );
    assert_eq!(fs.access("output", libc::R_OK | libc::W_OK), Ok(()));
    assert_eq!(fs.access("output", libc::X_OK), Err(libc::EACCES));
    assert_eq!(fs.access("missing", libc::F_OK), Err(libc::ENOENT));
    assert_eq!(fs.access("", libc::R_OK | libc::W_OK | libc::X_OK), Ok(()));
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn a_foreign_upload_is_refused_at_once_and_unchanged(on: On) {
    let world = World::new();
    world.foreign("theirs.md", b"text");
    let fs = on.start(&world);
    world.forget_calls();
    for flags in [
        libc::O_RDONLY,
        libc::O_RDWR,
        libc::O_WRONLY,
        libc::O_WRONLY | libc::O_APPEND,
        libc::O_WRONLY | libc::O_CREAT,
    ] {
        assert_eq!(fs.open("theirs.md", flags), Err(libc::EACCES), "{flags:o}");
    }
    assert_eq!(fs.append("theirs.md", b"x"), Err(libc::EACCES));
    assert_eq!(fs.truncate("theirs.md", 2), Err(libc::EACCES));
    assert_eq!(fs.truncate("theirs.md", 10), Err(libc::EACCES));
    assert_eq!(fs.stat("theirs.md").unwrap().size, 4);
    fs.end();
    assert_eq!(world.calls(), Calls::NONE);
    assert_eq!(world.stored_bytes("theirs.md"), b"text");
}

fn a_foreign_upload_can_be_replaced_as_a_whole(on: On) {
    let world = World::new();
    let old = world.foreign("theirs.md", b"text");
    let fs = on.start(&world);
    let ino = fs.stat("theirs.md").unwrap().ino;
    world.forget_calls();
    fs.put("theirs.md", b"mine").unwrap();
    let after = fs.stat("theirs.md").unwrap();
    assert_eq!((after.ino, after.mode), (ino, 0o600));
    assert_eq!(fs.get("theirs.md").unwrap(), b"mine");
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            upload: 1,
            delete: 1,
            ..Calls::NONE
        }
    );
    assert_eq!(world.stored_bytes("theirs.md"), b"mine");
    assert_ne!(world.stored("theirs.md").id, old.id);
}

fn a_foreign_upload_can_be_emptied_by_truncate_and_filled(on: On) {
    let world = World::new();
    world.foreign("theirs.md", b"text");
    let fs = on.start(&world);
    fs.truncate("theirs.md", 0).unwrap();
    assert_eq!(fs.get("theirs.md").unwrap(), b"");
    fs.append("theirs.md", b"mine").unwrap();
    fs.end();
    assert_eq!(world.stored_bytes("theirs.md"), b"mine");
}

fn a_foreign_upload_that_was_replaced_here_is_readable(on: On) {
    let world = World::new();
    world.foreign("theirs.md", b"text");
    let fs = on.start(&world);
    // Readable from the first write on, also before its first close.
    let fd = fs.open("theirs.md", NEW).unwrap();
    fs.pwrite(fd, 0, b"mine").unwrap();
    assert_eq!(fs.get("theirs.md").unwrap(), b"mine");
    fs.close(fd).unwrap();
    fs.end();
    let fs = on.start(&world);
    assert_eq!(fs.get("theirs.md").unwrap(), b"mine");
    assert_eq!(fs.access("theirs.md", libc::R_OK), Ok(()));
}
