//! Thread 2: takes samples from the channel into the spool, and publishes from there to the broker.
//!
//! One loop waits for whatever comes first: a sample, an order, a ring of the MQTT library, a deadline. It tells the core,
//! [`Delivery`], what happened, and does what that says; it decides nothing itself. It owns the spool and the connection,
//! so nothing needs a lock.
//!
//! What it guarantees: a message is published only after it was accepted, and leaves the spool only after the broker
//! acknowledged it or a rule of the configuration dropped it, which is counted and logged. The journal is written before
//! every publish.

mod broker;
mod clock;
mod credentials;
mod disk;
mod intake;
mod link;
mod news;
#[cfg(test)]
mod simulator;
mod store;
mod watch;

use crate::clock::{Clock, instant, sleep};
use crate::config::Config;
use crate::delivery::{Action, Delivery, Event, GiveUp, How, Lost, Now, Publish, Remains, Report};
use crate::message::{Message, Route, Sample, Stamp};
use crate::payload::Outgoing;
use crate::planted::{Planted, is_planted};
use crate::pulse::Pulse;
use crate::spool::{Missing, Spool};
use crate::status::{self, Counters};
use broker::Broker;
use clock::ClockWatch;
use credentials::Credentials;
use crossbeam_channel::{Receiver, RecvError, Sender, never, select};
use link::Link;
use log::{error, info, log, warn};
use news::{Announcer, Standing};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use watch::Watch;

/// How many messages a former process may have had on its way at QoS 2, where the window is smaller by now.
const WIDEST_READ_BACK: usize = 1024;
/// How long the loop sleeps when nothing at all is due.
const IDLE: Duration = Duration::from_secs(3600);
/// How long the library may take to tell why there is no connection any more, after it has let a publish fail: a
/// callback in another thread, on a slow machine.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long a failing disk is tried when everything else has ended.
const LAST_TRIES: Duration = Duration::from_millis(500);

/// What the publisher is asked to do while it runs.
pub enum Order {
    /// Take over another configuration.
    Change(Box<Change>),
    /// Tell in the status that the configuration's file cannot be applied, and why; `None`: that is over.
    Problem(Option<String>),
    /// Try at once what waits for its next try at the broker.
    Hurry,
}

/// Another configuration.
pub struct Change {
    /// Its spool has the same folder.
    pub config: Config,
    /// Its routes.
    pub routes: Vec<Arc<Route>>,
    /// The channel that follows when the present one is closed; `None`: it stays.
    pub samples: Option<Receiver<Sample>>,
}

/// How the publisher ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The channel was closed, and everything that came through it is in the spool.
    Stopped,
    /// As above, but the disk did not take everything: its words.
    Unsaved(String),
    /// The retry delay passed `retry.max_delay`: why the last attempt failed.
    GaveUp(String),
    /// The broker refuses credentials, client id or protocol version: its words.
    Refused(String),
}

/// What connects the publisher with the other threads.
pub struct Channels {
    /// From the sampler; closed when it has ended.
    pub samples: Receiver<Sample>,
    /// From the main thread; closed as the order to stop.
    pub orders: Receiver<Order>,
    /// From the sampler: the names of the sources that hang, whenever they change.
    pub hanging: Receiver<Vec<String>>,
    /// Told once when the publisher cannot go on and waits for the order to stop. Must have room for one.
    pub gives_up: Sender<()>,
    /// Told how the agent fares, in one line. What it has no room for is told later. `None`: nobody wants to know.
    pub news: Option<Sender<String>>,
    /// The thread's signs of life.
    pub pulse: Arc<Pulse>,
}

/// The publisher, before its thread runs.
pub struct Publisher<L> {
    delivery: Delivery,
    store: Store,
    link: L,
    clock: ClockWatch,
    /// What may end the wait for the next attempt to connect.
    watch: Option<Watch>,
    credentials: Credentials,
    channels: Channels,
    announcer: Announcer,
    /// What the status says of the agent and of its configuration.
    status: StatusNow,
    counters: Arc<Counters>,
    end: End,
}

/// What only the shell knows for the status message.
struct StatusNow {
    started: Stamp,
    /// When the present configuration was applied.
    applied: Stamp,
    /// Why what is in its file by now cannot be applied.
    problem: Option<String>,
    /// The sources that hang.
    hanging: Vec<String>,
}

/// A publisher that takes from `channels.samples` into `spool`, and publishes from there.
pub fn publisher(
    config: Config,
    spool: Spool,
    channels: Channels,
    counters: Arc<Counters>,
    clock: Clock,
) -> impl FnOnce() -> End + Send {
    let clock = ClockWatch::new(clock, spool.boots());
    let link = Broker::new(&config, &spool, clock.boot_id());
    let publisher = Publisher::new(config, spool, link, channels, counters, clock, fastrand::u64(..));
    move || publisher.run()
}

impl<L: Link> Publisher<L> {
    fn new(
        config: Config,
        spool: Spool,
        link: L,
        channels: Channels,
        counters: Arc<Counters>,
        clock: ClockWatch,
        seed: u64,
    ) -> Self {
        let started = clock.stamp();
        let (samples, capacity) = (channels.samples.clone(), config.channel.capacity);
        Self {
            delivery: Delivery::new(config, clock.times(), link.first(), seed, clock.now().at),
            store: Store::new(spool, samples, capacity, Arc::clone(&counters)),
            link,
            clock,
            watch: None,
            credentials: Credentials::default(),
            channels,
            announcer: Announcer::default(),
            status: StatusNow { started, applied: started, problem: None, hanging: Vec::new() },
            counters,
            end: End::Stopped,
        }
    }

    /// Runs until a channel is closed and what was in flight is acknowledged or `shutdown_timeout` has passed.
    fn run(mut self) -> End {
        self.credentials.look(&self.delivery.config().broker, instant());
        self.read_back(self.clock.now());
        let mut turned = self.turn();
        loop {
            let now = self.clock.now();
            self.tell_news(now);
            let deadline = self.deadline(turned).unwrap_or(now.at + IDLE).min(self.store.next_look());
            self.channels.pulse.rests_until(deadline);
            select! {
                recv(self.channels.orders) -> order => match order {
                    Ok(order) => self.obey(order),
                    Err(RecvError) => break,
                },
                recv(self.store.intake.samples()) -> sample => match sample {
                    Ok(sample) => self.store.intake.push(sample),
                    Err(RecvError) if self.follow_channel() => {}
                    Err(RecvError) => break,
                },
                recv(self.channels.hanging) -> hanging => self.note_hanging(hanging),
                recv(self.link.rings()) -> ring => if let Ok(ring) = ring {
                    self.hear(ring);
                },
                default(deadline.saturating_duration_since(instant())) => {}
            }
            self.channels.pulse.works(instant());
            turned = self.turn();
        }
        self.stop();
        self.end
    }

    /// Notes which sources hang, for the status message and the service manager.
    fn note_hanging(&mut self, hanging: Result<Vec<String>, RecvError>) {
        match hanging {
            Ok(hanging) => {
                self.status.hanging = hanging;
                self.delivery.on(Event::StatusChanged, self.clock.now());
            }
            // The sampler has ended.
            Err(RecvError) => self.channels.hanging = never(),
        }
    }

    /// Takes in what has come, then does what the core says; the moment to ask [`Publisher::deadline`] with.
    fn turn(&mut self) -> Now {
        self.hear_all();
        let now = self.clock.now();
        self.look_after_files(now);
        for range in self.store.take_in(self.delivery.range_in_flight(), now.at) {
            self.delivery.on(Event::Dropped(range), now);
        }
        // The disk may have taken its time: what has come meanwhile counts before any deadline does.
        let now = self.clock.now();
        self.hear_all();
        if let Some(beginning) = self.clock.look(now.at) {
            self.delivery.on(Event::BootBegan(beginning), now);
        }
        if let Some(event) = self.watch.as_mut().and_then(|watch| watch.look(now.at)) {
            self.delivery.on(event, now);
        }
        self.store.set_aside_late(now.at);
        self.store.bound_repeats(now.at);
        self.delivery.on(Event::Turn { backlog: self.store.waiting() }, now);
        self.act();
        // An attempt may have failed by now.
        self.watch();
        now
    }

    /// Notices what was deleted or replaced: files of the spool, and those that the next connection needs.
    fn look_after_files(&mut self, now: Now) {
        if !self.store.is_to_look(now.at) {
            return;
        }
        let Self { store, delivery, .. } = self;
        match store.look(|seq| delivery.has(seq), now.at) {
            Ok(lost) if lost.is_empty() => {}
            Ok(lost) => {
                lost.into_iter().for_each(|range| self.delivery.on(Event::Dropped(range), now));
                self.delivery.on(Event::StatusChanged, now);
            }
            Err(taken) => return self.renounce(&taken),
        }
        // What is over is not noted again.
        self.write_journal(now);
        self.link.put_back_notes(self.store.spool.directory());
        self.clock.put_back();
        self.credentials.look(&self.delivery.config().broker, now.at);
    }

    /// Ends, for another agent has the spool: nothing is written to it any more.
    fn renounce(&mut self, taken: &Missing) {
        self.store.spool.renounce();
        let folder = self.delivery.config().spool.directory.display().to_string();
        self.end = End::Unsaved(format!("spool {folder}: {taken}; messages that wait: {}", self.store.waiting()));
        error!("this agent ends: another one has the spool folder={folder} backlog={}", self.store.waiting());
        // The agent may be stopping already, and not listen any more.
        let _ = self.channels.gives_up.try_send(());
    }

    /// Does what the core says until there is nothing to do, or the rest has to wait for the next turn. What is finished by
    /// then is in the journal.
    fn act(&mut self) {
        let mut now = self.clock.now();
        while !self.store.has_set_aside_enough()
            && let Some(action) = self.delivery.next_action(now)
        {
            // What is not done in no time needs another look at the clock.
            let is_quick = matches!(action, Action::Log(..));
            self.perform(action, now);
            if !is_quick {
                now = self.clock.now();
                self.channels.pulse.works(now.at);
            }
        }
        self.write_journal(now);
    }

    /// The earliest moment at which something has to be done. `turned`: when the last turn began, for what was due by then
    /// is done or waits for something else, and what was due later has not been looked at.
    fn deadline(&self, turned: Now) -> Option<Instant> {
        let watch = self.watch.as_ref().map(Watch::next_look);
        let deadlines = [
            self.store.deadline(turned.at),
            self.delivery.deadline(turned),
            self.clock.deadline(),
            self.announcer.due(),
            watch,
        ];
        deadlines.into_iter().flatten().min()
    }

    fn perform(&mut self, action: Action, now: Now) {
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
                self.watch = None;
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
                let _ = self.channels.gives_up.try_send(());
            }
            Action::Stopped => {}
        }
    }

    fn connect(&mut self, member: usize, will: Option<Outgoing>, now: Now) {
        if self.link.find_session(self.delivery.config(), &self.store.spool) {
            self.read_back(now);
        }
        if let Err(lost) = self.link.connect(member, will, &self.delivery, now.clock) {
            self.lost(lost);
        }
    }

    /// Reads what a former process had on its way in the session, to be held until the session is resumed.
    fn read_back(&mut self, now: Now) {
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

    fn hear_all(&mut self) {
        while let Some(ring) = self.link.poll() {
            self.hear(ring);
        }
    }

    /// Tells the core what a ring of the library means.
    fn hear(&mut self, ring: L::Ring) {
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
            self.store.finish(seq, now);
        }
        self.link.end(what);
    }

    fn set_aside(&mut self, what: Publish, message: Message, reason: String, now: Now) {
        self.store.set_aside(what, message, reason, now.at);
        self.link.end(what);
    }

    /// Comes before anything more is published, so that a `kill -9` repeats no more than a window's worth.
    fn write_journal(&mut self, now: Now) {
        if !is_planted(Planted::JournalLate) && self.store.write_journal(now.at) {
            self.link.journal_written();
        }
    }

    /// Watches for what may end the wait for the next attempt: what comes from now on is news.
    fn watch(&mut self) {
        let broker = &self.delivery.config().broker;
        let watch = self.watch.take().filter(|watch| watch.is_of_refusal() == self.delivery.is_refused());
        self.watch = match (self.delivery.is_waiting(), watch) {
            (false, _) => None,
            (true, Some(watch)) => Some(watch),
            (true, None) if self.delivery.is_refused() => Some(Watch::of_credentials(broker, instant())),
            (true, None) => Some(Watch::of_network(broker, instant())),
        };
    }

    /// Does what the main thread asks for.
    fn obey(&mut self, order: Order) {
        let now = self.clock.now();
        match order {
            Order::Change(change) => {
                let Change { config, routes, samples } = *change;
                if let Some(samples) = samples {
                    self.store.intake.follow(samples, config.channel.capacity);
                }
                self.store.spool.change(&config.spool, &routes);
                self.status.problem = None;
                let has_session = self.link.has_session();
                self.delivery.on(Event::Reconfigure { config: Box::new(config), has_session }, now);
            }
            Order::Problem(problem) => {
                self.status.problem = problem;
                self.delivery.on(Event::StatusChanged, now);
            }
            Order::Hurry => self.delivery.on(Event::Hurry, now),
        }
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

    fn applied(&mut self) {
        self.status.applied = self.clock.stamp();
        self.delivery.on(Event::StatusChanged, self.clock.now());
    }

    /// Turns to the channel that follows the one that has closed; whether there is one. The order that brings it was
    /// given before the other end was let go of, and may not have been heard yet.
    fn follow_channel(&mut self) -> bool {
        while let Ok(order) = self.channels.orders.try_recv() {
            self.obey(order);
        }
        self.store.intake.turn_to_next()
    }

    /// Tells how the agent fares, when that is news.
    fn tell_news(&mut self, now: Now) {
        let Some(news) = &self.channels.news else { return };
        let in_flight = u64::try_from(self.delivery.spooled_in_flight()).unwrap_or(u64::MAX);
        let standing = Standing {
            reach: self.delivery.reach(),
            disk_fails: self.store.is_failing(),
            refused: self.delivery.refused_altogether(),
            hanging: news::hanging(&self.status.hanging),
            waiting: self.store.waiting().saturating_sub(in_flight),
        };
        if let Some(line) = self.announcer.look(now.at, standing, || self.delivery.detail())
            && news.try_send(line).is_err()
        {
            // It is told at the next turn.
            self.announcer = Announcer::default();
        }
    }

    /// Makes everything safe, waits for what is in flight, says goodbye.
    fn stop(&mut self) {
        // First of all, for whoever stops us may lose patience. What fails here is tried again below.
        let delivery = &self.delivery;
        if let Err(taken @ Missing::Taken) = self.store.put_back(|seq| delivery.has(seq), self.clock.now().at) {
            self.renounce(&taken);
        }
        let _ = self.store.save(self.delivery.range_in_flight(), self.clock.now().at);
        let backlog = self.store.waiting();
        info!("stopping in_flight={} backlog={backlog}", self.delivery.in_flight());
        // The broker's time begins when the disk has taken its own.
        let deadline = self.clock.now().at + self.delivery.config().shutdown_timeout;
        // What is acknowledged needs no wait.
        self.hear_all();
        self.delivery.on(Event::Stop(deadline), self.clock.now());
        self.wait_for_the_broker(deadline);
        let messages = self.delivery.give_back();
        self.store.give_back(messages);
        match self.save(deadline.max(instant() + LAST_TRIES)) {
            Ok(()) => {
                self.link.put_back_notes(self.store.spool.directory());
                self.link.end_session();
            }
            Err(error) => {
                warn!("not everything is safe on the disk error={error}");
                if self.end == End::Stopped {
                    self.end = End::Unsaved(error);
                }
            }
        }
        self.judge_the_rest();
        self.store.intake.tell_rest();
        info!("stopped backlog={}", self.store.waiting());
    }

    /// Looks a last time whether what is left is where the next process looks for it: whatever is in memory alone is lost now.
    fn judge_the_rest(&mut self) {
        let put_back = self.store.put_back(|_| false, self.clock.now().at);
        let why = match (put_back, self.store.lost()) {
            (Ok(()), 0) => return,
            (Ok(()), lost) => format!("{lost} messages were lost with files that were taken away from the spool"),
            (Err(error), _) => format!("the spool's files were taken away: {error}"),
        };
        if self.end == End::Stopped {
            warn!("{why}");
            self.end = End::Unsaved(why);
        }
    }

    /// Does what the core says until the stop is complete.
    fn wait_for_the_broker(&mut self, deadline: Instant) {
        loop {
            self.hear_all();
            let now = self.clock.now();
            self.channels.pulse.works(now.at);
            match self.delivery.next_action(now) {
                Some(Action::Stopped) => return,
                Some(action) => self.perform(action, now),
                None => {
                    self.channels.pulse.rests_until(deadline);
                    if let Some(ring) = self.link.wait(deadline) {
                        self.hear(ring);
                    }
                }
            }
        }
    }

    /// Puts everything on the medium; why that did not work until the deadline.
    fn save(&mut self, deadline: Instant) -> Result<(), String> {
        loop {
            self.channels.pulse.works(instant());
            match self.store.save(self.delivery.range_in_flight(), self.clock.now().at) {
                Err(_) if instant() < deadline => sleep(LAST_TRIES / 5),
                result => return result,
            }
        }
    }
}
