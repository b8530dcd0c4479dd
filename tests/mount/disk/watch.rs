//! A watch that writes down the steps it sees and, at one of them, fails or ends everything.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};

use afs::disk::{Step, Watch};

use super::image::Image;

/// A step, told apart from the others of its kind by its number among them: threads may change the order of all
/// steps, hardly the order of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    pub(crate) step: String,
    pub(crate) nth: usize,
}

/// What is lost when everything ends at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process: what it has told the system is there.
    Process,
    /// The power: what was not synced is gone.
    Power,
}

/// What happens at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This step fails, the next ones don't.
    Once(i32),
    /// This step fails, and so do all that follow until the disk is mended.
    FromThenOn(i32),
    /// Everything ends before this step.
    End(End),
}

/// The state of things after the end, and where to look at it.
#[derive(Debug)]
struct Remains {
    state: PathBuf,
    into: PathBuf,
}

#[derive(Debug, Default)]
struct Seen {
    counts: HashMap<String, usize>,
    points: Vec<Point>,
    is_mended: bool,
    is_failing: bool,
    has_struck: bool,
    is_over: bool,
    /// Whether what is left has been put aside.
    has_remains: bool,
    /// After so many more steps everything ends.
    fuse: Option<(usize, End)>,
    /// Steps that are being taken.
    under_way: usize,
    image: Image,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Script {
    plan: Option<(Point, Trouble)>,
    remains: Remains,
    seen: Mutex<Seen>,
    step_ended: Condvar,
}

impl Script {
    /// A watch over `state`; should everything end, what remains of it is put into the directory `into`.
    pub(crate) fn new(plan: Option<(Point, Trouble)>, state: &Path, into: &Path) -> Self {
        Self {
            plan,
            remains: Remains {
                state: state.to_owned(),
                into: into.to_owned(),
            },
            seen: Mutex::new(Seen {
                image: Image::of(state),
                ..Seen::default()
            }),
            step_ended: Condvar::new(),
        }
    }

    /// All steps so far.
    pub(super) fn points(&self) -> Vec<Point> {
        self.seen.lock().unwrap().points.clone()
    }

    /// Whether the planned point was reached.
    pub(super) fn has_struck(&self) -> bool {
        self.seen.lock().unwrap().has_struck
    }

    /// Whether everything has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.seen.lock().unwrap().is_over
    }

    /// Waits until what an end has left is there to be looked at.
    pub(crate) fn wait_for_remains(&self) {
        let seen = self.seen.lock().unwrap();
        let is_coming = |seen: &mut Seen| seen.is_over && !seen.has_remains;
        drop(self.step_ended.wait_while(seen, is_coming));
    }

    /// Lets everything end before the step that follows the next `steps`.
    pub(crate) fn end_after(&self, steps: usize, end: End) {
        self.seen.lock().unwrap().fuse = Some((steps, end));
    }

    /// Everything goes on, unless it has ended.
    pub(crate) fn go_on(&self) {
        self.seen.lock().unwrap().fuse = None;
    }

    /// Ends everything now.
    pub(crate) fn end_now(&self, end: End) {
        let seen = self.seen.lock().unwrap();
        if !seen.is_over {
            self.end(seen, end);
        }
    }

    /// The disk works again.
    pub(super) fn mend(&self) {
        self.seen.lock().unwrap().is_mended = true;
    }

    fn trouble_at(&self, point: &Point) -> Option<Trouble> {
        let (planned, trouble) = self.plan.as_ref()?;
        (planned == point).then_some(*trouble)
    }

    /// What other threads have begun comes to its end; nothing else begins.
    fn end(&self, mut seen: MutexGuard<'_, Seen>, end: End) {
        seen.is_over = true;
        let mut seen = self
            .step_ended
            .wait_while(seen, |seen| seen.under_way > 0)
            .unwrap();
        let Remains { state, into } = &self.remains;
        match end {
            End::Process => super::image::copy_all(state, into),
            End::Power => seen.image.leave(state, into),
        }
        seen.has_remains = true;
        self.step_ended.notify_all();
    }
}

/// One step less until the end; the end, where it has come.
fn burn(fuse: &mut Option<(usize, End)>) -> Option<Trouble> {
    let (left, end) = fuse.as_mut()?;
    let Some(fewer) = left.checked_sub(1) else {
        return Some(Trouble::End(*end));
    };
    *left = fewer;
    None
}

impl Watch for Script {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        if seen.is_over {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let name = step.to_string();
        let nth = seen.counts.entry(name.clone()).or_default();
        *nth += 1;
        let point = Point {
            nth: *nth,
            step: name,
        };
        let trouble = self.trouble_at(&point).or_else(|| burn(&mut seen.fuse));
        seen.points.push(point);
        seen.has_struck |= trouble.is_some();
        match trouble {
            Some(Trouble::End(end)) => {
                self.end(seen, end);
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            Some(Trouble::Once(errno)) => return Err(io::Error::from_raw_os_error(errno)),
            Some(Trouble::FromThenOn(_)) => seen.is_failing = true,
            None => {}
        }
        match &self.plan {
            Some((_, Trouble::FromThenOn(errno))) if seen.is_failing && !seen.is_mended => {
                Err(io::Error::from_raw_os_error(*errno))
            }
            _ => {
                seen.under_way += 1;
                Ok(())
            }
        }
    }

    fn after(&self, step: &Step<'_>, is_done: bool) {
        let mut seen = self.seen.lock().unwrap();
        seen.under_way -= 1;
        self.step_ended.notify_all();
        if is_done && !seen.is_over {
            seen.image.note(step, &self.remains.state);
        }
    }
}
