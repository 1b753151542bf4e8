//! One history: a gateway with the real core, shell and spool, in a simulated world, from one seed.

use super::world::{Arrival, Mood, Wire, World, is_poison};
use crate::clock::{Clock, Reading, instant, virtual_time};
use crate::config::{self, Config};
use crate::delivery::{Now, Publish};
use crate::message::{Format, Qos, Route, Sample, Seq};
use crate::publisher::clock::ClockWatch;
use crate::publisher::{Change, Channels, Order, Publisher};
use crate::pulse::Pulse;
use crate::spool::power_cut::simulation;
use crate::spool::{Spool, medium};
use crate::status::Counters;
use crossbeam_channel::{Sender, bounded, unbounded};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SECOND: Duration = Duration::from_secs(1);
/// Turns without any time passing that count as a busy loop.
const BUSY: u32 = 20_000;
/// How long a good broker may take to empty the spool.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What a history did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub steps: u64,
    pub faults: u64,
    pub arrivals: u64,
    pub virtual_time: Duration,
}

/// The parameters of a history.
#[derive(Debug)]
struct Terms {
    qos: Qos,
    window: u16,
    max_rate: Option<f64>,
    interval: Duration,
    expiry: Option<Duration>,
    length: Duration,
}

/// A history that runs.
pub struct History {
    seed: u64,
    random: fastrand::Rng,
    world: Rc<RefCell<World>>,
    folder: TempDir,
    terms: Terms,
    gateway: Option<Gateway>,
    figures: Figures,
    dropped: u64,
    rejected: u64,
    kills: u64,
    powers: u64,
    life: Life,
    /// When it turned last, and how often at that moment.
    last_turn: Option<Instant>,
    turns: u32,
    start: Instant,
    next_sample: Instant,
    next_fault: Instant,
    /// When the faults that last are over.
    recovery: Option<Instant>,
    samples: u64,
}

/// Where the life of the present process began.
#[derive(Debug, Default)]
struct Life {
    arrivals: usize,
    losses: u64,
    after_power_cut: bool,
}

/// A process.
struct Gateway {
    publisher: Publisher<Wire>,
    /// When its last turn began.
    turned: Now,
    samples: Sender<Sample>,
    /// Held open: closed, it is the order to stop.
    _orders: Sender<Order>,
    counters: Arc<Counters>,
}

/// A broken promise, in words.
pub type Broken = String;

impl History {
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let start = virtual_time::now().map_or_else(Instant::now, |(at, _)| at);
        virtual_time::set(start, Reading { wall: 1_700_000_000_000, boot: 100_000 });
        medium::failing::set(false);
        let mut world = World::new(random.u64(..));
        world.receive_maximum = *random.choice(&[1, 3, 20, u16::MAX]).unwrap_or(&1);
        world.has_poison = random.u8(..4) == 0;
        let terms = Terms {
            qos: random.choice([Qos::AtLeastOnce, Qos::ExactlyOnce]).unwrap_or(Qos::AtLeastOnce),
            window: *random.choice(&[1, 4, 20, 100]).unwrap_or(&1),
            max_rate: (random.u8(..3) == 0).then_some(5.0),
            interval: Duration::from_millis(random.u64(500..30_000)),
            expiry: (random.u8(..4) == 0).then_some(Duration::from_secs(random.u64(60..1200))),
            length: Duration::from_secs(random.u64(1200..28_800)),
        };
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
            rejected: 0,
            kills: 0,
            powers: 0,
            life: Life::default(),
            last_turn: None,
            turns: 0,
            start: now,
            next_sample: now,
            next_fault: now + SECOND * 5,
            recovery: None,
            samples: 0,
            random,
            seed,
        }
    }

    /// Runs the whole history; what it did, or the first broken promise.
    pub fn run(mut self) -> Result<Figures, Broken> {
        let told = self.live();
        medium::failing::set(false);
        self.gateway = None;
        told.map_err(|broken| format!("seed {}: {broken} ({:?})", self.seed, self.terms))?;
        self.figures.virtual_time = instant() - self.start;
        self.figures.arrivals = self.world.borrow().arrivals.len() as u64;
        Ok(self.figures)
    }

    fn live(&mut self) -> Result<(), Broken> {
        self.boot();
        let end = self.start + self.terms.length;
        while instant() < end {
            self.step(true)?;
        }
        // The faults are over; a good broker gets what is left.
        self.recover();
        let until = instant() + PATIENCE;
        while !self.is_drained() {
            if instant() >= until {
                let backlog = self.gateway().publisher.store.backlog();
                return Err(format!("a good broker has not got everything: {backlog:?}"));
            }
            self.step(false)?;
            self.sample_slowly();
        }
        self.stop();
        self.judge()
    }

    fn gateway(&mut self) -> &mut Gateway {
        self.gateway.as_mut().expect("a gateway runs")
    }

    fn is_drained(&mut self) -> bool {
        let publisher = &self.gateway().publisher;
        publisher.store.backlog().messages == 0
            && publisher.store.intake.is_empty()
            && publisher.delivery.held_in_memory() == 0
            && publisher.delivery.in_flight() == 0
    }

    /// Starts a process.
    fn boot(&mut self) {
        let config = self.config();
        simulation::watch(&config.spool.directory, self.random.u64(..));
        let spool = Spool::open(&config.spool, &[self.route()]).expect("a spool always opens");
        let (samples, taken) = bounded(config.channel.capacity);
        let (orders, ordered) = unbounded();
        let (gives_up, _) = bounded(1);
        let counters = Arc::new(Counters::default());
        let clock = ClockWatch::new(Clock::new(), spool.boots());
        let channels =
            Channels { samples: taken, orders: ordered, gives_up, news: None, pulse: Arc::new(Pulse::default()) };
        let wire = Wire::new(Rc::clone(&self.world));
        let seed = self.random.u64(..);
        let mut publisher = Publisher::new(config, spool, wire, channels, Arc::clone(&counters), clock, seed);
        publisher.read_back(publisher.clock.now());
        let turned = publisher.turn();
        self.gateway = Some(Gateway { publisher, turned, samples, _orders: orders, counters });
    }

    fn config(&self) -> Config {
        let path = self.folder.path().display();
        let rate = self.terms.max_rate.map_or_else(|| "~".to_owned(), |rate| rate.to_string());
        let text = format!(
            "device: d\nbroker: {{url: \"mqtt://b\"}}\ntelemetry: {{qos: {}}}\n\
             retry: {{initial_delay: 1s, max_delay: 60s, at_max: hold}}\n\
             spool: {{directory: \"{path}\", max_size: 64MiB}}\n\
             delivery: {{window: {}, max_rate: {rate}}}\n",
            self.terms.qos as u8, self.terms.window,
        );
        config::parse(&text, Path::new("simulated.yaml")).expect("a configuration")
    }

    fn route(&self) -> Arc<Route> {
        Arc::new(Route {
            device: "d".to_owned(),
            source: "s".to_owned(),
            topic: "t".to_owned(),
            qos: self.terms.qos,
            retain: false,
            format: Format::Json,
            expiry: self.terms.expiry,
        })
    }

    /// Lets time pass until something happens, and has the gateway do what follows.
    fn step(&mut self, with_faults: bool) -> Result<(), Broken> {
        self.figures.steps += 1;
        let Gateway { publisher, turned, .. } = self.gateway();
        let (now, turned) = (publisher.clock.now(), *turned);
        let due = publisher.deadline(turned).unwrap_or(now.at + SECOND * 3600);
        let world = self.world.borrow().next().unwrap_or(due);
        let faults = self.recovery.unwrap_or(self.next_fault).min(self.next_fault);
        let faults = if with_faults { faults.min(self.next_sample) } else { due };
        let next = due.min(world).min(faults).max(now.at);
        if next == now.at {
            self.busy(now.at)?;
        }
        virtual_time::advance_to(next);
        if with_faults {
            self.sample();
            self.faults();
        }
        self.turn();
        self.check()
    }

    /// Counts turns in which no time passes.
    fn busy(&mut self, now: Instant) -> Result<(), Broken> {
        self.turns = if self.last_turn == Some(now) { self.turns + 1 } else { 0 };
        self.last_turn = Some(now);
        if self.turns > BUSY { Err("it turns and turns, and no time passes".to_owned()) } else { Ok(()) }
    }

    /// A sample now and then, without which the last message has none to be compared with.
    fn sample_slowly(&mut self) {
        if self.world.borrow().has_poison && self.next_sample + SECOND * 60 <= instant() {
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
            let taken = self.gateway().publisher.clock.stamp();
            let data = format!("{{\"n\":{}}}", self.samples).into_bytes();
            let sample = Sample { route: self.route(), taken, data };
            // A full channel drops it, as the sampler would.
            let _ = self.gateway().samples.try_send(sample);
        }
    }

    /// Ends what lasts, and injects the next fault, when they are due.
    fn faults(&mut self) {
        if self.recovery.is_some_and(|at| instant() >= at) {
            self.recover();
        }
        if instant() < self.next_fault {
            return;
        }
        self.next_fault = instant() + Duration::from_millis(self.random.u64(1000..300_000));
        self.figures.faults += 1;
        let lasting = Duration::from_millis(self.random.u64(100..600_000));
        let mut world = self.world.borrow_mut();
        match self.random.u8(..14) {
            0 | 1 => world.cut(),
            2 => {
                world.is_up = false;
                world.cut();
            }
            3 => world.mood = Mood::RefusesAll,
            4 => world.mood = Mood::Silent,
            5 => world.forget(),
            6 => world.latency = Duration::from_millis(self.random.u64(1..4000)),
            7 if self.terms.qos == Qos::AtLeastOnce => world.mood = Mood::HangsUp,
            7 | 8 => medium::failing::set(true),
            9 | 10 => {
                drop(world);
                self.kill();
            }
            11 => {
                drop(world);
                self.cut_power();
            }
            12 => {
                drop(world);
                self.stop();
                self.boot();
            }
            _ => {
                drop(world);
                self.edit();
            }
        }
        self.recovery = Some(instant() + lasting);
    }

    fn recover(&mut self) {
        self.recovery = None;
        medium::failing::set(false);
        let mut world = self.world.borrow_mut();
        (world.is_up, world.mood, world.latency) = (true, Mood::Good, Duration::from_millis(20));
    }

    /// The window changes while the agent runs, which takes another connection, or the wall clock jumps.
    fn edit(&mut self) {
        if self.random.bool() {
            let jump = self.random.i64(-86_400_000..86_400_000);
            if let Some((at, Reading { wall, boot })) = virtual_time::now() {
                virtual_time::set(at, Reading { wall: wall + jump, boot });
            }
            return;
        }
        let largest = self.terms.window;
        self.terms.window = self.random.u16(1..=largest);
        let (config, routes) = (self.config(), vec![self.route()]);
        let change = Change { config, routes, samples: None };
        self.gateway().publisher.obey(Order::Change(Box::new(change)));
        self.terms.window = largest;
    }

    /// What arrived again in the life of this process, at QoS 1: no more than a window for each loss, the one that ended
    /// the former process among them, and after a power cut what the journal had not flushed.
    fn judge_life(&mut self) {
        let mut world = self.world.borrow_mut();
        let mut seen: BTreeSet<Publish> =
            world.arrivals[..self.life.arrivals].iter().map(|arrival| arrival.what).collect();
        let of_life = world.arrivals[self.life.arrivals..].iter();
        let repeats = of_life.filter(|arrival| arrival.what.spooled().is_some() && !seen.insert(arrival.what)).count();
        let losses = world.losses - self.life.losses + 1;
        let by_power = if self.life.after_power_cut { 2500 } else { 0 };
        let allowed = losses * u64::from(self.terms.window) + by_power;
        if self.terms.qos == Qos::AtLeastOnce && repeats as u64 > allowed {
            world.violations.push(format!("{repeats} arrived again in the life of a process; allowed: {allowed}"));
        }
        self.life = Life { arrivals: world.arrivals.len(), losses: world.losses, after_power_cut: false };
    }

    /// The process ends; what it counted is taken over.
    fn end(&mut self) {
        self.judge_life();
        let gateway = self.gateway.take().expect("a gateway runs");
        self.dropped += gateway.counters.dropped_expired.get()
            + gateway.counters.dropped_max_age.get()
            + gateway.counters.dropped_spool_full.get()
            + gateway.counters.damaged.get();
        self.rejected += gateway.counters.rejected.get();
    }

    fn kill(&mut self) {
        self.end();
        self.kills += 1;
        self.world.borrow_mut().gateway_ended(false);
        self.boot();
    }

    fn cut_power(&mut self) {
        self.end();
        self.life.after_power_cut = true;
        self.powers += 1;
        simulation::cut(self.folder.path());
        self.world.borrow_mut().gateway_ended(true);
        self.boot();
    }

    fn stop(&mut self) {
        self.gateway().publisher.stop();
        self.end();
        self.world.borrow_mut().gateway_ended(false);
    }

    /// The promises that hold at every moment.
    fn check(&mut self) -> Result<(), Broken> {
        let (window, receive_maximum) = (self.terms.window, self.world.borrow().receive_maximum);
        let (peak, violations) = {
            let world = self.world.borrow();
            (world.peak_in_flight, world.violations.clone())
        };
        if let Some(violation) = violations.first() {
            return Err(violation.clone());
        }
        let allowed = usize::from(window.min(receive_maximum));
        if peak > allowed {
            return Err(format!("{peak} were in flight; allowed: {allowed}"));
        }
        self.check_rate()?;
        self.check_attempts()?;
        let held = self.gateway().publisher.delivery.held_in_memory();
        let bound = usize::from(window) + 1000 + 100;
        if held > bound { Err(format!("{held} messages are in memory; allowed: {bound}")) } else { Ok(()) }
    }

    /// Never more than one message beyond the rate.
    fn check_rate(&mut self) -> Result<(), Broken> {
        let mut world = self.world.borrow_mut();
        let Some(rate) = self.terms.max_rate else {
            world.published.clear();
            return Ok(());
        };
        let newest = world.published.last().copied();
        world.published.retain(|at| newest.is_some_and(|newest| newest - *at <= SECOND * 10));
        let (Some(first), Some(last)) = (world.published.first().copied(), newest) else { return Ok(()) };
        // A process that starts anew has forgotten when the former one published.
        let allowed = ((last - first) + Duration::from_millis(10)).as_secs_f64() * rate
            + 1.0
            + (self.kills + self.powers + self.figures.faults) as f64;
        let count = world.published.len();
        if count as f64 > allowed { Err(format!("{count} in ten seconds; allowed: {allowed}")) } else { Ok(()) }
    }

    /// The back-off keeps a dead broker from being asked all the time.
    fn check_attempts(&mut self) -> Result<(), Broken> {
        let mut world = self.world.borrow_mut();
        let newest = world.attempts.last().copied();
        world.attempts.retain(|at| newest.is_some_and(|newest| newest - *at <= SECOND * 60));
        let count = world.attempts.len();
        if count > 100 { Err(format!("{count} attempts to connect within a minute")) } else { Ok(()) }
    }

    /// The promises that hold at the end.
    fn judge(&mut self) -> Result<(), Broken> {
        let config = self.config();
        let spool = Spool::open(&config.spool, &[]).expect("a spool always opens");
        let (end, stream) = (spool.next_seq(), spool.stream());
        drop(spool);
        let world = self.world.borrow();
        let arrived: BTreeSet<Seq> = world.arrivals.iter().filter_map(|arrival| arrival.what.spooled()).collect();
        let aside = rejected(self.folder.path(), &stream.to_string());
        let missing: Vec<u64> =
            (1..end.0).filter(|seq| !arrived.contains(&Seq(*seq)) && !aside.contains(&Seq(*seq))).collect();
        if missing.len() as u64 > self.dropped {
            let some: Vec<_> = missing.iter().take(10).collect();
            return Err(format!("{} messages are missing, as {some:?}; {} were counted", missing.len(), self.dropped));
        }
        for seq in &aside {
            if !world.has_poison || !is_poison(Publish::Message(*seq)) {
                return Err(format!("message {seq} was set aside, and the broker takes it"));
            }
        }
        if world.has_poison && (1..end.0).any(|seq| arrived.contains(&Seq(seq)) && aside.contains(&Seq(seq))) {
            return Err("a message arrived and was set aside".to_owned());
        }
        self.judge_repeats(&world.arrivals, world.losses)?;
        self.judge_order(&world.arrivals)
    }

    fn judge_repeats(&self, arrivals: &[Arrival], losses: u64) -> Result<(), Broken> {
        let mut counts: BTreeMap<Arrival, u64> = BTreeMap::new();
        for arrival in arrivals.iter().filter(|arrival| arrival.what.spooled().is_some()) {
            // At QoS 2, repeats count within a life of the broker's session.
            let session = if self.terms.qos == Qos::ExactlyOnce { arrival.session } else { 0 };
            *counts.entry(Arrival { session, ..*arrival }).or_default() += 1;
        }
        let repeats: u64 = counts.values().map(|count| count - 1).sum();
        // A power cut repeats what was finished since the last flush of the journal.
        let by_power = self.powers * 2500;
        let allowed = match self.terms.qos {
            Qos::ExactlyOnce => by_power,
            Qos::AtMostOnce | Qos::AtLeastOnce => losses * u64::from(self.terms.window) + by_power,
        };
        if repeats > allowed { Err(format!("{repeats} arrived again; allowed: {allowed}")) } else { Ok(()) }
    }

    /// First arrivals come in order, but for what a control may overtake.
    fn judge_order(&self, arrivals: &[Arrival]) -> Result<(), Broken> {
        let (mut seen, mut highest, mut overtaken) = (BTreeSet::new(), Seq(0), 0u64);
        for seq in arrivals.iter().filter_map(|arrival| arrival.what.spooled()) {
            if seen.insert(seq) {
                overtaken += u64::from(seq < highest);
                highest = highest.max(seq);
            }
        }
        let world = self.world.borrow();
        // Controls were sent where the broker refused something, or ended connections over it.
        let is_exempt = world.has_poison || world.overtakes;
        if overtaken > 0 && !is_exempt { Err(format!("{overtaken} arrived out of order")) } else { Ok(()) }
    }
}

/// The messages of a stream that were set aside.
fn rejected(folder: &Path, stream: &str) -> BTreeSet<Seq> {
    let files = std::fs::read_dir(folder.join("rejected")).into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let seq = |name: String| {
        let number = name.strip_prefix(stream)?.strip_prefix('-')?.strip_suffix(".json")?.parse().ok()?;
        Some(Seq(number))
    };
    names.filter_map(seq).collect()
}
