//! Signals, and what the broker hears of the end.

use crate::support::{Agent, Broker, Gateway, Judgement, Settings, Subscriber, wait_until};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// An agent with messages in flight at a broker that says nothing any more, after `arrived` messages; `more` wait.
fn in_the_middle(broker: &Broker, subscriber: &Subscriber, gateway: &Gateway, [arrived, more]: [usize; 2]) -> Agent {
    let agent = gateway.start();
    subscriber.wait_for_count(arrived);
    broker.pause();
    let accepted = gateway.accepted_count();
    wait_until("more are accepted", || gateway.accepted_count() > accepted + more);
    agent
}

fn a_signal_with_messages_in_flight(signal: Signal) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "1ms", ..Settings::default() });
    gateway.edit("ack_timeout: 2s", "ack_timeout: 1m");
    let agent = in_the_middle(&broker, &subscriber, &gateway, [50, 100]);

    let asked = Instant::now();
    agent.signal(signal);
    let status = agent.wait();
    let took = asked.elapsed();

    println!("stopped after {took:?} with a shutdown timeout of 2 s");
    assert_eq!(status.code(), Some(0));
    assert!(took >= Duration::from_millis(1900), "in-flight messages got their time: {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    broker.resume();
    let accepted = gateway.accepted();
    let agent = gateway.start();
    subscriber.wait_for_all(&accepted);
    agent.kill();
    Judgement::of(&subscriber.arrivals()).assert_complete(&accepted);
}

#[test]
fn sigterm_waits_for_messages_in_flight_and_no_longer_than_the_timeout() {
    a_signal_with_messages_in_flight(Signal::TERM);
}

#[test]
fn sigint_does_the_same() {
    a_signal_with_messages_in_flight(Signal::INT);
}

#[test]
fn a_second_signal_ends_at_once() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    gateway.edit("shutdown_timeout: 2s", "shutdown_timeout: 50s");
    gateway.edit("ack_timeout: 2s", "ack_timeout: 50s");
    let agent = in_the_middle(&broker, &subscriber, &gateway, [10, 10]);

    agent.signal(Signal::TERM);
    agent.wait_for_output("stopping in_flight=");
    // One that comes within a moment is the first one still.
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    agent.signal(Signal::TERM);
    let status = agent.wait();

    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

/// `timeout` signals its child, and then its group.
#[test]
fn stop_signals_that_come_together_are_one_request() {
    for pair in [[Signal::TERM, Signal::TERM], [Signal::TERM, Signal::INT], [Signal::INT, Signal::QUIT]] {
        let broker = Broker::start();
        let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
        let gateway = Gateway::new(&broker.url(), &Settings::default());
        gateway.edit("ack_timeout: 2s", "ack_timeout: 1m");
        let agent = in_the_middle(&broker, &subscriber, &gateway, [10, 10]);

        let asked = Instant::now();
        agent.signal(pair[0]);
        std::thread::sleep(Duration::from_millis(1));
        agent.signal(pair[1]);
        let status = agent.wait();

        assert_eq!(status.code(), Some(0));
        assert!(asked.elapsed() >= Duration::from_millis(1900), "{pair:?}: {:?}", asked.elapsed());
        assert_eq!(gateway.logged("asked to stop signal="), 1);
    }
}

#[test]
fn a_stop_while_the_broker_is_away_is_immediate() {
    let broker = Broker::absent("");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    agent.wait_for_output("retrying in");

    let asked = Instant::now();
    let status = agent.stop();

    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn the_status_topic_says_online_then_offline() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "status/#");
    let more = "status: {interval: 100ms}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { more, ..Settings::default() });
    let word = |arrival: &crate::support::Arrival| arrival.payload["status"].as_str().unwrap().to_owned();

    let before_start = now();
    let agent = gateway.start();
    subscriber.wait_for_count(3);
    let before_stop = now();
    // Payloads have no finer time than a millisecond.
    std::thread::sleep(Duration::from_millis(2));
    agent.stop();
    let after_stop = now();
    subscriber.wait_until("offline arrives", |arrivals| arrivals.iter().any(|arrival| word(arrival) == "offline"));

    let arrivals = subscriber.arrivals();
    let (last, before) = arrivals.split_last().unwrap();
    assert!(before.iter().all(|arrival| word(arrival) == "online" && arrival.topic == "status/gateway-7"));
    assert_eq!(word(last), "offline");
    assert!(before.last().unwrap().payload["counters"]["acknowledged"].as_u64().unwrap() > 0);
    assert!(before[0].payload["backlog"]["messages"].is_u64());
    let since = |arrival: &crate::support::Arrival| arrival.payload["since"].as_str().unwrap().to_owned();
    assert!(before.iter().all(|arrival| before_start < since(arrival) && since(arrival) < before_stop), "its start");
    assert!(before_stop < since(last) && since(last) < after_stop, "when it went: {before_stop} {last:?} {after_stop}");
    let latecomer = Subscriber::start(&broker.url(), "status/gateway-7");
    latecomer.wait_for_count(1);
    assert!(latecomer.arrivals()[0].retained && word(&latecomer.arrivals()[0]) == "offline");
}

/// The present time as payloads have it, which sorts as text.
fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// It was written when the connection began, long before the broker publishes it.
#[test]
fn the_last_will_of_a_killed_agent_says_offline_and_nothing_that_may_have_changed() {
    for protocol in ["5", "3.1.1"] {
        let broker = Broker::start();
        let subscriber = Subscriber::start(&broker.url(), "status/#");
        let gateway = Gateway::new(&broker.url(), &Settings { protocol, more: String::new(), ..Settings::default() });

        let agent = gateway.start();
        subscriber.wait_for_count(1);
        agent.kill();

        subscriber.wait_until("the last will arrives", |arrivals| {
            arrivals.last().is_some_and(|arrival| arrival.payload["status"] == "offline")
        });
        let arrivals = subscriber.arrivals();
        assert_eq!(arrivals[0].payload["status"], "online");
        let will =
            serde_json::json!({"device": "gateway-7", "status": "offline", "version": env!("CARGO_PKG_VERSION")});
        assert_eq!(arrivals.last().unwrap().payload, will);
    }
}

#[test]
fn a_stop_that_has_no_room_for_a_goodbye_leaves_it_to_the_last_will() {
    for protocol in ["5", "3.1.1"] {
        let broker = Broker::start();
        let subscriber = Subscriber::start(&broker.url(), "status/#");
        let settings = Settings { protocol, interval: "1ms", more: String::new(), ..Settings::default() };
        let gateway = Gateway::new(&broker.url(), &settings);
        gateway.edit("ack_timeout: 2s", "ack_timeout: 1m");
        let agent = gateway.start();
        subscriber.wait_for_count(1);
        broker.pause();
        let accepted = gateway.accepted_count();
        wait_until("more are accepted than the window holds", || gateway.accepted_count() > accepted + 200);

        assert_eq!(agent.stop().code(), Some(0));
        broker.resume();

        subscriber.wait_until("the last will arrives", |arrivals| {
            arrivals.last().is_some_and(|arrival| arrival.payload["status"] == "offline")
        });
    }
}

#[test]
fn a_status_message_on_its_way_does_not_hold_up_the_stop() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "status/#");
    let more = "status: {interval: 1ms}".to_owned();
    let gateway = Gateway::new(&broker.url(), &Settings { more, ..Settings::default() });
    let agent = gateway.start();
    subscriber.wait_for_count(50);

    let start = Instant::now();
    let status = agent.stop();

    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    subscriber.wait_until("offline arrives", |arrivals| arrivals.last().unwrap().payload["status"] == "offline");
}
