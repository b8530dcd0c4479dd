//! The assembly: from settings to a mount that answers, and to its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::config::MountSettings;
use crate::control;
use crate::fs::FsError;
use crate::fuse::FuseAdapter;

use super::background::Ready;
use super::kernel;
use super::prepare::{self, Prepared};
use super::registration::Registration;
use super::service_manager::ServiceManager;
use super::session::LONGEST_FINISH;
use super::sys::{self, Signals};
use super::table::MountTable;
use super::unmount;
use super::{MountError, Session};

/// What the kernel's table shows as the mount's source.
const NAME: &str = "afs";

/// The same of a demo: nobody should take it for their workspace.
const DEMO_NAME: &str = "afs:demo";

/// How long a mount that was told to end waits for programs that still have files open.
const LAST_HANDLES: Duration = Duration::from_secs(3);

/// Why a mount ends.
enum End {
    /// Somebody unmounted it.
    Unmounted,
    /// This process was told to.
    Signal(&'static str),
}

/// Serves the mount until it is unmounted or told to end; `manager` is told how it is meanwhile. Call it before the process
/// has other threads: they inherit which signals are blocked.
pub fn serve(
    settings: MountSettings,
    ready: Ready,
    manager: &ServiceManager,
) -> Result<(), MountError> {
    let Prepared {
        path: mountpoint,
        is_new,
    } = prepare::prepare(&settings).map_err(MountError::Refused)?;
    let served = serve_at(&mountpoint, settings, ready, manager);
    if served.is_err() && is_new {
        // Nobody else knows of it. Where something is mounted on it all the same, it stays.
        let _ = std::fs::remove_dir(&mountpoint);
    }
    served
}

fn serve_at(
    mountpoint: &Path,
    settings: MountSettings,
    ready: Ready,
    manager: &ServiceManager,
) -> Result<(), MountError> {
    let signals = Signals::block().map_err(MountError::System)?;
    if let Err(error) = sys::raise_file_limit() {
        log::warn!("the limit of open files stays as it is: {error}");
    }
    let session = Session::open(settings, Some(mountpoint), &mut |count| {
        manager.is_listing(count);
    })?;
    let settings = &session.settings;
    let mut notices = session.notices().to_vec();
    let waiting = control::Waiting::below(&settings.state_root);
    notices.extend(waiting.iter().map(ToString::to_string));
    let (end, ended) = channel();
    // Before the kernel is let in: what fails now leaves no dead mount behind.
    let server = session.server(mountpoint);
    let reporter = server.reporter();
    session.fs.set_status(move || status_text(&reporter));
    control::serve(server).map_err(MountError::System)?;
    mount(&session, mountpoint, &end)?;
    let registration = Registration::write(mountpoint, &session.workspace.dir);
    if let Err(error) = &registration {
        log::warn!("afs unmount will not wait for this mount's last work: {error}");
    }
    session.check_copies();
    ready.announce(&notices);
    let state = &session.workspace.state;
    manager.is_ready(mountpoint, state);
    let reason = wait_for_an_end(signals, end, &ended);
    manager.is_ending(mountpoint, state, LAST_HANDLES + LONGEST_FINISH);
    leave(mountpoint, &reason, &ended);
    session.finish();
    if let Ok(registration) = registration {
        registration.leave_to_the_end();
    }
    Ok(())
}

/// Lets the kernel in. `end` is told when the kernel has left.
fn mount(session: &Session, mountpoint: &Path, end: &Sender<End>) -> Result<(), MountError> {
    let settings = &session.settings;
    let end = end.clone();
    let adapter = FuseAdapter::new(Arc::clone(&session.fs), settings.passthrough, move || {
        // Nobody listens when the process is on its way out already.
        let _ = end.send(End::Unmounted);
    })
    .map_err(MountError::System)?;
    session.start_uploader()?;
    let name = match &settings.shown_source {
        _ if session.service.demo.is_some() => DEMO_NAME,
        Some(source) => source,
        None => NAME,
    };
    kernel::attach(adapter, name, mountpoint, settings).map_err(MountError::Kernel)?;
    match MountTable::read() {
        Ok(table) => {
            if let Some(entry) = table.at(mountpoint) {
                session.fs.set_mount_id(entry.id);
                kernel::read_far_ahead(entry.minor);
            }
        }
        // Without the number every close counts as the last one.
        Err(error) => log::warn!("the mount table can't be read: {error}"),
    }
    Ok(())
}

/// What `.afs/status.json` says.
fn status_text(reporter: &control::Reporter) -> Result<String, FsError> {
    let status = reporter.status()?;
    serde_json::to_string_pretty(&status).map_err(|error| {
        log::error!("the mount's status can't be written down: {error}");
        FsError::Io
    })
}

/// Returns when the kernel has left the mount, or this process was told to end.
fn wait_for_an_end(signals: Signals, end: Sender<End>, ended: &Receiver<End>) -> End {
    let listener = thread::Builder::new()
        .name("afs-signals".into())
        .spawn(move || {
            let _ = end.send(End::Signal(signals.wait()));
        });
    if let Err(error) = listener {
        log::warn!("no thread to wait for signals: {error}");
    }
    ended.recv().unwrap_or(End::Unmounted)
}

/// Sees to it that the mount is gone.
fn leave(mountpoint: &Path, reason: &End, ended: &Receiver<End>) {
    match reason {
        End::Signal(name) => {
            log::info!("{name}: ending the mount");
            if let Err(why) = unmount::detach(mountpoint) {
                log::error!("{} could not be unmounted: {why}", mountpoint.display());
            }
            // Programs with open files hold the session; they have had their moment then.
            if ended.recv_timeout(LAST_HANDLES).is_err() {
                log::warn!("some programs still have files open here; they get errors from now on");
            }
        }
        End::Unmounted => log::info!("{} is unmounted", mountpoint.display()),
    }
}
