//! Files that the user names: the configuration, and the password, connection string, keys and certificates in it.
//!
//! They are read whole, up to a bound, and only where they are regular files: a pipe that nobody writes to, or a device
//! without an end, would hold up whoever reads it. A symbolic link is fine here, for credentials often are one.
//!
//! Text that a person wrote means what was typed, not what an editor puts around it: [`text`] takes that off.

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
    #[error("is in {0}, as some editors of Windows save it; save it in UTF-8")]
    Encoding(&'static str),
    #[error("is empty{0}; it must hold the password")]
    Empty(&'static str),
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

/// Like [`read`], of text that a person wrote: see [`text`].
///
/// # Errors
/// [`Unreadable`].
pub fn read_text(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let mut bytes = read(path, most)?;
    let (start, length) = {
        let meant = text(&bytes)?;
        (if begins_with_mark(&bytes) { MARK.len() } else { 0 }, meant.len())
    };
    // In place, for every copy would have to be wiped.
    bytes.drain(..start);
    bytes.truncate(length);
    Ok(bytes)
}

/// Like [`read_text`], of a password: where nothing was typed, or only NULs are left of it, there is none.
///
/// # Errors
/// [`Unreadable`].
pub fn read_password(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let bytes = read_text(path, most)?;
    let is_nothing = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    match bytes.iter().all(is_nothing) {
        true if bytes.contains(&0) => Err(Unreadable::Empty(" but for NULs, as a power cut leaves them")),
        true => Err(Unreadable::Empty("")),
        false => Ok(bytes),
    }
}

/// The byte order mark in UTF-8, which editors of Windows put before a text.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether a byte order mark stands before the text.
#[must_use]
pub fn begins_with_mark(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK)
}

/// What a text means: without the byte order mark before it, and without the spaces and the line ends behind it.
///
/// # Errors
/// [`Unreadable::Encoding`] of text that is not in UTF-8 or the like, for all our files are.
pub fn text(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    match wide(bytes) {
        Some(encoding) => Err(Unreadable::Encoding(encoding)),
        None => Ok(bytes.strip_prefix(MARK).unwrap_or(bytes).trim_ascii_end()),
    }
}

/// The encoding of text that has two or four bytes for each character.
fn wide(bytes: &[u8]) -> Option<&'static str> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let all = |is: fn(&[u8; 2]) -> bool| rest.is_empty() && pairs.len() > 1 && pairs.iter().all(is);
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Some("UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("UTF-16"),
        // Without a byte order mark: every other byte of plain letters is zero.
        _ if all(|pair| pair[0] != 0 && pair[1] == 0) || all(|pair| pair[0] == 0 && pair[1] != 0) => Some("UTF-16"),
        _ => None,
    }
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
    fn text_means_what_was_typed() {
        for (written, meant) in [
            ("secret", "secret"),
            ("\u{FEFF}secret\r\n", "secret"),
            ("secret \t\r\n\r\n", "secret"),
            ("\u{FEFF} two words\n", " two words"),
            ("\u{FEFF}\r\n", ""),
            ("", ""),
            ("\u{FEFF}\u{FEFF}x", "\u{FEFF}x"),
        ] {
            assert_eq!(text(written.as_bytes()).unwrap(), meant.as_bytes(), "{written:?}");
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("file");
            fs::write(&file, written).unwrap();
            assert_eq!(*read_text(&file, 100).unwrap(), meant.as_bytes(), "{written:?}");
        }
    }

    #[test]
    fn a_password_file_without_a_password_is_empty() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (written, words) in [
            (&b""[..], "is empty; it must hold the password"),
            (b"\r\n", "is empty; it"),
            (b"\xEF\xBB\xBF", "is empty; it"),
            (b"\xEF\xBB\xBF \n", "is empty; it"),
            (&[0; 64], "is empty but for NULs, as a power cut leaves them; it"),
            (b"\xEF\xBB\xBF\0\0\0\n", "is empty but for NULs"),
        ] {
            fs::write(&file, written).unwrap();

            let error = read_password(file.path(), 100).unwrap_err().to_string();

            assert!(error.starts_with(words), "{written:?}: {error}");
        }
        fs::write(&file, b"a\0b\n").unwrap();
        assert_eq!(*read_password(file.path(), 100).unwrap(), b"a\0b");
    }

    #[test]
    fn text_of_two_bytes_a_character_is_named() {
        let little =
            |mark: &[u8]| [mark, &"secret\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat();
        let big: Vec<u8> = "\u{FEFF}secret\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [little(b"\xFF\xFE"), little(b""), big] {
            let error = text(&bytes).unwrap_err().to_string();
            assert_eq!(error, "is in UTF-16, as some editors of Windows save it; save it in UTF-8", "{bytes:?}");
        }
        assert!(text(b"\xFF\xFE\0\0s\0\0\0").unwrap_err().to_string().contains("UTF-32"));
        // A password is any bytes.
        assert_eq!(text(b"a\0\xFFb").unwrap(), b"a\0\xFFb");
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
