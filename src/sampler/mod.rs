//! Thread 1: takes samples on their grids and hands them to the channel. Touches neither disk nor network, so a
//! stalling card or a dead link cannot delay a sample. Nor does a sensor that hangs: a source that may block is read by a
//! helper (`helpers.rs`), which this thread supervises and never waits for.

mod helpers;
mod history;
mod once;
mod running;
#[cfg(test)]
mod tests;

pub use once::sample_once;

use crate::burst::Burst;
use crate::clock::Clock;
use crate::config::{self, Config, SourceKind};
use crate::message::{Route, Sample};
use crate::pulse::Pulse;
use crate::report;
use crate::source::{self, Source};
use crate::status::Counters;
use crossbeam_channel::{Receiver, RecvError, Sender, TrySendError, select};
use helpers::Helpers;
use log::{info, log};
use running::Running;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A source, where its samples go, and how often it is sampled.
pub struct Scheduled {
    pub source: Box<dyn Source + Send>,
    pub route: Arc<Route>,
    pub interval: Duration,
    /// How long a reading may take.
    pub timeout: Duration,
    /// What the source was made from.
    pub kind: SourceKind,
}

/// What the sampler is asked to do while it runs.
pub enum Order {
    /// Sample other sources from now on.
    Follow(Plan),
    /// Say how each source fares. Nobody may listen any more.
    Report(Sender<Vec<report::Source>>),
}

/// What to sample from now on.
pub struct Plan {
    pub sources: Vec<Scheduled>,
    /// Another channel for the samples; `None`: the present one stays.
    pub samples: Option<Sender<Sample>>,
}

impl Scheduled {
    /// The sources that the configuration describes.
    #[must_use]
    pub fn all(config: &Config) -> Vec<Self> {
        let Config { device, telemetry, spool, .. } = config;
        telemetry.sources.iter().map(|source| Self::new(source, device, &spool.directory)).collect()
    }

    /// The source that the configuration describes. `spool` is the spool's folder.
    #[must_use]
    pub fn new(config: &config::Source, device: &str, spool: &Path) -> Self {
        let route = Route {
            device: device.to_owned(),
            source: config.name.clone(),
            topic: config.topic.clone(),
            qos: config.qos,
            retain: config.retain,
            format: config.format,
            expiry: config.expiry,
        };
        let source = source::build(&config.kind, spool);
        let (interval, timeout) = (config.interval, config.timeout);
        Self { source, route: Arc::new(route), interval, timeout, kind: config.kind.clone() }
    }
}

/// Ticks in a row that must be on time before a source counts as on time again, and samples in a row that the channel
/// must take before it counts as having room again: a machine that is a little too slow is late now and then, which is
/// one piece of news and not many.
const ON_TIME: u32 = 100;

/// How long nothing is due where no source has a tick to come.
const NEVER: Duration = Duration::from_secs(3600);

/// Where samples go.
struct Outlet {
    samples: Sender<Sample>,
    full: Burst,
    /// Samples in a row that were taken.
    taken: u32,
}

/// Nobody takes samples any more.
struct Closed;

impl Outlet {
    /// A sample that finds the channel full is dropped and counted: waiting would delay the next one.
    fn send(&mut self, sample: Sample, counters: &Counters) -> Result<(), Closed> {
        let route = Arc::clone(&sample.route);
        match self.samples.try_send(sample) {
            Ok(()) => {
                self.taken = self.taken.saturating_add(1);
                if self.taken >= ON_TIME
                    && let Some(dropped) = self.full.ended()
                {
                    info!("channel has room again dropped={dropped}");
                }
            }
            Err(TrySendError::Full(_)) => {
                self.taken = 0;
                counters.dropped_channel_full.add(1);
                log!(self.full.failed(), "channel full; sample dropped source={}", route.source);
            }
            Err(TrySendError::Disconnected(_)) => return Err(Closed),
        }
        Ok(())
    }
}

/// Samples until `orders` is closed, or nobody takes the samples any more. `hanging` is told which sources hang, whenever
/// that changes. Another plan takes the place of the former one between two turns.
pub fn run(
    sources: Vec<Scheduled>,
    samples: Sender<Sample>,
    orders: &Receiver<Order>,
    hanging: &Sender<Vec<String>>,
    counters: &Counters,
    pulse: &Pulse,
    clock: Clock,
) {
    let now = Instant::now();
    let (mut helpers, mut told) = (Helpers::new(clock, now), Vec::new());
    let mut outlet = Outlet { samples, full: Burst::default(), taken: 0 };
    let mut sources = scheduled(sources, Vec::new(), &mut helpers, now);
    loop {
        if turn(&mut sources, &mut helpers, &mut outlet, counters, clock).is_err() {
            return;
        }
        tell(&sources, &mut told, hanging);
        let due = sources.iter().filter_map(Running::due).chain(helpers.due()).min();
        match due {
            Some(due) => pulse.rests_until(due),
            None => pulse.rests(),
        }
        let wait = due.map_or(NEVER, |due| due.saturating_duration_since(Instant::now()));
        let done = select! {
            recv(orders) -> order => match order {
                Ok(Order::Report(reply)) => {
                    let now = clock.read();
                    let _ = reply.try_send(sources.iter().map(|source| source.report(now)).collect());
                    None
                }
                Ok(Order::Follow(plan)) => {
                    sources = scheduled(plan.sources, sources, &mut helpers, Instant::now());
                    outlet.samples = plan.samples.unwrap_or(outlet.samples);
                    None
                }
                Err(RecvError) => return,
            },
            recv(helpers.done()) -> done => done.ok(),
            default(wait) => None,
        };
        pulse.works(Instant::now());
        if let Some(done) = done {
            helpers.returned(Instant::now());
            if take(&mut sources, done, &mut outlet, counters).is_err() {
                return;
            }
        }
    }
}

/// Takes what has returned, then what is due.
fn turn(
    sources: &mut [Running],
    helpers: &mut Helpers,
    outlet: &mut Outlet,
    counters: &Counters,
    clock: Clock,
) -> Result<(), Closed> {
    while let Ok(done) = helpers.done().try_recv() {
        helpers.returned(Instant::now());
        take(sources, done, outlet, counters)?;
    }
    let now = Instant::now();
    helpers.tend(now);
    for source in sources.iter_mut().filter(|source| source.due().is_some_and(|due| due <= now)) {
        source.look_at_deadline(now, helpers, counters);
        if let Some(sample) = source.tick(helpers, counters, clock) {
            outlet.send(sample, counters)?;
        }
    }
    Ok(())
}

/// Takes what a helper has read, if its source is still there.
fn take(sources: &mut [Running], done: helpers::Done, outlet: &mut Outlet, counters: &Counters) -> Result<(), Closed> {
    let source = sources.iter_mut().find(|source| source.waits_for(done.ticket));
    let sample = source.and_then(|source| source.returned(done, counters));
    sample.map_or(Ok(()), |sample| outlet.send(sample, counters))
}

/// Tells which sources hang, when that has changed.
fn tell(sources: &[Running], told: &mut Vec<String>, hanging: &Sender<Vec<String>>) {
    let names = || sources.iter().filter(|source| source.hangs()).map(Running::name);
    if !names().eq(told.iter().map(String::as_str)) {
        *told = names().map(str::to_owned).collect();
        // Nobody wants to know at the end.
        let _ = hanging.send(told.clone());
    }
}

/// Puts sources on grids that begin now. A source that was there before stays on its grid, and remembers what it did; one
/// that only reads what it read before, with a reading under way, is not read twice at a time.
fn scheduled(sources: Vec<Scheduled>, mut before: Vec<Running>, helpers: &mut Helpers, now: Instant) -> Vec<Running> {
    let running = |scheduled: Scheduled| match before.iter().position(|running| running.is(&scheduled)) {
        Some(index) => before.swap_remove(index),
        None => match before.iter().position(|running| running.reads_as(&scheduled)) {
            Some(index) => before.swap_remove(index).rescheduled(scheduled, now),
            None => Running::new(scheduled, now),
        },
    };
    let sources: Vec<Running> = sources.into_iter().map(running).collect();
    before.iter().for_each(|gone| gone.leave(helpers));
    helpers.serve(sources.len());
    sources
}
