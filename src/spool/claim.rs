//! Our right to a spool's folder: it is there, and no other agent uses it.
//!
//! The folder itself is locked, which takes no room on the disk, and the file `lock` in it, where that can be had: it
//! keeps out agents that know of the file alone, and serves file systems that lock no folders.

use super::OpenError;
use super::folder;
use super::segment::sync_directory;
use crate::own;
use log::warn;
use rustix::fs::{Mode, OFlags};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The device could not read or write (errno-base.h).
const EIO: i32 = 5;

/// The folder is ours for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    folder: File,
    /// The file in it; `None`: it could not be had.
    file: Option<File>,
}

/// Whether an error says that the disk takes nothing: it is full, read-only or fails.
pub fn is_of_the_disk(error: &io::Error) -> bool {
    is_full(error) || error.kind() == io::ErrorKind::ReadOnlyFilesystem || error.raw_os_error() == Some(EIO)
}

/// Whether an error says that the disk is full, or has no inode left, or our share of it is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Claim {
    /// Claims the folder, and makes it where there is none. `None`: there is none, and the disk does not take one.
    ///
    /// # Errors
    /// [`OpenError::Locked`], or the system's where the folder cannot be read.
    pub fn of(directory: &Path) -> Result<Option<Claim>, OpenError> {
        if !directory.exists() {
            match own::folder(directory) {
                Err(error) if is_of_the_disk(&error) => {
                    warn!("no spool for now; its folder cannot be made folder={} error={error}", directory.display());
                    return Ok(None);
                }
                made => made.map_err(OpenError::io(directory, "create the folder"))?,
            }
            if let Some(parent) = directory.canonicalize().ok().as_deref().and_then(Path::parent) {
                // A parent that cannot be flushed is no reason not to start.
                let _ = sync_directory(parent);
            }
        }
        lock(directory).map(Some)
    }

    /// The folder, whatever its name leads to by now.
    pub fn folder(&self) -> &File {
        &self.folder
    }

    /// Whether the folder that is ours is the one that the configuration names.
    ///
    /// # Errors
    /// The system's, where it does not tell.
    pub fn is_at(&self, directory: &Path) -> io::Result<bool> {
        own::is_folder_at(&self.folder, directory)
    }

    /// Claims the folder that the configuration names by now, and makes it where there is none.
    ///
    /// # Errors
    /// As [`Claim::of`].
    pub fn anew(directory: &Path) -> Result<Claim, OpenError> {
        own::folder(directory).map_err(OpenError::io(directory, "create the folder"))?;
        lock(directory)
    }

    /// Makes and locks the file `lock` again where it was taken away; whether it was.
    ///
    /// # Errors
    /// [`OpenError::Locked`] where another agent has made one meanwhile, which knows of the file alone; or the system's.
    pub fn restore_lock(&mut self, directory: &Path) -> Result<bool, OpenError> {
        let failed = |error| OpenError::io(directory, "lock the lock file")(error);
        let path = directory.join("lock");
        match &self.file {
            Some(file) if !own::is_at(file, &path).map_err(failed)? => {}
            Some(_) | None => return Ok(false),
        }
        folder::make_way(&path);
        let locked = lock_file(&path).or_else(|error| match error.kind() {
            // It is somebody else's, as after a backup was restored; the folder is ours.
            io::ErrorKind::PermissionDenied => {
                folder::set_aside(&path)?;
                lock_file(&path)
            }
            _ => Err(error),
        });
        match (locked.map_err(failed)?, &self.file) {
            (Some(file), _) => self.file = Some(file),
            // It has come back.
            (None, Some(ours)) if own::is_at(ours, &path).map_err(failed)? => return Ok(false),
            (None, _) => return Err(OpenError::Locked(directory.to_owned())),
        }
        Ok(true)
    }

    /// Claims a folder that could not be made before.
    ///
    /// # Errors
    /// The system's, or that there is something in it by now, which only a new start can read.
    pub fn late(directory: &Path) -> io::Result<Claim> {
        own::folder(directory)?;
        let claim = lock(directory).map_err(io::Error::other)?;
        let mut names = directory.read_dir()?.filter_map(|entry| entry.ok().map(|entry| entry.file_name()));
        match names.find(|name| name != "lock") {
            Some(name) => {
                let name = name.display();
                Err(io::Error::other(format!("the folder has come with {name} in it; a restart opens it")))
            }
            None => Ok(claim),
        }
    }
}

/// The process that holds the folder, or the file `lock` in it, as the kernel lists locks; nothing is locked, so that no
/// agent is kept from starting. `None`: none, or it cannot be seen from here.
#[must_use]
pub fn holder(directory: &Path) -> Option<u32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let inode = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let ours: Vec<_> = [directory, &directory.join("lock")].into_iter().filter_map(inode).collect();
    locks.lines().find_map(|line| {
        let (process, device, inode) = locked(line)?;
        ours.contains(&(device, inode)).then_some(process)
    })
}

/// Process, device and inode of a line of proc_locks(5), where it is one of flock(2)'s:
/// `1: FLOCK  ADVISORY  WRITE 4711 08:02:131 0 EOF`.
fn locked(line: &str) -> Option<(u32, u64, u64)> {
    let mut fields = line.split_whitespace().skip(1);
    if fields.next() != Some("FLOCK") {
        return None;
    }
    let (process, place) = (fields.nth(2)?.parse().ok()?, fields.next()?);
    let mut parts = place.split(':');
    let mut number = |radix| u64::from_str_radix(parts.next()?, radix).ok();
    let (major, minor, inode) = (number(16)?, number(16)?, number(10)?);
    let device = rustix::fs::makedev(u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
    Some((process, device, inode))
}

fn lock(directory: &Path) -> Result<Claim, OpenError> {
    // A pipe of this name would wait for whoever writes to it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(io::Error::from);
    let folder = File::from(opened.map_err(OpenError::io(directory, "open the folder"))?);
    let unlocked = match folder.try_lock() {
        Ok(()) => None,
        Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(directory.to_owned())),
        Err(TryLockError::Error(error)) => Some(error),
    };
    let path = directory.join("lock");
    match (lock_file(&path), unlocked) {
        (Ok(Some(file)), _) => Ok(Claim { folder, file: Some(file) }),
        (Ok(None), _) => Err(OpenError::Locked(directory.to_owned())),
        (Err(error), None) if is_of_the_disk(&error) => {
            warn!("no lock file; the folder alone is locked folder={} error={error}", directory.display());
            Ok(Claim { folder, file: None })
        }
        (Err(error), _) => Err(OpenError::io(directory, "lock the lock file")(error)),
    }
}

/// The file, locked; `None`: another agent has locked it.
fn lock_file(path: &Path) -> io::Result<Option<File>> {
    // A disk that takes nothing may have the file.
    let file = own::keep(path).or_else(|error| own::read(path).map_err(|_| error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_agents_with_and_without_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let claim = Claim::of(folder.path()).unwrap();

        assert!(matches!(Claim::of(folder.path()), Err(OpenError::Locked(_))));
        std::fs::remove_file(folder.path().join("lock")).unwrap();
        assert!(matches!(Claim::of(folder.path()), Err(OpenError::Locked(_))));
        drop(claim);
        assert!(Claim::of(folder.path()).unwrap().is_some());
    }

    #[test]
    fn who_holds_a_folder_is_seen_without_locking_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holder(folder.path()), None);
        let claim = Claim::of(folder.path()).unwrap();

        assert_eq!(holder(folder.path()), Some(std::process::id()));
        std::fs::remove_file(folder.path().join("lock")).unwrap();
        assert_eq!(holder(folder.path()), Some(std::process::id()));
        drop(claim);
        assert_eq!(holder(folder.path()), None);
        assert_eq!(holder(Path::new("/nowhere")), None);
    }

    #[test]
    fn an_agent_that_knows_of_the_file_alone_keeps_us_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("lock")).unwrap();
        file.try_lock().unwrap();

        assert!(matches!(Claim::of(folder.path()), Err(OpenError::Locked(_))));
    }

    #[test]
    fn a_folder_that_comes_late_must_be_empty() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("spool");

        drop(Claim::late(&directory).unwrap());
        drop(Claim::late(&directory).unwrap());
        std::fs::write(directory.join("00000000000000000001.seg"), "").unwrap();

        let error = Claim::late(&directory).unwrap_err().to_string();
        assert!(error.contains("a restart opens it"), "{error}");
    }
}
