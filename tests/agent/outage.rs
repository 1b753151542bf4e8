//! With the broker away, the link dead or the agent killed: nothing accepted is lost.

use crate::support::{Agent, Broker, Gateway, How, Judgement, Proxy, Settings, Subscriber, log_files, wait_until};
use std::time::{Duration, Instant};

/// A broker that knows a subscriber and is away.
fn broker_with_a_subscriber() -> (Broker, Subscriber) {
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    broker.stop();
    (broker, subscriber)
}

/// Stops the agent, lets another one deliver what is left, and judges what the first one accepted.
fn judge(agent: Agent, gateway: &Gateway, subscriber: &Subscriber) -> Judgement {
    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of_the_rest(gateway, subscriber)
}

#[test]
fn a_broker_that_comes_late_gets_everything_in_order_while_sampling_goes_on() {
    let (mut broker, subscriber) = broker_with_a_subscriber();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    wait_until("300 messages wait", || gateway.accepted_count() >= 300);

    let waiting = gateway.accepted_count();
    broker.run();
    subscriber.wait_for_count(waiting);
    let meanwhile = gateway.accepted_count();

    assert!(meanwhile > waiting, "sampling went on: {waiting}, then {meanwhile}");
    judge(agent, &gateway, &subscriber);
}

#[test]
fn an_outage_reads_like_a_story_at_info_level() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    subscriber.wait_for_count(20);

    broker.stop();
    wait_until("300 messages wait", || gateway.accepted_count() >= subscriber.arrivals().len() + 300);
    broker.run();
    let info = || log_files(&gateway.logs(), "info.log.").concat();
    wait_until("the backlog drains", || info().contains("drained; "));

    let info = info();
    let at = |text: &str| info.find(text).unwrap_or_else(|| panic!("{text:?} in {info}"));
    let told = [at("connected for "), info.rfind("connected to ").unwrap(), at("drained; ")];
    assert!(told.is_sorted(), "{info}");
    let back = info.lines().rfind(|line| line.contains("connected to ")).unwrap();
    assert!(back.contains("after=\""), "{back}");
    let drained = info.lines().find(|line| line.contains("drained; ")).unwrap();
    let count: u64 = drained.split_once("drained; ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(count >= 300, "{drained}");
    judge(agent, &gateway, &subscriber);
}

#[test]
fn a_backlog_survives_the_agent_and_drains_faster_than_sampling_fills_it() {
    let (mut broker, subscriber) = broker_with_a_subscriber();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "4ms", ..Settings::default() });
    let agent = gateway.start();
    wait_until("2000 messages wait", || gateway.accepted_count() >= 2000);
    assert_eq!(agent.stop().code(), Some(0));

    let agent = gateway.start();
    assert!(agent.output().contains("backlog=2"), "the backlog is reported");
    broker.run();
    subscriber.wait_until("the drain catches up with sampling", |arrivals| {
        let accepted = gateway.accepted_count();
        arrivals.len() + 100 >= accepted && accepted > 2100
    });

    judge(agent, &gateway, &subscriber);
}

fn a_broker_that_restarts(protocol: &'static str, qos: u8, window: u16) {
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { protocol, qos, window, ..Settings::default() });
    let agent = gateway.start();

    for _ in 0..3 {
        let before = subscriber.arrivals().len();
        subscriber.wait_for_count(before + 50);
        let losses = gateway.logged("retrying in");
        broker.stop();
        wait_until("the agent notices", || gateway.logged("retrying in") > losses);
        broker.run();
    }
    let before = subscriber.arrivals().len();
    subscriber.wait_for_count(before + 50);

    judge(agent, &gateway, &subscriber);
}

#[test]
fn a_broker_that_restarts_gets_everything_at_qos_1() {
    a_broker_that_restarts("5", 1, 100);
}

#[test]
fn a_broker_that_restarts_gets_everything_at_qos_2() {
    a_broker_that_restarts("5", 2, 100);
}

#[test]
fn a_broker_that_restarts_gets_everything_over_mqtt_3_1_1() {
    a_broker_that_restarts("3.1.1", 1, 1);
}

#[test]
fn an_agent_killed_mid_backlog_resumes_where_it_was() {
    const WINDOW: u16 = 20;
    const KILLS: usize = 8;
    let (mut broker, subscriber) = broker_with_a_subscriber();
    let settings = Settings { interval: "1ms", window: WINDOW, ..Settings::default() };
    let gateway = Gateway::new(&broker.url(), &settings);
    // A limit, so that the backlog lasts for all kills.
    gateway.edit("ack_timeout: 2s}", "ack_timeout: 2s, max_rate: 2000}");
    let agent = gateway.start();
    wait_until("3000 messages wait", || gateway.accepted_count() >= 3000);
    agent.kill();
    broker.run();

    for _ in 0..KILLS {
        let before = subscriber.arrivals().len();
        let agent = gateway.start();
        subscriber.wait_for_count(before + 100);
        agent.kill();
    }
    let agent = gateway.start();
    agent.wait_for_output("connected to");

    let judgement = judge(agent, &gateway, &subscriber);
    println!("{KILLS} kills, window {WINDOW}: {} duplicates", judgement.duplicates);
    assert!(judgement.duplicates <= usize::from(WINDOW) * (KILLS + 1), "{} duplicates", judgement.duplicates);
}

#[test]
fn a_broker_that_says_nothing_is_left_after_the_acknowledgement_timeout() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    subscriber.wait_for_count(20);

    let paused = Instant::now();
    broker.pause();
    agent.wait_for_output("no acknowledgement for 2s");
    let noticed = paused.elapsed();
    // Its system still accepts connections: attempts end by the connect timeout.
    let debug = || log_files(&gateway.logs(), "debug.log.").concat();
    wait_until("an attempt ends by its timeout", || debug().matches("retrying in").count() >= 2);
    broker.resume();

    println!("noticed after {noticed:?} with an acknowledgement timeout of 2 s");
    assert!(noticed > Duration::from_millis(1500) && noticed < Duration::from_secs(10), "{noticed:?}");
    judge(agent, &gateway, &subscriber);
}

#[test]
fn the_agent_gives_up_with_code_69_when_the_delay_passes_its_maximum() {
    let broker = Broker::absent("");
    let retry = "{initial_delay: 100ms, factor: 2, max_delay: 500ms, jitter: 0}";
    let gateway = Gateway::new(&broker.url(), &Settings { retry, ..Settings::default() });

    let start = Instant::now();
    let agent = gateway.start();
    agent.wait_for_output("giving up");
    let elapsed = start.elapsed();
    let status = agent.wait();

    // At once, 100, 200 and 400 ms; 800 ms would be beyond the maximum.
    assert_eq!(status.code(), Some(69));
    assert!(elapsed >= Duration::from_millis(700) && elapsed < Duration::from_secs(10), "{elapsed:?}");
    let log = log_files(&gateway.logs(), "debug.log.").concat();
    assert_eq!(log.matches("connecting to").count(), 5, "{log}");
    assert!(log.contains("retrying in 0.0 s (attempt 2"), "the first failure is retried at once: {log}");
    assert!(log.contains("exiting with code 69: gave up"), "{log}");
    assert!(gateway.accepted_count() > 0);
}

#[test]
fn only_a_connection_that_lasted_for_stable_after_begins_the_back_off_anew() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let proxy = Proxy::start(broker.port());
    let retry = "{initial_delay: 100ms, factor: 2, max_delay: 1h, jitter: 0, stable_after: 1h}";
    let gateway = Gateway::new(&proxy.url(), &Settings { retry, interval: "10ms", ..Settings::default() });
    gateway.edit("keep_alive: 5s", "keep_alive: 1h");
    let agent = gateway.start();

    for _ in 0..3 {
        // At 10 ms each, this takes longer than the first delay.
        let (before, cuts) = (subscriber.arrivals().len(), proxy.cuts());
        subscriber.wait_for_count(before + 40);
        proxy.cut(How::Reset);
        wait_until("the connection is cut", || proxy.cuts() > cuts);
    }
    let log = || log_files(&gateway.logs(), "debug.log.").concat();
    wait_until("the third loss", || log().contains("(attempt 4"));

    judge(agent, &gateway, &subscriber);
}

#[test]
fn holding_goes_on_at_the_largest_delay() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    broker.stop();
    let retry = "{initial_delay: 20ms, factor: 2, max_delay: 100ms, at_max: hold, jitter: 0}";
    let gateway = Gateway::new(&broker.url(), &Settings { retry, ..Settings::default() });
    let agent = gateway.start();

    let log = || log_files(&gateway.logs(), "debug.log.").concat();
    wait_until("20 attempts", || log().matches("connecting to").count() >= 20);
    broker.run();
    subscriber.wait_for_count(100);

    assert!(log().matches("retrying in 0.1 s").count() >= 10);
    judge(agent, &gateway, &subscriber);
}

#[test]
fn messages_that_expired_while_they_were_in_flight_are_not_sent_again() {
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    gateway.edit("seed: 7}", "seed: 7, expiry: 1s}");
    let agent = gateway.start();
    subscriber.wait_for_count(20);

    // A broker that stands still fills the window.
    broker.pause();
    let accepted = gateway.accepted_count();
    wait_until("a window of messages is in flight", || gateway.accepted_count() >= accepted + 100);
    broker.kill();
    let before = subscriber.arrivals().last().unwrap().identity().1;
    let old = gateway.accepted_count() as u64;
    // At 10 ms each: what was in flight is older than its expiry by then.
    wait_until("what was in flight expires", || gateway.accepted_count() as u64 >= old + 200);
    broker.run();
    subscriber.wait_until("new messages arrive", |arrivals| arrivals.last().unwrap().identity().1 > old + 100);

    let late: Vec<u64> = subscriber.arrivals().iter().map(|arrival| arrival.identity().1).collect();
    let late: Vec<&u64> = late.iter().filter(|seq| **seq > before + 1 && **seq <= old).collect();
    assert_eq!(late, Vec::<&u64>::new());
    assert_eq!(log_files(&gateway.logs(), "info.log.").concat().matches("too old").count(), 2);
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_connection_that_carries_no_message_is_retried_ever_more_slowly() {
    let broker = Broker::with("allow_anonymous true\nmax_packet_size 1000");
    let retry = "{initial_delay: 200ms, factor: 2, max_delay: 1h, jitter: 0}";
    // MQTT 5 would tell the agent beforehand what is too large.
    let settings = Settings { protocol: "3.1.1", retry, more: String::new(), ..Settings::default() };
    let gateway = Gateway::new(&broker.url(), &settings);
    let text = gateway.logs().with_extension("txt");
    std::fs::write(&text, "x".repeat(2000)).unwrap();
    gateway.edit("type: simulated, seed: 7}", &format!("type: file, path: {}}}", text.display()));

    // The status message gets through; the telemetry makes the broker end the connection.
    let agent = gateway.start();
    wait_until("the delay grows", || gateway.logged("retrying in 0.8 s") > 0);
    let connections = gateway.logged("connected to");
    agent.stop();

    // At 0, 0, 0.2 and 0.6 seconds.
    assert!((3..=5).contains(&connections), "{connections} connections");
}
