//! Manual pages and completions: all commands are in them, and those who read them understand them.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{afs, all_commands, run};

/// What a program makes of a text on its standard input. It must end well and say nothing else.
fn through(program: &str, words: &[&str], text: &str) -> String {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_has_a_page_that_groff_reads() {
    let home = tempfile::tempdir().unwrap();
    let pages = home.path().join("new/man1");
    let ran = run(afs(home.path()).args(["man", "--write"]).arg(&pages));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for command in std::iter::once(Vec::new()).chain(all_commands()) {
        let name = [&["afs"], command.as_slice()].concat().join("-");
        let text = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        let printed = run(afs(home.path()).arg("man").args(&command));
        assert_eq!(printed.out, text, "{name}");
        let read = through("groff", &["-man", "-Tutf8", "-ww", "-P-cbou"], &text);
        for part in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES"] {
            assert!(read.contains(part), "{name} has no {part}: {read}");
        }
        assert!(
            read.contains(concat!("afs ", env!("CARGO_PKG_VERSION"))),
            "{read}"
        );
        // The examples stand line by line.
        let help = run(afs(home.path()).args(&command).arg("--help"));
        let examples = help.out.split("Examples:\n").nth(1).unwrap();
        let first = examples.lines().next().unwrap();
        assert!(
            text.contains(&first.replace('-', "\\-")),
            "{name}: {first} is not in {text}"
        );
    }
    let pages = std::fs::read_dir(&pages).unwrap().count();
    assert_eq!(pages, all_commands().count() + 1);
}

#[test]
fn shells_understand_the_completions() {
    let home = tempfile::tempdir().unwrap();
    let completions = |shell: &str| {
        let ran = run(afs(home.path()).args(["completions", shell]));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{shell}");
        for (command, _) in super::COMMANDS {
            assert!(ran.out.contains(command), "{shell}: {command}");
        }
        assert!(ran.out.contains("cache-size"), "{shell}");
        // What this program says to itself is nobody's to complete.
        assert!(!ran.out.contains("serve-in-background"), "{shell}");
        ran.out
    };
    for shell in ["zsh", "fish"] {
        completions(shell);
    }
    let script = completions("bash")
        + "\ntry() { COMP_WORDS=(afs \"$@\"); COMP_CWORD=$#; _afs afs \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; echo \"${COMPREPLY[@]}\"; }
           try mou; try mount --cache-s; try trash re";
    let answers = through("bash", &["-s"], &script);
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers, ["mount", "--cache-size", "restore"], "{answers:?}");
}

#[test]
fn what_is_no_command_has_no_page() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(afs(home.path()).args(["man", "cache", "frob"]));
    ran.complains(3, &["there is no command cache frob"]);
    let ran = run(afs(home.path()).args(["man", "--write", "/proc/nowhere"]));
    ran.complains(1, &["the manual cannot be written into /proc/nowhere"]);
}
