//! A disk that a test can fill.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A file system in memory, of few bytes. Dropping it takes it down.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// `None` where mounting is not allowed, which is said.
    pub fn mount(kibibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kibibytes}k"), "packhorse-test"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { folder });
        }
        println!("skipped: this machine does not allow to mount a small disk");
        None
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills the disk to the last byte.
    pub fn fill(&self) {
        let mut left = 1 << 20;
        let mut filler = Vec::new();
        // What does not fit is cut: smaller and smaller pieces find the end.
        while left > 0 {
            filler.resize(left, 0xff);
            let file = self.path().join(format!("filler-{left}"));
            if fs::write(&file, &filler).is_err() {
                let _ = fs::remove_file(file);
                left /= 2;
            } else {
                fs::rename(&file, self.filler()).unwrap();
            }
        }
    }

    /// Gives the space back.
    pub fn free(&self) {
        for entry in fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("filler") {
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.path().join(format!("filler-{:016x}", fastrand::u64(..)))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
