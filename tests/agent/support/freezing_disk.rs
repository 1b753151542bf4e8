//! A disk that a test can freeze, so that it takes writes and does not answer.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// An ext4 file system in a file. Dropping it takes it down.
pub struct FreezingDisk {
    folder: TempDir,
}

/// A disk that does not answer, until this is dropped.
pub struct Frozen<'a>(&'a Path);

impl FreezingDisk {
    /// `None` where loop devices, mounting or freezing is not allowed, which is said.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let disk = Self { folder };
        std::fs::create_dir(disk.path()).unwrap();
        let made = run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()])
            && run("mount", &["-o", "loop", image.to_str().unwrap(), disk.path().to_str().unwrap()]);
        if made && disk.try_freeze().is_some() {
            return Some(disk);
        }
        println!("skipped: this machine does not allow to mount and freeze a disk");
        None
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("disk")
    }

    fn try_freeze(&self) -> Option<()> {
        let path = self.path();
        let frozen = run("fsfreeze", &["-f", path.to_str().unwrap()]);
        (frozen && run("fsfreeze", &["-u", path.to_str().unwrap()])).then_some(())
    }
}

/// Freezes a disk: whoever writes to it sleeps in the kernel, where not even SIGKILL reaches.
pub fn freeze(path: &Path) -> Frozen<'_> {
    assert!(run("fsfreeze", &["-f", path.to_str().unwrap()]));
    Frozen(path)
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run("fsfreeze", &["-u", self.0.to_str().unwrap()]);
    }
}

impl Drop for FreezingDisk {
    fn drop(&mut self) {
        run("umount", &["-l", self.path().to_str().unwrap()]);
    }
}
