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
    let files = folder.read_dir().into_iter().flatten().flatten();
    let own = files.filter_map(|file| Some(file.metadata().ok()?.len())).fold(0, u64::saturating_add);
    of_blocks([disk.f_blocks, disk.f_bavail], disk.f_frsize, own)
}

/// The space of a disk that has so many blocks in all, and so many free ones, where the spool has `own` bytes.
fn of_blocks([all, free]: [u64; 2], size: u64, own: u64) -> Option<Space> {
    // Some file systems of the network tell nothing.
    let total = all.checked_mul(size).filter(|total| *total > 0)?;
    // More cannot be free than there is, whatever the file system says.
    Some(Space { total, usable: (free.min(all) * size).saturating_add(own) })
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
    fn no_more_of_a_disk_is_free_than_there_is() {
        // Where more is used than the user may, some file systems tell a negative number of free blocks.
        for (blocks, expected) in [
            ([u64::MAX, 1], None),
            ([0, 0], None),
            ([1000, 500], Some((4096 * 1000, 4096 * 500 + 7))),
            ([1000, u64::MAX - 3], Some((4096 * 1000, 4096 * 1000 + 7))),
        ] {
            let space = of_blocks(blocks, 4096, 7).map(|space| (space.total, space.usable));

            assert_eq!(space, expected, "{blocks:?}");
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
