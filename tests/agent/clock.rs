//! A wall clock that jumps by years while the agent runs.

use crate::support::{Broker, Gateway, Judgement, Settings, Subscriber, log_files, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Debian's libfaketime; `None` where it is not installed, which is said.
fn libfaketime() -> Option<PathBuf> {
    let found = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let found = found.chain([PathBuf::from("/usr/lib/faketime/libfaketime.so.1")]).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: libfaketime is not installed");
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
        let mut years = Vec::new();
        for jump in ["+10y", "-10y", "+0"] {
            step(&offset, jump);
            let (begin, before) = (Instant::now(), subscriber.arrivals().len());
            subscriber.wait_for_count(before + 50);
            let took = begin.elapsed();
            println!("50 messages in {took:?} after a step to {jump}");
            assert!(took > Duration::from_millis(800) && took < Duration::from_secs(3), "{took:?}");
            let time = subscriber.arrivals().last().unwrap().payload["time"].as_str().unwrap().to_owned();
            years.push(time[..4].to_owned());
        }
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
