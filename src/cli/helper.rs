//! `mount.fuse.afs`: afs as mount(8) calls it, for `mount -t fuse.afs` and lines of fstab.
//!
//! mount(8) runs `/sbin/mount.fuse.afs SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`. Here that becomes
//! a command line of `afs mount`: the source is a preset, options that are settings become flags, with `_` for `-` as is
//! usual in fstab, and the rest are mount options. The type is never plain `afs`, which is the Andrew file system's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::ExitCode;

use super::settings::keys;
use super::{USAGE, complain};
use crate::config::{MountWords, parse_mount_words};
use crate::mount::sys;

/// What mount(8) looks for in /sbin.
const NAME: &str = "mount.fuse.afs";

/// Sources that name no preset.
const NO_PRESET: [&str; 3] = ["afs", "none", "default"];

/// mount(8), "EXIT STATUS": incorrect invocation or permissions.
const INVOCATION: u8 = 1;
/// mount(8), "EXIT STATUS": mount failure.
const FAILURE: u8 = 32;

/// What mount(8) asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    source: OsString,
    directory: OsString,
    options: Vec<OsString>,
    /// `-s`: options that nobody knows are passed over.
    sloppy: bool,
    /// `-f`: everything but the mount itself.
    fake: bool,
}

/// The command line of `afs mount` that a call by mount(8) stands for; `None` where this is no such call.
pub(super) fn translated(typed: &[OsString]) -> Option<Result<Vec<OsString>, ExitCode>> {
    let (name, words) = typed.split_first()?;
    if Path::new(name).file_name() != Some(OsStr::new(NAME)) {
        return None;
    }
    Some(match read(words) {
        Ok(asked) if asked.fake => Err(ExitCode::SUCCESS),
        asked => {
            let words = asked.and_then(|asked| command_line(asked, sys::uid() == 0));
            words.map_err(|why| {
                complain(&why);
                ExitCode::from(INVOCATION)
            })
        }
    })
}

/// An exit code of ours as one of mount(8)'s.
pub(super) fn exit_code(own: ExitCode) -> ExitCode {
    if own == ExitCode::SUCCESS {
        own
    } else if own == ExitCode::from(USAGE) {
        ExitCode::from(INVOCATION)
    } else {
        ExitCode::from(FAILURE)
    }
}

fn read(words: &[OsString]) -> Result<Asked, String> {
    let usage = || format!("usage: {NAME} SOURCE DIRECTORY [-o OPTIONS]; mount(8) calls it");
    let mut asked = Asked::default();
    let mut places = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_bytes() {
            b"-o" => asked.options.extend(split(words.next().ok_or_else(usage)?)),
            b"-t" | b"-N" => drop(words.next().ok_or_else(usage)?),
            [b'-', flags @ ..] if !flags.is_empty() => {
                for flag in flags {
                    match flag {
                        b's' => asked.sloppy = true,
                        b'f' => asked.fake = true,
                        b'n' | b'v' => {}
                        _ => return Err(usage()),
                    }
                }
            }
            _ => places.push(word.clone()),
        }
    }
    let [source, directory] = <[OsString; 2]>::try_from(places).map_err(|_| usage())?;
    (asked.source, asked.directory) = (source, directory);
    Ok(asked)
}

fn split(options: &OsStr) -> impl Iterator<Item = OsString> {
    let options = options.as_bytes().split(|byte| *byte == b',');
    options
        .filter(|option| !option.is_empty())
        .map(|option| OsString::from_vec(option.to_vec()))
}

/// `as_root`: mounts of the machine are nobody's, and at boot there is no home directory.
fn command_line(asked: Asked, as_root: bool) -> Result<Vec<OsString>, String> {
    let mut keys = keys();
    // Where is said already.
    keys.retain(|key| key.name != "mountpoint");
    let mut words: Vec<OsString> = vec!["afs".into(), "mount".into()];
    if as_root {
        words.push("--system".into());
    }
    words.push(flag("shown-source", Some(asked.source.as_bytes())));
    let mut preset = asked.source;
    for option in asked.options {
        let (name, value) = match option.as_bytes().iter().position(|byte| *byte == b'=') {
            Some(at) => (&option.as_bytes()[..at], Some(&option.as_bytes()[at + 1..])),
            None => (option.as_bytes(), None),
        };
        let name = String::from_utf8_lossy(name).replace('_', "-");
        match value {
            Some(value) if name == "preset" => OsStr::from_bytes(value).clone_into(&mut preset),
            // A flag that counts.
            Some(count) if name == "verbose" => {
                let count = std::str::from_utf8(count)
                    .ok()
                    .and_then(|count| count.parse::<u8>().ok());
                let count = count.ok_or("-o verbose=N takes a small number")?;
                words.extend((0..count).map(|_| OsString::from("-v")));
            }
            _ if keys.iter().any(|key| key.name == name) => words.push(flag(&name, value)),
            _ => match mount_word(&option) {
                Ok(()) => words.extend(["-o".into(), option]),
                Err(_) if asked.sloppy => {}
                Err(why) => return Err(why),
            },
        }
    }
    if !NO_PRESET.iter().any(|none| *none == preset) {
        words.push(flag("preset", Some(preset.as_bytes())));
    }
    words.extend(["--".into(), asked.directory]);
    Ok(words)
}

fn flag(name: &str, value: Option<&[u8]>) -> OsString {
    let mut flag = OsString::from(format!("--{name}"));
    if let Some(value) = value {
        flag.push("=");
        flag.push(OsStr::from_bytes(value));
    }
    flag
}

/// Whether an option that is no setting is one that every mount takes.
fn mount_word(option: &OsStr) -> Result<(), String> {
    let option = option.to_string_lossy();
    parse_mount_words(&option, &mut MountWords::default())
        .map_err(|why| format!("{why}; and every setting, such as cache_size=2G: see afs config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str, as_root: bool) -> Result<String, String> {
        let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        let line = command_line(read(&words)?, as_root)?;
        let line: Vec<_> = line.iter().map(|word| word.to_str().unwrap()).collect();
        Ok(line.join(" "))
    }

    #[test]
    fn a_call_by_mount_is_a_command_line_of_ours() {
        for (words, as_root, expected) in [
            (
                "afs /mnt",
                true,
                "afs mount --system --shown-source=afs -- /mnt",
            ),
            (
                "none /mnt -o rw",
                false,
                "afs mount --shown-source=none -o rw -- /mnt",
            ),
            (
                "work /mnt",
                false,
                "afs mount --shown-source=work --preset=work -- /mnt",
            ),
            (
                "x /mnt -o preset=work",
                false,
                "afs mount --shown-source=x --preset=work -- /mnt",
            ),
            (
                "x /mnt -o preset=default",
                false,
                "afs mount --shown-source=x -- /mnt",
            ),
            (
                "afs /mnt -o rw,_netdev,cache_size=2G,key-file=/etc/afs/key,write_back,allow_other,umask=022 -t fuse.afs",
                true,
                "afs mount --system --shown-source=afs -o rw -o _netdev --cache-size=2G --key-file=/etc/afs/key --write-back --allow-other \
                 --umask=022 -- /mnt",
            ),
            (
                "afs /mnt -o ro -nv",
                false,
                "afs mount --shown-source=afs -o ro -- /mnt",
            ),
            (
                "afs /mnt -sn -o frob,ro",
                false,
                "afs mount --shown-source=afs -o ro -- /mnt",
            ),
            (
                "afs /mnt -N /proc/1/ns/mnt",
                false,
                "afs mount --shown-source=afs -- /mnt",
            ),
            (
                "afs /mnt -o verbose=2",
                false,
                "afs mount --shown-source=afs -v -v -- /mnt",
            ),
            ("afs /mnt -o verbose=much", false, "-o verbose=N takes"),
            (
                "afs /mnt -o mountpoint=/x",
                false,
                "-o mountpoint=/x is not an option",
            ),
            (
                "afs /mnt -o frob",
                false,
                "-o frob is not an option afs knows",
            ),
            // Flags that say how one run goes are no settings.
            (
                "afs /mnt -o foreground",
                false,
                "-o foreground is not an option",
            ),
            ("afs --help", false, "usage"),
        ] {
            match line(words, as_root) {
                Ok(got) => assert_eq!(got, expected, "{words}"),
                Err(why) => assert!(why.starts_with(expected), "{words}: {why}"),
            }
        }
        for words in [
            "",
            "afs",
            "afs /mnt more",
            "afs /mnt -o",
            "afs /mnt -x",
            "afs /mnt -t",
        ] {
            let why = line(words, false).unwrap_err();
            assert!(why.starts_with("usage: mount.fuse.afs "), "{words}: {why}");
        }
    }

    #[test]
    fn only_that_name_is_a_call_by_mount() {
        let typed = |name: &str| [name, "afs", "/mnt", "-f"].map(OsString::from);
        for name in ["/sbin/mount.fuse.afs", "mount.fuse.afs"] {
            assert!(
                matches!(translated(&typed(name)), Some(Err(exit)) if exit == ExitCode::SUCCESS)
            );
        }
        for name in ["afs", "/usr/bin/afs", "mount.afs", ""] {
            assert!(translated(&typed(name)).is_none(), "{name}");
        }
        assert!(translated(&[]).is_none());
    }

    #[test]
    fn ends_as_mount_does() {
        for (own, expected) in [(0, 0), (1, 32), (2, 1), (3, 32), (4, 32)] {
            assert_eq!(exit_code(ExitCode::from(own)), ExitCode::from(expected));
        }
    }
}
