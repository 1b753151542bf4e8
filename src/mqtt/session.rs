//! The session at the broker that outlives connections and processes, for exactly-once delivery at QoS 2.
//!
//! The MQTT library keeps its part of a session in a store that it is given. It puts a packet there before it sends it
//! (`s-ID` or `s5-ID` before PUBLISH, `sc-ID` or `sc5-ID` before PUBREL), and removes it when the exchange has ended.
//! Made anew over the same store, it sends again what was not finished, under the same packet identifiers, so that the
//! broker recognises it. This store keeps no packets: it notes message and stage in [`Exchanges`], and renders the
//! packets again when a connection begins. What only waits inside the library stays in memory: the spool has it.
//!
//! The store is called by the library's threads; a lock guards what it shares with the publisher.

use super::stalls::Stalls;
use crate::burst::Burst;
use crate::config::Protocol;
use crate::delivery::{Dated, packet};
use crate::message::{Qos, Seq};
use crate::payload::Outgoing;
use crate::spool::{Exchange, Exchanges, Stage};
use log::{error, log, warn};
use paho_mqtt::ClientPersistence;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Flags of a PUBLISH packet's first byte (MQTT 5, section 3.3.1).
const DUP: u8 = 1 << 3;
const QOS: u8 = 3 << 1;
const QOS_2: u8 = 2 << 1;
const RETAIN: u8 = 1;

/// A note that takes longer than this waits for the disk: writing one into memory takes microseconds.
const STALL: Duration = Duration::from_millis(100);

/// Our end of the session.
#[derive(Clone)]
pub struct Session {
    protocol: Protocol,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    exchanges: Exchanges,
    /// The name of the session of the present connection.
    name: u32,
    /// What was handed to the library and has no packet identifier yet, in order: the message, or `None` for what is
    /// published at QoS 1.
    unnumbered: VecDeque<Option<Expected>>,
    /// Packets that the present connection began with and that are not finished, by packet identifier.
    resumed: HashMap<u16, Vec<u8>>,
    /// What waits inside the library to be sent, by its key: the library reads it back when it sends it.
    commands: HashMap<String, Vec<u8>>,
    /// Whether the library's client is made, and has read what it goes on with.
    live: bool,
    /// A note could not be written: the file must not be gone on with, and neither must the broker's session.
    failed: bool,
    disk: Burst,
    /// When notes waited for the disk, since somebody asked.
    stalls: Stalls,
}

/// A message that was handed to the library at QoS 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub seq: Seq,
    /// Whether its time is right.
    pub dated: bool,
}

/// What the session has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The broker has a message that a former connection had begun to send.
    Completed(Seq),
    /// The broker refused such a message.
    Refused(Seq),
    /// What is on its way cannot be noted: the connection must be given up.
    NotNoted(String),
}

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It goes on with the broker's session.
    Resume,
    /// It begins a session that the broker is to keep.
    Anew,
    /// It has a session of its own, for nothing can be noted.
    Without,
}

impl Session {
    /// The session whose exchanges these are.
    pub fn new(exchanges: Exchanges, protocol: Protocol) -> Self {
        let shared = Shared {
            name: exchanges.session(),
            exchanges,
            unnumbered: VecDeque::new(),
            resumed: HashMap::new(),
            commands: HashMap::new(),
            live: false,
            failed: false,
            disk: Burst::default(),
            stalls: Stalls::default(),
        };
        Self { protocol, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Gets ready for a connection; how it begins. `name` is that of the session at the broker that it goes to. `render`
    /// gives what a message is published as, with a time that is right or as it was then. What `resumes` leaves out stays
    /// under way, for a later connection.
    pub fn prepare(
        &self,
        name: u32,
        render: impl Fn(Seq, Dated) -> Option<Outgoing>,
        resumes: impl Fn(Seq) -> bool,
    ) -> Beginning {
        let mut shared = self.lock();
        shared.name = name;
        shared.renounce();
        shared.live = false;
        shared.unnumbered.clear();
        shared.commands.clear();
        let packet = |id, exchange: Exchange| {
            let outgoing = Outgoing { retain: exchange.retain, ..render(exchange.seq, Dated::from(exchange.dated))? };
            (outgoing.qos == Qos::ExactlyOnce).then(|| packet::publish(&outgoing, id, self.protocol))?
        };
        if shared.exchanges.session() != name {
            // What is under way at another broker means nothing to this one, and stays until this one has answered: it may
            // not be there, and the other one may come back.
            shared.resumed.clear();
            return if shared.failed { Beginning::Without } else { Beginning::Anew };
        }
        let under_way = shared.exchanges.under_way().filter(|(_, exchange)| resumes(exchange.seq));
        let resumed: Option<_> = under_way.map(|(id, exchange)| Some((id, packet(id, exchange)?))).collect();
        shared.resumed = resumed.unwrap_or_else(|| {
            warn!("messages in flight cannot be read back; beginning a new session, which may repeat messages");
            shared.note(Exchanges::forget);
            HashMap::new()
        });
        match (shared.failed, shared.exchanges.is_established()) {
            (true, _) => Beginning::Without,
            (false, true) => Beginning::Resume,
            (false, false) => Beginning::Anew,
        }
    }

    /// The store for the client of a connection that was prepared.
    pub fn store(&self, tell: impl Fn(News) + Send + 'static) -> Store {
        Store { session: self.clone(), tell: Box::new(tell) }
    }

    /// Notes that the client is made.
    pub fn go_live(&self) {
        self.lock().live = true;
    }

    /// Notes that the broker has begun a new session; whether that could be noted.
    pub fn establish(&self) -> bool {
        let mut shared = self.lock();
        shared.resumed.clear();
        let name = shared.name;
        if shared.exchanges.session() != name {
            shared.note(|exchanges| exchanges.turn_to(name));
        }
        shared.note(Exchanges::establish);
        !shared.failed
    }

    /// Forgets the session: the next connection begins a new one.
    pub fn forget(&self) {
        self.lock().note(Exchanges::forget);
    }

    /// Notes that a message's exchange is over, and that the message may be sent in another one.
    pub fn abandon(&self, seq: Seq) {
        self.lock().note(|exchanges| exchanges.abandon(seq));
    }

    /// Notes what is about to be handed to the library at QoS 1, or a message at QoS 2. Packets leave in this order.
    pub fn expect(&self, message: Option<Expected>) {
        self.lock().unnumbered.push_back(message);
    }

    /// The name of the session in which messages are on their way, where some are.
    pub fn busy_with(&self) -> Option<u32> {
        let shared = self.lock();
        shared.exchanges.under_way().next().map(|_| shared.exchanges.session())
    }

    /// Whether a message is on its way.
    pub fn contains(&self, seq: Seq) -> bool {
        self.lock().exchanges.contains(seq)
    }

    /// The messages that are on their way.
    pub fn under_way(&self) -> Vec<Seq> {
        self.lock().exchanges.under_way().map(|(_, exchange)| exchange.seq).collect()
    }

    /// Whether a message is on its way and the broker has not confirmed that it has it.
    pub fn is_unconfirmed(&self, seq: Seq) -> bool {
        self.lock().exchanges.stage_of(seq) == Some(Stage::Published)
    }

    /// Notes that a message's exchange is over.
    pub fn end(&self, seq: Seq) {
        self.lock().exchanges.end(seq);
    }

    /// Forgets on disk what is over. Must not come before the journal has it.
    pub fn clear(&self) {
        let mut shared = self.lock();
        if shared.exchanges.is_to_clear() {
            shared.note(Exchanges::clear);
        }
    }

    /// Makes what is under way durable, for an orderly end.
    pub fn flush(&self) {
        let mut shared = self.lock();
        shared.renounce();
        if !shared.failed {
            shared.note(Exchanges::flush);
        }
    }

    /// How long the notes have waited for the disk since then; each wait is told once. While one waits, in whichever thread,
    /// no packet comes or goes: this waits as well, until it is over.
    pub fn take_stalled(&self, since: Instant) -> Duration {
        self.lock().stalls.take_since(since)
    }

    /// Gives the session up where the file is behind, so that nobody else goes on with it.
    pub fn give_up_if_behind(&self) {
        self.lock().renounce();
    }

    /// A thread that panicked leaves nothing behind that the other one could not use.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Gives the session up where the file is behind.
    fn renounce(&mut self) {
        if std::mem::take(&mut self.failed) {
            self.note(Exchanges::forget);
        }
    }

    /// Changes the exchanges. After a failure the file is behind, and a process that went on with it could have the
    /// broker take a new message for one that it has: the session is given up.
    fn note(&mut self, change: impl FnOnce(&mut Exchanges) -> io::Result<()>) {
        let begin = Instant::now();
        let noted = change(&mut self.exchanges);
        let now = Instant::now();
        let took = now.duration_since(begin);
        if took > STALL {
            self.stalls.note(took, now);
        }
        match noted {
            Ok(()) => {
                self.disk.ended();
            }
            Err(error) => {
                self.failed = true;
                log!(self.disk.failed(), "cannot note messages in flight; QoS 2 may repeat some error={error}");
            }
        }
    }

    /// The PUBLISH with this packet identifier is about to leave.
    fn published(&mut self, id: u16, packet: &[&[u8]]) {
        let head = packet.first().and_then(|head| head.first()).copied().unwrap_or_default();
        if head & DUP != 0 {
            // The library sends again what was noted before.
            return;
        }
        let expected = self.unnumbered.pop_front();
        let at_qos_2 = head & QOS == QOS_2;
        match expected {
            Some(Some(Expected { seq, dated })) if at_qos_2 => {
                let exchange = Exchange { seq, stage: Stage::Published, retain: head & RETAIN != 0, dated };
                self.note(|exchanges| exchanges.published(id, exchange));
            }
            Some(None) if !at_qos_2 => {}
            expected => error!("the library sends what it was not given packet={id} expected={expected:?}"),
        }
    }

    /// The exchange of this packet identifier has ended; how, where a former connection had begun it.
    fn removed(&mut self, id: u16) -> Option<News> {
        self.resumed.remove(&id)?;
        let exchange = self.exchanges.get(id)?;
        Some(match exchange.stage {
            Stage::Published => News::Refused(exchange.seq),
            Stage::Received => News::Completed(exchange.seq),
        })
    }
}

/// What the library calls.
pub struct Store {
    session: Session,
    tell: Box<dyn Fn(News) + Send>,
}

/// What a key of the library's names.
enum Key {
    /// The PUBLISH with this packet identifier.
    Publish(u16),
    /// The PUBREL with this packet identifier.
    Pubrel(u16),
    /// Something that waits inside the library.
    Command,
}

impl Key {
    fn parse(key: &str) -> Key {
        match key.split_once('-').map(|(stem, id)| (stem, id.parse())) {
            Some(("s" | "s5", Ok(id))) => Key::Publish(id),
            Some(("sc" | "sc5", Ok(id))) => Key::Pubrel(id),
            _ => Key::Command,
        }
    }
}

impl ClientPersistence for Store {
    fn open(&mut self, _client_id: &str, _server_uri: &str) -> paho_mqtt::Result<()> {
        Ok(())
    }

    fn close(&mut self) -> paho_mqtt::Result<()> {
        Ok(())
    }

    fn put(&mut self, key: &str, buffers: Vec<&[u8]>) -> paho_mqtt::Result<()> {
        let mut shared = self.session.lock();
        let failed_before = shared.failed;
        match Key::parse(key) {
            Key::Publish(id) => shared.published(id, &buffers),
            Key::Pubrel(id) => shared.note(|exchanges| exchanges.received(id)),
            Key::Command => {
                shared.commands.insert(key.to_owned(), buffers.concat());
            }
        }
        if shared.failed && !failed_before {
            (self.tell)(News::NotNoted("messages in flight cannot be noted".to_owned()));
        }
        Ok(())
    }

    fn get(&mut self, key: &str) -> paho_mqtt::Result<Vec<u8>> {
        let shared = self.session.lock();
        let packet = match Key::parse(key) {
            Key::Publish(id) => shared.resumed.get(&id).cloned(),
            Key::Pubrel(_) => None,
            Key::Command => shared.commands.get(key).cloned(),
        };
        packet.ok_or(paho_mqtt::Error::General("no such packet"))
    }

    /// The library removes all keys of a packet identifier when its exchange has ended, known or not.
    fn remove(&mut self, key: &str) -> paho_mqtt::Result<()> {
        match Key::parse(key) {
            Key::Publish(id) => {
                let news = self.session.lock().removed(id);
                news.into_iter().for_each(&self.tell);
            }
            Key::Pubrel(_) => {}
            Key::Command => {
                self.session.lock().commands.remove(key);
            }
        }
        Ok(())
    }

    /// Asked for while the client is made, and again when the broker has forgotten the session, to remove all that is
    /// listed: then there is nothing any more.
    fn keys(&mut self) -> paho_mqtt::Result<Vec<String>> {
        let stem = match self.session.protocol {
            Protocol::V5 => "s5",
            Protocol::V311 => "s",
        };
        let mut shared = self.session.lock();
        if shared.live {
            shared.resumed.clear();
        }
        Ok(shared.resumed.keys().map(|id| format!("{stem}-{id}")).collect())
    }

    fn clear(&mut self) -> paho_mqtt::Result<()> {
        self.session.lock().resumed.clear();
        Ok(())
    }

    /// Answers the opposite of what the method's name asks: the crate hands the answer on as it is, and for the C
    /// library zero means "contained" (`pcontainskey` in MQTTClientPersistence.h).
    fn contains_key(&mut self, key: &str) -> bool {
        let shared = self.session.lock();
        let contained = match Key::parse(key) {
            // The library also asks whether an identifier is free.
            Key::Publish(id) => shared.resumed.contains_key(&id) || shared.exchanges.get(id).is_some(),
            Key::Pubrel(id) => {
                shared.resumed.contains_key(&id)
                    && shared.exchanges.get(id).is_some_and(|exchange| exchange.stage == Stage::Received)
            }
            Key::Command => shared.commands.contains_key(key),
        };
        !contained
    }
}
