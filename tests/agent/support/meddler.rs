//! A way to a broker on which one message vanishes although it is acknowledged, or comes twice.

use super::loopback::reset;
use super::mqtt::{Packet, PacketKind, Publish, packet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What becomes of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// The client gets every acknowledgement, the broker gets nothing.
    Vanishes,
    /// Somebody else publishes the same once more.
    ComesTwice,
    /// What the broker sends of it is sent once more, as a repeat (DUP).
    IsRepeated,
}

/// A port that leads to a broker. Its threads end with the test's process.
pub struct Meddler {
    port: u16,
    done: Arc<AtomicUsize>,
}

/// What all connections have in common.
#[derive(Clone)]
struct Plan {
    broker: u16,
    /// What the payload of the message has in it.
    mark: String,
    meddling: Meddling,
    done: Arc<AtomicUsize>,
}

impl Meddler {
    /// Meddles with the message of this `seq`, over MQTT 5.
    pub fn start(broker: u16, seq: u64, meddling: Meddling) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let done = Arc::new(AtomicUsize::new(0));
        let plan = Plan { broker, mark: format!("\"seq\":{seq},"), meddling, done: Arc::clone(&done) };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                match TcpStream::connect(("127.0.0.1", plan.broker)) {
                    Ok(broker) => plan.relay(client, broker),
                    Err(_) => reset(&client),
                }
            }
        });
        Self { port, done }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// How often it has meddled.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }
}

impl Plan {
    fn relay(&self, client: TcpStream, broker: TcpStream) {
        let to_client = Arc::new(Mutex::new(client.try_clone().unwrap()));
        let (plan, answers, sink) = (self.clone(), Arc::clone(&to_client), broker.try_clone().unwrap());
        thread::spawn(move || plan.up(client, sink, &answers));
        let plan = self.clone();
        thread::spawn(move || plan.down(broker, &to_client));
    }

    /// Whether this is the message, for the first time.
    fn is_it(&self, packet: &Packet, version: u8) -> Option<Publish> {
        let publish = (packet.kind() == Some(PacketKind::Publish)).then(|| Publish::decode(packet, version))??;
        let is_it = String::from_utf8_lossy(&publish.payload).contains(&self.mark);
        (is_it && self.done() == 0).then_some(publish)
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    fn up(&self, from: TcpStream, mut to: TcpStream, answers: &Mutex<TcpStream>) {
        let mut vanished = None;
        packets(from, |packet| {
            let answer = |kind: u8, id: u16| answers.lock().unwrap().write_all(&self::packet(kind, &id.to_be_bytes()));
            if self.meddling == Meddling::Vanishes {
                if let Some(Publish { qos, packet_id: Some(id), .. }) = self.is_it(packet, 5) {
                    self.done.fetch_add(1, Ordering::Relaxed);
                    vanished = Some(id);
                    return answer(if qos == 1 { 0x40 } else { 0x50 }, id).is_ok();
                }
                if packet.kind() == Some(PacketKind::Pubrel) && vanished.is_some() && packet.id() == vanished {
                    return vanished.take().is_some_and(|id| answer(0x70, id).is_ok());
                }
            }
            if self.meddling == Meddling::ComesTwice
                && let Some(publish) = self.is_it(packet, 5)
            {
                self.done.fetch_add(1, Ordering::Relaxed);
                self.publish_again(&publish);
            }
            to.write_all(&self::packet(packet.first, &packet.body)).is_ok()
        });
        let _ = to.shutdown(std::net::Shutdown::Both);
    }

    fn down(&self, from: TcpStream, to: &Mutex<TcpStream>) {
        packets(from, |packet| {
            let mut to = to.lock().unwrap();
            let passed = to.write_all(&self::packet(packet.first, &packet.body)).is_ok();
            if self.meddling == Meddling::IsRepeated && self.is_it(packet, 5).is_some() {
                self.done.fetch_add(1, Ordering::Relaxed);
                return to.write_all(&self::packet(packet.first | 8, &packet.body)).is_ok();
            }
            passed
        });
        let _ = to.lock().unwrap().shutdown(std::net::Shutdown::Both);
    }

    fn publish_again(&self, publish: &Publish) {
        let mut client = TcpStream::connect(("127.0.0.1", self.broker)).unwrap();
        client.write_all(&packet(0x10, b"\0\x04MQTT\x05\x02\0\x3c\0\0\x08meddling")).unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
        let topic = publish.topic.as_bytes();
        let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
        // At QoS 1, for at QoS 0 a broker may drop it; the PUBACK shows that it has it.
        let body = [&length[..], topic, &[0, 1, 0], &publish.payload].concat();
        client.write_all(&packet(0x32, &body)).unwrap();
        let mut received = Vec::new();
        while !received.windows(2).any(|pair| pair[0] == 0x40) {
            let mut buffer = [0; 64];
            let count = client.read(&mut buffer).unwrap();
            assert!(count > 0, "the broker takes what is published again");
            received.extend_from_slice(&buffer[..count]);
        }
    }
}

/// Hands on each packet until the connection ends, or `pass` does not want any more.
fn packets(mut from: TcpStream, mut pass: impl FnMut(&Packet) -> bool) {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            return;
        }
        received.extend_from_slice(&buffer[..count]);
        while let Some(packet) = Packet::take(&mut received) {
            if !pass(&packet) {
                return;
            }
        }
    }
}
