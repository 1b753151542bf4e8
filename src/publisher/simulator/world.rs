//! The simulated world beyond the gateway: links that delay and break, and the brokers behind them. In virtual time, and by
//! one source of randomness.

use super::broker::{Answer, Broker, Code, Kept, Packet, Poison, is_poison};
use super::notes::{Exchange, Notes};
use super::seen::{Arrival, Seen};
use crate::clock::instant;
use crate::config::Limits;
use crate::delivery::{Connected, Fault, Lost, Publish, Report};
use crate::message::{Qos, Seq};
use crate::spool::{Spool, Stage};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What happens at a moment to come, over the connection of that number.
#[derive(Debug, Clone)]
enum Happening {
    Connected,
    Arrives(Packet),
    /// The broker's answer to a publish at QoS 1, or its last one at QoS 2.
    Acknowledged(Publish),
    Received(Seq),
    Released(Seq),
    Refused(Publish, Code),
    Disconnected,
    /// The broker ends the connection.
    Ended(Lost),
}

/// The world. One for each history.
#[derive(Debug)]
pub struct World {
    pub random: fastrand::Rng,
    pub brokers: Vec<Broker>,
    /// The brokers behind each address of the configuration.
    pub addresses: Vec<Vec<usize>>,
    /// The sessions that brokers keep for us.
    kept: Vec<Kept>,
    pub poison: Option<Poison>,
    pub latency: Duration,
    pub receive_maximum: u16,
    /// Whether messages at QoS 2 have a session.
    pub has_session: bool,
    pub notes: Notes,
    pub seen: Seen,
    rings: Vec<Report>,
    happenings: BTreeMap<(Instant, u64), (u64, Happening)>,
    next_id: u64,
    /// The moment that is lived through.
    now: Instant,
    connection: u64,
    /// The address that is tried or connected to, and the broker there.
    member: usize,
    broker: usize,
    is_connected: bool,
    /// Whether the broker takes nothing more over the present connection.
    is_deaf: bool,
    /// What the present connection resumes.
    resumed: Vec<Exchange>,
    in_flight: BTreeSet<Publish>,
    lives: u32,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            brokers: Vec::new(),
            addresses: Vec::new(),
            kept: Vec::new(),
            poison: None,
            latency: Duration::from_millis(20),
            receive_maximum: u16::MAX,
            has_session: false,
            notes: Notes::default(),
            seen: Seen::default(),
            rings: Vec::new(),
            happenings: BTreeMap::new(),
            next_id: 0,
            now: instant(),
            connection: 0,
            member: 0,
            broker: 0,
            is_connected: false,
            is_deaf: false,
            resumed: Vec::new(),
            in_flight: BTreeSet::new(),
            lives: 0,
        }
    }

    /// Adds an address, with so many brokers behind it that share their sessions.
    pub fn add_address(&mut self, brokers: usize) {
        let (store, first) = (self.kept.len(), self.brokers.len());
        self.kept.push(Kept::default());
        self.brokers.extend((0..brokers).map(|_| Broker::new(store)));
        self.addresses.push((first..first + brokers).collect());
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Instant> {
        if self.rings.is_empty() { self.happenings.keys().next().map(|(at, _)| *at) } else { Some(instant()) }
    }

    fn later(&mut self, happening: Happening) {
        let jitter = Duration::from_micros(self.random.u64(0..1000));
        self.next_id += 1;
        // In order over one connection, as over TCP.
        let newest = self.happenings.keys().next_back().map(|(at, _)| *at);
        let at = (self.now + self.latency + jitter).max(newest.unwrap_or(self.now));
        self.happenings.insert((at, self.next_id), (self.connection, happening));
    }

    /// Lets happen what is due.
    pub fn advance(&mut self) {
        while let Some(((at, _), _)) = self.happenings.first_key_value()
            && *at <= instant()
            && let Some(((at, _), (connection, happening))) = self.happenings.pop_first()
        {
            self.now = at;
            if connection == self.connection {
                self.happen(happening);
            }
        }
        self.now = instant();
    }

    /// What has happened, in order.
    pub fn take_report(&mut self) -> Option<Report> {
        (!self.rings.is_empty()).then(|| self.rings.remove(0))
    }

    pub fn has_report(&self) -> bool {
        !self.rings.is_empty()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected => self.accept(),
            Happening::Arrives(packet) => self.arrives(packet),
            Happening::Acknowledged(what) => {
                self.in_flight.remove(&what);
                self.notes.answered(what);
                self.rings.push(Report::Acknowledged(what));
            }
            Happening::Received(seq) => {
                self.notes.received(seq);
                self.later(Happening::Released(seq));
            }
            Happening::Released(_) if self.is_deaf => {}
            Happening::Released(seq) if is_poison(Publish::Message(seq)) && self.poison == Some(Poison::Unfinished) => {
            }
            Happening::Released(seq)
                if is_poison(Publish::Message(seq)) && self.poison == Some(Poison::HangsUpAtRelease) =>
            {
                self.hang_up(Lost::Ended("connection lost".to_owned()));
            }
            Happening::Released(seq) => {
                self.kept().received.remove(&seq);
                self.later(Happening::Acknowledged(Publish::Message(seq)));
            }
            Happening::Refused(what, code) => {
                self.in_flight.remove(&what);
                self.notes.answered(what);
                self.rings.push(Report::Refused(what, code.refusal()));
            }
            Happening::Disconnected => self.rings.push(Report::Disconnected),
            Happening::Ended(lost) => self.report_loss(lost),
        }
    }

    /// The session as the present broker keeps it.
    fn kept(&mut self) -> &mut Kept {
        &mut self.kept[self.brokers[self.broker].store]
    }

    /// The gateway begins to connect to a broker. `resumes`: what of the session is resumed.
    pub fn connect(&mut self, member: usize, resumes: impl Fn(Publish) -> bool) {
        self.now = instant();
        self.drop_connection();
        (self.member, self.broker) = (member, *self.random.choice(&self.addresses[member]).unwrap_or(&0));
        self.seen.connecting(self.now);
        let is_resumed = self.notes.resumes_at(member);
        self.resumed = self.notes.on_their_way();
        self.resumed.retain(|exchange| is_resumed && resumes(exchange.packet.what));
        self.later(Happening::Connected);
    }

    /// The broker accepts the connection.
    fn accept(&mut self) {
        if !self.brokers[self.broker].is_up {
            return self.report_loss(Lost::Passing("no connection: refused".to_owned()));
        }
        self.is_connected = true;
        let (member, has_session) = (self.member, self.has_session);
        let session_present = has_session && self.kept().is_present && self.notes.resumes_at(member);
        if !session_present {
            self.lives += 1;
            *self.kept() = Kept { is_present: has_session, received: BTreeSet::new(), life: self.lives };
            self.notes.establish(member);
            self.resumed.clear();
        }
        let limits = Limits { receive_maximum: self.receive_maximum, ..Limits::NONE };
        self.rings.push(Report::Connected(Connected { session_present, at_qos_2: has_session, limits }));
        for Exchange { packet, stage, .. } in std::mem::take(&mut self.resumed) {
            let happening = match (stage, packet.what.spooled()) {
                (Stage::Received, Some(seq)) => Happening::Released(seq),
                (Stage::Published | Stage::Received, _) => {
                    self.in_flight.insert(packet.what);
                    Happening::Arrives(packet)
                }
            };
            self.later(happening);
        }
    }

    fn arrives(&mut self, packet: Packet) {
        if self.is_deaf {
            return;
        }
        let answer = self.brokers[self.broker].answer(&packet, self.poison, &mut self.random);
        match answer {
            Answer::Takes => self.take(&packet),
            // At QoS 0 nobody is told.
            Answer::Refuses(_) if packet.qos == Qos::AtMostOnce => {}
            Answer::Refuses(code) => {
                self.seen.refused(&packet, code);
                self.later(Happening::Refused(packet.what, code));
            }
            Answer::HangsUp => self.hang_up(Lost::Ended("connection lost".to_owned())),
            Answer::Blames => self.hang_up(Lost::Blamed(Fault::Other, "malformed packet (0x81)".to_owned())),
            Answer::Ignores => self.seen.ignored(&packet),
            Answer::Nothing => self.is_deaf = true,
        }
    }

    /// The broker ends the connection. What it has answered arrives before that.
    fn hang_up(&mut self, lost: Lost) {
        self.seen.hung_up();
        self.is_deaf = true;
        self.later(Happening::Ended(lost));
    }

    fn take(&mut self, packet: &Packet) {
        let what = packet.what;
        let arrival = Arrival { packet: packet.clone(), life: self.kept().life };
        match (what, packet.qos) {
            (Publish::Status, _) => {}
            (Publish::Message(seq), Qos::ExactlyOnce) => {
                if self.kept().received.insert(seq) {
                    self.seen.arrived(arrival, self.connection);
                }
                return self.later(Happening::Received(seq));
            }
            _ => self.seen.arrived(arrival, self.connection),
        }
        if packet.qos > Qos::AtMostOnce {
            self.later(Happening::Acknowledged(what));
        }
    }

    /// The gateway publishes.
    ///
    /// # Errors
    /// There is no connection.
    pub fn publish(&mut self, packet: Packet) -> Result<(), Lost> {
        self.now = instant();
        if !self.is_connected {
            return Err(Lost::Ended("publish failed".to_owned()));
        }
        let what = packet.what;
        if packet.qos == Qos::AtMostOnce {
            self.rings.push(Report::Acknowledged(what));
        } else {
            self.in_flight.insert(what);
        }
        if self.has_session {
            self.notes.published(packet.clone());
        }
        self.seen.published(&packet, self.in_flight.len(), self.now);
        self.later(Happening::Arrives(packet));
        Ok(())
    }

    /// The gateway ends the connection in order.
    pub fn disconnect(&mut self) {
        self.now = instant();
        self.later(Happening::Disconnected);
    }

    /// The gateway gives the connection up.
    pub fn close(&mut self) {
        self.seen.losses += u64::from(self.is_connected && !self.in_flight.is_empty());
        self.drop_connection();
        self.rings.clear();
    }

    /// The connection breaks: what was under way over it is lost.
    pub fn cut(&mut self) {
        if self.is_connected {
            self.report_loss(Lost::Ended("connection lost".to_owned()));
        }
    }

    /// The connections to brokers that are not there break.
    pub fn cut_if_down(&mut self) {
        if !self.brokers[self.broker].is_up {
            self.cut();
        }
    }

    fn report_loss(&mut self, lost: Lost) {
        self.seen.losses += u64::from(self.is_connected);
        self.seen.lost(&self.in_flight);
        self.drop_connection();
        self.rings.push(Report::Lost(lost));
    }

    fn drop_connection(&mut self) {
        self.connection += 1;
        (self.is_connected, self.is_deaf) = (false, false);
        self.in_flight.clear();
        self.happenings.clear();
    }

    /// The brokers forget their sessions.
    pub fn forget(&mut self) {
        self.cut();
        self.kept.iter_mut().for_each(|kept| *kept = Kept::default());
    }

    /// The gateway's process has begun, and looks for its session.
    pub fn gateway_began(&mut self, spool: &Spool) {
        let is_left = self.has_session && (spool.waiting() > 0 || self.notes.is_busy());
        self.has_session = spool.publishes_at_qos_2() || is_left;
        if !self.has_session {
            self.notes.forget();
        }
    }

    /// The gateway's process has ended. `power`: so has the power, and notes that were not flushed are worth nothing.
    pub fn gateway_ended(&mut self, power: bool) {
        self.seen.losses += 1;
        self.drop_connection();
        self.rings.clear();
        self.seen.process_ended(self.notes.unanswered_at_qos_1());
        self.notes.process_ended();
        if power {
            self.notes.forget();
        }
    }
}
