//! One kind of log file: `debug.log.2023-01-04_11-28-49` and its successors, with a link `debug.log` to the newest.
//!
//! The library's own file writer does not know names of this form when it cleans up, so rotation and pruning are
//! here. Every line goes to the system at once: a `kill -9` loses none.

use crate::config::Logging;
use crate::own;
use chrono::{Local, NaiveDateTime};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const STAMP: &str = "%Y-%m-%d_%H-%M-%S";
/// How a stamp looks: `0` stands for any digit.
const SHAPE: &[u8] = b"0000-00-00_00-00-00";
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
                    // Standard error may be gone as well.
                    let _ = writeln!(io::stderr(), "packhorse: cannot write {}: {error}", path.display());
                }
            }
        }
    }

    /// Begins the next file when the present one is old enough, or was taken away; when to call this next.
    pub fn tick(&mut self, now: Instant) -> Instant {
        let due = self.current.as_ref().map(|current| current.began + self.rotate_every);
        let there = self.current.as_ref().is_some_and(|current| current.path.exists());
        if due.is_some_and(|due| now >= due) || !there {
            // What fails here fails again with the next line, and is reported then.
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

    fn rotate(&mut self) -> io::Result<()> {
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
    fn tidy(&self, newest: &str) {
        let _ = self.link(newest);
        let _ = self.prune(newest);
    }

    /// The newest file of a former run, when it began less than `rotate_every` ago by its name and has room.
    fn resume(&self) -> io::Result<Option<Current>> {
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
            return Ok(());
        }
        // Renaming replaces the old link in one step: there is always one.
        let new = self.directory.join(format!(".{}.new", self.kind));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(name, &new)?,
        }
        fs::rename(&new, &link)
    }

    /// Removes the oldest files of this kind, and no others.
    fn prune(&self, newest: &str) -> io::Result<()> {
        for name in to_prune(self.names()?, self.kind, self.keep, newest) {
            match fs::remove_file(self.directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The oldest of a kind's files beyond the number to keep; never the newest, whatever the clock did to its name. Files
/// with a later name were written while the clock was wrong, and count as the oldest.
fn to_prune(names: Vec<String>, kind: &str, keep: usize, newest: &str) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().filter(|name| name != newest && is_of_kind(name, kind)).collect();
    let stamp = newest.get(kind.len() + 1..).unwrap_or_default();
    names.sort_by_cached_key(|name| (!is_later(name, kind, stamp), name.clone()));
    names.truncate((names.len() + 1).saturating_sub(keep.max(1)));
    names
}

/// Whether a file of this kind began after this stamp, by its name.
fn is_later(name: &str, kind: &str, stamp: &str) -> bool {
    // The number behind the stamp counts files of the same second.
    name.get(kind.len() + 1..).and_then(|of_file| of_file.get(..SHAPE.len())) > stamp.get(..SHAPE.len())
}

/// Whether a name is `kind.stamp` or `kind.stamp.number`.
fn is_of_kind(name: &str, kind: &str) -> bool {
    let stamp = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')).map(str::as_bytes);
    let Some((stamp, number)) = stamp.and_then(|stamp| stamp.split_at_checked(SHAPE.len())) else { return false };
    let shaped = stamp.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        shape => byte == shape,
    });
    shaped && matches!(number, [] | [b'.', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::LevelFilter;
    use proptest::prelude::*;
    use std::path::Path;

    fn config(directory: &Path) -> Logging {
        Logging {
            directory: directory.to_owned(),
            rotate_every: Duration::from_secs(3600),
            keep_files: 3,
            max_file_size: 1000,
            debug: true,
            info: true,
            sample: LevelFilter::Off,
            paho: LevelFilter::Off,
            console: LevelFilter::Off,
        }
    }

    fn files(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| is_of_kind(name, "debug.log")).collect();
        names.sort();
        names
    }

    fn linked(directory: &Path) -> String {
        fs::read_link(directory.join("debug.log")).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_flood_rotates_early_stays_bounded_and_loses_none_of_the_newest_lines() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = RotatingFile::begin("debug.log", &config(folder.path()));

        for number in 0..2000 {
            file.write(&format!("line {number:06}\n"));
        }

        let names = files(folder.path());
        assert_eq!(names.len(), 3);
        assert_eq!(&linked(folder.path()), names.last().unwrap());
        let text: String = names.iter().map(|name| fs::read_to_string(folder.path().join(name)).unwrap()).collect();
        assert!(text.len() <= 3000);
        let first = 2000 - text.lines().count();
        assert!(first < 1850);
        assert!(text.lines().eq((first..2000).map(|number| format!("line {number:06}"))));
    }

    #[test]
    fn an_old_file_gives_way_to_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = RotatingFile::begin("debug.log", &config(folder.path()));
        let began = file.current.as_ref().unwrap().began;
        file.write("first\n");

        let next = file.tick(began + Duration::from_secs(3599));
        let before = files(folder.path()).len();
        file.tick(began + Duration::from_secs(3600));
        file.write("second\n");

        assert_eq!(next, began + Duration::from_secs(3600));
        assert_eq!((before, files(folder.path()).len()), (1, 2));
        assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "second\n");
    }

    #[test]
    fn a_young_file_of_a_former_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let young = Local::now() - Duration::from_secs(600);
        let name = young.format("debug.log.%Y-%m-%d_%H-%M-%S").to_string();
        fs::write(folder.path().join(&name), "before\n").unwrap();

        let (mut file, _) = RotatingFile::begin("debug.log", &config(folder.path()));
        file.write("after\n");
        let next = file.tick(Instant::now());

        assert_eq!(files(folder.path()), [name]);
        assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "before\nafter\n");
        let left = next.saturating_duration_since(Instant::now());
        assert!(left < Duration::from_secs(3001) && left > Duration::from_secs(2900), "{left:?}");
    }

    #[test]
    fn a_file_of_a_former_run_that_cannot_be_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let name = Local::now().format("debug.log.%Y-%m-%d_%H-%M-%S").to_string();
        // A folder cannot be written to, not even by root.
        fs::create_dir(folder.path().join(&name)).unwrap();

        let (mut file, trouble) = RotatingFile::begin("debug.log", &config(folder.path()));
        file.write("line\n");

        assert!(trouble.is_none());
        assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "line\n");
    }

    #[test]
    fn files_of_former_runs_are_pruned_and_foreign_ones_are_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let former =
            ["debug.log.2023-01-04_11-28-49", "debug.log.2023-01-04_11-28-49.001", "debug.log.2023-01-04_12-28-49"];
        let foreign = ["debug.log.old", "info.log.2023-01-04_11-28-49", "debug.log.2023-01-04_11-28-4x", "notes.txt"];
        for name in former.iter().chain(&foreign) {
            fs::write(folder.path().join(name), name).unwrap();
        }

        let _ = RotatingFile::begin("debug.log", &config(folder.path()));

        assert_eq!(files(folder.path())[..2], former[1..]);
        assert_eq!(files(folder.path()).len(), 3);
        assert!(foreign.iter().all(|name| folder.path().join(name).exists()));
    }

    #[test]
    fn a_file_in_the_place_of_the_link_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("debug.log"), "mine").unwrap();

        RotatingFile::begin("debug.log", &config(folder.path())).0.write("line\n");

        assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "mine");
    }

    #[test]
    fn a_folder_that_was_taken_away_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("log");
        let (mut file, _) = RotatingFile::begin("debug.log", &config(&directory));
        file.write("before\n");

        fs::remove_dir_all(&directory).unwrap();
        file.tick(Instant::now());
        file.write("after\n");

        assert_eq!(fs::read_to_string(directory.join("debug.log")).unwrap(), "after\n");
    }

    #[test]
    fn a_folder_that_cannot_be_written_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("log");
        let (mut file, _) = RotatingFile::begin("debug.log", &config(&directory));

        fs::remove_dir_all(&directory).unwrap();
        fs::write(&directory, "a file where the folder was").unwrap();
        file.tick(Instant::now());
        (0..200).for_each(|_| file.write("0123456789\n"));
        let complained = file.complained;
        fs::remove_file(&directory).unwrap();
        file.write("works again\n");

        assert!(complained && !file.complained);
        assert_eq!(fs::read_to_string(directory.join("debug.log")).unwrap(), "works again\n");
    }

    proptest! {
        #[test]
        fn pruning_keeps_the_newest_and_the_right_number(stamps in proptest::collection::btree_set(0u32..999_999, 1..40), keep in 1usize..8) {
            let name = |stamp: &u32| format!("debug.log.2023-01-04_{:02}-{:02}-{:02}", stamp / 10_000, stamp / 100 % 100, stamp % 100);
            let names: Vec<String> = stamps.iter().map(name).collect();
            let newest = names[names.len() / 2].clone();

            let pruned = to_prune(names.clone(), "debug.log", keep, &newest);

            prop_assert_eq!(names.len() - pruned.len(), names.len().min(keep));
            prop_assert!(!pruned.contains(&newest));
            let kept: Vec<&String> = names.iter().filter(|name| !pruned.contains(name) && **name != newest).collect();
            let age = |name: &String| (*name <= newest, name.clone());
            prop_assert!(pruned.iter().all(|old| kept.iter().all(|kept| age(old) < age(kept))));
        }
    }
}
