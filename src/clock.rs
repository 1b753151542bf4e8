//! The clocks that a sample is stamped with.

use crate::message::Stamp;
use chrono::{DateTime, SecondsFormat, Utc};
use rustix::time::{ClockId, clock_gettime};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::time::{Duration, Instant};

/// The present moment by the monotonic clock. Tests run whole gateways by a clock of their own.
#[must_use]
pub fn instant() -> Instant {
    #[cfg(test)]
    if let Some((at, _)) = virtual_time::now() {
        return at;
    }
    Instant::now()
}

/// Waits for a while, by the same clock.
pub fn sleep(time: Duration) {
    #[cfg(test)]
    if let Some((at, _)) = virtual_time::now() {
        return virtual_time::advance_to(at + time);
    }
    std::thread::sleep(time);
}

/// The clock of a simulation: one for each thread, for tests.
#[cfg(test)]
pub mod virtual_time {
    use super::Reading;
    use std::cell::{Cell, RefCell};
    use std::time::{Duration, Instant};

    thread_local! {
        static NOW: Cell<Option<Now>> = const { Cell::new(None) };
        static COSTS: RefCell<Option<fastrand::Rng>> = const { RefCell::new(None) };
    }

    /// When the clocks were set, what they said then, and the present moment.
    #[derive(Clone, Copy)]
    struct Now {
        set: Instant,
        reading: Reading,
        at: Instant,
    }

    /// What takes time.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Cost {
        /// A system call that does not wait for the medium.
        Call,
        /// Waiting for the medium, which may be a card that stalls.
        Flush,
    }

    /// The present moment of this thread's simulation; `None`: there is none.
    pub fn now() -> Option<(Instant, Reading)> {
        let Now { set, reading: Reading { wall, boot }, at } = NOW.get()?;
        let passed = u64::try_from((at - set).as_millis()).unwrap();
        Some((at, Reading { wall: wall + i64::try_from(passed).unwrap(), boot: boot + passed }))
    }

    /// Begins a simulation, or sets its clocks.
    pub fn set(at: Instant, reading: Reading) {
        NOW.set(Some(Now { set: at, reading, at }));
    }

    /// Time passes until then.
    pub fn advance_to(at: Instant) {
        NOW.set(NOW.get().map(|now| Now { at: now.at.max(at), ..now }));
    }

    /// Whether what is done takes time from now on, and how much by which random numbers.
    pub fn charge(random: Option<fastrand::Rng>) {
        COSTS.set(random);
    }

    /// Time passes for something that is done.
    pub fn spend(cost: Cost) {
        let took = COSTS.with_borrow_mut(|random| random.as_mut().map(|random| cost.draw(random)));
        if let (Some(took), Some(now)) = (took, NOW.get()) {
            advance_to(now.at + took);
        }
    }

    impl Cost {
        fn draw(self, random: &mut fastrand::Rng) -> Duration {
            let most = match (self, random.u16(..1000)) {
                (Cost::Call, _) => 200,
                (Cost::Flush, 0) => 8_000_000,
                (Cost::Flush, 1..20) => 300_000,
                (Cost::Flush, _) => 10_000,
            };
            Duration::from_micros(random.u64(1..=most))
        }
    }
}

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

    /// The present moment on both clocks, and whether the wall clock is right.
    #[must_use]
    pub fn now(&self) -> Stamp {
        // Asked first: a clock that is set in between must not vouch for what it said before.
        let synchronised = is_synchronised();
        let Reading { wall, boot } = self.read();
        Stamp { wall, boot, boot_id: self.boot_id, synchronised }
    }

    /// The present moment on both clocks.
    #[must_use]
    pub fn read(&self) -> Reading {
        #[cfg(test)]
        if let Some((_, reading)) = virtual_time::now() {
            return reading;
        }
        let boot = clock_gettime(ClockId::Boottime);
        Reading {
            wall: Utc::now().timestamp_millis(),
            boot: u64::try_from(boot.tv_sec * 1000 + boot.tv_nsec / 1_000_000).unwrap_or(0),
        }
    }
}

/// One look at both clocks, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Since 1970-01-01 UTC.
    pub wall: i64,
    /// Since this machine booted.
    pub boot: u64,
}

/// Whether something keeps the wall clock right, as the kernel was told; where the kernel may not be asked (a sandbox),
/// as systemd-timesyncd says by a file.
#[expect(unsafe_code, reason = "a system call that no safe crate has; it only reads")]
#[must_use]
pub fn is_synchronised() -> bool {
    /// adjtimex(2): the clock is not synchronised.
    const TIME_ERROR: i32 = 5;
    // SAFETY: a `timex` is plain numbers, for which zeros are values; no modes means that the kernel changes nothing but it.
    let state = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        libc::adjtimex(&raw mut timex)
    };
    if state < 0 { Path::new("/run/systemd/timesync/synchronized").exists() } else { state != TIME_ERROR }
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
