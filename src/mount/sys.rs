//! The few system calls this house makes by itself, each behind a function that says what it is for.
//!
//! `nix` has safe wrappers for all but three of them.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

/// The signals that end a program in good order.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// SIGTERM, SIGINT and SIGHUP, kept for one thread that waits for them.
///
/// A signal that was ignored when the program started stays ignored: that is what `nohup` and the shells' background
/// jobs ask for, and a blocked signal would be delivered all the same.
#[derive(Debug)]
pub struct Signals {
    set: SigSet,
}

impl Signals {
    /// Blocks them in this thread and in every thread it starts from now on: call it before there are others.
    pub fn block() -> io::Result<Self> {
        let ignored =
            ignored_signals(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let mut set = SigSet::empty();
        for signal in ENDING {
            if ignored & (1 << (signal as i32 - 1)) == 0 {
                set.add(signal);
            }
        }
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Waits for the next one and says its name. Any thread may wait; one of the waiting ones gets it.
    #[must_use]
    pub fn wait(&self) -> &'static str {
        loop {
            match self.set.wait() {
                Ok(signal) => return signal.as_str(),
                Err(Errno::EINTR) => {}
                // The set is one the kernel took in `block`; should it not be, ending is the safe answer.
                Err(_) => return Signal::SIGTERM.as_str(),
            }
        }
    }
}

/// The `SigIgn` mask out of a `/proc/PID/status`.
fn ignored_signals(status: &str) -> u64 {
    status_mask(status, "SigIgn:")
}

/// A hexadecimal mask out of a `/proc/PID/status`; 0 where there is none.
fn status_mask(status: &str, label: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Lets this process have as many open files as the system allows it: every hung reader of a hung server holds two.
pub fn raise_file_limit() -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// Whether this process may mount by itself: it has `CAP_SYS_ADMIN`.
#[must_use]
pub fn may_mount() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status_mask(&status, "CapEff:") & (1 << CAP_SYS_ADMIN) != 0
}

/// Whose process this is.
#[must_use]
pub fn uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The permission bits that new files of this process don't get. It can be read by setting it only (umask(2)): for that
/// moment it is the strictest.
#[must_use]
pub fn umask() -> u32 {
    use nix::sys::stat::{Mode, umask};
    let mask = umask(Mode::S_IRWXG | Mode::S_IRWXO);
    umask(mask);
    mask.bits()
}

/// And of which group.
#[must_use]
pub fn gid() -> u32 {
    nix::unistd::getegid().as_raw()
}

/// Whether this user may make entries in a directory.
#[must_use]
pub fn may_write(directory: &Path) -> bool {
    nix::unistd::access(directory, nix::unistd::AccessFlags::W_OK).is_ok()
}

/// Whether this user may read a file.
#[must_use]
pub fn may_read(file: &Path) -> bool {
    nix::unistd::access(file, nix::unistd::AccessFlags::R_OK).is_ok()
}

/// No core file of this process, and nobody else of the same user looks into its memory: the key is in there.
/// The limit alone would not do, a kernel that pipes core files to a program does not ask for it; but it can be seen from
/// outside, and goes for what this process starts too.
pub fn forbid_core_dumps() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Leaves the terminal's session: its Ctrl-C and its end no longer reach this process.
pub fn leave_terminal() -> io::Result<()> {
    Ok(nix::unistd::setsid().map(drop)?)
}

/// Closes every descriptor but the standard three. A shell's open files, locks and pipes come along into what it starts,
/// and a process that lives for weeks would keep them. Call it before anything is opened.
#[expect(unsafe_code, reason = "closing descriptors that nobody here owns")]
pub fn close_inherited() {
    // SAFETY: called first thing in a fresh program, before this program owns any descriptor above 2, so none is closed
    // behind its owner's back. A kernel without the call (before 5.9) leaves them open, which only wastes them.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Lets standard input read from `file`.
pub fn stdin_from(file: &File) -> io::Result<()> {
    Ok(nix::unistd::dup2_stdin(file)?)
}

/// Lets standard output and standard error write to `file`.
pub fn output_to(file: &File) -> io::Result<()> {
    nix::unistd::dup2_stdout(file)?;
    Ok(nix::unistd::dup2_stderr(file)?)
}

/// Takes a mount out of the tree; never follows a symbolic link. `detach` does it even when the mount is in use or dead.
pub fn unmount(path: &Path, detach: bool) -> io::Result<()> {
    let mut flags = MntFlags::UMOUNT_NOFOLLOW;
    if detach {
        flags |= MntFlags::MNT_DETACH;
    }
    Ok(umount2(path, flags)?)
}

/// Asks a process to end in good order.
pub fn terminate(pid: u32) -> io::Result<()> {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    Ok(nix::sys::signal::kill(pid, Signal::SIGTERM)?)
}

/// Removes a variable from this process's environment, so that no child inherits it, and its value from the memory that
/// `/proc/PID/environ` shows. Call it before there are threads.
#[expect(unsafe_code, reason = "std has no safe way to change the environment")]
pub fn forget_variable(name: &str) {
    let Ok(terminated) = CString::new(name) else {
        return; // No variable has such a name.
    };
    // SAFETY: nothing reads or writes the environment concurrently: the command line calls this before any thread is
    // started, which is what the function's contract asks for. What `getenv` returns is a string inside the
    // environment, which is this process's own writable memory; not more than its length is overwritten.
    unsafe {
        let value = libc::getenv(terminated.as_ptr());
        if !value.is_null() {
            std::ptr::write_bytes(value, 0, libc::strlen(value));
        }
        std::env::remove_var(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_from_a_status_file() {
        let status = "Name:\tafs\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nCapEff:\t000001ffffffffff\n";
        assert_eq!(ignored_signals(status), 0x1001);
        assert_eq!(status_mask(status, "CapEff:"), 0x1ff_ffff_ffff);
        assert_eq!(ignored_signals(""), 0);
        assert_eq!(ignored_signals("SigIgn:\tnonsense"), 0);
    }

    #[test]
    fn a_blocked_signal_is_waited_for() {
        std::thread::spawn(|| {
            let signals = Signals::block().unwrap();
            nix::sys::signal::raise(Signal::SIGHUP).unwrap();
            assert_eq!(signals.wait(), "SIGHUP");
        })
        .join()
        .unwrap();
    }
}
