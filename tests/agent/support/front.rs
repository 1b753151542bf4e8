//! A port that the agent takes for its broker: hostile at first, then the way to one that keeps every rule.

use super::authority::{Authority, Certificate};
use super::excuses::Excuses;
use super::flips::Flip;
use super::hostility::Hostility;
use super::line::{Line, Transport};
use super::mqtt::{Packet, PacketKind, Publish};
use fastrand::Rng;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Connections of which what was sent is kept.
const KEPT: usize = 4;

/// What becomes of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Hostile,
    /// Everything passes between the agent and the broker, but for one bit of what the broker sends, once a connection.
    Flipping,
    /// Everything passes, what the broker sends in pieces of at most so many bytes.
    Honest {
        piece: usize,
    },
}

/// A running front. Dropping it ends its threads.
pub struct Front {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads of all connections have in common.
pub struct Shared {
    pub transport: Transport,
    acceptor: SslAcceptor,
    /// The one that keeps every rule.
    broker: u16,
    seed: u64,
    conduct: Mutex<Conduct>,
    has_ended: AtomicBool,
    connections: AtomicUsize,
    flips: AtomicUsize,
    last: Mutex<Instant>,
    finished: Mutex<BTreeSet<u64>>,
    trail: Mutex<BTreeMap<u64, Vec<String>>>,
    violations: Mutex<Vec<String>>,
    transcripts: Mutex<VecDeque<Vec<String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Front {
    pub fn start(
        transport: Transport,
        broker: u16,
        authority: &Authority,
        certificate: &Certificate,
        seed: u64,
    ) -> Self {
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
        acceptor.set_certificate_file(&certificate.certificate, SslFiletype::PEM).unwrap();
        acceptor.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
        acceptor.set_ca_file(authority.file()).unwrap();
        let shared = Arc::new(Shared {
            transport,
            acceptor: acceptor.build(),
            broker,
            seed,
            conduct: Mutex::new(Conduct::Honest { piece: usize::MAX }),
            has_ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            flips: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            finished: Mutex::default(),
            trail: Mutex::default(),
            violations: Mutex::default(),
            transcripts: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if shared.has_ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || {
                        // What a client must not do fails an assertion.
                        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| shared.serve(stream))) {
                            let text = panic.downcast_ref::<String>().cloned();
                            lock(&shared.violations).push(text.unwrap_or_else(|| "a client broke a rule".to_owned()));
                        }
                    });
                }
            }
        });
        Self { port, shared, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}/mqtt", self.shared.transport.scheme(), self.port)
            .replace("/mqtt", if self.shared.transport.is_web_socket() { "/mqtt" } else { "" })
    }

    /// Changes what becomes of connections. Present ones end by themselves, or go on as they are when they are honest.
    pub fn conduct(&self, conduct: Conduct) {
        *lock(&self.shared.conduct) = conduct;
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Bits that were flipped.
    pub fn flips(&self) -> usize {
        self.shared.flips.load(Ordering::Relaxed)
    }

    /// When the last connection came.
    pub fn last(&self) -> Instant {
        *lock(&self.shared.last)
    }

    /// Messages that the agent may take as finished, whether the broker behind has them or not, by seq.
    pub fn finished(&self) -> BTreeSet<u64> {
        lock(&self.shared.finished).clone()
    }

    /// What the agent did since the last call and must not do, beneath MQTT.
    pub fn violations(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.violations))
    }

    /// What was sent under a message's packet ids.
    pub fn trail(&self, seq: u64) -> Vec<String> {
        lock(&self.shared.trail).get(&seq).cloned().unwrap_or_default()
    }

    /// What was sent over the last few connections.
    pub fn transcripts(&self) -> String {
        let transcripts = lock(&self.shared.transcripts);
        transcripts.iter().map(|notes| format!("  connection:\n    {}\n", notes.join("\n    "))).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last) = Instant::now();
        let conduct = *lock(&self.conduct);
        let rng = Rng::with_seed(self.seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let Some(line) = Line::accept(stream, self.transport, &self.acceptor) else { return };
        let (excuses, notes) = match conduct {
            Conduct::Hostile => Hostility::new(line, rng, self.transport).play(),
            Conduct::Flipping => self.relay(line, usize::MAX, Some(Flip::new(rng))),
            Conduct::Honest { piece } => self.relay(line, piece, None),
        };
        lock(&self.finished).extend(excuses.finished);
        for (seq, notes) in excuses.trail {
            lock(&self.trail).entry(seq).or_default().extend(notes);
        }
        let mut transcripts = lock(&self.transcripts);
        transcripts.push_back(notes);
        if transcripts.len() > KEPT {
            transcripts.pop_front();
        }
    }

    /// Carries everything both ways. The broker's packets are taken apart, for one may have to be changed.
    fn relay(&self, mut line: Line, piece: usize, mut flip: Option<Flip>) -> (Excuses, Vec<String>) {
        let (mut excuses, mut notes) = (Excuses::default(), Vec::new());
        if self.transport.is_web_socket() && line.upgrade().is_none() {
            return (excuses, notes);
        }
        let Ok(mut broker) = TcpStream::connect(("127.0.0.1", self.broker)) else { return (excuses, notes) };
        let _ = (broker.set_nonblocking(true), broker.set_nodelay(true));
        let (mut from_client, mut from_broker) = (Vec::new(), Vec::new());
        while !line.is_over && !flip.as_ref().is_some_and(Flip::is_over) && !self.has_ended.load(Ordering::Relaxed) {
            line.receive(Duration::from_millis(1));
            let up = std::mem::take(&mut line.received);
            if flip.is_some() {
                from_client.extend(&up);
                note(&mut from_client, &mut excuses);
            }
            if carry(&mut broker, &up, &mut from_broker).is_none() {
                break;
            }
            while let Some(packet) = take(&mut from_broker) {
                let packet = match &mut flip {
                    Some(flip) => flip.pass(packet, &mut excuses, &mut notes, &self.flips),
                    None => packet,
                };
                if packet.chunks(piece).any(|piece| line.send(piece).is_err()) {
                    line.is_over = true;
                }
            }
        }
        line.finish(Duration::from_millis(500));
        from_client.extend(std::mem::take(&mut line.received));
        note(&mut from_client, &mut excuses);
        (excuses, notes)
    }
}

/// Notes the messages that a client has sent, and takes them out; CONNECT says which version it speaks.
fn note(received: &mut Vec<u8>, excuses: &mut Excuses) {
    while let Some(packet) = Packet::take(received) {
        match packet.kind() {
            Some(PacketKind::Connect) => excuses.connect(&packet),
            Some(PacketKind::Publish) => {
                let publish = Publish::decode(&packet, excuses.version());
                publish.iter().for_each(|publish| excuses.receive(publish));
            }
            _ => {}
        }
    }
}

/// Sends to the broker, and takes what it has sent; `None` at its end.
fn carry(broker: &mut TcpStream, mut up: &[u8], down: &mut Vec<u8>) -> Option<()> {
    while !up.is_empty() {
        match broker.write(up) {
            Ok(written) => up = &up[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(_) => return None,
        }
    }
    let mut buffer = [0; 16 * 1024];
    match broker.read(&mut buffer) {
        Ok(0) => None,
        Ok(length) => {
            down.extend(&buffer[..length]);
            Some(())
        }
        Err(error) => (error.kind() == ErrorKind::WouldBlock).then_some(()),
    }
}

/// Takes the bytes of the first packet, once it is whole.
fn take(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let size = Packet::take(&mut bytes.clone())?.size;
    Some(bytes.drain(..size).collect())
}
