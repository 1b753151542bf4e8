//! `kill -9` of the agent at random moments, with its window full: nothing accepted is lost, and at QoS 2 nothing
//! arrives twice.

use crate::support::{
    Broker, Gateway, How, Judgement, PacketKind, Proxy, Settings, Subscriber, scale, seeded, wait_until,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const WINDOW: u16 = 20;
/// By then an agent has connected and published for a while, on a machine that is not slow.
const LATEST_KILL: Duration = Duration::from_millis(250);

/// A broker behind a link of 10 ms round trip, which keeps the window of a backlog full.
fn slow_link() -> (Broker, Proxy, Subscriber) {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let proxy = Proxy::start(broker.port());
    proxy.delay(Duration::from_millis(5));
    (broker, proxy, subscriber)
}

fn gateway(proxy: &Proxy, protocol: &'static str, qos: u8) -> Gateway {
    let settings = Settings { protocol, qos, window: WINDOW, interval: "1ms", ..Settings::default() };
    Gateway::new(&proxy.url(), &settings)
}

/// Lets a last agent deliver what is left, and judges.
fn judge(gateway: &Gateway, proxy: &Proxy, subscriber: &Subscriber) -> Judgement {
    proxy.delay(Duration::ZERO);
    let agent = gateway.start();
    agent.wait_for_output("connected to");
    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of_the_rest(gateway, subscriber)
}

/// How long after its start an agent is killed at the latest. Where starting is slow, as under an emulator, it is so long
/// that most agents get to publish there as well.
fn latest_kill(gateway: &Gateway) -> Duration {
    let start = Instant::now();
    let agent = gateway.launch();
    agent.wait_for_output("connected to");
    let connected = start.elapsed();
    agent.kill();
    LATEST_KILL.max(connected * 3)
}

fn kills_at_random_moments(protocol: &'static str, qos: u8) {
    let (_broker, proxy, subscriber) = slow_link();
    let gateway = gateway(&proxy, protocol, qos);
    let (mut random, kills) = (seeded(), scale(12, 200));
    let latest = latest_kill(&gateway).as_millis().try_into().unwrap();

    // On a busy machine few agents get to publish before they are killed.
    let (enough, mut kills) = (kills * 10, kills);
    let mut made = 1;
    while made < kills {
        let agent = gateway.launch();
        std::thread::sleep(Duration::from_millis(random.u64(20..latest)));
        agent.kill();
        made += 1;
        if made == kills && made < enough && subscriber.arrivals().len() <= enough {
            kills += 1;
        }
    }

    let judgement = judge(&gateway, &proxy, &subscriber);
    println!("{kills} kills over MQTT {protocol} at QoS {qos}, window {WINDOW}: {} duplicates", judgement.duplicates);
    assert!(judgement.seqs.len() > enough, "too few messages to prove anything");
    let allowed = if qos == 2 { 0 } else { kills * usize::from(WINDOW) };
    assert!(judgement.duplicates <= allowed, "{} duplicates, {allowed} allowed", judgement.duplicates);
}

#[test]
fn qos_1_over_mqtt_5_repeats_no_more_than_a_window() {
    kills_at_random_moments("5", 1);
}

#[test]
fn qos_1_over_mqtt_3_1_1_repeats_no_more_than_a_window() {
    kills_at_random_moments("3.1.1", 1);
}

#[test]
fn qos_2_over_mqtt_5_repeats_nothing() {
    kills_at_random_moments("5", 2);
}

#[test]
fn qos_2_over_mqtt_3_1_1_repeats_nothing() {
    kills_at_random_moments("3.1.1", 2);
}

/// Each stage of an exchange is the last thing that an agent sees of its connection before it is killed.
fn a_kill_after_a_cut_before(protocol: &'static str, kind: PacketKind) {
    let (_broker, proxy, subscriber) = slow_link();
    let gateway = gateway(&proxy, protocol, 2);

    for round in 1..=3 {
        let agent = gateway.start();
        agent.wait_for_output("connected to");
        proxy.cut_before(kind);
        wait_until("the connection is cut", || proxy.cuts() == round);
        agent.kill();
    }

    let judgement = judge(&gateway, &proxy, &subscriber);
    judgement.assert_no_duplicates();
}

#[test]
fn a_kill_before_the_broker_s_receipt_repeats_nothing() {
    a_kill_after_a_cut_before("5", PacketKind::Pubrec);
    a_kill_after_a_cut_before("3.1.1", PacketKind::Pubrec);
}

#[test]
fn a_kill_before_the_release_repeats_nothing() {
    a_kill_after_a_cut_before("5", PacketKind::Pubrel);
    a_kill_after_a_cut_before("3.1.1", PacketKind::Pubrel);
}

#[test]
fn a_kill_before_the_completion_repeats_nothing() {
    a_kill_after_a_cut_before("5", PacketKind::Pubcomp);
    a_kill_after_a_cut_before("3.1.1", PacketKind::Pubcomp);
}

/// Ends the session of the device's client id at the broker, as an operator's tool would.
fn end_session(broker: &Broker) {
    let mut stream = TcpStream::connect(("127.0.0.1", broker.port())).unwrap();
    // CONNECT, MQTT 3.1.1, clean session, keep alive 60 s; then DISCONNECT.
    stream.write_all(b"\x10\x15\x00\x04MQTT\x04\x02\x00\x3c\x00\x09gateway-7").unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    stream.write_all(b"\xe0\x00").unwrap();
}

fn a_session_that_the_broker_forgets(protocol: &'static str) {
    let (broker, proxy, subscriber) = slow_link();
    let gateway = gateway(&proxy, protocol, 2);
    let agent = gateway.start();
    subscriber.wait_for_count(100);

    proxy.cut_before(PacketKind::Pubcomp);
    wait_until("the connection is cut", || proxy.cuts() == 1);
    proxy.refuse();
    proxy.cut(How::Reset);
    agent.wait_for_output("retrying in");
    end_session(&broker);
    proxy.accept();
    agent.wait_for_output("the broker has forgotten our session");
    agent.kill();

    let judgement = judge(&gateway, &proxy, &subscriber);
    assert!(judgement.duplicates <= 2 * usize::from(WINDOW), "{} duplicates", judgement.duplicates);
}

#[test]
fn a_session_that_the_broker_forgets_loses_nothing() {
    a_session_that_the_broker_forgets("5");
    a_session_that_the_broker_forgets("3.1.1");
}

#[test]
fn a_session_that_is_not_ours_is_ended_over_mqtt_3_1_1() {
    let (_broker, proxy, subscriber) = slow_link();
    let gateway = gateway(&proxy, "3.1.1", 2);
    let agent = gateway.start();
    subscriber.wait_for_count(50);
    agent.kill();

    // As after a power cut: what was under way is not known.
    std::fs::write(gateway.spool().join("exchanges"), "damaged").unwrap();
    let agent = gateway.start();
    agent.wait_for_output("session that cannot be resumed");
    agent.wait_for_output("connected to");
    agent.kill();

    let judgement = judge(&gateway, &proxy, &subscriber);
    assert!(judgement.duplicates <= usize::from(WINDOW), "{} duplicates", judgement.duplicates);
}
