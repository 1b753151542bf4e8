//! Looks at the files of sensors for `packhorse check`: each in a thread of its own, for any of them may hang, and a sensor that
//! hangs keeps no start and no edit from its work. So whatever is found is a warning.

use super::check;
use crate::config::{NamedFile, Problem};
use crate::foreign;
use crate::source;
use crossbeam_channel::{Receiver, unbounded};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Far more than a sensor's file holds.
const READ_MAX: u64 = 65_535;

/// How long the sensors may take together: half of what a judgement may take, which waits for them.
const PATIENCE: Duration = Duration::from_secs(5);

/// There may be a thousand threads.
const STACK: usize = 128 * 1024;

/// Sensors' files that are being looked at.
pub struct Looks {
    files: Vec<NamedFile>,
    /// By the number of the file: what there is to warn of, if anything.
    found: Receiver<(usize, Option<String>)>,
    deadline: Instant,
}

impl Looks {
    /// Begins to look at the files.
    pub fn begin(files: Vec<NamedFile>, now: Instant) -> Self {
        let (tell, found) = unbounded();
        for (number, NamedFile { path, .. }) in files.iter().enumerate() {
            let (found, path) = (tell.clone(), path.clone());
            let look = move || {
                // Nobody listens where it has taken too long.
                let _ = found.send((number, look_at(&path)));
            };
            if let Err(error) = thread::Builder::new().name("look".to_owned()).stack_size(STACK).spawn(look) {
                let _ = tell.send((number, Some(format!("was not looked at: no thread can be started: {error}"))));
            }
        }
        Self { files, found, deadline: now + PATIENCE }
    }

    /// Waits for the sensors that answer in time; what there is to warn of, in the order of the configuration.
    pub fn warnings(self) -> Vec<Problem> {
        let limit = humantime::format_duration(PATIENCE);
        let late = failing(&format!("does not answer: looking at it takes more than {limit}"));
        let mut found = vec![Some(late); self.files.len()];
        while let Ok((number, warning)) = self.found.recv_deadline(self.deadline) {
            found[number] = warning;
        }
        let warning = |(file, warning): (NamedFile, Option<String>)| {
            let message = format!("`{}` {}", foreign::path(&file.path), warning?);
            Some(Problem { line: Some(file.line), key: file.key, message })
        };
        self.files.into_iter().zip(found).filter_map(warning).collect()
    }
}

fn failing(why: &str) -> String {
    format!("{why}; the source's samples fail until that changes")
}

/// What there is to warn of.
fn look_at(path: &Path) -> Option<String> {
    match beginning(path) {
        Ok(Some(bytes)) => useless(&bytes).map(failing),
        Ok(None) => Some("is no ordinary file and was not opened".to_owned()),
        Err(why) => Some(failing(&why)),
    }
}

/// Why the content gives no sample.
fn useless(bytes: &[u8]) -> Option<&'static str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => source::is_empty(text).then_some("is empty; it must hold a number or text"),
        // The rest of a cut character is cut off because only the beginning of the file was read.
        Err(error) if error.error_len().is_none() && bytes.len() as u64 > READ_MAX => None,
        Err(_) => Some("holds neither a number nor text in UTF-8"),
    }
}

/// The beginning of a regular file; `None` for pipes and devices, which opening could disturb.
fn beginning(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let unreadable = |error| check::unreadable(&error);
    let metadata = path.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err("is a folder; it must be a file".to_owned());
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(READ_MAX + 1).read_to_end(&mut bytes));
    read.map_err(unreadable)?;
    Ok(Some(bytes))
}
