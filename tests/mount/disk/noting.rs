//! What is noted on the disk before an upload: a power cut in its middle must leave that it was begun, or the next start
//! sends it once more.

use std::sync::{Arc, Mutex};

use afs::disk::{Disk, Step, Watch};
use afs::emulator::{FaultAction, FaultRule, LoggedCall};

use crate::harness::{Calls, World, eventually};
use crate::surface::{Direct, Ground, Setup, Surface};

/// The durable commits, by name.
#[derive(Debug, Default)]
struct Durable(Mutex<Vec<&'static str>>);

impl Watch for Durable {
    fn before(&self, step: &Step<'_>) -> std::io::Result<()> {
        if let Step::Commit {
            name,
            is_durable: true,
        } = *step
        {
            self.0.lock().unwrap().push(name);
        }
        Ok(())
    }
}

/// Found by random operations (`model`): a question that failed was taken for an upload that may have arrived. The next
/// try then had a note already, on a disk that had not synced it; and looked for what was never sent.
#[test]
fn a_question_that_failed_is_no_upload_that_was_begun() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let path = |name| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let durable = Arc::new(Durable::default());
    let ground = Ground {
        api: Ground::client(&world),
        disk: Disk::watched(Arc::clone(&durable) as _),
        state: path("state"),
        cache: path("cache"),
    };
    let direct = Direct::start_on(ground, &Setup::default()).unwrap();
    let fs: &dyn Surface = &direct;
    fs.put("f", b"text").unwrap();
    fs.rename("f", "f~", 0).unwrap();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Metadata),
        times: Some(1),
        ..FaultRule::new(FaultAction::DropAnswer)
    }]);
    world.forget_calls();
    durable.0.lock().unwrap().clear();
    fs.rename("f~", "g", 0).unwrap();
    eventually("it is sent", || {
        direct.state().retry(None);
        direct.state().pending().is_empty()
    });
    assert_eq!(world.stored_bytes("g"), b"text");
    assert_eq!(
        world.calls(),
        Calls {
            metadata: 2,
            upload: 1,
            delete: 1,
            ..Calls::NONE
        }
    );
    assert!(durable.0.lock().unwrap().contains(&"sending"));
    Box::new(direct).end();
}
