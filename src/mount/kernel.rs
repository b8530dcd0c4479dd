//! Attaching a file system to the kernel: the library's mount, as this house wants it.

use std::fs;
use std::io;
use std::path::Path;

use fuser::{Config, MountOption, Session, SessionACL};

use crate::config::MountSettings;
use crate::fuse::FuseAdapter;

/// Two event loops: on two cores more gained nothing, and one alone is held up by a single slow page fault.
const EVENT_LOOPS: usize = 2;

/// Mounts, and serves from threads that end with the mount.
pub(super) fn attach(
    adapter: FuseAdapter,
    name: &str,
    mountpoint: &Path,
    settings: &MountSettings,
) -> io::Result<()> {
    let session = Session::new(adapter, mountpoint, &config(name, settings))?;
    // Dropping the session's handle would unmount the path once more at the end, and with it whatever was mounted
    // there since. It is this process's last act to let go of it.
    std::mem::forget(session.spawn()?);
    Ok(())
}

/// How far the kernel reads ahead, KiB: one request of the largest size. With its usual 128 a first pass through a file is
/// eight times as many requests.
const READ_AHEAD_KB: u32 = 1024;

/// Has the kernel read further ahead, where this process may say so: root only.
pub(super) fn read_far_ahead(minor: u32) {
    let setting = read_ahead_of(minor);
    if let Err(error) = fs::write(&setting, READ_AHEAD_KB.to_string()) {
        log::debug!("{setting} stays as it is: {error}");
    }
}

/// How far the kernel reads ahead in a mount, KiB; `None` where it does not say.
pub(super) fn read_ahead(minor: u32) -> Option<u32> {
    let said = fs::read_to_string(read_ahead_of(minor)).ok()?;
    said.trim().parse().ok()
}

fn read_ahead_of(minor: u32) -> String {
    format!("/sys/class/bdi/0:{minor}/read_ahead_kb")
}

fn config(name: &str, settings: &MountSettings) -> Config {
    let wanted = [
        (settings.read_only, MountOption::RO),
        (checks_modes(settings), MountOption::DefaultPermissions),
        (asks_for(settings, "noatime"), MountOption::NoAtime),
        (asks_for(settings, "sync"), MountOption::Sync),
    ];
    let mut options = vec![
        MountOption::FSName(name.to_owned()),
        // Not the library's own Subtype: that one is dropped where root mounts, and the type is plain fuse then.
        MountOption::CUSTOM("subtype=afs".to_owned()),
        MountOption::NoExec,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    options.extend(
        wanted
            .into_iter()
            .filter_map(|(is_wanted, option)| is_wanted.then_some(option)),
    );
    let mut config = Config::default();
    config.mount_options = options;
    config.n_threads = Some(EVENT_LOOPS);
    if settings.allow_other {
        config.acl = SessionACL::All;
    }
    config
}

/// Where everybody may come in, the kernel has to look at modes.
fn checks_modes(settings: &MountSettings) -> bool {
    settings.allow_other || asks_for(settings, "default_permissions")
}

fn asks_for(settings: &MountSettings, word: &str) -> bool {
    settings.mount_options.iter().any(|asked| asked == word)
}
