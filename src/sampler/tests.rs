//! The sampler with sources that a test scripts.

use super::*;
use crate::message::{Format, Qos};
use crate::source::{Data, Error};
use crossbeam_channel::{bounded, unbounded};
use std::path::PathBuf;
use std::thread;

/// Gives its number of calls; fails or dawdles at those that it is told to.
struct Scripted {
    calls: u64,
    fails_at: fn(u64) -> bool,
    takes: fn(u64) -> Duration,
    may_block: bool,
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

    fn may_block(&self) -> bool {
        self.may_block
    }
}

fn script(fails_at: fn(u64) -> bool, takes: fn(u64) -> Duration) -> Scripted {
    Scripted { calls: 0, fails_at, takes, may_block: false }
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
    let source = Box::new(script(fails_at, takes));
    Scheduled {
        source,
        route: Arc::new(route),
        interval: Duration::from_millis(interval),
        timeout: Duration::from_secs(10),
        kind: SourceKind::System,
    }
}

/// Runs a sampler until `take` has seen enough; the counters it left.
fn run_until(sources: Vec<Scheduled>, capacity: usize, take: impl FnOnce(&Receiver<Sample>)) -> Counters {
    let (samples, taken) = bounded(capacity);
    let (runs, plans) = bounded(0);
    let counters = Counters::default();
    thread::scope(|scope| {
        scope.spawn(|| run(sources, samples, &plans, &unbounded().0, &counters, &Pulse::default(), Clock::new()));
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
        scope.spawn(|| run(sources(), samples, &planned, &unbounded().0, &counters, &pulse, Clock::new()));
        while former.len() < 3 {
            thread::yield_now();
        }
        let more = sources().into_iter().chain([scripted(7, NEVER, AT_ONCE)]).collect();
        plans.send(Order::Follow(Plan { sources: more, samples: Some(others) })).unwrap();
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
fn a_reading_that_has_not_returned_at_the_next_tick_is_late_before_that_tick_is_missed() {
    let hangs: fn(u64) -> Duration = |_| Duration::from_secs(1);
    let interval = Duration::from_millis(500);
    let source = Box::new(Scripted { may_block: true, ..script(NEVER, hangs) });
    let counters = Counters::default();
    // Ticks are never taken at the very moment.
    let start = Instant::now().checked_sub(Duration::from_millis(50)).unwrap();
    let mut helpers = Helpers::new(Clock::new(), start);
    let mut running = Running::new(Scheduled { source, timeout: interval, ..scripted(500, NEVER, hangs) }, start);

    let sample = running.tick(&mut helpers, &counters, Clock::new());
    running.look_at_deadline(start + interval, &helpers, &counters);

    assert!(sample.is_none());
    assert_eq!((counters.failed_samples.get(), counters.missed_ticks.get()), (1, 0));
}

#[test]
fn a_source_that_panics_is_not_told_as_one_that_hangs() {
    let panics: fn(u64) -> bool = |_| panic!("the source's own");

    let told = sample_once(scripted(1000, panics, AT_ONCE), Clock::new()).map(|_| ());

    assert_eq!(told, Err("the source panicked; please report this".to_owned()));
}

#[test]
fn it_ends_when_nobody_takes_the_samples() {
    let (samples, taken) = bounded(1);
    let (_runs, plans) = bounded(0);
    drop(taken);

    run(
        vec![scripted(1, NEVER, AT_ONCE)],
        samples,
        &plans,
        &unbounded().0,
        &Counters::default(),
        &Pulse::default(),
        Clock::new(),
    );
}
