//! `afs block`: what is pasted into a request has to be right as it is.

use afs::emulator::{LoggedCall, PlantedFile};
use serde_json::json;

use super::afs;
use crate::harness::{Calls, World, eventually};

fn output(world: &World, name: &str) -> String {
    let file = PlantedFile::output(name, "bytes");
    world.emulator.plant(file).unwrap().id
}

#[test]
fn the_block_of_a_file_is_the_one_its_type_asks_for() {
    let world = World::new();
    let by_type = [
        ("report.pdf", "document"),
        ("notes.txt", "document"),
        ("photo.jpg", "image"),
        ("chart.png", "image"),
        ("loop.gif", "image"),
        ("picture.webp", "image"),
        ("data.csv", "container_upload"),
        ("deck.pptx", "container_upload"),
    ];
    let ids = by_type.map(|(name, _)| output(&world, name));
    let _mount = world.mount();
    let names = by_type.map(|(name, _)| name);
    let calls = world.calls_of(|| {
        let blocks = afs(&world, "block", &names).json();
        let expected: Vec<_> = by_type
            .iter()
            .zip(&ids)
            .map(|((_, kind), id)| match *kind {
                "container_upload" => json!({"type": kind, "file_id": id}),
                kind => json!({"type": kind, "source": {"type": "file", "file_id": id}}),
            })
            .collect();
        assert_eq!(blocks, json!(expected));
    });
    assert_eq!(calls, Calls::NONE);
}

#[test]
fn a_single_file_is_a_list_too_and_what_it_needs_is_said_apart() {
    let world = World::new();
    let id = output(&world, "data.csv");
    let office = output(&world, "letter.docx");
    let _mount = world.mount();
    for (name, id, advice) in [
        ("data.csv", &id, "to have its text read, use --inline"),
        ("letter.docx", &office, "convert it to PDF or text first"),
    ] {
        let ran = afs(&world, "block", &[name]);
        assert_eq!(ran.code, Some(0));
        assert_eq!(
            ran.json(),
            json!([{"type": "container_upload", "file_id": id}])
        );
        assert!(
            ran.err.contains("needs the code execution tool"),
            "{}",
            ran.err
        );
        assert!(ran.err.contains(advice), "{}", ran.err);
    }
    // Who asks for it knows.
    let asked = afs(&world, "block", &["data.csv", "--as", "container_upload"]);
    assert_eq!((asked.code, asked.err.as_str()), (Some(0), ""));
}

#[test]
fn a_document_has_a_title_a_context_and_citations() {
    let world = World::new();
    let id = output(&world, "report.pdf");
    output(&world, "chart.png");
    let _mount = world.mount();
    let options = [
        "--title",
        "Q3 \"final\"",
        "--context",
        "draft",
        "--citations",
    ];
    let block = afs(&world, "block", &[&["report.pdf"], &options[..]].concat());
    assert_eq!(
        block.json(),
        json!([{
            "type": "document",
            "source": {"type": "file", "file_id": id},
            "title": "Q3 \"final\"",
            "context": "draft",
            "citations": {"enabled": true},
        }])
    );
    for option in [&options[..2], &options[2..4], &options[4..]] {
        let refused = afs(&world, "block", &[&["chart.png"], option].concat());
        refused.complains(2, "only those have a title, a context or citations");
    }
    let image = afs(&world, "block", &["report.pdf", "--as", "image"]).json();
    assert_eq!(image[0]["type"], "image");
}

#[test]
fn the_text_of_a_text_file_is_a_block_of_its_own() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("printf 'a,\"b\"\\n1,2\\n' > data.csv; printf '\\377\\376' > data.bin");
    let calls = world.calls_of(|| {
        let block = afs(&world, "block", &["data.csv", "--inline"]).json();
        assert_eq!(block, json!([{"type": "text", "text": "a,\"b\"\n1,2\n"}]));
        afs(&world, "block", &["data.bin", "--inline"]).complains(1, "data.bin is no text");
    });
    assert_eq!(calls, Calls::NONE);
    world.foreign("theirs.txt", b"secret");
    let refused = afs(&world, "block", &["theirs.txt", "--inline"]);
    assert_ne!(refused.code, Some(0), "{}", refused.out);
    mount.unmount();
    afs(&world, "block", &["data.csv", "--inline"]).complains(1, "afs mount");
}

/// Half of what was asked for would be pasted for all of it.
#[test]
fn where_one_of_several_fails_nothing_is_printed() {
    let world = World::new();
    output(&world, "chart.png");
    let mount = world.mount_with(&["--write-back"]);
    afs(&world, "block", &["chart.png", "nothing.png"]).complains(3, "nothing.png");
    world.hang(&[LoggedCall::Upload]);
    mount.sh("echo text > new.txt");
    afs(&world, "block", &["chart.png", "new.txt"]).complains(1, "still on its way");
    world.emulator.clear_faults();
    eventually("it has a block", || {
        afs(&world, "block", &["new.txt"]).code == Some(0)
    });
}
