//! The assembly: from settings to a mount that answers, and to its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::api::Dialect;
use crate::config::{MountSettings, WRITE_BACK_PACE};
use crate::control;
use crate::fs::{FsError, FsSettings, WorkspaceFs};
use crate::fuse::FuseAdapter;
use crate::names::NameRules;
use crate::state::Millis;
use crate::store::Limits;
use crate::sync::Refresher;
use crate::uploader::{self, Conduct};

use super::MountError;
use super::background::Ready;
use super::kernel;
use super::prepare;
use super::registration::Registration;
use super::rotation::Home;
use super::service::Service;
use super::sys::{self, Signals};
use super::table::MountTable;
use super::unmount;
use super::workspace::{Place, Workspace};

/// What the kernel's table shows as the mount's source.
const NAME: &str = "afs";

/// The same of a demo: nobody should take it for their workspace.
const DEMO_NAME: &str = "afs:demo";

/// How long the end of a mount waits for what is due at the service; the rest stays in the outbox.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a mount that was told to end waits for programs that still have files open.
const LAST_HANDLES: Duration = Duration::from_secs(3);

/// What nobody who copies a file should have to find out later.
fn first_mount(dialect: Dialect) -> String {
    let stays = match dialect {
        Dialect::Beta | Dialect::Ga { expires: None } => "stays until deleted",
        Dialect::Ga { expires: Some(_) } => {
            "stays until it is deleted or its time (--expires) is over"
        }
    };
    format!(
        "Everything copied here is uploaded to this key's workspace, listed for everyone with a key of it, and {stays}."
    )
}

/// Why a mount ends.
enum End {
    /// Somebody unmounted it.
    Unmounted,
    /// This process was told to.
    Signal(&'static str),
}

/// Serves the mount until it is unmounted or told to end. Call it before the process has other threads: they inherit
/// which signals are blocked.
pub fn serve(mut settings: MountSettings, ready: Ready) -> Result<(), MountError> {
    let mountpoint = prepare::prepare(&settings).map_err(MountError::Refused)?;
    let signals = Signals::block().map_err(MountError::System)?;
    if let Err(error) = sys::raise_file_limit() {
        log::warn!("the limit of open files stays as it is: {error}");
    }
    let service = Service::connect(&mut settings)?;
    let mut workspace = Place {
        state_root: &settings.state_root,
        cache_root: &settings.cache_root,
        mountpoint: &mountpoint,
        limits: Limits {
            cache: settings.cache_size,
            trash: settings.trash,
            min_free: settings.min_free,
            kept: settings.keep_limit,
            no_progress: settings.no_progress,
        },
        base_url: &service.host,
        identity: &service.identity,
    }
    .open(&*service.first)?;
    if let Some(rotating) = &service.rotating {
        rotating.settle(Home {
            state: Arc::clone(&workspace.state),
            state_root: settings.state_root.clone(),
            host: service.host.clone(),
        });
    }
    let refresher = Refresher::new(
        Arc::clone(&service.listings),
        Arc::clone(&service.background),
        Arc::clone(&workspace.state),
        Arc::clone(&workspace.store),
        settings.refresh,
    );
    let mut notices = first_listing(&service, &mut workspace, &refresher, settings.dialect)?;
    let waiting = control::Waiting::below(&settings.state_root);
    notices.extend(waiting.iter().map(ToString::to_string));
    let fs = Arc::new(WorkspaceFs::new(
        Arc::clone(&service.reads),
        Arc::clone(&workspace.state),
        Arc::clone(&workspace.store),
        Arc::clone(&refresher),
        fs_settings(&settings),
    ));
    let (end, ended) = channel();
    // Before the kernel is let in: what fails now leaves no dead mount behind.
    let server = control::Server {
        about: control::About {
            mountpoint: mountpoint.clone(),
            host: service.base_url.clone(),
            state_dir: workspace.dir.clone(),
        },
        state: Arc::clone(&workspace.state),
        store: Arc::clone(&workspace.store),
        refresher: Arc::clone(&refresher),
        fs: Arc::clone(&fs),
        budget: Arc::clone(&service.budget),
    };
    let reporter = server.reporter();
    fs.set_status(move || status_text(&reporter));
    control::serve(server).map_err(MountError::System)?;
    mount(&settings, &service, &workspace, &fs, &mountpoint, &end)?;
    let registration = Registration::write(&mountpoint, &workspace.dir);
    if let Err(error) = &registration {
        log::warn!("afs unmount will not wait for this mount's last work: {error}");
    }
    workspace.check_copies();
    ready.announce(&notices);
    wait_for_the_end(&mountpoint, signals, end, &ended);
    finish(&workspace, &refresher, &fs);
    if let Ok(registration) = registration {
        registration.leave_to_the_end();
    }
    Ok(())
}

/// Lists a workspace that nothing is known of, completely: a part of it is never shown as the whole. What to tell the
/// person who mounts it.
fn first_listing(
    service: &Service,
    workspace: &mut Workspace,
    refresher: &Refresher,
    dialect: Dialect,
) -> Result<Vec<String>, MountError> {
    if refresher.is_known()? {
        return Ok(Vec::new());
    }
    let progress = ProgressBar::new_spinner();
    refresher
        .list_all(workspace.first_page.take(), &mut |count| {
            progress.set_message(format!("listing the workspace: {count} files"));
            progress.tick();
        })
        .map_err(|error| MountError::FirstListing {
            base_url: service.base_url.clone(),
            error: Box::new(error),
        })?;
    progress.finish_and_clear();
    Ok(match service.demo {
        Some(_) => Vec::new(),
        None => vec![first_mount(dialect)],
    })
}

/// Puts the rooms together and lets the kernel in. `end` is told when the kernel has left.
fn mount(
    settings: &MountSettings,
    service: &Service,
    workspace: &Workspace,
    fs: &Arc<WorkspaceFs>,
    mountpoint: &Path,
    end: &Sender<End>,
) -> Result<(), MountError> {
    let end = end.clone();
    let adapter = FuseAdapter::new(Arc::clone(fs), settings.passthrough, move || {
        // Nobody listens when the process is on its way out already.
        let _ = end.send(End::Unmounted);
    })
    .map_err(MountError::System)?;
    if settings.write_back {
        workspace.state.coalesce_saves(WRITE_BACK_PACE);
    }
    workspace
        .state
        .keep_replaced(settings.keep_replaced.as_millis() as Millis)?;
    if !settings.read_only {
        uploader::start(
            &service.saves,
            &workspace.state,
            &workspace.store,
            Conduct {
                patience: settings.no_progress,
                keeps_replaced: settings.keeps_replaced,
                jitter: uploader::by_chance,
                settles: uploader::SETTLES,
            },
        )
        .map_err(MountError::System)?;
    }
    let name = if service.demo.is_some() {
        DEMO_NAME
    } else {
        NAME
    };
    kernel::attach(adapter, name, mountpoint, settings).map_err(MountError::Kernel)?;
    match MountTable::read() {
        Ok(table) => {
            if let Some(entry) = table.at(mountpoint) {
                fs.set_mount_id(entry.id);
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

fn fs_settings(settings: &MountSettings) -> FsSettings {
    FsSettings {
        delete_guard: settings.delete_guard,
        uid: settings.uid,
        gid: settings.gid,
        umask: settings.umask,
        quota: settings.quota,
        read_only: settings.read_only,
        xattr: settings.xattr,
        write_back: settings.write_back,
        mime_overrides: settings.mime_overrides.clone(),
        names: NameRules {
            scratch: settings.scratch.clone(),
            send: settings.send.clone(),
        },
    }
}

/// Returns when the kernel has left the mount, or this process was told to end and has taken it away.
fn wait_for_the_end(mountpoint: &Path, signals: Signals, end: Sender<End>, ended: &Receiver<End>) {
    let listener = thread::Builder::new()
        .name("afs-signals".into())
        .spawn(move || {
            let _ = end.send(End::Signal(signals.wait()));
        });
    if let Err(error) = listener {
        log::warn!("no thread to wait for signals: {error}");
    }
    match ended.recv() {
        Ok(End::Signal(name)) => {
            log::info!("{name}: ending the mount");
            if let Err(why) = unmount::detach(mountpoint) {
                log::error!("{} could not be unmounted: {why}", mountpoint.display());
            }
            // Programs with open files hold the session; they have had their moment then.
            if ended.recv_timeout(LAST_HANDLES).is_err() {
                log::warn!("some programs still have files open here; they get errors from now on");
            }
        }
        Ok(End::Unmounted) | Err(_) => log::info!("{} is unmounted", mountpoint.display()),
    }
}

/// The last moments: what is due goes out, the rest stays in the outbox for the next mount.
fn finish(workspace: &Workspace, refresher: &Refresher, fs: &WorkspaceFs) {
    let until = Instant::now() + LAST_WORDS;
    refresher.stop();
    let unfinished = fs.keep_unfinished();
    if unfinished > 0 {
        log::warn!(
            "{unfinished} files were never closed by the programs that write them; they are not sent, and afs pending \
             shows them when the workspace is mounted again"
        );
    }
    // On a read-only mount nobody works on it.
    let until = if fs.settings().read_only {
        Instant::now()
    } else {
        until
    };
    let left = workspace.state.wait_idle(until);
    workspace.state.stop();
    // What was downloaded whole need not be downloaded again.
    workspace.store.settle(Instant::now() + LAST_WORDS);
    if left > 0 {
        log::warn!("{left} changes have not reached the service; the next mount sends them");
    }
    if let Err(error) = workspace.close() {
        log::error!("{error}");
    }
}
