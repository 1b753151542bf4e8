//! Standard output: the same lines, and systemd's journal when that is what reads them.

use super::line;
use log::{Level, Record};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

/// Writes lines to standard output. A reader that has gone away is no reason to stop.
pub struct Console {
    journal: bool,
}

impl Console {
    /// Finds out who reads: systemd names the journal's socket in `$JOURNAL_STREAM` as `device:inode` (systemd.exec(5)).
    pub fn new() -> Self {
        Self { journal: std::env::var("JOURNAL_STREAM").is_ok_and(|stream| Some(stream) == standard_output()) }
    }

    /// Writes a line. The journal keeps the time itself, and takes the priority from a prefix (sd-daemon(3)).
    pub fn write(&mut self, record: &Record<'_>, line: &str) {
        let mut output = io::stdout().lock();
        // There is nowhere left to report that the console is gone.
        let _ = if self.journal {
            write!(output, "<{}>{}", priority(record.level()), line::without_time(line))
        } else {
            output.write_all(line.as_bytes())
        };
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
