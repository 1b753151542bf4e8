//! Copies of segments in which damage was found, for people. They count towards the spool's size, and give way before a
//! message does: the newest few are kept, as far as there is room.

use super::segment::{self, LARGEST};
use crate::message::Seq;
use crate::own;
use log::warn;
use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Copies that are kept at most.
const KEPT: usize = 16;

/// The copies in a spool's folder.
#[derive(Debug)]
pub struct Copies {
    directory: PathBuf,
    /// Each with its size in bytes; the oldest first.
    files: VecDeque<(PathBuf, u64)>,
    bytes: u64,
    /// The segments that were found damaged, whether their copies are still there or not.
    damaged: BTreeSet<Seq>,
}

impl Copies {
    /// Those in a folder. What cannot be listed is not counted.
    pub fn of(directory: &Path) -> Self {
        let mut found = Vec::new();
        for entry in directory.read_dir().into_iter().flatten().flatten() {
            let (path, metadata) = (entry.path(), entry.metadata());
            if let (Some(first), Ok(metadata)) = (segment_of(&path), metadata)
                && metadata.is_file()
            {
                found.push((metadata.modified().ok(), path, metadata.len(), first));
            }
        }
        found.sort();
        let (damaged, bytes) =
            (found.iter().map(|(.., first)| *first).collect(), found.iter().map(|file| file.2).sum());
        let files = found.into_iter().map(|(_, path, size, _)| (path, size)).collect();
        Self { directory: directory.to_owned(), files, bytes, damaged }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether this segment was found damaged.
    pub fn has(&self, first: Seq) -> bool {
        self.damaged.contains(&first)
    }

    /// Removes the oldest ones until the rest has no more than `room` bytes.
    pub fn shrink_to(&mut self, room: u64) {
        while (self.bytes > room || self.files.len() > KEPT) && self.remove_oldest() {}
    }

    /// Removes the oldest one; whether there was one that could be removed.
    pub fn remove_oldest(&mut self) -> bool {
        let Some((path, size)) = self.files.front() else { return false };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!("copy of a damaged segment cannot be removed file={} error={error}", path.display());
                return false;
            }
            _ => warn!("copy of a damaged segment removed to make room file={}", path.display()),
        }
        self.bytes -= size;
        self.files.pop_front();
        true
    }

    /// Notes that a segment is damaged, and keeps a copy of it, unless there is one, in the place of older ones where all of
    /// them would have more than `room` bytes.
    pub fn keep(&mut self, segment: &File, first: Seq, room: u64) {
        self.damaged.insert(first);
        let to = segment::damaged_copy(&self.directory, first);
        if to.symlink_metadata().is_ok() {
            return;
        }
        match self.try_to_keep(segment, &to, room) {
            Ok(()) => warn!("segment damaged; a copy is kept file={}", to.display()),
            Err(error) => warn!("segment damaged; no copy could be kept file={} error={error}", to.display()),
        }
    }

    fn try_to_keep(&mut self, mut segment: &File, to: &Path, room: u64) -> io::Result<()> {
        let size = segment.metadata()?.len().min(LARGEST);
        let room = room.checked_sub(size).ok_or_else(|| io::Error::other("the spool has no room for it"))?;
        while (self.bytes > room || self.files.len() >= KEPT) && self.remove_oldest() {}
        segment.seek(SeekFrom::Start(0))?;
        let mut file = own::begin(to)?;
        if let Err(error) = io::copy(&mut segment.take(LARGEST), &mut file) {
            // Half a copy is none, and would take the place of a whole one.
            let _ = fs::remove_file(to);
            return Err(error);
        }
        self.files.push_back((to.to_owned(), size));
        self.bytes += size;
        Ok(())
    }
}

/// The segment that a file is the copy of; `None`: it is no copy.
fn segment_of(path: &Path) -> Option<Seq> {
    path.extension().filter(|extension| *extension == "damaged")?;
    path.file_stem().and_then(segment::first_of)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append, config, folder, open, samples};
    use super::*;
    use std::os::unix::fs::FileExt;

    fn copies(directory: &Path) -> Vec<u64> {
        let copies = Copies::of(directory);
        let mut firsts: Vec<u64> = copies.files.iter().filter_map(|(path, _)| Some(segment_of(path)?.0)).collect();
        firsts.sort_unstable();
        firsts
    }

    #[test]
    fn the_newest_are_kept_as_far_as_there_is_room_and_other_files_are_left_alone() {
        let folder = folder();
        fs::write(folder.path().join("journal.damaged"), "").unwrap();
        let segment = folder.path().join("segment");
        fs::write(&segment, [7; 1000]).unwrap();
        let segment = File::open(segment).unwrap();
        let mut kept = Copies::of(folder.path());

        (1..=30).for_each(|first| kept.keep(&segment, Seq(first), 10_500));
        assert_eq!(copies(folder.path()), (21..=30).collect::<Vec<_>>());
        (31..=60).for_each(|first| kept.keep(&segment, Seq(first), u64::MAX));
        assert_eq!(copies(folder.path()), (45..=60).collect::<Vec<_>>());
        kept.keep(&segment, Seq(61), 999);

        assert_eq!((copies(folder.path()).len(), kept.bytes(), kept.has(Seq(1))), (KEPT, 16_000, true));
        assert!(folder.path().join("journal.damaged").exists());
    }

    #[test]
    fn copies_count_towards_the_size_and_give_way_before_a_message_does() {
        let folder = folder();
        let config = crate::config::Spool { max_size: 1024 * 1024, ..config(folder.path()) };
        let mut spool = open(&config).unwrap();
        while spool.segments.len() < 3 {
            append(&mut spool, &samples(1..=100));
        }
        let firsts: Vec<Seq> = spool.segments.keys().copied().collect();
        drop(spool);
        for first in &firsts[..2] {
            let file = own::edit(&segment::path(folder.path(), *first)).unwrap();
            file.write_all_at(&[0x55; 3000], 20_000).unwrap();
        }
        let mut spool = open(&config).unwrap();
        while spool.next(std::time::Instant::now(), |_| ()).unwrap().is_some() {}
        let (segments, copied) = (spool.segments.bytes(), spool.reader.copies().bytes());
        assert_eq!((copies(folder.path()).len(), spool.bytes()), (2, segments + copied));

        let mut dropped = Vec::new();
        for _ in 0..300 {
            if spool.reader.copies().bytes() == 0 {
                break;
            }
            assert!(spool.bytes() <= config.max_size, "{:?}", spool.backlog());
            dropped.extend(spool.append(&samples(1..=100), None, std::time::Instant::now()).dropped_oldest);
        }

        assert_eq!(dropped, [], "messages are dropped while there are copies");
        assert_eq!(copies(folder.path()), Vec::<u64>::new());
    }
}
