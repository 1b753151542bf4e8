//! Where many lines go: to standard output, or into a file that is there whole or not at all.

use super::Failure;
use crate::cli::Code;
use crate::foreign;
use crate::own;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write, stdout};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A file that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub path: &'a Path,
    /// Whether a file that is there is replaced.
    pub is_replaced: bool,
}

/// An output that is being written.
pub struct Output<'a> {
    to: BufWriter<Box<dyn Write>>,
    file: Option<(Target<'a>, PathBuf, File)>,
}

impl<'a> Output<'a> {
    /// To standard output, or begins a file beside the one that it becomes.
    ///
    /// # Errors
    /// There is such a file already, or none can be made.
    pub fn new(target: Option<Target<'a>>) -> Result<Self, Failure> {
        let Some(target) = target else {
            return Ok(Self { to: BufWriter::new(Box::new(stdout())), file: None });
        };
        match target.path.symlink_metadata() {
            Ok(_) if !target.is_replaced => return Err(exists(target.path)),
            Ok(metadata) if !metadata.is_file() => {
                return Err(failed(target.path, &io::Error::other("is no regular file, and is not replaced")));
            }
            _ => {}
        }
        let mut part = OsString::from(target.path);
        part.push(".part");
        let part = PathBuf::from(part);
        let begun = own::begin(&part).and_then(|file| Ok((file.try_clone()?, file)));
        let (to, file) = begun.map_err(|error| failed(&part, &error))?;
        Ok(Self { to: BufWriter::new(Box::new(to)), file: Some((target, part, file)) })
    }

    /// Writes. A reader that has gone away is no error: it has seen enough, and nothing more is to be written.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&mut self, text: &[u8]) -> Result<ControlFlow<()>, Failure> {
        let written = self.to.write_all(text);
        self.judge(written)
    }

    /// Writes what is left, and gives the file its name.
    ///
    /// # Errors
    /// The system's. The file that was begun is removed.
    pub fn end(mut self) -> Result<(), Failure> {
        let written = self.to.flush();
        if let Some((target, part, file)) = &self.file {
            let named = written.and_then(|()| file.sync_all()).and_then(|()| target.take(part));
            return named.map_err(|error| {
                let _ = fs::remove_file(part);
                if error.kind() == ErrorKind::AlreadyExists { exists(target.path) } else { failed(target.path, &error) }
            });
        }
        self.judge(written).map(drop)
    }

    /// Gives the file up that was begun.
    pub fn abandon(self) {
        if let Some((_, part, _)) = &self.file {
            let _ = fs::remove_file(part);
        }
    }

    fn judge(&self, written: io::Result<()>) -> Result<ControlFlow<()>, Failure> {
        match (written, &self.file) {
            (Ok(()), _) => Ok(ControlFlow::Continue(())),
            (Err(error), None) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            (Err(error), None) => {
                Err(Failure { code: Code::Failed, message: format!("cannot write to standard output: {error}") })
            }
            (Err(error), Some((_, part, _))) => {
                let _ = fs::remove_file(part);
                Err(failed(part, &error))
            }
        }
    }
}

impl Target<'_> {
    /// The finished file gets its name.
    fn take(&self, part: &Path) -> io::Result<()> {
        if self.is_replaced {
            return fs::rename(part, self.path);
        }
        // Whoever made a file of this name meanwhile keeps it.
        match renameat_with(CWD, part, CWD, self.path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // Not every file system can.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                fs::hard_link(part, self.path)?;
                fs::remove_file(part)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn exists(path: &Path) -> Failure {
    let message = format!("{}: there is such a file already; `--force` replaces it", foreign::path(path));
    Failure { code: Code::Failed, message }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure { code: Code::Failed, message: format!("cannot write {}: {error}", foreign::path(path)) }
}
