//! Those at the other end: the emulator's logs do not repeat what it is sent, and another server than the user's own is
//! sent nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use afs::emulator::{Config, Emulator, FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::{Texts, talkative};
use crate::harness::{self, World, errno};
use crate::hung::close_of;

/// A process that ends with its test, in good order.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// `afs emulator` at its most talkative; where it listens.
fn emulator(world: &World, options: &[&str], log: &std::path::Path) -> (Running, String) {
    let mut command = world.afs();
    command
        .args(["emulator", "--seed-samples"])
        .args(options)
        .env_remove("ANTHROPIC_API_KEY")
        .env_remove("ANTHROPIC_CUSTOM_HEADERS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(log).unwrap());
    let mut child = harness::start(&mut command);
    let mut line = String::new();
    let output = child.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ");
    let url = url.unwrap_or_else(|| panic!("it said {line}")).to_owned();
    (Running(child), url)
}

#[test]
fn no_secret_is_in_what_the_emulator_logs_of_those_who_ask_it() {
    for options in [&[][..], &["--key", "sk-another"]] {
        let mut world = talkative();
        let log = world.dir.path().join("emulator.log");
        let (emulator, url) = emulator(&world, options, &log);
        world.variables.push(("ANTHROPIC_BASE_URL", url.clone()));
        let mut texts = Texts::default();
        match world.try_mount(&[], harness::KEY) {
            Ok(mount) if options.is_empty() => {
                mount.sh("echo saved > saved; cat *.csv; rm saved");
                let requests = format!("curl -sS {url}/_emulator/requests");
                texts.add("the requests", mount.sh(&requests));
                assert!(texts.of("the requests").contains("\"upload\""));
                mount.unmount();
            }
            Err(refused) if !options.is_empty() => texts.add("the refusal", refused),
            Ok(_) => panic!("it took a key that is not its own"),
            Err(why) => panic!("{why}"),
        }
        drop(emulator);
        texts.add("the emulator's log", fs::read(&log).unwrap());
        assert!(texts.of("emulator's log").contains("ending: SIGTERM"));
        texts.tell_nothing(2);
    }
}

/// A redirect would take the key along.
#[test]
fn a_server_that_a_redirect_leads_to_hears_nothing() {
    let world = talkative();
    world.output("moved", b"elsewhere");
    let elsewhere = Emulator::start(Config::default()).unwrap();
    let mount = world.mount();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/v1/files", elsewhere.base_url());
        let mut answer = FaultAnswer::status(status);
        answer.headers.insert("location".to_owned(), location);
        world
            .emulator
            .set_faults(vec![FaultRule::new(FaultAction::Status(answer))]);
        world.forget_calls();
        assert_eq!(errno(fs::read(mount.at("moved"))), libc::EIO);
        let saved = close_of(mount.at(format!("saved {status}")), b"x");
        assert_eq!(saved, Err(libc::EIO));
        let requests = world.emulator.requests();
        for call in [LoggedCall::Content, LoggedCall::Upload] {
            let asked = requests.iter().any(|request| request.call == call);
            assert!(asked, "{call:?} of {requests:?}");
        }
    }
    assert_eq!(elsewhere.requests(), []);
    let mut texts = Texts::default();
    texts.add("the log", mount.log());
    texts.tell_nothing(1);
    world.emulator.clear_faults();
    assert_eq!(mount.sh("cat moved"), "elsewhere");
}
