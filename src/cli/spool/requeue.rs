//! `packhorse spool requeue`: messages that a broker would not take become new ones.

use super::{Code, Failure, counted, fail, in_use};
use crate::config::{self, WhenFull};
use crate::foreign;
use crate::spool::{self, Holder, OpenError, Requeued, SetAside, Spool};
use std::path::Path;
use std::time::Instant;

/// Lists what would be put back.
///
/// # Errors
/// A folder that cannot be read.
pub fn list(config: &config::Spool) -> Result<(), Failure> {
    let (mut messages, mut left) = (0, 0);
    for path in files(config)? {
        let SetAside { path, sample } = spool::look_into(path);
        match sample {
            Ok(sample) => {
                messages += 1;
                let (topic, qos) = (foreign::shown(&sample.route.topic), sample.route.qos as u8);
                crate::cli::print(&format!("{} topic={topic} qos={qos}\n", foreign::path(&path)))?;
            }
            Err(why) => {
                left += 1;
                name_unusable(&path, &why)?;
            }
        }
    }
    crate::cli::print(&format!("would requeue {}, {left} left\n", counted(messages)))
}

/// Puts it back.
///
/// # Errors
/// A spool that cannot be opened, or is full; files that cannot be put back.
pub fn requeue(config: config::Spool) -> Result<(), Failure> {
    if files(&config)?.is_empty() {
        if Holder::of(&config.directory).process().is_some() {
            return Err(in_use(&config.directory, "requeue"));
        }
        return crate::cli::print("requeued 0 messages, 0 left\n");
    }
    // What was set aside is the user's to bring back, and no reason to drop what waits.
    let config = config::Spool { when_full: WhenFull::DropNewest, ..config };
    let mut spool = Spool::open(&config, &[]).map_err(|error| match error {
        OpenError::Locked(folder) => in_use(&folder, "requeue"),
        error => fail(error.to_string()),
    })?;
    let requeued = spool
        .requeue(Instant::now())
        .map_err(|error| fail(format!("spool {}: cannot requeue: {error}", config.directory.display())))?;
    let Requeued { messages, unusable, waiting, stopped } = requeued;
    for (path, why) in &unusable {
        name_unusable(path, why)?;
    }
    crate::cli::print(&format!("requeued {}, {} left\n", counted(messages), waiting + unusable.len() as u64))?;
    match stopped {
        Some(why) => Err(fail(format!("{why}; {waiting} messages stay where they are, to be requeued later"))),
        None if unusable.is_empty() => Ok(()),
        None => {
            let message = format!("{} files cannot be requeued, and stay where they are", unusable.len());
            Err(Failure { code: Code::Failed, message })
        }
    }
}

fn files(config: &config::Spool) -> Result<Vec<std::path::PathBuf>, Failure> {
    let directory = &config.directory;
    spool::set_aside_files(directory).map_err(|error| fail(format!("spool {}: {error}", directory.display())))
}

fn name_unusable(path: &Path, why: &str) -> Result<(), Failure> {
    crate::cli::print(&format!("left {}: {why}\n", foreign::path(path)))
}
