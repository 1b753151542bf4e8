//! A wall clock that jumps by years while the agent runs, and one that is wrong until the network tells the time.

use crate::support::{
    Agent, Arrival, Broker, Gateway, Judgement, Script, Scripted, Settings, Subscriber, log_files, skip, wait_until,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Debian's libfaketime; `None` where it is not installed, which is said.
fn libfaketime() -> Option<PathBuf> {
    let found = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let found = found.chain([PathBuf::from("/usr/lib/faketime/libfaketime.so.1")]).find(|path| path.exists());
    if found.is_none() {
        skip("libfaketime is not installed");
    }
    found
}

fn step(file: &Path, offset: &str) {
    fs::write(file, offset).unwrap();
}

#[test]
fn cadence_and_back_off_do_not_care_about_the_wall_clock() {
    let Some(library) = libfaketime() else { return };
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let retry = "{initial_delay: 300ms, factor: 1, max_delay: 1s, at_max: hold, jitter: 0}";
    let more = "status: {topic: ~}\nlogging: {directory: LOGS, rotate_every: 1s, keep_files: 1000}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "20ms", retry, more, ..Settings::default() });
    let offset = gateway.logs().with_extension("offset");
    step(&offset, "+0");
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let agent = gateway.start_with(&environment);
    let years: Vec<String> = {
        subscriber.wait_for_count(20);
        let all = Instant::now();
        let mut years = Vec::new();
        for jump in ["+10y", "-10y", "+0"] {
            step(&offset, jump);
            let (begin, before) = (Instant::now(), subscriber.arrivals().len());
            subscriber.wait_for_count(before + 50);
            let took = begin.elapsed();
            println!("50 messages in {took:?} after a step to {jump}");
            assert!(took < Duration::from_secs(5), "{took:?}");
            let time = subscriber.arrivals().last().unwrap().payload["time"].as_str().unwrap().to_owned();
            years.push(time[..4].to_owned());
        }
        // 3 s by the grid; on a slow machine the beginning may lie in the wake of a pause.
        assert!(all.elapsed() > Duration::from_millis(1500), "{:?}", all.elapsed());
        years
    };
    assert!(years[0] > years[2] && years[1] < years[2], "{years:?}");

    broker.stop();
    let debug = || log_files(&gateway.logs(), "debug.log.").concat();
    wait_until("attempts fail", || debug().matches("retrying in 0.3 s").count() >= 2);
    step(&offset, "-10y");
    let (begin, before) = (Instant::now(), debug().matches("connecting to").count());
    wait_until("ten more attempts", || debug().matches("connecting to").count() >= before + 10);
    let took = begin.elapsed();
    broker.run();
    let before = subscriber.arrivals().len();
    subscriber.wait_for_count(before + 100);

    println!("10 attempts in {took:?} at 300 ms");
    assert!(took > Duration::from_millis(2500) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(agent.stop().code(), Some(0));
    let judgement = Judgement::of(&subscriber.arrivals());
    judgement.assert_complete(&[1..=*judgement.seqs.last().unwrap()]);
}

/// Says in the place of the kernel whether the clock is synchronised: by what the file holds that the environment names,
/// `y` or anything else.
const KERNEL: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/timex.h>

int adjtimex(struct timex *timex) {
    FILE *file = fopen(getenv("SYNCHRONISED"), "r");
    int right = file && fgetc(file) == 'y';
    if (file) fclose(file);
    return right ? TIME_OK : TIME_ERROR;
}
"#;

/// A device whose clock the test sets.
pub struct Clockwork {
    pub gateway: Gateway,
    libraries: String,
    offset: PathBuf,
    synchronised: PathBuf,
}

impl Clockwork {
    /// `None` where libfaketime is not installed, which is said.
    pub fn of(gateway: Gateway) -> Option<Self> {
        Some(Self::new(gateway, &libfaketime()?))
    }

    fn new(gateway: Gateway, libfaketime: &Path) -> Self {
        let file = |name: &str| gateway.config().with_file_name(name);
        let (source, library) = (file("kernel.c"), file("kernel.so"));
        fs::write(&source, KERNEL).unwrap();
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
        assert!(compiled.unwrap().success());
        let libraries = format!("{} {}", library.display(), libfaketime.display());
        let clock = Self { libraries, offset: file("offset"), synchronised: file("synchronised"), gateway };
        clock.set("+0", "n");
        clock
    }

    pub fn set(&self, offset: &str, synchronised: &str) {
        step(&self.offset, offset);
        fs::write(&self.synchronised, synchronised).unwrap();
    }

    pub fn start(&self) -> Agent {
        self.gateway.start_with(&[
            ("LD_PRELOAD", &self.libraries),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("SYNCHRONISED", self.synchronised.to_str().unwrap()),
        ])
    }

    /// Starts an agent while the clock is wrong, and sets the clock when so many samples are spooled.
    fn start_before_the_time_is_known(&self, samples: usize) -> Agent {
        self.set("-30y", "n");
        let agent = self.start();
        wait_until("samples are spooled", || self.gateway.accepted_count() >= samples);
        self.set("+0", "y");
        agent.wait_for_output("the clock is right");
        agent
    }
}

/// How far the times of some messages are from the present, at most; `None`: they are marked as uncertain.
fn error_of(arrivals: &[Arrival]) -> Option<Duration> {
    let now = chrono::Utc::now();
    let error = |arrival: &Arrival| {
        let time = chrono::DateTime::parse_from_rfc3339(arrival.payload["time"].as_str().unwrap()).unwrap();
        let marked = arrival.payload.get("clock").map(|clock| assert_eq!(clock, "unsynchronised")).is_some();
        (!marked).then(|| (now - time.with_timezone(&chrono::Utc)).abs().to_std().unwrap())
    };
    arrivals.iter().map(error).collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn clockwork(broker: &Broker, settings: &Settings) -> Option<Clockwork> {
    Clockwork::of(Gateway::new(&broker.url(), settings))
}

#[test]
fn samples_from_before_the_clock_was_set_get_their_right_times() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let Some(clock) = clockwork(&broker, &Settings { interval: "20ms", ..Settings::default() }) else { return };
    broker.stop();

    let agent = clock.start_before_the_time_is_known(50);
    broker.run();
    subscriber.wait_for_count(100);

    assert_eq!(agent.stop().code(), Some(0));
    let error = error_of(&subscriber.arrivals()).expect("all times are certain");
    println!("times were within {error:?} of the present");
    assert!(error < Duration::from_secs(60), "{error:?}");
}

#[test]
fn a_time_that_cannot_be_right_yet_is_marked() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let Some(clock) = clockwork(&broker, &Settings { interval: "20ms", ..Settings::default() }) else { return };
    clock.set("-30y", "n");

    let agent = clock.start();
    subscriber.wait_for_count(20);
    let before = subscriber.arrivals();
    clock.set("+0", "y");
    agent.wait_for_output("the clock is right");
    let seen = subscriber.arrivals().len();
    subscriber.wait_for_count(seen + 20);
    agent.kill();

    assert!(before.iter().all(|arrival| arrival.payload["clock"] == "unsynchronised"));
    assert!(error_of(&subscriber.arrivals()[seen + 5..]).is_some_and(|error| error < Duration::from_secs(60)));
}

#[test]
fn the_times_of_the_status_message_are_put_right_when_the_clock_is_set() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "status/#");
    let more = "status: {interval: 100ms}".to_owned();
    let Some(clock) = clockwork(&broker, &Settings { interval: "20ms", more, ..Settings::default() }) else { return };
    clock.set("-30y", "n");
    let times = |arrival: &Arrival| {
        let time = |text: &serde_json::Value| chrono::DateTime::parse_from_rfc3339(text.as_str().unwrap()).unwrap();
        let Arrival { payload, .. } = arrival;
        [&payload["since"], &payload["configuration"]["since"]]
            .map(|text| (chrono::Utc::now() - time(text).to_utc()).num_seconds())
    };

    let agent = clock.start();
    subscriber.wait_for_count(2);
    let before = subscriber.arrivals();
    clock.set("+0", "y");
    agent.wait_for_output("the clock is right");
    let seen = subscriber.arrivals().len();
    subscriber.wait_for_count(seen + 3);
    let after = subscriber.arrivals().pop().unwrap();
    assert_eq!(agent.stop().code(), Some(0));
    subscriber.wait_until("offline arrives", |arrivals| arrivals.last().unwrap().payload["status"] == "offline");

    assert!(before.iter().all(|arrival| arrival.payload["clock"] == "unsynchronised"), "{before:?}");
    assert!(after.payload.get("clock").is_none() && times(&after).iter().all(|age| (0..60).contains(age)), "{after:?}");
    assert!(subscriber.arrivals().pop().unwrap().payload.get("clock").is_none());
}

/// The boot's beginning is known to the next process, and so it would be after a boot: the note is on the medium.
#[test]
fn samples_of_a_former_process_get_their_times_though_the_clock_is_wrong_again() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let Some(clock) = clockwork(&broker, &Settings { interval: "20ms", ..Settings::default() }) else { return };
    broker.stop();
    let agent = clock.start_before_the_time_is_known(30);
    agent.kill();

    clock.set("-30y", "n");
    let agent = clock.start();
    broker.run();
    subscriber.wait_for_count(30);

    agent.kill();
    assert!(error_of(&subscriber.arrivals()[..30]).is_some_and(|error| error < Duration::from_secs(60)));
}

/// What a broker got under a packet identifier it must get again in the same words.
#[test]
fn a_clock_that_is_set_amid_qos_2_changes_nothing_of_what_is_in_flight() {
    let Some(library) = libfaketime() else { return };
    let slow = || Script { acknowledge_after: Some(Duration::from_millis(300)), ..Script::default() };
    let broker = Scripted::start(slow());
    let settings = Settings { qos: 2, window: 20, interval: "20ms", ..Settings::default() };
    let clock = Clockwork::new(Gateway::new(&broker.url(), &settings), &library);
    clock.set("-30y", "n");

    let agent = clock.start();
    wait_until("messages arrive", || broker.deliveries().len() > 40);
    // Away for long enough that the agent learns the time in between.
    broker.die(Duration::from_secs(3));
    clock.set("+0", "y");
    agent.wait_for_output("the clock is right");
    let before = broker.deliveries().len();
    wait_until("more messages arrive", || broker.deliveries().len() > before + 60);

    assert_eq!(agent.stop().code(), Some(0));
    assert_eq!(broker.violations(), Vec::<String>::new());
    let arrivals = broker.arrivals();
    let marked = arrivals.iter().filter(|arrival| arrival.payload.get("clock").is_some()).count();
    println!("{marked} of {} with a time that was not right yet", arrivals.len());
    assert!(marked > 0 && marked < arrivals.len());
    Judgement::of(&arrivals).assert_no_duplicates();
}
