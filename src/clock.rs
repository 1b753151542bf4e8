//! The clocks that a sample is stamped with.

use crate::message::Stamp;
use chrono::{DateTime, SecondsFormat, Utc};
use rustix::time::{ClockId, clock_gettime};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Reads wall clock and boot clock; knows which boot this is.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    boot_id: u32,
}

impl Clock {
    /// Reads the kernel's boot id once. Where there is none (no `/proc`), each start counts as a boot of its own.
    #[must_use]
    pub fn new() -> Self {
        let id = std::fs::read("/proc/sys/kernel/random/boot_id");
        let id = id.unwrap_or_else(|_| RandomState::new().build_hasher().finish().to_le_bytes().to_vec());
        Self { boot_id: crc32c::crc32c(id.trim_ascii()) }
    }

    /// Names the present boot.
    #[must_use]
    pub fn boot_id(&self) -> u32 {
        self.boot_id
    }

    /// The present moment on both clocks.
    #[must_use]
    pub fn now(&self) -> Stamp {
        let boot = clock_gettime(ClockId::Boottime);
        Stamp {
            wall: Utc::now().timestamp_millis(),
            boot: u64::try_from(boot.tv_sec * 1000 + boot.tv_nsec / 1_000_000).unwrap_or(0),
            boot_id: self.boot_id,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A wall-clock time as `2026-11-21T03:15:01.234Z`. A time that no calendar holds becomes the nearest that one does.
#[must_use]
pub fn rfc3339(wall: i64) -> String {
    let time = DateTime::from_timestamp_millis(wall);
    let nearest = if wall < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    time.unwrap_or(nearest).to_rfc3339_opts(SecondsFormat::Millis, true)
}
