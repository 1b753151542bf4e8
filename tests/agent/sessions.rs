//! What is on its way when a connection is lost is resumed with the session that the broker keeps: at QoS 1 as well, under the
//! same packet identifier and with DUP (MQTT 5 and 3.1.1, section 4.4).

use crate::support::{
    Death, Delivery, Exchanges, Gateway, Judgement, PacketKind, Point, Response, Script, Scripted, Settings, wait_until,
};
use std::time::Duration;

const AWAY: Duration = Duration::from_millis(50);

fn is_status(delivery: &Delivery) -> bool {
    delivery.topic == "status/gateway-7"
}

/// A gateway with a source at QoS 2, so that the broker keeps the session, and one at QoS 1.
fn gateway(broker: &Scripted, protocol: &'static str, more: &str) -> Gateway {
    let settings = Settings { protocol, qos: 2, interval: "20ms", more: more.to_owned(), ..Settings::default() };
    let gateway = Gateway::new(&broker.url(), &settings);
    let wind = "{name: wind, type: simulated, seed: 7}";
    gateway.edit(wind, &format!("{wind}, {{name: rain, type: simulated, seed: 8, qos: 1}}"));
    gateway
}

#[test]
fn a_status_message_in_flight_is_sent_again_with_its_packet_identifier() {
    for protocol in ["5", "3.1.1"] {
        let silent = Script { acknowledge_after: None, ..Script::default() };
        let broker = Scripted::start(silent);
        let gateway = gateway(&broker, protocol, "status: {topic: \"status/{device}\", interval: 1h}");
        let agent = gateway.start();
        let statuses = || broker.deliveries().into_iter().filter(is_status).collect::<Vec<_>>();
        wait_until("the status message is in flight", || !statuses().is_empty());

        broker.change(|script| script.acknowledge_after = Some(Duration::ZERO));
        broker.die(AWAY);

        // A newer one follows the one that was resumed.
        wait_until("the status is told", || statuses().len() >= 3);
        agent.kill();
        let [first, again, newer, ..] = &statuses()[..] else { panic!("{protocol}: {:?}", statuses()) };
        assert_eq!((first.qos, first.dup, again.dup, newer.dup), (1, false, true, false), "{protocol}");
        assert_eq!((first.packet_id, &first.payload), (again.packet_id, &again.payload), "{protocol}");
        assert_ne!(newer.payload, first.payload, "{protocol}");
        assert_eq!(broker.violations(), [""; 0], "{protocol}");
    }
}

#[test]
fn messages_in_flight_at_qos_1_beside_qos_2_are_sent_again_with_their_packet_identifiers() {
    for protocol in ["5", "3.1.1"] {
        let broker = Scripted::start(Script { acknowledge_after: None, ..Script::default() });
        let gateway = gateway(&broker, protocol, "status: {topic: ~}");
        let agent = gateway.start();
        let of_qos = |qos| broker.deliveries().into_iter().filter(move |delivery| delivery.qos == qos);
        wait_until("messages of both kinds are in flight", || of_qos(1).count() >= 3 && of_qos(2).count() >= 3);

        broker.change(|script| script.acknowledge_after = Some(Duration::ZERO));
        broker.die(AWAY);

        wait_until("messages flow again", || broker.deliveries().len() > 40);
        agent.stop();
        let (again, first): (Vec<_>, Vec<_>) = of_qos(1).partition(|delivery| delivery.dup);
        assert!(again.len() >= 3, "{protocol}: {again:?}");
        for again in again {
            let first = first.iter().find(|first| first.payload == again.payload).expect("it was sent before");
            assert_eq!(first.packet_id, again.packet_id, "{protocol}");
        }
        assert_eq!(broker.violations(), [""; 0], "{protocol}");
        let at_qos_2 =
            Judgement::of(&broker.arrivals().into_iter().filter(|arrival| arrival.qos == 2).collect::<Vec<_>>());
        at_qos_2.assert_no_duplicates();
        Judgement::of(&broker.arrivals()).assert_complete(&gateway.accepted());
    }
}

#[test]
fn a_refusal_of_what_was_resumed_at_qos_1_is_no_acknowledgement() {
    let death = Death::at(PacketKind::Publish, Point::BeforeWriting).every(5);
    let script =
        Script::default().die(death).react(|publish| publish.qos == 1 && publish.dup, Response::Answer(0x83), 2);
    let broker = Scripted::start(script);
    let gateway = gateway(&broker, "5", "status: {topic: ~}");
    // All of them may be in flight at once: more than one is when the broker dies.
    gateway.edit("interval: 20ms", "interval: 2ms");

    let agent = gateway.start();
    wait_until("messages flow again", || broker.deliveries().len() > 100);
    agent.stop();
    let newest = gateway.accepted().iter().map(|range| *range.end()).max().unwrap();
    let agent = gateway.start();
    wait_until("the rest arrives", || broker.arrivals().iter().any(|arrival| arrival.identity().1 >= newest));
    agent.stop();

    // Those that follow a refused message may overtake it.
    let arrived = Judgement::of(&broker.arrivals()).seqs;
    let missing: Vec<u64> = (1..=newest).filter(|seq| !arrived.contains(seq)).collect();
    assert_eq!(missing, Vec::<u64>::new());
    assert_eq!((broker.deaths(), broker.violations()), (1, vec![]));
}

#[test]
fn a_message_that_the_broker_has_confirmed_is_resumed_by_its_pubrel_alone() {
    for protocol in ["5", "3.1.1"] {
        // A PUBLISH that came again would count as another message, for the broker has forgotten the first one.
        let death = Death::at(PacketKind::Pubrel, Point::BeforeWriting);
        let broker = Scripted::start(Script { exchanges: Exchanges::Lost, ..Script::default() }.die(death));
        let gateway = Gateway::new(
            &broker.url(),
            &Settings { protocol, qos: 2, window: 1, interval: "20ms", ..Settings::default() },
        );

        let agent = gateway.start();
        wait_until("connections end over the PUBREL", || broker.connects().len() > 3);
        agent.kill();

        Judgement::of(&broker.arrivals()).assert_no_duplicates();
        assert_eq!(broker.violations(), [""; 0], "{protocol}");
    }
}
