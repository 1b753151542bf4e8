//! How long a disk that has no room for a segment is waited for, before the oldest messages give way. Pure.
//!
//! Something else may fill the disk for a moment only, and while the backlog drains its segments make room: nothing is
//! dropped then, and what comes waits in memory.

use std::time::{Duration, Instant};

/// What is not in the spool yet does not outlive a power cut, so this is short.
const PATIENCE: Duration = Duration::from_secs(5);

/// A disk that was full when a segment was to be begun, or was not.
#[derive(Debug, Default)]
pub struct FullDisk(Option<Wait>);

#[derive(Debug)]
struct Wait {
    until: Instant,
    /// Messages that were finished when the wait began: another number is progress.
    finished: u64,
    /// Whether messages gave way.
    has_given: bool,
}

impl FullDisk {
    /// Notes that the disk is full, with so many messages finished; whether it has been waited for long enough.
    pub fn was_waited_for(&mut self, finished: u64, now: Instant) -> bool {
        let wait = self.0.get_or_insert(Wait { until: now + PATIENCE, finished, has_given: false });
        if wait.finished != finished {
            (wait.until, wait.finished) = (now + PATIENCE, finished);
        }
        now >= wait.until
    }

    /// Notes that messages gave way, with so many finished by that: it is no progress, and the next ones need no wait.
    /// Whether they are the first since the disk had room.
    pub fn gave_way(&mut self, finished: u64) -> bool {
        self.0.as_mut().is_some_and(|wait| {
            wait.finished = finished;
            !std::mem::replace(&mut wait.has_given, true)
        })
    }

    /// Notes that what gave way made no room: something else has taken it, and would take the next one's too.
    pub fn was_in_vain(&mut self, now: Instant) {
        if let Some(wait) = &mut self.0 {
            wait.until = now + PATIENCE;
        }
    }

    /// Notes that the disk has room.
    pub fn is_over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_gives_way_at_once_or_while_the_backlog_drains() {
        let (mut disk, now) = (FullDisk::default(), Instant::now());

        for second in 0..60 {
            assert!(!disk.was_waited_for(second.into(), now + second * SECOND), "{second}");
        }

        assert!(!disk.was_waited_for(59, now + 63 * SECOND));
        assert!(disk.was_waited_for(59, now + 64 * SECOND));
    }

    #[test]
    fn once_messages_gave_way_the_next_ones_need_no_wait() {
        let (mut disk, now) = (FullDisk::default(), Instant::now());
        disk.was_waited_for(0, now);
        assert!(disk.was_waited_for(0, now + PATIENCE));

        assert!(disk.gave_way(4000));

        assert!(disk.was_waited_for(4000, now + PATIENCE));
        assert!(!disk.gave_way(8000), "others did before");
        disk.is_over();
        assert!(!disk.was_waited_for(8000, now + PATIENCE), "the disk had room in between");
    }

    #[test]
    fn the_next_ones_wait_where_giving_way_was_in_vain() {
        let (mut disk, now) = (FullDisk::default(), Instant::now());
        disk.was_waited_for(0, now);

        disk.gave_way(4000);
        disk.was_in_vain(now + PATIENCE);

        assert!(!disk.was_waited_for(4000, now + PATIENCE + SECOND));
        assert!(disk.was_waited_for(4000, now + 2 * PATIENCE));
    }
}
