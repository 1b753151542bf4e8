//! What stands in the spool's folder: which segments, and what has no place there.
//!
//! Nothing in the folder keeps a spool from opening. What stands in the way of a file of the spool's, and what cannot be
//! read as the file that its name promises, gets another name, under which people find it and the spool never looks.

use super::believed::Believed;
use super::medium;
use super::segment::{self, LARGEST};
use crate::message::Seq;
use crate::own;
use log::warn;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Names that what is set aside may get.
const NAMES: usize = 16;
/// What the names of copies, and of what was set aside, end with.
const DAMAGED: &str = "damaged";

/// What stands in a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// First seq, and size in bytes as far as it is read, of every segment.
    pub segments: BTreeMap<Seq, u64>,
    /// Which numbers the folder is believed.
    pub believed: Believed,
    /// What has a name of a segment's and is none.
    pub misnamed: Vec<PathBuf>,
    /// Files that interrupted creations left.
    pub unfinished: Vec<PathBuf>,
}

/// Looks through a folder, and changes nothing.
///
/// # Errors
/// The medium's.
pub fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let first = segment::first_of(&name);
        if first.is_none() && !segment::is_unfinished(&name) {
            continue;
        }
        // The file of a running agent may be gone by now.
        let Some(metadata) = there(entry.metadata())? else { continue };
        match first {
            Some(first) if metadata.is_file() => drop(listing.segments.insert(first, metadata.len().min(LARGEST))),
            None if metadata.is_file() => listing.unfinished.push(entry.path()),
            Some(_) | None => listing.misnamed.push(entry.path()),
        }
    }
    // A header that cannot be read vouches for nothing.
    let is_sound = |first| segment::read_header(directory, first).is_ok_and(|header| header.is_some());
    let believed = Believed::beside(listing.segments.keys().copied(), is_sound);
    let unbelieved: Vec<Seq> = listing.segments.keys().copied().filter(|first| !believed.has(*first)).collect();
    for first in unbelieved {
        listing.segments.remove(&first);
        listing.misnamed.push(segment::path(directory, first));
    }
    Ok(Listing { believed, ..listing })
}

/// `None`: there is no such thing.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// As [`list`], for the owner of the folder: removes what interrupted creations left, and sets aside what is misnamed.
///
/// # Errors
/// The medium's.
pub fn segments(directory: &Path) -> io::Result<(BTreeMap<Seq, u64>, Believed)> {
    let listing = list(directory)?;
    // Where the disk does not take that, it is replaced later.
    listing.unfinished.iter().for_each(|path| drop(fs::remove_file(path)));
    listing.misnamed.iter().for_each(|path| set_aside_if_there(path));
    Ok((listing.segments, listing.believed))
}

/// Makes way for a file of this name: whatever else stands there is set aside. A disk that takes nothing keeps it there.
pub fn make_way(path: &Path) {
    if let Err(error) = make_way_for(path, Metadata::is_file) {
        warn!("cannot make way for a file file={} error={error}", path.display());
    }
}

/// Makes way for a folder of this name: what is none is set aside. Links are [`crate::own::Folder`]'s.
///
/// # Errors
/// The medium's.
pub fn make_way_for_folder(path: &Path) -> io::Result<()> {
    make_way_for(path, |metadata| metadata.is_dir() || metadata.is_symlink())
}

fn make_way_for(path: &Path, fits: impl Fn(&Metadata) -> bool) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if fits(&metadata) => Ok(()),
        Ok(_) => set_aside(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets a file aside where there is one. A disk that takes nothing keeps it there.
pub fn set_aside_if_there(path: &Path) {
    match set_aside(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            warn!("cannot set aside what this spool cannot use file={} error={error}", path.display());
        }
        _ => {}
    }
}

/// Gives what stands here another name, in the place of what had that name before.
///
/// # Errors
/// The medium's.
pub fn set_aside(path: &Path) -> io::Result<()> {
    let named = |number: usize| {
        let mut name = OsString::from(path);
        name.push(format!(".{DAMAGED}"));
        if number > 0 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    let is_free = |name: &PathBuf| name.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let name = (0..NAMES).map(named).find(is_free).unwrap_or_else(|| named(0));
    fs::rename(path, &name)?;
    warn!("set aside what this spool cannot use file={} name={}", path.display(), name.display());
    Ok(())
}

/// Writes a small file anew: its name stands for the former content until the new one is on the medium. What an interruption
/// leaves is called `NAME.new`.
///
/// # Errors
/// The medium's.
pub fn replace(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = own::begin(&new)?;
    file.write_all(text.as_bytes())?;
    medium::sync_all(&file)?;
    fs::rename(new, directory.join(name))?;
    segment::sync_directory(directory)
}

/// Removes the oldest of the files that belong together beside the newest, which stays, until `kept` are left with it.
///
/// # Errors
/// The medium's.
pub fn prune(newest: &Path, kept: usize, what: &str, belongs: impl Fn(&Path) -> bool) -> io::Result<()> {
    let directory = newest.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if belongs(&path) && path != newest && entry.file_type()?.is_file() {
            files.push((entry.metadata()?.modified()?, path));
        }
    }
    files.sort();
    for (_, file) in files.iter().take((files.len() + 1).saturating_sub(kept)) {
        warn!("{what} are too many; the oldest is removed file={}", file.display());
        fs::remove_file(file)?;
    }
    Ok(())
}
