//! From a file's name to the configuration in it.

use super::host::Host;
use super::read::read;
use super::{Config, NamedFile, Problem, Problems};
use crate::foreign;
use crate::named::{self, Unreadable};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the configuration is looked for when nobody names a file, in this order.
const PLACES: [&str; 2] = ["config.yaml", "/etc/packhorse/config.yaml"];

/// Bytes of a configuration. The shipped file has a fiftieth of this.
const SIZE_MAX: usize = 256 * 1024;

/// No configuration where one is looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no configuration found: neither --config nor $PACKHORSE_CONFIG names one, and there is none at {}; two lines are \
     enough for one: `broker:`, and `  url: mqtt://localhost:1883` below it",
    .0.iter().map(|place| foreign::path(place)).collect::<Vec<_>>().join(" or ")
)]
pub struct NotFound(pub Vec<PathBuf>);

/// The file to read: the one that `flag` names (which need not exist), else the first that exists of `./config.yaml`
/// and `/etc/packhorse/config.yaml`.
///
/// # Errors
///
/// [`NotFound`] names the places that were looked at.
pub fn locate(flag: Option<&Path>) -> Result<PathBuf, NotFound> {
    locate_among(flag, PLACES.map(PathBuf::from).into())
}

pub(super) fn locate_among(flag: Option<&Path>, places: Vec<PathBuf>) -> Result<PathBuf, NotFound> {
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    // A file that is there but cannot be opened must be reported, not passed over; so must one that nobody lets us look for.
    let missing = [ErrorKind::NotFound, ErrorKind::NotADirectory];
    let there =
        |place: &&PathBuf| place.symlink_metadata().map_or_else(|error| !missing.contains(&error.kind()), |_| true);
    match places.iter().find(there) {
        Some(place) => Ok(place.clone()),
        None => Err(NotFound(places)),
    }
}

/// Reads a configuration from text; `file_name` is for the problems only.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse(text: &str, file_name: &Path) -> Result<Config, Problems> {
    inspect_text(text, file_name, &Host::this()).outcome
}

/// Every key of the schema: dotted, those of list items as in `telemetry.sources[].name`.
#[must_use]
pub fn keys() -> BTreeSet<String> {
    // The keys are those that reading asks for, and it asks for the same ones whatever the file says.
    let one_source = "telemetry: {sources: [{name: board, type: system}]}";
    read(one_source, &Host::default()).map(|reading| reading.schema).unwrap_or_default()
}

/// A configuration, and the files and folders that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    pub outcome: Result<Config, Problems>,
    /// Also of a configuration with problems, as far as it could be read.
    pub files: Vec<NamedFile>,
    /// What works, but is probably not meant.
    pub warnings: Vec<Problem>,
}

impl Inspection {
    fn failed(file: &Path, problem: Problem) -> Inspection {
        Inspection { outcome: Err(Problems::one(file, problem)), files: Vec::new(), warnings: Vec::new() }
    }
}

/// Reads the configuration in the file `path`, and tells which files and folders it names.
#[must_use]
pub fn inspect(path: &Path) -> Inspection {
    match bytes(path) {
        Ok(bytes) => inspect_bytes(&bytes, path),
        Err(error) => Inspection::failed(path, Problem { line: None, key: String::new(), message: error.to_string() }),
    }
}

/// What is in the file `path`, for [`inspect_bytes`].
///
/// # Errors
///
/// [`Unreadable`].
pub fn bytes(path: &Path) -> Result<Vec<u8>, Unreadable> {
    named::read(path, SIZE_MAX).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// The host's name, which stands in for `device`; `None` where nobody has set one.
#[must_use]
pub fn host_name() -> Option<String> {
    Host::this().name
}

/// Like [`inspect`], of what [`bytes`] gave.
#[must_use]
pub fn inspect_bytes(bytes: &[u8], path: &Path) -> Inspection {
    match text(bytes) {
        Ok(text) => inspect_text(text, path, &Host::this()),
        Err(problem) => Inspection::failed(path, problem),
    }
}

pub(super) fn inspect_text(text: &str, file_name: &Path, host: &Host) -> Inspection {
    match read(text, host) {
        Ok(reading) => Inspection {
            outcome: Problems::none_of(file_name, reading.problems).map(|()| reading.config),
            files: reading.files,
            warnings: reading.warnings,
        },
        Err(problem) => Inspection::failed(file_name, problem),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let problem = |line, message| Problem { line, key: String::new(), message };
    let bytes = named::text(bytes).map_err(|error| problem(None, error.to_string()))?;
    std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = good.matches('\n').count() + 1;
        let column = good.chars().rev().take_while(|character| *character != '\n').count() + 1;
        problem(Some(line), format!("column {column}: not UTF-8; save the file in that encoding"))
    })
}
