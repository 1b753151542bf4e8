//! A broker that breaks the protocol costs a connection, and no more: no message is lost or finished by the wrong packet,
//! the agent neither ends nor grows, and its log says what the broker did.

use crate::support::{Agent, Gateway, Judgement, Response, Script, Scripted, Settings, packet, wait_until};

/// Packets that no broker may send in answer to a publish, and what the log says of them.
type Case = (fn(u8, u16) -> Vec<u8>, &'static str);

const STRING: usize = 60_000;

/// An acknowledgement of this kind for the packet id.
fn ack(first: u8, id: u16, more: &[u8]) -> Vec<u8> {
    packet(first, &[&id.to_be_bytes()[..], more].concat())
}

/// A packet of MQTT 5 with these properties behind a reason code; their length is what it says.
fn with_properties(first: u8, start: &[u8], length: &[u8], properties: &[u8]) -> Vec<u8> {
    packet(first, &[start, length, properties].concat())
}

/// What is wrong in both versions.
const EITHER: &[Case] = &[
    (|_, id| ack(0x70, id, &[]), "PUBCOMP for packet"),
    (|_, id| ack(0x90, id, &[0]), "SUBACK"),
    (|_, id| ack(0xb0, id, &[]), "UNSUBACK"),
    (|_, _| ack(0x40, 0, &[]), "a malformed PUBACK"),
    (|_, id| ack(0x42, id, &[]), "a malformed PUBACK"),
    (|_, id| ack(0x60, id, &[]), "a malformed PUBREL"),
    (|_, _| packet(0x40, &[1]), "a malformed PUBACK"),
    (|_, _| packet(0x90, &[0, 1]), "a malformed SUBACK"),
    (|_, _| packet(0xd0, &[0]), "a malformed PINGRESP"),
    (|version, _| packet(0x20, if version == 5 { &[0, 0, 0] } else { &[0, 0] }), "a second CONNACK"),
    (|_, _| packet(0x20, &[2, 0]), "a malformed CONNACK"),
    // A refusal that speaks of a session.
    (|version, _| packet(0x20, if version == 5 { &[1, 0x87, 0] } else { &[1, 5] }), "a malformed CONNACK"),
    (|_, _| packet(0x10, &[]), "a packet of type 1"),
    (|_, _| packet(0x82, &[]), "a packet of type 8"),
    (|_, _| packet(0xc0, &[]), "PINGREQ, which answers nothing"),
    (|_, _| packet(0x00, &[]), "a packet of type 0"),
    (|_, _| packet(0x36, b"\0\x01t\0\x01x"), "a malformed PUBLISH"),
    (|_, _| packet(0x30, b"\0\x09t"), "a malformed PUBLISH"),
    (|_, _| packet(0x30, b"\0\x03a\0b\0"), "a malformed PUBLISH"),
    (|_, _| packet(0x32, b"\0\x01t\0\0\0"), "a malformed PUBLISH"),
    (|_, _| vec![0x40, 0xff, 0xff, 0xff, 0xff, 0x01], "a length of more than four bytes"),
    (|_, _| vec![0x30, 0x81, 0x80, 0x10, 0, 1], "262144 are the most"),
];

/// What is wrong at QoS 1.
const AT_QOS_1: &[Case] = &[
    (|_, id| ack(0x50, id, &[]), "PUBREC for packet"),
    (|version, id| ack(0x50, id, if version == 5 { &[0x80] } else { &[] }), "PUBREC for packet"),
];

/// What is wrong at QoS 2.
const AT_QOS_2: &[Case] = &[(|_, id| ack(0x40, id, &[]), "PUBACK for packet")];

/// What is wrong in MQTT 3.1.1.
const IN_V311: &[Case] = &[
    (|_, id| ack(0x40, id, &[0]), "a malformed PUBACK"),
    (|_, _| packet(0xe0, &[]), "a packet of type 14"),
    (|_, _| packet(0xf0, &[]), "a packet of type 15"),
];

/// What is wrong in MQTT 5.
const IN_V5: &[Case] = &[
    // A server reference with U+0000 in it.
    (|_, _| with_properties(0xe0, &[0x9c], &[8], b"\x1c\0\x05a\0b\0c"), "a malformed DISCONNECT"),
    // A reason string that is not UTF-8; a user property that has U+0000 in its value.
    (|_, id| ack(0x40, id, b"\x00\x05\x1f\0\x02\xc3\x28"), "a malformed PUBACK"),
    (|_, id| ack(0x40, id, b"\x00\x08\x26\0\x01k\0\x02v\0"), "a malformed PUBACK"),
    // Properties that end before they say, behind the packet, within a property, or of a length that has no end.
    (|_, _| with_properties(0xe0, &[0x81], &[0xff, 0xff, 0xff, 0x7f], &[0x1f, 0, 1, b'x']), "a malformed DISCONNECT"),
    (|_, _| with_properties(0xe0, &[0x81], &[3], &[0x1f, 0, 1, b'x']), "a malformed DISCONNECT"),
    (|_, _| with_properties(0xe0, &[0x81], &[0x80, 0x80, 0x80, 0x80, 0x01], &[]), "a malformed DISCONNECT"),
    (|_, _| with_properties(0xe0, &[0x81], &[0x81, 0x00], &[0x1f]), "a malformed DISCONNECT"),
    (|_, _| with_properties(0x20, &[0, 0], &[1], &[0x27]), "a malformed CONNACK"),
    (|_, _| with_properties(0x20, &[0, 0], &[2], &[0x21, 0]), "a malformed CONNACK"),
    (|_, _| with_properties(0x30, b"\0\x01t", &[1], &[0x0b]), "a malformed PUBLISH"),
    (|_, _| with_properties(0x30, &topic(), &[5], &[]), "a malformed PUBLISH"),
    // One that is unknown, of another packet, twice, or with a number that is not allowed.
    (|_, id| ack(0x40, id, &[0, 2, 0x7f, 0]), "a malformed PUBACK"),
    (|_, id| ack(0x40, id, &[0, 3, 0x21, 0, 1]), "a malformed PUBACK"),
    (|_, id| ack(0x40, id, b"\0\x08\x1f\0\x01a\x1f\0\x01b"), "a malformed PUBACK"),
    (|_, _| with_properties(0x20, &[0, 0], &[3], &[0x21, 0, 0]), "a malformed CONNACK"),
    // More of them than anybody needs.
    (|_, id| ack(0x40, id, &[&[0, 0x94, 0x28][..], &b"\x26\0\0\0\0".repeat(1028)].concat()), "a malformed PUBACK"),
    // Reasons that do not exist, or not there.
    (|_, id| ack(0x40, id, &[1]), "a malformed PUBACK"),
    (|_, id| ack(0x40, id, &[0xff]), "a malformed PUBACK"),
    (|_, id| ack(0x70, id, &[0x80]), "a malformed PUBCOMP"),
    (|_, _| packet(0xe0, &[4]), "a malformed DISCONNECT"),
    (|_, _| packet(0x20, &[0, 6]), "a malformed CONNACK"),
    (|_, _| packet(0xf0, &[0x18, 0]), "AUTH, which answers nothing"),
    (|_, _| packet(0xf0, &[]), "AUTH, which answers nothing"),
    (|_, _| packet(0xf0, &[0x80, 0]), "a malformed AUTH"),
];

/// A topic of a size that a leak of it would show.
fn topic() -> Vec<u8> {
    [&u16::try_from(STRING).unwrap().to_be_bytes()[..], &vec![b't'; STRING]].concat()
}

fn breaks(protocol: &'static str, qos: u8) {
    let (in_version, at_qos) =
        (if protocol == "5" { IN_V5 } else { IN_V311 }, if qos == 1 { AT_QOS_1 } else { AT_QOS_2 });
    let broker = Scripted::start(Script::default());
    let retry = "{initial_delay: 5ms, factor: 1.1, max_delay: 20ms, at_max: hold}";
    let gateway =
        Gateway::new(&broker.url(), &Settings { protocol, qos, interval: "2ms", retry, ..Settings::default() });
    let agent = gateway.start();

    for (number, (bytes, words)) in [EITHER, in_version, at_qos].concat().into_iter().enumerate() {
        let connections = broker.connects().len().max(1);
        broker.change(move |script| *script = Script::default().react(|_| true, Response::Say(bytes), 1));

        wait_until(&format!("case {number} ends a connection"), || broker.connects().len() > connections);
        let count = broker.deliveries().len();
        wait_until(&format!("messages flow after case {number}"), || broker.deliveries().len() > count + 10);
        let said = format!("the broker broke the protocol: {words}");
        wait_until(&said, || agent.output().lines().filter(|line| line.contains("broke the")).count() > number);
        let output = agent.output();
        let last = output.lines().rfind(|line| line.contains("broke the protocol"));
        assert!(last.is_some_and(|line| line.contains(words)), "case {number}: {words:?} in {last:?}");
    }
    // A session that is resumed goes on at once, however slow this machine is.
    assert!(!agent.output().contains("no acknowledgement"));
    judge(agent, &gateway, &broker, qos);
}

/// Everything that was accepted has arrived, in order, at QoS 2 once.
fn judge(agent: Agent, gateway: &Gateway, broker: &Scripted, qos: u8) {
    assert_eq!(agent.stop().code(), Some(0));
    let accepted = gateway.accepted();
    let newest = *accepted.last().unwrap().end();
    let agent = gateway.start();
    wait_until("the rest arrives", || broker.arrivals().iter().any(|arrival| arrival.identity().1 >= newest));
    assert_eq!(agent.stop().code(), Some(0));
    let judgement = Judgement::of(&broker.arrivals());
    judgement.assert_complete(&accepted);
    if qos == 2 {
        judgement.assert_no_duplicates();
    }
    assert_eq!(broker.violations(), Vec::<String>::new());
}

#[test]
fn what_breaks_mqtt_5_ends_a_connection_and_loses_nothing_at_qos_1() {
    breaks("5", 1);
}

#[test]
fn what_breaks_mqtt_5_ends_a_connection_and_loses_nothing_at_qos_2() {
    breaks("5", 2);
}

#[test]
fn what_breaks_mqtt_3_1_1_ends_a_connection_and_loses_nothing_at_qos_1() {
    breaks("3.1.1", 1);
}

#[test]
fn what_breaks_mqtt_3_1_1_ends_a_connection_and_loses_nothing_at_qos_2() {
    breaks("3.1.1", 2);
}
