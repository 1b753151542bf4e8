//! A disk of a test's own: an ext4 file system in a file, which can be filled, run out of inodes, become read-only,
//! stall, and lose its power.

use super::skip;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A small disk. Dropping it takes it down.
pub struct SmallDisk {
    folder: TempDir,
}

/// A disk that does not answer, until this is dropped: whoever writes to it sleeps in the kernel, where not even SIGKILL
/// reaches.
pub struct Frozen<'a>(&'a SmallDisk);

impl SmallDisk {
    /// `None` where loop devices, mounting or freezing is not allowed, which is said.
    pub fn mount(mebibytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self { folder };
        File::create(disk.image()).unwrap().set_len(mebibytes << 20).unwrap();
        // Nothing is reserved for root, who runs the tests that may mount; few inodes are soon used up.
        let made = run("mkfs.ext4", &["-q", "-F", "-m", "0", "-N", "256", disk.image().to_str().unwrap()]);
        if !made {
            skip("this machine does not allow to make a file system");
            return None;
        }
        disk.attach().filter(Self::try_freeze)
    }

    fn attach(self) -> Option<Self> {
        fs::create_dir(self.path()).unwrap();
        if run("mount", &["-o", "loop", self.image().to_str().unwrap(), self.path().to_str().unwrap()]) {
            return Some(self);
        }
        skip("this machine does not allow to mount a small disk");
        None
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// The disk that is found when the power is cut now: what has not reached the medium is gone.
    pub fn after_power_cut(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self { folder };
        fs::copy(self.image(), disk.image()).unwrap();
        disk.attach().expect("this disk was mounted as well")
    }

    /// What is on the medium now, to be restored later.
    pub fn snapshot(&self) -> PathBuf {
        let snapshot = self.folder.path().join("snapshot");
        fs::copy(self.image(), &snapshot).unwrap();
        snapshot
    }

    /// Unmounts the disk, which writes everything back, and mounts it again.
    pub fn remount(&self) {
        assert!(run("umount", &[self.path().to_str().unwrap()]));
        assert!(run("mount", &["-o", "loop", self.image().to_str().unwrap(), self.path().to_str().unwrap()]));
    }

    /// Takes the disk away and puts it back in its place with what a snapshot holds.
    pub fn restore(&self, snapshot: &Path) {
        assert!(run("umount", &[self.path().to_str().unwrap()]));
        fs::rename(snapshot, self.image()).unwrap();
        assert!(run("mount", &["-o", "loop", self.image().to_str().unwrap(), self.path().to_str().unwrap()]));
    }

    /// Fills the disk to the last byte.
    pub fn fill(&self) {
        self.fill_but(0);
    }

    /// Fills the disk but for so many bytes.
    pub fn fill_but(&self, room: usize) {
        let reserve = self.path().join("reserve");
        fs::write(&reserve, vec![0xff; room]).unwrap();
        self.fill_up();
        fs::remove_file(reserve).unwrap();
    }

    fn fill_up(&self) {
        let mut left = 1 << 20;
        let mut filler = Vec::new();
        // What does not fit is cut: smaller and smaller pieces find the end.
        while left > 0 {
            filler.resize(left, 0xff);
            let file = self.filler();
            if fs::write(&file, &filler).is_err() {
                let _ = fs::remove_file(file);
                left /= 2;
            }
        }
    }

    /// Uses up all inodes: no file can be made any more.
    pub fn use_up_inodes(&self) {
        while File::create(self.filler()).is_ok() {}
    }

    /// Gives the space and the inodes back.
    pub fn free(&self) {
        for entry in fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("filler") {
                fs::remove_file(path).unwrap();
            }
        }
    }

    /// Makes the disk read-only, as the kernel does when it fails. Nobody must have a file open for writing.
    pub fn make_read_only(&self) {
        assert!(run("mount", &["-o", "remount,ro", self.path().to_str().unwrap()]));
    }

    pub fn make_writable(&self) {
        assert!(run("mount", &["-o", "remount,rw", self.path().to_str().unwrap()]));
    }

    /// Has the disk take nothing and not answer.
    pub fn freeze(&self) -> Frozen<'_> {
        assert!(run("fsfreeze", &["-f", self.path().to_str().unwrap()]));
        Frozen(self)
    }

    fn try_freeze(&self) -> bool {
        let path = self.path();
        let frozen =
            run("fsfreeze", &["-f", path.to_str().unwrap()]) && run("fsfreeze", &["-u", path.to_str().unwrap()]);
        if !frozen {
            skip("this machine does not allow to freeze a disk");
        }
        frozen
    }

    fn filler(&self) -> PathBuf {
        self.path().join(format!("filler-{:016x}", fastrand::u64(..)))
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run("fsfreeze", &["-u", self.0.path().to_str().unwrap()]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", self.path().to_str().unwrap()]);
    }
}
