//! Brokers that die, refuse, limit and forget, scripted: judged by what they wrote down when they became responsible.

use crate::support::{
    ALWAYS, Agent, Arrival, Death, Delivery, Gateway, Judgement, PacketKind, Point, Response, STATUS, Script, Scripted,
    Settings, log_files, scale, wait_until,
};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const WINDOW: u16 = 20;

fn gateway(broker: &Scripted, protocol: &'static str, qos: u8) -> Gateway {
    let settings = Settings { protocol, qos, window: WINDOW, interval: "1ms", ..Settings::default() };
    Gateway::new(&broker.url(), &settings)
}

/// What the broker took, but for the status messages.
fn telemetry(broker: &Scripted) -> Vec<Arrival> {
    let mut arrivals = broker.arrivals();
    arrivals.retain(|arrival| arrival.topic != STATUS);
    arrivals
}

/// Stops the agent, lets another one deliver the rest, and judges by the broker's ledger.
fn judge(agent: Agent, gateway: &Gateway, broker: &Scripted) -> Judgement {
    assert_eq!(agent.stop().code(), Some(0));
    let accepted = gateway.accepted();
    let newest = *accepted.last().unwrap().end();
    let agent = gateway.start();
    wait_until("the rest arrives", || telemetry(broker).iter().any(|arrival| arrival.identity().1 >= newest));
    assert_eq!(agent.stop().code(), Some(0));
    let mut refused = broker.refused();
    refused.retain(|arrival| arrival.topic != STATUS);
    let refused = refused.iter().map(|arrival| arrival.identity().1).collect();
    let judgement = Judgement::of_refusing(&telemetry(broker), &refused);
    judgement.assert_complete(&accepted);
    assert_eq!(broker.violations(), Vec::<String>::new());
    judgement
}

fn deaths(protocol: &'static str, qos: u8) {
    let points = [Point::BeforeWriting, Point::BeforeAcknowledging, Point::AfterAcknowledging];
    let packets = if qos == 2 { &[PacketKind::Publish, PacketKind::Pubrel][..] } else { &[PacketKind::Publish] };
    let times = u32::try_from(scale(3, 30)).unwrap();
    for packet in packets {
        for point in points {
            let script = Script::default().die(Death::at(*packet, point).every(40).times(times));
            let broker = Scripted::start(script);
            let gateway = gateway(&broker, protocol, qos);

            let agent = gateway.start();
            wait_until("the broker has died often enough", || broker.deaths() >= times as usize);
            broker.wait_for_more(50);

            let judgement = judge(agent, &gateway, &broker);
            println!("{times} deaths at {packet:?} {point:?}, MQTT {protocol}, QoS {qos}");
            let allowed = if qos == 2 { 0 } else { times as usize * usize::from(WINDOW) };
            assert!(judgement.duplicates <= allowed, "{} duplicates", judgement.duplicates);
        }
    }
}

#[test]
fn a_broker_that_dies_at_any_point_at_qos_1() {
    deaths("5", 1);
    deaths("3.1.1", 1);
}

#[test]
fn a_broker_that_dies_at_any_point_at_qos_2() {
    deaths("5", 2);
    deaths("3.1.1", 2);
}

#[test]
fn a_broker_that_forgets_its_sessions_loses_nothing() {
    let broker = Scripted::start(Script::default());
    let gateway = gateway(&broker, "5", 2);
    let agent = gateway.start();
    broker.wait_for_more(100);

    // Counted from before, for the window may be full as soon as nothing is acknowledged.
    let before = broker.deliveries().len();
    broker.change(|script| script.acknowledge_after = None);
    wait_until("some are in flight", || broker.deliveries().len() >= before + 10);
    broker.forget_sessions();
    broker.die(Duration::from_millis(50));
    broker.change(|script| script.acknowledge_after = Some(Duration::ZERO));
    agent.wait_for_output("the broker has forgotten our session");
    broker.wait_for_more(100);

    let judgement = judge(agent, &gateway, &broker);
    assert!((1..=usize::from(WINDOW)).contains(&judgement.duplicates), "{} duplicates", judgement.duplicates);
}

#[test]
fn a_broker_that_never_acknowledges_gets_a_window_and_no_more() {
    for qos in [1, 2] {
        let broker = Scripted::start(Script { acknowledge_after: None, ..Script::default() });
        let gateway = gateway(&broker, "5", qos);
        let agent = gateway.start();
        agent.wait_for_output("no acknowledgement for 2s");

        assert_eq!(broker.peak_in_flight(), usize::from(WINDOW));
        broker.change(|script| script.acknowledge_after = Some(Duration::ZERO));
        broker.wait_for_more(100);

        let judgement = judge(agent, &gateway, &broker);
        let allowed = if qos == 2 { 0 } else { 2 * usize::from(WINDOW) };
        assert!(judgement.duplicates <= allowed, "{} duplicates", judgement.duplicates);
    }
}

#[test]
fn the_window_obeys_the_broker_s_receive_maximum() {
    for receive_maximum in [1, 5, 20] {
        for qos in [1, 2] {
            let acknowledge_after = Some(Duration::from_millis(50));
            let broker = Scripted::start(Script { receive_maximum, acknowledge_after, ..Script::default() });
            let gateway = gateway(&broker, "5", qos);
            gateway.edit("window: 20", "window: 100");

            let agent = gateway.start();
            wait_until("the window is full", || broker.peak_in_flight() >= usize::from(receive_maximum));
            broker.wait_for_more(3 * usize::from(receive_maximum));

            assert_eq!(broker.peak_in_flight(), usize::from(receive_maximum));
            agent.stop();
            assert_eq!(broker.violations(), Vec::<String>::new());
        }
    }
}

/// A device with a second source, `poison`, whose messages the broker will not take, twice a second.
fn with_poison(broker: &Scripted, protocol: &'static str, qos: u8, text: &str) -> Gateway {
    let gateway = gateway(broker, protocol, qos);
    gateway.add_text_source("poison", text, "500ms");
    gateway.edit("max_delay: 1s", "max_delay: 100ms");
    gateway
}

/// The poison is set aside, and everything else arrives.
fn poison_does_not_block(script: Script, protocol: &'static str, qos: u8, text: &str) {
    let broker = Scripted::start(script);
    let gateway = with_poison(&broker, protocol, qos, text);

    let agent = gateway.start();
    wait_until("two messages are set aside", || gateway.rejected().len() >= 2);
    broker.wait_for_more(50);
    agent.kill();

    let aside: Vec<String> = gateway.rejected().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(aside.iter().all(|text| text.contains("telemetry/gateway-7/poison")), "{aside:?}");
    let aside: Vec<u64> = aside
        .iter()
        .map(|text| {
            let file: serde_json::Value = serde_json::from_str(text).unwrap();
            let payload: serde_json::Value = serde_json::from_str(file["payload"].as_str().unwrap()).unwrap();
            payload["seq"].as_u64().unwrap()
        })
        .collect();
    let arrived = Judgement::of(&broker.arrivals());
    let newest = *arrived.seqs.last().unwrap();
    let missing: Vec<u64> = (1..newest).filter(|seq| !arrived.seqs.contains(seq) && !aside.contains(seq)).collect();
    // What is younger than the last message set aside may be held up by the next one.
    let missing: Vec<&u64> = missing.iter().filter(|seq| **seq < *aside.iter().max().unwrap()).collect();
    assert_eq!(missing, Vec::<&u64>::new());
    let warnings = log_files(&gateway.logs(), "info.log.").concat().matches("message refused; set aside").count();
    assert!(warnings >= 2);
    assert_eq!(broker.violations(), Vec::<String>::new());
}

fn is_poison(publish: &Delivery) -> bool {
    publish.topic.ends_with("poison")
}

#[test]
fn a_message_that_is_refused_is_set_aside() {
    for qos in [1, 2] {
        let script = Script::default().react(is_poison, Response::Answer(0x99), ALWAYS);
        poison_does_not_block(script, "5", qos, "poison");
    }
}

#[test]
fn a_topic_that_is_not_authorized_waits_until_it_is_and_holds_nothing_else_up() {
    for qos in [1, 2] {
        let broker = Scripted::start(Script::default().react(is_poison, Response::Answer(0x87), ALWAYS));
        let gateway = with_poison(&broker, "5", qos, "poison");

        let agent = gateway.start();
        agent.wait_for_output("the broker refuses every message of telemetry/gateway-7/poison; they wait");
        broker.wait_for_more(300);
        broker.change(|script| script.reactions.clear());
        broker.wait_for_more(100);

        judge(agent, &gateway, &broker);
        assert_eq!(gateway.rejected(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_broker_that_refuses_everything_has_nothing_set_aside_and_says_so_in_the_status() {
    for reason in [0x80, 0x83, 0x87] {
        let is_telemetry = |publish: &Delivery| publish.topic != STATUS;
        let broker = Scripted::start(Script::default().react(is_telemetry, Response::Answer(reason), ALWAYS));
        let gateway = gateway(&broker, "5", 1);
        gateway.turn_status_on();

        let agent = gateway.start();
        agent.wait_for_output("the broker refuses every message");
        wait_until("the status says so", || {
            let told = broker.arrivals();
            told.iter().any(|arrival| arrival.payload["refused"].is_string())
        });
        broker.change(|script| script.reactions.clear());
        agent.wait_for_output("the broker accepts messages");
        broker.wait_for_more(100);

        judge(agent, &gateway, &broker);
        assert_eq!(gateway.rejected(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_message_that_is_too_large_is_set_aside() {
    for qos in [1, 2] {
        let script = Script { maximum_packet_size: Some(1000), ..Script::default() };
        poison_does_not_block(script, "5", qos, &"x".repeat(2000));
    }
}

#[test]
fn a_limit_that_no_message_fits_into_is_waited_out() {
    for qos in [1, 2] {
        let broker = Scripted::start(Script { maximum_packet_size: Some(100), ..Script::default() });
        let gateway = gateway(&broker, "5", qos);

        let agent = gateway.start();
        agent.wait_for_output("the broker takes packets of 100 bytes at most, which no message fits into");
        wait_until("it was asked again", || broker.connects().len() > 3);
        broker.change(|script| script.maximum_packet_size = None);
        broker.wait_for_more(20);

        judge(agent, &gateway, &broker);
        assert!(!gateway.spool().join("rejected").exists());
    }
}

#[test]
fn a_message_that_the_broker_disconnects_on_is_set_aside() {
    for qos in [1, 2] {
        let script = Script::default().react(is_poison, Response::Disconnect(0x99), ALWAYS);
        poison_does_not_block(script, "5", qos, "poison");
    }
}

#[test]
fn a_message_that_the_broker_ends_the_connection_over_is_set_aside() {
    for qos in [1, 2] {
        let script = Script::default().react(is_poison, Response::Close, ALWAYS);
        poison_does_not_block(script, "3.1.1", qos, "poison");
    }
}

/// How many connections end at the first message. Enough for whatever the agent may make of it, and then some.
const ELECTION: u32 = 20;

/// A broker that is up takes nothing at all for a while: it ends each connection at the first message.
fn an_election(protocol: &'static str, qos: u8, status: bool) {
    let broker = Scripted::start(Script::default().react(|_| true, Response::Close, ELECTION));
    let gateway = gateway(&broker, protocol, qos);
    gateway.edit("max_delay: 1s", "max_delay: 100ms");
    if status {
        gateway.turn_status_on();
    }

    let agent = gateway.start();
    wait_until("the election is over", || broker.connects().len() > ELECTION as usize);
    broker.wait_for_more(100);

    println!("MQTT {protocol}, QoS {qos}, status topic {status}");
    assert_eq!(gateway.rejected(), Vec::<PathBuf>::new());
    let judgement = judge(agent, &gateway, &broker);
    assert!(qos == 1 || judgement.duplicates == 0, "{} duplicates", judgement.duplicates);
    assert_eq!(gateway.rejected(), Vec::<PathBuf>::new());
}

/// A broker whose rules forbid the status topic ends the connection over each status message.
fn a_status_that_is_not_taken(protocol: &'static str, qos: u8, response: Response) {
    let broker = Scripted::start(Script::default().react(|publish| publish.topic == STATUS, response, ALWAYS));
    let gateway = gateway(&broker, protocol, qos);
    gateway.turn_status_on();

    let agent = gateway.start();
    agent.wait_for_output("connections end over the status message; going without it");
    broker.wait_for_more(100);

    let judgement = judge(agent, &gateway, &broker);
    assert!(qos == 1 || judgement.duplicates == 0, "{} duplicates", judgement.duplicates);
    assert_eq!(gateway.rejected(), Vec::<PathBuf>::new());
}

#[test]
fn a_status_message_that_connections_end_over_without_a_word_is_left_out() {
    a_status_that_is_not_taken("3.1.1", 1, Response::Close);
    a_status_that_is_not_taken("5", 2, Response::Close);
}

#[test]
fn a_status_message_that_the_broker_disconnects_on_is_left_out() {
    a_status_that_is_not_taken("5", 1, Response::Disconnect(0x87));
    a_status_that_is_not_taken("5", 2, Response::Disconnect(0x87));
}

#[test]
fn a_broker_that_takes_nothing_for_a_while_gets_everything_afterwards_at_qos_1() {
    for protocol in ["3.1.1", "5"] {
        an_election(protocol, 1, false);
        an_election(protocol, 1, true);
    }
}

#[test]
fn a_broker_that_takes_nothing_for_a_while_gets_everything_afterwards_at_qos_2() {
    for protocol in ["3.1.1", "5"] {
        an_election(protocol, 2, false);
        an_election(protocol, 2, true);
    }
}

/// The seq that the payload names.
fn seq(publish: &Delivery) -> u64 {
    let payload: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap();
    payload["seq"].as_u64().unwrap_or_default()
}

/// A message that is like all others of its topic, but for the broker, which ends each connection over it.
fn poison_among_its_like(protocol: &'static str, qos: u8, status: bool) {
    let is_poison = |publish: &Delivery| seq(publish) % 300 == 7;
    let broker = Scripted::start(Script::default().react(is_poison, Response::Close, ALWAYS));
    let gateway = gateway(&broker, protocol, qos);
    gateway.edit("max_delay: 1s", "max_delay: 100ms");
    if status {
        gateway.turn_status_on();
    }

    let agent = gateway.start();
    wait_until("two messages are set aside", || gateway.rejected().len() >= 2);
    broker.wait_for_more(100);
    agent.kill();

    println!("MQTT {protocol}, QoS {qos}, status topic {status}");
    let arrived = Judgement::of(&telemetry(&broker));
    let missing: Vec<u64> = (1..307).filter(|seq| !arrived.seqs.contains(seq)).collect();
    assert_eq!((missing, arrived.disorder), (vec![7], vec![]));
    assert_eq!(broker.violations(), Vec::<String>::new());
}

#[test]
fn one_message_of_a_topic_that_the_broker_ends_the_connection_over_is_set_aside() {
    for protocol in ["3.1.1", "5"] {
        for qos in [1, 2] {
            poison_among_its_like(protocol, qos, false);
            poison_among_its_like(protocol, qos, true);
        }
    }
}

#[test]
fn the_only_message_is_set_aside_when_the_next_one_is_taken() {
    for qos in [1, 2] {
        let broker = Scripted::start(Script::default().react(|publish| seq(publish) == 1, Response::Close, ALWAYS));
        let settings = Settings { protocol: "3.1.1", qos, interval: "8s", ..Settings::default() };
        let gateway = Gateway::new(&broker.url(), &settings);
        gateway.edit("max_delay: 1s", "max_delay: 50ms");

        let agent = gateway.start();
        wait_until("many connections end over it", || broker.connects().len() > 15);
        if gateway.accepted_count() == 1 {
            assert_eq!((gateway.rejected().len(), broker.deliveries().len()), (0, 0));
        }
        wait_until("it is set aside", || gateway.rejected().len() == 1);

        let arrived: Vec<u64> = broker.deliveries().iter().map(seq).collect();
        assert!(!arrived.contains(&1) && arrived.is_sorted(), "{arrived:?}");
        assert_eq!(agent.stop().code(), Some(0));
    }
}

#[test]
fn a_quota_that_is_exceeded_is_waited_out() {
    for qos in [1, 2] {
        let script = Script::default().react(|_| true, Response::Answer(0x97), 10);
        let broker = Scripted::start(script);
        let gateway = gateway(&broker, "5", qos);

        let agent = gateway.start();
        agent.wait_for_output("takes no messages for now");
        broker.wait_for_more(100);

        // The broker took later messages meanwhile, so the order is its own.
        assert_eq!(agent.stop().code(), Some(0));
        let accepted = gateway.accepted_count();
        let agent = gateway.start();
        wait_until("everything arrives", || Judgement::of(&broker.arrivals()).seqs.len() >= accepted);
        agent.kill();
        assert_eq!(gateway.rejected(), Vec::<PathBuf>::new());
    }
}

#[test]
fn messages_at_qos_0_do_not_hide_the_one_that_the_broker_ends_the_connection_over() {
    let broker = Scripted::start(Script::default().react(is_poison, Response::Close, ALWAYS));
    let gateway = with_poison(&broker, "3.1.1", 0, "poison");
    gateway.edit("interval: 500ms}", "interval: 500ms, qos: 1}");

    let agent = gateway.start();
    wait_until("two messages are set aside", || gateway.rejected().len() >= 2);
    broker.wait_for_more(50);

    agent.kill();
}
