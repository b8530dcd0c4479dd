//! A workspace that a command asks: through its mount, or itself, with whatever is there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::status::changes;
use super::talk::Reached;
use crate::control::{
    Bare, ControlError, Files, Holdings, Reply, Request, Server, Trash, backlog, give_up,
};
use crate::mount::{Session, Unmounted};
use crate::store::Store;

/// A workspace of this machine.
pub(super) enum Place {
    /// One whose mount is asked.
    Mounted(Reached),
    /// One that is looked at here, for nobody has it mounted.
    Unmounted(PathBuf, Box<Unmounted>, Arc<Store>),
    /// One that this command works on alone, by its key.
    Working(Box<Session>, Box<Server>),
    /// One that nothing is known of here; the path is the service's address.
    Bare(PathBuf, Box<Bare>),
}

impl Place {
    /// Where it is mounted, or was.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Mounted(reached) => &reached.mountpoint,
            Self::Unmounted(path, ..) | Self::Bare(path, _) => path,
            Self::Working(_, server) => &server.about.mountpoint,
        }
    }

    /// The one that a session is about.
    pub(super) fn working(session: Session) -> Self {
        let server = session.server(Path::new(""));
        Self::Working(Box::new(session), Box::new(server))
    }

    /// Whether a path is in this workspace's state.
    pub(super) fn has(&self, path: &Path) -> bool {
        match self {
            Self::Working(_, server) => path.starts_with(&server.about.state_dir),
            _ => false,
        }
    }

    /// The end of the command. What is left to do is in the outbox, and is said.
    pub(super) fn end(&self) {
        match self {
            Self::Working(session, _) => {
                // What the command itself was to do has had its word; this is what others left.
                let left = session.finish();
                if left > 0 {
                    tell!(
                        "{} of earlier commands or mounts not sent yet; see afs pending, or send everything: afs flush",
                        changes(left)
                    );
                }
            }
            Self::Mounted(_) | Self::Unmounted(..) | Self::Bare(..) => {}
        }
    }

    /// Has the kernel see a file that was changed behind its back: it looks again where an open fails.
    pub(super) fn look_again(&self, name: &str) {
        if let Self::Mounted(reached) = self {
            // Whether it can be read does not matter.
            let _ = File::open(reached.mountpoint.join(name));
        }
    }

    /// The answer that ends; `hear` is told those before it.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        hear: &mut dyn FnMut(&Reply),
    ) -> Result<Reply, String> {
        let (state, store) = match self {
            Self::Mounted(reached) => return ask_mount(reached, request, hear),
            Self::Unmounted(_, unmounted, store) => (&unmounted.state, &*store),
            Self::Working(_, server) => return ended(answer_of(server, request, hear)),
            Self::Bare(_, bare) => {
                return ended(bare.answer(request, &mut |part| {
                    hear(part);
                    true
                }));
            }
        };
        let fs = None;
        let holdings = Holdings { state, store, fs };
        let trash = Trash { state, store, fs };
        let live = None;
        let files = Files { state, store, live };
        let reply = match request {
            Request::Files { which } => files.list(which, &mut |part| {
                hear(part);
                true
            }),
            Request::File { what, asks, gives } => files.file(what, *asks, *gives),
            Request::Trash => trash.list(),
            Request::TakeBack { name } => trash.take_back(name),
            Request::Purge { key } => trash.purge(key),
            Request::Downloads => holdings.list(),
            Request::Evict { what } => holdings.evict(what),
            Request::EvictAll => holdings.evict_all(),
            Request::Pin { what } => holdings.pin(what, &mut |_| true),
            Request::Unpin { what } => holdings.unpin(what),
            Request::Pending => backlog(state),
            Request::Drop { name } => give_up(state, store, name),
            Request::Retry { .. } => {
                return Err(
                    "what is pending is sent by the next mount, or now: afs flush".to_owned(),
                );
            }
            other => return Err(format!("it has to be mounted for {other:?}")),
        };
        ended(reply)
    }
}

fn ended(reply: Reply) -> Result<Reply, String> {
    match reply {
        Reply::Failed { why } => Err(why),
        reply => Ok(reply),
    }
}

/// The line that ends the answer.
fn answer_of(server: &Server, request: &Request, hear: &mut dyn FnMut(&Reply)) -> Reply {
    let mut last = None;
    server.answer(request, &mut |part| {
        if part.is_followed() {
            hear(part);
        } else {
            last = Some(part.clone());
        }
        true
    });
    last.unwrap_or_else(|| Reply::Failed {
        why: "there was no answer, by a mistake in afs".to_owned(),
    })
}

fn ask_mount(
    reached: &mut Reached,
    request: &Request,
    hear: &mut dyn FnMut(&Reply),
) -> Result<Reply, String> {
    let client = reached.client.as_mut().map_err(|why| why.clone())?;
    let said = |error: ControlError| error.to_string();
    let mut reply = client.ask(request).map_err(said)?;
    while reply.is_followed() {
        hear(&reply);
        reply = client.hear().map_err(said)?;
    }
    Ok(reply)
}
