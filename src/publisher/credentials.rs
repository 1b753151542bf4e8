//! Tells of files with credentials that are deleted, replaced or come back while the agent runs. The present connection needs
//! none of them, so a deletion would be noticed only when it ends.

use crate::config::Broker;
use crate::foreign;
use log::{info, warn};
use rustix::fs::{Access, access};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often they are looked at by who is awake.
const EVERY: Duration = Duration::from_secs(2);

/// The files, as they were at the last look.
#[derive(Debug, Default)]
pub struct Credentials {
    files: Vec<(PathBuf, Found)>,
    next: Option<Instant>,
}

/// What a look at a file finds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// It can be read.
    File(Mark),
    /// It cannot be read, and why.
    Nothing(String),
}

/// What tells one content of a file from another: device, inode, size, and when it was changed, in seconds and
/// nanoseconds.
pub type Mark = (u64, u64, u64, i64, i64);

impl Credentials {
    /// Looks at them, when that is due, and logs what has changed.
    pub fn look(&mut self, broker: &Broker, now: Instant) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + EVERY);
        let present: Vec<_> = broker.files().map(|path| (path.to_owned(), find(path))).collect();
        for (path, found) in &present {
            // What is named anew is tried by the connection that the edit brings.
            let former = self.files.iter().find(|(former, _)| former == path);
            if let Some(told) = former.and_then(|(_, former)| tell(former, found)) {
                let file = foreign::path(path);
                match found {
                    Found::File(_) => info!("{told} file={file}"),
                    Found::Nothing(why) => warn!("{told} file={file} error={why}"),
                }
            }
        }
        self.files = present;
    }
}

/// What there is to tell of a file.
fn tell(former: &Found, present: &Found) -> Option<&'static str> {
    match (former, present) {
        (Found::File(former), Found::File(present)) if former == present => None,
        (Found::File(_), Found::File(_)) => Some("file for the broker has changed; the next connection uses it"),
        (Found::File(_), Found::Nothing(_)) => {
            Some("file for the broker is gone; the present connection stays, and the next one will fail")
        }
        (Found::Nothing(_), Found::File(_)) => Some("file for the broker is back; the next connection uses it"),
        (Found::Nothing(_), Found::Nothing(_)) => None,
    }
}

/// Nothing is opened: a pipe would wait, and what is secret is read when it is needed.
fn find(path: &Path) -> Found {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Found::Nothing("it is no regular file".to_owned()),
        Ok(metadata) => match access(path, Access::READ_OK) {
            Ok(()) => Found::File(mark(&metadata)),
            Err(error) => Found::Nothing(error.to_string()),
        },
        Err(error) => Found::Nothing(error.to_string()),
    }
}

/// The mark of a file.
pub fn mark(file: &Metadata) -> Mark {
    (file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec())
}
