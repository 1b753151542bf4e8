//! Messages that the broker will never take, kept out of the way: one JSON file each, for whoever wants to look, and to put
//! back.

mod form;
mod requeue;

use super::folder;
use super::medium;
use super::segment::sync_directory;
use crate::message::Message;
use crate::own::Folder;
use log::debug;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use requeue::{Requeued, SetAside, files, look};

/// Files that are kept at most: what is refused is rarely looked into message by message, and the disk is for others.
const KEPT: usize = 1000;

/// Writes the message with the broker's reason; the file is on the medium when this returns.
///
/// # Errors
/// The medium's.
pub fn set_aside(directory: &Path, message: &Message, reason: &str) -> io::Result<PathBuf> {
    let spool = directory;
    let directory = spool.join("rejected");
    let is_new = !directory.exists();
    folder::make_way_for_folder(&directory)?;
    let folder = Folder::keep(&directory)?;
    if is_new {
        sync_directory(spool)?;
    }
    let text = form::write(message, reason);
    let name = format!("{}-{:020}.json", message.stream, message.seq.0);
    let mut file = folder.begin(name.as_ref())?;
    let name = directory.join(name);
    writeln!(file, "{text}")?;
    medium::sync_all(&file)?;
    medium::sync_all(folder.file())?;
    if let Err(error) = prune(&name) {
        // The message is safe; the next one tries again.
        debug!("rejected messages not pruned error={error}");
    }
    Ok(name)
}

/// Removes the oldest files beyond the number to keep, never the newest.
fn prune(newest: &Path) -> io::Result<()> {
    folder::prune(newest, KEPT, "rejected messages", |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_newest_stays_whatever_its_name_is_and_what_is_no_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..KEPT {
            fs::write(folder.path().join(format!("f{number:04}.json")), "").unwrap();
        }
        fs::create_dir(folder.path().join("0")).unwrap();
        let newest = folder.path().join("a.json");
        fs::write(&newest, "").unwrap();

        prune(&newest).unwrap();

        assert!(newest.exists() && folder.path().join("0").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), KEPT + 1);
    }
}
