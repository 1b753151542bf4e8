//! The brokers of the configuration, over the MQTT library, and the session that is kept at them.

use super::link::Link;
use crate::clock::Reading;
use crate::config::{BrokerProfile, Config, Sessions};
use crate::delivery::{Dated, Delivery, Lost, Publish, Report, UnderWay};
use crate::message::StreamId;
use crate::mqtt::{self, Ring, Session, Terms, session_name};
use crate::payload::Outgoing;
use crate::spool::Spool;
use crossbeam_channel::Receiver;
use log::{debug, info, warn};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// The way to the brokers.
pub struct Broker {
    link: mqtt::Link,
    rings: Receiver<Ring>,
    /// The names of our sessions at the brokers, in the order of the configuration.
    sessions: Vec<u32>,
    /// Whether there should be a session, and the disk takes no notes for it. What is at QoS 2 goes out all the same.
    lacks_session: bool,
    boot_id: u32,
}

impl Broker {
    /// No connection yet. `boot_id` names the present boot.
    pub fn new(config: &Config, spool: &Spool, boot_id: u32) -> Self {
        let (sessions, terms) = terms(config, spool, boot_id, None);
        let (link, rings) = mqtt::Link::new(terms);
        warn_of_trust(config);
        Self { link, rings, sessions, lacks_session: false, boot_id }
    }
}

impl Link for Broker {
    type Ring = Ring;

    fn rings(&self) -> &Receiver<Ring> {
        &self.rings
    }

    fn answer(&mut self, ring: Ring) -> Option<Report> {
        let report = self.link.answer(ring)?;
        let at_qos_2 = self.has_session() || self.lacks_session;
        Some(match report {
            Report::Connected(connected) => Report::Connected(crate::delivery::Connected { at_qos_2, ..connected }),
            other => other,
        })
    }

    fn connect(
        &mut self,
        member: usize,
        will: Option<Outgoing>,
        delivery: &Delivery,
        clock: Reading,
    ) -> Result<(), Lost> {
        let address = &delivery.config().broker.addresses[member];
        let render = |seq, dated: Dated| delivery.render(Publish::Message(seq), dated, clock);
        let left_out = delivery.left_out();
        self.link.connect(address, will, render, |what| !left_out.contains(&what))
    }

    fn publish(&mut self, what: Publish, outgoing: Outgoing) -> Result<(), Lost> {
        self.link.publish(what, outgoing)
    }

    fn disconnect(&mut self) {
        self.link.disconnect();
    }

    fn close(&mut self) -> Vec<UnderWay> {
        self.link.close();
        self.under_way()
    }

    fn first(&self) -> usize {
        let busy = self.link.session().and_then(Session::busy_with);
        busy.and_then(|busy| self.sessions.iter().position(|session| *session == busy)).unwrap_or(0)
    }

    fn has_session(&self) -> bool {
        self.link.session().is_some()
    }

    fn under_way(&self) -> Vec<UnderWay> {
        self.link.session().map(Session::under_way).unwrap_or_default()
    }

    fn find_session(&mut self, config: &Config, spool: &Spool) -> bool {
        if self.has_session() {
            return false;
        }
        let found = session(config, &self.sessions, spool, self.boot_id);
        self.lacks_session = found.is_err();
        match found {
            Ok(None) => false,
            Ok(Some(session)) => {
                self.link.adopt(session);
                info!("messages in flight can be noted again");
                true
            }
            Err(error) => {
                debug!("messages in flight still cannot be noted error={error}");
                false
            }
        }
    }

    fn reconfigure(&mut self, config: &Config, spool: &Spool) {
        let former = self.link.session().map(|session| (self.sessions.as_slice(), session));
        let (sessions, terms) = terms(config, spool, self.boot_id, former);
        self.link = self.link.successor(terms);
        (self.sessions, self.lacks_session) = (sessions, false);
        warn_of_trust(config);
    }

    fn end(&mut self, what: Publish) {
        self.link.session().into_iter().for_each(|session| session.end(what));
    }

    fn abandon(&mut self, what: Publish) {
        self.link.session().into_iter().for_each(|session| session.abandon(what));
    }

    fn forget_session(&mut self) {
        self.link.session().into_iter().for_each(Session::forget);
    }

    fn journal_written(&mut self) {
        self.link.session().into_iter().for_each(Session::clear);
    }

    fn put_back_notes(&mut self, directory: &Path) {
        self.link.session().into_iter().for_each(|session| session.put_back(directory));
    }

    fn take_stalled(&mut self, since: Instant) -> Duration {
        self.link.session().map_or(Duration::ZERO, |session| session.take_stalled(since))
    }

    fn end_session(&mut self) {
        // A connection that is being made is left to itself, for nothing is on its way over it yet.
        if !self.link.is_connecting() {
            self.link.close();
            self.link.session().into_iter().for_each(Session::flush);
        }
    }
}

fn warn_of_trust(config: &Config) {
    if !config.broker.tls.verify && config.broker.addresses.iter().any(|address| address.scheme.is_tls()) {
        warn!("broker.tls.verify is false: whoever answers is taken for the broker, and gets what is meant for it");
    }
}

/// The name of our session at the broker.
fn client_id(config: &Config, stream: StreamId) -> String {
    config.broker.client_id.replace("{stream}", &stream.to_string())
}

/// The names of our sessions at the brokers, and what all connections have in common. `former`: the names and the session of
/// the former ones, which stays where it is the same.
fn terms(config: &Config, spool: &Spool, boot_id: u32, former: Option<(&[u32], &Session)>) -> (Vec<u32>, Terms) {
    let client_id = client_id(config, spool.stream());
    let name = |address| session_name(&config.broker, &client_id, address);
    let sessions: Vec<u32> = config.broker.addresses.iter().map(name).collect();
    let session = match former {
        Some((names, former)) if names == sessions => Some(former.clone()),
        _ => {
            former.into_iter().for_each(|(_, former)| former.forget_invalid());
            session(config, &sessions, spool, boot_id).unwrap_or_else(|error| {
                warn!("messages in flight cannot be noted; QoS 2 may repeat some after a reconnect error={error}");
                None
            })
        }
    };
    (sessions, Terms { broker: config.broker.clone(), client_id, window: config.delivery.window, session })
}

/// The session that outlives connections, where messages are published at QoS 2.
///
/// # Errors
/// The medium's: nothing can be noted for now.
fn session(config: &Config, names: &[u32], spool: &Spool, boot_id: u32) -> io::Result<Option<Session>> {
    let sessions = |address| BrokerProfile::of(&config.broker, address).sessions;
    let exchanges = if config.broker.addresses.iter().any(|address| sessions(address) == Sessions::Resumed) {
        spool.exchanges(names, boot_id)
    } else {
        spool.end_exchanges().map(|()| None)
    };
    Ok(exchanges?.map(|exchanges| Session::new(exchanges, config.broker.protocol)))
}
