//! A console that nobody reads, as a terminal after Ctrl-S or a pager: it holds up neither the agent nor its end.

use crate::support::{Broker, Gateway, PATIENCE, Settings, Subscriber, full_pipe, log_files, wait_until};
use rustix::process::Signal;
use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

/// A gateway whose console gets every line.
fn talkative(url: &str) -> Gateway {
    let more = "logging: {directory: LOGS, console: trace}\nstatus: {topic: ~}".to_owned();
    Gateway::new(url, &Settings { interval: "2ms", more, ..Settings::default() })
}

#[test]
fn a_console_that_nobody_reads_stops_neither_the_agent_nor_its_end() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = talkative(&broker.url());
    let (_nobody_reads, console) = full_pipe();
    let agent = gateway.launch_on(console.try_clone().unwrap(), console);

    subscriber.wait_for_count(1000);
    let asked = Instant::now();
    let status = agent.stop();

    println!("stopped after {:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(gateway.logged("asked to stop signal=SIGTERM"), 1);
}

#[test]
fn a_second_signal_ends_at_once_where_nobody_reads_the_console() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = talkative(&broker.url());
    gateway.edit("shutdown_timeout: 2s", "shutdown_timeout: 50s");
    gateway.edit("ack_timeout: 2s", "ack_timeout: 50s");
    let (_nobody_reads, console) = full_pipe();
    let agent = gateway.launch_on(console.try_clone().unwrap(), console);
    subscriber.wait_for_count(100);
    broker.pause();
    let accepted = gateway.accepted_count();
    wait_until("some more are accepted", || gateway.accepted_count() > accepted + 10);

    agent.signal(Signal::TERM);
    wait_until("it stops", || gateway.logged("stopping in_flight=") == 1);
    // One that comes within a moment is the first one still.
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    let status = agent.stop();

    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn lines_that_the_console_had_no_room_for_are_counted() {
    let gateway = talkative("mqtt://127.0.0.1:1");
    let (mut reader, console) = full_pipe();
    let agent = gateway.launch_on(console.try_clone().unwrap(), console);
    let log = || log_files(&gateway.logs(), "debug.log.").concat();
    wait_until("the agent logs", || gateway.logs().join("debug.log").exists());
    wait_until("more is logged than finds room", || {
        agent.signal(Signal::HUP);
        log().len() > 400 * 1024
    });

    let reading = std::thread::spawn(move || {
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        read
    });
    wait_until("the log says what was left out", || log().contains("left out lines="));
    assert_eq!(agent.stop().code(), Some(0));

    let (console, log) = (reading.join().unwrap(), log());
    let console: Vec<&str> = console.lines().skip(1).collect();
    let first = console[0].trim_start_matches('.');
    assert_eq!(log.lines().next(), Some(first));
    let left_out = |line: &&str| line.split_once("left out lines=")?.1.parse::<usize>().ok();
    let left_out: usize = console.iter().filter_map(left_out).sum();
    println!("{} lines on the console, {left_out} left out", console.len());
    assert!(left_out > 0);
    assert_eq!(console.len() + left_out, log.lines().count());
}

#[test]
fn an_agent_that_cannot_start_does_not_wait_for_its_console_either() {
    let bad = Gateway::new("mqtt://127.0.0.1:1", &Settings { window: 0, ..Settings::default() });
    let unusable = Gateway::new("mqtt://127.0.0.1:1", &Settings::default());
    fs::write(unusable.spool(), "a file where the folder should be").unwrap();

    for (gateway, code) in [(bad, 78), (unusable, 74)] {
        let (_nobody_reads, console) = full_pipe();
        let agent = gateway.launch_on(console.try_clone().unwrap(), console);

        assert_eq!(agent.wait_within(PATIENCE).code(), Some(code));
    }
}
