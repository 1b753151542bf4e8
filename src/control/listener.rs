//! The socket that is listened on: made, kept, and taken away.
//!
//! What has the socket's name is replaced only when it is a socket of ours that nobody listens on, as a killed agent leaves
//! it. No link is followed, and no file is touched.

use super::place::Surroundings;
use crate::foreign;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Owner and group may ask.
const MODE: Mode = Mode::from_raw_mode(0o660);

/// The longest path of a socket, in bytes (unix(7): `sun_path` has 108, the last of which is a zero).
pub const PATH_MAX: usize = 107;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Unbound {
    #[error("`{}` has {} bytes, and a socket's path may have {PATH_MAX}; choose a shorter runtime folder", foreign::path(.0), .0.as_os_str().len())]
    TooLong(PathBuf),
    #[error("`{}` is something else and stays as it is; remove it", foreign::path(.0))]
    Foreign(PathBuf),
    #[error("`{}` is another agent's", foreign::path(.0))]
    InUse(PathBuf),
    #[error("`{}` {}", foreign::path(.0), .1)]
    System(PathBuf, io::Error),
}

/// A socket with a name.
#[derive(Debug)]
pub struct Bound {
    pub listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the name.
    identity: (u64, u64),
}

impl Bound {
    /// Listens by this name at the first place that can be had.
    ///
    /// # Errors
    /// What is in the way at the first of them.
    pub fn new(name: &str, surroundings: &Surroundings) -> Result<Bound, Unbound> {
        let mut first = None;
        for place in surroundings.of_agent() {
            let bound = match place.prepare() {
                Ok(folder) => Self::at(&folder.join(name)),
                Err(error) => Err(Unbound::System(place.folder().to_owned(), error)),
            };
            match bound {
                Ok(bound) => return Ok(bound),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| Unbound::System(PathBuf::new(), io::ErrorKind::NotFound.into())))
    }

    fn at(path: &Path) -> Result<Bound, Unbound> {
        if path.as_os_str().len() > PATH_MAX {
            return Err(Unbound::TooLong(path.to_owned()));
        }
        make_way(path)?;
        let failed = |error: io::Error| Unbound::System(path.to_owned(), error);
        let listener = UnixListener::bind(path).map_err(failed)?;
        let identity = open_up(path).map_err(failed)?;
        Ok(Bound { listener, path: path.to_owned(), identity })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its name still leads to it.
    pub fn is_in_place(&self) -> bool {
        let found = self.path.symlink_metadata();
        found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Another agent may have made its own meanwhile.
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
        // Whoever waits in `accept` ends.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

/// Removes what a killed agent left.
fn make_way(path: &Path) -> Result<(), Unbound> {
    let failed = |error: io::Error| Unbound::System(path.to_owned(), error);
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed)?,
    };
    if !found.file_type().is_socket() || found.uid() != geteuid().as_raw() {
        return Err(Unbound::Foreign(path.to_owned()));
    }
    match dial(path) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed),
        Err(Errno::NOENT) => Ok(()),
        // That its queue is full means that somebody listens.
        Ok(_) | Err(Errno::AGAIN) => Err(Unbound::InUse(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

/// Connects without waiting: a Unix socket answers at once, or its queue is full (`EAGAIN`).
pub fn dial(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Gives the socket its mode, whatever the umask, and tells its device and inode. The name is not followed anywhere else
/// meanwhile: the mode is given to what was opened.
fn open_up(path: &Path) -> io::Result<(u64, u64)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = fs::File::from(openat(CWD, path, flags, Mode::empty())?);
    let found = opened.metadata()?;
    if !found.file_type().is_socket() || found.uid() != geteuid().as_raw() {
        return Err(io::Error::other("was replaced while it was made"));
    }
    chmodat(CWD, format!("/proc/self/fd/{}", opened.as_raw_fd()), MODE, AtFlags::empty())?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_a_killed_agent_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());

        let bound = Bound::at(&path).unwrap();

        assert!(dial(&path).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_somebody_listens_on_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _other = Bound::at(&path).unwrap();

        assert!(matches!(Bound::at(&path), Err(Unbound::InUse(_))));
        assert!(dial(&path).is_ok());
    }

    #[test]
    fn nothing_else_is_replaced_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, dangling, inner] = ["file", "link", "dangling", "inner"].map(|name| folder.path().join(name));
        fs::write(&file, "precious").unwrap();
        symlink(&file, &link).unwrap();
        symlink(folder.path().join("nowhere"), &dangling).unwrap();
        fs::create_dir(&inner).unwrap();

        for path in [&file, &link, &dangling, &inner] {
            assert!(matches!(Bound::at(path), Err(Unbound::Foreign(_))), "{path:?}");
        }

        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert!(link.is_symlink() && dangling.is_symlink() && !folder.path().join("nowhere").exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_told_with_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(120));

        let error = Bound::at(&path).unwrap_err().to_string();

        assert!(error.contains("a socket's path may have 107"), "{error}");
    }

    #[test]
    fn one_that_was_taken_away_is_noticed_and_another_s_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let bound = Bound::at(&path).unwrap();
        assert!(bound.is_in_place());

        fs::remove_file(&path).unwrap();
        assert!(!bound.is_in_place());
        let _other = UnixListener::bind(&path).unwrap();
        assert!(!bound.is_in_place());
        drop(bound);

        assert!(path.exists());
    }
}
