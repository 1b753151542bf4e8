//! What the library calls: its store for one connection.
//!
//! The keys are `s-ID` or `s5-ID` for a PUBLISH, `sc-ID` or `sc5-ID` for a PUBREL, by the protocol's version. What only waits
//! inside the library has keys of other kinds, and stays in memory: the spool has it.

use super::shared::Shared;
use super::{News, Session};
use crate::config::Protocol;
use crate::spool::Stage;
use paho_mqtt::ClientPersistence;
use paho_mqtt_sys::acknowledgement;
use std::sync::MutexGuard;

/// The store of the client of one connection.
pub struct Store {
    session: Session,
    connection: u64,
    tell: Box<dyn Fn(News) + Send>,
}

/// What a key of the library's names.
enum Key {
    /// The PUBLISH with this packet identifier.
    Publish(u16),
    /// The PUBREL with this packet identifier.
    Pubrel(u16),
    /// A packet of the other version of the protocol: there is none. The library removes the keys of both.
    OtherVersion,
    /// Something that waits inside the library.
    Command,
}

impl Key {
    fn parse(key: &str, protocol: Protocol) -> Key {
        match (key.split_once('-').map(|(stem, id)| (stem, id.parse())), protocol) {
            (Some(("s", Ok(id))), Protocol::V311) | (Some(("s5", Ok(id))), Protocol::V5) => Key::Publish(id),
            (Some(("sc", Ok(id))), Protocol::V311) | (Some(("sc5", Ok(id))), Protocol::V5) => Key::Pubrel(id),
            (Some(("s" | "s5" | "sc" | "sc5", Ok(_))), _) => Key::OtherVersion,
            _ => Key::Command,
        }
    }
}

impl Store {
    pub fn new(session: Session, connection: u64, tell: impl Fn(News) + Send + 'static) -> Self {
        Self { session, connection, tell: Box::new(tell) }
    }

    fn key(&self, key: &str) -> Key {
        Key::parse(key, self.session.protocol)
    }

    /// # Errors
    /// The connection is a former one: its client was left to itself.
    fn shared(&self) -> paho_mqtt::Result<MutexGuard<'_, Shared>> {
        let shared = self.session.lock();
        if shared.connection == self.connection {
            Ok(shared)
        } else {
            Err(paho_mqtt::Error::General("the connection was given up"))
        }
    }

    /// Makes a change, and tells what follows from it: its news, and that it made the session invalid.
    fn change(&self, change: impl FnOnce(&mut Shared) -> Option<News>) -> paho_mqtt::Result<()> {
        let mut shared = self.shared()?;
        let was_valid = shared.invalid.is_none();
        let news = change(&mut shared);
        let invalid = shared.invalid.clone().filter(|_| was_valid).map(News::Invalid);
        drop(shared);
        news.into_iter().chain(invalid).for_each(&self.tell);
        Ok(())
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
        self.change(|shared| {
            match self.key(key) {
                Key::Publish(id) => shared.published(id, &buffers),
                Key::Pubrel(id) => shared.received(id),
                Key::OtherVersion => {}
                Key::Command => {
                    shared.commands.insert(key.to_owned(), buffers.concat());
                }
            }
            None
        })
    }

    fn get(&mut self, key: &str) -> paho_mqtt::Result<Vec<u8>> {
        let shared = self.shared()?;
        let packet = match self.key(key) {
            Key::Publish(id) => shared.resumed.get(&id).cloned(),
            Key::Pubrel(_) | Key::OtherVersion => None,
            Key::Command => shared.commands.get(key).cloned(),
        };
        packet.ok_or(paho_mqtt::Error::General("no such packet"))
    }

    /// The library removes all keys of a packet identifier when its exchange has ended.
    fn remove(&mut self, key: &str) -> paho_mqtt::Result<()> {
        self.change(|shared| match self.key(key) {
            Key::Publish(id) => shared.ended(id, acknowledgement::refusal()),
            Key::Pubrel(_) | Key::OtherVersion => None,
            Key::Command => {
                shared.commands.remove(key);
                None
            }
        })
    }

    /// Asked for while the client is made, and again when the broker has forgotten the session or the connection has
    /// ended, to remove all that is listed: then there is nothing any more.
    fn keys(&mut self) -> paho_mqtt::Result<Vec<String>> {
        let stem = match self.session.protocol {
            Protocol::V5 => "s5",
            Protocol::V311 => "s",
        };
        let mut shared = self.shared()?;
        if shared.client_is_made {
            shared.resumed.clear();
        }
        Ok(shared.resumed.keys().map(|id| format!("{stem}-{id}")).collect())
    }

    fn clear(&mut self) -> paho_mqtt::Result<()> {
        self.shared()?.resumed.clear();
        Ok(())
    }

    /// Answers the opposite of what the method's name asks: the crate hands the answer on as it is, and for the C
    /// library zero means "contained" (`pcontainskey` in MQTTClientPersistence.h).
    fn contains_key(&mut self, key: &str) -> bool {
        let Ok(shared) = self.shared() else { return true };
        let contained = match self.key(key) {
            // The library also asks whether an identifier is free.
            Key::Publish(id) => shared.is_taken(id),
            // It sends the PUBREL instead of the PUBLISH where there is one.
            Key::Pubrel(id) => {
                shared.resumed.contains_key(&id)
                    && shared.exchanges.get(id).is_some_and(|exchange| exchange.stage == Stage::Received)
            }
            Key::OtherVersion => false,
            Key::Command => shared.commands.contains_key(key),
        };
        !contained
    }
}
