//! The tests' own scripted broker does what it says: checked with a bare client.

use crate::support::{
    ALWAYS, Death, Delivery, Exchanges, PacketKind, Point, Response, Script, Scripted, packet, wait_until,
};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A client that says exactly what a test has it say.
struct Client {
    stream: TcpStream,
    version: u8,
}

impl Client {
    /// A client that has said CONNECT, with the id `bare`.
    fn connect(broker: &Scripted, version: u8, clean: bool) -> Self {
        let address = broker.url().replace("mqtt://", "");
        let mut stream = TcpStream::connect(address).unwrap();
        // A test that would wait for ever fails instead.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let properties: &[u8] = if version == 5 { &[0] } else { &[] };
        let body = [&b"\0\x04MQTT"[..], &[version, u8::from(clean) << 1, 0, 60], properties, b"\0\x04bare"].concat();
        stream.write_all(&packet(0x10, &body)).unwrap();
        Self { stream, version }
    }

    /// A client whose CONNACK has come, and whether there was a session.
    fn connected(broker: &Scripted, version: u8, clean: bool) -> (Self, bool) {
        let mut client = Self::connect(broker, version, clean);
        let (first, body) = client.receive();
        assert_eq!((first, body[1]), (0x20, 0));
        let is_present = body[0] == 1;
        (client, is_present)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// PUBLISH on topic `t`, whose first byte may say DUP.
    fn publish(&mut self, first: u8, id: u16, payload: &[u8]) {
        let id = if first & 6 == 0 { vec![] } else { id.to_be_bytes().to_vec() };
        let properties: &[u8] = if self.version == 5 { &[0] } else { &[] };
        self.send(&packet(first, &[&b"\0\x01t"[..], id.as_slice(), properties, payload].concat()));
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header).unwrap();
        let mut body = vec![0; usize::from(header[1])];
        self.stream.read_exact(&mut body).unwrap();
        (header[0], body)
    }

    fn expect(&mut self, first: u8, body: &[u8]) {
        assert_eq!(self.receive(), (first, body.to_vec()));
    }

    fn expect_end(&mut self) {
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
    }

    fn expect_reset(&mut self) {
        assert_eq!(self.stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    fn expect_silence(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(self.stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

fn payloads(broker: &Scripted) -> Vec<String> {
    broker.deliveries().into_iter().map(|delivery| String::from_utf8(delivery.payload).unwrap()).collect()
}

#[test]
fn a_message_is_written_down_once_at_qos_2_and_each_time_below() {
    for version in [4, 5] {
        let broker = Scripted::start(Script::default());
        let (mut client, _) = Client::connected(&broker, version, true);

        client.publish(0x30, 0, b"zero");
        for first in [0x32, 0x3a] {
            client.publish(first, 7, b"one");
            client.expect(0x40, &[0, 7]);
        }
        client.publish(0x34, 8, b"two");
        client.expect(0x50, &[0, 8]);
        client.publish(0x3c, 8, b"two");
        client.expect(0x50, &[0, 8]);
        client.send(&packet(0x62, &[0, 8]));
        client.expect(0x70, &[0, 8]);
        client.publish(0x34, 8, b"three");
        client.expect(0x50, &[0, 8]);
        client.send(&[0xc0, 0]);
        client.expect(0xd0, &[]);

        assert_eq!(payloads(&broker), ["zero", "one", "one", "two", "three"]);
        let flags: Vec<_> = broker.deliveries().iter().map(|it| (it.qos, it.packet_id, it.dup)).collect();
        let expected =
            [(0, None, false), (1, Some(7), false), (1, Some(7), true), (2, Some(8), false), (2, Some(8), false)];
        assert_eq!(flags, expected);
        // The client sent two at QoS 2 again while they were in use.
        assert_eq!(broker.violations(), ["packet id 8 used for the same message while in use"]);
    }
}

#[test]
fn what_mqtt_5_adds_to_a_message_is_written_down() {
    let broker = Scripted::start(Script::default());
    let (mut client, _) = Client::connected(&broker, 5, true);

    let properties = b"\x02\0\0\x01\x02\x03\0\x04text\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w";
    let body =
        [&b"\0\x01t\0\x01"[..], &[u8::try_from(properties.len()).unwrap()], &properties[..], b"payload"].concat();
    client.send(&packet(0x33, &body));
    client.expect(0x40, &[0, 1]);
    client.send(&packet(0x62, &[0, 9]));
    client.expect(0x70, &[0, 9, 0x92]);

    let expected = Delivery {
        topic: "t".to_owned(),
        payload: b"payload".to_vec(),
        qos: 1,
        packet_id: Some(1),
        dup: false,
        retain: true,
        content_type: Some("text".to_owned()),
        expiry: Some(0x102),
        user_properties: [("k", "v"), ("k", "w")].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    };
    assert_eq!(broker.deliveries(), [expected]);
    assert_eq!(broker.violations(), [""; 0]);
}

#[test]
fn a_session_lasts_until_it_is_forgotten() {
    for version in [4, 5] {
        let broker = Scripted::start(Script::default());
        let (mut client, is_present) = Client::connected(&broker, version, false);
        assert!(!is_present);
        client.publish(0x34, 1, b"pending");
        client.expect(0x50, &[0, 1]);

        broker.die(Duration::from_millis(10));
        client.expect_reset();
        wait_until("the broker is back", || TcpStream::connect(("127.0.0.1", broker.port())).is_ok());
        let (mut client, is_present) = Client::connected(&broker, version, false);
        assert!(is_present);
        client.publish(0x3c, 1, b"pending");
        client.expect(0x50, &[0, 1]);
        assert_eq!(payloads(&broker), ["pending"]);

        broker.forget_sessions();
        let (mut client, is_present) = Client::connected(&broker, version, false);
        assert!(!is_present);
        client.publish(0x34, 1, b"new");
        client.expect(0x50, &[0, 1]);
        assert_eq!(payloads(&broker), ["pending", "new"]);

        let (_, is_present) = Client::connected(&broker, version, true);
        assert!(!is_present);
        // A clean session of MQTT 3.1.1 leaves none; a clean start of MQTT 5 does.
        let (_, is_present) = Client::connected(&broker, version, false);
        assert_eq!(is_present, version == 5);
        assert_eq!((broker.violations().len(), broker.deaths(), broker.connects().len()), (0, 1, 5));
    }
}

#[test]
fn a_client_that_connects_twice_is_taken_over() {
    let broker = Scripted::start(Script::default());
    let (mut former, _) = Client::connected(&broker, 5, false);

    let (mut client, is_present) = Client::connected(&broker, 5, false);

    assert!(is_present);
    former.expect(0xe0, &[0x8e]);
    former.expect_end();
    client.publish(0x32, 1, b"one");
    client.expect(0x40, &[0, 1]);
}

/// What a client with one message at QoS 2 meets when the broker dies once: how many were written down by then, and
/// how many by the end.
fn a_death(packet_kind: PacketKind, point: Point) -> (usize, usize) {
    let broker = Scripted::start(Script::default().die(Death::at(packet_kind, point).away(Duration::from_millis(20))));
    let (mut client, _) = Client::connected(&broker, 5, false);
    client.publish(0x34, 1, b"message");
    if packet_kind == PacketKind::Pubrel {
        client.expect(0x50, &[0, 1]);
        client.send(&packet(0x62, &[0, 1]));
    }
    if point == Point::AfterAcknowledging {
        client.receive();
    }
    client.expect_reset();
    let before = broker.deliveries().len();
    wait_until("the broker is back", || TcpStream::connect(("127.0.0.1", broker.port())).is_ok());

    let (mut client, _) = Client::connected(&broker, 5, false);
    if packet_kind == PacketKind::Publish {
        client.publish(0x3c, 1, b"message");
        client.expect(0x50, &[0, 1]);
    }
    client.send(&packet(0x62, &[0, 1]));
    let is_released = packet_kind == PacketKind::Pubrel && point != Point::BeforeWriting;
    client.expect(0x70, if is_released { &[0, 1, 0x92] } else { &[0, 1] });
    assert_eq!((broker.violations(), broker.deaths()), (vec![], 1));
    (before, broker.deliveries().len())
}

#[test]
fn the_broker_dies_where_the_script_says() {
    assert_eq!(a_death(PacketKind::Publish, Point::BeforeWriting), (0, 1));
    assert_eq!(a_death(PacketKind::Publish, Point::BeforeAcknowledging), (1, 1));
    assert_eq!(a_death(PacketKind::Publish, Point::AfterAcknowledging), (1, 1));
    assert_eq!(a_death(PacketKind::Pubrel, Point::BeforeWriting), (1, 1));
    assert_eq!(a_death(PacketKind::Pubrel, Point::BeforeAcknowledging), (1, 1));
    assert_eq!(a_death(PacketKind::Pubrel, Point::AfterAcknowledging), (1, 1));
}

#[test]
fn a_broker_can_lose_exchanges_with_the_connection_and_end_the_next_one_over_their_pubrel() {
    for version in [4, 5] {
        let broker = Scripted::start(Script { exchanges: Exchanges::Lost, ..Script::default() });
        let (mut client, _) = Client::connected(&broker, version, false);
        client.publish(0x34, 1, b"one");
        client.expect(0x50, &[0, 1]);

        let (mut client, is_present) = Client::connected(&broker, version, false);
        client.send(&packet(0x62, &[0, 1]));
        client.expect_end();
        let (mut client, is_present_again) = Client::connected(&broker, version, false);
        client.publish(0x34, 1, b"two");
        client.expect(0x50, &[0, 1]);
        client.send(&packet(0x62, &[0, 1]));
        client.expect(0x70, &[0, 1]);

        assert_eq!((is_present, is_present_again), (true, true));
        assert_eq!((payloads(&broker), broker.violations()), (vec!["one".to_owned(), "two".to_owned()], vec![]));
    }
}

#[test]
fn a_dead_broker_refuses_connections() {
    let broker = Scripted::start(Script::default());
    let (mut client, _) = Client::connected(&broker, 5, true);

    broker.die(Duration::from_secs(3600));

    client.expect_reset();
    let refused = TcpStream::connect(("127.0.0.1", broker.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_broker_dies_at_each_nth_packet() {
    let death = Death::at(PacketKind::Publish, Point::BeforeAcknowledging).every(3).times(2);
    let broker = Scripted::start(Script::default().die(death.away(Duration::ZERO)));

    for _ in 0..2 {
        let (mut client, _) = Client::connected(&broker, 5, true);
        for id in [1, 2] {
            client.publish(0x32, id, b"");
            client.expect(0x40, &[0, u8::try_from(id).unwrap()]);
        }
        client.publish(0x32, 3, b"");
        client.expect_reset();
        wait_until("the broker is back", || TcpStream::connect(("127.0.0.1", broker.port())).is_ok());
    }
    let (mut client, _) = Client::connected(&broker, 5, true);
    for id in 1..10 {
        client.publish(0x32, id, b"");
        client.expect(0x40, &[0, u8::try_from(id).unwrap()]);
    }

    assert_eq!((broker.deaths(), broker.deliveries().len()), (2, 15));
}

#[test]
fn a_message_that_is_answered_with_a_refusal_is_not_written_down() {
    let bad = |delivery: &Delivery| delivery.payload.starts_with(b"bad");
    let nobody = |delivery: &Delivery| delivery.payload == b"unheard";
    let script = Script::default().react(bad, Response::Answer(0x97), 2).react(nobody, Response::Answer(0x10), ALWAYS);
    let broker = Scripted::start(script);
    let (mut client, _) = Client::connected(&broker, 5, true);

    client.publish(0x32, 1, b"bad");
    client.expect(0x40, &[0, 1, 0x97]);
    client.publish(0x34, 2, b"bad too");
    client.expect(0x50, &[0, 2, 0x97]);
    client.publish(0x34, 2, b"bad but taken");
    client.expect(0x50, &[0, 2]);
    for id in [3, 4] {
        client.publish(0x32, id, b"unheard");
        client.expect(0x40, &[0, u8::try_from(id).unwrap(), 0x10]);
    }

    assert_eq!(payloads(&broker), ["bad but taken", "unheard", "unheard"]);
    assert_eq!(broker.violations(), [""; 0]);
}

#[test]
fn a_refusal_over_mqtt_3_1_1_looks_like_any_answer() {
    let broker = Scripted::start(Script::default().react(|_| true, Response::Answer(0x97), ALWAYS));
    let (mut client, _) = Client::connected(&broker, 4, true);

    client.publish(0x32, 1, b"one");
    client.expect(0x40, &[0, 1]);
    client.publish(0x34, 2, b"two");
    client.expect(0x50, &[0, 2]);
    client.send(&packet(0x62, &[0, 2]));
    client.expect(0x70, &[0, 2]);

    assert_eq!((payloads(&broker).len(), broker.violations().len()), (0, 0));
}

#[test]
fn a_message_can_end_the_connection() {
    let script = Script::default().react(|_| true, Response::Disconnect(0x97), 1).react(|_| true, Response::Close, 1);
    let broker = Scripted::start(script);

    let (mut client, _) = Client::connected(&broker, 5, true);
    client.publish(0x32, 1, b"one");
    client.expect(0xe0, &[0x97]);
    client.expect_end();
    let (mut client, _) = Client::connected(&broker, 5, true);
    client.publish(0x32, 1, b"one");
    client.expect_end();
    let (mut client, _) = Client::connected(&broker, 5, true);
    client.publish(0x32, 1, b"one");
    client.expect(0x40, &[0, 1]);

    assert_eq!(payloads(&broker), ["one"]);
}

#[test]
fn a_connection_is_answered_as_the_script_says() {
    let broker = Scripted::start(Script { connect_code: 0x87, ..Script::default() });
    let mut client = Client::connect(&broker, 5, true);
    assert_eq!(client.receive().1[..2], [0, 0x87]);
    client.expect_end();

    broker.change(|script| (script.connect_code, script.session_present) = (0, Some(true)));
    broker.change(|script| (script.receive_maximum, script.maximum_packet_size) = (9, Some(1000)));
    let mut client = Client::connect(&broker, 5, true);
    client.expect(0x20, &[1, 0, 8, 0x21, 0, 9, 0x27, 0, 0, 3, 0xe8]);
    let mut client = Client::connect(&broker, 4, true);
    client.expect(0x20, &[1, 0]);

    broker.change(|script| script.connack_after = Some(Duration::from_millis(50)));
    let start = Instant::now();
    let mut client = Client::connect(&broker, 4, true);
    client.publish(0x32, 1, b"early");
    client.expect(0x20, &[1, 0]);
    assert!(start.elapsed() >= Duration::from_millis(50));
    client.expect(0x40, &[0, 1]);
    broker.change(|script| script.connack_after = None);
    Client::connect(&broker, 4, true).expect_silence();
}

#[test]
fn violations_are_told() {
    let script =
        Script { acknowledge_after: None, receive_maximum: 2, maximum_packet_size: Some(50), ..Script::default() };
    let broker = Scripted::start(script);
    let (mut client, _) = Client::connected(&broker, 5, false);

    for (first, id, payload) in [(0x32, 1, "one"), (0x32, 1, "other"), (0x32, 2, "two"), (0x34, 3, "three")] {
        client.publish(first, id, payload.as_bytes());
    }
    client.expect_silence();
    let (mut client, _) = Client::connected(&broker, 5, false);
    client.publish(0x32, 1, b"other");
    client.publish(0x3a, 2, b"another");
    client.publish(0x32, 4, &[b'x'; 100]);
    client.expect(0xe0, &[0x95]);
    client.expect_end();

    let expected = [
        "packet id 1 used for a different message while in use",
        "3 in flight at a receive maximum of 2",
        "packet id 1 sent again without DUP",
        "packet id 2 used for a different message in a resumed session",
        "a packet of 108 bytes; at most 50 are taken",
    ];
    assert_eq!(broker.violations(), expected);
    assert_eq!(broker.peak_in_flight(), 3);
}
