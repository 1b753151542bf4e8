//! Whether the spool's disk has room for the spool.

use crate::config::{Spool, WhenFull};
use crate::foreign;
use bytesize::ByteSize;
use std::path::Path;

/// The space of a disk, in bytes.
#[derive(Debug, Clone, Copy)]
struct Space {
    /// All of it.
    total: u64,
    /// What is free, or is the spool's already.
    usable: u64,
}

/// What there is to say about the disk of this spool, in one sentence; `None` where it has room, or does not tell.
pub fn of_disk(spool: &Spool) -> Option<String> {
    let space = space(&spool.directory)?;
    let said = judge(space, spool)?;
    Some(format!("`{}` {said}", foreign::path(&spool.directory)))
}

fn judge(Space { total, usable }: Space, spool: &Spool) -> Option<String> {
    let limit = spool.max_size;
    let [has, wanted] = [if total < limit { total } else { usable }, limit].map(ByteSize::b);
    let what = match (total < limit, usable < limit) {
        (true, _) => format!("is on a disk of {has}"),
        (false, true) => format!("is on a disk that has room for {has}"),
        (false, false) => return None,
    };
    let follows = match spool.when_full {
        WhenFull::DropOldest => "the oldest messages give way when the disk is full",
        WhenFull::DropNewest => "what does not fit waits in memory, and then the newest is dropped",
    };
    Some(format!("{what}, less than `spool.max_size` ({wanted}): {follows}"))
}

/// The space of the disk that the folder is on, or will be.
fn space(folder: &Path) -> Option<Space> {
    let nearest =
        |folder: &Path| rustix::fs::statvfs(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let disk = folder.ancestors().find_map(|folder| nearest(folder).ok())?;
    // Some file systems of the network tell nothing.
    let total = disk.f_blocks.checked_mul(disk.f_frsize).filter(|total| *total > 0)?;
    let files = folder.read_dir().into_iter().flatten().flatten();
    let own: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    Some(Space { total, usable: (disk.f_bavail * disk.f_frsize).saturating_add(own) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sync;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_disk_that_is_smaller_than_the_spool_may_become_is_told() {
        let spool = |when_full| Spool {
            directory: "/spool".into(),
            max_size: 256 * MIB,
            max_age: None,
            when_full,
            sync: Sync::Always,
        };
        for (total, usable, when_full, expected) in [
            (8, 7, WhenFull::DropOldest, Some(["disk of 8.0 MiB", "oldest messages give way"])),
            (8, 7, WhenFull::DropNewest, Some(["disk of 8.0 MiB", "newest is dropped"])),
            (1024, 255, WhenFull::DropOldest, Some(["room for 255.0 MiB", "(256.0 MiB)"])),
            (1024, 256, WhenFull::DropOldest, None),
            (256, 256, WhenFull::DropOldest, None),
        ] {
            let said = judge(Space { total: total * MIB, usable: usable * MIB }, &spool(when_full));

            match expected {
                None => assert_eq!(said, None, "{total}, {usable}"),
                Some(expected) => {
                    let said = said.unwrap();
                    assert!(expected.iter().all(|part| said.contains(part)), "{said}");
                }
            }
        }
    }

    #[test]
    fn what_the_spool_has_already_is_its_own_to_use() {
        let folder = tempfile::tempdir().unwrap();
        let before = space(folder.path()).unwrap();

        std::fs::File::create(folder.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();

        assert!(space(folder.path()).unwrap().usable >= before.usable.saturating_add(1 << 39));
        assert_eq!(space(&folder.path().join("not/there/yet")).unwrap().total, before.total);
    }
}
