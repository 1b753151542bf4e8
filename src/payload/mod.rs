//! What is published: one description for the publisher and for `packhorse sample`.

mod json;

use crate::azure::Device;
use crate::message::{Format, Message, Qos, Stamp};
use std::time::Duration;

/// The user properties that name a message for ever.
const IDENTITY: [&str; 2] = ["stream", "seq"];

/// A PUBLISH packet in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: String,
    pub qos: Qos,
    pub retain: bool,
    /// MQTT 5 only, like the properties below.
    pub content_type: &'static str,
    /// How long the broker may keep it for subscribers; whole seconds on the wire. `None`: for ever.
    pub expiry: Option<Duration>,
    pub user_properties: Vec<(&'static str, String)>,
    pub payload: Vec<u8>,
    /// Whether the time in it is right.
    pub dated: bool,
}

/// When a sample was taken, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Milliseconds since 1970-01-01 UTC.
    pub wall: i64,
    /// Whether the clock that it is from was right.
    pub certain: bool,
}

impl Time {
    /// What the wall clock said.
    #[must_use]
    pub fn as_taken(taken: Stamp) -> Self {
        Self { wall: taken.wall, certain: taken.synchronised }
    }
}

impl Outgoing {
    /// The same message as a device publishes it to its IoT hub: properties in the topic, for there is no other place for
    /// them in MQTT 3.1.1, and not retained.
    #[must_use]
    pub fn for_iot_hub(self, device: &Device) -> Outgoing {
        let properties = &self.user_properties;
        let identity = properties.iter().filter(|(name, _)| IDENTITY.contains(name));
        let id = identity.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("-");
        let mut bag = vec![("$.mid", id.as_str()), ("$.ct", self.content_type)];
        if self.content_type == json::CONTENT_TYPE {
            bag.push(("$.ce", "utf-8"));
        }
        bag.extend(properties.iter().map(|(name, value)| (*name, value.as_str())));
        Outgoing { topic: device.topic(&bag), retain: false, ..self }
    }
}

/// What is published for a message that was sampled at `time`, which is `waited` ago.
///
/// Its expiry is what is left, rounded up to a whole second, so that a message worth sending never leaves with an
/// expiry of zero. Whether it is worth sending is the caller's to decide.
#[must_use]
pub fn outgoing(message: &Message, time: Time, waited: Duration) -> Outgoing {
    let route = &message.sample.route;
    let (content_type, payload) = match route.format {
        Format::Json => (json::CONTENT_TYPE, json::render(message, time)),
    };
    Outgoing {
        topic: route.topic.clone(),
        qos: route.qos,
        retain: route.retain,
        content_type,
        expiry: route.expiry.map(|expiry| whole_seconds_up(expiry.saturating_sub(waited))),
        user_properties: vec![(IDENTITY[0], message.stream.to_string()), (IDENTITY[1], message.seq.to_string())],
        payload,
        dated: time.certain,
    }
}

fn whole_seconds_up(duration: Duration) -> Duration {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    Duration::from_secs(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::ConnectionString;
    use crate::message::{Route, Sample, Seq, StreamId};
    use std::sync::Arc;

    fn expiry_after(expiry: Option<u64>, waited: Duration) -> Option<Duration> {
        let route = Arc::new(Route {
            device: "gateway-7".to_owned(),
            source: "board".to_owned(),
            topic: "t".to_owned(),
            qos: Qos::AtLeastOnce,
            retain: false,
            format: Format::Json,
            expiry: expiry.map(Duration::from_secs),
        });
        let taken = Stamp { wall: 0, boot: 0, boot_id: 0, synchronised: true };
        let sample = Sample { route, taken, data: b"{}".to_vec() };
        outgoing(&Message { stream: StreamId(1), seq: Seq(1), sample }, Time { wall: 0, certain: true }, waited).expiry
    }

    #[test]
    fn an_iot_hub_finds_the_properties_in_the_topic() {
        let user_properties =
            vec![("stream", "3f9a1c02".to_owned()), ("seq", "7".to_owned()), ("other", "a b".to_owned())];
        let (topic, qos, payload) = ("t".to_owned(), Qos::AtLeastOnce, b"{}".to_vec());
        let content_type = json::CONTENT_TYPE;
        let outgoing =
            Outgoing { topic, qos, retain: true, content_type, expiry: None, user_properties, payload, dated: true };
        let device = "HostName=h;DeviceId=pi-7;x509=true".parse::<ConnectionString>().unwrap().device;

        let changed = outgoing.clone().for_iot_hub(&device);

        let topic = "devices/pi-7/messages/events/%24.mid=3f9a1c02-7&%24.ct=application%2Fjson&%24.ce=utf-8\
                     &stream=3f9a1c02&seq=7&other=a%20b";
        assert_eq!(changed, Outgoing { topic: topic.to_owned(), retain: false, ..outgoing });
    }

    #[test]
    fn the_expiry_is_what_is_left_in_whole_seconds() {
        assert_eq!(expiry_after(None, Duration::from_secs(9)), None);
        assert_eq!(expiry_after(Some(60), Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(expiry_after(Some(60), Duration::from_millis(59_900)), Some(Duration::from_secs(1)));
    }
}
