//! Looks at every file and folder that a configuration names, and changes none.

use super::document::Document;
use super::{Config, SourceKind};
use crate::source;
use rustix::fs::{Access, access};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Notes in the document what cannot be used.
pub fn check(config: &Config, document: &Document) {
    let note = |key: &str, problem: Result<(), String>| {
        if let Err(text) = problem {
            document.problem(key, text);
        }
    };
    note("spool.directory", folder(&config.spool.directory));
    note("logging.directory", folder(&config.logging.directory));
    if let Some(file) = &config.broker.password_file {
        note("broker.password_file", secret(file));
    }
    for (number, source) in config.telemetry.sources.iter().enumerate() {
        if let SourceKind::File { .. } = source.kind {
            let sampled = source::sample_once(source, &config.spool.directory);
            let key = format!("telemetry.sources[{number}].path");
            note(&key, sampled.map(drop).map_err(|error| error.to_string()));
        }
    }
}

/// A folder that is to be written: it is there, or can be made.
fn folder(path: &Path) -> Result<(), String> {
    let nearest = if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) };
    let nearest = nearest.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if !nearest.is_dir() {
        return Err(format!("{} is no folder", nearest.display()));
    }
    access(nearest, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("{} cannot be written: {}", nearest.display(), io::Error::from(error)))
}

/// A file that holds a secret: it can be read, and not by everybody.
fn secret(path: &Path) -> Result<(), String> {
    let content = fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if content.trim_ascii().is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode()).unwrap_or(0);
    if mode & 0o007 == 0 {
        return Ok(());
    }
    Err(format!("{} may be read by everybody; `chmod o= {}` keeps the secret", path.display(), path.display()))
}
