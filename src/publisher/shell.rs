//! Does what the core says, and tells it what became of that: the shell around [`Delivery`]. It decides nothing itself.

use super::clock::ClockWatch;
use super::link::Link;
use super::orders::End;
use super::store::Store;
use super::watch::Watch;
use crate::clock::instant;
use crate::delivery::{Action, Delivery, Event, GiveUp, How, Lost, Now, Publish, Remains, Report};
use crate::message::{Message, Stamp};
use crate::payload::Outgoing;
use crate::planted::{Planted, is_planted};
use crate::pulse::Pulse;
use crate::spool::Missing;
use crate::status::{self, Counters};
use crossbeam_channel::Sender;
use log::{error, log, warn};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many messages a former process may have had on its way at QoS 2, where the window is smaller by now.
const WIDEST_READ_BACK: usize = 1024;
/// How long the library may take to tell why there is no connection any more, after it has let a publish fail: a
/// callback in another thread, on a slow machine.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The core, and what it acts on.
pub struct Shell<L> {
    pub delivery: Delivery,
    pub store: Store,
    pub link: L,
    pub clock: ClockWatch,
    /// What may end the wait for the next attempt to connect.
    pub watch: Watch,
    /// What the status says of the agent and of its configuration.
    pub status: StatusNow,
    pub counters: Arc<Counters>,
    /// How the publisher will have ended.
    pub end: End,
    /// Told once when the publisher cannot go on. Has room for one.
    pub gives_up: Sender<()>,
    /// The thread's signs of life.
    pub pulse: Arc<Pulse>,
}

/// What only the shell knows for the status message.
pub struct StatusNow {
    pub started: Stamp,
    /// When the present configuration was applied.
    pub applied: Stamp,
    /// Why what is in its file by now cannot be applied.
    pub problem: Option<String>,
    /// The sources that hang.
    pub hanging: Vec<String>,
}

impl<L: Link> Shell<L> {
    /// Does what the core says until there is nothing to do, or the rest has to wait for the next turn. What is finished by
    /// then is in the journal.
    pub fn act(&mut self) {
        let mut now = self.clock.now();
        while !self.store.has_set_aside_enough()
            && let Some(action) = self.delivery.next_action(now)
        {
            // What is not done in no time needs another look at the clock.
            let is_quick = matches!(action, Action::Log(..));
            self.perform(action, now);
            if !is_quick {
                now = self.clock.now();
                self.pulse.works(now.at);
            }
        }
        self.write_journal(now);
    }

    pub fn perform(&mut self, action: Action, now: Now) {
        match action {
            Action::Read => {
                let read = self.store.read(now.at);
                let event = read.map_or(Event::NothingToRead, |(what, message)| Event::Read(what, message));
                self.delivery.on(event, now);
            }
            Action::Connect { member, will } => self.connect(member, will, now),
            Action::Publish { what, outgoing } => {
                self.write_journal(now);
                match self.link.publish(what, outgoing) {
                    Ok(()) => self.count_published(what),
                    Err(lost) => {
                        self.delivery.on(Event::NotSent(what), now);
                        self.last_words(lost);
                    }
                }
            }
            Action::Compose => {
                let status = self.status();
                self.delivery.on(Event::Status(status), now);
            }
            Action::End(what, how) => self.ended(what, how, now.at),
            Action::SetAside { what, message, reason } => self.set_aside(what, message, reason, now),
            Action::Abandon(what) => self.link.abandon(what),
            Action::ForgetSession => self.link.forget_session(),
            Action::TakeStalls(since) => {
                let stalled = self.link.take_stalled(since) + self.store.take_stalled(since);
                self.hear_all();
                self.delivery.on(Event::Stalled(stalled), self.clock.now());
            }
            Action::Close(why) => self.lost(why),
            Action::Disconnect => self.link.disconnect(),
            Action::Apply => self.applied(),
            Action::Reconnect => {
                self.link.close();
                self.link.reconfigure(self.delivery.config(), &self.store.spool);
                let remains = self.remains();
                self.delivery.on(Event::Reconfigured(remains), now);
                self.applied();
            }
            Action::Log(level, text) => log!(level, "{text}"),
            Action::GiveUp(why) => {
                self.end = match why {
                    GiveUp::Unreachable(reason) => End::GaveUp(reason),
                    GiveUp::Refused(reason) => End::Refused(reason),
                };
                // The agent may be stopping already, and not listen any more.
                let _ = self.gives_up.try_send(());
            }
            Action::Stopped => {}
        }
    }

    fn connect(&mut self, member: usize, will: Option<Outgoing>, now: Now) {
        if self.link.find_session(self.delivery.config(), &self.store.spool) {
            self.read_back(now);
        }
        if self.delivery.begins_round() {
            self.watch.round_begins(&self.delivery.config().broker);
        }
        if let Err(lost) = self.link.connect(member, will, &self.delivery, now.clock) {
            self.lost(lost);
        }
    }

    /// Reads what a former process had on its way in the session, to be held until the session is resumed.
    pub fn read_back(&mut self, now: Now) {
        // What is finished had its end noted in the journal, and not in the session any more.
        let (over, under_way): (Vec<_>, Vec<_>) = self
            .link
            .under_way()
            .into_iter()
            .partition(|held| held.what.spooled().is_some_and(|seq| self.store.spool.is_finished(seq)));
        over.into_iter().for_each(|held| self.link.end(held.what));
        self.link.journal_written();
        let Some(last) = under_way.iter().filter_map(|held| held.what.spooled()).max() else { return };
        // A window may have been wider. What is not read back, because it is lost or because the notes are nonsense, ends
        // the session, and memory stays bounded.
        let mut room = usize::from(self.delivery.config().delivery.window).max(WIDEST_READ_BACK);
        while room > 0
            && self.delivery.last_read().is_none_or(|read| read < last)
            && let Some(message) = self.store.read_spool(now.at)
        {
            self.delivery.on(Event::Read(Publish::Message(message.seq), message), now);
            room -= 1;
        }
        self.delivery.on(Event::Held(under_way), now);
    }

    pub fn hear_all(&mut self) {
        while let Some(ring) = self.link.poll() {
            self.hear(ring);
        }
    }

    /// Tells the core what a ring of the library means.
    pub fn hear(&mut self, ring: L::Ring) {
        let Some(report) = self.link.answer(ring) else { return };
        let now = self.clock.now();
        let event = match report {
            Report::Connected(connected) => {
                self.counters.connections.add(1);
                Event::Connected { connected, backlog: self.store.waiting() }
            }
            Report::Acknowledged(what) => Event::Acknowledged(what),
            Report::Refused(what, refusal) => Event::Refused(what, refusal),
            Report::Disconnected => {
                self.link.close();
                Event::Disconnected(self.remains())
            }
            Report::Lost(lost) => return self.lost(lost),
        };
        self.delivery.on(event, now);
    }

    /// There is no connection any more. What the broker acknowledged before must not be published again: on a link that
    /// is lost over and over, that is all the progress there is.
    fn lost(&mut self, why: Lost) {
        while let Some(ring) = self.link.poll() {
            if let Some(Report::Acknowledged(what)) = self.link.answer(ring) {
                self.delivery.on(Event::Acknowledged(what), self.clock.now());
            }
        }
        // Only when nothing more is sent over it, it is certain what is on its way.
        self.link.close();
        let remains = self.remains();
        self.delivery.on(Event::Lost { why, remains }, self.clock.now());
        if !self.store.is_failing() {
            let messages = self.delivery.give_back();
            messages.iter().for_each(|message| self.link.abandon(Publish::Bypass(message.seq)));
            self.store.give_back(messages);
        }
    }

    /// A publish failed, for there is no connection any more. What the broker said when it ended it may be on its way
    /// here still.
    fn last_words(&mut self, lost: Lost) {
        let deadline = instant() + LAST_WORDS;
        while let Some(ring) = self.link.wait(deadline) {
            match self.link.answer(ring) {
                Some(Report::Lost(lost)) => return self.lost(lost),
                Some(Report::Acknowledged(what)) => self.delivery.on(Event::Acknowledged(what), self.clock.now()),
                None | Some(Report::Connected(_) | Report::Refused(..) | Report::Disconnected) => {}
            }
        }
        self.lost(lost);
    }

    fn remains(&self) -> Remains {
        let (under_way, first, backlog) = (self.link.under_way(), self.link.first(), self.store.waiting());
        Remains { under_way, first, backlog }
    }

    fn count_published(&self, what: Publish) {
        match what {
            Publish::Status => {}
            Publish::Message(_) => self.counters.published.add(1),
            Publish::Bypass(_) => {
                self.counters.published.add(1);
                self.counters.from_memory.add(1);
            }
        }
    }

    fn ended(&mut self, what: Publish, how: How, now: Instant) {
        if how == How::Expired && is_planted(Planted::CountedTwice) {
            self.counters.acknowledged.add(1);
        }
        match how {
            How::Acknowledged | How::Completed => self.counters.acknowledged.add(1),
            How::Expired | How::TooOld if is_planted(Planted::DropNotCounted) => {}
            How::Expired => self.counters.dropped_expired.add(1),
            How::TooOld => self.counters.dropped_max_age.add(1),
        }
        if let Some(seq) = what.spooled() {
            if matches!(how, How::Expired | How::TooOld) {
                self.store.spool.leaves(seq);
            }
            self.store.finish(seq, now);
        }
        self.link.end(what);
    }

    fn set_aside(&mut self, what: Publish, message: Message, reason: String, now: Now) {
        self.store.set_aside(what, message, reason, now.at);
        self.link.end(what);
    }

    /// Comes before anything more is published, so that a `kill -9` repeats no more than a window's worth.
    pub fn write_journal(&mut self, now: Now) {
        if !is_planted(Planted::JournalLate) && self.store.write_journal(now.at) {
            self.link.journal_written();
        }
    }

    /// Ends, for another agent has the spool: nothing is written to it any more. What this one has goes to a folder beside it,
    /// as far as that can be had.
    pub fn abandon_spool(&mut self, taken: &Missing) {
        let Self { store, delivery, .. } = self;
        let folder = delivery.config().spool.directory.display().to_string();
        let rescued = store.spool.rescue().and_then(|beside| {
            let put_back = store.put_back(|seq| delivery.has(seq), instant());
            put_back.inspect_err(|error| warn!("cannot write {}: {error}", beside.display())).ok()?;
            Some(beside)
        });
        let fate = if let Some(beside) = rescued {
            format!("what this one had is in {}", beside.display())
        } else {
            store.spool.abandon();
            "nothing more is written".to_owned()
        };
        let why = format!("spool {folder}: {taken}; {fate}; messages that wait: {}", store.waiting());
        error!("this agent ends: {why}");
        self.end = End::Unsaved(why);
        // The agent may be stopping already, and not listen any more.
        let _ = self.gives_up.try_send(());
    }

    /// Watches for what may end the wait for the next attempt.
    pub fn watch(&mut self) {
        self.watch.follow(self.delivery.wait(), &self.delivery.config().broker, instant());
    }

    fn applied(&mut self) {
        self.status.applied = self.clock.stamp();
        self.delivery.on(Event::StatusChanged, self.clock.now());
    }

    /// The status message; `None`: there is no topic for it.
    fn status(&self) -> Option<Outgoing> {
        let StatusNow { started, applied, problem, hanging } = &self.status;
        let [started, applied] = [*started, *applied].map(|stamp| self.delivery.time_of(stamp));
        let refused = self.delivery.refused_altogether();
        let news = status::News {
            started,
            applied,
            problem: problem.as_deref(),
            hanging,
            backlog: self.store.backlog(),
            rejected_later: self.store.rejected_later(),
            refused: refused.as_deref(),
            counters: &self.counters,
        };
        status::online(self.delivery.config(), news)
    }
}
