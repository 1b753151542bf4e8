//! Whether somebody holds a spool's folder, asked without a lock: one that is taken to ask would keep an agent from starting.

use rustix::fs::{major, minor};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The kernel's list of locks (proc(5)).
const LOCKS: &str = "/proc/locks";
/// What an agent's process is called.
const NAME: &str = "packhorse";

/// Who holds a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    /// A process: its id.
    Process(u32),
    /// The system does not tell.
    Unknown,
}

impl Holder {
    /// Who holds this folder now: it, or the file `lock` in it.
    #[must_use]
    pub fn of(directory: &Path) -> Holder {
        let Ok(locks) = fs::read(LOCKS) else { return Holder::Unknown };
        let names = [directory.to_owned(), directory.join("lock")];
        let files: Vec<[u64; 3]> = names.iter().filter_map(|name| identity(name)).collect();
        if files.is_empty() {
            return Holder::Unknown;
        }
        find(&String::from_utf8_lossy(&locks), &files, is_ours).map_or(Holder::Nobody, Holder::Process)
    }

    /// The process that is seen to hold it.
    #[must_use]
    pub fn process(self) -> Option<u32> {
        match self {
            Holder::Process(process) => Some(process),
            Holder::Nobody | Holder::Unknown => None,
        }
    }

    /// Whether what is read may change meanwhile.
    #[must_use]
    pub fn may_write(self) -> bool {
        self != Holder::Nobody
    }
}

/// Device, major and minor, and inode.
fn identity(name: &Path) -> Option<[u64; 3]> {
    let metadata = fs::metadata(name).ok()?;
    Some([major(metadata.dev()).into(), minor(metadata.dev()).into(), metadata.ino()])
}

fn is_ours(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim_end() == NAME)
}

/// The process that has locked one of these files. Some file systems (btrfs, overlays) give files another device than the
/// kernel's list has: there the inode counts where `is_agent` says so of the process.
fn find(locks: &str, files: &[[u64; 3]], is_agent: impl Fn(u32) -> bool) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // `1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF`; one that waits for it has `->` behind the number.
        let [_, "FLOCK", _, _, process, file, ..] = fields[..] else { return None };
        let mut parts = file.split(':');
        let hexadecimal = |part: Option<&str>| u64::from_str_radix(part?, 16).ok();
        let device = [hexadecimal(parts.next())?, hexadecimal(parts.next())?];
        let inode: u64 = parts.next()?.parse().ok()?;
        let process: u32 = process.parse().ok()?;
        let is_it =
            |[major, minor, number]: &[u64; 3]| *number == inode && ([*major, *minor] == device || is_agent(process));
        files.iter().any(is_it).then_some(process)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::tests::{config, folder, open};

    #[test]
    fn the_process_that_holds_the_folder_is_found_and_nobody_else() {
        let (folder, other) = (folder(), folder());
        assert_eq!(Holder::of(folder.path()), Holder::Nobody);

        let spool = open(&config(folder.path())).unwrap();

        assert_eq!(Holder::of(folder.path()), Holder::Process(std::process::id()));
        assert_eq!(Holder::of(other.path()), Holder::Nobody);
        drop(spool);
        assert_eq!(Holder::of(folder.path()), Holder::Nobody);
        assert_eq!(Holder::of(&folder.path().join("absent")), Holder::Unknown);
    }

    #[test]
    fn a_lock_counts_by_its_file_and_where_the_device_differs_by_its_process() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fd:01:50 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 fd:01:50 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 fd:01:60 0 EOF\nrubbish\n3: FLOCK a b c d:e:f\n";
        assert_eq!(find(locks, &[[0xfd, 1, 50]], |_| false), Some(8));
        assert_eq!(find(locks, &[[0, 33, 50]], |_| false), None);
        assert_eq!(find(locks, &[[0, 33, 50]], |process| process == 8), Some(8));
        assert_eq!(find(locks, &[[0xfd, 1, 60], [0xfd, 1, 51]], |_| true), None);
    }
}
