//! Which size a broker does not take, where it cannot say so: over MQTT 3.1.1 it just ends the connection. Pure.
//!
//! The first message that is set aside for silent ends gives a size, the second one that is at least as large confirms
//! it. From then on messages of that size are set aside at once, topic by topic after the first of each: what is wrong
//! might still be the topic. A message as large that the broker takes proves all of this wrong.

use std::collections::BTreeSet;

/// Topics that are remembered; those beyond are found out message by message.
const TOPICS: usize = 256;

/// What is known of one broker.
#[derive(Debug, Default)]
pub struct Sizes {
    /// The largest packet that it has accepted, in bytes.
    accepted: usize,
    /// The smallest packet, larger than those, over which connections have ended.
    rejected: Option<usize>,
    /// Whether a second one has confirmed that.
    confirmed: bool,
    /// The topics of such messages.
    topics: BTreeSet<String>,
}

impl Sizes {
    /// The broker has accepted a packet of this size.
    pub fn accepted(&mut self, size: usize) {
        if size <= self.accepted {
            return;
        }
        self.accepted = size;
        if self.rejected.is_some_and(|rejected| rejected <= size) {
            *self = Self { accepted: size, ..Self::default() };
        }
    }

    /// Connections have ended over a packet of this size and topic, and the broker takes others.
    pub fn rejected(&mut self, size: usize, topic: &str) {
        // Something was accepted that is as large: the size is not what is wrong.
        if size <= self.accepted {
            return;
        }
        self.confirmed |= self.rejected.is_some_and(|rejected| size >= rejected);
        self.rejected = Some(self.rejected.map_or(size, |rejected| rejected.min(size)));
        if self.topics.len() < TOPICS {
            self.topics.insert(topic.to_owned());
        }
    }

    /// Whether connections may well end over a packet of this size.
    pub fn is_suspicious(&self, size: usize) -> bool {
        self.rejected.is_some_and(|rejected| size >= rejected)
    }

    /// The size from which on packets of this topic are not taken, if this one is such a packet.
    pub fn exceeded(&self, size: usize, topic: &str) -> Option<usize> {
        self.rejected.filter(|rejected| size >= *rejected && self.confirmed && self.topics.contains(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_known_after_one_confirmation_for_each_topic_that_has_shown_it() {
        let mut sizes = Sizes::default();
        sizes.accepted(200);

        sizes.rejected(2000, "camera");
        assert_eq!((sizes.is_suspicious(2000), sizes.exceeded(2000, "camera")), (true, None));
        sizes.rejected(2100, "camera");

        assert_eq!(sizes.exceeded(3000, "camera"), Some(2000));
        assert_eq!(sizes.exceeded(1999, "camera"), None);
        assert_eq!(sizes.exceeded(3000, "other"), None);
    }

    #[test]
    fn a_larger_message_that_is_taken_proves_it_wrong() {
        let mut sizes = Sizes::default();
        sizes.rejected(2000, "camera");
        sizes.rejected(2100, "camera");

        sizes.accepted(2000);

        assert!(!sizes.is_suspicious(3000));
        sizes.rejected(1000, "poison");
        assert!(!sizes.is_suspicious(1000), "it has taken larger ones");
    }
}
