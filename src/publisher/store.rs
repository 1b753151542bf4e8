//! Where messages are until the broker has them: the spool, and memory past a disk that fails.
//!
//! What the spool does not take is published from memory. Such messages were never accepted: they do not outlive the
//! process. They are of a stream of their own, so that the spool's stream stays without gaps and repeats whatever becomes
//! of them, and are published at QoS 1 at most, for nothing about them can be noted on the disk.

use super::disk::Access;
use super::intake::Intake;
use crate::clock::instant;
use crate::delivery::{Publish, Stalls};
use crate::message::{Message, Qos, Route, Sample, Seq, StreamId};
use crate::spool::{Backlog, Look, Missing, Spool};
use crate::status::Counters;
use crossbeam_channel::Receiver;
use log::{debug, info, warn};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages that are kept in memory while the disk does not take them into `rejected/`. Others stay in the spool, and are
/// tried again by the next process.
const ASIDE_LATER: usize = 100;

/// Messages that are set aside in one turn: a slow card takes a tenth of a second for each.
const SET_ASIDE_AT_ONCE: usize = 10;

/// How often the spool's files are looked after by who is awake anyway. A look costs a dozen system calls.
const LOOK: Duration = Duration::from_secs(1);
/// How long nobody looks at most: it is what a deletion goes unnoticed while nothing else is to be done.
const LATEST_LOOK: Duration = Duration::from_secs(5);

/// The spool and what goes around it.
#[derive(Debug)]
pub struct Store {
    pub spool: Spool,
    pub intake: Intake,
    memory: Memory,
    reading: Access,
    journal: Access,
    flush: Access,
    aside: Access,
    /// Whether the spool's files are where they belong.
    place: Access,
    looked: Instant,
    /// Messages that were lost with files that were taken away.
    lost: u64,
    /// What is to be set aside when the disk takes it.
    aside_later: VecDeque<(Message, String)>,
    /// When the journal waited for the disk.
    stalls: Stalls,
    /// Whether the journal has something to write.
    is_journal_behind: bool,
    /// Messages that were set aside since samples were taken in.
    set_aside: usize,
    counters: Arc<Counters>,
}

/// The way past a disk that fails.
#[derive(Debug)]
struct Memory {
    stream: StreamId,
    next: Seq,
    /// Whether the log says that messages take this way.
    is_reported: bool,
}

impl Store {
    pub fn new(spool: Spool, samples: Receiver<Sample>, capacity: usize, counters: Arc<Counters>) -> Self {
        Self {
            spool,
            intake: Intake::new(samples, capacity),
            memory: Memory { stream: StreamId::random(), next: Seq::FIRST, is_reported: false },
            reading: Access::new("read the spool"),
            journal: Access::new("write the journal"),
            flush: Access::new("flush the journal"),
            aside: Access::new("set messages aside"),
            place: Access::new("put the spool's files back"),
            looked: instant(),
            lost: 0,
            aside_later: VecDeque::new(),
            stalls: Stalls::default(),
            is_journal_behind: false,
            set_aside: 0,
            counters,
        }
    }

    /// When something has to be done. `turned`: when the last turn began.
    pub fn deadline(&self, turned: Instant) -> Option<Instant> {
        let flush = self.spool.repeats_due();
        // A retry that the last turn could make waits until somebody wants what failed.
        let retry = |access: &Access| access.retry_at().filter(|at| *at > turned);
        let deadlines = [
            self.has_set_aside_enough().then_some(turned),
            self.intake.deadline(&self.spool, turned),
            retry(&self.reading),
            retry(&self.journal),
            retry(&self.aside).filter(|_| !self.aside_later.is_empty()),
            flush.map(|due| self.flush.retry_at().map_or(due, |retry| due.max(retry))),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// What waits. It looks at each segment: [`Store::waiting`] tells the messages alone.
    pub fn backlog(&self) -> Backlog {
        self.spool.backlog()
    }

    /// How many messages wait.
    pub fn waiting(&self) -> u64 {
        self.spool.waiting()
    }

    /// Whether so many messages were set aside, each with a flush, that the rest must not hold up a turn any longer.
    pub fn has_set_aside_enough(&self) -> bool {
        self.set_aside >= SET_ASIDE_AT_ONCE
    }

    /// Messages of the spool that wait for the disk to be set aside.
    pub fn rejected_later(&self) -> u64 {
        self.aside_later.len() as u64
    }

    /// Whether the disk fails.
    pub fn is_failing(&self) -> bool {
        self.intake.is_failing()
    }

    /// Takes samples from the channel into the spool, as many as are there: one flush serves them all. The messages that
    /// were dropped to make room.
    pub fn take_in(&mut self, in_flight: Option<RangeInclusive<Seq>>, now: Instant) -> Vec<RangeInclusive<Seq>> {
        self.set_aside = 0;
        let dropped = self.intake.spool_waiting(&mut self.spool, in_flight, &self.counters, now);
        // What was dropped to make room is counted as that.
        self.aside_later.retain(|(message, _)| !dropped.iter().any(|range| range.contains(&message.seq)));
        if !self.is_failing() {
            self.memory.ended();
        }
        dropped
    }

    /// When [`Store::look`] is to be called at the latest.
    pub fn next_look(&self) -> Instant {
        self.place.retry_at().unwrap_or(self.looked + LATEST_LOOK)
    }

    /// Whether somebody who is awake should call [`Store::look`].
    pub fn is_to_look(&self, now: Instant) -> bool {
        // A folder that was taken away is one reason why the disk takes nothing.
        let pause = if self.is_failing() { Duration::ZERO } else { LOOK };
        now >= self.looked + pause && self.place.is_due(now)
    }

    /// Looks whether the spool's files are where they belong; the messages that are lost.
    /// `is_kept`: those that somebody has in memory.
    ///
    /// # Errors
    /// [`Missing::Taken`]. What the disk says is tried again.
    pub fn look(&mut self, is_kept: impl Fn(Seq) -> bool, now: Instant) -> Result<Vec<RangeInclusive<Seq>>, Missing> {
        self.looked = now;
        match self.spool.look(is_kept, now) {
            Ok(Look { lost, is_to_go_on }) => {
                self.place.worked();
                if is_to_go_on {
                    self.looked = now.checked_sub(LATEST_LOOK).unwrap_or(now);
                }
                self.count_lost(&lost);
                Ok(lost)
            }
            Err(Missing::Io(error)) => {
                self.place.failed(&error);
                Ok(Vec::new())
            }
            Err(taken) => Err(taken),
        }
    }

    /// As [`Store::look`], at once, until everything is put back, for a stop.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn put_back(&mut self, is_kept: impl Fn(Seq) -> bool, now: Instant) -> Result<(), Missing> {
        loop {
            let Look { lost, is_to_go_on } = self.spool.look(&is_kept, now)?;
            self.count_lost(&lost);
            if !is_to_go_on {
                return Ok(());
            }
        }
    }

    /// Messages that were lost with files that were taken away.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn count_lost(&mut self, lost: &[RangeInclusive<Seq>]) {
        let count: u64 = lost.iter().map(|range| range.end().0 - range.start().0 + 1).sum();
        self.counters.damaged.add(count);
        self.lost += count;
    }

    /// The next message: of the spool, or from memory when the spool has no more and the disk fails.
    pub fn read(&mut self, now: Instant) -> Option<(Publish, Message)> {
        if let Some(message) = self.read_spool(now) {
            return Some((Publish::Message(message.seq), message));
        }
        let sample = self.is_failing().then(|| self.intake.take_oldest()).flatten()?;
        let message = self.memory.message(sample);
        Some((Publish::Bypass(message.seq), message))
    }

    /// The next message of the spool.
    pub fn read_spool(&mut self, now: Instant) -> Option<Message> {
        if !self.reading.is_due(now) {
            return None;
        }
        let counters = &self.counters;
        match self.spool.next(now, |range| counters.damaged.add(range.end().0 - range.start().0 + 1)) {
            Ok(message) => {
                self.reading.worked();
                message
            }
            Err(error) => {
                self.reading.failed(&error);
                None
            }
        }
    }

    /// Takes messages from memory back, in order, for the spool.
    pub fn give_back(&mut self, messages: Vec<Message>) {
        self.intake.give_back(messages.into_iter().map(|message| message.sample).collect());
    }

    /// A message of the spool has reached its end.
    pub fn finish(&mut self, seq: Seq, now: Instant) {
        self.spool.finish(seq, now);
        self.is_journal_behind = true;
    }

    /// Writes the journal, so that a `kill -9` repeats no more than a window's worth; whether it was written. Comes before
    /// anything more is published.
    pub fn write_journal(&mut self, now: Instant) -> bool {
        if !self.is_journal_behind || !self.journal.is_due(now) {
            return false;
        }
        let begin = instant();
        let trimmed = self.spool.trim();
        let end = instant();
        if end - begin > Stalls::SHORTEST {
            self.stalls.note(end - begin, end);
        }
        match trimmed {
            Ok(()) => {
                self.journal.worked();
                self.is_journal_behind = false;
                true
            }
            Err(error) => {
                self.journal.failed(&error);
                false
            }
        }
    }

    /// How long the journal has waited for the disk since then; each wait is told once.
    pub fn take_stalled(&mut self, since: Instant) -> Duration {
        self.stalls.take_since(since)
    }

    /// Bounds what a power cut repeats.
    pub fn bound_repeats(&mut self, now: Instant) {
        if !self.flush.is_due(now) {
            return;
        }
        match self.spool.bound_repeats(now) {
            Ok(false) => {}
            Ok(true) => self.flush.worked(),
            Err(error) => self.flush.failed(&error),
        }
    }

    /// Keeps a message that the broker will not take in `rejected/`; it is finished by that. While the disk does not take it,
    /// it is passed over: it stays in the spool, and is set aside later or tried again by the next process.
    pub fn set_aside(&mut self, what: Publish, message: Message, reason: String, now: Instant) {
        self.set_aside += 1;
        let (seq, topic) = (message.seq, message.sample.route.topic.clone());
        if what.spooled().is_none() {
            self.counters.rejected.add(1);
            warn!("message from memory refused; dropped seq={seq} topic={topic} reason={reason}");
            return;
        }
        if self.aside.is_due(now) && self.try_to_set_aside(&message, &reason, now) {
            return;
        }
        debug!("message refused, and not set aside seq={seq} topic={topic} reason={reason}");
        if self.aside_later.len() < ASIDE_LATER {
            self.aside_later.push_back((message, reason));
        } else {
            warn!("message refused, and passed over until the next start seq={seq} topic={topic} reason={reason}");
        }
    }

    /// Sets aside what the disk did not take before.
    pub fn set_aside_late(&mut self, now: Instant) {
        while self.aside.is_due(now)
            && let Some((message, reason)) = self.aside_later.pop_front()
        {
            if !self.try_to_set_aside(&message, &reason, now) {
                self.aside_later.push_front((message, reason));
            }
        }
    }

    fn try_to_set_aside(&mut self, message: &Message, reason: &str, now: Instant) -> bool {
        let (seq, topic) = (message.seq, &message.sample.route.topic);
        match self.spool.set_aside(message, reason) {
            Ok(file) => {
                self.aside.worked();
                self.counters.rejected.add(1);
                warn!("message refused; set aside seq={seq} topic={topic} reason={reason} file={}", file.display());
                self.finish(seq, now);
                true
            }
            Err(error) => {
                self.aside.failed(&error);
                false
            }
        }
    }

    /// Puts everything on the medium.
    ///
    /// # Errors
    /// What the disk says. Trying again is right.
    pub fn save(&mut self, in_flight: Option<RangeInclusive<Seq>>, now: Instant) -> Result<(), String> {
        self.set_aside_late(now);
        self.intake.save_rest(&mut self.spool, in_flight, &self.counters, now)
    }
}

impl Memory {
    /// The message that a sample becomes which the spool did not take.
    fn message(&mut self, sample: Sample) -> Message {
        if !std::mem::replace(&mut self.is_reported, true) {
            warn!("the disk fails; publishing from memory stream={} seq={}", self.stream, self.next);
        }
        let Sample { route, taken, data } = sample;
        let route = match route.qos {
            Qos::ExactlyOnce => Arc::new(Route { qos: Qos::AtLeastOnce, ..Route::clone(&route) }),
            Qos::AtMostOnce | Qos::AtLeastOnce => route,
        };
        let seq = self.next;
        self.next = self.next.next();
        Message { stream: self.stream, seq, sample: Sample { route, taken, data } }
    }

    /// Notes that the spool takes samples again.
    fn ended(&mut self) {
        if std::mem::take(&mut self.is_reported) {
            info!("the disk works again; published from memory stream={} up to seq={}", self.stream, self.next.0 - 1);
        }
    }
}
