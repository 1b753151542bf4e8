//! What a broker, or anybody in between, can make the agent keep in memory: little, and nothing for ever.
//!
//! Measured on a release binary, which `PACKHORSE_BINARY` names; a debug binary is larger and its tests are skipped.

use crate::support::{
    Agent, Delivery as Publish, Gateway, Packet, PacketKind, Settings, number, packet_of, scale, skip, wait_for,
};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// KiB that may be resident at the most. The unit allows 128 MiB.
const PEAK: u64 = 32 * 1024;

/// KiB by which its own memory may grow while it does the same again and again: a few pools that fill.
const GROWTH: u64 = 2 * 1024;

/// How long a test may take.
const LONG: Duration = Duration::from_secs(7200);

const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

/// A port where each connection is played by a function, one after the other.
struct Port {
    number: u16,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Port {
    fn open(mut play: impl FnMut(&mut TcpStream, usize) -> std::io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let (connections, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&connections), Arc::clone(&ended));
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
                // A client that ends the connection does what it should.
                let _ = play(&mut stream, count.load(Ordering::Relaxed));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { number, connections, ended }
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.number)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.number));
    }
}

/// Waits for the next packet of a client; the rest stays in `received`.
fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> std::io::Result<Packet> {
    loop {
        if let Some(packet) = Packet::take(received) {
            return Ok(packet);
        }
        let mut buffer = [0; 16 * 1024];
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        received.extend(&buffer[..length]);
    }
}

/// Waits until the client has ended the connection, or has had time enough to take what was sent.
fn linger(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    while stream.read(&mut [0; 4096])? > 0 {}
    Ok(())
}

fn is_measured() -> bool {
    let is_measured = std::env::var_os("PACKHORSE_BINARY").is_some();
    if !is_measured {
        skip("a debug binary is larger; PACKHORSE_BINARY names a release binary");
    }
    is_measured
}

fn gateway(port: &Port, qos: u8, interval: &'static str) -> Gateway {
    let retry = "{initial_delay: 1ms, factor: 1, max_delay: 5ms, at_max: hold, jitter: 0}";
    let gateway = Gateway::new(&port.url(), &Settings { qos, interval, retry, ..Settings::default() });
    // What is logged of each connection would fill the disk.
    gateway.edit("keep_files: 1000", "keep_files: 2");
    gateway
}

/// Has each connection play this, a few times, and looks at the peak.
fn takes_little(what: &str, play: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static) {
    let port = Port::open(move |stream, _| {
        receive(stream, &mut Vec::new())?;
        play(stream)?;
        linger(stream)
    });
    let gateway = gateway(&port, 1, "100ms");
    let agent = gateway.start();
    wait_for("three connections", LONG, || (port.connections() >= 3).then_some(()));
    let peak = agent.memory("VmHWM");
    println!("{what}: at most {peak} KiB resident");
    assert!(peak < PEAK, "{what}: {peak} KiB, {PEAK} allowed");
    assert_eq!(agent.stop().code(), Some(0));
}

const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

/// A packet with this many bytes of properties of two bytes each behind what comes before them.
fn amplified(first: u8, before: &[u8]) -> Vec<u8> {
    let properties = [1, 0].repeat(5_000_000);
    let body = [before, &number(properties.len()), &properties].concat();
    packet_of(first, &body)
}

/// Zeros behind a header that promises 200 MB.
fn send_huge(stream: &mut TcpStream, first: u8) -> std::io::Result<()> {
    stream.write_all(&[&[first], &number(200_000_000)[..]].concat())?;
    (0..200_000_000 / 65536).try_for_each(|_| stream.write_all(&[0; 65536]))
}

fn flood(stream: &mut TcpStream, qos: u8) -> std::io::Result<()> {
    stream.write_all(CONNACK)?;
    for id in 1..=4000_u16 {
        let id = if qos > 0 { id.to_be_bytes().to_vec() } else { vec![] };
        let body = [&[0, 3, b'a', b'/', b'b'], &id[..], &[0], &[0; 60_000]].concat();
        stream.write_all(&packet_of(0x30 | qos << 1, &body))?;
    }
    Ok(())
}

#[test]
fn a_packet_of_many_properties_takes_little_memory() {
    if is_measured() {
        takes_little("CONNACK", |stream| stream.write_all(&amplified(0x20, &[0, 0])));
        takes_little("PUBLISH", |stream| stream.write_all(&[CONNACK, &amplified(0x30, b"\0\x03a/b")].concat()));
        takes_little("PUBACK", |stream| stream.write_all(&[CONNACK, &amplified(0x40, &[0, 1, 0])].concat()));
        takes_little("DISCONNECT", |stream| stream.write_all(&[CONNACK, &amplified(0xe0, &[0])].concat()));
        takes_little("AUTH", |stream| stream.write_all(&[CONNACK, &amplified(0xf0, &[0])].concat()));
    }
}

#[test]
fn a_packet_of_200_mb_takes_little_memory() {
    if is_measured() {
        takes_little("CONNACK", |stream| send_huge(stream, 0x20));
        for (what, first) in [("PUBLISH", 0x30), ("PUBACK", 0x40), ("SUBACK", 0x90), ("DISCONNECT", 0xe0)] {
            takes_little(what, move |stream| {
                stream.write_all(CONNACK)?;
                send_huge(stream, first)
            });
        }
    }
}

#[test]
fn a_flood_of_messages_that_nobody_subscribed_to_takes_little_memory() {
    if is_measured() {
        takes_little("QoS 0", |stream| flood(stream, 0));
        takes_little("QoS 1", |stream| flood(stream, 1));
        takes_little("QoS 2", |stream| flood(stream, 2));
    }
}

/// Its own memory after so many, and after many more.
fn stays_flat(agent: &Agent, what: &str, done: impl Fn() -> usize, warm: usize, all: usize) {
    wait_for("it is warm", LONG, || (done() >= warm).then_some(()));
    let before = agent.memory("RssAnon");
    wait_for("it has done enough", LONG, || (done() >= all).then_some(()));
    let after = agent.memory("RssAnon");
    println!("{what}: {before} KiB after {warm}, {after} KiB after {all}");
    assert!(after < before + GROWTH, "{what}: {before} KiB after {warm}, {after} KiB after {all}");
}

/// Properties that are long enough to be seen when they stay: twice so many bytes.
fn long_properties(length: u16) -> Vec<u8> {
    let text = [&length.to_be_bytes()[..], &vec![b'r'; usize::from(length)]].concat();
    let properties = [&[0x26][..], &text, &text].concat();
    [number(properties.len()), properties].concat()
}

#[test]
fn memory_does_not_grow_with_connections() {
    if !is_measured() {
        return;
    }
    // One after the other, what has properties or text, whole and broken: each ends the connection or is followed by its end.
    let port = Port::open(|stream, number| {
        let mut received = Vec::new();
        receive(stream, &mut received)?;
        let properties = long_properties(30_000);
        stream.write_all(&packet_of(0x20, &[&[0, 0], &properties[..]].concat()))?;
        let topic = [&0xffff_u16.to_be_bytes()[..], &[b't'; 0xffff]].concat();
        let id = receive(stream, &mut received)?.body;
        let id = Publish::decode(&Packet { first: 0x32, size: 0, body: id }, 5).and_then(|publish| publish.packet_id);
        let id = id.unwrap_or(1).to_be_bytes();
        let message = [b"\0\x03a/b\0\x01", &properties[..], b"payload"].concat();
        let parts: [&[u8]; 10] = [
            &packet_of(0x30, &[&topic[..], &[5]].concat()),
            &packet_of(0x32, &message),
            &packet_of(0x34, &message),
            &packet_of(0x40, &[&id[..], &[0x97], &properties[..]].concat()),
            &packet_of(0x40, &[&id[..], &[0x97], &properties[..properties.len() - 1]].concat()),
            &packet_of(0x50, &[&id[..], &[0], &properties[..]].concat()),
            &packet_of(0x90, &[&id[..], &properties[..], &[0; 100]].concat()),
            &packet_of(0xe0, &[&[0x8b], &properties[..]].concat()),
            &packet_of(0xe0, &[&[0x8b], &properties[..properties.len() - 1]].concat()),
            &packet_of(0xf0, &[&[0x18], &properties[..]].concat()),
        ];
        stream.write_all(parts[number % parts.len()])?;
        thread::sleep(Duration::from_millis(2));
        Ok(())
    });
    let gateway = gateway(&port, 1, "5ms");
    let agent = gateway.start();
    stays_flat(&agent, "connections", || port.connections(), 200, scale(1_000, 100_000));
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn memory_does_not_grow_with_answers_that_have_properties() {
    if !is_measured() {
        return;
    }
    let finished = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&finished);
    let port = Port::open(move |stream, _| {
        let mut received = Vec::new();
        let properties = long_properties(1000);
        let answer = |first, id: u16| packet_of(first, &[&id.to_be_bytes()[..], &[0], &properties[..]].concat());
        loop {
            let packet = receive(stream, &mut received)?;
            match packet.kind() {
                Some(PacketKind::Connect) => stream.write_all(CONNACK)?,
                Some(PacketKind::Publish) => {
                    let id = Publish::decode(&packet, 5).and_then(|publish| publish.packet_id).unwrap();
                    stream.write_all(&answer(PUBREC, id))?;
                }
                Some(PacketKind::Pubrel) => {
                    stream.write_all(&answer(PUBCOMP, packet.id().unwrap()))?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Some(PacketKind::Pingreq) => stream.write_all(&[0xd0, 0])?,
                _ => return Ok(()),
            }
        }
    });
    let gateway = gateway(&port, 2, "1ms");
    let sources: String = (1..8).map(|number| format!(", {{name: wind-{number}, type: simulated, seed: 7}}")).collect();
    gateway.edit("seed: 7}]", &format!("seed: 7}}{sources}]"));
    let agent = gateway.start();
    stays_flat(&agent, "messages", || finished.load(Ordering::Relaxed), 3_000, scale(20_000, 1_000_000));
    assert_eq!(agent.stop().code(), Some(0));
}
