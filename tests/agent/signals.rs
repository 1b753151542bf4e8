//! SIGHUP, and that the log names the signal that stops the agent.

use crate::support::{Broker, Gateway, Script, Scripted, Settings, Subscriber, wait_until};
use rustix::process::Signal;

const READ: &str = "asked to read the configuration and to try the broker signal=SIGHUP";

/// A gateway that waits for an hour after its second failure.
fn patient(url: &str) -> Gateway {
    let retry = "{initial_delay: 1h, max_delay: 1h, at_max: hold}";
    let more = "logging: {directory: LOGS, console: debug}\nstatus: {topic: ~}".to_owned();
    Gateway::new(url, &Settings { retry, interval: "20ms", more, ..Settings::default() })
}

#[test]
fn a_hangup_stops_nothing_and_has_the_configuration_read_at_once() {
    let broker = Scripted::start(Script::default());
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();

    agent.signal(Signal::HUP);
    agent.wait_for_output("configuration file is as applied");
    gateway.edit("window: 100", "window: many");
    agent.signal(Signal::HUP);
    agent.wait_for_output("delivery.window: found `many`");
    gateway.edit("window: many", "window: 50");
    agent.signal(Signal::HUP);
    agent.wait_for_output("configuration file edited");
    broker.wait_for_more(100);

    assert!(agent.output().contains(READ), "{}", agent.output());
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_hangup_ends_a_back_off() {
    let mut broker = Broker::absent("allow_anonymous true");
    let gateway = patient(&broker.url());
    let agent = gateway.start();
    agent.wait_for_output("retrying in 3");

    broker.run();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    agent.signal(Signal::HUP);

    subscriber.wait_for_count(10);
    agent.wait_for_output("asked not to wait; connecting at once");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_hangup_asks_a_broker_again_that_has_refused_us() {
    let broker = Scripted::start(Script { connect_code: 0x87, ..Script::default() });
    let gateway = patient(&broker.url());
    let agent = gateway.start();
    agent.wait_for_output("asking again in ");

    broker.change(|script| script.connect_code = 0);
    agent.signal(Signal::HUP);

    wait_until("messages arrive", || !broker.deliveries().is_empty());
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let broker = Broker::absent("");
    let gateway = patient(&broker.url());
    let agent = gateway.start_ignoring_hangups();

    agent.signal(Signal::HUP);
    agent.signal(Signal::TERM);
    agent.wait_for_output("asked to stop signal=SIGTERM");

    assert!(!agent.output().contains("SIGHUP"), "{}", agent.output());
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn the_log_names_the_signal_that_stops() {
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let broker = Broker::absent("");
        let gateway = patient(&broker.url());
        let agent = gateway.start();

        agent.signal(signal);

        agent.wait_for_output(&format!("asked to stop signal={name}"));
        assert_eq!(agent.wait().code(), Some(0));
    }
}

#[test]
fn the_unit_reloads_by_a_hangup() {
    let unit = include_str!("../../systemd/packhorse.service");
    assert!(unit.lines().any(|line| line == "ExecReload=/bin/sh -c 'kill -HUP ${MAINPID}'"), "{unit}");
}
