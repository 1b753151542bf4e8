//! One kind of log file: `debug.log.2023-01-04_11-28-49` and its successors, with a link `debug.log` to the newest.
//!
//! The library's own file writer does not know names of this form when it cleans up, so rotation and pruning are
//! here. Every line goes to the system at once: a `kill -9` loses none.

use super::names::{SHAPE, STAMP, is_later, is_of_kind, to_prune};
use crate::config::Logging;
use crate::outlet;
use crate::own;
use chrono::{Local, NaiveDateTime};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Files that may begin within the same second.
const SAME_SECOND: u32 = 999;

/// The files of one kind. At most `keep` of them stay, the one being written included, and none grows beyond
/// `max_size` by more than a line.
#[derive(Debug)]
pub struct RotatingFile {
    directory: PathBuf,
    /// As `debug.log`.
    kind: &'static str,
    rotate_every: Duration,
    max_size: u64,
    keep: usize,
    current: Option<Current>,
    /// The stamp of the newest file, and its number among those of the same second.
    newest: (String, u32),
    /// Whether standard error was told that the file cannot be written.
    complained: bool,
    /// What is wrong with the files as a whole, beside their content.
    troubles: Vec<String>,
    /// Whether the file being written was taken away since this was asked last.
    was_taken_away: bool,
}

#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    began: Instant,
    size: u64,
}

impl RotatingFile {
    /// Goes on with the newest file of a former run while that is young enough, or begins one: a program that is
    /// started over and over does not push out the log that says why.
    ///
    /// The second value is what kept it from beginning; [`RotatingFile::tick`] and every line try again.
    pub fn begin(kind: &'static str, config: &Logging) -> (Self, Option<io::Error>) {
        let mut file = Self {
            directory: config.directory.clone(),
            kind,
            rotate_every: config.rotate_every,
            max_size: config.max_file_size,
            keep: config.keep_files,
            current: None,
            newest: (String::new(), 0),
            complained: false,
            troubles: Vec::new(),
            was_taken_away: false,
        };
        own::narrow_all(&file.directory, |name| name.to_str().is_some_and(|name| is_of_kind(name, kind)));
        // A former file that cannot be gone on with, as that of another user, is left alone.
        file.current = file.resume().unwrap_or_default();
        let trouble = if file.current.is_none() { file.rotate().err() } else { None };
        file.complained = trouble.is_some();
        (file, trouble)
    }

    /// Writes a line. Trouble is reported on standard error, once until it is over; the log never stops the agent.
    pub fn write(&mut self, line: &str) {
        match self.try_write(line.as_bytes()) {
            Ok(()) => self.complained = false,
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    let path = self.directory.join(self.kind);
                    outlet::error().put(format!("packhorse: cannot write {}: {error}\n", path.display()));
                }
            }
        }
    }

    /// Begins the next file when the present one is old enough, or was taken away; when to call this next.
    pub fn tick(&mut self, now: Instant) -> Instant {
        let due = self.current.as_ref().map(|current| current.began + self.rotate_every);
        let there = self.current.as_ref().is_some_and(Current::is_there);
        // What fails here is reported as trouble, and is tried again.
        if !there {
            self.was_taken_away |= self.rotate().is_ok() && due.is_some();
        } else if due.is_some_and(|due| now >= due) {
            let _ = self.rotate();
        }
        self.current.as_ref().map_or(now, |current| current.began) + self.rotate_every
    }

    fn try_write(&mut self, line: &[u8]) -> io::Result<()> {
        if self
            .current
            .as_ref()
            .is_none_or(|current| current.size > 0 && current.size + line.len() as u64 > self.max_size)
        {
            self.rotate()?;
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        current.file.write_all(line)?;
        current.size += line.len() as u64;
        Ok(())
    }

    /// What is wrong with the files as a whole, for the log: the same words for each kind of file. Empty: nothing.
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }

    /// Whether the file being written was taken away since this was asked last, and another one was begun.
    pub fn take_taken_away(&mut self) -> bool {
        std::mem::take(&mut self.was_taken_away)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let begun = self.begin_next();
        if let Err(error) = &begun {
            self.troubles = vec![format!("no new file can be begun: {error}")];
        }
        begun
    }

    fn begin_next(&mut self) -> io::Result<()> {
        own::folder(&self.directory)?;
        let stamp = Local::now().format(STAMP).to_string();
        let (file, name) = self.create(&stamp)?;
        let path = self.directory.join(&name);
        self.current = Some(Current { file, path, began: Instant::now(), size: 0 });
        self.tidy(&name);
        Ok(())
    }

    /// Puts the link and the number of files right, as far as the disk takes that: the lines are worth more. The next
    /// rotation tries again.
    fn tidy(&mut self, newest: &str) {
        let link = self.link(newest).map_err(|error| format!("no link can point to the newest file: {error}"));
        let pruned = self.prune(newest).map_err(|error| format!("old files cannot be removed: {error}"));
        self.troubles = link.err().into_iter().chain(pruned.err()).collect();
    }

    /// The newest file of a former run, when it began less than `rotate_every` ago by its name and has room.
    fn resume(&mut self) -> io::Result<Option<Current>> {
        let now = Local::now().format(STAMP).to_string();
        let names = self.names()?.into_iter();
        let newest = names.filter(|name| is_of_kind(name, self.kind) && !is_later(name, self.kind, &now)).max();
        let Some(name) = newest else { return Ok(None) };
        let stamp = name[self.kind.len() + 1..].get(..SHAPE.len()).unwrap_or_default();
        let Ok(began) = NaiveDateTime::parse_from_str(stamp, STAMP) else { return Ok(None) };
        let age = Local::now().naive_local().signed_duration_since(began).to_std();
        let Some(age) = age.ok().filter(|age| *age < self.rotate_every) else { return Ok(None) };
        let Some(began) = Instant::now().checked_sub(age) else { return Ok(None) };
        let path = self.directory.join(&name);
        let file = own::append(&path)?;
        let size = file.metadata()?.len();
        if size >= self.max_size {
            return Ok(None);
        }
        self.tidy(&name);
        Ok(Some(Current { file, path, began, size }))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    /// Creates the file of a stamp; never one that is there already, or was and is pruned by now.
    fn create(&mut self, stamp: &str) -> io::Result<(File, String)> {
        let first = if self.newest.0 == stamp { self.newest.1 + 1 } else { 0 };
        for number in first..=SAME_SECOND {
            let name = match number {
                0 => format!("{}.{stamp}", self.kind),
                number => format!("{}.{stamp}.{number:03}", self.kind),
            };
            match own::create_log(&self.directory.join(&name)) {
                Ok(file) => {
                    self.newest = (stamp.to_owned(), number);
                    return Ok((file, name));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{SAME_SECOND} files began in the same second")))
    }

    /// Points `debug.log` to the newest file. A file of that name that is no link is somebody else's.
    fn link(&self, name: &str) -> io::Result<()> {
        let link = self.directory.join(self.kind);
        if fs::symlink_metadata(&link).is_ok_and(|metadata| !metadata.is_symlink()) {
            return Err(io::Error::other("what has its name is no link"));
        }
        // Renaming replaces the old link in one step: there is always one.
        let new = self.directory.join(format!(".{}.new", self.kind));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(name, &new)?,
        }
        fs::rename(&new, &link)
    }

    /// Removes the oldest files of this kind, and no others. One that cannot be removed keeps none of the others.
    fn prune(&self, newest: &str) -> io::Result<()> {
        let mut pruned = Ok(());
        for name in to_prune(self.names()?, self.kind, self.keep, newest) {
            match fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => pruned = Err(error),
                _ => {}
            }
        }
        pruned
    }
}

impl Current {
    /// Whether its name still leads to the file that is written.
    fn is_there(&self) -> bool {
        own::is_at(&self.file, &self.path).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests;
