//! One history: a gateway with the real core, shell and spool, in a simulated world, from one seed.

use super::broker::{Code, Poison};
use super::checks::{End, Watch};
use super::terms::Terms;
use super::wire::Wire;
use super::world::World;
use crate::clock::{Clock, Reading, instant, virtual_time};
use crate::delivery::Now;
use crate::message::{Sample, Seq, StreamId};
use crate::publisher::clock::ClockWatch;
use crate::publisher::{Channels, Order, Publisher};
use crate::pulse::Pulse;
use crate::spool::power_cut::simulation;
use crate::spool::{Spool, medium};
use crate::status::Counters;
use crossbeam_channel::{Sender, bounded, never, unbounded};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take until fewer messages wait than ever before, with a good broker. One that connections end over, and that has
/// no control but of its own topic, is tried up to 256 times, a minute apart (`TRIES_IN_ORDER` of `delivery/suspects.rs`).
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// What a history did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub steps: u64,
    pub faults: u64,
    pub arrivals: u64,
    pub virtual_time: Duration,
}

/// A history that runs.
pub struct History {
    seed: u64,
    pub(super) random: fastrand::Rng,
    pub(super) world: Rc<RefCell<World>>,
    pub(super) folder: TempDir,
    pub(super) terms: Terms,
    gateway: Option<Gateway>,
    pub(super) figures: Figures,
    pub(super) dropped: u64,
    pub(super) kills: u64,
    pub(super) powers: u64,
    pub(super) watch: Watch,
    start: Instant,
    next_sample: Instant,
    pub(super) next_fault: Instant,
    /// When the faults that last are over.
    pub(super) recovery: Option<Instant>,
    samples: u64,
    /// How many messages that are over the next process may not know to be.
    may_be_forgotten: u64,
    stream: Option<Stream>,
    /// The former stream, where the spool has begun another one: numbers mean other messages from there on.
    former_stream: Option<Stream>,
}

/// The stream of the spool, when a process began or ended.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    pub id: StreamId,
    /// The number of the next message.
    pub next: Seq,
    /// Messages that wait.
    pub backlog: u64,
}

impl Stream {
    pub fn of(spool: &Spool) -> Self {
        Self { id: spool.stream(), next: spool.next_seq(), backlog: spool.waiting() }
    }
}

/// A process.
pub struct Gateway {
    pub publisher: Publisher<Wire>,
    /// When its last turn began.
    turned: Now,
    samples: Sender<Sample>,
    /// Held open: closed, it is the order to stop.
    _orders: Sender<Order>,
    pub counters: Arc<Counters>,
}

/// A broken promise, in words.
pub type Broken = String;

/// Whether faults are injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    Injected,
    Over,
}

impl History {
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let start = virtual_time::now().map_or_else(Instant::now, |(at, _)| at);
        virtual_time::set(start, Reading { wall: 1_700_000_000_000, boot: 100_000 });
        virtual_time::charge(Some(random.fork()));
        medium::failing::set(None);
        let mut world = World::new(random.u64(..));
        let terms = Terms::draw(&mut random);
        world.receive_maximum = *random.choice(&[1, 3, 20, u16::MAX]).unwrap_or(&1);
        terms.addresses.iter().for_each(|brokers| world.add_address(*brokers));
        world.poison = (random.u8(..4) == 0).then(|| Self::draw_poison(&mut random));
        // A disk in memory: what it holds after a power cut is the simulated medium's to say.
        let shared = Path::new("/dev/shm");
        let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }.unwrap();
        let now = instant();
        Self {
            world: Rc::new(RefCell::new(world)),
            folder,
            terms,
            gateway: None,
            figures: Figures::default(),
            dropped: 0,
            kills: 0,
            powers: 0,
            watch: Watch::new(now),
            start: now,
            next_sample: now,
            next_fault: now + Duration::from_secs(5),
            recovery: None,
            samples: 0,
            may_be_forgotten: 0,
            stream: None,
            former_stream: None,
            random,
            seed,
        }
    }

    fn draw_poison(random: &mut fastrand::Rng) -> Poison {
        let codes = [Code::Unspecified, Code::Implementation, Code::NotAuthorized, Code::TopicName];
        match random.u8(..8) {
            0 => Poison::HangsUp,
            1 => Poison::Blamed,
            2 => Poison::Mute,
            3 => Poison::Unfinished,
            4 => Poison::HangsUpAtRelease,
            _ => Poison::Refused(*random.choice(&codes).unwrap_or(&Code::Unspecified)),
        }
    }

    /// Runs the whole history; what it did, or the first broken promise.
    pub fn run(mut self) -> Result<Figures, Broken> {
        let told = self.live();
        medium::failing::set(None);
        virtual_time::charge(None);
        self.gateway = None;
        told.map_err(|broken| format!("seed {}: {broken} ({:?})", self.seed, self.terms))?;
        self.figures.virtual_time = instant() - self.start;
        self.figures.arrivals = self.world.borrow().seen.arrivals.len() as u64;
        Ok(self.figures)
    }

    fn live(&mut self) -> Result<(), Broken> {
        self.boot();
        let end = self.start + self.terms.length;
        while instant() < end {
            self.step(Faults::Injected)?;
            if let Some(former) = self.former_stream {
                return self.judge(former);
            }
        }
        // The faults are over; a good broker gets what is left.
        self.recover();
        let (mut fewest, mut since) = (u64::MAX, instant());
        while !self.is_drained() {
            let waiting = self.gateway().publisher.shell.store.waiting();
            if waiting < fewest {
                (fewest, since) = (waiting, instant());
            }
            if instant() - since >= PATIENCE {
                return Err(format!("a good broker does not get everything: {waiting} messages wait"));
            }
            self.step(Faults::Over)?;
            self.sample_slowly();
        }
        self.stop();
        let config = self.terms.config(self.folder.path());
        let spool = Spool::open(&config.spool, &[]).expect("a spool always opens");
        self.judge(Stream::of(&spool))
    }

    pub(super) fn gateway(&mut self) -> &mut Gateway {
        self.gateway.as_mut().expect("a gateway runs")
    }

    fn is_drained(&mut self) -> bool {
        let publisher = &self.gateway().publisher;
        publisher.shell.store.waiting() == 0
            && publisher.shell.store.intake.len() == 0
            && publisher.shell.delivery.held_in_memory() == 0
            && publisher.shell.delivery.in_flight() == 0
    }

    /// Starts a process.
    pub(super) fn boot(&mut self) {
        let config = self.terms.config(self.folder.path());
        simulation::watch(&config.spool.directory, self.random.u64(..));
        let spool = Spool::open(&config.spool, &self.terms.routes()).expect("a spool always opens");
        self.takes_over(&spool);
        let (samples, taken) = bounded(config.channel.capacity);
        let (orders, ordered) = unbounded();
        let (gives_up, _) = bounded(1);
        let counters = Arc::new(Counters::default());
        let clock = ClockWatch::new(Clock::new(), spool.boots());
        let channels = Channels {
            samples: taken,
            orders: ordered,
            hanging: never(),
            gives_up,
            news: None,
            pulse: Arc::new(Pulse::default()),
        };
        let wire = Wire::new(Rc::clone(&self.world));
        let seed = self.random.u64(..);
        let mut publisher = Publisher::new(config, spool, wire, channels, Arc::clone(&counters), clock, seed);
        publisher.shell.read_back(publisher.shell.clock.now());
        let turned = publisher.turn();
        self.gateway = Some(Gateway { publisher, turned, samples, _orders: orders, counters });
    }

    /// A process has opened its spool.
    fn takes_over(&mut self, spool: &Spool) {
        let stream = Stream::of(spool);
        // On a full disk segments in which all is finished are removed, the last one among them.
        let former = self.stream.replace(stream).filter(|former| former.id != stream.id);
        if let Some(Stream { backlog: 1.., id, .. }) = former {
            self.watch.broken.get_or_insert(format!("messages waited in stream {id}, and another one was begun"));
        }
        self.former_stream = self.former_stream.or(former);
        let mut world = self.world.borrow_mut();
        world.gateway_began(spool);
        if former.is_none() {
            world.seen.repeats.process_began(|seq| spool.is_finished(seq), self.may_be_forgotten);
        }
        self.watch.boots_with(stream);
    }

    /// The process ends; what it counted is taken over.
    pub(super) fn end(&mut self, end: End) {
        self.may_be_forgotten = self.may_be_forgotten(end);
        let Gateway { counters, publisher, .. } = self.gateway.take().expect("a gateway runs");
        let spool = &publisher.shell.store.spool;
        self.stream = Some(Stream::of(spool));
        self.world.borrow_mut().seen.repeats.process_ended(|seq| spool.is_finished(seq));
        self.dropped += counters.dropped_expired.get()
            + counters.dropped_max_age.get()
            + counters.dropped_spool_full.get()
            + counters.damaged.get();
    }

    /// Lets time pass until something happens, and has the gateway do what follows.
    fn step(&mut self, faults: Faults) -> Result<(), Broken> {
        self.figures.steps += 1;
        let Gateway { publisher, turned, .. } = self.gateway();
        let (now, turned) = (instant(), *turned);
        let due = publisher.deadline(turned).unwrap_or(now + crate::publisher::IDLE);
        let ours = self.recovery.unwrap_or(self.next_fault).min(self.next_fault).min(self.next_sample);
        let ours = (faults == Faults::Injected).then_some(ours);
        let others = self.world.borrow().next().into_iter().chain(ours).min();
        self.sleep(others.map_or(due, |others| due.min(others)))?;
        if others.is_none_or(|others| due < others) {
            self.watch.woken_by_a_deadline(instant())?;
        }
        if faults == Faults::Injected {
            self.sample();
            self.inject_faults();
        }
        self.turn();
        self.check()
    }

    /// A sample now and then, without which the last message has none to be compared with.
    fn sample_slowly(&mut self) {
        if self.world.borrow().poison.is_some() && self.next_sample + Duration::from_secs(60) <= instant() {
            self.next_sample = instant();
            self.sample();
            self.turn();
        }
    }

    fn turn(&mut self) {
        let gateway = self.gateway();
        gateway.turned = gateway.publisher.turn();
    }

    fn sample(&mut self) {
        while self.next_sample <= instant() {
            self.next_sample += self.terms.interval;
            self.samples += 1;
            let routes = self.terms.routes();
            let route = Arc::clone(&routes[self.random.usize(..routes.len())]);
            let taken = self.gateway().publisher.shell.clock.stamp();
            let data = format!("{{\"n\":{}}}", self.samples).into_bytes();
            // A full channel drops it, as the sampler would.
            if self.gateway().samples.try_send(Sample { route, taken, data }).is_ok() {
                self.watch.samples();
            }
        }
    }
}
