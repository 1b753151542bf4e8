//! Thread 1: takes samples on their grids and hands them to the channel. Touches neither disk nor network, so a
//! stalling card or a dead link cannot delay a sample.

use crate::burst::Burst;
use crate::clock::Clock;
use crate::config::{self, Config, SourceKind};
use crate::message::{Route, Sample};
use crate::pulse::Pulse;
use crate::schedule::Grid;
use crate::source::{self, Source};
use crate::status::Counters;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use log::{info, log};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A source, where its samples go, and how often it is sampled.
pub struct Scheduled {
    pub source: Box<dyn Source + Send>,
    pub route: Arc<Route>,
    pub interval: Duration,
    /// What the source was made from.
    pub kind: SourceKind,
}

/// What to sample from now on.
pub struct Plan {
    pub sources: Vec<Scheduled>,
    /// Another channel for the samples; `None`: the present one stays.
    pub samples: Option<Sender<Sample>>,
    /// The step of the pulse that the first source is.
    pub first_step: usize,
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
        Self { source, route: Arc::new(route), interval: config.interval, kind: config.kind.clone() }
    }
}

/// A source with what is remembered from tick to tick.
struct Running {
    scheduled: Scheduled,
    grid: Grid,
    failures: Burst,
    late: Burst,
    /// Ticks in a row that were on time.
    on_time: u32,
}

/// Ticks in a row that must be on time before a source counts as on time again, and samples in a row that the channel
/// must take before it counts as having room again: a machine that is a little too slow is late now and then, which is
/// one piece of news and not many.
const ON_TIME: u32 = 100;

/// Samples until `plans` is closed, or nobody takes the samples any more.
///
/// A sample that finds the channel full is dropped and counted: waiting would delay the next one. The steps of `pulse` are
/// the sources, in their order. Another plan takes the place of the former one once no sample is being taken.
pub fn run(
    sources: Vec<Scheduled>,
    mut samples: Sender<Sample>,
    plans: &Receiver<Plan>,
    counters: &Counters,
    pulse: &Pulse,
    clock: Clock,
) {
    let mut sources = scheduled(sources, Vec::new(), Instant::now());
    let (mut full, mut taken, mut first_step) = (Burst::default(), 0, 0);
    loop {
        for (step, source) in (first_step..).zip(&mut sources) {
            pulse.works_on(step, Instant::now());
            let Some(sample) = source.sample_if_due(counters, clock) else { continue };
            let name = sample.route.source.clone();
            match samples.try_send(sample) {
                Ok(()) => {
                    taken += 1;
                    if taken >= ON_TIME
                        && let Some(dropped) = full.ended()
                    {
                        info!("channel has room again dropped={dropped}");
                    }
                }
                Err(TrySendError::Full(_)) => {
                    taken = 0;
                    counters.dropped_channel_full.add(1);
                    log!(full.failed(), "channel full; sample dropped source={name}");
                }
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
        let plan = match sources.iter().filter_map(|source| source.grid.next()).min() {
            Some(next) => {
                pulse.rests_until(next);
                plans.recv_deadline(next)
            }
            None => {
                pulse.rests();
                plans.recv().map_err(RecvTimeoutError::from)
            }
        };
        match plan {
            Ok(plan) => {
                sources = scheduled(plan.sources, sources, Instant::now());
                samples = plan.samples.unwrap_or(samples);
                first_step = plan.first_step;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Puts sources on grids that begin now. A source that was there before stays on its grid, and remembers what it did.
fn scheduled(sources: Vec<Scheduled>, mut before: Vec<Running>, now: Instant) -> Vec<Running> {
    let running = |scheduled: Scheduled| match before.iter().position(|running| running.is(&scheduled)) {
        Some(index) => before.swap_remove(index),
        None => Running {
            grid: Grid::new(now, scheduled.interval),
            scheduled,
            failures: Burst::default(),
            late: Burst::default(),
            on_time: 0,
        },
    };
    sources.into_iter().map(running).collect()
}

impl Running {
    /// Whether another source would do the same.
    fn is(&self, other: &Scheduled) -> bool {
        let Scheduled { route, interval, kind, .. } = &self.scheduled;
        *route == other.route && *interval == other.interval && *kind == other.kind
    }

    fn sample_if_due(&mut self, counters: &Counters, clock: Clock) -> Option<Sample> {
        let name = &self.scheduled.route.source;
        let due = self.grid.take(Instant::now())?;
        if due.missed > 0 {
            self.on_time = 0;
            counters.missed_ticks.add(due.missed);
            log!(self.late.failed(), "ticks missed source={name} count={}", due.missed);
        } else {
            self.on_time = self.on_time.saturating_add(1);
            if self.on_time >= ON_TIME
                && let Some(times) = self.late.ended()
            {
                info!("samples are on time again source={name} late={times}");
            }
        }
        let taken = clock.now();
        match self.scheduled.source.sample() {
            Ok(data) => {
                counters.sampled.add(1);
                if let Some(failures) = self.failures.ended() {
                    info!("source works again source={name} failures={failures}");
                }
                let data = serde_json::Value::Object(data).to_string().into_bytes();
                Some(Sample { route: Arc::clone(&self.scheduled.route), taken, data })
            }
            Err(error) => {
                counters.failed_samples.add(1);
                log!(
                    self.failures.failed(),
                    "sample failed; trying again at the next tick source={name} error={error}"
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Format, Qos};
    use crate::source::{Data, Error};
    use crossbeam_channel::bounded;
    use std::path::PathBuf;
    use std::thread;

    /// Gives its number of calls; fails or dawdles at those that it is told to.
    struct Scripted {
        calls: u64,
        fails_at: fn(u64) -> bool,
        takes: fn(u64) -> Duration,
    }

    impl Source for Scripted {
        fn sample(&mut self) -> Result<Data, Error> {
            self.calls += 1;
            thread::sleep((self.takes)(self.calls));
            if (self.fails_at)(self.calls) {
                return Err(Error::Empty(PathBuf::from("sensor")));
            }
            Ok(Data::from_iter([("call".to_owned(), self.calls.into())]))
        }
    }

    fn scripted(interval: u64, fails_at: fn(u64) -> bool, takes: fn(u64) -> Duration) -> Scheduled {
        let route = Route {
            device: "gateway-7".to_owned(),
            source: format!("every-{interval}-ms"),
            topic: "t".to_owned(),
            qos: Qos::AtLeastOnce,
            retain: false,
            format: Format::Json,
            expiry: None,
        };
        let source = Box::new(Scripted { calls: 0, fails_at, takes });
        Scheduled {
            source,
            route: Arc::new(route),
            interval: Duration::from_millis(interval),
            kind: SourceKind::System,
        }
    }

    /// Runs a sampler until `take` has seen enough; the counters it left.
    fn run_until(sources: Vec<Scheduled>, capacity: usize, take: impl FnOnce(&Receiver<Sample>)) -> Counters {
        let (samples, taken) = bounded(capacity);
        let (runs, plans) = bounded(0);
        let counters = Counters::default();
        thread::scope(|scope| {
            scope.spawn(|| run(sources, samples, &plans, &counters, &Pulse::default(), Clock::new()));
            take(&taken);
            drop(runs);
        });
        counters
    }

    const NEVER: fn(u64) -> bool = |_| false;
    const AT_ONCE: fn(u64) -> Duration = |_| Duration::ZERO;

    #[test]
    fn samples_are_taken_on_a_fixed_grid() {
        let start = Clock::new().now().boot;
        let mut offsets = Vec::new();

        run_until(vec![scripted(20, NEVER, AT_ONCE)], 100, |taken| {
            offsets.extend(taken.iter().take(20).map(|sample| sample.taken.boot - start));
        });

        let first = offsets[0];
        for (tick, offset) in offsets.iter().enumerate() {
            // Never early, and no lateness adds up: what is late is late for itself alone.
            assert!(offset + 2 >= first + 20 * tick as u64, "tick {tick} at {offset}: {offsets:?}");
        }
        assert!(offsets[19] < first + 20 * 19 + 500, "{offsets:?}");
    }

    #[test]
    fn a_missed_tick_is_skipped_and_counted() {
        let slow_once: fn(u64) -> Duration = |call| Duration::from_millis(if call == 3 { 205 } else { 0 });

        let counters = run_until(vec![scripted(20, NEVER, slow_once)], 100, |taken| {
            assert_eq!(taken.iter().take(6).count(), 6);
        });

        assert!(counters.missed_ticks.get() >= 9, "{}", counters.missed_ticks.get());
    }

    #[test]
    fn a_failing_source_is_counted_and_tried_again_at_its_next_tick() {
        let counters = run_until(vec![scripted(5, |call| call % 3 != 0, AT_ONCE)], 100, |taken| {
            let calls: Vec<Vec<u8>> = taken.iter().take(3).map(|sample| sample.data).collect();
            assert_eq!(calls, [br#"{"call":3}"#.to_vec(), br#"{"call":6}"#.to_vec(), br#"{"call":9}"#.to_vec()]);
        });

        assert!(counters.failed_samples.get() >= 6);
        assert!(counters.sampled.get() >= 3);
    }

    #[test]
    fn a_full_channel_drops_the_sample_and_delays_none() {
        let counters = run_until(vec![scripted(1, NEVER, AT_ONCE)], 2, |taken| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while taken.len() < 2 && Instant::now() < deadline {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(50));
        });

        assert!(counters.dropped_channel_full.get() > 5, "{}", counters.dropped_channel_full.get());
        assert_eq!(counters.sampled.get(), counters.dropped_channel_full.get() + 2);
    }

    #[test]
    fn sources_with_different_intervals_do_not_starve_each_other() {
        let mut counts = [0, 0];

        run_until(vec![scripted(2, NEVER, AT_ONCE), scripted(50, NEVER, AT_ONCE)], 1000, |taken| {
            while counts[1] < 4 {
                let sample = taken.recv().unwrap();
                counts[usize::from(sample.route.source == "every-50-ms")] += 1;
            }
        });

        assert!(counts[0] > 30, "{counts:?}");
    }

    #[test]
    fn a_plan_keeps_the_grid_of_a_source_that_stays_and_the_samples_in_the_former_channel() {
        let ((samples, former), (others, next), (plans, planned)) = (bounded(100), bounded(100), bounded(1));
        let (counters, pulse) = (Counters::default(), Pulse::default());
        let sources = || vec![scripted(20, NEVER, AT_ONCE)];

        thread::scope(|scope| {
            scope.spawn(|| run(sources(), samples, &planned, &counters, &pulse, Clock::new()));
            while former.len() < 3 {
                thread::yield_now();
            }
            let more = sources().into_iter().chain([scripted(7, NEVER, AT_ONCE)]).collect();
            plans.send(Plan { sources: more, samples: Some(others), first_step: 1 }).unwrap();
            let next: Vec<Sample> = next.iter().take(20).collect();
            drop(plans);

            let former: Vec<Sample> = former.iter().collect();
            let calls = |source: &'static str| {
                let samples = former.iter().chain(&next).filter(move |sample| sample.route.source == source);
                samples.map(|sample| String::from_utf8(sample.data.clone()).unwrap()).collect::<Vec<_>>()
            };
            let counted =
                |calls: &[String]| (1..=calls.len()).map(|call| format!("{{\"call\":{call}}}")).collect::<Vec<_>>();
            let (stayed, new) = (calls("every-20-ms"), calls("every-7-ms"));
            // A source that was made anew would count from one again, and begin with a sample of its own.
            assert_eq!(stayed, counted(&stayed));
            assert!(former.len() >= 3 && !new.is_empty());
        });
    }

    #[test]
    fn it_ends_when_nobody_takes_the_samples() {
        let (samples, taken) = bounded(1);
        let (_runs, plans) = bounded(0);
        drop(taken);

        run(vec![scripted(1, NEVER, AT_ONCE)], samples, &plans, &Counters::default(), &Pulse::default(), Clock::new());
    }
}
