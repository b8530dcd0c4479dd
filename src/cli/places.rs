//! Which workspace a command is about, mounted or not, and which of its files: what is typed may be a mount point, a
//! name, an id, or the path of a file.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::place::Place;
use super::reaching::Reaching;
use super::settings::surroundings;
use super::talk::{NOTHING_MOUNTED, printable, reach};
use super::{failed, nothing_matched, typed_wrongly};
use crate::mount::prepare::resolve;
use crate::mount::table::MountTable;
use crate::mount::{Unmounted, sys};

/// Where states are.
#[derive(Debug, Default, Args)]
pub(super) struct StateDir {
    /// Where state is, for what is not mounted [default: ~/.local/state/afs]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Look in /var/lib/afs, where mounts of the machine have their state (fstab, mount --system)
    #[arg(long)]
    system: bool,
}

impl StateDir {
    pub(super) fn system(&self) -> bool {
        self.system
    }

    pub(super) fn dir(&self) -> Option<&Path> {
        self.state_dir.as_deref()
    }
}

/// What was typed, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// Where it is mounted, or was; `None` where nothing says so.
    pub(super) mountpoint: Option<PathBuf>,
    /// Names in the mount, or ids.
    pub(super) names: Vec<String>,
}

/// The mounts of this user, and the workspaces that are not mounted, which are looked for where they matter only: until
/// this is dropped nobody can mount them.
#[derive(Default)]
pub(super) struct Places {
    mounted: Vec<PathBuf>,
    unmounted: Vec<Unmounted>,
}

impl Places {
    /// Those that `typed` may be about. `state_dir` is where states are, where that is not the usual place.
    pub(super) fn look(typed: &[PathBuf], state_dir: Option<&Path>) -> Result<Self, String> {
        let table = MountTable::read()
            .map_err(|error| format!("the mount table cannot be read: {error}"))?;
        let mut places = Self {
            mounted: table
                .of_user(sys::uid())
                .map(|entry| entry.mountpoint.clone())
                .collect(),
            unmounted: Vec::new(),
        };
        let is_elsewhere = |path: &PathBuf| is_path(path) && places.around(path).is_none();
        if places.mounted.is_empty() || typed.iter().any(is_elsewhere) {
            places.unmounted = Unmounted::below(&state_root(state_dir)?);
        }
        Ok(places)
    }

    /// Whether there is none at all.
    pub(super) fn are_none(&self) -> bool {
        self.mounted.is_empty() && self.unmounted.is_empty()
    }

    /// The place that a path leads into, and what of the path is left in there. Looked for from the root down, so that
    /// nothing in a mount is touched.
    fn around(&self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let path = std::path::absolute(path).ok()?;
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        ancestors.into_iter().find_map(|ancestor| {
            let place = resolve(ancestor).ok()?;
            let left = path.strip_prefix(ancestor).ok()?.to_owned();
            self.is_place(&place).then_some((place, left))
        })
    }

    /// Whether something is mounted there now.
    pub(super) fn is_mounted(&self, path: &Path) -> bool {
        self.mounted.iter().any(|mounted| mounted == path)
    }

    fn is_place(&self, path: &Path) -> bool {
        self.is_mounted(path)
            || self
                .unmounted
                .iter()
                .any(|unmounted| unmounted.place() == path)
    }

    /// Takes what was typed apart. The first word may be a mount point; the others, and paths of files, say what in it.
    pub(super) fn take_apart(&self, typed: &[PathBuf]) -> Result<Typed, String> {
        let mut mountpoint = None;
        let mut names = Vec::new();
        for (n, word) in typed.iter().enumerate() {
            // A name may be a path too: in a mount that is the working directory.
            let around = if n == 0 || is_path(word) {
                self.around(word)
            } else {
                None
            };
            let Some((place, left)) = around else {
                if is_path(word) {
                    return Err(format!("{} is in no mount of afs", word.display()));
                }
                names.push(word.to_string_lossy().into_owned());
                continue;
            };
            if mountpoint.get_or_insert_with(|| place.clone()) != &place {
                return Err(format!(
                    "{} is in another mount than what was named before it: one at a time",
                    word.display()
                ));
            }
            if !left.as_os_str().is_empty() {
                names.push(left.to_string_lossy().into_owned());
            }
        }
        Ok(Typed { mountpoint, names })
    }

    /// The place of this path; where none is named every mount, or, where nothing is mounted, every workspace.
    pub(super) fn chosen(self, mountpoint: Option<&Path>) -> Result<Vec<Place>, String> {
        let is_mounted = match mountpoint {
            Some(path) => self.is_mounted(path),
            None => !self.mounted.is_empty(),
        };
        if is_mounted {
            return Ok(reach(mountpoint)?.into_iter().map(Place::Mounted).collect());
        }
        let mut chosen = Vec::new();
        for unmounted in self.unmounted {
            let path = unmounted.place();
            if mountpoint.is_some_and(|wanted| wanted != path) {
                continue;
            }
            match unmounted.store() {
                Ok(store) => chosen.push(Place::Unmounted(path, Box::new(unmounted), store)),
                Err(error) if mountpoint.is_some() => return Err(error.to_string()),
                Err(error) => log::warn!("{}: {error}", path.display()),
            }
        }
        match mountpoint {
            Some(path) if chosen.is_empty() => Err(format!(
                "{} is not a mount of afs, nor was it one",
                path.display()
            )),
            _ => Ok(chosen),
        }
    }
}

/// The workspaces that are meant, and the other words. Where there are none, that has been said.
pub(super) fn asked(
    typed: &[PathBuf],
    state: &StateDir,
) -> Result<(Vec<Place>, Vec<String>), ExitCode> {
    among(
        Places::look(typed, state.dir()).map_err(|why| failed(&why))?,
        typed,
    )
}

/// The same of places that were looked up.
pub(super) fn among(
    places: Places,
    typed: &[PathBuf],
) -> Result<(Vec<Place>, Vec<String>), ExitCode> {
    let typed = places
        .take_apart(typed)
        .map_err(|why| nothing_matched(&why))?;
    let places = places
        .chosen(typed.mountpoint.as_deref())
        .map_err(|why| nothing_matched(&why))?;
    if places.is_empty() {
        return Err(nothing_matched(&NOTHING_MOUNTED));
    }
    Ok((places, typed.names))
}

/// The same of a command that can ask the service itself: where its key is named, or where nothing is known here.
pub(super) fn asked_service(
    typed: &[PathBuf],
    reaching: &Reaching,
) -> Result<(Vec<Place>, Vec<String>), ExitCode> {
    let as_words = || typed.iter().map(|word| word.to_string_lossy().into_owned());
    if reaching.names_service() {
        return Ok((vec![reaching.bare(false)?], as_words().collect()));
    }
    let has_path = typed.iter().any(|word| is_path(word));
    let places = match Places::look(typed, reaching.state().dir()) {
        Ok(places) => places,
        // Without a home directory there is no state, but there may be a key.
        Err(_) if reaching.has_key() && !has_path => Places::default(),
        Err(why) => return Err(failed(&why)),
    };
    if places.are_none() && !has_path {
        if reaching.has_key() {
            return Ok((vec![reaching.bare(false)?], as_words().collect()));
        }
        return Err(nothing_matched(
            &"nothing is mounted, and there is no key to ask the service with: set ANTHROPIC_API_KEY, or afs mount ~/claude-files",
        ));
    }
    // Whoever reads it should know; a script asked for what there is.
    if places.mounted.is_empty() && !places.are_none() && io::stderr().is_terminal() {
        tell!(
            "not mounted: this is how it was seen last; to ask the service: afs mount, or --key-file"
        );
    }
    among(places, typed)
}

/// The same of a command that needs at least one word.
pub(super) fn asked_for(
    typed: &[PathBuf],
    reaching: &Reaching,
) -> Result<(Vec<Place>, Vec<String>), ExitCode> {
    at_least_one(asked_service(typed, reaching)?)
}

/// The same of one that is about this machine only.
pub(super) fn asked_here_for(
    typed: &[PathBuf],
    state: &StateDir,
) -> Result<(Vec<Place>, Vec<String>), ExitCode> {
    at_least_one(asked(typed, state)?)
}

fn at_least_one(
    (places, words): (Vec<Place>, Vec<String>),
) -> Result<(Vec<Place>, Vec<String>), ExitCode> {
    if words.is_empty() {
        return Err(typed_wrongly(
            &"say which file: its name, its path, or its id",
        ));
    }
    Ok((places, words))
}

/// The workspaces of a command that is about nothing in them: of one mount point, or all.
pub(super) fn asked_all(
    mountpoint: Option<&PathBuf>,
    state: &StateDir,
) -> Result<Vec<Place>, ExitCode> {
    without_words(asked(mountpoint.map_or(&[], std::slice::from_ref), state)?)
}

/// The same of a command that can ask the service itself.
pub(super) fn asked_all_service(
    mountpoint: Option<&PathBuf>,
    reaching: &Reaching,
) -> Result<Vec<Place>, ExitCode> {
    without_words(asked_service(
        mountpoint.map_or(&[], std::slice::from_ref),
        reaching,
    )?)
}

fn without_words((places, words): (Vec<Place>, Vec<String>)) -> Result<Vec<Place>, ExitCode> {
    match words.first() {
        None => Ok(places),
        Some(word) => Err(typed_wrongly(&format!(
            "{} is no mount point; to look for files by name: afs find",
            printable(word)
        ))),
    }
}

/// Whether a word is the path of something: names and ids have no slash. The views of a mount are named from its root
/// on, as lists show them.
pub(super) fn is_path(word: &Path) -> bool {
    let text = word.to_string_lossy();
    (text.contains('/') || text == "." || text == "..") && !text.starts_with(".afs/")
}

fn state_root(state_dir: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(dir) = state_dir {
        return Ok(dir.to_owned());
    }
    surroundings(false)
        .state_root()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(mountpoint: Option<&str>, names: &[&str]) -> Typed {
        Typed {
            mountpoint: mountpoint.map(PathBuf::from),
            names: names.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn what_is_typed_says_where_and_what() {
        let places = Places {
            mounted: vec!["/nowhere/a".into(), "/nowhere/b".into()],
            unmounted: Vec::new(),
        };
        for (words, expected) in [
            (&["x.png"][..], Ok(typed(None, &["x.png"]))),
            (&["x.png", "file_1"], Ok(typed(None, &["x.png", "file_1"]))),
            (&["/nowhere/a"], Ok(typed(Some("/nowhere/a"), &[]))),
            (
                &["/nowhere/a/", "x.png", "y"],
                Ok(typed(Some("/nowhere/a"), &["x.png", "y"])),
            ),
            (
                &["/nowhere/b/x.png", "/nowhere/b/y"],
                Ok(typed(Some("/nowhere/b"), &["x.png", "y"])),
            ),
            (
                &["/nowhere/b/.afs/outputs/y", ".afs/sessions/s/y"],
                Ok(typed(
                    Some("/nowhere/b"),
                    &[".afs/outputs/y", ".afs/sessions/s/y"],
                )),
            ),
            (
                &["/nowhere/c/x"],
                Err("/nowhere/c/x is in no mount of afs".to_owned()),
            ),
            (
                &["/nowhere/a", "/nowhere/b/x"],
                Err(
                    "/nowhere/b/x is in another mount than what was named before it: one at a time"
                        .to_owned(),
                ),
            ),
        ] {
            let words: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
            assert_eq!(places.take_apart(&words), expected, "{words:?}");
        }
    }
}
