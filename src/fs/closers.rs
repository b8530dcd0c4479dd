//! Is this close the last one? One save is one upload, and the kernel sends a FLUSH for every close of every duplicate:
//! `(cat a; cat b) > f` is three of them. So at each the descriptors of the closing process and of the one that opened
//! the file are looked at: is another one left that can write to this inode, its close will come.
//!
//! What can't be seen (no `/proc`, another mount namespace, a descriptor passed to a third process) counts as closed: a
//! truthful close is worth more than a saved upload. Only an emptied file waits then until its last handle is gone: the
//! version before is worth more still.

use std::fs;
use std::io;

use crate::api::Program;
use crate::state::Ino;

/// The program that makes a call, by its thread id; 0 where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caller(pub u32);

impl Caller {
    /// A call that no program made.
    pub const NOBODY: Self = Self(0);

    /// The process the thread belongs to; it outlives the thread.
    pub(super) fn process(self) -> Option<u32> {
        field(&self.status()?, "Tgid:")?.parse().ok()
    }

    /// The program it is; afs itself where nobody knows. Some calls come when their caller has ended.
    #[must_use]
    pub fn program(self) -> Program {
        let comm = |process| fs::read(format!("/proc/{process}/comm")).ok();
        match self.process().and_then(comm) {
            Some(name) => Program::named(String::from_utf8_lossy(&name).trim_end_matches('\n')),
            None => Program::AFS,
        }
    }

    /// Whether a signal is killing it: then what it has written may be a part of what it meant to write. A process that
    /// is killed closes its files with the signal still pending; one that has crashed closes them with the signal in its
    /// exit code.
    ///
    /// That code is asked for only where the process is on its way out. Since some version the kernel (seen in 6.18)
    /// keeps a reader of `/proc/TID/stat` waiting while the process is in an execve(2), and the close of what is closed
    /// by that is in the middle of it: the process would wait for this answer, this for the process, and `ps` for both.
    pub(super) fn is_dying(self) -> bool {
        let Some(status) = self.status() else {
            return false;
        };
        is_dying(&status)
            || (has_no_memory(&status) && self.stat().is_some_and(|stat| has_crashed(&stat)))
    }

    fn status(self) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/status", self.0)).ok()
    }

    fn stat(self) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()
    }
}

/// The signals that people and systems end programs with.
const ENDING: [i32; 5] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGKILL,
    libc::SIGTERM,
];

/// Whether a `/proc/TID/status` (proc(5), masks in hexadecimal) shows a pending signal that will end the
/// process: neither blocked nor ignored nor caught.
fn is_dying(status: &str) -> bool {
    let mask = |name| {
        field(status, name)
            .and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .unwrap_or(0)
    };
    let pending = mask("SigPnd:") | mask("ShdPnd:");
    let harmless = mask("SigBlk:") | mask("SigIgn:") | mask("SigCgt:");
    let deadly = pending & !harmless;
    ENDING
        .into_iter()
        .any(|signal| deadly & (1 << (signal - 1)) != 0)
}

/// Whether a `/proc/TID/status` (proc(5)) is of a process that ends: it gives up its memory before its files, and has no
/// such lines from then on.
fn has_no_memory(status: &str) -> bool {
    field(status, "VmSize:").is_none()
}

/// Whether a `/proc/TID/stat` (proc(5)) shows the end of a process by a signal: in its last field, the exit code, as
/// waitpid(2) tells it. It is 0 while the process runs.
fn has_crashed(stat: &str) -> bool {
    let code = stat.trim_end().rsplit(' ').next();
    code.and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| libc::WIFSIGNALED(code))
}

/// What stands behind a label at the beginning of a line.
fn field<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .map(str::trim)
}

/// Whether `process` has a descriptor that can write to the inode of this mount; `None` where it may not be looked at.
pub(super) fn can_write(process: u32, mount_id: u64, ino: Ino) -> Option<bool> {
    let descriptors = match fs::read_dir(format!("/proc/{process}/fdinfo")) {
        Ok(descriptors) => descriptors,
        // It has ended, and its descriptors with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(false),
        Err(_) => return None,
    };
    let has_one = descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_to_string(descriptor.path()).ok())
        .any(|info| is_writer(&info, mount_id, ino));
    Some(has_one)
}

/// Reads one `/proc/PID/fdinfo/N` (proc(5)): `flags` in octal, `mnt_id`, and since Linux 5.14 `ino`.
fn is_writer(text: &str, mount_id: u64, ino: Ino) -> bool {
    let flags = field(text, "flags:").and_then(|flags| i32::from_str_radix(flags, 8).ok());
    let number = |name| field(text, name).and_then(|text| text.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
        && number("mnt_id:") == Some(mount_id)
        && number("ino:") == Some(ino.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_told_by_flags_mount_and_inode() {
        let cases = [
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t42\nino:\t17\n", true),
            ("pos:\t5\nflags:\t0100002\nmnt_id:\t42\nino:\t17\n", true),
            ("pos:\t0\nflags:\t0102001\nmnt_id:\t42\nino:\t17\n", true),
            ("pos:\t0\nflags:\t0100000\nmnt_id:\t42\nino:\t17\n", false),
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t43\nino:\t17\n", false),
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t42\nino:\t171\n", false),
            ("pos:\t0\nflags:\t0100001\nmnt_id:\t42\n", false),
            ("flags:\tnonsense\nmnt_id:\t42\nino:\t17\n", false),
            ("", false),
        ];
        for (info, expected) in cases {
            assert_eq!(is_writer(info, 42, Ino(17)), expected, "{info:?}");
        }
    }

    #[test]
    fn a_deadly_signal_is_one_that_nothing_stops() {
        let status = |pending: &str, blocked: &str, ignored: &str, caught: &str| {
            format!(
                "SigPnd:\t0\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n"
            )
        };
        // 2 is SIGINT's bit, 100 SIGKILL's, 8000000 SIGWINCH's.
        for (status, expected) in [
            (status("2", "0", "0", "0"), true),
            (status("100", "0", "0", "0"), true),
            (status("2", "2", "0", "0"), false),
            (status("2", "0", "2", "0"), false),
            (status("2", "0", "0", "2"), false),
            (status("8000000", "0", "0", "0"), false),
            (status("0", "0", "0", "0"), false),
            (String::new(), false),
        ] {
            assert_eq!(is_dying(&status), expected, "{status}");
        }
    }

    #[test]
    fn a_process_that_runs_has_memory() {
        let status = Caller(std::process::id()).status().unwrap();
        assert!(!has_no_memory(&status), "{status}");
        assert!(has_no_memory("Name:\tafs\nSigPnd:\t0\n"));
    }

    #[test]
    fn a_crash_is_an_exit_code_with_a_signal() {
        for (code, expected) in [
            // Running, and exited with 0, 1 and 255.
            ("0", false),
            ("256", false),
            ("65280", false),
            // SIGSEGV, and SIGABRT with a core file.
            ("11", true),
            ("134", true),
            ("", false),
            ("nonsense", false),
        ] {
            let stat = format!("4711 (a program) ) R 1 4711 0 17 0 0 {code}\n");
            assert_eq!(has_crashed(&stat), expected, "{stat:?}");
        }
    }

    #[test]
    fn a_thread_leads_to_its_process() {
        assert_eq!(
            Caller(std::process::id()).process(),
            Some(std::process::id())
        );
        assert_eq!(Caller::NOBODY.process(), None);
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let program = Caller(std::process::id()).program();
        assert_eq!(format!("{program}\n"), own);
        assert_eq!(Caller::NOBODY.program(), Program::AFS);
    }
}
