//! The way from the channel into the spool, and what to do while the disk fails.

use crate::burst::Burst;
use crate::message::{Sample, Seq};
use crate::spool::Spool;
use crate::status::Counters;
use crossbeam_channel::{Receiver, never};
use log::{debug, info, log};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long to leave a failing disk alone.
const RETRY_DISK: Duration = Duration::from_secs(1);
/// Samples that are taken into one batch at most: bounds memory and the time that one flush serves.
const BATCH: usize = 1024;

/// Takes samples from the channel; holds those that the disk did not take yet.
#[derive(Debug)]
pub struct Intake {
    samples: Receiver<Sample>,
    nothing: Receiver<Sample>,
    /// Taken from the channel, not yet in the spool.
    waiting: Vec<Sample>,
    /// Samples that are held at most while the disk fails.
    capacity: usize,
    disk: Burst,
    /// Until then the disk is left alone.
    retry_disk: Option<Instant>,
    full: Burst,
}

impl Intake {
    pub fn new(samples: Receiver<Sample>, capacity: usize) -> Self {
        Self {
            samples,
            nothing: never(),
            waiting: Vec::new(),
            capacity,
            disk: Burst::default(),
            retry_disk: None,
            full: Burst::default(),
        }
    }

    /// What to wait on: the channel, or nothing while the disk fails and no more can be held.
    pub fn samples(&self) -> &Receiver<Sample> {
        if self.waiting.len() < self.capacity { &self.samples } else { &self.nothing }
    }

    /// Takes what [`Intake::samples`] gave.
    pub fn push(&mut self, sample: Sample) {
        self.waiting.push(sample);
    }

    /// When the spool or the disk has to be looked after.
    pub fn deadline(&self, spool: &Spool) -> Option<Instant> {
        let due = if self.waiting.is_empty() { spool.commit_due() } else { Some(Instant::now()) };
        match (due, self.retry_disk) {
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
    ) -> Vec<RangeInclusive<Seq>> {
        let now = Instant::now();
        if self.retry_disk.is_some_and(|retry| now < retry) {
            return Vec::new();
        }
        let room = self.capacity.min(BATCH).saturating_sub(self.waiting.len());
        self.waiting.extend(self.samples.try_iter().take(room));
        let dropped = self.append(spool, in_flight, counters);
        if spool.commit_due().is_some_and(|due| due <= now) {
            self.commit(spool, counters);
        }
        dropped
    }

    /// Puts everything that is left into the spool and makes it durable.
    ///
    /// # Errors
    /// What the disk says. Trying again is right.
    pub fn save_rest(&mut self, spool: &mut Spool, counters: &Counters) -> Result<(), String> {
        self.retry_disk = None;
        self.waiting.extend(self.samples.try_iter());
        self.append(spool, None, counters);
        if !self.waiting.is_empty() {
            return Err(format!("{} samples not taken", self.waiting.len()));
        }
        self.commit(spool, counters);
        spool.sync_journal().map_err(|error| error.to_string())
    }

    /// Notes a failure of the disk and leaves it alone for a while.
    pub fn disk_failed(&mut self, action: &str, error: &str) {
        self.retry_disk = Some(Instant::now() + RETRY_DISK);
        log!(self.disk.failed(), "cannot {action}; trying again in {} s error={error}", RETRY_DISK.as_secs());
    }

    fn append(
        &mut self,
        spool: &mut Spool,
        in_flight: Option<RangeInclusive<Seq>>,
        counters: &Counters,
    ) -> Vec<RangeInclusive<Seq>> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let appended = spool.append(&self.waiting, in_flight.as_ref());
        self.waiting.drain(..appended.taken);
        let oldest: u64 = appended.dropped_oldest.iter().map(|range| range.end().0 - range.start().0 + 1).sum();
        let dropped = oldest + appended.dropped_newest;
        if dropped > 0 {
            counters.dropped_spool_full.add(dropped);
            let which = if oldest > 0 { "oldest" } else { "newest" };
            log!(self.full.failed(), "spool full; {which} messages dropped count={dropped}");
        } else if spool.backlog().messages == 0
            && let Some(times) = self.full.ended()
        {
            info!("spool has room again after dropping {times} times");
        }
        if let Some(error) = appended.error {
            self.disk_failed("write the spool", &error);
        }
        appended.dropped_oldest
    }

    fn commit(&mut self, spool: &mut Spool, counters: &Counters) {
        match spool.commit() {
            Ok(Some(accepted)) => {
                let (first, last) = (accepted.start(), accepted.end());
                counters.accepted.add(last.0 - first.0 + 1);
                debug!("accepted stream={} seq={first}..{last}", spool.stream());
                self.retry_disk = None;
                if let Some(failures) = self.disk.ended() {
                    info!("disk works again after {failures} failures");
                }
            }
            Ok(None) => {}
            Err(error) => self.disk_failed("flush the spool", &error.to_string()),
        }
    }
}
