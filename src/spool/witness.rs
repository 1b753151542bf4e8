//! What vouches for the exchanges outside the spool's folder, in memory that a reboot clears.
//!
//! A disk that was taken away without being unmounted comes back with what it had been given by then, and a folder that
//! was restored from a copy or a snapshot holds what it held earlier. The files alone tell neither from what the killed
//! process left. So a number made from all that the exchanges say is kept in another place, and changes with them: before
//! a change is written the witness names the exchanges before and after it, and afterwards the latter only. A process that
//! is killed in between leaves one or the other.

use crate::own;
use log::{debug, warn};
use rustix::process::geteuid;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Boot id (4), the two states (16), checksum (4).
const SIZE: usize = 24;

/// A number made from all that the exchanges say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State(u64);

impl State {
    /// One made from numbers.
    pub fn of(numbers: &[u64]) -> State {
        // SplitMix64's steps, one for each number.
        State(numbers.iter().fold(0, |state, number| super::sector::mix(state ^ number)))
    }

    /// With something more in it.
    #[must_use]
    pub fn with(self, part: State) -> State {
        State(self.0.wrapping_add(part.0))
    }

    /// Without something that is in it.
    #[must_use]
    pub fn without(self, part: State) -> State {
        State(self.0.wrapping_sub(part.0))
    }
}

/// What a witness says of exchanges that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// They are what the last process of this boot left.
    Same,
    /// They are not.
    Others,
    /// It knows nothing of this boot.
    Nothing,
}

/// A small file in memory. Where there is no place for one it knows nothing.
#[derive(Debug)]
pub struct Witness {
    file: Option<File>,
    boot_id: u32,
}

impl Witness {
    /// That of the spool in a folder, in the service's folder for the time that it runs, else in `/dev/shm`.
    pub fn of(spool: &Path, boot_id: u32) -> Witness {
        // The service manager names several with colons between them (systemd.exec(5)).
        let service = std::env::var_os("RUNTIME_DIRECTORY");
        let service = service.as_deref().and_then(|folders| folders.as_bytes().split(|byte| *byte == b':').next());
        let service = service.map(|folder| PathBuf::from(std::ffi::OsStr::from_bytes(folder)));
        let places = service.into_iter().chain(["/dev/shm", "/run"].map(PathBuf::from));
        let name = name(spool);
        match places.filter(|place| place.is_dir()).find_map(|place| keep(&place.join(&name))) {
            Some(file) => Witness { file: Some(file), boot_id },
            None => {
                warn!("no place in memory for what is in flight at QoS 2; it may be repeated after a kill");
                Witness { file: None, boot_id }
            }
        }
    }

    /// One in this file.
    #[cfg(test)]
    pub fn at(path: &Path, boot_id: u32) -> Witness {
        Witness { file: keep(path), boot_id }
    }

    /// What it says of exchanges that were found.
    pub fn word(&self, found: Option<State>) -> Word {
        let Some(states) = self.read() else { return Word::Nothing };
        if found.is_some_and(|found| states.contains(&found)) { Word::Same } else { Word::Others }
    }

    /// From here on the exchanges are in the one state or in the other. A witness that cannot be told so is no harm: it
    /// does not vouch for what it was not told.
    pub fn expect(&self, before: State, after: State) {
        let Some(file) = &self.file else { return };
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&self.boot_id.to_le_bytes());
        bytes[4..12].copy_from_slice(&before.0.to_le_bytes());
        bytes[12..20].copy_from_slice(&after.0.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..20]);
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        if let Err(error) = file.write_all_at(&bytes, 0) {
            debug!("cannot keep in memory what is in flight at QoS 2; it may be repeated after a kill error={error}");
        }
    }

    fn read(&self) -> Option<[State; 2]> {
        let mut bytes = [0; SIZE];
        self.file.as_ref()?.read_exact_at(&mut bytes, 0).ok()?;
        let number = |at: usize| super::record::u64_at(&bytes, at);
        let [boot_id, sum] = [0, 20].map(|at| super::record::u32_at(&bytes, at));
        (boot_id == self.boot_id && crc32c::crc32c(&bytes[..20]) == sum).then(|| [State(number(4)), State(number(12))])
    }
}

/// A name that only this spool's witness has.
fn name(spool: &Path) -> String {
    let spool = spool.canonicalize().unwrap_or_else(|_| spool.to_owned());
    let numbers: Vec<u64> = spool.as_os_str().as_bytes().iter().map(|byte| u64::from(*byte)).collect();
    format!("packhorse-{}-{:016x}", geteuid().as_raw(), State::of(&numbers).0)
}

/// Opens a file, or creates it; `None`: it cannot be, or is another user's.
fn keep(path: &Path) -> Option<File> {
    let file = own::keep(path).inspect_err(|error| debug!("cannot use file={} error={error}", path.display())).ok()?;
    file.metadata().is_ok_and(|metadata| metadata.uid() == geteuid().as_raw()).then_some(file)
}
