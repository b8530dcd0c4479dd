//! Ordinary users: everything people do, through fusermount3, with nothing of root's.
//!
//! Where these tests run as root, they make a user for themselves and a system as most are, with `/dev/fuse` open to
//! everybody, in a *private machine*: processes with a mount table of their own, in which the files that say so lie over
//! the real ones. Nothing of it is seen outside, and all of it is gone with its first process, whatever happens. Where they
//! run as an ordinary user, they are that user's, on the system as it is.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use afs::emulator::{Config, Emulator, PlantedFile};
use tempfile::TempDir;

use super::harness::{self, eventually, is_mounted};

const KEY: &str = "sk-test-of-an-ordinary-user";

/// What of the system matters here, where it is private.
#[derive(Clone, Copy)]
struct System {
    /// Permission bits of `/dev/fuse`.
    device: &'static str,
    /// All of `/etc/fuse.conf`.
    fuse_conf: &'static str,
}

impl System {
    /// As most are.
    const USUAL: Self = Self {
        device: "666",
        fuse_conf: "# user_allow_other\n",
    };
}

/// Makes the private machine: its arguments are a directory, the numbers of the user and of another one, and the fields of a
/// [`System`]. Says `ready`, and ends with its standard input.
///
/// Copies of other tests' mounts go first: they would keep those mounts from ending. `/run` is where programs of users have
/// directories, which nobody makes for these.
const MAKE: &str = r#"
set -e
private=$1/private user=$2 another=$3
grep ' fuse.afs ' /proc/self/mounts | while read -r _ path _; do
  timeout 5 umount --lazy --internal-only --no-canonicalize "$path" || true
done
mkdir "$private"
mount -t tmpfs -o mode=755 afs-test "$private"
cp -a /dev/fuse "$private/device"
chmod "$4" "$private/device"
printf %s "$5" > "$private/fuse.conf"
cp /etc/passwd "$private/passwd"
chmod 644 "$private/fuse.conf" "$private/passwd"
for number in $user $another; do
  echo "afs-test-$number:x:$number:$number::$1/home:/bin/sh" >> "$private/passwd"
done
mount -t tmpfs -o mode=755 afs-test /run
mkdir -m 700 /run/user /run/user/$user /run/user/$another
chmod 755 /run/user
chown $user:$user "$1/home" /run/user/$user
chown $another:$another "$1/another" /run/user/$another
mount --bind "$private/device" /dev/fuse
mount --bind "$private/fuse.conf" /etc/fuse.conf
mount --bind "$private/passwd" /etc/passwd
echo ready
exec cat > /dev/null
"#;

/// Processes with a mount table of their own, and a user in it that there is nowhere else.
struct Private {
    /// `unshare`; its one child ends all others with it.
    child: Child,
    input: Option<ChildStdin>,
    user: u32,
}

impl Private {
    fn make(dir: &Path, system: System) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Beyond what systems give to people and services, below what containers take; others may run these tests too.
        let user = 61_200_000 + std::process::id() % 100_000 * 100 + number * 2;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", MAKE, "sh"])
            .arg(dir)
            .args([user.to_string(), (user + 1).to_string()])
            .args([system.device, system.fuse_conf])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = harness::start(&mut command);
        let input = child.stdin.take();
        let mut said = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut said).unwrap();
        let private = Self { child, input, user };
        assert_eq!(
            said, "ready\n",
            "as root these tests need a mount table of their own (unshare --mount --pid), which this system refuses"
        );
        private
    }

    /// What runs a program in there, as a user.
    fn enter(&self, user: u32) -> Command {
        let namespaces = format!("/proc/{}/ns", self.child.id());
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount={namespaces}/mnt"))
            .arg(format!("--pid={namespaces}/pid_for_children"))
            .args(["--", "setpriv", "--clear-groups"])
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={user}"));
        command
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A user with a home directory, this program, and a service.
struct User {
    emulator: Emulator,
    dir: TempDir,
    private: Option<Private>,
}

impl User {
    fn on(system: System) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("afs-test-")
            .tempdir()
            .unwrap();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), open).unwrap();
        for name in ["home", "another", "bin"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        // Where it was built, another user may not get to.
        fs::copy(env!("CARGO_BIN_EXE_afs"), dir.path().join("bin/afs")).unwrap();
        let is_root = nix::unistd::geteuid().is_root();
        Self {
            emulator: Emulator::start(Config::default()).unwrap(),
            private: is_root.then(|| Private::make(dir.path(), system)),
            dir,
        }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// What the service has, sorted.
    fn names(&self) -> Vec<String> {
        let files = self.emulator.files().unwrap().into_iter();
        let mut names: Vec<_> = files.map(|file| file.filename).collect();
        names.sort();
        names
    }

    /// The system's settings, as this user can read them.
    fn fuse_conf(&self) -> String {
        self.run("cat /etc/fuse.conf || true")
    }

    fn shell(&self, mut command: Command, line: &str) -> Output {
        let search = std::env::var("PATH").unwrap_or_default();
        let bin = self.dir.path().join("bin");
        command
            .args(["env", "-i", "LC_ALL=C.UTF-8"])
            .arg(format!("PATH={}:{search}", bin.display()))
            .arg(format!("HOME={}", self.home().display()))
            .arg(format!("ANTHROPIC_API_KEY={KEY}"))
            .arg(format!("ANTHROPIC_BASE_URL={}", self.emulator.base_url()))
            .args(["timeout", "-k", "1", "60", "sh", "-c", line])
            .current_dir("/");
        harness::output(&mut command)
    }

    /// Runs a shell line as the user, who is at home.
    fn try_run(&self, line: &str) -> Output {
        let enter = match &self.private {
            Some(private) => private.enter(private.user),
            None => Command::new("env"),
        };
        self.shell(enter, &format!("cd && {line}"))
    }

    /// The same; it must succeed. Its standard output.
    fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        assert!(output.status.success(), "{line}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What somebody says who is neither this user nor root and runs a shell line at another home; `None` where
    /// nobody could be asked.
    fn heard_of_another(&self, line: &str) -> Option<String> {
        let private = self.private.as_ref()?;
        let home = self.dir.path().join("another");
        let line = format!("export HOME='{}' && cd && {line}", home.display());
        let output = self.shell(private.enter(private.user + 1), &line);
        Some(said(&output))
    }

    /// What the kernel's table says of the mount.
    fn options(&self) -> String {
        let mounts = self.run("cat /proc/self/mounts");
        let at = format!(" {}/files ", self.home().display());
        let line = mounts.lines().find(|line| line.contains(&at));
        line.unwrap_or_else(|| panic!("no mount in {mounts}"))
            .to_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let path = self.home().join("files");
        if self.private.is_none() && is_mounted(&path) {
            let _ = Command::new("fusermount3")
                .args(["-u", "-z"])
                .arg(path)
                .status();
        }
    }
}

/// Both outputs.
fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// The one sentence of a command that failed.
fn sentence(output: &Output) -> String {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn an_ordinary_user_mounts_and_works_with_nothing_of_roots() {
    let user = User::on(System::USUAL);
    for (name, content) in [("chart.csv", "1,2"), ("new.csv", "3,4")] {
        let output = PlantedFile::output(name, content);
        user.emulator.plant(output).unwrap();
    }
    user.run("afs mount files && echo report > report.txt");
    assert!(user.run("id -u").trim() != "0");
    user.run("cp report.txt files/ && mv files/report.txt files/q3.txt");
    assert_eq!(user.run("cat files/chart.csv files/q3.txt"), "1,2report\n");
    assert_eq!(user.run("ls files"), "chart.csv\nnew.csv\nq3.txt\n");
    let owner = user.run("stat -c '%U %a' files/q3.txt");
    assert_eq!(owner, format!("{} 600\n", user.run("id -un").trim()));
    let status = user.run("afs status files");
    assert!(
        status.contains(&user.home().join("files").display().to_string()),
        "{status}"
    );
    user.run("afs pending files && afs flush files");
    user.run("rm files/chart.csv && test ! -e files/chart.csv");
    user.run("test -d .local/state/afs && test -d .cache/afs");
    user.run("afs unmount files && test -z \"$(ls files)\"");
    eventually("the removal and the renaming have arrived", || {
        user.names() == ["new.csv", "q3.txt"]
    });

    // And without a mount. The service is named: then no other mount is meant that an ordinary user has.
    let at = format!("--base-url {}", user.emulator.base_url());
    assert!(user.run(&format!("afs ls {at}")).contains("new.csv"));
    user.run(&format!("afs put {at} report.txt && afs rm {at} q3.txt"));
    user.run(&format!("afs get {at} new.csv -o got.csv"));
    assert_eq!(user.run("cat got.csv"), "3,4");
    assert_eq!(user.names(), ["new.csv", "report.txt"]);
}

#[test]
fn nobody_else_enters_the_mount_of_an_ordinary_user() {
    let user = User::on(System::USUAL);
    user.emulator
        .plant(PlantedFile::output("f", "content"))
        .unwrap();
    // The way there is open; only the mount is not.
    user.run("chmod 755 . && afs mount --umask 022 files && cat files/f");
    let options = user.options();
    assert!(
        options.contains("fuse.afs") && options.contains("user_id="),
        "{options}"
    );
    assert!(!options.contains("allow_other"), "{options}");
    let path = user.home().join("files");
    for line in ["ls", "cat"] {
        let heard = user.heard_of_another(&format!("{line} {}/f", path.display()));
        assert!(
            heard.is_none_or(|heard| heard.contains("Permission denied")),
            "another user could {line}"
        );
    }
    user.run("afs unmount files");
}

/// Root alone can have somebody else mount something.
#[test]
fn what_somebody_else_has_mounted_is_not_asked() {
    let user = User::on(System::USUAL);
    user.emulator
        .plant(PlantedFile::output("f", "content"))
        .unwrap();
    let theirs = user.heard_of_another("afs mount files && ls files");
    user.run("afs mount files && afs status files");
    if let Some(theirs) = theirs {
        assert!(theirs.starts_with("f\n"), "{theirs}");
        let status = user.run("afs status && afs pending && afs ls");
        assert!(!status.contains("another"), "{status}");
        let asked = said(&user.try_run("afs status ../another/files"));
        assert!(asked.contains("it is another user's"), "{asked}");
    }
    user.run("afs unmount files");
}

/// Lets others in where the system's settings have the line for it, and says what is missing where they have not.
#[test]
fn an_ordinary_user_lets_others_in_where_the_system_allows_it() {
    for fuse_conf in ["# nothing\n", "user_allow_other\n"] {
        let user = User::on(System {
            fuse_conf,
            ..System::USUAL
        });
        user.emulator
            .plant(PlantedFile::output("f", "content"))
            .unwrap();
        let is_allowed = user
            .fuse_conf()
            .lines()
            .any(|line| line == "user_allow_other");
        let mounted = user.try_run("chmod 755 . && afs mount --allow-other --umask 022 files");
        if !is_allowed {
            let said = sentence(&mounted);
            for part in [
                "only root may let other users in",
                "user_allow_other",
                "/etc/fuse.conf",
            ] {
                assert!(said.contains(part), "{said}");
            }
            user.run("test ! -e files || test -z \"$(ls files)\"");
            continue;
        }
        assert!(mounted.status.success(), "{}", said(&mounted));
        assert!(user.options().contains("allow_other"), "{}", user.options());
        let at = user.home().join("files/f");
        let heard = user.heard_of_another(&format!("cat {}", at.display()));
        assert!(heard.is_none_or(|heard| heard == "content"));
        user.run("afs unmount files");
    }
}

#[test]
fn a_device_that_the_user_may_not_open_is_named_with_what_to_do() {
    let user = User::on(System {
        device: "600",
        ..System::USUAL
    });
    let mounted = user.try_run("afs mount files");
    if user.try_run("exec 3<>/dev/fuse").status.success() {
        // An ordinary user's own system, where it is open as the tests need it.
        assert!(mounted.status.success(), "{}", said(&mounted));
        user.run("afs unmount files");
    } else {
        let said = sentence(&mounted);
        assert!(said.contains("you may not open /dev/fuse"), "{said}");
        assert!(said.contains("chmod 666 /dev/fuse"), "{said}");
    }
}
