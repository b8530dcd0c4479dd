//! What a mount knows of its user stays in its memory: not in what it logs at its most talkative, not in what it keeps,
//! not in what anybody can ask it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{KEY, World};

/// In [`KEY`], and in the header below.
const CANARY: &str = "canary";

/// All directories and files below one, itself included.
fn below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("listed") {
            below(&entry.expect("an entry").path(), found);
        }
    }
}

#[test]
fn no_secret_is_in_logs_state_cache_status_or_the_process_table() {
    assert!(KEY.contains(CANARY));
    let mut world = World::new();
    world.logs = "trace";
    world.variables = vec![("ANTHROPIC_CUSTOM_HEADERS", "X-Gateway: canary-9".to_owned())];
    let mount = world.mount();
    mount.sh("echo kept > kept");
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(401)))
    }]);
    let failed = mount.try_sh("echo lost > lost; cat lost; ls -la");
    world.emulator.clear_faults();
    let process = PathBuf::from(format!("/proc/{}", mount.pid()));
    let asked = |what: &str| {
        let answer = world
            .afs()
            .args([what, "--json"])
            .arg(mount.path())
            .output();
        let answer = answer.expect("it ran");
        [answer.stdout, answer.stderr].concat()
    };
    let mut texts = vec![
        (
            "what a shell saw".to_owned(),
            [failed.stdout, failed.stderr].concat(),
        ),
        (
            "cmdline".to_owned(),
            fs::read(process.join("cmdline")).unwrap(),
        ),
        ("status".to_owned(), asked("status")),
        ("the log".to_owned(), mount.log().into_bytes()),
    ];
    let mut paths = Vec::new();
    below(&world.state_root(), &mut paths);
    below(&world.dir.path().join("cache"), &mut paths);
    for path in paths {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        if path.is_file() {
            texts.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    assert!(texts.len() > 5, "{texts:?}");
    for (what, text) in texts {
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(CANARY), "in {what}: {text}");
        assert!(what != "the log" || text.contains("TRACE"), "{text}");
    }
}
