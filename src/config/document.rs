//! The YAML document under the schema: sections, keys, and the line that each stands on.
//!
//! serde_yaml reads the values but tells no lines for a good document; saphyr-parser's events give these, as an index
//! from a key's path to its line. Nothing outside this folder names either, so both can be replaced here.

use saphyr_parser::{Event, Parser};
use serde_yaml::{Mapping, Value};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

/// How alike a wrong key and a known one must be, 0 to 1, to be offered.
const ALIKE: f64 = 0.7;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// Dotted, as `telemetry.sources[0].topic`; empty where the whole file is meant.
    pub key: String,
    /// What is wrong and what is allowed.
    pub text: String,
}

/// Everything that is wrong with a configuration. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    pub file: PathBuf,
    pub problems: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self { file: file.to_owned(), problems }
    }

    pub(super) fn one(file: &Path, line: usize, text: String) -> Self {
        Self::new(file, vec![Problem { line, key: String::new(), text }])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Problem { line, key, text }) in self.problems.iter().enumerate() {
            let separator = if number > 0 { "\n" } else { "" };
            let colon = if key.is_empty() { "" } else { ": " };
            write!(f, "{separator}{}:{line}: {key}{colon}{text}", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A document that was read, and what was found wrong with it so far.
#[derive(Debug)]
pub struct Document {
    root: Value,
    lines: HashMap<String, usize>,
    problems: RefCell<Vec<Problem>>,
    /// Every key that was asked for: the schema, as far as this document reaches it.
    asked: RefCell<BTreeSet<String>>,
}

impl Document {
    /// Reads YAML whose top level is a mapping, or an empty file.
    ///
    /// # Errors
    /// What is wrong with the syntax, and where.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Problems> {
        let root: Value = serde_yaml::from_str(text).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            Problems::one(file, line, error.to_string())
        })?;
        if !matches!(root, Value::Mapping(_) | Value::Null) {
            let text = "the configuration must be a mapping of keys, such as `broker:`".to_owned();
            return Err(Problems::one(file, 1, text));
        }
        let lines = index(text);
        Ok(Self { root, lines, problems: RefCell::default(), asked: RefCell::default() })
    }

    /// The top level.
    pub fn root(&self) -> Section<'_> {
        Section { document: self, path: String::new(), mapping: self.root.as_mapping(), known: RefCell::default() }
    }

    /// The line of a key, or of the nearest section around it that is in the file.
    pub fn line(&self, key: &str) -> usize {
        let mut path = key;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return 1,
            }
        }
    }

    /// Notes that a key is wrong.
    pub fn problem(&self, key: &str, text: impl Into<String>) {
        let problem = Problem { line: self.line(key), key: key.to_owned(), text: text.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// What was found wrong.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.borrow().clone()
    }

    /// Every key that was asked for.
    #[cfg(test)]
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Every key that the file has.
    #[cfg(test)]
    pub fn present(&self) -> BTreeSet<String> {
        self.lines.keys().cloned().collect()
    }
}

/// A mapping in the document. Dropping it reports the keys that nobody asked for.
#[derive(Debug)]
pub struct Section<'a> {
    document: &'a Document,
    path: String,
    /// `None`: the section is not in the file, and every key has its default.
    mapping: Option<&'a Mapping>,
    known: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    /// The dotted path of one of this section's keys.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key; `None` where it is missing or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.known.borrow_mut().push(key.to_owned());
        self.document.asked.borrow_mut().insert(self.path(key));
        self.mapping?.get(key).filter(|value| !value.is_null())
    }

    /// Whether a key is in the file and null.
    pub fn is_null(&self, key: &str) -> bool {
        self.mapping.and_then(|mapping| mapping.get(key)).is_some_and(Value::is_null)
    }

    /// Reads a key with `read`, which says what is allowed when it does not like the value. The default stands in for
    /// a bad value, so that reading goes on and finds all problems.
    pub fn read<T>(&self, key: &str, default: T, read: impl FnOnce(&Value) -> Result<T, String>) -> T {
        match self.get(key).map(read) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(text)) => {
                self.problem(key, text);
                default
            }
        }
    }

    /// The section under a key.
    pub fn section(&self, key: &str) -> Section<'a> {
        let value = self.get(key);
        let mapping = value.and_then(Value::as_mapping);
        if value.is_some() && mapping.is_none() {
            self.problem(key, "must be a section with keys of its own");
        }
        Section { document: self.document, path: self.path(key), mapping, known: RefCell::default() }
    }

    /// The sections of a list under a key; `None` where it is missing or null.
    pub fn sections(&self, key: &str) -> Option<Vec<Section<'a>>> {
        let value = self.get(key)?;
        let Some(list) = value.as_sequence() else {
            self.problem(key, "must be a list");
            return None;
        };
        let section = |(number, value): (usize, &'a Value)| {
            let path = format!("{}[{number}]", self.path(key));
            if !value.is_mapping() {
                self.document.problem(&path, "must be a section with keys, such as {name: board, type: system}");
            }
            Section { document: self.document, path, mapping: value.as_mapping(), known: RefCell::default() }
        };
        Some(list.iter().enumerate().map(section).collect())
    }

    /// Refuses a key whose feature is not there yet, unless it is missing or null.
    pub fn not_supported_yet(&self, key: &str) {
        if self.get(key).is_some() {
            self.problem(key, "not supported yet");
        }
    }

    /// Notes that a key is wrong.
    pub fn problem(&self, key: &str, text: impl Into<String>) {
        self.document.problem(&self.path(key), text);
    }

    fn report_unknown(&self) {
        let known = self.known.borrow();
        for key in self.mapping.into_iter().flat_map(Mapping::keys) {
            let Some(key) = key.as_str() else {
                self.problem(&format!("{key:?}"), "a key must be text");
                continue;
            };
            if known.iter().any(|known| known == key) {
                continue;
            }
            let likeness = |known: &&String| strsim::jaro_winkler(key, known);
            let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            match nearest.filter(|known| likeness(known) >= ALIKE) {
                Some(nearest) => self.problem(key, format!("unknown key; did you mean `{nearest}`?")),
                None => self.problem(key, format!("unknown key; allowed here: {}", known.join(", "))),
            }
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        self.report_unknown();
    }
}

/// A place on the way through the events: what the next node is called.
enum Level {
    /// In a mapping; the key that was read and waits for its value.
    Mapping(String, Option<String>),
    /// In a list; how many nodes were read.
    List(String, usize),
}

/// From a key's path to the line that the key stands on. Keeps a stack of its own, for a hostile file nests deep.
fn index(text: &str) -> HashMap<String, usize> {
    let mut lines = HashMap::new();
    let mut levels: Vec<Level> = Vec::new();
    for event in Parser::new_from_str(text) {
        // serde_yaml has accepted the text; where the two disagree, the keys so far keep their lines.
        let Ok((event, span)) = event else { break };
        let line = span.start.line();
        match event {
            Event::Scalar(text, ..) => {
                if let Some(Level::Mapping(path, key @ None)) = levels.last_mut() {
                    let full = if path.is_empty() { text.to_string() } else { format!("{path}.{text}") };
                    lines.entry(full).or_insert(line);
                    *key = Some(text.into_owned());
                } else {
                    begin_node(&mut levels, &mut lines, line);
                }
            }
            Event::Alias(_) => {
                begin_node(&mut levels, &mut lines, line);
            }
            Event::MappingStart(..) => {
                let path = begin_node(&mut levels, &mut lines, line);
                levels.push(Level::Mapping(path, None));
            }
            Event::SequenceStart(..) => {
                let path = begin_node(&mut levels, &mut lines, line);
                levels.push(Level::List(path, 0));
            }
            Event::MappingEnd | Event::SequenceEnd => {
                levels.pop();
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            // Comments, in versions of the parser that tell them.
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }
    lines
}

/// The path of the node that begins, which is the value of the key before it, or the next in a list.
fn begin_node(levels: &mut [Level], lines: &mut HashMap<String, usize>, line: usize) -> String {
    match levels.last_mut() {
        None => String::new(),
        Some(Level::Mapping(path, key)) => {
            let key = key.take().unwrap_or_default();
            if path.is_empty() { key } else { format!("{path}.{key}") }
        }
        Some(Level::List(path, count)) => {
            let path = format!("{path}[{count}]");
            *count += 1;
            lines.entry(path.clone()).or_insert(line);
            path
        }
    }
}
