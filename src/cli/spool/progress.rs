//! How far a long work is, in one line that is drawn again: only on a terminal, and on standard error.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

/// Nothing is shown before, and no more often.
const EVERY: Duration = Duration::from_millis(200);
/// Messages between two looks at the clock.
const STRIDE: u64 = 1024;

/// Shows how many messages of how many were read.
#[derive(Debug)]
pub struct Progress {
    all: u64,
    read: u64,
    /// When it is shown next; `None`: never.
    due: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Of so many messages, of which nothing is printed before the end, or into a file.
    pub fn of(all: u64) -> Self {
        let due = stderr().is_terminal().then(|| Instant::now() + EVERY);
        Self { all, read: 0, due, is_shown: false }
    }

    /// As [`Progress::of`], beside what is printed: not where both would share a terminal.
    pub fn beside_output(all: u64) -> Self {
        let mut progress = Self::of(all);
        progress.due = progress.due.filter(|_| !stdout().is_terminal());
        progress
    }

    /// One more was read.
    pub fn step(&mut self) {
        self.read += 1;
        if !self.read.is_multiple_of(STRIDE) {
            return;
        }
        let now = Instant::now();
        if self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + EVERY);
            self.is_shown = true;
            let percent = self.read.min(self.all) * 100 / self.all.max(1);
            // That nobody sees it is no reason to stop.
            let _ = write!(stderr(), "\r{} of {} messages, {percent} %  ", self.read, self.all);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
