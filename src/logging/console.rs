//! Standard output: the same lines, and systemd's journal when that is what reads them.

use super::line;
use crate::outlet;
use log::{Level, Record};
use std::os::unix::fs::MetadataExt;

/// Hands lines to standard output. A reader that has gone away, or does not read, is no reason to stop or to wait.
pub struct Console {
    journal: bool,
}

impl Console {
    /// Finds out who reads: systemd names the journal's socket in `$JOURNAL_STREAM` as `device:inode` (systemd.exec(5)).
    pub fn new() -> Self {
        Self { journal: std::env::var("JOURNAL_STREAM").is_ok_and(|stream| Some(stream) == standard_output()) }
    }

    /// Hands on a line. The journal keeps the time itself, and takes the priority from a prefix (sd-daemon(3)).
    pub fn put(&self, record: &Record<'_>, line: String) {
        outlet::output().put(if self.journal {
            format!("<{}>{}", priority(record.level()), line::without_time(&line))
        } else {
            line
        });
    }
}

fn standard_output() -> Option<String> {
    let metadata = std::fs::metadata("/proc/self/fd/1").ok()?;
    Some(format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// The priorities of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
