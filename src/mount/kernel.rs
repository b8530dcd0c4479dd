//! Attaching a file system to the kernel: by the mount call where this process may, else through `fusermount3`.
//!
//! The library's own mount call names the type plain `fuse`; what people, updatedb's prune list and `afs unmount` look
//! for is `fuse.afs`. So root's mount call is made here, and the library gets the open device.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use fuser::{Config, MountOption, Session, SessionACL};
use nix::mount::MsFlags;

use crate::config::MountSettings;
use crate::fuse::FuseAdapter;

use super::{FILESYSTEM_TYPE, sys};

/// Two event loops: on two cores more gained nothing, and one alone is held up by a single slow page fault.
const EVENT_LOOPS: usize = 2;

/// Mounts, and serves from threads that end with the mount.
pub(super) fn attach(
    adapter: FuseAdapter,
    name: &str,
    mountpoint: &Path,
    settings: &MountSettings,
) -> io::Result<()> {
    let config = config(name, settings);
    let session = if sys::may_mount() {
        let device = mount(name, mountpoint, settings)?;
        Session::from_fd(adapter, device, config.acl, config).inspect_err(|_| {
            // The handshake failed: nobody will ever answer there.
            let _ = sys::unmount(mountpoint, true);
        })?
    } else {
        Session::new(adapter, mountpoint, &config)?
    };
    // Dropping the session's handle would unmount the path once more at the end, and with it whatever was mounted
    // there since. It is this process's last act to let go of it.
    std::mem::forget(session.spawn()?);
    Ok(())
}

/// The mount call (mount(2), and the options of the kernel's Documentation/filesystems/fuse).
fn mount(name: &str, mountpoint: &Path, settings: &MountSettings) -> io::Result<OwnedFd> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={}",
        device.as_raw_fd(),
        sys::uid(),
        sys::gid()
    );
    if settings.allow_other {
        data += ",allow_other";
    }
    if checks_modes(settings) {
        data += ",default_permissions";
    }
    let mut flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    flags.set(MsFlags::MS_RDONLY, settings.read_only);
    flags.set(MsFlags::MS_NOATIME, asks_for(settings, "noatime"));
    flags.set(MsFlags::MS_SYNCHRONOUS, asks_for(settings, "sync"));
    nix::mount::mount(
        Some(name),
        mountpoint,
        Some(FILESYSTEM_TYPE),
        flags,
        Some(data.as_str()),
    )?;
    Ok(device.into())
}

/// What `fusermount3` is told, and how the library serves.
fn config(name: &str, settings: &MountSettings) -> Config {
    let mut options = vec![
        MountOption::FSName(name.to_owned()),
        MountOption::Subtype("afs".to_owned()),
        MountOption::NoExec,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    let wanted = [
        (settings.read_only, MountOption::RO),
        (checks_modes(settings), MountOption::DefaultPermissions),
        (asks_for(settings, "noatime"), MountOption::NoAtime),
        (asks_for(settings, "sync"), MountOption::Sync),
    ];
    options.extend(
        wanted
            .into_iter()
            .filter(|(is_wanted, _)| *is_wanted)
            .map(|(_, option)| option),
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
