//! One operation: done to the model first, so that the service knows what it may be asked, and then to the file system;
//! both have to agree on how it goes.

use super::files::{HEAD, Name, summary};
use super::life::{Failed, Handle, Life, Run};
use super::plan::{Manner, NAMES, Op, PROVISIONAL, Place, SCRATCH};
use crate::surface::{Answer, Surface};

/// Handles at a time.
const HANDLES: usize = 4;

/// The kernel's largest write.
const WRITE: usize = 128 * 1024;

impl Run<'_> {
    /// Before the file system is asked, the service learns what it may be asked.
    fn announce(&mut self) {
        for sealed in self.model.take_sealed() {
            self.service.may_arrive(&sealed);
        }
        self.service
            .are_there(self.model.certain(), self.model.moved_aside());
    }

    /// An operation was answered: it is done, or everything is over.
    fn answered(&mut self, life: &Life, answer: Answer<()>, allowed: &[i32]) -> Result<(), Failed> {
        if let Some(violation) = self.service.violation() {
            return Err(violation);
        }
        if life.is_over() {
            self.trace.push("-- the end".to_owned());
            return Ok(());
        }
        match answer {
            Err(errno) if !allowed.contains(&errno) => {
                let pending = life.fs.state().pending();
                return Err(format!("errno {errno}; pending is {pending:#?}"));
            }
            Err(errno) => self.trace.push(format!("-- errno {errno}")),
            Ok(()) => {}
        }
        self.model.acknowledged();
        Ok(())
    }

    pub(super) fn act(&mut self, life: &Life, op: &Op) -> Result<(), Failed> {
        match *op {
            Op::Read(name) => self.read(life, name),
            Op::List => self.compare(life),
            Op::Put(name, len) => self.put(life, name, len),
            Op::Open { name, truncate } => self.open(life, name, truncate).map(drop),
            Op::Write { handle, place, len } => match self.handle(handle) {
                Some(handle) => self.write(life, handle, place, len),
                None => self.put(life, NAMES[handle], len),
            },
            Op::WriteAgain(handle) => match self.handle(handle) {
                Some(handle) => self.write_again(life, handle),
                None => Ok(()),
            },
            Op::Truncate { handle, size } => self.truncate(life, handle, size),
            Op::TruncatePath(name, size) => self.truncate_path(life, name, size),
            Op::Flush(handle) => match self.handle(handle) {
                Some(handle) => self.flush(life, handle),
                None => self.compare(life),
            },
            Op::Close(handle) => match self.handle(handle) {
                Some(handle) => self.close(life, handle),
                None => self.compare(life),
            },
            Op::Fsync(handle) => self.fsync(life, handle),
            Op::Rename(from, to) => self.rename(life, from, to),
            Op::Unlink(name) => self.unlink(life, name),
            Op::TimePasses => {
                life.fs.state().hurry();
                Ok(())
            }
            Op::Crash(crash, next) => {
                self.next_crash = next;
                match crash.steps {
                    0 => life.script.end_now(crash.into()),
                    steps => life.script.end_after(steps, crash.into()),
                }
                Ok(())
            }
        }
    }

    fn handle(&self, number: usize) -> Option<Handle> {
        let count = self.handles.len();
        (count > 0).then(|| self.handles[number % count])
    }

    fn read(&mut self, life: &Life, name: Name) -> Result<(), Failed> {
        let fs: &dyn Surface = &*life.fs;
        let got = fs.get(name);
        let expected = self
            .model
            .find(name)
            .map(|file| &self.model.files[file].now);
        if life.is_over() || got.as_ref().ok() == expected {
            return Ok(());
        }
        let files = |bytes: Option<&Vec<u8>>| {
            let found = bytes.map(|bytes| (name.to_owned(), bytes.clone()));
            summary(&found.into_iter().collect())
        };
        let (found, expected) = (files(got.as_ref().ok()), files(expected));
        let errno = got.err();
        Err(format!(
            "read {found:?} (errno {errno:?}), not {expected:?}"
        ))
    }

    fn open(&mut self, life: &Life, name: Name, truncate: bool) -> Result<Option<Handle>, Failed> {
        if self.handles.len() == HANDLES {
            self.close(life, self.handles[0])?;
            if life.is_over() {
                return Ok(None);
            }
        }
        let found = self.model.find(name);
        let file = found.unwrap_or_else(|| self.model.create(name));
        if truncate {
            self.model.resize(file, 0);
        }
        self.announce();
        let flags = libc::O_RDWR | libc::O_CREAT | if truncate { libc::O_TRUNC } else { 0 };
        let opened = life.fs.open(name, flags);
        self.answered(life, opened.map(drop), &[])?;
        let (false, Ok(fd)) = (life.is_over(), opened) else {
            return Ok(None);
        };
        let handle = Handle { fd, file };
        self.model.files[file].handles += 1;
        self.handles.push(handle);
        Ok(Some(handle))
    }

    fn put(&mut self, life: &Life, name: Name, len: usize) -> Result<(), Failed> {
        let Some(handle) = self.open(life, name, true)? else {
            return Ok(());
        };
        self.write(life, handle, Place::Start, len)?;
        if life.is_over() {
            return Ok(());
        }
        self.close(life, handle)
    }

    fn write(
        &mut self,
        life: &Life,
        handle: Handle,
        place: Place,
        len: usize,
    ) -> Result<(), Failed> {
        let size = self.model.files[handle.file].now.len();
        let offset = match place {
            Place::Start => 0,
            // The serial number stays.
            Place::Middle if size > HEAD => HEAD.max(size / 2),
            Place::Middle | Place::End => size,
            Place::Behind(distance) => size + distance,
        };
        let data = self.model.fresh(handle.file, offset, len);
        self.model.write(handle.file, offset, &data);
        let mut answer = Ok(());
        for (nth, chunk) in data.chunks(WRITE).enumerate() {
            let at = (offset + nth * WRITE) as u64;
            answer = answer.and_then(|()| life.fs.pwrite(handle.fd, at, chunk));
        }
        self.answered(life, answer, &[])
    }

    fn write_again(&mut self, life: &Life, handle: Handle) -> Result<(), Failed> {
        let bytes = self.model.files[handle.file].now.clone();
        self.model.write(handle.file, 0, &bytes);
        let answer = life.fs.pwrite(handle.fd, 0, &bytes);
        self.answered(life, answer, &[])
    }

    fn truncate(&mut self, life: &Life, number: usize, size: usize) -> Result<(), Failed> {
        let Some(handle) = self.handle(number) else {
            return self.truncate_path(life, NAMES[number], size);
        };
        self.model.resize(handle.file, size);
        let answer = life.fs.ftruncate(handle.fd, size as u64);
        self.answered(life, answer, &[])
    }

    fn fsync(&mut self, life: &Life, number: usize) -> Result<(), Failed> {
        let answer = if let Some(handle) = self.handle(number) {
            self.model.seal(handle.file);
            self.announce();
            life.fs.fsync(handle.fd)
        } else {
            life.fs.sync_root()
        };
        self.answered(life, answer, &[])
    }

    fn truncate_path(&mut self, life: &Life, name: Name, size: usize) -> Result<(), Failed> {
        let Some(file) = self.model.find(name) else {
            let answer = life.fs.truncate(name, size as u64);
            return self.is_missing(life, answer);
        };
        self.model.files[file].handles += 1;
        self.model.resize(file, size);
        self.model.release(file);
        self.announce();
        let answer = life.fs.truncate(name, size as u64);
        self.answered(life, answer, &[])
    }

    /// The errors a close may have: those of a service that fails, where the first failure is told.
    fn errors_of_close(&self) -> &'static [i32] {
        match self.case.manner {
            Manner::Impatient => &[libc::EIO, libc::EAGAIN],
            Manner::Patient | Manner::WriteBack => &[],
        }
    }

    fn flush(&mut self, life: &Life, handle: Handle) -> Result<(), Failed> {
        self.model.flush(handle.file);
        self.announce();
        let answer = life.fs.close_dup(handle.fd);
        self.closed(life, handle, answer)
    }

    fn close(&mut self, life: &Life, handle: Handle) -> Result<(), Failed> {
        self.handles.retain(|other| other.fd != handle.fd);
        self.model.flush(handle.file);
        let is_sealed = self.model.files[handle.file].is_sealed;
        self.model.release(handle.file);
        self.announce();
        let answer = life.fs.close(handle.fd);
        // Whether there was anything to wait for is known from before the release.
        let was_sealed = std::mem::replace(&mut self.model.files[handle.file].is_sealed, is_sealed);
        let checked = self.closed(life, handle, answer);
        self.model.files[handle.file].is_sealed = was_sealed;
        checked
    }

    /// A close that went well has its content confirmed.
    fn closed(&mut self, life: &Life, handle: Handle, answer: Answer<()>) -> Result<(), Failed> {
        self.tally.failed += usize::from(answer.is_err() && !life.is_over());
        let allowed = self.errors_of_close();
        self.answered(life, answer, allowed)?;
        let file = &self.model.files[handle.file];
        let is_confirmed = answer.is_ok()
            && self.case.manner != Manner::WriteBack
            && file.is_sealed
            && !file.now.is_empty()
            && file
                .name
                .is_some_and(|name| name != PROVISIONAL && name != SCRATCH);
        if is_confirmed && !life.is_over() && !self.service.has(&file.now) {
            return Err("a close that went well, and the service does not have it".to_owned());
        }
        Ok(())
    }

    fn rename(&mut self, life: &Life, from: Name, to: Name) -> Result<(), Failed> {
        let Some(file) = self.model.find(from) else {
            let answer = life.fs.rename(from, to, 0);
            return self.is_missing(life, answer);
        };
        if from != to {
            self.model.rename(file, to);
        }
        self.announce();
        let answer = life.fs.rename(from, to, 0);
        self.answered(life, answer, &[])
    }

    fn unlink(&mut self, life: &Life, name: Name) -> Result<(), Failed> {
        let Some(file) = self.model.find(name) else {
            let answer = life.fs.unlink(name);
            return self.is_missing(life, answer);
        };
        self.model.unlink(file);
        self.announce();
        let answer = life.fs.unlink(name);
        self.answered(life, answer, &[])
    }

    fn is_missing(&mut self, life: &Life, answer: Answer<()>) -> Result<(), Failed> {
        if answer.is_ok() && !life.is_over() {
            return Err("there is a file that nobody made, or that was removed".to_owned());
        }
        self.answered(life, answer, &[libc::ENOENT])
    }
}
