//! With nothing in the way: every message arrives once, in order, as documented.

use crate::support::{Broker, Gateway, Judgement, Script, Scripted, Settings, Subscriber, wait_until};
use std::time::Duration;

fn a_normal_run(protocol: &'static str, qos: u8, window: u16) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { protocol, qos, window, ..Settings::default() });

    let agent = gateway.start();
    agent.wait_for_output("connected to");
    subscriber.wait_for_count(100);
    let status = agent.stop();

    assert_eq!(status.code(), Some(0));
    let accepted = gateway.accepted_count();
    // What was sampled while the agent stopped is on disk; another run delivers it.
    let agent = gateway.start();
    subscriber.wait_for_count(accepted);
    agent.stop();
    let arrivals = subscriber.arrivals();
    assert!(arrivals.iter().all(|arrival| arrival.qos == qos));
    let judgement = Judgement::of(&arrivals);
    judgement.assert_complete(&[1..=accepted as u64]);
    judgement.assert_no_duplicates();
}

#[test]
fn qos_0_over_mqtt_5() {
    a_normal_run("5", 0, 100);
}

#[test]
fn qos_1_over_mqtt_5() {
    a_normal_run("5", 1, 100);
}

#[test]
fn qos_2_over_mqtt_5() {
    a_normal_run("5", 2, 100);
}

#[test]
fn qos_0_over_mqtt_3_1_1() {
    a_normal_run("3.1.1", 0, 100);
}

#[test]
fn qos_1_over_mqtt_3_1_1() {
    a_normal_run("3.1.1", 1, 100);
}

#[test]
fn qos_2_over_mqtt_3_1_1() {
    a_normal_run("3.1.1", 2, 100);
}

#[test]
fn a_window_of_one_at_qos_1() {
    a_normal_run("5", 1, 1);
}

#[test]
fn a_window_of_one_at_qos_2() {
    a_normal_run("3.1.1", 2, 1);
}

#[test]
fn a_broker_that_takes_five_at_a_time_gets_no_more() {
    let broker = Broker::with("allow_anonymous true\nmax_inflight_messages 5");
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "1ms", ..Settings::default() });

    let agent = gateway.start();
    agent.wait_for_output("window=5");
    subscriber.wait_for_count(500);

    // A broker that got more than it takes would have ended the connection.
    assert_eq!(agent.output().matches("connected to").count(), 1);
    assert!(!agent.output().contains("retrying"));
    agent.stop();
}

#[test]
fn a_message_is_as_documented() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    gateway.edit("seed: 7}", "seed: 7, retain: true, expiry: 60s}");

    let agent = gateway.start();
    subscriber.wait_for_count(2);
    agent.stop();

    let arrival = &subscriber.arrivals()[1];
    let (stream, seq) = arrival.identity();
    assert_eq!((arrival.topic.as_str(), arrival.qos, seq), ("telemetry/gateway-7/wind", 1, 2));
    assert_eq!(arrival.content_type.as_deref(), Some("application/json"));
    assert!((30..=60).contains(&arrival.expiry.unwrap()), "{:?}", arrival.expiry);
    let properties = [("stream".to_owned(), stream.clone()), ("seq".to_owned(), "2".to_owned())];
    assert_eq!(arrival.user_properties, properties);
    // The clock of the machine that tests may not be synchronised, which a payload says.
    let keys: Vec<&String> = arrival.payload.as_object().unwrap().keys().filter(|key| *key != "clock").collect();
    assert_eq!(keys, ["device", "source", "stream", "seq", "time", "data"]);
    assert_eq!((&arrival.payload["device"], &arrival.payload["source"]), (&"gateway-7".into(), &"wind".into()));
    assert!(arrival.payload["data"]["wind_speed_metres_per_second"].is_f64());
    assert!(stream.len() == 8 && u32::from_str_radix(&stream, 16).is_ok(), "{stream}");
    let latecomer = Subscriber::start(&broker.url(), "telemetry/gateway-7/+");
    latecomer.wait_until("the retained message arrives", |arrivals| arrivals.iter().any(|arrival| arrival.retained));
}

#[test]
fn mqtt_3_1_1_carries_no_properties() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { protocol: "3.1.1", ..Settings::default() });

    let agent = gateway.start();
    subscriber.wait_for_count(1);
    agent.stop();

    let arrival = &subscriber.arrivals()[0];
    assert_eq!((&arrival.content_type, arrival.expiry, arrival.user_properties.len()), (&None, None, 0));
    assert_eq!(arrival.identity().1, 1);
}

#[test]
fn a_rate_limit_holds_while_a_backlog_drains() {
    let mut broker = Broker::absent("allow_anonymous true");
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "2ms", ..Settings::default() });
    gateway.edit("ack_timeout: 2s}", "ack_timeout: 2s, max_rate: 100}");
    let agent = gateway.start();
    crate::support::wait_until("300 messages wait", || gateway.accepted_count() >= 300);

    broker.run();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    subscriber.wait_for_count(1);
    let (start, before) = (std::time::Instant::now(), subscriber.arrivals().len());
    subscriber.wait_for_count(before + 200);
    let seconds = start.elapsed().as_secs_f64();
    agent.stop();

    println!("200 messages in {seconds:.2} s at 100 a second");
    assert!(seconds > 1.7, "200 messages at 100 a second took {seconds} s");
}

#[test]
fn an_agent_with_nothing_to_do_uses_no_cpu() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "500ms", ..Settings::default() });
    gateway.edit("ack_timeout: 2s}", "ack_timeout: 2s, max_rate: 100}");
    let agent = gateway.start();
    subscriber.wait_for_count(1);

    let before = agent.cpu_ticks();
    subscriber.wait_for_count(6);
    let used = agent.cpu_ticks() - before;

    println!("{used} ticks of 10 ms in 2.5 s");
    assert!(used <= 10, "{used} ticks of 10 ms in 2.5 s");
}

#[test]
fn an_agent_has_as_much_in_flight_as_the_broker_takes() {
    let acknowledge_after = Some(Duration::from_millis(30));
    let broker = Scripted::start(Script { receive_maximum: 5, acknowledge_after, ..Script::default() });
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "1ms", ..Settings::default() });

    let agent = gateway.start();
    wait_until("100 messages arrive", || broker.deliveries().len() >= 100);
    agent.kill();

    let judgement = Judgement::of(&broker.arrivals());
    judgement.assert_complete(&[1..=100]);
    judgement.assert_no_duplicates();
    assert_eq!((broker.peak_in_flight(), broker.violations()), (5, vec![]));
}
