//! Files and folders of ours: what the spool and the log keep.
//!
//! Everything in these folders is opened here. Where another user can write such a folder, a name in it may lead anywhere,
//! so nothing is opened through a symbolic link, nothing but a regular file is read or written, opening never waits (as
//! a pipe without a writer would make it), and nothing is written to a file that has a second name elsewhere. What is
//! begun anew replaces the name, never the content that the name leads to.
//!
//! Files are made with the mode 0640 and folders with 0750, whatever the umask. A file of ours that gives away more, as
//! those of earlier versions do, is narrowed when it is opened to be written. Who only reads changes nothing.

use log::warn;
use rustix::fs::{CWD, Mode, OFlags, fchmod, openat, unlinkat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Owner reads and writes, group reads.
const FILE: Mode = Mode::from_raw_mode(0o640);
const FOLDER: Mode = Mode::from_raw_mode(0o750);
const PERMISSIONS: u32 = 0o7777;

/// Why a name is not opened: somebody else has put something there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Planted {
    #[error("is a symbolic link, which is not followed in a folder of packhorse's own")]
    Link,
    #[error("is no regular file")]
    Kind,
    #[error("has a second name (a hard link), through which it could be another file")]
    Names,
}

/// Whether an error is [`Planted`]: what is there is not ours, so it may be replaced, and never written to.
#[must_use]
pub fn is_planted(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Planted>())
}

/// Whether a name is free for a file of ours, or has one, without opening it.
///
/// # Errors
/// [`Planted`]. Whether the system lets us have it, opening it shows.
pub fn look(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => Err(planted(Planted::Link)),
        Ok(metadata) if !metadata.is_file() => Err(planted(Planted::Kind)),
        _ => Ok(()),
    }
}

/// Opens a file to read it.
///
/// # Errors
/// The system's, or [`Planted`].
pub fn read(path: &Path) -> io::Result<File> {
    regular(open(CWD, path, OFlags::RDONLY)?)
}

/// Opens a file that is there to read and write it.
///
/// # Errors
/// The system's, or [`Planted`].
pub fn edit(path: &Path) -> io::Result<File> {
    accept_for_writing(open(CWD, path, OFlags::RDWR)?, path)
}

/// Opens a file that is there to add to it.
///
/// # Errors
/// The system's, or [`Planted`].
pub fn append(path: &Path) -> io::Result<File> {
    accept_for_writing(open(CWD, path, OFlags::WRONLY | OFlags::APPEND)?, path)
}

/// Opens a file to read and write it, and creates it where there is none.
///
/// # Errors
/// The system's, or [`Planted`].
pub fn keep(path: &Path) -> io::Result<File> {
    match create(CWD, path, OFlags::RDWR) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => edit(path),
        created => created,
    }
}

/// Begins an empty file to read and write it. What stood there loses this name, and keeps its content.
///
/// # Errors
/// The system's.
pub fn begin(path: &Path) -> io::Result<File> {
    begin_at(CWD, path)
}

/// Creates a file to add to it; never one that is there already.
///
/// # Errors
/// The system's.
pub fn create_log(path: &Path) -> io::Result<File> {
    create(CWD, path, OFlags::WRONLY | OFlags::APPEND)
}

/// Whether a name still leads to the file that is open, and not to another one or to none. It may not be a symbolic link.
///
/// # Errors
/// The system's, where it does not tell.
pub fn is_at(open: &File, path: &Path) -> io::Result<bool> {
    is_same(open, path.symlink_metadata())
}

/// Whether a name leads to nothing, or to another file of the same file system, than the file that is open. Where it leads to
/// another file system, as after a disk was pulled out and mounted again, the open file may be useless.
///
/// # Errors
/// The system's, where it does not tell.
pub fn is_displaced(open: &File, path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(named) => {
            let open = open.metadata()?;
            Ok(named.dev() == open.dev() && named.ino() != open.ino())
        }
        Err(error) if is_absent(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether an error says that there is nothing of this name.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// As [`is_at`] for a folder that the configuration names, to which symbolic links may lead.
///
/// # Errors
/// The system's, where it does not tell.
pub fn is_folder_at(open: &File, path: &Path) -> io::Result<bool> {
    is_same(open, path.metadata())
}

fn is_same(open: &File, named: io::Result<fs::Metadata>) -> io::Result<bool> {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match named {
        Ok(named) => Ok(identity(named) == identity(open.metadata()?)),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder that the configuration names, and those above it that are not there. It may be a symbolic link.
///
/// # Errors
/// The system's.
pub fn folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        folder(above)?;
    }
    match make_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Narrows the files in a folder that are ours by their names, as far as they belong to us: those that an earlier version
/// left.
pub fn narrow_all(folder: &Path, is_ours: impl Fn(&OsStr) -> bool) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        if is_ours(&entry.file_name()) {
            // Whatever is wrong with it is reported when it is used.
            let path = entry.path();
            let _ = open(CWD, &path, OFlags::RDONLY).and_then(|file| accept(file, &path));
        }
    }
}

/// A folder within one of ours, which stays the same one whatever its name leads to later.
#[derive(Debug)]
pub struct Folder {
    file: File,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder, and creates it where there is none. A symbolic link in its place is removed: it holds nothing.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(path: &Path) -> io::Result<Folder> {
        if path.is_symlink() {
            warn!("symbolic link in a folder of packhorse's own removed link={}", path.display());
            fs::remove_file(path)?;
        }
        match make_folder(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let file = File::from(open_folder(path)?);
        Ok(Folder { file, path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To flush the names in it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Like [`begin`], of a file in this folder.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(&self, name: &OsStr) -> io::Result<File> {
        begin_at(&self.file, Path::new(name))
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(FOLDER.as_raw_mode()).create(path)?;
    Ok(fchmod(open_folder(path)?, FOLDER)?)
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    // The kernel answers ENOTDIR for a link, too.
    let is_link = || path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    match open(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory && is_link() => Err(planted(Planted::Link)),
        opened => opened,
    }
}

fn begin_at(folder: impl AsFd, path: &Path) -> io::Result<File> {
    match unlinkat(&folder, path, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => create(folder, path, OFlags::RDWR),
        Err(error) => Err(error.into()),
    }
}

fn create(folder: impl AsFd, path: &Path, access: OFlags) -> io::Result<File> {
    let file = open(folder, path, access | OFlags::CREATE | OFlags::EXCL)?;
    // The umask has taken from the mode what it likes. A file system without modes has nothing to give.
    let _ = fchmod(&file, FILE);
    Ok(file.into())
}

/// Waits for nothing. On the regular files that are accepted, `NONBLOCK` means nothing later.
fn open(folder: impl AsFd, path: &Path, access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    openat(folder, path, flags, FILE).map_err(|error| match error {
        rustix::io::Errno::LOOP => planted(Planted::Link),
        // A pipe without a reader, or a socket.
        rustix::io::Errno::NXIO => planted(Planted::Kind),
        error => error.into(),
    })
}

fn regular(file: OwnedFd) -> io::Result<File> {
    let file = File::from(file);
    if file.metadata()?.is_file() { Ok(file) } else { Err(planted(Planted::Kind)) }
}

fn accept(file: OwnedFd, path: &Path) -> io::Result<File> {
    let file = regular(file)?;
    narrow(&file, &file.metadata()?, path);
    Ok(file)
}

fn accept_for_writing(file: OwnedFd, path: &Path) -> io::Result<File> {
    let file = accept(file, path)?;
    if file.metadata()?.nlink() > 1 {
        return Err(planted(Planted::Names));
    }
    Ok(file)
}

fn planted(what: Planted) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Takes away what [`FILE`] does not give. The owner may have given less, which stays.
fn narrow(file: &File, metadata: &fs::Metadata, path: &Path) {
    let mode = metadata.mode() & PERMISSIONS;
    let wanted = mode & FILE.as_raw_mode();
    if mode == wanted {
        return;
    }
    if let Err(error) = fchmod(file, Mode::from_raw_mode(wanted)) {
        let owner = metadata.uid();
        warn!(
            "file can be used by others than packhorse file={} mode={mode:04o} owner={owner} error={error}",
            path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkfifoat;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    type Opener = fn(&Path) -> io::Result<File>;
    const THOSE_THAT_ARE_THERE: [Opener; 4] = [read, edit, append, keep];

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & PERMISSIONS
    }

    #[test]
    fn nothing_is_opened_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [victim, link, dangling] = ["victim", "link", "dangling"].map(|name| folder.path().join(name));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        symlink(folder.path().join("nowhere"), &dangling).unwrap();

        for open in THOSE_THAT_ARE_THERE {
            for link in [&link, &dangling] {
                let error = open(link).unwrap_err();
                assert!(is_planted(&error) && error.to_string().contains("symbolic link"), "{error}");
            }
        }
        assert_eq!(create_log(&dangling).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        begin(&link).unwrap().write_all(b"new").unwrap();
        begin(&dangling).unwrap();

        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!link.is_symlink() && !folder.path().join("nowhere").exists());
    }

    #[test]
    fn a_pipe_a_device_or_a_folder_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifoat(CWD, &pipe, FILE).unwrap();

        for open in THOSE_THAT_ARE_THERE {
            assert!(is_planted(&open(&pipe).unwrap_err()));
            assert!(open(folder.path()).is_err());
            assert!(is_planted(&open(Path::new("/dev/null")).unwrap_err()));
        }
        begin(&pipe).unwrap();

        assert!(pipe.is_file());
    }

    #[test]
    fn a_file_with_a_second_name_is_read_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let [victim, name] = ["victim", "name"].map(|name| folder.path().join(name));
        fs::write(&victim, "precious").unwrap();
        fs::hard_link(&victim, &name).unwrap();

        assert!(read(&name).is_ok());
        for open in [edit, append, keep] {
            assert!(is_planted(&open(&name).unwrap_err()));
        }
        begin(&name).unwrap().write_all(b"new").unwrap();

        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn a_file_that_gives_away_too_much_is_narrowed_and_one_that_gives_less_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (before, after) in [(0o644, 0o640), (0o666, 0o640), (0o4755, 0o640), (0o600, 0o600), (0o640, 0o640)] {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();

            read(&path).unwrap();
            assert_eq!(mode(&path), before, "who reads changes nothing");
            edit(&path).unwrap();

            assert_eq!(mode(&path), after, "{before:o}");
        }
    }

    #[test]
    fn a_folder_of_ours_is_none_that_a_link_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let [elsewhere, link, own] = ["elsewhere", "link", "own"].map(|name| folder.path().join(name));
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, &link).unwrap();

        Folder::keep(&link).unwrap();
        assert!(link.symlink_metadata().unwrap().is_dir());
        let own_folder = Folder::keep(&own).unwrap();
        // What happens to the name later does not lead it astray.
        fs::rename(&own, folder.path().join("moved")).unwrap();
        symlink(&elsewhere, &own).unwrap();
        own_folder.begin(OsStr::new("file")).unwrap();

        assert!(folder.path().join("moved/file").is_file());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }
}
