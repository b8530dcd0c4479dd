//! A settings file as people use it: mounts by presets, and commands that find the same key and the same state.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command};

use afs::emulator::Config;

use super::background::Detached;
use super::commands::{Ran, ran};
use super::harness::{Calls, KEY, World, eventually, is_mounted, start};

/// A world whose home has a settings file, and whose service takes one key only, which is in a file.
struct Home {
    world: World,
}

/// A mount in the foreground that nothing but the settings describe.
struct Served {
    child: Child,
    point: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if is_mounted(&self.point) {
            let _ = Command::new("umount").arg("-l").arg(&self.point).output();
        }
    }
}

impl Home {
    fn new() -> Self {
        let world = World::with(Config {
            keys: vec![KEY.to_owned()],
            ..Config::default()
        });
        let at = |name: &str| world.dir.path().join(name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(at(".config/afs"))
            .unwrap();
        let mut key = fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(at("key"))
            .unwrap();
        std::io::Write::write_all(&mut key, KEY.as_bytes()).unwrap();
        let settings = format!(
            "[default]\nkey-file = \"~/key\"\nbase-url = \"{}\"\nstate-dir = \"~/kept\"\ncache-dir = \"~/cached\"\n\
             [presets.work]\nmountpoint = \"~/work\"\numask = \"022\"\nscratch = [\"*.bak\"]\nread-only = true\n",
            world.emulator.base_url()
        );
        fs::write(at(".config/afs/config.toml"), settings).unwrap();
        Self { world }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.world.dir.path().join(name)
    }

    /// The program, with a home directory and nothing else.
    fn afs(&self, words: &[&str]) -> Command {
        let mut afs = self.world.afs();
        afs.env_remove("ANTHROPIC_API_KEY")
            .env_remove("ANTHROPIC_BASE_URL")
            .current_dir(self.world.dir.path())
            .args(words);
        afs
    }

    fn ran(&self, words: &[&str]) -> Ran {
        ran(&mut self.afs(words))
    }

    fn serve(&self, afs: &mut Command, point: &str) -> Served {
        let point = self.at(point);
        let child = start(afs);
        let served = Served { child, point };
        eventually("it is mounted", || is_mounted(&served.point));
        served
    }
}

#[test]
fn a_preset_mounts_as_the_file_says_but_for_what_the_environment_says() {
    let home = Home::new();
    let mut afs = home.afs(&["mount", "--foreground", "--preset", "work"]);
    let mut served = home.serve(afs.env("AFS_READ_ONLY", "false"), "work");
    let mode = served.point.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "the umask of the preset");
    fs::write(served.point.join("a.txt"), "sent").unwrap();
    fs::write(served.point.join("a.bak"), "scratch").unwrap();
    assert_eq!(home.world.stored_bytes("a.txt"), b"sent");
    assert!(home.world.all_stored("a.bak").is_empty());
    assert!(home.at("kept").is_dir() && home.at("cached").is_dir());

    let unmounted = home.ran(&["unmount", "--preset", "work"]);
    assert_eq!(unmounted.code, Some(0), "{}", unmounted.err);
    assert!(!is_mounted(&served.point));
    assert!(served.child.wait().unwrap().success());
}

#[test]
fn a_switch_of_a_preset_counts_until_it_is_typed_otherwise() {
    let home = Home::new();
    let served = home.serve(&mut home.afs(&["mount", "-f", "--preset=work"]), "work");
    let refused = fs::write(served.point.join("a.txt"), "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    drop(served);
    let typed = &["mount", "-f", "--preset=work", "--read-only=false"];
    let served = home.serve(&mut home.afs(typed), "work");
    fs::write(served.point.join("a.txt"), "x").unwrap();
    assert_eq!(home.world.stored_bytes("a.txt"), b"x");
}

#[test]
fn where_nothing_says_where_a_mount_is_in_the_home_directory() {
    let home = Home::new();
    let served = home.serve(&mut home.afs(&["mount", "-f"]), "claude-files");
    fs::write(served.point.join("a.txt"), "x").unwrap();
    let unmounted = home.ran(&["unmount", "--preset", "default"]);
    assert_eq!(unmounted.code, Some(0), "{}", unmounted.err);
    assert_eq!(home.world.stored_bytes("a.txt"), b"x");
}

/// The address is typed, for other tests have mounts of their own; key and state come from the file.
#[test]
fn commands_find_key_and_state_by_the_same_settings() {
    let home = Home::new();
    let url = home.world.emulator.base_url();
    fs::write(home.at("report.txt"), "report").unwrap();
    let put = || home.ran(&["put", "--base-url", &url, "report.txt"]);
    let first = put();
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert_eq!(home.world.stored_bytes("report.txt"), b"report");
    // With the state the same bytes again cost nothing.
    home.world.forget_calls();
    assert_eq!(put().code, Some(0));
    assert_eq!(home.world.calls().but_lists(), Calls::NONE);
    assert!(home.at("kept").is_dir() && !home.at(".local").exists());
    // Typed, another state is another state: nothing is known of what was sent.
    let elsewhere = home.ran(&[
        "put",
        "--base-url",
        &url,
        "--state-dir",
        "other",
        "report.txt",
    ]);
    assert_eq!(elsewhere.code, Some(0), "{}", elsewhere.err);
    assert!(home.at("other").is_dir());
}

/// The process in the background looks for nothing again: what its parent found is handed to it, and the variable is gone.
#[test]
fn a_mount_in_the_background_has_the_key_that_was_found_for_it() {
    let home = Home::new();
    fs::write(home.at("key"), "sk-of-somebody-else").unwrap();
    let point = home.at("mnt");
    let mut afs = home.afs(&["mount"]);
    afs.arg(&point);
    let mounted = ran(afs.env("ANTHROPIC_API_KEY", KEY));
    assert_eq!(mounted.code, Some(0), "{}", mounted.err);
    let _detached = Detached::at(&point);
    fs::write(point.join("a.txt"), "sent").unwrap();
    assert_eq!(home.world.stored_bytes("a.txt"), b"sent");
    let unmounted = home.ran(&["unmount", "mnt"]);
    assert_eq!(unmounted.code, Some(0), "{}", unmounted.err);
}

/// A preset is a workspace: that of another one, which happens to be mounted, is none of its commands' business.
#[test]
fn a_preset_chooses_the_workspace_whatever_is_mounted() {
    let home = Home::new();
    let other = World::new();
    let settings = home.at(".config/afs/config.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let url = other.emulator.base_url();
    let preset = format!("[presets.other]\nmountpoint = \"~/other\"\nbase-url = \"{url}\"\n");
    fs::write(&settings, text + &preset).unwrap();
    let _default = home.serve(&mut home.afs(&["mount", "-f"]), "claude-files");
    fs::write(home.at("report.txt"), "report").unwrap();
    let ran = |words: &[&str]| {
        let ran = home.ran(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.err);
        ran.out
    };
    ran(&["put", "--preset", "other", "report.txt"]);
    assert_eq!(other.stored_bytes("report.txt"), b"report");
    assert!(home.world.all_stored("report.txt").is_empty());

    // Mounted as well, it is asked.
    let served = home.serve(
        &mut home.afs(&["mount", "-f", "--preset", "other"]),
        "other",
    );
    assert!(ran(&["ls", "--preset", "other"]).contains("report.txt"));
    other.removes("report.txt");
    ran(&["rm", "--preset", "other", "report.txt"]);
    assert!(!served.point.join("report.txt").exists());
    assert!(other.all_stored("report.txt").is_empty());
}

/// A command makes new names as the settings have it, until a mount has said otherwise.
#[test]
fn names_are_as_the_settings_have_them_before_any_mount() {
    let world = World::new();
    let at = |name: &str| world.dir.path().join(name);
    fs::write(at("a:b.txt"), "x").unwrap();
    let put = |style: &str| {
        let mut afs = world.afs();
        afs.current_dir(world.dir.path()).env("AFS_NAMES", style);
        afs.args(["put", "--base-url", &world.emulator.base_url(), "a:b.txt"]);
        ran(afs.arg("--state-dir").arg(world.state_root()))
    };
    assert_eq!(put("strict").code, Some(1));
    assert_eq!(put("encode").code, Some(1), "a style is remembered");
    drop(fs::remove_dir_all(world.state_root()));
    let encoded = put("encode");
    assert_eq!(encoded.code, Some(0), "{}", encoded.err);
    assert_eq!(world.stored_bytes("a：b.txt"), b"x");
}

#[test]
fn only_what_a_process_left_dead_is_taken_away_as_stale() {
    let world = World::new();
    world.output("f", b"content");
    let stale = |point: &std::path::Path| {
        let mut afs = world.afs();
        ran(afs.args(["unmount", "--stale"]).arg(point))
    };
    let nothing = stale(&world.dir.path().join("mnt"));
    assert_eq!((nothing.code, nothing.err.as_str()), (Some(0), ""));

    let mount = world.mount();
    let path = mount.path().to_owned();
    let alive = stale(&path);
    assert_eq!((alive.code, alive.err.as_str()), (Some(0), ""));
    assert_eq!(mount.sh("cat f"), "content");

    let _dead = mount.kill();
    assert!(is_mounted(&path));
    let healed = stale(&path);
    assert_eq!(healed.code, Some(0));
    assert!(
        healed.err.starts_with("took the dead mount on "),
        "{}",
        healed.err
    );
    assert!(!is_mounted(&path));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
}
