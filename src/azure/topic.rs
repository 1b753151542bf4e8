//! The topic of a device's messages. MQTT 3.1.1 has no properties, so the hub takes them from the end of the topic.

use super::{Device, encode};

/// Properties of a message, in the order in which they stand in the topic.
///
/// The names of the hub's own properties begin with `$.`: `$.mid` is the message's id, `$.ct` its content type and
/// `$.ce` the encoding of its text. Any other name is the application's.
pub type Bag<'a> = [(&'a str, &'a str)];

impl Device {
    /// The topic of a message with these properties.
    #[must_use]
    pub fn topic(&self, properties: &Bag<'_>) -> String {
        let pairs: Vec<String> =
            properties.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        format!("devices/{}/messages/events/{}", encode(&self.id), pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::decode;
    use super::super::{Credential, Device};
    use proptest::prelude::*;

    fn device(id: &str) -> Device {
        Device { hub: "h".to_owned(), gateway: None, id: id.to_owned(), credential: Credential::Token }
    }

    #[test]
    fn properties_stand_at_the_end_of_the_topic() {
        let bag = [("$.mid", "3f9a1c02-1234"), ("$.ct", "application/json"), ("$.ce", "utf-8"), ("seq", "1234")];

        let topic = device("pi-7").topic(&bag);

        // As urllib.parse.urlencode(..., quote_via=quote, safe="") of Python 3 writes them, as does Microsoft's SDK.
        let expected = "devices/pi-7/messages/events/\
                        %24.mid=3f9a1c02-1234&%24.ct=application%2Fjson&%24.ce=utf-8&seq=1234";
        assert_eq!(topic, expected);
        assert_eq!(device("pi-7").topic(&[]), "devices/pi-7/messages/events/");
    }

    proptest! {
        #[test]
        fn the_topic_can_be_published_to_and_taken_apart_again(
            id in "[a-zA-Z0-9:.+%_#*?!(),=@$'-]{1,128}", bag in proptest::collection::vec((".{1,20}", ".{0,20}"), 0..6),
        ) {
            let properties: Vec<(&str, &str)> = bag.iter().map(|(name, value)| (&name[..], &value[..])).collect();

            let topic = device(&id).topic(&properties);

            prop_assert!(!topic.contains(['+', '#', '\0']), "{}", topic);
            let levels: Vec<&str> = topic.split('/').collect();
            let ["devices", found, "messages", "events", end] = levels[..] else { panic!("{topic}") };
            prop_assert_eq!(decode(found), id);
            let pairs = end.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap());
            let read: Vec<_> = pairs.map(|(name, value)| (decode(name), decode(value))).collect();
            prop_assert_eq!(read, bag);
        }
    }
}
