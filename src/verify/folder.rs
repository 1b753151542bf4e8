//! The folder of a test: nobody else may look into it, and it goes with the test.

use super::trouble::Trouble;
use crate::foreign;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A folder that is removed when this is dropped, unless it is kept.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// A new folder of this name in `directory`.
    ///
    /// # Errors
    /// The system's. A name that is taken is one: it may be somebody else's.
    pub fn make(directory: &Path, name: &str) -> Result<Self, Trouble> {
        let path = directory.join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Trouble::Spool(format!("no folder {} for the test: {error}", foreign::path(&path))))?;
        Ok(Self { path, is_kept: false })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is, for who wants to know what happened.
    pub fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        std::mem::take(&mut self.path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left there is of no use to anybody.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
