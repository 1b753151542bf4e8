//! Sensors: each kind of source in a file of its own, behind one trait.

mod content;
mod file;
mod simulated;
mod system;

use crate::config::SourceKind;
use crate::foreign;
use rustix::fs::OFlags;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a source says: the `data` of the payload. Keys keep their order and end in their unit.
pub type Data = Map<String, Value>;

/// Something that can be sampled.
pub trait Source {
    /// Takes one sample, now.
    ///
    /// # Errors
    /// [`Error`] when the sensor gives nothing. The next call tries again.
    fn sample(&mut self) -> Result<Data, Error>;

    /// Whether a sample may take its time, or for ever, as whatever opens a path may.
    fn may_block(&self) -> bool {
        true
    }
}

/// Why a source gave no sample.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    #[error("{} is no UTF-8 text", .0.display())]
    NoText(PathBuf),
    #[error("{} is larger than {LARGEST} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("{} says \"{}\", which is no number", path.display(), foreign::shown(content))]
    NoNumber { path: PathBuf, content: String },
    #[error("{} gives a number that JSON cannot hold: {number}", path.display())]
    NoJsonNumber { path: PathBuf, number: f64 },
    #[error("nothing can be read below {}", .0.display())]
    Nothing(PathBuf),
    #[error("it has given all that it was asked for")]
    Over,
}

/// Bytes that are read of a file at most: a sensor's file is a line, and an endless one must not eat the memory.
const LARGEST: usize = 64 * 1024;

/// The source that the configuration describes. A sensor that is missing is no error here: it may come later.
///
/// `spool` is the spool's folder, whose file system the `system` source reports on.
#[must_use]
pub fn build(kind: &SourceKind, spool: &Path) -> Box<dyn Source + Send> {
    match kind {
        SourceKind::System => Box::new(system::System::new(Path::new("/"), spool)),
        SourceKind::File { path, read_as, scale, offset, unit } => {
            Box::new(file::FileSource::new(path, *read_as, *scale, *offset, unit.as_deref()))
        }
        SourceKind::Simulated { seed } => Box::new(simulated::Wind::new(*seed)),
    }
}

/// Whether a file has nothing to say.
#[must_use]
pub fn is_empty(content: &str) -> bool {
    content::tidied(content).is_empty()
}

/// Reads a small text file, without what is not part of its content ([`content::tidied`]).
fn read_text(path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    // A serial port must not become the one whose end stops us.
    let mut options = File::options();
    options.read(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
    let read = options.open(path).and_then(|file| file.take(LARGEST as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if bytes.len() > LARGEST {
        return Err(Error::TooLarge(path.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| Error::NoText(path.to_owned()))?;
    Ok(content::tidied(&text))
}
