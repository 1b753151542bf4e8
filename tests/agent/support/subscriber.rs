//! A second connection that records what arrives.

use super::{PATIENCE, wait_for};
use paho_mqtt::{
    AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, MQTT_VERSION_3_1_1, MQTT_VERSION_5, Message,
    PersistenceType, Properties, PropertyCode, QoS,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// One message as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    pub topic: String,
    pub qos: u8,
    pub retained: bool,
    pub payload: Value,
    pub content_type: Option<String>,
    pub expiry: Option<u32>,
    pub user_properties: Vec<(String, String)>,
}

impl Arrival {
    /// The stream and the seq that the payload names.
    pub fn identity(&self) -> (String, u64) {
        (self.payload["stream"].as_str().unwrap().to_owned(), self.payload["seq"].as_u64().unwrap())
    }
}

/// Subscribed with a session that the broker keeps over both sides' restarts.
pub struct Subscriber {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    ended: Arc<AtomicBool>,
    absent: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribes to a running broker at QoS 2; the subscription stands when this returns.
    pub fn start(url: &str, filter: &'static str) -> Self {
        Self::with(&[url.to_owned()], MQTT_VERSION_5, filter)
    }

    /// Subscribes at QoS 1 over MQTT 3.1.1 to one of these brokers, which share their sessions; to another one when it
    /// has gone.
    pub fn over_mqtt_3_1_1(urls: &[String], filter: &'static str) -> Self {
        Self::with(urls, MQTT_VERSION_3_1_1, filter)
    }

    fn with(urls: &[String], version: u32, filter: &'static str) -> Self {
        // What a connection has received when it ends may come after its end; so all write into one channel.
        let (sender, incoming) = channel();
        let connections: Vec<_> = urls.iter().map(|url| Connection::new(url, version, filter, &sender)).collect();
        let subscribe = || connections.iter().position(|connection| connection.subscribe(filter).is_ok());
        let mut current = wait_for("a broker admits the subscriber", PATIENCE, subscribe);
        let mut subscriber =
            Self { arrivals: Arc::default(), ended: Arc::default(), absent: Arc::default(), thread: None };
        let record = Arc::clone(&subscriber.arrivals);
        let (ended, absent) = (Arc::clone(&subscriber.ended), Arc::clone(&subscriber.absent));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let connection = &connections[current];
                match (absent.load(Ordering::Relaxed), connection.client.is_connected()) {
                    (true, true) => connection.leave(),
                    (false, false) if connection.subscribe(filter).is_err() => {
                        current = (current + 1) % connections.len();
                    }
                    _ => {}
                }
                let patience = Duration::from_millis(20);
                incoming.recv_timeout(patience).into_iter().chain(incoming.try_iter()).for_each(|message| {
                    record.lock().unwrap().push(arrival(&message));
                });
            }
        });
        subscriber.thread = Some(thread);
        subscriber
    }

    /// Disconnects soon: the broker keeps what comes, until [`return_soon`](Self::return_soon).
    pub fn leave_soon(&self) {
        self.absent.store(true, Ordering::Relaxed);
    }

    pub fn return_soon(&self) {
        self.absent.store(false, Ordering::Relaxed);
    }

    /// Everything that arrived, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    /// Waits until what arrived satisfies a condition.
    pub fn wait_until(&self, what: &str, holds: impl Fn(&[Arrival]) -> bool) {
        wait_for(what, PATIENCE, || holds(&self.arrivals.lock().unwrap()).then_some(()));
    }

    /// Waits until every message of these ranges has arrived.
    pub fn wait_for_all(&self, ranges: &[RangeInclusive<u64>]) {
        wait_for_all(ranges, |known| self.arrivals.lock().unwrap()[known..].to_vec());
    }

    /// Waits until at least this many messages arrived.
    pub fn wait_for_count(&self, count: usize) {
        self.wait_until(&format!("{count} messages arrive"), |arrivals| arrivals.len() >= count);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until every message of these ranges is among what has arrived; `more` gives that, without the first so many.
pub fn wait_for_all(ranges: &[RangeInclusive<u64>], mut more: impl FnMut(usize) -> Vec<Arrival>) {
    let all: BTreeSet<u64> = ranges.iter().cloned().flatten().collect();
    let (mut missing, mut known, mut newest) = (all.clone(), 0, 0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        for arrival in more(known) {
            newest = arrival.identity().1;
            missing.remove(&newest);
            known += 1;
        }
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else { return };
        let (count, of) = (missing.len(), all.len());
        assert!(Instant::now() < deadline, "{count} of {of} are missing: {first} to {last}; {newest} came last");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A client of one broker.
struct Connection {
    client: AsyncClient,
    version: u32,
}

impl Connection {
    fn new(url: &str, version: u32, filter: &str, messages: &Sender<Message>) -> Self {
        let client = CreateOptionsBuilder::new()
            .server_uri(url)
            .client_id(format!("subscriber-{filter}").replace(['/', '#', '+'], "-"))
            .mqtt_version(version)
            .persistence(PersistenceType::None)
            .create_client()
            .unwrap();
        let messages = messages.clone();
        client.set_message_callback(move |_, message| {
            // The subscriber may have ended.
            message.into_iter().for_each(|message| drop(messages.send(message)));
        });
        Self { client, version }
    }

    fn subscribe(&self, filter: &str) -> paho_mqtt::Result<()> {
        let mut options = ConnectOptionsBuilder::with_mqtt_version(self.version);
        options.connect_timeout(Duration::from_secs(5));
        let qos = if self.version == MQTT_VERSION_5 {
            let mut properties = Properties::new();
            properties.push_u32(PropertyCode::SessionExpiryInterval, 3600)?;
            options.clean_start(false).properties(properties);
            QoS::ExactlyOnce
        } else {
            options.clean_session(false);
            QoS::AtLeastOnce
        };
        self.client.connect(options.finalize()).wait_for(Duration::from_secs(15))?;
        self.client.subscribe(filter, qos).wait_for(Duration::from_secs(10)).map(drop).inspect_err(|_| self.leave())
    }

    /// Ends the connection in order, or fails when there is none.
    fn leave(&self) {
        let _ = self.client.disconnect(None).wait_for(Duration::from_secs(10));
    }
}

fn arrival(message: &Message) -> Arrival {
    let properties = message.properties();
    Arrival {
        topic: message.topic().to_owned(),
        qos: message.qos() as u8,
        retained: message.retained(),
        payload: serde_json::from_slice(message.payload()).expect("payloads are JSON"),
        content_type: properties.get_string(PropertyCode::ContentType),
        expiry: properties.get_val(PropertyCode::MessageExpiryInterval),
        user_properties: properties.user_iter().collect(),
    }
}
