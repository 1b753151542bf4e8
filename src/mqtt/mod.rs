//! The connection to the broker: everything that touches the MQTT library.
//!
//! The library works in threads of its own and reports through callbacks and futures. Here both become [`Ring`]s on
//! a channel, on which the publisher waits together with everything else; no executor runs. A client serves one
//! connection: each attempt makes a new one, so nothing of a former connection can leak into the next, and a ring
//! carries the number of the connection that it belongs to.

mod abandoned;
mod attempt;
mod dial;
mod failure;
mod knock;
mod options;
pub mod pem;
mod reasons;
mod rings;
mod session;
mod subscriber;
mod tls;
mod translate;

use crate::config::{Address, Broker, BrokerProfile, Limits, Protocol};
use crate::delivery::{Connected, Dated, Lost, Publish, Report};
use crate::foreign;
use crate::message::{Qos, Seq};
use crate::payload::Outgoing;
use abandoned::Abandoned;
use attempt::Connecting;
use crossbeam_channel::{Receiver, Sender, unbounded};
use dial::{Dialer, Verdict};
use options::{Attempt, options};
use paho_mqtt::{
    AsyncClient, CreateOptionsBuilder, DeliveryToken, DisconnectOptionsBuilder, Message, MessageBuilder,
    PersistenceType, ReasonCode, Token,
};
use rings::{About, Bell, Pending};
use session::{Beginning, Expected, News};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use translate::{connected, ended, not_taken, properties, qos, version};

pub use knock::silent;

pub use rings::Ring;
pub use session::Session;
pub use subscriber::{Arrival, Found, Heard, Subscriber};

/// Names the session that a broker keeps for us: by what identifies it there, and by the broker.
pub fn session_name(broker: &Broker, client_id: &str, address: &Address) -> u32 {
    let address = address.to_string();
    let parts = [address.as_bytes(), client_id.as_bytes(), &[broker.protocol as u8]];
    parts.iter().fold(0, |sum, part| crc32c::crc32c_append(crc32c::crc32c_append(sum, &[0]), part))
}

/// Makes connections, one at a time, and publishes over the present one.
pub struct Link {
    broker: Broker,
    /// Where the present connection goes.
    address: Address,
    /// What kind of broker is there.
    profile: BrokerProfile,
    client_id: String,
    /// Publishes that the library may hold at a time.
    window: u16,
    /// What the broker keeps for us from connection to connection, where messages are published at QoS 2.
    session: Option<Session>,
    /// Whether the broker keeps a session of ours that must not be resumed.
    stale: bool,
    /// How the present connection begins.
    beginning: Beginning,
    rings: Sender<Ring>,
    /// Counts the connections; rings of former ones are ignored.
    connection: u64,
    /// Never connects. Whenever no client is left, the library stops its threads, which takes up to a second.
    keeper: Option<AsyncClient>,
    client: Option<AsyncClient>,
    connecting: Option<Connecting>,
    dialer: Dialer,
    /// The address of the broker, or of the proxy, that the present connection goes to.
    peer: Option<SocketAddr>,
    abandoned: Abandoned,
    /// The session's news from before we knew of the connection: where this thread is slow to ask for the end of a
    /// connect, the library is through with messages by then.
    early: Vec<Ring>,
    disconnecting: Option<Pending<Token>>,
    deliveries: HashMap<Publish, Pending<DeliveryToken>>,
}

/// What all connections of a link have in common.
pub struct Terms {
    pub broker: Broker,
    pub client_id: String,
    /// Publishes that the library may hold at a time.
    pub window: u16,
    /// Where messages are published at QoS 2: what the broker keeps for us from connection to connection.
    pub session: Option<Session>,
}

impl Link {
    /// A link without a connection, and the channel that its rings come on.
    pub fn new(terms: Terms) -> (Link, Receiver<Ring>) {
        // As many rings as there are publishes in flight: the window bounds it.
        let (rings, receiver) = unbounded();
        (Self::unconnected(terms, rings), receiver)
    }

    /// Gives the present connection up for good. The link that follows has other terms, and rings on the same channel.
    pub fn successor(&mut self, terms: Terms) -> Link {
        self.close();
        let mut link = Self::unconnected(terms, self.rings.clone());
        link.connection = self.connection;
        link.keeper = self.keeper.take();
        link.abandoned = std::mem::take(&mut self.abandoned);
        link.dialer = std::mem::take(&mut self.dialer);
        link
    }

    fn unconnected(terms: Terms, rings: Sender<Ring>) -> Link {
        let Terms { broker, client_id, window, session } = terms;
        Link {
            profile: BrokerProfile::of(&broker, &broker.addresses[0]),
            address: broker.addresses[0].clone(),
            broker,
            client_id,
            window,
            session,
            stale: false,
            beginning: Beginning::Without,
            rings,
            connection: 0,
            keeper: None,
            client: None,
            connecting: None,
            dialer: Dialer::default(),
            peer: None,
            abandoned: Abandoned::default(),
            early: Vec::new(),
            disconnecting: None,
            deliveries: HashMap::new(),
        }
    }

    /// Has the next connections resume a session. There must be none so far, and no connection.
    pub fn adopt(&mut self, session: Session) {
        self.session = Some(session);
    }

    /// Begins to connect to one of the brokers; a ring tells the end of it. `will` is what the broker publishes for us when it
    /// loses us. `render` gives what a message is published
    /// as, for those that are on their way in the session; `resumes` which of these are resumed.
    ///
    /// # Errors
    /// [`Lost`] when the attempt failed before it began, as with a password file that cannot be read, or while the library is
    /// still at one that was given up.
    pub fn connect(
        &mut self,
        address: &Address,
        will: Option<Outgoing>,
        render: impl Fn(Seq, Dated) -> Option<Outgoing>,
        resumes: impl Fn(Publish) -> bool,
    ) -> Result<(), Lost> {
        self.close();
        self.address = address.clone();
        self.peer = None;
        if self.abandoned.has_unanswered() {
            return Err(Lost::Passing(format!("no connection to {address}: a former attempt has not ended yet")));
        }
        failure::forget();
        self.profile = BrokerProfile::of(&self.broker, address);
        let name = session_name(&self.broker, &self.client_id, address);
        let prepare = |session: &Session| session.prepare(name, render, resumes);
        self.beginning = self.session.as_ref().map_or(Beginning::Without, prepare);
        let will = will.map(|will| self.message(will));
        let (beginning, stale, window) = (self.beginning, self.stale, self.window);
        let options = options(&self.broker, &self.profile, Attempt { address, beginning, stale, window, will })
            .map_err(|why| Lost::Unusable(format!("no connection to {address}: {why}")))?;
        let client = self
            .create_client()
            .map_err(|error| Lost::Passing(format!("no MQTT client: {}", foreign::shown(&error.to_string()))))?;
        if let Some(session) = &self.session {
            session.client_is_made();
        }
        let bell = self.bell();
        let ring = move || bell.ring(About::Dialed);
        let dial = dial::begin(&mut self.dialer, &self.broker, address, ring);
        self.connecting = Some(Connecting::Dialing(dial, Box::new(options)));
        self.client = Some(client);
        Ok(())
    }

    /// Gives the present connection up, in the library too. When this returns nothing more is sent over it, and
    /// nothing that belongs to it is reported any more.
    pub fn close(&mut self) {
        let connection = self.connection;
        self.connection += 1;
        self.disconnecting = None;
        self.deliveries.clear();
        self.early.clear();
        let Some(client) = self.client.take() else { return };
        match self.connecting.take() {
            Some(Connecting::Asked(connecting)) => self.abandoned.add(connection, client, connecting),
            Some(Connecting::Dialing(..)) | None => abandoned::free(client),
        }
    }

    /// Whether an attempt to connect is under way.
    pub fn is_connecting(&self) -> bool {
        self.connecting.is_some()
    }

    /// The session, where the present connection keeps one.
    fn kept_session(&self) -> Option<&Session> {
        self.session.as_ref().filter(|_| self.beginning != Beginning::Without)
    }

    /// The session that the broker keeps, where messages are published at QoS 2.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Publishes over the present connection; a ring tells the end of it.
    ///
    /// # Errors
    /// [`Lost`]: there is no connection any more.
    pub fn publish(&mut self, what: Publish, outgoing: Outgoing) -> Result<(), Lost> {
        let Some(client) = &self.client else {
            return Err(Lost::Passing("not connected".to_owned()));
        };
        if outgoing.qos > Qos::AtMostOnce
            && let Some(session) = self.kept_session()
        {
            let Outgoing { qos, dated, .. } = outgoing;
            session.expect(Expected { what, qos, dated, payload: Expected::sum(&outgoing.payload) });
        }
        // After an error the connection is given up, and what is expected with it.
        let token = client
            .try_publish(self.message(outgoing))
            .map_err(|error| Lost::Ended(format!("publish failed: {}", foreign::shown(&error.to_string()))))?;
        let delivery = self.bell().wait_for(token, About::Publish(what));
        self.deliveries.insert(what, delivery);
        Ok(())
    }

    /// Ends the present connection in order; a ring tells the end of it.
    pub fn disconnect(&mut self) {
        let Some(client) = &self.client else { return };
        let token = client.disconnect(DisconnectOptionsBuilder::new().timeout(Duration::from_secs(1)).finalize());
        self.disconnecting = Some(self.bell().wait_for(token, About::Disconnect));
    }

    /// What a ring means; `None`: nothing any more, or not yet.
    pub fn answer(&mut self, ring: Ring) -> Option<Report> {
        if ring.connection != self.connection {
            if matches!(ring.about, About::Connect) {
                self.abandoned.answered(ring.connection);
            }
            return None;
        }
        if self.connecting.is_some() && matches!(ring.about, About::Session(_)) {
            self.early.push(ring);
            return None;
        }
        match ring.about {
            About::Dialed => self.dialed().err().map(Report::Lost),
            About::Connect => Some(match self.end_of_connect()? {
                Ok(response) => self.connected(connected(&response)),
                Err(error) => Report::Lost(self.refused(&error)),
            }),
            About::Publish(what) => Some(match self.deliveries.remove(&what)?.result()? {
                Ok(()) => Report::Acknowledged(what),
                Err(paho_mqtt::Error::ReasonCode(reason, _)) => Report::Refused(what, not_taken(reason)),
                Err(error) => Report::Lost(self.ended(&foreign::shown(&error.to_string()))),
            }),
            About::Disconnect => Some(Report::Disconnected),
            About::Session(News::Completed(what)) => Some(Report::Acknowledged(what)),
            About::Session(News::Refused(what, reason)) => {
                Some(Report::Refused(what, not_taken(ReasonCode::from(u32::from(reason)))))
            }
            About::Session(News::Invalid(reason)) => Some(Report::Lost(Lost::Passing(reason))),
            About::Lost(Lost::Ended(text)) => Some(Report::Lost(self.ended(&text))),
            About::Lost(lost) => Some(Report::Lost(lost)),
        }
    }

    /// How the connect ended. What came too early rings again.
    fn end_of_connect(&mut self) -> Option<paho_mqtt::Result<paho_mqtt::ServerResponse>> {
        let Some(Connecting::Asked(pending)) = self.connecting.take() else { return None };
        let result = pending.result()?;
        self.abandoned.free_answered();
        // Both ends of the channel are this thread's.
        self.early.drain(..).for_each(|ring| drop(self.rings.send(ring)));
        Some(result)
    }

    /// The broker accepted the connection; whether its session is the one that we want.
    fn connected(&mut self, mut connected: Connected) -> Report {
        if let Some(peer) = self.peer {
            self.dialer.judge(peer, Verdict::Fruitful);
        }
        connected.limits = self.profile.limits(connected.limits);
        let maximum = connected.limits.packet_size;
        if maximum < Limits::PACKET_SIZE_MIN {
            return Report::Lost(Lost::Passing(format!(
                "the broker takes packets of {maximum} bytes at most, which no message fits into"
            )));
        }
        let Some(session) = self.kept_session().cloned() else { return Report::Connected(connected) };
        if std::mem::take(&mut self.stale) {
            return Report::Lost(Lost::Again("ended a session that cannot be resumed".to_owned()));
        }
        if !connected.session_present {
            if !session.establish() {
                return Report::Lost(Lost::Passing("the new session cannot be noted".to_owned()));
            }
        } else if self.beginning != Beginning::Resume {
            self.stale = true;
            let reason = "the broker keeps a session that cannot be resumed";
            return Report::Lost(Lost::Again(reason.to_owned()));
        }
        Report::Connected(connected)
    }

    fn create_client(&mut self) -> paho_mqtt::Result<AsyncClient> {
        if self.keeper.is_none() {
            self.keeper = Some(CreateOptionsBuilder::new().persistence(PersistenceType::None).create_client()?);
        }
        let store = self.kept_session().map(|session| {
            let bell = self.bell();
            let store = session.store(move |news| bell.ring(About::Session(news)));
            PersistenceType::User(Box::new(Box::new(store)))
        });
        let client = CreateOptionsBuilder::new()
            .server_uri(self.address.reveal())
            .client_id(&self.client_id)
            .mqtt_version(version(self.broker.protocol))
            .persistence(store.unwrap_or(PersistenceType::None))
            // The library counts what its sending thread has not taken yet: the window has everything, and one more does no harm.
            .max_buffered_messages(i32::from(self.window) + 1)
            .create_client()?;
        let bell = self.bell();
        client.set_connection_lost_callback(move |_| {
            bell.ring(About::Lost(Lost::Ended("it ended".to_owned())));
        });
        let (bell, address) = (self.bell(), self.address.to_string());
        client.set_disconnected_callback(move |_, properties, reason| {
            bell.ring(About::Lost(ended(reason, &properties, &address)));
        });
        Ok(client)
    }

    fn message(&self, outgoing: Outgoing) -> Message {
        let mut message = MessageBuilder::new()
            .topic(outgoing.topic)
            .payload(outgoing.payload)
            .qos(qos(outgoing.qos))
            .retained(outgoing.retain);
        if self.broker.protocol == Protocol::V5 {
            message = message.properties(properties(outgoing.content_type, outgoing.expiry, &outgoing.user_properties));
        }
        message.finalize()
    }

    /// Rings for the present connection.
    fn bell(&self) -> Bell {
        Bell::new(self.rings.clone(), self.connection)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Taking the last client down waits for the library's threads, for up to a second. The process is about to
        // end, and everything that matters was said to the broker.
        self.client.take().into_iter().chain(self.keeper.take()).for_each(std::mem::forget);
        std::mem::forget(std::mem::take(&mut self.abandoned));
    }
}
