//! What a medium does that a file system does not hide.
//!
//! It has bad places: a sector that cannot be read is damage like any other, and reads as zeros, so that what is around
//! it is found. And it holds what was flushed, no more: every flush of the spool goes through here, where the tests
//! see it.

#[cfg(test)]
use crate::clock::virtual_time::{self, Cost};
use crate::own;
use log::warn;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is given up around a bad place: what the system reads at a time.
pub const BLOCK: usize = 4096;
/// The device could not read (errno-base.h).
const EIO: i32 = 5;

/// A medium that fails, for tests: one for each thread.
#[cfg(test)]
pub mod failing {
    use crate::clock::virtual_time::{self, Cost};
    use std::cell::Cell;
    use std::fs::File;
    use std::io;

    /// How it fails.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Failure {
        /// No flush works.
        Broken,
        /// It has no room for new files.
        Full,
    }

    thread_local! {
        static FAILURE: Cell<Option<Failure>> = const { Cell::new(None) };
    }

    impl Failure {
        pub const ALL: [Failure; 2] = [Failure::Broken, Failure::Full];
    }

    /// How it fails from now on; `None`: it works.
    pub fn set(failure: Option<Failure>) {
        FAILURE.set(failure);
    }

    /// Whether it fails.
    pub fn is_on() -> bool {
        FAILURE.get().is_some()
    }

    /// Waits for the medium, and tells whether it took a file's content.
    pub(super) fn flush_data() -> io::Result<()> {
        virtual_time::spend(Cost::Flush);
        if FAILURE.get() == Some(Failure::Broken) { Err(io::Error::other("the medium fails")) } else { Ok(()) }
    }

    /// As [`flush_data`], with all else about a file, which is new then, or a folder.
    pub(super) fn flush_all(file: &File) -> io::Result<()> {
        flush_data()?;
        let is_full = FAILURE.get() == Some(Failure::Full) && file.metadata()?.is_file();
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// Waits until a file's content is on the medium.
///
/// # Errors
/// The medium's.
pub fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    failing::flush_data()?;
    #[cfg(test)]
    super::power_cut::flushing(file);
    file.sync_data()
}

/// Waits until a file, or the names in a folder, is on the medium with all that the system knows about it.
///
/// # Errors
/// The medium's.
pub fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(test)]
    failing::flush_all(file)?;
    #[cfg(test)]
    super::power_cut::flushing(file);
    file.sync_all()
}

/// Reads until the buffer is full or the file ends, with zeros for what cannot be read; how much was read.
///
/// # Errors
/// The medium's, but for bad places.
pub fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(test)]
    virtual_time::spend(Cost::Call);
    read_whole(|buffer, offset| file.read_at(buffer, offset), buffer, offset).map(|(read, _)| read)
}

/// A file's content.
#[derive(Debug)]
pub struct Content {
    /// With zeros for what could not be read.
    pub bytes: Vec<u8>,
    /// How many blocks could not be read.
    pub bad_blocks: u64,
}

/// Reads a whole file of at most `limit` bytes, or its beginning.
///
/// # Errors
/// The medium's, but for bad places.
pub fn read(path: &Path, limit: u64) -> io::Result<Content> {
    let file = own::read(path)?;
    let length = usize::try_from(file.metadata()?.len().min(limit)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let (read, bad_blocks) = read_whole(|buffer, offset| file.read_at(buffer, offset), &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Content { bytes, bad_blocks })
}

/// How much was read, and how many blocks of it could not be.
fn read_whole(
    mut device: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<(usize, u64)> {
    let (mut read, mut bad_blocks) = (0, 0);
    while read < buffer.len() {
        match read_around(&mut device, &mut buffer[read..], offset + read as u64) {
            Ok(Read { bytes: 0, .. }) => break,
            Ok(got) => {
                read += got.bytes;
                bad_blocks += u64::from(got.is_bad);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((read, bad_blocks))
}

/// What came of reading once.
#[derive(Debug)]
struct Read {
    bytes: usize,
    /// These are zeros in the place of a block that cannot be read.
    is_bad: bool,
}

fn read_around(
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<Read> {
    let good = |bytes| Read { bytes, is_bad: false };
    match read(buffer, offset) {
        Err(error) if error.raw_os_error() == Some(EIO) => {}
        result => return result.map(good),
    }
    // As much as there is to the end of the block, so that no good block goes with a bad one.
    let in_block = usize::try_from(offset % BLOCK as u64).expect("less than a block");
    let length = buffer.len().min(BLOCK - in_block);
    let block = &mut buffer[..length];
    match read(block, offset) {
        Err(error) if error.raw_os_error() == Some(EIO) => {
            warn!("bad place on the medium offset={offset} length={length}");
            block.fill(0);
            Ok(Read { bytes: length, is_bad: true })
        }
        result => result.map(good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bad_block_reads_as_zeros_and_costs_no_other(
            blocks in 1usize..6, cut in 0usize..BLOCK, bad in 0usize..6, start in 0u64..5000, piece in 1usize..20_000,
        ) {
            let length = blocks * BLOCK - cut;
            let medium: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap() + 1).collect();
            let bad = bad * BLOCK..(bad + 1) * BLOCK;
            let device = |buffer: &mut [u8], offset: u64| {
                let from = usize::try_from(offset).unwrap().min(length);
                let to = (from + buffer.len()).min(length);
                if from < to && from < bad.end && bad.start < to {
                    return Err(io::Error::from_raw_os_error(EIO));
                }
                buffer[..to - from].copy_from_slice(&medium[from..to]);
                Ok(to - from)
            };

            let mut got = Vec::new();
            loop {
                let mut buffer = vec![0; piece];
                let (read, _) = read_whole(device, &mut buffer, start + got.len() as u64).unwrap();
                if read == 0 {
                    break;
                }
                got.extend_from_slice(&buffer[..read]);
            }

            let start = usize::try_from(start).unwrap();
            for at in start..length {
                prop_assert_eq!(got[at - start], if bad.contains(&at) { 0 } else { medium[at] });
            }
        }
    }

    #[test]
    fn other_errors_are_errors() {
        let device = |_: &mut [u8], _| Err(io::Error::from_raw_os_error(13));

        assert!(read_whole(device, &mut [0; 10], 0).is_err());
    }
}
