//! Looking before anything is touched: can this be mounted here, and if not, why, as a sentence.
//!
//! A *probe* is one thing seen; [`decide`] is a pure function over all of them. [`super::prepare`] looks and acts.

use std::fmt;
use std::path::Path;

/// What container engines keep back unless they are asked.
const IN_A_CONTAINER: &str = "in a container use --device /dev/fuse --cap-add SYS_ADMIN";

/// What is found at the mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// Nothing; its parent directory is there.
    Missing,
    /// Nothing, and no directory it could be made in.
    NoParent,
    /// A file or something stranger.
    NotADirectory,
    /// A directory with something in it.
    NotEmpty,
    /// An empty directory.
    Empty,
    /// An empty directory where this user may not write; fusermount3 refuses those.
    NotWritable,
    /// A mount of ours.
    Ours(Health),
    /// It cannot be looked at.
    Unreadable(String),
}

/// How a mount of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Its process is there.
    Alive,
    /// Its process is gone.
    Dead,
    /// It does not answer, and who serves it is not known.
    Silent,
}

/// What is found at `/dev/fuse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// It can be opened.
    Usable,
    /// There is none, or nothing behind it.
    Missing,
    /// It is there, for others.
    Forbidden,
}

/// All that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probes {
    /// The mount point.
    pub point: Point,
    /// The device.
    pub device: Device,
    /// Whether the user is root.
    pub root: bool,
    /// Whether this process may mount by itself.
    pub may_mount: bool,
    /// Whether fusermount3, which mounts for those who may not, is installed.
    pub fusermount: bool,
    /// Whether others are to be let in.
    pub allow_other: bool,
    /// Whether `/etc/fuse.conf` lets ordinary users do that.
    pub user_allow_other: bool,
}

/// What to do first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it can be mounted.
    Mount,
    /// The mount point has to be made.
    Create,
    /// A dead mount has to be taken away.
    Heal,
}

/// Why it cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What cannot be done, and why; where there is no remedy beside it, also what to do.
    pub(super) why: String,
    /// What to do about the surroundings.
    pub(super) remedy: Option<String>,
}

impl Refusal {
    /// A sentence: what cannot be done, why, what to do.
    pub(super) fn new(sentence: String) -> Self {
        Self {
            why: sentence,
            remedy: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        match &self.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// What the probes mean for a mount at `path`.
pub fn decide(probes: &Probes, path: &Path) -> Result<Step, Refusal> {
    let step = decide_point(probes, path)?;
    decide_device(probes)?;
    decide_rights(probes)?;
    Ok(step)
}

fn refuse<T>(sentence: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(sentence.into()))
}

/// What is wrong with the machine, and what to do about it.
fn unfit<T>(why: &str, remedy: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        why: why.to_owned(),
        remedy: Some(remedy.into()),
    })
}

fn decide_point(probes: &Probes, path: &Path) -> Result<Step, Refusal> {
    let at = path.display();
    match &probes.point {
        Point::Empty => Ok(Step::Mount),
        Point::Missing => Ok(Step::Create),
        Point::Ours(Health::Dead) => Ok(Step::Heal),
        Point::NotWritable if probes.may_mount => Ok(Step::Mount),
        Point::Ours(Health::Alive) => refuse(format!(
            "{at} is already mounted; to end that mount: afs unmount {at}"
        )),
        Point::Ours(Health::Silent) => refuse(format!(
            "{at} is already mounted, but does not answer; take it away first: afs unmount {at}"
        )),
        Point::NoParent => refuse(format!(
            "{at} cannot be made, for the directory it should be in does not exist; make that first, with mkdir -p"
        )),
        Point::NotADirectory => refuse(format!(
            "{at} is not a directory; name an empty directory or a new one"
        )),
        Point::NotEmpty => refuse(format!(
            "{at} is not empty, and a mount would hide what is in it; name an empty directory or a new one"
        )),
        Point::NotWritable => refuse(format!(
            "{at} cannot be mounted on, for you may not write there; name a directory of your own"
        )),
        Point::Unreadable(why) => refuse(format!("{at} cannot be used: {why}")),
    }
}

/// What the device means.
pub(super) fn decide_device(probes: &Probes) -> Result<(), Refusal> {
    match (&probes.device, probes.root) {
        (Device::Usable, _) => Ok(()),
        (Device::Missing, _) => unfit(
            "there is no /dev/fuse, which every mount of this kind needs",
            format!("load the kernel module with modprobe fuse; {IN_A_CONTAINER}"),
        ),
        (Device::Forbidden, true) => unfit("/dev/fuse may not be opened here", IN_A_CONTAINER),
        (Device::Forbidden, false) => unfit(
            "you may not open /dev/fuse",
            "ask the administrator for chmod 666 /dev/fuse, which is what most systems have",
        ),
    }
}

/// What it means who this is, and what is installed.
pub(super) fn decide_rights(probes: &Probes) -> Result<(), Refusal> {
    if probes.may_mount {
        return Ok(());
    }
    if probes.root {
        return unfit(
            "this process may not mount, although it runs as root",
            IN_A_CONTAINER,
        );
    }
    if !probes.fusermount {
        return unfit(
            "fusermount3 is missing, without which only root can mount",
            "install the package fuse3, for example with sudo apt-get install fuse3",
        );
    }
    if probes.allow_other && !probes.user_allow_other {
        return unfit(
            "only root may let other users in",
            "have the line user_allow_other put into /etc/fuse.conf, or leave out --allow-other",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an ordinary user on an ordinary system sees.
    fn usual() -> Probes {
        Probes {
            point: Point::Empty,
            device: Device::Usable,
            root: false,
            may_mount: false,
            fusermount: true,
            allow_other: false,
            user_allow_other: false,
        }
    }

    fn at(point: Point) -> Probes {
        Probes { point, ..usual() }
    }

    #[test]
    fn what_can_be_mounted_is() {
        let root = Probes {
            root: true,
            may_mount: true,
            fusermount: false,
            allow_other: true,
            ..usual()
        };
        for (probes, step) in [
            (usual(), Step::Mount),
            (root.clone(), Step::Mount),
            (
                Probes {
                    point: Point::NotWritable,
                    ..root
                },
                Step::Mount,
            ),
            (at(Point::Missing), Step::Create),
            (at(Point::Ours(Health::Dead)), Step::Heal),
            (
                Probes {
                    allow_other: true,
                    user_allow_other: true,
                    ..usual()
                },
                Step::Mount,
            ),
        ] {
            assert_eq!(decide(&probes, Path::new("/m")), Ok(step), "{probes:?}");
        }
    }

    #[test]
    fn what_cannot_be_mounted_is_refused_in_a_sentence_that_helps() {
        let root = Probes {
            root: true,
            may_mount: true,
            ..usual()
        };
        for (probes, says) in [
            (at(Point::NoParent), "mkdir -p"),
            (at(Point::NotADirectory), "/m is not a directory"),
            (at(Point::NotEmpty), "/m is not empty"),
            (at(Point::NotWritable), "a directory of your own"),
            (
                at(Point::Ours(Health::Alive)),
                "/m is already mounted; to end that mount: afs unmount /m",
            ),
            (at(Point::Ours(Health::Silent)), "does not answer"),
            (
                at(Point::Unreadable("Input/output error".into())),
                "/m cannot be used: Input/output error",
            ),
            (
                Probes {
                    device: Device::Missing,
                    ..usual()
                },
                "in a container use --device /dev/fuse --cap-add SYS_ADMIN",
            ),
            (
                Probes {
                    device: Device::Missing,
                    ..root.clone()
                },
                "modprobe fuse",
            ),
            (
                Probes {
                    device: Device::Forbidden,
                    ..usual()
                },
                "you may not open /dev/fuse",
            ),
            (
                Probes {
                    device: Device::Forbidden,
                    ..root.clone()
                },
                "in a container use --device /dev/fuse --cap-add SYS_ADMIN",
            ),
            (
                Probes {
                    may_mount: false,
                    ..root
                },
                "although it runs as root",
            ),
            (
                Probes {
                    fusermount: false,
                    ..usual()
                },
                "install the package fuse3",
            ),
            (
                Probes {
                    allow_other: true,
                    ..usual()
                },
                "user_allow_other",
            ),
        ] {
            let sentence = decide(&probes, Path::new("/m")).unwrap_err().to_string();
            assert!(sentence.contains(says), "{probes:?}: {sentence}");
        }
    }
}
