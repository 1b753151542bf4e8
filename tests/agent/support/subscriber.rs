//! A second connection that records what arrives.

use super::{PATIENCE, wait_for};
use paho_mqtt::{
    AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, Message, PersistenceType, Properties, PropertyCode, QoS,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// One message as it arrived.
#[derive(Debug, Clone)]
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

/// Subscribed at QoS 2 with a session that the broker keeps over both sides' restarts.
pub struct Subscriber {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribes to a running broker; the subscription stands when this returns.
    pub fn start(url: &str, filter: &'static str) -> Self {
        let client = CreateOptionsBuilder::new()
            .server_uri(url)
            .client_id(format!("subscriber-{filter}").replace(['/', '#', '+'], "-"))
            .mqtt_version(5)
            .persistence(PersistenceType::None)
            .create_client()
            .unwrap();
        let incoming = client.start_consuming();
        subscribe(&client, filter).expect("the broker runs and admits subscribers");
        let (arrivals, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (record, end) = (Arc::clone(&arrivals), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match incoming.recv_timeout(Duration::from_millis(50)) {
                    Ok(Some(message)) => record.lock().unwrap().push(arrival(&message)),
                    Ok(None) => {
                        while !end.load(Ordering::Relaxed) && subscribe(&client, filter).is_err() {
                            thread::sleep(Duration::from_millis(20));
                        }
                    }
                    Err(_) => {}
                }
            }
        });
        Self { arrivals, ended, thread: Some(thread) }
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
        let all: BTreeSet<u64> = ranges.iter().cloned().flatten().collect();
        let mut looked_at = 0;
        let mut missing = all.clone();
        wait_for(&format!("{} messages arrive", all.len()), PATIENCE, || {
            let arrivals = self.arrivals.lock().unwrap();
            for arrival in &arrivals[looked_at..] {
                missing.remove(&arrival.identity().1);
            }
            looked_at = arrivals.len();
            missing.is_empty().then_some(())
        });
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

fn subscribe(client: &AsyncClient, filter: &str) -> paho_mqtt::Result<()> {
    let mut properties = Properties::new();
    properties.push_u32(PropertyCode::SessionExpiryInterval, 3600)?;
    let options = ConnectOptionsBuilder::new_v5().clean_start(false).properties(properties).finalize();
    client.connect(options).wait_for(Duration::from_secs(5))?;
    client.subscribe(filter, QoS::ExactlyOnce).wait_for(Duration::from_secs(5))?;
    Ok(())
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
