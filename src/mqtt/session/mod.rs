//! The session at the broker that outlives connections and processes.
//!
//! The MQTT library keeps its part of a session in a [`Store`] that it is given. It puts a packet there before it sends
//! it, and removes it when the exchange has ended. Made anew over the same store, it sends again what was not finished,
//! under the same packet identifiers and with DUP (MQTT 5, section 4.4), so that the broker recognises it.
//!
//! At QoS 2, message and stage are noted on the disk, in [`Exchanges`], and the packets are rendered again when a
//! connection begins: a restarted process resumes them. At QoS 1 the packets stay in memory, as many as are in flight:
//! they are resumed by the same process, and published anew by the next one, which QoS 1 allows.
//!
//! The store is called by the library's threads; a lock guards what it shares with the publisher.

mod at_qos_1;
mod shared;
mod store;
#[cfg(test)]
mod tests;

use crate::config::Protocol;
use crate::delivery::{Dated, Publish, UnderWay, packet};
use crate::message::{Qos, Seq};
use crate::payload::Outgoing;
use crate::spool::{Exchange, Exchanges, Stage};
use log::{error, warn};
use shared::Shared;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use store::Store;

/// Our end of the session.
#[derive(Clone)]
pub struct Session {
    protocol: Protocol,
    shared: Arc<Mutex<Shared>>,
}

/// What was handed to the library at QoS 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub what: Publish,
    pub qos: Qos,
    /// Whether its time is right.
    pub dated: bool,
    /// [`Expected::sum`] of the payload, which tells one message from another.
    pub payload: u32,
}

impl Expected {
    /// The checksum of a payload.
    pub fn sum(payload: &[u8]) -> u32 {
        crc32c::crc32c(payload)
    }
}

/// What the session tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The broker has taken what a former connection had begun to send.
    Completed(Publish),
    /// The broker refused such a message, with this reason code.
    Refused(Publish, u8),
    /// The session cannot be trusted any more: the connection must be given up, and the next one begins a new session.
    Invalid(String),
}

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It resumes the broker's session.
    Resume,
    /// It begins a session that the broker is to keep.
    New,
    /// It has a session of its own, for nothing can be noted.
    Without,
}

impl Session {
    /// The session whose exchanges at QoS 2 these are.
    pub fn new(exchanges: Exchanges, protocol: Protocol) -> Self {
        Self { protocol, shared: Arc::new(Mutex::new(Shared::new(exchanges))) }
    }

    /// Gets ready for a connection; how it begins. `name` is that of the session at the broker that it goes to. `render`
    /// gives what a message is published as, with a time that is right or as it was then. What `resumes` leaves out stays
    /// under way, for a later connection, and its packet identifier is not used meanwhile.
    pub fn prepare(
        &self,
        name: u32,
        render: impl Fn(Seq, Dated) -> Option<Outgoing>,
        resumes: impl Fn(Publish) -> bool,
    ) -> Beginning {
        let mut shared = self.lock();
        shared.forget_invalid();
        shared.begin(name);
        if shared.exchanges.session() != name {
            // What is under way at another broker means nothing to this one, and stays until this one has answered: it may
            // not be there, and the other one may come back.
            return if shared.invalid.is_some() { Beginning::Without } else { Beginning::New };
        }
        let packet = |id, exchange: Exchange| {
            let outgoing = Outgoing { retain: exchange.retain, ..render(exchange.seq, Dated::from(exchange.dated))? };
            (outgoing.qos == Qos::ExactlyOnce).then(|| packet::publish(&outgoing, id, self.protocol))?
        };
        let at_qos_2 = shared.exchanges.under_way().filter(|(_, exchange)| resumes(Publish::Message(exchange.seq)));
        let rendered: Option<HashMap<_, _>> =
            at_qos_2.map(|(id, exchange)| Some((id, packet(id, exchange)?))).collect();
        match rendered {
            Some(mut packets) => {
                let at_qos_1 = shared.at_qos_1.iter().filter(|(_, what, _)| resumes(*what));
                packets.extend(at_qos_1.map(|(id, _, packet)| (id, packet.to_vec())));
                shared.resume(packets);
            }
            None => {
                warn!("messages in flight cannot be read back; beginning a new session, which may repeat messages");
                shared.forget();
            }
        }
        match (shared.invalid.is_some(), shared.exchanges.is_established()) {
            (true, _) => Beginning::Without,
            (false, true) => Beginning::Resume,
            (false, false) => Beginning::New,
        }
    }

    /// The store for the client of the connection that was prepared. It does nothing any more once another one is prepared.
    pub fn store(&self, tell: impl Fn(News) + Send + 'static) -> Store {
        Store::new(self.clone(), self.lock().connection, tell)
    }

    /// Notes that the library's client is made, and has read what it resumes.
    pub fn client_is_made(&self) {
        self.lock().client_is_made = true;
    }

    /// Notes that the broker has begun a new session, in which nothing is under way; whether that could be noted.
    pub fn establish(&self) -> bool {
        self.lock().establish()
    }

    /// Forgets the session and everything under way in it: the next connection begins a new one.
    pub fn forget(&self) {
        self.lock().forget();
    }

    /// Forgets the session where it cannot be trusted any more, so that nobody else resumes it.
    pub fn forget_invalid(&self) {
        self.lock().forget_invalid();
    }

    /// Notes that an exchange is over, and that what was published may be sent in another one.
    pub fn abandon(&self, what: Publish) {
        self.lock().abandon(what);
    }

    /// Notes what is about to be handed to the library at QoS 1 or 2. Packets leave in this order.
    pub fn expect(&self, expected: Expected) {
        self.lock().unnumbered.push_back(expected);
    }

    /// The name of the session in which messages are on their way at QoS 2, where some are.
    pub fn busy_with(&self) -> Option<u32> {
        let shared = self.lock();
        shared.exchanges.under_way().next().map(|_| shared.exchanges.session())
    }

    /// Everything that is on its way, at QoS 2 and at QoS 1, each in order of packet identifiers.
    pub fn under_way(&self) -> Vec<UnderWay> {
        let shared = self.lock();
        let at_qos_2 = shared.exchanges.under_way().map(|(_, exchange)| UnderWay {
            what: Publish::Message(exchange.seq),
            confirmed: exchange.stage == Stage::Received,
        });
        let at_qos_1 = shared.at_qos_1.iter().map(|(_, what, _)| UnderWay { what, confirmed: false });
        at_qos_2.chain(at_qos_1).collect()
    }

    /// Notes that an exchange is over for good. To finish one at QoS 2 that the broker never completes, [`Session::forget`]
    /// follows: its packet identifier must not be used again in this session.
    pub fn end(&self, what: Publish) {
        self.lock().end(what);
    }

    /// Forgets on disk what is over. Must not come before the journal has it.
    pub fn clear(&self) {
        let mut shared = self.lock();
        if shared.exchanges.is_to_clear() {
            shared.note(Exchanges::clear);
        }
    }

    /// Writes what is under way at QoS 2 anew where its file was taken away from the spool's folder, or replaced.
    pub fn put_back(&self, directory: &Path) {
        let mut shared = self.lock();
        if shared.invalid.is_none() {
            shared.note(|exchanges| {
                if exchanges.put_back(directory)? {
                    error!("exchanges were taken away or replaced under the running agent; written anew");
                }
                Ok(())
            });
        }
    }

    /// Makes what is under way at QoS 2 durable, for an orderly end.
    pub fn flush(&self) {
        let mut shared = self.lock();
        shared.forget_invalid();
        if shared.invalid.is_none() {
            shared.note(Exchanges::flush);
        }
    }

    /// How long the notes have waited for the disk since then; each wait is told once. While one waits, in whichever thread,
    /// no packet comes or goes: this waits as well, until it is over.
    pub fn take_stalled(&self, since: Instant) -> Duration {
        self.lock().stalls.take_since(since)
    }

    /// A thread that panicked leaves nothing behind that the other one could not use.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
