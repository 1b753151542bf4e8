//! What is wrong with a configuration, told so that its author can put it right without reading the source.

use crate::foreign;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1; `None` when the file could not be read at all.
    pub line: Option<usize>,
    /// Dotted, as in `telemetry.sources[1].interval`; empty when no key is to blame.
    pub key: String,
    /// What was found and what is allowed.
    pub message: String,
}

/// All that is wrong with a configuration: never empty, in the order of the lines. Displayed as one line each,
/// `FILE:LINE: KEY: MESSAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
    /// What works beside them, but is probably not meant. It is not displayed.
    warnings: Vec<Problem>,
}

impl Problems {
    /// `Ok` when there are none.
    ///
    /// # Errors
    ///
    /// The problems of `list`, when there are any.
    pub fn none_of(file: &Path, mut list: Vec<Problem>) -> Result<(), Problems> {
        if list.is_empty() {
            return Ok(());
        }
        list.sort_by_key(|problem| problem.line);
        Err(Problems { file: file.to_owned(), list, warnings: Vec::new() })
    }

    /// A single one.
    #[must_use]
    pub fn one(file: &Path, problem: Problem) -> Problems {
        Problems { file: file.to_owned(), list: vec![problem], warnings: Vec::new() }
    }

    /// These and more.
    #[must_use]
    pub fn with(mut self, more: Vec<Problem>) -> Problems {
        self.list.extend(more);
        self.list.sort_by_key(|problem| problem.line);
        self
    }

    /// These, and what works beside them.
    #[must_use]
    pub fn beside(self, warnings: Vec<Problem>) -> Problems {
        Problems { warnings, ..self }
    }

    /// What works beside them, but is probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The file that they were found in.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Problems> for Vec<Problem> {
    fn from(problems: Problems) -> Self {
        problems.list
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.list.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{problem}", foreign::path(&self.file))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// `LINE: KEY: MESSAGE`; the file's name is the list's to say.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        f.write_str(" ")?;
        // What stands behind `password:` would be taken for one, and nobody would see what is wrong with the key.
        match foreign::secret_at(&format!("{}:", self.key)) {
            _ if self.key.is_empty() => {}
            None => write!(f, "{}: ", self.key)?,
            Some(_) => write!(f, "`{}`: ", self.key)?,
        }
        f.write_str(&self.message)
    }
}
