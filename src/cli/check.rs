//! `packhorse check`: everything that is wrong with the configuration and with the files and folders that it names.
//!
//! Leaves no trace and disturbs no running agent: folders are asked whether they could be written to, never written to.

use super::{Code, Failure};
use crate::config::{self, NamedFile, Problem, Problems, Role};
use crate::pem::{self, Content};
use rustix::fs::{Access, AtFlags, CWD};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// MQTT's limit for a password (section 3.1.3.6), and far more than a sensor's file holds.
const READ_MAX: u64 = 65_535;

/// Prints the effective configuration on stdout, or all problems on stderr.
///
/// # Errors
///
/// Code 78 when there are problems.
pub fn run(config: Option<&Path>) -> Result<(), Failure> {
    let failure = |message| Failure { code: Code::Config, message };
    let path = config::locate(config).map_err(|error| failure(error.to_string()))?;
    let inspection = config::inspect(&path);
    let findings = findings(&inspection.files);
    for Problem { line, key, message } in findings.warnings {
        let line = line.map(|line| line.to_string()).unwrap_or_default();
        super::complain(&format!("{}:{line}: {key}: warning: {message}", path.display()));
    }
    let mut problems = findings.problems;
    let config = inspection.outcome.map_err(|schema| problems.extend(Vec::from(schema))).ok();
    let count = problems.len();
    if let Err(problems) = Problems::none_of(&path, problems) {
        super::complain(&problems.to_string());
        let noun = if count == 1 { "problem" } else { "problems" };
        return Err(failure(format!("{} has {count} {noun}", path.display())));
    }
    let yaml = config.map(|config| config.to_yaml()).unwrap_or_default();
    match io::stdout().lock().write_all(yaml.as_bytes()) {
        // `packhorse check | head` is no mistake.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(failure(format!("the configuration is fine, but cannot be printed: {error}")))
        }
        _ => Ok(()),
    }
}

/// What there is to say about the files and folders that a configuration names.
#[derive(Debug, Default)]
pub struct Findings {
    pub problems: Vec<Problem>,
    /// What works, but is probably not meant.
    pub warnings: Vec<Problem>,
}

/// Looks at files and folders.
pub fn findings(files: &[NamedFile]) -> Findings {
    let mut findings = Findings::default();
    for file in files {
        let problem = |message| Problem { line: Some(file.line), key: file.key.clone(), message };
        match look_at(file) {
            Finding::Fine => {}
            Finding::Warning(message) => findings.warnings.push(problem(message)),
            Finding::Problem(message) => findings.problems.push(problem(message)),
        }
    }
    findings
}

/// What there is to say about a file or a folder.
enum Finding {
    Fine,
    /// Works, but is probably not meant.
    Warning(String),
    Problem(String),
}

fn look_at(file: &NamedFile) -> Finding {
    let found = match file.role {
        Role::PasswordFile => password_file(&file.path),
        Role::ConnectionStringFile => connection_string_file(&file.path),
        Role::Certificates => pem::check(&file.path, Content::Certificates).map(|()| Finding::Fine),
        Role::Key => key_file(&file.path, Content::Key),
        Role::CertificateAndKey => key_file(&file.path, Content::Both),
        Role::SourceFile => source_file(&file.path),
        Role::SpoolDirectory => folder(&file.path).and_then(|()| spool_files(&file.path)).map(|()| Finding::Fine),
        Role::LogDirectory => folder(&file.path).map(|()| Finding::Fine),
    };
    found.unwrap_or_else(|why| Finding::Problem(format!("`{}` {why}", file.path.display())))
}

fn password_file(path: &Path) -> Result<Finding, String> {
    let Some((bytes, mode)) = contents(path)? else { return Ok(not_opened(path)) };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("is empty; it must hold the password".to_owned());
    }
    if bytes.len() as u64 > READ_MAX {
        return Err(format!("is too large; a password has at most {READ_MAX} bytes"));
    }
    Ok(secret(path, mode))
}

/// What is in it was read with the configuration.
fn connection_string_file(path: &Path) -> Result<Finding, String> {
    Ok(path.metadata().map_or(Finding::Fine, |metadata| secret(path, metadata.permissions().mode())))
}

fn key_file(path: &Path, content: Content) -> Result<Finding, String> {
    pem::check(path, content)?;
    let mode = path.metadata().map_err(|error| format!("cannot be looked at: {error}"))?.permissions().mode();
    Ok(secret(path, mode))
}

/// What there is to say about the permissions of a file that nobody else should read.
fn secret(path: &Path, mode: u32) -> Finding {
    if mode & 0o004 != 0 {
        let path = path.display();
        return Finding::Warning(format!("every user of this machine can read `{path}`; `chmod o-r` ends that"));
    }
    Finding::Fine
}

fn source_file(path: &Path) -> Result<Finding, String> {
    let Some((bytes, _)) = contents(path)? else { return Ok(not_opened(path)) };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // The rest of a cut character is cut off because only the beginning of the file was read.
        Err(error) if error.error_len().is_none() && bytes.len() as u64 > READ_MAX => "...",
        Err(_) => return Err("holds neither a number nor text in UTF-8".to_owned()),
    };
    if text.trim().is_empty() {
        return Err("is empty; it must hold a number or text".to_owned());
    }
    Ok(Finding::Fine)
}

/// The beginning of a regular file and its permissions; `None` for pipes and devices, which opening could disturb.
fn contents(path: &Path) -> Result<Option<(Vec<u8>, u32)>, String> {
    let unreadable = |error: io::Error| format!("cannot be read by {}: {error}", whoami());
    let metadata = path.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err("is a folder; it must be a file".to_owned());
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(READ_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some((bytes, metadata.permissions().mode())))
}

fn not_opened(path: &Path) -> Finding {
    Finding::Warning(format!("`{}` is no ordinary file and was not opened", path.display()))
}

/// The agent makes folders that are not there, so then the nearest one that is there decides.
fn folder(path: &Path) -> Result<(), String> {
    let mut nearest = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        match nearest.symlink_metadata() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot be looked at by {}: {error}", whoami())),
        }
        nearest = match nearest.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err("cannot be made: no folder above it is there".to_owned()),
        };
    }
    let what = if nearest == path { String::new() } else { format!("cannot be made, for `{}` ", nearest.display()) };
    let metadata = nearest.metadata().map_err(|error| format!("{what}cannot be looked at: {error}"))?;
    if !metadata.is_dir() {
        return Err(format!("{what}is a file; it must be a folder"));
    }
    may(nearest, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("{what}cannot be written to by {}: {error}", whoami()))
}

/// A spool that was filled by another user, as by one run with `sudo`, is of no use to this one.
fn spool_files(folder: &Path) -> Result<(), String> {
    // A folder that is not there yet has no files.
    let Ok(entries) = folder.read_dir() else { return Ok(()) };
    // Only files, for a file system's own folder has a `lost+found`.
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())) {
        if let Err(error) = may(&entry.path(), Access::READ_OK | Access::WRITE_OK) {
            // A running agent may have deleted it in the meantime.
            if error.kind() != io::ErrorKind::NotFound {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                return Err(format!("holds `{name}`, which cannot be written to by {}: {error}", whoami()));
            }
        }
    }
    Ok(())
}

/// Whether the effective user, for that one reads and writes, has access. The kernel's answer also knows of read-only
/// file systems and access control lists.
fn may(path: &Path, access: Access) -> io::Result<()> {
    Ok(rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS)?)
}

/// The agent often runs as another user than the one at the keyboard, so problems say whom they concern.
fn whoami() -> String {
    format!("user id {}", rustix::process::geteuid().as_raw())
}
