//! The simulated world beyond the gateway: a link that delays and breaks, and a broker with a session that refuses, forgets,
//! and hangs up. In virtual time, and by one source of randomness.

use crate::clock::{Reading, instant, virtual_time};
use crate::config::{Config, Limits};
use crate::delivery::{Connected, Delivery, Lost, Publish, Refusal, Report, Scope, UnderWay};
use crate::message::{Qos, Seq};
use crate::payload::Outgoing;
use crate::publisher::link::Link;
use crate::spool::Spool;
use crossbeam_channel::{Receiver, never};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How the broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// It refuses every message with a reason.
    RefusesAll,
    /// It accepts connections and ends them at the first publish, as in an election.
    HangsUp,
    /// It answers nothing.
    Silent,
}

/// A message that reached the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    pub what: Publish,
    /// Which life of the broker's session it belongs to.
    pub session: u32,
}

/// What happens at a moment to come, over the connection of that number.
#[derive(Debug, Clone)]
enum Happening {
    Connected,
    Arrives(Publish, Qos),
    /// The broker's answer to a publish at QoS 1, or its last one at QoS 2.
    Acknowledged(Publish),
    Received(Seq),
    Released(Seq),
    Refused(Publish, Refusal),
    Disconnected,
}

/// The stage of an exchange at QoS 2, as the gateway noted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Published,
    Received,
}

/// The world. One for each history.
#[derive(Debug)]
pub struct World {
    pub random: fastrand::Rng,
    pub mood: Mood,
    /// Whether it refuses some messages for ever, with a reason ([`is_poison`]).
    pub has_poison: bool,
    pub is_up: bool,
    pub latency: Duration,
    pub receive_maximum: u16,
    happenings: BTreeMap<(Instant, u64), (u64, Happening)>,
    next_id: u64,
    rings: Vec<Report>,
    connection: u64,
    is_connected: bool,
    in_flight: BTreeSet<Publish>,
    /// What the gateway noted, which outlives the process and, when it was flushed, the power.
    notes: BTreeMap<Seq, Stage>,
    /// The process knows that these exchanges are over; their notes stay until the journal has it.
    over: BTreeSet<Seq>,
    is_established: bool,
    /// The broker's end of the session.
    broker_keeps: bool,
    broker_received: BTreeSet<Seq>,
    pub session: u32,
    pub arrivals: Vec<Arrival>,
    pub losses: u64,
    pub attempts: Vec<Instant>,
    pub published: Vec<Instant>,
    pub peak_in_flight: usize,
    /// Whether it refused, or ended connections over, what it takes otherwise.
    pub overtakes: bool,
    /// What was found wrong.
    pub violations: Vec<String>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            mood: Mood::Good,
            has_poison: false,
            is_up: true,
            latency: Duration::from_millis(20),
            receive_maximum: u16::MAX,
            happenings: BTreeMap::new(),
            next_id: 0,
            rings: Vec::new(),
            connection: 0,
            is_connected: false,
            in_flight: BTreeSet::new(),
            notes: BTreeMap::new(),
            over: BTreeSet::new(),
            is_established: false,
            broker_keeps: false,
            broker_received: BTreeSet::new(),
            session: 0,
            arrivals: Vec::new(),
            losses: 0,
            attempts: Vec::new(),
            published: Vec::new(),
            peak_in_flight: 0,
            overtakes: false,
            violations: Vec::new(),
        }
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
        let at = (instant() + self.latency + jitter).max(newest.unwrap_or_else(instant));
        self.happenings.insert((at, self.next_id), (self.connection, happening));
    }

    /// Lets happen what is due.
    pub fn advance(&mut self) {
        while let Some(((at, _), _)) = self.happenings.first_key_value()
            && *at <= instant()
            && let Some((_, (connection, happening))) = self.happenings.pop_first()
        {
            if connection == self.connection {
                self.happen(happening);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected => self.accept(),
            Happening::Arrives(what, qos) => self.arrives(what, qos),
            Happening::Acknowledged(what) => {
                self.in_flight.remove(&what);
                self.rings.push(Report::Acknowledged(what));
            }
            Happening::Received(seq) => {
                self.notes.insert(seq, Stage::Received);
                self.later(Happening::Released(seq));
            }
            Happening::Released(seq) => {
                self.broker_received.remove(&seq);
                self.later(Happening::Acknowledged(Publish::Message(seq)));
            }
            Happening::Refused(what, refusal) => {
                self.in_flight.remove(&what);
                self.rings.push(Report::Refused(what, refusal));
            }
            Happening::Disconnected => self.rings.push(Report::Disconnected),
        }
    }

    /// The broker accepts the connection.
    fn accept(&mut self) {
        if !self.is_up {
            return self.report_loss(Lost::Passing("no connection: refused".to_owned()));
        }
        self.is_connected = true;
        let session_present = self.broker_keeps && self.is_established;
        if !session_present {
            self.session += 1;
            self.broker_received.clear();
            (self.notes, self.over) = (BTreeMap::new(), BTreeSet::new());
            (self.broker_keeps, self.is_established) = (true, true);
        }
        let limits = Limits { receive_maximum: self.receive_maximum, ..Limits::NONE };
        self.rings.push(Report::Connected(Connected { session_present, at_qos_2: true, limits }));
        let resumed = self.notes.iter().filter(|(seq, _)| !self.over.contains(seq));
        let resumed: Vec<(Seq, Stage)> = resumed.map(|(seq, stage)| (*seq, *stage)).collect();
        for (seq, stage) in resumed {
            self.in_flight.insert(Publish::Message(seq));
            self.later(match stage {
                Stage::Published => Happening::Arrives(Publish::Message(seq), Qos::ExactlyOnce),
                Stage::Received => Happening::Released(seq),
            });
        }
    }

    fn arrives(&mut self, what: Publish, qos: Qos) {
        let is_poison = self.has_poison && is_poison(what);
        match self.mood {
            Mood::Silent => {}
            Mood::HangsUp => {
                self.overtakes = true;
                self.cut();
            }
            Mood::RefusesAll if what != Publish::Status => self.refuse(what),
            Mood::RefusesAll | Mood::Good if is_poison => self.refuse(what),
            Mood::RefusesAll | Mood::Good => self.take(what, qos),
        }
    }

    fn refuse(&mut self, what: Publish) {
        self.overtakes = true;
        let refusal = Refusal::Flatly(Scope::Broker, "no (0x83)".to_owned());
        self.later(Happening::Refused(what, refusal));
    }

    fn take(&mut self, what: Publish, qos: Qos) {
        match (what, qos) {
            (Publish::Status, _) => {}
            (Publish::Message(seq), Qos::ExactlyOnce) => {
                if self.broker_received.insert(seq) {
                    self.arrivals.push(Arrival { what, session: self.session });
                }
                return self.later(Happening::Received(seq));
            }
            _ => self.arrivals.push(Arrival { what, session: self.session }),
        }
        if qos == Qos::AtMostOnce {
            return;
        }
        self.later(Happening::Acknowledged(what));
    }

    /// The connection breaks: what was under way over it is lost.
    pub fn cut(&mut self) {
        if self.is_connected {
            self.report_loss(Lost::Ended("connection lost".to_owned()));
        }
    }

    fn report_loss(&mut self, lost: Lost) {
        self.losses += u64::from(self.is_connected);
        self.drop_connection();
        self.rings.push(Report::Lost(lost));
    }

    fn drop_connection(&mut self) {
        self.connection += 1;
        self.is_connected = false;
        self.in_flight.clear();
        self.happenings.clear();
    }

    /// The broker forgets its sessions.
    pub fn forget(&mut self) {
        self.cut();
        self.broker_keeps = false;
        self.broker_received.clear();
    }

    /// The gateway's process has ended. `power`: so has the power, and notes that were not flushed are worth nothing.
    pub fn gateway_ended(&mut self, power: bool) {
        self.losses += 1;
        self.drop_connection();
        self.rings.clear();
        self.over.clear();
        if power {
            self.is_established = false;
            self.notes.clear();
        }
    }
}

/// Whether the broker never takes this message, where there is poison.
pub fn is_poison(what: Publish) -> bool {
    what.spooled().is_some_and(|seq| seq.0 % 97 == 13)
}

/// The gateway's end of the world's link.
#[derive(Debug)]
pub struct Wire {
    pub world: Rc<RefCell<World>>,
    nothing: Receiver<()>,
}

impl Wire {
    pub fn new(world: Rc<RefCell<World>>) -> Self {
        Self { world, nothing: never() }
    }
}

impl Link for Wire {
    /// The world keeps the reports.
    type Ring = ();

    fn rings(&self) -> &Receiver<()> {
        &self.nothing
    }

    fn poll(&mut self) -> Option<()> {
        let mut world = self.world.borrow_mut();
        world.advance();
        (!world.rings.is_empty()).then_some(())
    }

    fn wait(&mut self, until: Instant) -> Option<()> {
        loop {
            if self.poll().is_some() {
                return Some(());
            }
            let next = self.world.borrow().next().filter(|next| *next <= until);
            virtual_time::advance_to(next.unwrap_or(until));
            next?;
        }
    }

    fn answer(&mut self, (): ()) -> Option<Report> {
        let mut world = self.world.borrow_mut();
        (!world.rings.is_empty()).then(|| world.rings.remove(0))
    }

    fn connect(&mut self, _: usize, _: Option<Outgoing>, delivery: &Delivery, _: Reading) -> Result<(), Lost> {
        let mut world = self.world.borrow_mut();
        world.drop_connection();
        world.attempts.push(instant());
        let left_out = world.notes.keys().any(|seq| !delivery.resumes(Publish::Message(*seq)));
        assert!(!left_out, "no suspects at QoS 2 in these histories");
        world.later(Happening::Connected);
        Ok(())
    }

    fn publish(&mut self, what: Publish, outgoing: Outgoing) -> Result<(), Lost> {
        let mut world = self.world.borrow_mut();
        if !world.is_connected {
            return Err(Lost::Ended("publish failed".to_owned()));
        }
        if outgoing.qos != Qos::AtMostOnce {
            world.in_flight.insert(what);
        }
        world.peak_in_flight = world.peak_in_flight.max(world.in_flight.len());
        if what != Publish::Status {
            world.published.push(instant());
        }
        if let (Publish::Message(seq), Qos::ExactlyOnce) = (what, outgoing.qos) {
            world.notes.insert(seq, Stage::Published);
        }
        if outgoing.qos == Qos::AtMostOnce {
            world.rings.push(Report::Acknowledged(what));
        }
        world.later(Happening::Arrives(what, outgoing.qos));
        Ok(())
    }

    fn disconnect(&mut self) {
        self.world.borrow_mut().later(Happening::Disconnected);
    }

    fn close(&mut self) -> Vec<UnderWay> {
        let mut world = self.world.borrow_mut();
        world.drop_connection();
        world.rings.clear();
        drop(world);
        self.under_way()
    }

    fn first(&self) -> usize {
        0
    }

    fn has_session(&self) -> bool {
        true
    }

    fn under_way(&self) -> Vec<UnderWay> {
        let world = self.world.borrow();
        let notes = world.notes.iter().filter(|(seq, _)| !world.over.contains(seq));
        let under_way =
            notes.map(|(seq, stage)| UnderWay { what: Publish::Message(*seq), confirmed: *stage == Stage::Received });
        under_way.collect()
    }

    fn find_session(&mut self, _: &Config, _: &Spool) -> bool {
        false
    }

    fn reconfigure(&mut self, _: &Config, _: &Spool) {}

    fn end(&mut self, what: Publish) {
        if let Publish::Message(seq) = what {
            self.world.borrow_mut().over.insert(seq);
        }
    }

    fn abandon(&mut self, what: Publish) {
        if let Publish::Message(seq) = what {
            self.world.borrow_mut().notes.remove(&seq);
        }
    }

    fn forget_session(&mut self) {
        let mut world = self.world.borrow_mut();
        world.notes.clear();
        world.is_established = false;
    }

    fn journal_written(&mut self) {
        let mut world = self.world.borrow_mut();
        let over = std::mem::take(&mut world.over);
        world.notes.retain(|seq, _| !over.contains(seq));
    }

    fn take_stalled(&mut self, _: Instant) -> Duration {
        Duration::ZERO
    }

    fn end_session(&mut self) {}
}
