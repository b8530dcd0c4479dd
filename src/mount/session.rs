//! A workspace at work: its service, its state, its files and what sends them, all but the kernel. A mount is one with the
//! kernel in front of it; `afs put`, `get` and `rm` are one for as long as they take.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::api::Dialect;
use crate::config::{MountSettings, WRITE_BACK_PACE};
use crate::control;
use crate::fs::{FsSettings, WorkspaceFs};
use crate::names::NameRules;
use crate::state::Millis;
use crate::store::Limits;
use crate::sync::Refresher;
use crate::uploader::{self, Conduct};

use super::MountError;
use super::rotation::Home;
use super::service::Service;
use super::workspace::{Place, Workspace};

/// How long the end of a session waits for what is due at the service; the rest stays in the outbox.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long [`Session::finish`] waits in all.
pub(super) const LONGEST_FINISH: Duration = LAST_WORDS.saturating_mul(2);

/// What nobody who copies a file should have to find out later.
fn first_time(dialect: Dialect) -> String {
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

/// A workspace that this process alone works on.
pub struct Session {
    pub(super) service: Service,
    pub(super) workspace: Workspace,
    pub(super) fs: Arc<WorkspaceFs>,
    refresher: Arc<Refresher>,
    /// As they are in use: a demo has directories of its own.
    pub(super) settings: MountSettings,
    /// What the person who begins it should be told.
    notices: Vec<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Finds the workspace of the settings' key and opens its state. One that nothing is known of is listed completely: a
    /// part of it is never shown as the whole. `mountpoint` is where it is shown, if it is; `listed` is told how many files
    /// are listed so far.
    pub(super) fn open(
        mut settings: MountSettings,
        mountpoint: Option<&Path>,
        listed: &mut dyn FnMut(usize),
    ) -> Result<Self, MountError> {
        let service = Service::connect(&mut settings)?;
        let mut workspace = Place {
            state_root: &settings.state_root,
            cache_root: &settings.cache_root,
            mountpoint,
            names: settings.names,
            limits: Limits {
                cache: settings.cache_size,
                trash: settings.trash,
                min_free: settings.min_free,
                kept: settings.keep_limit,
                no_progress: settings.service.no_progress,
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
        let notices = first_listing(
            &service,
            &mut workspace,
            &refresher,
            settings.service.dialect,
            listed,
        )?;
        let fs = Arc::new(WorkspaceFs::new(
            Arc::clone(&service.reads),
            Arc::clone(&workspace.state),
            Arc::clone(&workspace.store),
            Arc::clone(&refresher),
            fs_settings(&settings),
        ));
        Ok(Self {
            service,
            workspace,
            fs,
            refresher,
            settings,
            notices,
        })
    }

    /// The same for a command that has no mount: whatever waits in the outbox is sent as well.
    pub fn without_mount(settings: MountSettings) -> Result<Self, MountError> {
        let session = Self::open(settings, None, &mut |_| ())?;
        session.start_uploader()?;
        Ok(session)
    }

    /// What the person who begins it should be told.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What answers questions about it. `mountpoint` is what it calls the place.
    #[must_use]
    pub fn server(&self, mountpoint: &Path) -> control::Server {
        control::Server {
            about: control::About {
                mountpoint: mountpoint.to_owned(),
                host: self.service.base_url.clone(),
                state_dir: self.workspace.dir.clone(),
                dialect: self.settings.service.dialect,
            },
            state: Arc::clone(&self.workspace.state),
            store: Arc::clone(&self.workspace.store),
            refresher: Arc::clone(&self.refresher),
            fs: Arc::clone(&self.fs),
            budget: Arc::clone(&self.service.budget),
        }
    }

    /// Sends from now on what waits in the outbox, unless nothing may be changed.
    pub(super) fn start_uploader(&self) -> Result<(), MountError> {
        let state = &self.workspace.state;
        if self.settings.write_back {
            state.coalesce_saves(WRITE_BACK_PACE);
        }
        state.keep_replaced(self.settings.keep_replaced.as_millis() as Millis)?;
        if self.settings.read_only {
            return Ok(());
        }
        let conduct = Conduct {
            patience: self.settings.service.no_progress,
            keeps_replaced: self.settings.keeps_replaced,
            jitter: uploader::by_chance,
            settles: uploader::SETTLES,
        };
        uploader::start(&self.service.saves, state, &self.workspace.store, conduct)
            .map_err(MountError::System)
    }

    /// Compares the copies that an unclean end has left in doubt, in the background; reading one of them before its turn
    /// compares it first.
    pub(super) fn check_copies(&self) {
        let (state, store) = (
            Arc::clone(&self.workspace.state),
            Arc::clone(&self.workspace.store),
        );
        let checking = thread::Builder::new()
            .name("afs-verify".into())
            .spawn(move || match store.verify(&state, false, &mut |_| true) {
                Ok(findings) if findings.copies == 0 => {}
                Ok(findings) => log::info!(
                    "{} kept copies checked, {} damaged",
                    findings.copies,
                    findings.damaged.len()
                ),
                Err(error) => log::error!("the kept copies could not be checked: {error}"),
            });
        if let Err(error) = checking {
            log::warn!("no thread to check the kept copies: {error}");
        }
    }

    /// The last moments: what is due goes out, the rest stays in the outbox for who comes next. How many changes that are.
    pub fn finish(&self) -> usize {
        let until = Instant::now() + LAST_WORDS;
        self.refresher.stop();
        let unfinished = self.fs.keep_unfinished();
        if unfinished > 0 {
            log::warn!(
                "{unfinished} files were never closed by the programs that write them; they are not sent, and afs pending \
                 shows them when the workspace is mounted again"
            );
        }
        // On a read-only mount nobody works on it.
        let until = if self.settings.read_only {
            Instant::now()
        } else {
            until
        };
        let state = &self.workspace.state;
        let left = state.wait_idle(until);
        state.stop();
        // What was downloaded whole need not be downloaded again.
        self.workspace.store.settle(Instant::now() + LAST_WORDS);
        if left > 0 {
            log::warn!("{left} changes have not reached the service; the next mount sends them");
        }
        if let Err(error) = self.workspace.close() {
            log::error!("{error}");
        }
        left
    }
}

/// Lists a workspace that nothing is known of. What to tell the person who begins.
fn first_listing(
    service: &Service,
    workspace: &mut Workspace,
    refresher: &Refresher,
    dialect: Dialect,
    listed: &mut dyn FnMut(usize),
) -> Result<Vec<String>, MountError> {
    if refresher.is_known()? {
        return Ok(Vec::new());
    }
    let progress = ProgressBar::new_spinner();
    refresher
        .list_all(workspace.first_page.take(), &mut |count| {
            progress.set_message(format!("listing the workspace: {count} files"));
            progress.tick();
            listed(count);
        })
        .map_err(|error| MountError::FirstListing {
            base_url: service.base_url.clone(),
            error: Box::new(error),
        })?;
    progress.finish_and_clear();
    Ok(match service.demo {
        Some(_) => Vec::new(),
        None => vec![first_time(dialect)],
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
