//! Messages that the broker will never take, kept out of the way: one JSON file each, for whoever wants to look.

use super::segment::sync_directory;
use crate::message::Message;
use crate::payload;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    Ok(name)
}
