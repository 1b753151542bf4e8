//! `packhorse check`: everything that is wrong with the configuration and with the files and folders that it names.
//!
//! Leaves no trace and disturbs no running agent: folders are asked whether they could be written to, never written to.

use super::exposure::{self, Care};
use super::judgement::{Judge, Judgement, LookingAt};
use super::sensors::Looks;
use super::{Code, Failure, capacity, counted};
use crate::config::{self, Config, Inspection, NamedFile, PASSWORD_MAX, Problem, Problems, Role};
use crate::foreign;
use crate::mqtt;
use crate::mqtt::pem::{self, Content, Unfit};
use crate::named::{self, Unreadable};
use crate::own;
use crate::spool::Holder;
use rustix::fs::{Access, AtFlags, CWD};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a broker may take to answer the question whether anybody listens. Even over a slow link that is a second.
const KNOCK: Duration = Duration::from_secs(2);

/// Prints the effective configuration on stdout, or all problems on stderr; and the verdict on stderr, at the end.
///
/// # Errors
///
/// Code 78 when there are problems.
pub fn run(config: Option<&Path>) -> Result<(), Failure> {
    let failure = |message| Failure { code: Code::Config, message };
    let path = config::locate(config).map_err(|error| failure(error.to_string()))?;
    let (config, warnings) = match judge(&path).and_then(Judgement::wait) {
        Ok(verdict) => verdict,
        Err(problems) => {
            super::complain(&problems.to_string());
            tell(&path, problems.warnings());
            let mut verdict =
                format!("{} has {}", foreign::path(&path), counted(problems.iter().count() as u64, "problem"));
            if !problems.warnings().is_empty() {
                verdict += &format!(" and {}", counted(problems.warnings().len() as u64, "warning"));
            }
            return Err(failure(verdict));
        }
    };
    let warnings = [warnings, held(&config), silent(&config)].concat();
    tell(&path, &warnings);
    let yaml = config.to_yaml();
    match io::stdout().lock().write_all(yaml.as_bytes()) {
        // `packhorse check | head` is no mistake.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let message = format!("the configuration is fine, but cannot be printed: {error}");
            Err(Failure { code: Code::Failed, message })
        }
        _ => {
            let more = if warnings.is_empty() {
                String::new()
            } else {
                format!(", {}", counted(warnings.len() as u64, "warning"))
            };
            super::complain(&format!("packhorse: {}: OK{more}", foreign::path(&path)));
            Ok(())
        }
    }
}

fn tell(path: &Path, warnings: &[Problem]) {
    for warning in warnings {
        super::complain(&format!("{}:{}", foreign::path(path), marked(warning)));
    }
}

/// Where nobody listens. It may be that the broker is not there yet.
fn silent(config: &Config) -> Vec<Problem> {
    let problem = |message| Problem { line: None, key: "broker".to_owned(), message };
    mqtt::silent(&config.broker, KNOCK).into_iter().map(problem).collect()
}

/// A spool that a running agent uses, which may well be the one that this configuration is for.
fn held(config: &Config) -> Vec<Problem> {
    let problem = |process| Problem {
        line: None,
        key: "spool.directory".to_owned(),
        message: format!("an agent runs with this spool (process {process}); a second one does not start with it"),
    };
    Holder::of(&config.spool.directory).process().map(problem).into_iter().collect()
}

/// Looks at the configuration and what it names in a thread of its own: what hangs is named and not waited for.
fn judge(path: &Path) -> Result<Judgement, Problems> {
    let named = path.to_owned();
    Judge::new(path).begin_with(Instant::now(), move |looking_at| {
        let mut inspection = config::inspect(&named);
        let sensors = inspection.files.extract_if(.., |file| file.role == Role::SourceFile).collect();
        let sensors = Looks::begin(sensors, Instant::now());
        let schema: Vec<Problem> = inspection.outcome.as_ref().err().into_iter().flatten().cloned().collect();
        let looking_at = |file: &NamedFile, so_far: &[Problem]| looking_at(file, &[&schema, so_far].concat());
        let Findings { problems, mut warnings } = findings(&named, &inspection, &looking_at);
        warnings.extend(sensors.warnings());
        match inspection.outcome {
            Ok(config) => match Problems::none_of(&named, problems) {
                Ok(()) => Ok((Box::new(config), warnings)),
                Err(problems) => Err(problems.beside(warnings)),
            },
            Err(schema) => Err(schema.with(problems).beside(warnings)),
        }
    })
}

/// What there is to say about the files and folders that a configuration names.
#[derive(Debug, Default)]
pub struct Findings {
    pub problems: Vec<Problem>,
    /// What works, but is probably not meant.
    pub warnings: Vec<Problem>,
}

impl Findings {
    /// What is wrong with a certificate's file.
    fn add(&mut self, file: &NamedFile, unfit: Unfit) {
        let (list, message) = match unfit {
            Unfit::Useless(message) => (&mut self.problems, message),
            Unfit::Odd(message) => (&mut self.warnings, message),
        };
        list.push(Problem { line: Some(file.line), key: file.key.clone(), message });
    }
}

/// A warning that says that it is none of the problems.
fn marked(Problem { line, key, message }: &Problem) -> Problem {
    Problem { line: *line, key: key.clone(), message: format!("warning: {message}") }
}

/// Looks at the files and folders that the configuration in the file `path` names, those of sensors apart; `looking_at` is told of
/// each before.
pub fn findings(path: &Path, inspection: &Inspection, looking_at: &LookingAt) -> Findings {
    let mut findings = Findings::default();
    for file in &inspection.files {
        looking_at(file, &findings.problems);
        let problem = |message| Problem { line: Some(file.line), key: file.key.clone(), message };
        match look_at(file) {
            Finding::Fine => {}
            Finding::Warning(message) => findings.warnings.push(problem(message)),
            Finding::Problem(message) => findings.problems.push(problem(message)),
        }
    }
    if !findings.problems.iter().any(|problem| problem.key.starts_with("broker.tls")) {
        certificates(inspection, &mut findings);
    }
    findings.warnings.splice(0..0, warnings(path, inspection));
    findings
}

/// Looks whether the certificates are what TLS can use, and whether the key is theirs. Each file holds what it should.
fn certificates(inspection: &Inspection, findings: &mut Findings) {
    let is = |file: &&NamedFile, role, name: &str| file.role == role && file.key.ends_with(name);
    let find = |role, name| inspection.files.iter().find(|file| is(file, role, name));
    if let Some(file) = find(Role::Certificates, ".ca_file")
        && let Err(unfit) = pem::check_authorities(&file.path)
    {
        findings.add(file, unfit);
    }
    let pair = match (find(Role::Certificates, ".cert_file"), find(Role::Key, ".key_file")) {
        (Some(file), Some(key)) => Some((file, key)),
        _ => find(Role::CertificateAndKey, ".cert_file").map(|both| (both, both)),
    };
    let Some((file, key)) = pair else { return };
    if let Err(unfit) = pem::check_pair(&file.path, &key.path) {
        findings.add(file, unfit);
    }
}

/// What gives something away, or does not last. The agent logs it at its start, and when an edit is applied.
pub fn warnings(path: &Path, inspection: &Inspection) -> Vec<Problem> {
    let of_file = |file: &NamedFile| {
        let message = match file.role {
            Role::PasswordFile
            | Role::ProxyPasswordFile
            | Role::ConnectionStringFile
            | Role::Key
            | Role::CertificateAndKey => exposure::of_file(&file.path, Care::Secret),
            Role::Certificates => exposure::of_file(&file.path, Care::Trust),
            Role::SpoolDirectory | Role::LogDirectory => exposure::of_folder(&file.path),
            Role::SourceFile => None,
        };
        message.map(|message| Problem { line: Some(file.line), key: file.key.clone(), message })
    };
    let of_disk = inspection.outcome.as_ref().ok().and_then(|config| capacity::of_disk(&config.spool)).map(|message| {
        let line = inspection.files.iter().find(|file| file.role == Role::SpoolDirectory).map(|file| file.line);
        Problem { line, key: "spool.directory".to_owned(), message }
    });
    let of_configuration = exposure::of_file(path, Care::Configuration);
    let of_configuration = of_configuration.map(|message| Problem { line: None, key: String::new(), message });
    let schema = inspection.warnings.iter().cloned();
    let of_files = inspection.files.iter().filter_map(of_file);
    of_configuration.into_iter().chain(schema).chain(of_files).chain(of_disk).collect()
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
        Role::PasswordFile | Role::ProxyPasswordFile => password_file(&file.path),
        // What is in it was read with the configuration.
        Role::ConnectionStringFile => Ok(Finding::Fine),
        Role::Certificates => pem::check(&file.path, Content::Certificates).map(|()| Finding::Fine),
        Role::Key => pem::check(&file.path, Content::Key).map(|()| Finding::Fine),
        Role::CertificateAndKey => pem::check(&file.path, Content::Both).map(|()| Finding::Fine),
        // It may hang, and whatever is wrong with it is no problem.
        Role::SourceFile => Ok(Finding::Fine),
        Role::SpoolDirectory => folder(&file.path).and_then(|()| spool_files(&file.path)).map(|()| Finding::Fine),
        Role::LogDirectory => folder(&file.path).map(|()| Finding::Fine),
    };
    found.unwrap_or_else(|why| Finding::Problem(format!("`{}` {why}", foreign::path(&file.path))))
}

fn password_file(path: &Path) -> Result<Finding, String> {
    let bytes = named::read_password(path, PASSWORD_MAX).map_err(|error| match error {
        Unreadable::System(error) => unreadable(&error),
        other => other.to_string(),
    })?;
    if bytes.contains(&b'\n') {
        let message = "holds several lines, and all of them together are the password";
        return Ok(Finding::Warning(format!("`{}` {message}", foreign::path(path))));
    }
    Ok(Finding::Fine)
}

pub fn unreadable(error: &io::Error) -> String {
    format!("cannot be read by {}: {error}", whoami())
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
    if path.components().any(|part| part.as_os_str().len() > NAME_MAX) {
        return Err(format!("cannot be made: a name in it has more than {NAME_MAX} bytes"));
    }
    let what = if nearest == path { String::new() } else { format!("cannot be made, for `{}` ", nearest.display()) };
    let metadata = nearest.metadata().map_err(|error| format!("{what}cannot be looked at: {error}"))?;
    if !metadata.is_dir() {
        return Err(format!("{what}is a file; it must be a folder"));
    }
    if let Some(kind) = kernel_s_own(nearest) {
        return Err(format!("cannot be written to: it is in {kind}, where the kernel keeps its own files"));
    }
    // What is in a folder that is there has to be read.
    let read = if nearest == path { Access::READ_OK } else { Access::empty() };
    may(nearest, read | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("{what}cannot be written to by {}: {error}", whoami()))
}

/// The longest name in a folder on Linux's file systems, in bytes (limits.h).
const NAME_MAX: usize = 255;

/// The kind of the file system, where the kernel makes it up and nobody can make files in it: root is told that it may write
/// there. Numbers of magic.h.
fn kernel_s_own(folder: &Path) -> Option<&'static str> {
    const KINDS: [(u32, &str); 20] = [
        (0x9FA0, "proc"),
        (0x6265_6572, "sysfs"),
        (0x0027_E0EB, "cgroup"),
        (0x6367_7270, "cgroup2"),
        (0x6462_6720, "debugfs"),
        (0x7472_6163, "tracefs"),
        (0x7363_6673, "securityfs"),
        (0x1CD1, "devpts"),
        (0x1980_0202, "mqueue"),
        (0xCAFE_4A11, "bpf"),
        (0x6573_5543, "fusectl"),
        (0x6165_676C, "pstore"),
        (0x4249_4E4D, "binfmt_misc"),
        (0x6265_6570, "configfs"),
        (0x9584_58F6, "hugetlbfs"),
        (0xDE5E_81E4, "efivarfs"),
        (0xF97C_FF8C, "selinuxfs"),
        (0x4341_5D53, "smackfs"),
        (0x6759_6969, "rpc_pipefs"),
        (0x6E66_7364, "nfsd"),
    ];
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "of 32 bits; its type depends on the machine"
    )]
    let magic = rustix::fs::statfs(folder).ok()?.f_type as u32;
    KINDS.into_iter().find(|(kind, _)| *kind == magic).map(|(_, name)| name)
}

/// A spool that was filled by another user, as by one run with `sudo`, is of no use to this one.
fn spool_files(folder: &Path) -> Result<(), String> {
    own::look(&folder.join("lock")).map_err(|error| format!("holds `lock`, which {error}"))?;
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
