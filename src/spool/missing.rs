//! What is taken away from under the running agent, or replaced, and how it is put back.
//!
//! Everything that the spool needs is open or in memory: the folder, the lock, the segments (up to [`HELD`] files), what
//! is finished. So what has lost its name, or stands under another one, is still there, and [`Spool::look`] puts it back
//! under its own name. What has no open file is lost, which is reported with its numbers.
//!
//! What stands in the place of ours is never read, and never deleted: a restored copy, or another spool, goes to a folder
//! `replaced` beside our files. Nothing is put into a folder that another agent has: [`Spool::rescue`] takes another one.

use super::claim::Claim;
use super::segment;
use super::{NAMES, OpenError, Spool, folder};
use crate::message::Seq;
use crate::own;
use log::{error, warn};
use rustix::fs::{AtFlags, Dir, OFlags, openat, renameat, unlinkat};
use rustix::process::{Resource, getrlimit};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Files of segments that are held open at most: all of a spool of the default size.
const HELD: u64 = 256;
/// Segments that are put back at once: 8 MiB, a second's work for a slow card.
const AT_ONCE: usize = 8;
/// Folders that what stood in our place may get.
const REPLACED: usize = 100;
/// A folder may change again within what its time of change can tell.
const SETTLED: Duration = Duration::from_secs(2);

/// Why the spool's files cannot be put right.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// Another agent uses the folder: nothing may be written to it any more.
    #[error("its folder, or the lock in it, was taken away while this agent ran, and another agent has it by now")]
    Taken,
    /// Trying again later is right.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<OpenError> for Missing {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked(_) => Missing::Taken,
            OpenError::Io { action, source, .. } => Missing::Io(io::Error::other(format!("cannot {action}: {source}"))),
        }
    }
}

/// What a look at the files has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Messages that were only in what was taken away; they count as finished.
    pub lost: Vec<RangeInclusive<Seq>>,
    /// Whether more is to be put back at once.
    pub is_to_go_on: bool,
}

impl Spool {
    /// Looks whether everything that the spool has open is still where it belongs, and puts back what is not.
    ///
    /// `is_kept`: messages that somebody has in memory, and that do not count as lost yet.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn look(&mut self, is_kept: impl Fn(Seq) -> bool, now: Instant) -> Result<Look, Missing> {
        let Some(claim) = &mut self.claim else { return Ok(Look::default()) };
        let folder = self.directory.clone();
        let path = folder.display();
        if !claim.is_at(&folder)? {
            self.move_in()?;
            error!("the spool's folder was taken away or replaced under the running agent; begun anew folder={path}");
        } else if claim.restore_lock(&folder)? {
            error!("lock was taken away under the running agent; locked again folder={path}");
        }
        if !self.journal.is_there()? {
            self.journal.begin_anew()?;
            error!("journal was taken away or replaced under the running agent; written anew folder={path}");
        }
        self.look_at_segments(is_kept, now)
    }

    /// Whether the folder that is ours is where it belongs: nothing is created where another agent may be.
    ///
    /// # Errors
    /// It is not, or the system's.
    pub(super) fn is_at_home(&self) -> io::Result<()> {
        match &self.claim {
            Some(claim) if !claim.is_at(&self.directory)? => Err(io::Error::other("the spool's folder was taken away")),
            _ => Ok(()),
        }
    }

    /// Takes a folder beside the one that another agent has by now, for what this spool has: [`Spool::look`] puts everything
    /// there. That folder; `None`: the folder is still ours to read, and what is in it is the other agent's as well.
    pub fn rescue(&mut self) -> Option<PathBuf> {
        if self.is_at_home().is_ok() {
            return None;
        }
        let named = |number: usize| {
            let mut name = self.directory.file_name()?.to_owned();
            name.push(if number == 0 { ".rescued".to_owned() } else { format!(".rescued-{number}") });
            Some(self.directory.with_file_name(name))
        };
        let beside = (0..REPLACED).filter_map(named).find(|path| path.symlink_metadata().is_err())?;
        self.directory.clone_from(&beside);
        self.journal.move_to(&beside);
        self.reader.move_to(&beside);
        Some(beside)
    }

    /// Writes nothing any more: the folder is another agent's.
    pub fn abandon(&mut self) {
        self.claim = None;
        self.is_abandoned = true;
        self.writer.abandon();
    }

    /// Whether this spool may be written to.
    ///
    /// # Errors
    /// Another agent has it.
    pub(super) fn may_write(&self) -> io::Result<()> {
        if self.is_abandoned { Err(io::Error::other("another agent has the spool")) } else { Ok(()) }
    }

    /// Takes the folder that the configuration names by now, with everything that is left in the former one.
    fn move_in(&mut self) -> Result<(), Missing> {
        folder::make_way_for_folder(&self.directory)?;
        let claim = match Claim::anew(&self.directory) {
            // It has come back.
            Err(OpenError::Locked(_)) if self.is_at_home().is_ok() => return Ok(()),
            claimed => claimed?,
        };
        put_aside(&self.directory, &ours_in(claim.folder())?)?;
        let former = self.claim.as_ref().map(|former| bring(former.folder(), claim.folder(), &self.directory));
        for first in former.transpose()?.into_iter().flatten() {
            self.turn_to_copy(first)?;
        }
        segment::sync_directory(&self.directory)?;
        self.claim = Some(claim);
        self.looked_at = None;
        Ok(())
    }

    /// A segment was copied: what is open is the former file.
    fn turn_to_copy(&mut self, first: Seq) -> io::Result<()> {
        let path = segment::path(&self.directory, first);
        if first == self.writer.first() && self.writer.open_file().is_some() {
            self.writer.turn_to(own::edit(&path)?);
        } else if self.segments.contains_key(&first) {
            self.segments.hold(first, own::read(&path)?);
        }
        self.reader.reopen();
        Ok(())
    }

    fn look_at_segments(&mut self, is_kept: impl Fn(Seq) -> bool, now: Instant) -> Result<Look, Missing> {
        let changed = fs::metadata(&self.directory)?.modified()?;
        self.hold_segments();
        let missing = match self.looked_at {
            Some(looked_at) if looked_at == changed => self.missing_newest()?,
            Some(_) | None => self.missing_segments()?,
        };
        let (mut look, mut restored) = (Look::default(), 0);
        for first in missing {
            if restored == AT_ONCE {
                look.is_to_go_on = true;
                break;
            }
            if self.restore(first)? {
                restored += 1;
            } else {
                look.lost.extend(self.lose(first, &is_kept, now));
            }
        }
        let is_settled = SystemTime::now().duration_since(changed).map_or(true, |age| age >= SETTLED);
        self.looked_at = Some(changed).filter(|_| is_settled && restored == 0);
        Ok(look)
    }

    /// Opens what has no open file yet.
    fn hold_segments(&mut self) {
        let files = getrlimit(Resource::Nofile).current.map_or(HELD, |limit| HELD.min(limit / 4));
        for first in self.segments.not_held(usize::try_from(files).unwrap_or(usize::MAX)) {
            if first != self.writer.first()
                && let Ok(file) = own::read(&segment::path(&self.directory, first))
            {
                self.segments.hold(first, file);
            }
        }
    }

    /// The segments whose names are gone or lead elsewhere; the newest first, for it is written to.
    fn missing_segments(&self) -> io::Result<Vec<Seq>> {
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&self.directory)? {
            there.extend(segment::first_of(&entry?.file_name()));
        }
        let mut missing = self.missing_newest()?;
        for first in self.segments.keys().copied().filter(|first| *first != self.writer.first()) {
            let is_there = there.contains(&first)
                && match self.segments.held(first) {
                    Some(open) => own::is_at(open, &segment::path(&self.directory, first))?,
                    None => true,
                };
            if !is_there {
                missing.push(first);
            }
        }
        Ok(missing)
    }

    /// The segment being written, where its name is gone or leads elsewhere.
    fn missing_newest(&self) -> io::Result<Vec<Seq>> {
        let first = self.writer.first();
        let Some(open) = self.writer.open_file() else { return Ok(Vec::new()) };
        let is_there = own::is_at(open, &segment::path(&self.directory, first))?;
        Ok(if is_there { Vec::new() } else { vec![first] })
    }

    /// Puts a segment back; whether that could be done, or need not: all is finished in it.
    ///
    /// # Errors
    /// The medium's. The next call tries again.
    fn restore(&mut self, first: Seq) -> io::Result<bool> {
        let is_newest = first == self.writer.first();
        let is_finished = self.journal.finished().unfinished_in(first, self.end_of(first)) == 0;
        if is_finished && !is_newest {
            self.segments.remove(first);
            return Ok(true);
        }
        let open = if is_newest { self.writer.open_file() } else { self.segments.held(first) };
        let Some(open) = open else { return Ok(false) };
        let path = segment::path(&self.directory, first);
        if path.symlink_metadata().is_ok() {
            put_aside(&self.directory, &path.file_name().map(OsStr::to_owned).into_iter().collect::<Vec<_>>())?;
        }
        let file = segment::restore(&self.directory, first, open)?;
        error!("segment was taken away or replaced under the running agent; put back file={}", path.display());
        if is_newest {
            self.writer.turn_to(file);
        } else {
            self.segments.hold(first, file);
        }
        self.reader.reopen();
        Ok(true)
    }

    /// Gives up what a segment held that is not finished and that nobody has in memory.
    fn lose(&mut self, first: Seq, is_kept: impl Fn(Seq) -> bool, now: Instant) -> Vec<RangeInclusive<Seq>> {
        let end = self.end_of(first);
        let mut lost: Vec<RangeInclusive<Seq>> = Vec::new();
        let mut seq = self.journal.finished().next_unfinished(first);
        while seq < end {
            if !is_kept(seq) {
                self.journal.finish(&(seq..=seq), now);
                match lost.last_mut() {
                    Some(row) if row.end().next() == seq => *row = *row.start()..=seq,
                    _ => lost.push(seq..=seq),
                }
            }
            seq = self.journal.finished().next_unfinished(seq.next());
        }
        let file = segment::path(&self.directory, first);
        for row in &lost {
            let (from, to, file) = (row.start(), row.end(), file.display());
            error!("messages lost with a segment that was taken away seq={from}..{to} file={file}");
        }
        if self.journal.finished().unfinished_in(first, end) == 0 {
            self.segments.remove(first);
        }
        self.reader.reopen();
        lost
    }

    /// The seq behind the last one that a segment holds.
    fn end_of(&self, first: Seq) -> Seq {
        self.segments.range(first.next()..).next().map_or(self.writer.next(), |(next, _)| *next)
    }
}

/// Whether a name in the folder is one of ours, but for the lock.
fn is_ours(name: &OsStr) -> bool {
    NAMES.iter().any(|ours| name == *ours)
        || name == "rejected"
        || segment::first_of(name).is_some()
        || segment::is_unfinished(name)
        || Path::new(name).extension().is_some_and(|kind| kind == "damaged")
}

/// Our names in a folder. One that is deleted has none.
fn ours_in(folder: &File) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        match entry {
            Ok(entry) => names.push(OsString::from_vec(entry.file_name().to_bytes().to_vec())),
            Err(rustix::io::Errno::NOENT) => break,
            Err(error) => return Err(error.into()),
        }
    }
    names.retain(|name| is_ours(name));
    Ok(names)
}

/// Moves what stands in our place, and is not ours, to a folder of its own, where people find it.
fn put_aside(directory: &Path, names: &[OsString]) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let named = |number| if number == 0 { "replaced".to_owned() } else { format!("replaced-{number}") };
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    let aside = (0..REPLACED).map(|number| directory.join(named(number))).find(is_free);
    let aside = aside.ok_or_else(|| io::Error::other(format!("{REPLACED} folders `replaced` are there already")))?;
    own::folder(&aside)?;
    for name in names {
        fs::rename(directory.join(name), aside.join(name))?;
    }
    warn!("what stood in the place of the spool's own files was moved to={} files={}", aside.display(), names.len());
    Ok(())
}

/// Moves what is left in our former folder to the present one; the segments that were copied, for it is on another file
/// system. What cannot be moved stays there.
fn bring(former: &File, present: &File, directory: &Path) -> io::Result<Vec<Seq>> {
    let mut copied = Vec::new();
    for name in ours_in(former)? {
        let moved = match renameat(former, &name, present, &name) {
            Err(rustix::io::Errno::XDEV) => {
                copy(former, &name, directory).map(|()| copied.extend(segment::first_of(&name)))
            }
            moved => moved.map_err(io::Error::from),
        };
        if let Err(error) = moved {
            warn!("left in the spool's former folder name={} error={error}", name.display());
        }
    }
    Ok(copied)
}

/// Moves a file between file systems.
fn copy(former: &File, name: &OsStr, directory: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let from = File::from(openat(former, name, flags, rustix::fs::Mode::empty())?);
    if !from.metadata()?.is_file() {
        return Err(io::Error::other("it is no file, and is to go to another file system"));
    }
    let to = directory.join(name);
    let mut file = own::begin(&to)?;
    let copied = io::copy(&mut &from, &mut file).and_then(|_| super::medium::sync_all(&file));
    if let Err(error) = copied {
        let _ = fs::remove_file(&to);
        return Err(error);
    }
    Ok(unlinkat(former, name, AtFlags::empty())?)
}
