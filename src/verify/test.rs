//! The test: what it starts, what it waits for, and how it comes to an end.

use super::faults::{Faults, Harm, Step};
use super::ledger::{Accepted, Copy, Ledger, Second};
use super::load::{self, microseconds};
use super::process::Process;
use super::progress::{Progress, State};
use super::relay::{Passage, Relay};
use super::report::Report;
use super::setup::{PROBE, Settings};
use super::terms::Terms;
use super::trouble::Trouble;
use super::verdict::{End, Made, Verdict};
use crate::agent::Asked;
use crate::config::{Config, Sync};
use crate::message::Seq;
use crate::mqtt::{Arrival, Found, Heard, Subscriber};
use crate::spool::Spool;
use crossbeam_channel::{RecvTimeoutError, select};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long the loop waits at most before it looks at what is due.
const TURN: Duration = Duration::from_millis(20);
/// How long a broker may take to pass on what it has acknowledged, while nothing else comes.
const GRACE: Duration = Duration::from_secs(5);
/// How long the agent may take to start: a slow card opens a spool.
const STARTS: Duration = Duration::from_secs(30);
/// What an agent's stop may take beside `shutdown_timeout`.
const SAVING: Duration = Duration::from_secs(15);
/// The pause between two attempts of the second connection.
const AGAIN: Duration = Duration::from_secs(1);
/// A test that runs.
pub struct Test<'a> {
    settings: &'a Settings,
    terms: Terms,
    /// The agent's.
    config: Config,
    agent: Process,
    relay: Option<Relay>,
    subscriber: &'a mut Subscriber,
    /// When the second connection is tried again; `None`: it is there.
    again_at: Option<Instant>,
    is_blind: bool,
    faults: Faults,
    made: Made,
    ledger: Ledger,
    /// The newest of the present process.
    report: Report,
    /// Of former processes.
    not_accepted: u64,
    dropped: Vec<RangeInclusive<u64>>,
    times: Times,
    progress: Progress,
}

/// When something happened last.
struct Times {
    started: Instant,
    /// A message was accepted.
    accepted: Instant,
    arrived: Instant,
    /// Something has moved, or could not.
    moved: Instant,
    /// Everything was made.
    over: Option<Instant>,
}

impl<'a> Test<'a> {
    /// Starts the agent.
    ///
    /// # Errors
    /// It does not start.
    pub fn begin(
        settings: &'a Settings,
        terms: Terms,
        relay: Option<Relay>,
        subscriber: &'a mut Subscriber,
    ) -> Result<Self, Trouble> {
        let config = terms.config().map_err(|problems| Trouble::Config(problems.to_string()))?;
        let (mut agent, started) = (Process::start(&terms)?, Instant::now());
        let Ok(report) = agent.reports().recv_timeout(STARTS) else { return Err(agent.trouble()) };
        let mut ledger = Ledger::new(settings.count);
        ledger.is_of(&report.stream);
        #[expect(clippy::cast_precision_loss, reason = "it need not be exact")]
        let time = Duration::try_from_secs_f64(settings.count as f64 / settings.rate).unwrap_or(Duration::MAX);
        let time = settings.time.map_or(time, |most| most.min(time));
        let times = Times { started, accepted: started, arrived: started, moved: started, over: None };
        let mut progress = Progress::new(started);
        progress.tell(&format!("messages go to `{}` at {}", terms.topic, config.broker.addresses[0]), started);
        Ok(Self {
            settings,
            terms,
            config,
            agent,
            relay,
            subscriber,
            again_at: None,
            is_blind: false,
            faults: Faults::new(settings.faults, started, time),
            made: Made::default(),
            ledger,
            report,
            not_accepted: 0,
            dropped: Vec::new(),
            times,
            progress,
        })
    }

    /// Runs until everything has its place, nothing moves any more, or somebody stops it.
    ///
    /// # Errors
    /// The agent has ended by itself.
    pub fn run(&mut self, asked: &Asked) -> Result<End, Trouble> {
        loop {
            select! {
                recv(asked.stop) -> _ => return Ok(End::Stopped),
                recv(self.subscriber.heard()) -> heard => heard.into_iter().for_each(|heard| self.hear(heard)),
                recv(self.agent.reports()) -> report => match report {
                    Ok(report) => self.take(report),
                    Err(_) => return Err(self.agent.trouble()),
                },
                default(TURN) => {}
            }
            let now = Instant::now();
            while let Some(step) = self.faults.next(now, self.times.over.is_some()) {
                self.make(step, now)?;
            }
            self.look_after_subscriber(now);
            self.look_whether_all_is_made(now);
            let Report { accepted, waiting, .. } = self.report;
            let received = self.ledger.received();
            self.progress.show(State { count: self.settings.count, accepted, received, waiting }, now);
            if let Some(end) = self.end(now) {
                return Ok(end);
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message(arrival) => self.arrived(&arrival),
            Heard::Lost if self.again_at.is_some() => {}
            Heard::Lost => {
                let now = Instant::now();
                self.progress.tell("the second connection is lost", now);
                self.again_at = Some(now);
            }
        }
    }

    fn arrived(&mut self, arrival: &Arrival) {
        if arrival.payload() == PROBE {
            return;
        }
        // The clock of the payload, at the moment at which the message came.
        let now = load::now().saturating_sub(microseconds(arrival.at.elapsed()));
        let copy = || if arrival.is_repeat() { Copy::Repeat } else { Copy::Own };
        self.ledger.arrived(arrival.payload(), now, copy);
        (self.times.arrived, self.times.moved) = (arrival.at, arrival.at);
    }

    fn take(&mut self, report: Report) {
        let now = Instant::now();
        if report.accepted > self.report.accepted {
            self.times.accepted = now;
        }
        if (report.accepted, report.waiting) != (self.report.accepted, self.report.waiting) {
            self.times.moved = now;
        }
        self.dropped.extend(report.dropped.map(|(first, last)| first..=last));
        self.report = Report { dropped: None, ..report };
    }

    fn make(&mut self, step: Step, now: Instant) -> Result<(), Trouble> {
        match (step, &self.relay) {
            (Step::Kill, _) => {
                self.made.kills += 1;
                self.progress.tell("the agent is killed", now);
                self.replace_agent()?;
            }
            (Step::Begin(harm, time), Some(relay)) => {
                let (passage, count) = match harm {
                    Harm::Cut => (Passage::Open, &mut self.made.cuts),
                    Harm::Delay => (Passage::Held, &mut self.made.delays),
                    Harm::BlackHole => (Passage::Swallowed, &mut self.made.black_holes),
                    Harm::Outage => (Passage::Closed, &mut self.made.outages),
                };
                *count += 1;
                relay.set(passage);
                if matches!(harm, Harm::Cut | Harm::Outage) {
                    relay.cut();
                }
                let time =
                    if time.is_zero() { String::new() } else { format!(" for {}", humantime::format_duration(time)) };
                self.progress.tell(&format!("{harm}{time}"), now);
            }
            (Step::End(harm), Some(relay)) => {
                if harm == Harm::BlackHole {
                    relay.cut();
                }
                relay.set(Passage::Open);
                if harm != Harm::Cut {
                    self.progress.tell("that is over", now);
                }
                self.times.moved = now;
            }
            (Step::Begin(..) | Step::End(_), None) => {}
        }
        Ok(())
    }

    /// Kills the agent, and starts it again over what it has left.
    fn replace_agent(&mut self) -> Result<(), Trouble> {
        // What it has counted by now: reports come as soon as a rule drops something.
        self.agent.kill();
        while let Ok(report) = self.agent.reports().recv_timeout(GRACE) {
            self.take(report);
        }
        self.not_accepted += self.report.not_accepted;
        self.agent = Process::start(&self.terms)?;
        match self.agent.reports().recv_timeout(STARTS) {
            Ok(report) => self.take(report),
            Err(_) => return Err(self.agent.trouble()),
        }
        Ok(())
    }

    /// Brings the second connection back.
    fn look_after_subscriber(&mut self, now: Instant) {
        if self.again_at.is_none_or(|at| now < at) {
            return;
        }
        match self.subscriber.reconnect() {
            Ok(found) => {
                self.again_at = None;
                self.is_blind |= found == Found::Nothing;
                let now = Instant::now();
                self.progress.tell("the second connection is back", now);
                (self.times.arrived, self.times.moved) = (now, now);
            }
            Err(_) => self.again_at = Some(Instant::now() + AGAIN),
        }
    }

    /// Notes when every message is made and accepted, or will never be.
    fn look_whether_all_is_made(&mut self, now: Instant) {
        let Report { is_over, settled, sampled, .. } = self.report;
        let flush = match self.config.spool.sync {
            Sync::Always => Duration::ZERO,
            Sync::Every(interval) => interval,
        };
        let rests = now.saturating_duration_since(self.times.accepted) > GRACE + flush;
        if self.times.over.is_none() && is_over && (settled >= sampled || rests) {
            self.times.over = Some(now);
            self.progress.tell("all messages are made", now);
        }
    }

    /// Whether the test has come to its end.
    fn end(&self, now: Instant) -> Option<End> {
        self.times.over?;
        let Report { accepted, waiting, .. } = self.report;
        if waiting == 0 && self.ledger.received() >= accepted {
            return Some(End::Settled);
        }
        if self.faults.is_harmed() {
            return None;
        }
        let since = |at: Instant| now.saturating_duration_since(at);
        // What the broker has acknowledged is on its way to the second connection, or lost.
        let rests = self.again_at.is_none() && since(self.times.moved.max(self.times.arrived)) > GRACE;
        if waiting == 0 && rests {
            return Some(End::Settled);
        }
        (since(self.times.moved) > self.settings.patience).then_some(End::Stuck(self.settings.patience))
    }

    /// Stops the agent, and settles what became of every message it accepted, by its spool.
    ///
    /// # Errors
    /// The spool cannot be opened.
    pub fn conclude(mut self, end: End) -> Result<Verdict, Trouble> {
        self.progress.end();
        self.agent.stop(self.config.shutdown_timeout + SAVING);
        while let Ok(report) = self.agent.reports().recv_timeout(GRACE) {
            self.take(report);
        }
        let spool = Spool::open(&self.config.spool, &[]).map_err(|error| Trouble::Spool(error.to_string()))?;
        let count = spool.next_seq().0 - 1;
        let is_waiting = |seq| !spool.is_finished(Seq(seq));
        self.hear_the_rest(count, &is_waiting);
        let second = self.second();
        let accepted = Accepted { count, is_waiting: &is_waiting, dropped: &self.dropped, second };
        let over = self.times.over.unwrap_or_else(Instant::now);
        let since_start = |at: Instant| at.saturating_duration_since(self.times.started);
        Ok(Verdict {
            end,
            qos: self.settings.qos,
            balance: self.ledger.settle(&accepted),
            not_accepted: self.not_accepted + self.report.not_accepted,
            made: self.made,
            made_within: since_start(over),
            received_within: since_start(self.times.arrived),
            is_blind: self.is_blind,
        })
    }

    fn second(&self) -> Second {
        if self.again_at.is_none() { Second::Connected } else { Second::Away }
    }

    /// Waits for what the broker has acknowledged and not passed on yet.
    fn hear_the_rest(&mut self, count: u64, is_waiting: &dyn Fn(u64) -> bool) {
        let deadline = Instant::now() + GRACE;
        loop {
            let accepted = Accepted { count, is_waiting, dropped: &self.dropped, second: self.second() };
            if self.ledger.settle(&accepted).lost.count == 0 {
                return;
            }
            match self.subscriber.heard().recv_deadline(deadline) {
                Ok(heard) => {
                    self.hear(heard);
                    let more: Vec<Heard> = self.subscriber.heard().try_iter().collect();
                    more.into_iter().for_each(|heard| self.hear(heard));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
