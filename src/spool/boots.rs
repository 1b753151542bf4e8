//! When each boot began by the wall clock: what turns the boot clock of a sample into a time, once that is known. A
//! Raspberry Pi has no clock that runs while it is off; until the network has told it the time, its wall clock is wrong.
//!
//! A small file of text, written once in a boot; `docs/spool-format.md` has the layout.

use super::folder;
use super::medium;
use std::io;
use std::path::{Path, PathBuf};

/// How many boots are remembered; a spool that is older than that many boots is not read in order any more.
const REMEMBERED: usize = 64;

/// A line has 40 bytes at most.
const SIZE_MAX: u64 = 64 * REMEMBERED as u64;

/// The beginnings of boots, kept in the spool's folder.
#[derive(Debug)]
pub struct Boots {
    directory: PathBuf,
    /// Boot id, and the wall clock in milliseconds at which its boot clock was zero; the newest last.
    beginnings: Vec<(u32, i64)>,
}

impl Boots {
    /// What is known of the boots of the spool in this folder, beside whoever uses it. What cannot be read is not known.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        Self::read(directory)
    }

    /// What is known of the boots of this spool. What cannot be read is not known.
    pub(super) fn read(directory: &Path) -> Self {
        let text = medium::read(&directory.join("boots"), SIZE_MAX).map(|content| content.bytes).unwrap_or_default();
        let line = |line: &str| {
            let (entry, sum) = line.rsplit_once(' ')?;
            let (id, beginning) = entry.split_once(' ')?;
            let sound = u32::from_str_radix(sum, 16).ok()? == crc32c::crc32c(entry.as_bytes());
            sound.then_some((u32::from_str_radix(id, 16).ok()?, beginning.parse().ok()?))
        };
        let beginnings = String::from_utf8_lossy(&text).lines().filter_map(line).collect();
        Self { directory: directory.to_owned(), beginnings }
    }

    /// Every boot whose beginning is known: boot id, and the wall clock in milliseconds since 1970 at which its boot clock was
    /// zero.
    #[must_use]
    pub fn known(&self) -> &[(u32, i64)] {
        &self.beginnings
    }

    /// The wall clock, in milliseconds since 1970, at which the boot clock of this boot was zero.
    #[must_use]
    pub fn beginning(&self, boot_id: u32) -> Option<i64> {
        self.beginnings.iter().find(|(id, _)| *id == boot_id).map(|(_, beginning)| *beginning)
    }

    /// Notes when a boot began, which is not known yet. It is known when it is on the medium: a message that is sent
    /// again by another process must say the same time.
    ///
    /// # Errors
    /// The medium's.
    pub fn note(&mut self, boot_id: u32, beginning: i64) -> io::Result<()> {
        let mut beginnings = self.beginnings.clone();
        beginnings.push((boot_id, beginning));
        let forgotten = beginnings.len().saturating_sub(REMEMBERED);
        beginnings.drain(..forgotten);
        self.write(&beginnings)?;
        self.beginnings = beginnings;
        Ok(())
    }

    /// Writes the file again where it was taken away.
    ///
    /// # Errors
    /// The medium's.
    pub fn put_back(&self) -> io::Result<()> {
        if self.beginnings.is_empty() || self.directory.join("boots").exists() {
            return Ok(());
        }
        self.write(&self.beginnings)
    }

    fn write(&self, beginnings: &[(u32, i64)]) -> io::Result<()> {
        let line = |(id, beginning): &(u32, i64)| {
            let entry = format!("{id:08x} {beginning}");
            format!("{entry} {:08x}\n", crc32c::crc32c(entry.as_bytes()))
        };
        let text: String = beginnings.iter().map(line).collect();
        folder::replace(&self.directory, "boots", &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_noted_is_known_to_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut boots = Boots::read(folder.path());
        boots.note(7, 1_700_000_000_000).unwrap();
        boots.note(8, -5).unwrap();

        let boots = Boots::read(folder.path());

        assert_eq!([7, 8, 9].map(|id| boots.beginning(id)), [Some(1_700_000_000_000), Some(-5), None]);
    }

    #[test]
    fn the_oldest_boots_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut boots = Boots::read(folder.path());

        (0..100).for_each(|id| boots.note(id, i64::from(id)).unwrap());

        let boots = Boots::read(folder.path());
        assert_eq!([35, 36, 99].map(|id| boots.beginning(id)), [None, Some(36), Some(99)]);
    }

    #[test]
    fn a_flipped_bit_costs_its_line_and_never_changes_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut boots = Boots::read(folder.path());
        (1..4).for_each(|id| boots.note(id, 1_700_000_000_000 + i64::from(id)).unwrap());
        let sound = fs::read(folder.path().join("boots")).unwrap();

        for (byte, bit) in (0..sound.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            let mut damaged = sound.clone();
            damaged[byte] ^= 1 << bit;
            fs::write(folder.path().join("boots"), damaged).unwrap();
            let boots = Boots::read(folder.path());

            let known: Vec<u32> = (1..4).filter(|id| boots.beginning(*id).is_some()).collect();
            assert!(known.iter().all(|id| boots.beginning(*id) == Some(1_700_000_000_000 + i64::from(*id))));
            // A line break that is gone takes two lines with it.
            assert!(!known.is_empty(), "byte {byte} bit {bit}");
        }
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut boots = Boots::read(folder.path());
        boots.note(3, 30).unwrap();
        let sound = fs::read(folder.path().join("boots")).unwrap();
        fs::write(folder.path().join("boots"), [b"\xff\xfe\nzzz 1\n00000002\n".as_slice(), &sound, b"0000"].concat())
            .unwrap();

        assert_eq!(Boots::read(folder.path()).beginning(3), Some(30));
    }
}
