//! One mapping of the file while its keys are read.
//!
//! A section remembers which keys it was asked for. Those are the keys of the schema: when the section ends, any other
//! key that the file has is a problem. So the schema is written down once, in the code that reads it.

use super::hints;
use super::odd::Odd;
use super::problem::Problem;
use super::tree::{Content, Entry, Node, Scalar, echo, printable};
use super::value::{Reading, Refusal, nearest};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Problems that are listed. Nobody reads so many, and a few bytes of a file can make one.
const PROBLEMS_MAX: usize = 1000;

/// What collects over the reading of a whole file.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    /// Which of them are about keys that may belong elsewhere, and these keys.
    pub strangers: Vec<(usize, String)>,
    /// Every key that was asked for, dotted, list items as `[]`.
    pub schema: BTreeSet<String>,
    pub files: Vec<NamedFile>,
    /// What works, but is probably not meant.
    pub warnings: Vec<Problem>,
}

impl Findings {
    /// Says of keys that are unknown where they stand where they belong. `schema`: every key that there is.
    pub fn place_strangers(&mut self, schema: impl FnOnce() -> BTreeSet<String>) {
        let strangers = std::mem::take(&mut self.strangers);
        if strangers.is_empty() {
            return;
        }
        let schema = schema();
        for (index, key) in strangers {
            if let Some(message) = hints::elsewhere(&key, &schema) {
                self.problems[index].message = message;
            }
        }
    }
}

/// A file or a folder that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    pub role: Role,
    pub path: PathBuf,
    /// The line of the key, or of what stands around it where the file leaves it out.
    pub line: usize,
    /// Dotted.
    pub key: String,
}

/// What a named file or folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    PasswordFile,
    ProxyPasswordFile,
    /// A device's connection string.
    ConnectionStringFile,
    /// Certificates in PEM.
    Certificates,
    /// A private key in PEM.
    Key,
    /// Both in one.
    CertificateAndKey,
    SpoolDirectory,
    LogDirectory,
    SourceFile,
}

pub(super) struct Section<'a> {
    findings: &'a mut Findings,
    /// Dotted; empty for the file itself.
    path: String,
    line: usize,
    /// The first entry of each key.
    entries: HashMap<&'a str, &'a Entry>,
    asked: Vec<&'static str>,
    /// What stands here in place of a mapping. It is reported at the end; what is missing then is not worth a word.
    unreadable: Option<(String, &'static str)>,
}

impl<'a> Section<'a> {
    /// Reads the mapping `node` with `read`, then reports the keys that `read` did not ask for. Nothing counts as an
    /// empty mapping, so that all keys of a section may be commented out.
    pub fn read<T>(
        findings: &mut Findings,
        path: String,
        line: usize,
        node: Option<&Node>,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let mut section =
            Section { findings, path, line, entries: HashMap::new(), asked: Vec::new(), unreadable: None };
        let unknown = section.enter(node);
        let value = read(&mut section);
        section.refuse(&unknown);
        section.tell_unreadable();
        value
    }

    /// Sorts the entries of `node` by key, and returns them in the order of the file.
    fn enter<'node: 'a>(&mut self, node: Option<&'node Node>) -> Vec<&'node Entry> {
        // A comment is no problem here: a section may be left empty.
        if let Some(odd) = node.and_then(|node| node.odd).filter(|odd| *odd != Odd::Comment) {
            self.report(self.line, self.path.clone(), odd.message().to_owned());
        }
        let Some(node) = node.filter(|node| !node.is_nothing()) else { return Vec::new() };
        let Content::Mapping(entries) = &node.content else {
            let glued = matches!(&node.content, Content::Scalar { text, .. } if is_glued(text));
            let equals = matches!(&node.content, Content::Scalar { text, .. } if text.contains(" = "));
            let colon = matches!(&node.content, Content::Scalar { text, .. } if hints::odd_colon(text).is_some());
            let hint = match (glued, equals) {
                _ if colon => "; what looks like a `:` there is none to YAML; type it anew",
                (_, true) => "; write `:` in place of `=`",
                (true, false) => "; is a space missing behind the `:`?",
                (false, false) => "",
            };
            let message = format!("found {}; allowed is a mapping, `KEY: VALUE` on lines of their own", node.found());
            self.unreadable = Some((message, hint));
            return Vec::new();
        };
        let mut first = Vec::new();
        for entry in entries {
            let Some(key) = &entry.key else {
                self.report(
                    entry.line,
                    self.path.clone(),
                    "has a list or a mapping for a key; a key is text".to_owned(),
                );
                continue;
            };
            if let Some(earlier) = self.entries.get(key.as_str()) {
                let message = format!("is given twice, the first time on line {}", earlier.line);
                self.report(entry.line, self.dotted(&printable(key)), message);
                continue;
            }
            self.entries.insert(key, entry);
            first.push(entry);
        }
        first
    }

    fn refuse(&mut self, entries: &[&Entry]) {
        for entry in entries {
            let Some(key) = entry.key.as_deref().filter(|key| !self.asked.contains(key)) else { continue };
            let synonym = hints::synonym(key, &self.asked);
            let near = synonym.or_else(|| nearest(key.trim(), self.asked.iter().copied()));
            let message = if key == "<<" {
                "merge keys are not read; write the keys out".to_owned()
            } else if let Some(odd) = hints::odd_sign(key) {
                format!("unknown key; {odd}")
            } else if let Some(near) = near {
                format!("unknown key; did you mean {}?", echo(near))
            } else {
                format!("unknown key; allowed here: {}", self.keys())
            };
            if synonym.is_none()
                && near != Some(hints::usual(key).as_str())
                && self.findings.problems.len() < PROBLEMS_MAX
            {
                self.findings.strangers.push((self.findings.problems.len(), key.to_owned()));
            }
            self.report(entry.line, self.dotted(&printable(key)), message);
        }
    }

    /// The keys that may stand here.
    fn keys(&self) -> String {
        self.asked.iter().map(|key| echo(key)).collect::<Vec<_>>().join(", ")
    }

    fn tell_unreadable(&mut self) {
        if let Some((message, hint)) = &self.unreadable {
            let message = format!("{message}; its keys: {}{hint}", self.keys());
            self.report(self.line, self.path.clone(), message);
        }
    }

    /// The value of a key in the words of a problem, as it was written; `None`: the file leaves it out.
    pub fn written(&self, key: &str) -> Option<String> {
        self.entries.get(key).map(|entry| entry.node.found())
    }

    /// Whether the file has the key with a value of its own.
    pub fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|entry| !entry.node.is_nothing())
    }

    /// The value of `key`; `None` when the file leaves it out, or when it is a problem, which then has been reported.
    pub fn value<T>(&mut self, key: &'static str, read: impl FnOnce(&Node) -> Reading<T>) -> Option<T> {
        let entry = self.sound(key)?;
        match read(&entry.node) {
            Ok(value) => Some(value),
            Err(Refusal::Because(sentence)) => {
                self.problem(key, sentence);
                None
            }
            Err(Refusal::Allowed(what)) => {
                self.problem(key, not_allowed(&entry.node, &what));
                None
            }
        }
    }

    /// Like [`Section::value`] for a key that may be set to `~`, which is the same as leaving it out.
    pub fn optional<T>(&mut self, key: &'static str, read: impl FnOnce(&Node) -> Reading<T>) -> Option<T> {
        if !self.has(key) {
            self.sound(key);
            return None;
        }
        let value = self.value(key, |node| {
            read(node).map_err(|refusal| match (refusal, &node.content) {
                (Refusal::Allowed(what), Content::Scalar { text, .. }) if hints::is_none(text) => {
                    Refusal::Allowed(format!("{what}; or `~`, as if it were left out"))
                }
                (refusal, _) => refusal,
            })
        });
        if value.is_some() {
            self.warn_of_none(key);
        }
        value
    }

    /// Warns of a word for "none" where `~` says it, and the word is text.
    pub fn warn_of_none(&mut self, key: &str) {
        let word = self.entries.get(key).and_then(|entry| match &entry.node.content {
            Content::Scalar { text, value: Scalar::Text } if hints::is_none(text) => Some(echo(text)),
            _ => None,
        });
        if let Some(word) = word {
            self.warning(key, format!("is the text {word}; where there should be none, write `~`"));
        }
    }

    /// A key whose feature is yet to come: it may be left out or set to `~`, and is never ignored.
    pub fn not_yet(&mut self, key: &'static str) {
        if self.has(key) {
            self.problem(key, "is not supported yet; leave it out, or set it to `~`");
        }
        self.sound(key);
    }

    /// A file or folder that the configuration names.
    pub fn names(&mut self, key: &'static str, role: Role, path: &Path) {
        let (line, key) = (self.line_of(key), self.dotted(key));
        self.findings.files.push(NamedFile { role, path: path.to_owned(), line, key });
    }

    /// Reports that `key`, which has no default, is not there; `wanted` says what to write.
    pub fn missing(&mut self, key: &'static str, wanted: &str) {
        // A value that is there but empty has been reported as such.
        if !self.entries.contains_key(key) && self.unreadable.is_none() {
            self.problem(key, format!("is missing; {wanted}"));
        }
    }

    /// Where the section begins.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Reports `message` about `key`.
    pub fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.report(self.line_of(key), self.dotted(key), message.into());
    }

    /// Notes that `key` works, but is probably not meant so.
    pub fn warning(&mut self, key: &str, message: impl Into<String>) {
        let warning = Problem { line: Some(self.line_of(key)), key: self.dotted(key), message: message.into() };
        self.findings.warnings.push(warning);
    }

    /// Reads the mapping under `key`.
    pub fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let node = self.ask(key).map(|entry| &*entry.node);
        let (path, line) = (self.dotted(key), self.line_of(key));
        Section::read(self.findings, path, line, node, read)
    }

    /// Reads the mappings of the list under `key`; `None` when the file leaves the key out, or when it is no list,
    /// which then has been reported. More than `most` are a problem, and not read.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        most: usize,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Option<Vec<T>> {
        let entry = self.sound(key)?;
        let Content::List(items) = &entry.node.content else {
            self.problem(key, format!("found {}; allowed: a list, each item behind a `-`", entry.node.found()));
            return None;
        };
        if items.len() > most {
            self.problem(key, format!("has {} items; allowed are at most {most}", items.len()));
        }
        let path = self.dotted(key);
        let item = |(index, node): (usize, &std::rc::Rc<Node>)| {
            Section::read(self.findings, format!("{path}[{index}]"), node.line, Some(node), &mut read)
        };
        Some(items.iter().take(most).enumerate().map(item).collect())
    }

    /// Reads the values of the list under `key`, which may be set to `~`; `None` when the file leaves the key out, or
    /// when it is no list, which then has been reported. What is a problem is left out.
    pub fn items<T>(&mut self, key: &'static str, read: impl Fn(&Node) -> Reading<T>) -> Option<Vec<T>> {
        let entry = self.sound(key).filter(|entry| !entry.node.is_nothing())?;
        let Content::List(items) = &entry.node.content else {
            self.problem(key, format!("found {}; allowed: a list, each item behind a `-`", entry.node.found()));
            return None;
        };
        let mut values = Vec::new();
        for (index, node) in items.iter().enumerate() {
            let message = match (node.odd, read(node)) {
                (Some(odd), _) => odd.message().to_owned(),
                (None, Ok(value)) => {
                    values.push(value);
                    continue;
                }
                (None, Err(Refusal::Because(sentence))) => sentence,
                (None, Err(Refusal::Allowed(what))) => not_allowed(node, &what),
            };
            let key = self.dotted(&format!("{key}[{index}]"));
            self.report(node.line, key, message);
        }
        Some(values)
    }

    /// The entry of `key`; `None` when the file leaves it out, or when no value stands there but what is none to YAML,
    /// which then has been reported.
    fn sound(&mut self, key: &'static str) -> Option<&'a Entry> {
        let entry = *self.ask(key)?;
        if let Some(odd) = entry.node.odd {
            self.problem(key, odd.message());
            return None;
        }
        Some(entry)
    }

    fn ask(&mut self, key: &'static str) -> Option<&&'a Entry> {
        self.asked.push(key);
        let dotted = self.dotted(key);
        // No key of the schema holds a digit, so what goes are the numbers of list items.
        let generic: String = dotted.chars().filter(|character| !character.is_ascii_digit()).collect();
        self.findings.schema.insert(generic);
        self.entries.get(key)
    }

    fn line_of(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.line, |entry| entry.line)
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn report(&mut self, line: usize, key: String, message: String) {
        let problem = |key, message| Problem { line: Some(line), key, message };
        match self.findings.problems.len() {
            PROBLEMS_MAX => {
                let more = format!("more than {PROBLEMS_MAX} problems; the others are not listed");
                self.findings.problems.push(problem(String::new(), more));
            }
            0..PROBLEMS_MAX => self.findings.problems.push(problem(key, message)),
            _ => {}
        }
    }
}

/// Whether a text looks like `KEY:VALUE`, and not like an address.
fn is_glued(text: &str) -> bool {
    text.split_once(':').is_some_and(|(_, rest)| !rest.starts_with(' ') && !rest.starts_with("//"))
}

/// What was found and what is allowed instead.
fn not_allowed(node: &Node, what: &str) -> String {
    let odd = match &node.content {
        Content::Scalar { text, .. } => hints::odd_sign(text),
        Content::List(_) | Content::Mapping(_) => None,
    };
    let odd = odd.map(|odd| format!("; {odd}")).unwrap_or_default();
    format!("found {}; allowed: {what}{odd}", node.found())
}
