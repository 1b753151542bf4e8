//! Messages that the broker will never take, kept out of the way: one JSON file each, for whoever wants to look.

use super::segment::sync_directory;
use crate::message::Message;
use crate::payload;
use log::warn;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files that are kept at most: what is refused is rarely looked into message by message, and the disk is for others.
const KEPT: usize = 1000;

/// Writes the message with the broker's reason; the file is on the medium when this returns.
///
/// # Errors
/// The medium's.
pub fn set_aside(directory: &Path, message: &Message, reason: &str) -> io::Result<PathBuf> {
    let directory = directory.join("rejected");
    fs::create_dir_all(&directory)?;
    let outgoing = payload::outgoing(message, Duration::ZERO);
    let text = json!({
        "reason": reason,
        "topic": outgoing.topic,
        "qos": outgoing.qos as u8,
        "payload": String::from_utf8_lossy(&outgoing.payload),
    });
    let name = directory.join(format!("{}-{:020}.json", message.stream, message.seq.0));
    let mut file = File::create(&name)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    sync_directory(&directory)?;
    prune(&directory)?;
    Ok(name)
}

/// Removes the oldest files beyond the number to keep.
fn prune(directory: &Path) -> io::Result<()> {
    let mut files = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    if files.len() > KEPT {
        files.sort();
        for file in &files[..files.len() - KEPT] {
            warn!("rejected messages are too many; the oldest is removed file={}", file.display());
            fs::remove_file(file)?;
        }
    }
    Ok(())
}
