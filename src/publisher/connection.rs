//! Keeps a connection: connects, notices its loss, waits out the back-off, and says so in the log.

use super::End;
use super::news::Reach;
use super::standing::{Proof, State, Stay};
use super::terms::{first, session, terms};
use crate::burst::Burst;
use crate::config::{BrokerProfile, Config};
use crate::delivery::Dated;
use crate::delivery::backoff::{Backoff, Next};
use crate::delivery::members::{Members, Turn};
use crate::delivery::{Connected, Event, Lost, NotPublished, Publish};
use crate::message::{Qos, Seq};
use crate::mqtt::Session;
use crate::mqtt::{Link, Ring};
use crate::network::{Target, targets};
use crate::payload::Outgoing;
use crate::spool::{Backlog, Spool};
use crossbeam_channel::Receiver;
use log::{Level, debug, info, log, warn};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// On top of `connect_timeout`, which the library keeps by itself. It does not while a name server makes it wait, and
/// then it would make us wait as well if we touched it.
const GRACE: Duration = Duration::from_secs(60);

/// How many different reasons of failures are warned of in a row; a broker's own words may never end.
const REASONS: usize = 16;

/// How long the end of a connection may take, with nothing in flight, when another one is to follow.
const GOODBYE: Duration = Duration::from_secs(2);

/// The connection to the broker, over all its losses.
pub struct Connection {
    link: Link,
    state: State,
    backoff: Backoff,
    window: u16,
    keep_alive: Duration,
    connect_timeout: Duration,
    /// A connection that carries messages has to last this long, lest two clients with the same id push each other
    /// out as fast as they can.
    settling: Duration,
    members: Members,
    /// What kinds of brokers they are, in their order.
    profiles: Vec<BrokerProfile>,
    /// The names of our sessions at the brokers, in the order of the members.
    sessions: Vec<u32>,
    /// What must be reachable.
    targets: Vec<Target>,
    /// Whether there should be a session, and the disk takes no notes for it. What is at QoS 2 goes out all the same.
    lacks_session: bool,
    /// The member of the last connection.
    connected: Option<usize>,
    /// When the status message was published that is not acknowledged yet.
    awaited_status: Option<Instant>,
    /// Whether that one was resumed with the session: a newer one follows it.
    status_resumed: bool,
    failures: Burst,
    /// Why there is no connection.
    last_loss: Option<String>,
    /// Why the connection failed since it last held, without digits: what is new among them is news.
    reasons: BTreeSet<String>,
    /// Attempts that led to a connection which did not last.
    unproved: Burst,
}

impl Connection {
    /// A connection whose first attempt is due at once, and the channel that the library rings on. `boot_id` names the
    /// present boot.
    pub fn new(config: &Config, spool: &Spool, will: Option<Outgoing>, boot_id: u32) -> (Self, Receiver<Ring>) {
        let (sessions, terms) = terms(config, spool, will, boot_id, None);
        let (link, rings) = Link::new(terms);
        (Self::over(link, sessions, config), rings)
    }

    /// Gives the present connection up and begins anew by another configuration, on the same channel.
    pub fn change(&mut self, config: &Config, spool: &Spool, will: Option<Outgoing>, boot_id: u32) {
        // What is on its way is noted until then; it is no end of the session, which may go on.
        self.link.close();
        let former = self.session().map(|session| (self.sessions.as_slice(), session));
        let (sessions, terms) = terms(config, spool, will, boot_id, former);
        *self = Self::over(self.link.successor(terms), sessions, config);
    }

    fn over(link: Link, sessions: Vec<u32>, config: &Config) -> Self {
        if !config.broker.tls.verify && config.broker.addresses.iter().any(|address| address.scheme.is_tls()) {
            warn!("broker.tls.verify is false: whoever answers is taken for the broker, and gets what is meant for it");
        }
        let targets = targets(&config.broker);
        let profile = |address| BrokerProfile::of(&config.broker, address);
        Self {
            profiles: config.broker.addresses.iter().map(profile).collect(),
            members: Members::new(config.broker.addresses.clone(), first(&link, &sessions)),
            sessions,
            link,
            state: State::waiting(Duration::ZERO, &targets),
            targets,
            backoff: Backoff::new(config.retry.clone()),
            window: config.delivery.window,
            keep_alive: config.broker.keep_alive,
            connect_timeout: config.broker.connect_timeout,
            settling: config.retry.stable_after,
            lacks_session: false,
            connected: None,
            awaited_status: None,
            status_resumed: false,
            failures: Burst::default(),
            last_loss: None,
            reasons: BTreeSet::new(),
            unproved: Burst::default(),
        }
    }

    /// How many publishes may be in flight; `None`: not connected.
    pub fn limit(&self) -> Option<usize> {
        self.state.limit()
    }

    /// Whether there is a broker.
    pub fn reach(&self) -> Reach {
        match (self.limit(), &self.last_loss) {
            (Some(_), _) => Reach::Connected(self.members.index()),
            (None, Some(_)) => Reach::Away,
            (None, None) => Reach::Unknown,
        }
    }

    /// The broker's address while we are connected, else why we are not.
    pub fn detail(&self) -> String {
        match self.reach() {
            Reach::Connected(_) => self.members.present().to_string(),
            Reach::Away | Reach::Unknown => self.last_loss.clone().unwrap_or_default(),
        }
    }

    /// Looks for a session before the next attempt to connect where there is none: the disk may take notes by now. Whether
    /// one was found, in which messages may be on their way.
    pub fn finds_session(&mut self, now: Instant, config: &Config, spool: &Spool, boot_id: u32) -> bool {
        let is_next = matches!(self.state, State::Waiting { until, .. } if now >= until);
        if !is_next || self.session().is_some() {
            return false;
        }
        let found = session(config, &self.sessions, spool, boot_id);
        self.lacks_session = found.is_err();
        match found {
            Ok(None) => false,
            Ok(Some(session)) => {
                self.link.adopt(session);
                info!("messages in flight can be noted again");
                true
            }
            Err(error) => {
                debug!("messages in flight still cannot be noted error={error}");
                false
            }
        }
    }

    /// When [`Connection::check`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.deadline()
    }

    /// Does what time asks for: the next attempt, or the end of one that takes too long. The attempt's failure, if it
    /// failed. `render` gives what a message is published as; `resumes` whether the session is gone on with for it.
    pub fn check(
        &mut self,
        now: Instant,
        render: impl Fn(Seq, Dated) -> Option<Outgoing>,
        resumes: impl Fn(Publish) -> bool,
    ) -> Option<Lost> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match &mut self.state {
            State::Waiting { until, network } => {
                if now < *until {
                    let come = network.look(now)?;
                    info!("the network has changed ({come}); connecting at once");
                    self.backoff.succeed();
                }
                let address = self.members.present();
                debug!("connecting to {address} (attempt {})", self.backoff.failures() + 1);
                // Counted from here, where the credentials are made.
                let stay = self.profiles[self.members.index()]
                    .renewal
                    .map_or(Stay::Unbounded, |after| Stay::Until(now + after));
                self.state = State::Connecting { deadline: now + self.connect_timeout + GRACE, stay };
                self.link.connect(address, render, resumes).err()
            }
            State::Connecting { .. } => {
                let timeout = humantime::format_duration(self.connect_timeout);
                Some(Lost::Passing(format!("no connection: no answer within {timeout}")))
            }
            State::Connected { proof, stay, .. } => {
                if matches!(stay, Stay::Until(at) if now >= *at) {
                    info!("renewing the SAS token; reconnecting");
                    *stay = Stay::Over;
                }
                if matches!(proof, Proof::By(at) if now >= *at) {
                    self.proved();
                }
                None
            }
            State::Reconnecting { .. } => {
                self.connect_next();
                None
            }
            State::Disconnecting | State::Over => None,
        }
    }

    /// What a ring of the library means.
    pub fn answer(&mut self, ring: Ring) -> Option<Event> {
        let event = self.link.answer(ring)?;
        match event {
            Event::Acknowledged(Publish::Status) | Event::Refused(Publish::Status, _) => self.awaited_status = None,
            Event::Disconnected if matches!(self.state, State::Reconnecting { .. }) => self.connect_next(),
            Event::Disconnected => self.state = State::Over,
            _ => {}
        }
        Some(event)
    }

    /// Notes that the broker accepted the connection.
    pub fn connected(&mut self, connected: Connected, now: Instant, backlog: Backlog) {
        let profile = &self.profiles[self.members.index()];
        let keeps_session = self.session().is_some() || self.lacks_session;
        let untold = if keeps_session { profile.exactly_once_at_a_time } else { u16::MAX };
        let limit = self.window.min(connected.limits.receive_maximum).min(untold);
        // Where connections come and do not last, the first one to a broker says it all.
        let elsewhere = self.connected.replace(self.members.index()) != Some(self.members.index());
        let level = if self.unproved.failed() == Level::Warn || elsewhere { Level::Info } else { Level::Debug };
        log!(
            level,
            "connected to {} session_present={} window={limit} backlog={} attempts={}",
            self.members.present(),
            connected.session_present,
            backlog.messages,
            self.backoff.failures() + 1
        );
        let (lasting, proof) = (now + self.settling, Proof::By(now + self.keep_alive));
        let stay = if let State::Connecting { stay, .. } = self.state { stay } else { Stay::Unbounded };
        self.state = State::Connected { limit: usize::from(limit), lasting, proof, stay };
    }

    /// From when on the present connection has lasted for a while.
    pub fn lasting(&self) -> Option<Instant> {
        self.state.lasting()
    }

    /// Notes that the broker has taken a message of the spool over the present connection.
    pub fn carries(&mut self, now: Instant) {
        if let State::Connected { lasting, proof: Proof::By(at), .. } = &mut self.state {
            *at = (*at).min(*lasting);
            if now >= *at {
                self.proved();
            }
        }
    }

    /// The present connection has proved itself: the next failure is the first one again.
    fn proved(&mut self) {
        let State::Connected { proof, .. } = &mut self.state else { return };
        if *proof == Proof::Given {
            return;
        }
        *proof = Proof::Given;
        self.backoff.succeed();
        self.reasons.clear();
        let failures = self.failures.ended().unwrap_or(0);
        if self.unproved.ended().is_some_and(|connections| connections > 1) {
            info!("connection to {} holds again after {failures} failures", self.members.present());
        }
    }

    /// Notes that there is no connection any more, or that none came about, and plans the next attempt; how the
    /// publisher ends, when there will be none.
    pub fn lost(&mut self, lost: Lost, backlog: Backlog) -> Option<End> {
        if matches!(self.state, State::Reconnecting { .. }) {
            // It was to end, and nothing was in flight.
            self.awaited_status = None;
            self.connect_next();
            return None;
        }
        let was_over = matches!(self.state, State::Over | State::Disconnecting);
        let held = matches!(self.state, State::Connected { proof: Proof::Given, .. });
        self.state = State::Over;
        self.link.close();
        self.awaited_status = None;
        self.status_resumed = false;
        if was_over {
            return None;
        }
        self.last_loss = Some(lost.to_string());
        let first = first(&self.link, &self.sessions);
        let former = self.members.index();
        let delay = match self.members.lost(&lost, held, first) {
            Turn::Refused => return Some(End::Refused(lost.to_string())),
            Turn::Next => Duration::ZERO,
            Turn::Round => match self.backoff.fail(fastrand::f64()) {
                Next::Wait(delay) => delay,
                Next::GiveUp => {
                    warn!("{lost}; giving up after {} attempts", self.backoff.failures());
                    return Some(End::GaveUp(lost.to_string()));
                }
            },
        };
        let elsewhere =
            if self.members.index() == former { String::new() } else { format!("{} ", self.members.present()) };
        log!(
            self.level_of(&lost.to_string()),
            "{lost}; retrying {elsewhere}in {:.1} s (attempt {}, backlog {})",
            delay.as_secs_f64(),
            self.backoff.failures() + 1,
            backlog.messages
        );
        self.state = State::waiting(delay, &self.targets);
        None
    }

    /// How loud a failure is: a reason that was not there before may be another trouble behind the first one.
    fn level_of(&mut self, reason: &str) -> Level {
        let level = self.failures.failed();
        let words: String = reason.chars().filter(|character| !character.is_ascii_digit()).collect();
        if self.reasons.len() < REASONS && self.reasons.insert(words) { Level::Warn } else { level }
    }

    /// Publishes over the present connection.
    ///
    /// # Errors
    /// [`NotPublished`].
    pub fn publish(&mut self, what: Publish, outgoing: Outgoing) -> Result<(), NotPublished> {
        self.link.publish(what, outgoing)?;
        if what == Publish::Status {
            self.awaited_status = Some(Instant::now());
        }
        Ok(())
    }

    /// Makes what is on its way durable, so that the session can be gone on with after a reboot. Nothing is sent any
    /// more.
    pub fn end_session(&mut self) {
        // A connection that is being made is left to itself: the library may hold its lock for as long as a name server
        // takes, and nothing is on its way over it yet.
        if !matches!(self.state, State::Connecting { .. }) {
            self.link.close();
            self.link.session().into_iter().for_each(Session::flush);
        }
    }

    /// Whether an acknowledgement at this quality of service says that the broker has the message: at QoS 0 it only says
    /// that the message was written.
    pub fn is_confirmed(&self, qos: Qos) -> bool {
        qos.min(self.link.highest_qos()) > Qos::AtMostOnce
    }

    /// The session in which messages are published at QoS 2.
    pub fn session(&self) -> Option<&Session> {
        self.link.session()
    }

    /// Notes that a status message is on its way again, with the session.
    pub fn resume_status(&mut self, now: Instant) {
        self.awaited_status = Some(now);
        self.status_resumed = true;
    }

    /// Whether a status message that was resumed is over, so that a newer one is due. Once.
    pub fn has_finished_resumed_status(&mut self) -> bool {
        self.awaited_status.is_none() && std::mem::take(&mut self.status_resumed)
    }

    /// Since when a status message waits for its acknowledgement. Another one must not be published meanwhile.
    pub fn awaited_status(&self) -> Option<Instant> {
        self.awaited_status
    }

    /// Counts the status message that waits for its acknowledgement as published so much later, but not later than `now`.
    pub fn postpone(&mut self, by: Duration, now: Instant) {
        self.awaited_status = self.awaited_status.map(|published| (published + by).min(now));
    }

    /// Whether the connection is to be replaced as planned, once nothing is in flight over it.
    pub fn is_leaving(&self) -> bool {
        matches!(self.state, State::Connected { stay: Stay::Over, .. })
    }

    /// Whether there will be no further attempts.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether an attempt to connect is under way, or a connection is being ended for another one: neither takes long.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Connecting { .. } | State::Reconnecting { .. })
    }

    /// Plans to replace the connection, if there is one.
    pub fn leave(&mut self) {
        if let State::Connected { stay, .. } = &mut self.state {
            *stay = Stay::Over;
        }
    }

    /// Ends the connection in order, for another one that follows at once. Nothing must be in flight.
    pub fn reconnect(&mut self, now: Instant) {
        self.state = State::Reconnecting { deadline: now + GOODBYE };
        self.last_loss = Some("connecting anew as planned".to_owned());
        self.link.disconnect();
    }

    /// Whether the connection is being ended as planned.
    pub fn is_reconnecting(&self) -> bool {
        matches!(self.state, State::Reconnecting { .. })
    }

    /// Does not wait for the next attempt.
    pub fn hasten(&mut self, now: Instant) {
        if let State::Waiting { until, .. } = &mut self.state {
            *until = now;
        }
    }

    /// The connection has ended as planned: the next attempt is due at once, and nothing has failed.
    fn connect_next(&mut self) {
        self.link.close();
        self.state = State::waiting(Duration::ZERO, &self.targets);
    }

    /// Ends the connection in order.
    pub fn disconnect(&mut self) {
        self.state = State::Disconnecting;
        self.link.disconnect();
    }

    /// Whether the connection is being ended and the library has not said that it is.
    pub fn is_disconnecting(&self) -> bool {
        matches!(self.state, State::Disconnecting)
    }
}
