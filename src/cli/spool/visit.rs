//! A look at the spool: opens it beside whoever uses it, and puts what is wrong into words.

use super::{Failure, choice, fail};
use crate::agent;
use crate::cli::users;
use crate::config::Config;
use crate::delivery::Times;
use crate::foreign;
use crate::sampler::Scheduled;
use crate::spool::{Boots, Damage, Facts, Holder, OpenError, View};
use std::fmt::Write;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Damage that is told piece by piece; the rest is counted.
const PIECES: u64 = 20;

/// A look at a spool.
pub struct Look {
    pub view: View,
    pub facts: Facts,
    pub times: Times,
}

/// Opens the spool of this configuration to look at it.
///
/// # Errors
/// There is no folder, or it may not be read.
pub fn open(config: &Config) -> Result<Look, Failure> {
    let directory = &config.spool.directory;
    exists(directory)?;
    let view = View::of(directory, &agent::routes(&Scheduled::all(config)));
    let view = view.map_err(|error| refused(&error, directory))?;
    Ok(Look { facts: view.facts(), times: choice::times(&Boots::of(directory)), view })
}

/// As [`open`], and tells on standard error what may be outdated.
///
/// # Errors
/// As [`open`].
pub fn open_for_a_list(config: &Config) -> Result<Look, Failure> {
    let look = open(config)?;
    if let Some(caution) = caution(look.facts.holder) {
        crate::cli::complain(&format!("packhorse: {caution}"));
    }
    Ok(look)
}

/// # Errors
/// There is no folder.
pub fn exists(directory: &Path) -> Result<(), Failure> {
    let shown = foreign::path(directory);
    match directory.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(fail(format!("spool {shown}: there is no such folder; an agent makes it when it starts")))
        }
        Ok(metadata) if !metadata.is_dir() => Err(fail(format!("spool {shown}: is no folder"))),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// What is wrong, and how to go on.
pub fn refused(error: &OpenError, directory: &Path) -> Failure {
    let mut message = error.to_string();
    if let OpenError::Io { source, .. } = error
        && source.kind() == ErrorKind::PermissionDenied
    {
        let user = owner(directory).unwrap_or_else(|| "packhorse".to_owned());
        let _ = write!(
            message,
            "; run it as the user that the agent runs as (`sudo -u {user} packhorse spool ...`) or as root"
        );
    }
    fail(message)
}

/// The name, or else the number, of whom the folder belongs to.
fn owner(directory: &Path) -> Option<String> {
    let user = directory.metadata().ok()?.uid();
    Some(users::name(user).unwrap_or_else(|| format!("#{user}")))
}

/// What may be outdated; `None`: nothing.
pub fn caution(holder: Holder) -> Option<String> {
    const MEANS: &str = "what it has in memory is not seen here, and what is shown may be delivered by now, or delivered and not noted yet";
    match holder {
        Holder::Nobody => None,
        Holder::Process(process) => Some(format!("an agent (process {process}) uses this spool: {MEANS}")),
        Holder::Unknown => Some(format!("whether an agent uses this spool cannot be told; if so, {MEANS}")),
    }
}

/// Damage in words.
pub fn described(damage: &Damage) -> String {
    let file = damage.file.as_ref().map(|file| foreign::path(file));
    let mut text = file.map(|file| format!("{file}: ")).unwrap_or_default();
    if let Some(at) = damage.at {
        let _ = write!(text, "at byte {at}, {} bytes: ", damage.bytes);
    }
    text += damage.what;
    if let Some(lost) = &damage.lost {
        let (first, last) = (lost.start().0, lost.end().0);
        let _ = write!(text, "; lost: {}, seq {first}..{last}", super::counted(damage.lost_messages()));
    }
    text
}

/// Tells damage on standard error, beside what is listed.
#[derive(Debug, Default)]
pub struct Warnings {
    pieces: u64,
    /// Messages that are lost by it.
    pub lost: u64,
}

impl Warnings {
    pub fn add(&mut self, damage: &Damage) {
        self.pieces += 1;
        self.lost += damage.lost_messages();
        if self.pieces <= PIECES {
            crate::cli::complain(&format!("packhorse: damage: {}", described(damage)));
        }
    }

    pub fn end(&self) {
        if self.pieces > PIECES {
            let more = self.pieces - PIECES;
            crate::cli::complain(&format!("packhorse: damage: {more} places more: `packhorse spool stat`"));
        }
    }
}
