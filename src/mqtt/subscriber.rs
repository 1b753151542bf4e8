//! A second connection, which receives what is published: `packhorse verify` judges by it.
//!
//! It keeps one client, whose session the broker keeps over lost connections, so that nothing is missed and nothing is taken
//! twice at QoS 2. Every call waits for the broker, for at most `broker.connect_timeout`.

use super::abandoned;
use super::dial::{self, Dialer};
use super::failure::{self, Place};
use super::options::{Attempt, options};
use super::session::Beginning;
use super::translate::{connected, qos, refusal, version};
use crate::config::{Address, Broker, BrokerProfile};
use crate::delivery::Lost;
use crate::foreign;
use crate::message::Qos;
use crossbeam_channel::{Receiver, Sender, unbounded};
use paho_mqtt::{AsyncClient, CreateOptionsBuilder, MessageBuilder, PersistenceType};
use std::time::{Duration, Instant};

/// Messages that the library may hold of ours: the test of the way, and no more.
const WINDOW: u16 = 8;
/// From this code on a SUBACK is a refusal (MQTT 3.1.1, section 3.9.3; MQTT 5, section 3.9.3).
const REFUSED: i32 = 0x80;
/// How long the end of a connection is waited for.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the connection brings.
pub enum Heard {
    Message(Arrival),
    /// The connection is lost: [`Subscriber::reconnect`] brings it back.
    Lost,
}

/// A message that has come.
pub struct Arrival {
    pub at: Instant,
    message: paho_mqtt::Message,
}

impl Arrival {
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.message.payload()
    }

    /// Whether the broker says that it has sent it before (DUP). The library's crate shows that in no other way.
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        let shown = format!("{:?}", self.message);
        shown.split_once("dup: ").is_some_and(|(_, dup)| dup.starts_with('1'))
    }
}

/// What a new connection has found at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Session,
    /// The broker has forgotten the session, and what it kept for it.
    Nothing,
}

/// The connection.
pub struct Subscriber {
    broker: Broker,
    address: Address,
    client_id: String,
    topic: String,
    qos: Qos,
    client: AsyncClient,
    dialer: Dialer,
    heard: Receiver<Heard>,
}

impl Subscriber {
    /// Connects to the first of the broker's addresses that takes the connection, and subscribes.
    ///
    /// # Errors
    /// [`Lost`]: what the last of the addresses had to say, or why the subscription was refused.
    pub fn start(broker: &Broker, client_id: &str, topic: &str, qos: Qos) -> Result<Self, Lost> {
        let mut reached = Err(Lost::Passing("no address".to_owned()));
        for address in &broker.addresses {
            let mut receiver = Self::new(broker.clone(), address, client_id, topic, qos)?;
            reached = receiver.connect(Beginning::New).map(|_| receiver);
            if reached.is_ok() {
                break;
            }
        }
        let receiver = reached?;
        receiver.subscribe()?;
        Ok(receiver)
    }

    fn new(broker: Broker, address: &Address, client_id: &str, topic: &str, qos: Qos) -> Result<Self, Lost> {
        let client = client(&broker, address, client_id)?;
        let (tell, heard) = unbounded();
        listen(&client, &tell);
        let (client_id, topic, address) = (client_id.to_owned(), topic.to_owned(), address.clone());
        Ok(Self { broker, address, client_id, topic, qos, client, dialer: Dialer::default(), heard })
    }

    /// What comes over the connection, over all of its connections.
    pub fn heard(&self) -> &Receiver<Heard> {
        &self.heard
    }

    /// Connects again after a loss.
    ///
    /// # Errors
    /// [`Lost`]: not yet.
    pub fn reconnect(&mut self) -> Result<Found, Lost> {
        let found = self.connect(Beginning::Resume)?;
        if found == Found::Nothing {
            self.subscribe()?;
        }
        Ok(found)
    }

    fn connect(&mut self, beginning: Beginning) -> Result<Found, Lost> {
        let Self { broker, address, client_id, client, dialer, .. } = self;
        connect(client, dialer, (broker, address, client_id), beginning)
    }

    fn subscribe(&self) -> Result<(), Lost> {
        let refused =
            |why: String| Lost::Refused(format!("the broker refuses the subscription to `{}`: {why}", self.topic));
        let token = self.client.subscribe(self.topic.as_str(), qos(self.qos));
        match token.wait_for(self.broker.connect_timeout) {
            Ok(response) => match response.subscribe_response() {
                Some(code) if code >= REFUSED => Err(refused(format!("code {code:#04x}"))),
                _ => Ok(()),
            },
            Err(error) => Err(refused(foreign::shown(&error.to_string()))),
        }
    }

    /// Publishes something to the topic itself, for a test of the way.
    ///
    /// # Errors
    /// [`Lost`]: the broker does not take it.
    pub fn publish(&self, payload: &[u8]) -> Result<(), Lost> {
        let message = MessageBuilder::new().topic(&self.topic).payload(payload).qos(qos(self.qos)).finalize();
        let delivery = self.client.publish(message).wait_for(self.broker.connect_timeout);
        delivery.map_err(|error| {
            let why = foreign::shown(&error.to_string());
            Lost::Refused(format!("the broker does not take a message for `{}`: {why}", self.topic))
        })
    }

    /// Ends the connection, and the sessions that the broker keeps of this and of these other client ids.
    pub fn end(mut self, others: &[&str]) {
        // Whoever does not answer now forgets the sessions when they expire.
        let _ = self.client.unsubscribe(self.topic.as_str()).wait_for(GOODBYE);
        let _ = self.client.disconnect(None).wait_for(GOODBYE);
        let ids: Vec<String> = others.iter().map(|id| (*id).to_owned()).chain([self.client_id.clone()]).collect();
        for id in ids {
            let Ok(client) = client(&self.broker, &self.address, &id) else { continue };
            if connect(&client, &mut self.dialer, (&self.broker, &self.address, &id), Beginning::Without).is_ok() {
                let _ = client.disconnect(None).wait_for(GOODBYE);
            }
            abandoned::free(client);
        }
    }
}

fn client(broker: &Broker, address: &Address, client_id: &str) -> Result<AsyncClient, Lost> {
    CreateOptionsBuilder::new()
        .server_uri(address.reveal())
        .client_id(client_id)
        .mqtt_version(version(broker.protocol))
        .persistence(PersistenceType::None)
        .create_client()
        .map_err(|error| Lost::Passing(format!("no MQTT client: {}", foreign::shown(&error.to_string()))))
}

/// Hands on what comes. Nobody listens any more at the end.
fn listen(client: &AsyncClient, tell: &Sender<Heard>) {
    let arrived = tell.clone();
    client.set_message_callback(move |_, message| {
        let arrival = message.map(|message| Heard::Message(Arrival { at: Instant::now(), message }));
        arrival.into_iter().for_each(|arrival| drop(arrived.send(arrival)));
    });
    let lost = tell.clone();
    client.set_connection_lost_callback(move |_| drop(lost.send(Heard::Lost)));
    let ended = tell.clone();
    client.set_disconnected_callback(move |_, _, _| drop(ended.send(Heard::Lost)));
}

fn connect(
    client: &AsyncClient,
    dialer: &mut Dialer,
    (broker, address, client_id): (&Broker, &Address, &str),
    beginning: Beginning,
) -> Result<Found, Lost> {
    let profile = BrokerProfile::of(broker, address);
    let attempt = Attempt { address, beginning, stale: false, window: WINDOW, will: None };
    let options = options(broker, &profile, attempt)
        .map_err(|why| Lost::Unusable(format!("no connection to {address}: {why}")))?;
    failure::forget();
    let deadline = Instant::now() + broker.connect_timeout;
    let outcome = dial::begin(dialer, broker, address, || ()).wait();
    let (socket, peer) = match outcome {
        Some(Ok(reached)) => reached,
        Some(Err(unreached)) => return Err(Lost::Passing(format!("cannot reach {address}: {unreached}"))),
        None => return Err(Lost::Passing(format!("cannot reach {address}: dialing did not end"))),
    };
    let remaining = deadline.saturating_duration_since(Instant::now());
    paho_mqtt_sys::attempt::give(socket, remaining);
    let place = Place { address, peer: Some(peer).filter(|_| broker.proxy.is_none()) };
    match client.connect(options).wait() {
        Ok(response) if connected(&response).session_present => Ok(Found::Session),
        Ok(_) => Ok(Found::Nothing),
        Err(error) => {
            let below = failure::of_connect(broker, &place);
            Err(below.unwrap_or_else(|| refusal(&error, &place, broker, client_id)))
        }
    }
}
