//! When threads waited for the disk, for deadlines that this must not use up. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Stalls that are remembered: the oldest are the first that no message in flight has seen.
const MOST: usize = 1024;

/// The stalls that no deadline was moved for.
#[derive(Debug, Default)]
pub struct Stalls {
    /// When each ended, and how long it took, in order.
    ended: VecDeque<(Instant, Duration)>,
}

impl Stalls {
    /// What takes longer than this waits for the disk: writing into memory takes microseconds.
    pub const SHORTEST: Duration = Duration::from_millis(100);

    /// Remembers a stall that ends now.
    pub fn note(&mut self, took: Duration, now: Instant) {
        if self.ended.len() == MOST {
            self.ended.pop_front();
        }
        self.ended.push_back((now, took));
    }

    /// How long the stalls took from `since` on; forgets all of them.
    pub fn take_since(&mut self, since: Instant) -> Duration {
        self.ended.drain(..).map(|(end, took)| took.min(end.saturating_duration_since(since))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_since_the_oldest_message_in_flight_counts_and_it_counts_once() {
        let (mut stalls, start) = (Stalls::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        stalls.note(Duration::from_secs(30), after(100));
        stalls.note(Duration::from_secs(4), after(202));
        stalls.note(Duration::from_secs(3), after(210));

        assert_eq!(stalls.take_since(after(200)), Duration::from_secs(2 + 3));
        assert_eq!(stalls.take_since(after(200)), Duration::ZERO);
    }

    #[test]
    fn the_newest_stalls_are_remembered_however_many_there_are() {
        let (mut stalls, start) = (Stalls::default(), Instant::now());
        (0..5000).for_each(|second| stalls.note(Duration::from_millis(50), start + Duration::from_secs(second)));

        assert_eq!(stalls.ended.len(), MOST);
        assert_eq!(stalls.take_since(start + Duration::from_secs(4998)), Duration::from_millis(50));
    }
}
