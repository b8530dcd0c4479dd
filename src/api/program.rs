//! Which program a request is made for.
//!
//! Requests are made by threads of this process, and most of them for somebody else: who reads, who closed a file, who
//! looked an id up. That goes along with the work. A thread that works for a program does so [`on_behalf_of`] it; what
//! starts another thread, or leaves work to one that comes later, takes [`Program::current`] along. What nobody asked
//! for is afs's own: refreshes of the listing, and what a mount does by itself.

use std::cell::{LazyCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// A program's name, as the kernel has it (`comm` in `proc_pid_comm(5)`, 15 bytes).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Program(Option<Arc<str>>);

impl Program {
    /// This one.
    pub const AFS: Self = Self(None);

    /// The program of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self((name != "afs").then(|| name.into()))
    }

    /// Whom this thread works for.
    #[must_use]
    pub fn current() -> Self {
        let behalf = BEHALF.with_borrow(Clone::clone);
        behalf.map_or(Self::AFS, |behalf| LazyCell::force(&behalf).clone())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("afs"))
    }
}

/// Most of what programs ask of a mount causes no request, so that nobody looks for their names before one does.
type Behalf = Rc<LazyCell<Program, Box<dyn FnOnce() -> Program>>>;

thread_local! {
    static BEHALF: RefCell<Option<Behalf>> = const { RefCell::new(None) };
}

/// Whom the thread worked for before.
struct Before(Option<Behalf>);

impl Drop for Before {
    fn drop(&mut self) {
        BEHALF.set(self.0.take());
    }
}

/// Does something on a program's behalf. `who` is asked which program that is once at most: when a request is caused.
pub fn on_behalf_of<T>(who: impl FnOnce() -> Program + 'static, act: impl FnOnce() -> T) -> T {
    let behalf: Behalf = Rc::new(LazyCell::new(Box::new(who)));
    let _before = Before(BEHALF.replace(Some(behalf)));
    act()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic;

    use super::*;

    fn current() -> String {
        Program::current().to_string()
    }

    #[test]
    fn work_is_for_whom_it_is_said_to_be_and_after_it_for_whom_it_was_before() {
        assert_eq!(current(), "afs");
        on_behalf_of(
            || Program::named("cp"),
            || {
                assert_eq!(current(), "cp");
                on_behalf_of(|| Program::named("rm"), || assert_eq!(current(), "rm"));
                assert_eq!(current(), "cp");
            },
        );
        let fails = || on_behalf_of(|| Program::named("cp"), || panic!("as it should"));
        panic::catch_unwind(fails).unwrap_err();
        assert_eq!(current(), "afs");
        assert_eq!(Program::named("afs"), Program::AFS);
    }

    #[test]
    fn who_it_is_is_asked_when_it_matters_and_once() {
        let asked = Rc::new(Cell::new(0));
        let who = || {
            let asked = Rc::clone(&asked);
            move || {
                asked.set(asked.get() + 1);
                Program::named("cp")
            }
        };
        on_behalf_of(who(), || {});
        assert_eq!(asked.get(), 0);
        on_behalf_of(who(), || (current(), current()));
        assert_eq!(asked.get(), 1);
    }
}
