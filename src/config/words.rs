//! The small languages inside single settings: `-o` words, umasks, beta names.
//!
//! A *word* is one comma-separated piece of `-o`, as mount(8), fstab and every other FUSE file system spell it.

/// What a list of `-o` words asks for. `None` means the words do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountWords {
    /// `ro` or `rw`; the last one counts.
    pub read_only: Option<bool>,
    /// `allow_other`.
    pub allow_other: bool,
    /// `uid=`.
    pub uid: Option<u32>,
    /// `gid=`.
    pub gid: Option<u32>,
    /// `umask=`.
    pub umask: Option<u32>,
    /// Words the kernel is to hear.
    pub kernel: Vec<String>,
}

/// Words that go on to the kernel. Their opposites are not here: see [`FIXED`].
const KERNEL: [&str; 6] = [
    "default_permissions",
    "noatime",
    "nodev",
    "nosuid",
    "noexec",
    "sync",
];

/// Words that mount(8) and fstab leave to whoever reads them; a helper must take them and do nothing.
const IGNORED: [&str; 22] = [
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "_netdev",
    "nofail",
    "async",
    "atime",
    "relatime",
    "norelatime",
    "strictatime",
    "nodiratime",
    "lazytime",
    "nolazytime",
    "loud",
    "silent",
    "mand",
    "nomand",
];

/// Words whose meaning is fixed the other way: what is mounted is data from elsewhere.
const FIXED: [&str; 3] = ["exec", "suid", "dev"];

/// Reads one `-o` argument and adds what it says to `into`.
pub fn parse_mount_words(argument: &str, into: &mut MountWords) -> Result<(), String> {
    for word in argument.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("uid", value)) => into.uid = Some(parse_id("uid", value)?),
            Some(("gid", value)) => into.gid = Some(parse_id("gid", value)?),
            Some(("umask", value)) => into.umask = Some(parse_umask(value)?),
            Some(("user" | "comment", _)) => {}
            None if word == "ro" => into.read_only = Some(true),
            None if word == "rw" => into.read_only = Some(false),
            None if word == "allow_other" => into.allow_other = true,
            None if KERNEL.contains(&word) => into.kernel.push(word.to_owned()),
            None if IGNORED.contains(&word) => {}
            None if FIXED.contains(&word) => {
                return Err(format!(
                    "-o {word} is not possible: an afs mount is always noexec, nosuid and nodev, for it shows data from \
                     elsewhere; leave the word out"
                ));
            }
            _ if word.starts_with("x-") || word.starts_with("X-") => {}
            _ => {
                return Err(format!(
                    "-o {word} is not an option afs knows; it takes ro, rw, allow_other, uid=N, gid=N, umask=OCTAL, \
                     default_permissions, noatime, nodev, nosuid, noexec and sync"
                ));
            }
        }
    }
    Ok(())
}

fn parse_id(what: &str, value: &str) -> Result<u32, String> {
    value
        .parse()
        .map_err(|_| format!("\"{value}\" is not a {what}: write a number, as `id` prints it"))
}

/// Reads an octal umask such as `077`.
pub fn parse_umask(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mask) if mask <= 0o777 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(mask),
        _ => Err(format!(
            "\"{text}\" is not a umask: write up to three octal digits, such as 077 or 022"
        )),
    }
}

/// Checks that a beta's name can travel in a header beside others.
pub fn parse_beta(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "\"{text}\" is not the name of a beta: write one name without spaces or commas, such as \
             managed-agents-2026-04-01; repeat --beta for more"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(arguments: &[&str]) -> Result<MountWords, String> {
        let mut words = MountWords::default();
        for argument in arguments {
            parse_mount_words(argument, &mut words)?;
        }
        Ok(words)
    }

    #[test]
    fn the_usual_words_are_understood() {
        let got = words(&["ro,allow_other,uid=1000,gid=100,umask=022,noatime,default_permissions"]);
        assert_eq!(
            got,
            Ok(MountWords {
                read_only: Some(true),
                allow_other: true,
                uid: Some(1000),
                gid: Some(100),
                umask: Some(0o022),
                kernel: vec!["noatime".into(), "default_permissions".into()],
            })
        );
    }

    #[test]
    fn the_last_of_ro_and_rw_counts() {
        assert_eq!(words(&["ro", "rw"]).unwrap().read_only, Some(false));
        assert_eq!(words(&["rw,ro"]).unwrap().read_only, Some(true));
        assert_eq!(words(&[""]).unwrap().read_only, None);
    }

    #[test]
    fn what_fstab_says_to_others_is_taken_and_ignored() {
        let line =
            "defaults,noauto,user=me,_netdev,nofail,x-systemd.automount,X-mount.mkdir,,comment=a b";
        assert_eq!(words(&[line]), Ok(MountWords::default()));
    }

    #[test]
    fn other_words_are_refused_by_name() {
        for (argument, why) in [
            ("rw,frobnicate", "-o frobnicate is not an option"),
            ("fsname=x", "-o fsname=x is not an option"),
            ("exec", "-o exec is not possible"),
            ("suid", "always noexec, nosuid and nodev"),
            ("uid=me", "\"me\" is not a uid"),
            ("gid=-1", "\"-1\" is not a gid"),
            ("umask=9", "\"9\" is not a umask"),
        ] {
            let sentence = words(&[argument]).expect_err(argument);
            assert!(sentence.contains(why), "{argument}: {sentence}");
        }
    }

    #[test]
    fn umasks_are_octal() {
        for (text, mask) in [("0", 0), ("077", 0o77), ("0077", 0o77), ("22", 0o22)] {
            assert_eq!(parse_umask(text), Ok(mask), "{text}");
        }
        for text in ["", "8", "-7", "+77", "1000", "0o77"] {
            assert!(parse_umask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn betas_are_single_names() {
        assert!(parse_beta("managed-agents-2026-04-01").is_ok());
        for text in ["", "a,b", "a b", "a\r\nx-evil: 1"] {
            assert!(parse_beta(text).is_err(), "{text}");
        }
    }
}
