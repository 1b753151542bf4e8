//! Files that the user names: the configuration, and the password, connection string, keys and certificates in it.
//!
//! They are read whole, up to a bound, and only where they are regular files: a pipe that nobody writes to, or a device
//! without an end, would hold up whoever reads it. A symbolic link is fine here, for credentials often are one.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Why a file is not read, as the rest of a sentence that begins with its name.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("cannot be read: {0}")]
    System(#[from] io::Error),
    #[error("cannot be read: it is {0}, and must be an ordinary file")]
    Kind(&'static str),
    #[error("is too large: it has {}, and at most {most} bytes are allowed", amount(*size, *most))]
    TooLarge {
        /// In bytes, as far as the system knows.
        size: u64,
        most: usize,
    },
}

fn amount(size: u64, most: usize) -> String {
    // What the kernel makes as it is read has no size before.
    if size > most as u64 { format!("{size} bytes") } else { "more".to_owned() }
}

/// Reads a file of at most `most` bytes. What was read is wiped from memory when it is dropped.
///
/// # Errors
/// [`Unreadable`].
pub fn read(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    // Looked at first, for opening a device may do something.
    regular(path.metadata()?.file_type())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let metadata = file.metadata()?;
    regular(metadata.file_type())?;
    let too_large = || Unreadable::TooLarge { size: metadata.len(), most };
    if metadata.len() > most as u64 {
        return Err(too_large());
    }
    // With room from the start, for a buffer that grows leaves pieces behind.
    let expected = usize::try_from(metadata.len()).unwrap_or(most).max(4096).min(most);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(too_large()) } else { Ok(bytes) }
}

fn regular(kind: FileType) -> Result<(), Unreadable> {
    Err(Unreadable::Kind(match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => return Err(io::Error::from(Errno::ISDIR).into()),
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, mkfifoat};
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        fs::write(&file, "12345").unwrap();
        symlink(&file, &link).unwrap();

        for path in [&file, &link] {
            assert_eq!(*read(path, 5).unwrap(), b"12345");
            assert_eq!(
                read(path, 4).unwrap_err().to_string(),
                "is too large: it has 5 bytes, and at most 4 bytes are allowed"
            );
        }
        assert!(read(Path::new("/proc/self/maps"), 10).unwrap_err().to_string().contains("it has more"));
        assert!(!read(Path::new("/proc/self/maps"), 1 << 20).unwrap().is_empty());
    }

    #[test]
    fn what_could_be_endless_is_named_and_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR).unwrap();

        for (path, kind) in [(&*pipe, "a pipe"), (Path::new("/dev/zero"), "a device")] {
            let error = read(path, 100).unwrap_err().to_string();
            assert_eq!(error, format!("cannot be read: it is {kind}, and must be an ordinary file"));
        }
        assert!(read(Path::new("/nowhere"), 1).unwrap_err().to_string().starts_with("cannot be read: No such file"));
    }
}
