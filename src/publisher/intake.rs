//! The way from the channel into the spool, and what to do while the disk fails.

use super::disk::Access;
use crate::delivery::{Dropped, Tally};
use crate::message::{Sample, Seq};
use crate::spool::{Appended, Spool};
use crate::status::Counters;
use crossbeam_channel::{Receiver, never};
use log::{Level, debug, info, log};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Instant;

/// Samples that are taken into one batch at most: bounds memory and the time that one flush serves.
const BATCH: usize = 1024;

/// Takes samples from the channel; holds those that the disk did not take yet.
#[derive(Debug)]
pub struct Intake {
    samples: Receiver<Sample>,
    /// The channels that take the place of `samples`, each once the one before is closed and empty.
    next: VecDeque<Receiver<Sample>>,
    nothing: Receiver<Sample>,
    /// Taken from the channel, not yet in the spool.
    waiting: VecDeque<Sample>,
    /// Samples that are held at most while the disk fails.
    capacity: usize,
    disk: Access,
    full: Full,
}

/// What was dropped because the spool is full.
#[derive(Debug, Default)]
struct Full {
    oldest: Tally,
    /// They had no seq yet: where they lie is behind the last message of the spool.
    newest: Tally,
}

impl Intake {
    pub fn new(samples: Receiver<Sample>, capacity: usize) -> Self {
        let disk = Access::new("write the spool");
        let (next, waiting) = (VecDeque::new(), VecDeque::new());
        Self { samples, next, nothing: never(), waiting, capacity, disk, full: Full::default() }
    }

    /// Another channel follows once the present one is closed and empty. `capacity` is that of the other one.
    pub fn follow(&mut self, samples: Receiver<Sample>, capacity: usize) {
        self.next.push_back(samples);
        self.capacity = capacity;
    }

    /// Notes that the present channel is closed and empty; whether there is another one.
    pub fn turn_to_next(&mut self) -> bool {
        self.next.pop_front().map(|samples| self.samples = samples).is_some()
    }

    /// What to wait on: the channel, or nothing while the disk fails and no more can be held.
    pub fn samples(&self) -> &Receiver<Sample> {
        if self.waiting.len() < self.capacity { &self.samples } else { &self.nothing }
    }

    /// How many samples wait, in the channel or here.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.waiting.len() + self.samples.len()
    }

    /// Takes what [`Intake::samples`] gave.
    pub fn push(&mut self, sample: Sample) {
        self.waiting.push_back(sample);
    }

    /// When the spool or the disk has to be looked after. `turned`: when that was done last.
    pub fn deadline(&self, spool: &Spool, turned: Instant) -> Option<Instant> {
        let due = if self.waiting.is_empty() { spool.commit_due(turned) } else { Some(turned) };
        match (due, self.disk.retry_at()) {
            (Some(due), Some(retry)) => Some(due.max(retry)),
            (due, _) => due,
        }
    }

    /// Puts what waits into the spool, with all that is in the channel, and commits when that is due; the messages
    /// that were dropped to make room.
    pub fn spool_waiting(
        &mut self,
        spool: &mut Spool,
        in_flight: Option<RangeInclusive<Seq>>,
        counters: &Counters,
        now: Instant,
    ) -> Vec<RangeInclusive<Seq>> {
        if !self.disk.is_due(now) {
            return Vec::new();
        }
        if self.disk.is_failing() && spool.commit_due(now).is_some() && self.commit(spool, counters).is_err() {
            // What the spool holds already is enough to try with; the rest can still take another way.
            return Vec::new();
        }
        let room = self.capacity.min(BATCH).saturating_sub(self.waiting.len());
        self.waiting.extend(self.samples.try_iter().take(room));
        let dropped = self.append(spool, in_flight, counters, now);
        if spool.commit_due(now).is_some_and(|due| due <= now) {
            // The failure is in the log, and the next call tries again.
            let _ = self.commit(spool, counters);
        }
        dropped
    }

    /// Whether the disk fails.
    pub fn is_failing(&self) -> bool {
        self.disk.is_failing()
    }

    /// The oldest sample that the spool did not take, to be published from memory.
    pub fn take_oldest(&mut self) -> Option<Sample> {
        self.waiting.pop_front()
    }

    /// Takes samples back that were not published from memory, in order.
    pub fn give_back(&mut self, samples: Vec<Sample>) {
        samples.into_iter().rev().for_each(|sample| self.waiting.push_front(sample));
    }

    /// Puts everything that is left into the spool and makes it durable, whatever the disk did before. What is finished
    /// is made durable as well, whether the samples could be saved or not.
    ///
    /// # Errors
    /// What the disk says. Trying again is right.
    pub fn save_rest(
        &mut self,
        spool: &mut Spool,
        in_flight: Option<RangeInclusive<Seq>>,
        counters: &Counters,
        now: Instant,
    ) -> Result<(), String> {
        self.waiting.extend(self.samples.try_iter().chain(self.next.iter().flat_map(Receiver::try_iter)));
        // What is dropped to make room is not sent any more: nothing is sent but what is in flight.
        self.append(spool, in_flight, counters, now);
        let committed = self.commit(spool, counters);
        let synced = spool.sync_journal().map_err(|error| error.to_string());
        if !self.waiting.is_empty() {
            return Err(format!("{} samples not taken", self.waiting.len()));
        }
        committed.and(synced)
    }

    fn append(
        &mut self,
        spool: &mut Spool,
        in_flight: Option<RangeInclusive<Seq>>,
        counters: &Counters,
        now: Instant,
    ) -> Vec<RangeInclusive<Seq>> {
        if (self.full.oldest.is_on() || self.full.newest.is_on()) && spool.waiting() == 0 {
            self.full.tell(Tally::ended);
            info!("spool has drained; it was full");
        }
        self.full.tell(|tally| tally.look(now));
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let appended = spool.append(self.waiting.make_contiguous(), in_flight.as_ref(), now);
        self.waiting.drain(..appended.taken);
        self.count_dropped(&appended, spool, counters, now);
        if let Some(error) = appended.error {
            self.disk.failed(&error);
        }
        appended.dropped_oldest
    }

    fn count_dropped(&mut self, appended: &Appended, spool: &Spool, counters: &Counters, now: Instant) {
        for range in &appended.dropped_oldest {
            let count = range.end().0 - range.start().0 + 1;
            counters.dropped_spool_full.add(count);
            self.full.oldest.add(count, range);
        }
        counters.dropped_spool_full.add(appended.dropped_newest);
        let last = Seq(spool.next_seq().0 - 1);
        self.full.newest.add(appended.dropped_newest, &(last..=last));
        self.full.tell(|tally| tally.look(now));
    }

    /// Tells what was not told of the messages dropped: nothing follows.
    pub fn tell_rest(&mut self) {
        self.full.tell(Tally::ended);
    }

    fn commit(&mut self, spool: &mut Spool, counters: &Counters) -> Result<(), String> {
        match spool.commit() {
            Ok(Some(accepted)) => {
                let (first, last) = (accepted.start(), accepted.end());
                counters.accepted.add(last.0 - first.0 + 1);
                debug!("accepted stream={} seq={first}..{last}", spool.stream());
                if self.waiting.is_empty() {
                    self.disk.worked();
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.disk.failed(&error);
                Err(error.to_string())
            }
        }
    }
}

impl Full {
    /// Tells what `look` has to tell.
    fn tell(&mut self, mut look: impl FnMut(&mut Tally) -> Option<Dropped>) {
        for (tally, which) in
            [(&mut self.oldest, "oldest messages dropped"), (&mut self.newest, "newest dropped behind")]
        {
            let level = if tally.is_new() { Level::Warn } else { Level::Info };
            if let Some(dropped) = look(tally) {
                log!(level, "spool full; {which} {dropped}");
            }
        }
    }
}
