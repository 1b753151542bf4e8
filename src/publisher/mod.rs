//! Thread 2: takes samples from the channel into the spool, and publishes from the spool to the broker.
//!
//! One loop waits for whatever comes first: a sample, a ring of the MQTT library, a deadline. It owns the spool and
//! the connection, so nothing needs a lock.
//!
//! What it guarantees: a message is published only after it was accepted, and leaves the spool only after the broker
//! acknowledged it or a rule of the configuration dropped it, which is counted and logged.

mod bypass;
mod caution;
#[cfg(test)]
mod caution_tests;
mod change;
mod connection;
mod disk;
mod events;
mod intake;
mod news;
mod patience;
mod refusals;
mod sending;
mod standing;
mod stop;
mod terms;
mod times;
mod window;

use crate::burst::Burst;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::rate::Rate;
use crate::delivery::{NotPublished, Publish};
use crate::message::{Sample, Seq, Stamp};
use crate::mqtt::Ring;
use crate::pulse::Pulse;
use crate::spool::Spool;
use crate::status::{self, Counters};
use bypass::Bypass;
use caution::Caution;
use change::Pending;
use connection::Connection;
use crossbeam_channel::{Receiver, RecvError, Sender, select};
use disk::Access;
use intake::Intake;
use news::Announcer;
use std::sync::Arc;
use std::time::{Duration, Instant};
use times::Times;
use window::Window;

/// How many messages a former process may have had on its way at QoS 2, where the window is smaller by now.
const WIDEST_READ_BACK: usize = 1024;
/// How long the loop sleeps when nothing at all is due.
const IDLE: Duration = Duration::from_secs(3600);

pub use change::{Change, Order};

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

/// The publisher, before its thread runs.
pub struct Publisher {
    spool: Spool,
    intake: Intake,
    connection: Connection,
    rings: Receiver<Ring>,
    window: Window,
    bypass: Bypass,
    rate: Option<Rate>,
    /// When the rate lets the next message go that is ready to be sent.
    rate_due: Option<Instant>,
    reading: Access,
    journal: Access,
    flush: Access,
    aside: Access,
    /// Messages dropped because they are too old, without one in between that is not.
    outdated: Burst,
    caution: Caution,
    status_refusals: Burst,
    config: Config,
    /// The configuration to go on by, once the connection allows it.
    change: Option<Pending>,
    /// What the status says of the configuration's file.
    file: status::File,
    times: Times,
    counters: Arc<Counters>,
    /// When the agent started, for the status message.
    started: Stamp,
    next_status: Option<Instant>,
    orders: Receiver<Order>,
    gives_up: Sender<()>,
    news: Option<Sender<String>>,
    announcer: Announcer,
    pulse: Arc<Pulse>,
    end: End,
}

/// What connects the publisher with the other threads.
pub struct Channels {
    /// From the sampler; closed when it has ended.
    pub samples: Receiver<Sample>,
    /// From the main thread; closed as the order to stop.
    pub orders: Receiver<Order>,
    /// Told once when the publisher cannot go on and waits for the order to stop. Must have room for one.
    pub gives_up: Sender<()>,
    /// Told how the agent fares, in one line. What it has no room for is told later. `None`: nobody wants to know.
    pub news: Option<Sender<String>>,
    /// The thread's signs of life.
    pub pulse: Arc<Pulse>,
}

impl Publisher {
    /// A publisher that takes from `channels.samples` into `spool`, and publishes from there.
    pub fn new(config: Config, spool: Spool, channels: Channels, counters: Arc<Counters>, clock: Clock) -> Self {
        let started = clock.now();
        let will = status::offline(&config, started);
        let (connection, rings) = Connection::new(&config, &spool, will, clock.boot_id());
        Self {
            intake: Intake::new(channels.samples, config.channel.capacity),
            orders: channels.orders,
            gives_up: channels.gives_up,
            news: channels.news,
            announcer: Announcer::default(),
            pulse: channels.pulse,
            connection,
            rings,
            window: Window::new(usize::from(config.delivery.window)),
            bypass: Bypass::new(usize::from(config.delivery.window)),
            rate: config.delivery.max_rate.map(Rate::new),
            rate_due: None,
            reading: Access::new("read the spool"),
            journal: Access::new("write the journal"),
            flush: Access::new("flush the journal"),
            aside: Access::new("set messages aside"),
            outdated: Burst::default(),
            caution: Caution::default(),
            status_refusals: Burst::default(),
            times: Times::new(clock, spool.boots()),
            counters,
            started,
            next_status: None,
            end: End::Stopped,
            change: None,
            file: status::File { applied: started, problem: None },
            spool,
            config,
        }
    }

    /// Runs until a channel is closed and what was in flight is acknowledged or `shutdown_timeout` has passed.
    pub fn run(mut self) -> End {
        self.load_under_way();
        loop {
            self.tell_news(Instant::now());
            let timeout = self.next_deadline().map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
            self.pulse.rests_until(Instant::now() + timeout);
            select! {
                recv(self.orders) -> order => match order {
                    Ok(order) => self.obey(order),
                    Err(RecvError) => break,
                },
                recv(self.intake.samples()) -> sample => match sample {
                    Ok(sample) => self.intake.push(sample),
                    Err(RecvError) if self.follow_channel() => {}
                    Err(RecvError) => break,
                },
                recv(self.rings) -> ring => self.answer(ring.into_iter()),
                default(timeout) => {}
            }
            self.pulse.works(Instant::now());
            self.answer_waiting();
            self.spool_waiting();
            // The disk may have taken its time: what has come meanwhile counts before any deadline does.
            let now = Instant::now();
            self.answer_waiting();
            self.change_over();
            self.check_deadlines(now);
            self.trim();
            self.bound_repeats();
            self.reconnect_as_planned();
            self.attend_to_suspect();
            self.publish_waiting();
            self.publish_from_memory();
        }
        self.stop();
        self.end
    }

    /// Reads what a former process had on its way in the session into the window, to be held until the session is
    /// resumed.
    fn load_under_way(&mut self) {
        let Some(session) = self.connection.session().cloned() else { return };
        // What is finished had its end noted in the journal, and not in the session any more.
        let (over, under_way): (Vec<Seq>, Vec<Seq>) =
            session.noted().into_iter().partition(|seq| self.spool.is_finished(*seq));
        over.into_iter().for_each(|seq| session.end(Publish::Message(seq)));
        session.clear();
        let Some(last) = under_way.into_iter().max() else { return };
        // A window may have been wider. What is not read back, because it is lost or because the notes are nonsense, ends
        // the session, and memory stays bounded.
        let mut room = usize::from(self.config.delivery.window).max(WIDEST_READ_BACK);
        while room > 0 && self.window.last().is_none_or(|read| read < last) && self.read_on(Instant::now()) {
            room -= 1;
        }
        self.window.connection_lost(|seq| session.contains(Publish::Message(seq)));
    }

    /// The earliest moment at which something has to be done.
    fn next_deadline(&self) -> Option<Instant> {
        [
            self.intake.deadline(&self.spool),
            self.connection.deadline(),
            self.next_status,
            self.times.deadline(),
            self.rate_due,
            self.ack_deadline(),
            self.caution.until(self.connection.lasting(), Instant::now()),
            self.reading.retry_at().filter(|_| self.can_send() && self.window.next_to_send().is_none()),
            // Not when it has passed: it may be that nothing is to be set aside any more.
            self.aside.retry_at().filter(|at| *at > Instant::now()),
            self.journal.retry_at(),
            self.spool.repeats_due().map(|due| self.flush.retry_at().map_or(due, |retry| due.max(retry))),
            self.change_due(),
            self.announcer.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn check_deadlines(&mut self, now: Instant) {
        self.check_acknowledgements(now);
        self.times.look(now);
        if self.connection.finds_session(now, &self.config, &self.spool, self.times.boot_id()) {
            self.load_under_way();
        }
        let (window, times) = (&self.window, &self.times);
        let render = |seq, dated| window.get(seq).map(|message| times.render(message, dated));
        let resumes = |what| self.caution.resumes(what);
        if let Some(lost) = self.connection.check(now, render, resumes) {
            self.lost(lost);
        }
        if self.next_status.is_some_and(|at| now >= at) {
            self.publish_status(now);
        }
    }

    /// Takes samples from the channel into the spool, as many as are there: one flush serves them all.
    fn spool_waiting(&mut self) {
        let dropped = self.intake.spool_waiting(&mut self.spool, self.window.range_in_flight(), &self.counters);
        for range in dropped {
            self.window.drop_waiting(&range);
        }
    }

    /// Replaces a connection whose time is over, once everything that was published over it is acknowledged: nothing
    /// has to be published again. How long that may take is `ack_timeout`'s to say.
    fn reconnect_as_planned(&mut self) {
        let is_over = |publisher: &Self| {
            publisher.connection.is_leaving()
                && publisher.in_flight() == 0
                && publisher.connection.awaited_status().is_none()
        };
        if is_over(self) && !self.part() {
            self.next_status = None;
            self.connection.reconnect(Instant::now());
        }
    }

    fn publish_status(&mut self, now: Instant) {
        self.next_status = Some(now + self.config.status.interval);
        let is_out = self.connection.is_leaving() || self.caution.is_without_status();
        if self.connection.awaited_status().is_some() || is_out {
            return;
        }
        let status = status::online(&self.config, self.started, &self.file, self.spool.backlog(), &self.counters);
        match status.map(|status| self.connection.publish(Publish::Status, status)) {
            None | Some(Ok(())) => {}
            Some(Err(NotPublished::TooLarge(reason))) => self.status_refused(&reason),
            Some(Err(NotPublished::Lost(lost))) => self.not_published(lost),
        }
    }

    /// Comes before anything more is published, so that a `kill -9` repeats no more than a window's worth.
    fn trim(&mut self) {
        let now = Instant::now();
        if !self.journal.is_due(now) {
            return;
        }
        match self.spool.trim() {
            Ok(()) => {
                self.journal.worked();
                if let Some(session) = self.connection.session() {
                    session.clear();
                }
            }
            Err(error) => self.journal.failed(now, &error),
        }
    }

    /// Bounds what a power cut repeats. Comes before anything more is published, as above.
    fn bound_repeats(&mut self) {
        let now = Instant::now();
        if !self.flush.is_due(now) {
            return;
        }
        match self.spool.bound_repeats(now) {
            Ok(false) => {}
            Ok(true) => self.flush.worked(),
            Err(error) => self.flush.failed(now, &error),
        }
    }
}
