//! Which size a broker does not take, where it cannot say so: over MQTT 3.1.1 it just ends the connection. Pure.
//!
//! The first message that is set aside for silent ends, or for ends that only say "too large" (0x95), gives a size, the second
//! one that is at least as large confirms it. From then on messages of that size are set aside at once, topic by topic after
//! the first of each: what is wrong might still be the topic. A packet as large that the broker takes, the status message too,
//! proves all of this wrong.
//!
//! It is a guess: a broker that closed over its access list may look like this, and take everything again later. So one
//! message is tried now and then, at the price of a connection.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Topics that are remembered; those beyond are found out message by message.
const TOPICS: usize = 256;

/// How long after connections have ended over a message the next one is tried, at first and at most: the time doubles with each
/// such message, the one that confirms the guess among them. So where it was a passing trouble of the broker's, messages are set
/// aside for about as long again as it has lasted.
const TRY_AGAIN: Duration = Duration::from_secs(5);
const TRY_AGAIN_LATEST: Duration = Duration::from_secs(3600);

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
    /// When one message is tried, and how long that was waited for.
    trial: Option<(Instant, Duration)>,
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
    pub fn rejected(&mut self, size: usize, topic: &str, now: Instant) {
        // Something was accepted that is as large: the size is not what is wrong.
        if size <= self.accepted {
            return;
        }
        self.confirmed |= self.rejected.is_some_and(|rejected| size >= rejected);
        self.rejected = Some(self.rejected.map_or(size, |rejected| rejected.min(size)));
        if self.topics.len() < TOPICS {
            self.topics.insert(topic.to_owned());
        }
        let wait = self.trial.map_or(TRY_AGAIN, |(_, waited)| (waited * 2).min(TRY_AGAIN_LATEST));
        self.trial = Some((now + wait, wait));
    }

    /// Whether connections may well end over a packet of this size.
    pub fn is_suspicious(&self, size: usize) -> bool {
        self.rejected.is_some_and(|rejected| size >= rejected)
    }

    /// The size from which on packets of this topic are not taken, if this one is such a packet and is not to be tried.
    pub fn exceeded(&self, size: usize, topic: &str, now: Instant) -> Option<usize> {
        let is_trial = self.trial.is_some_and(|(at, _)| now >= at);
        let is_known = self.confirmed && !is_trial && self.topics.contains(topic);
        self.rejected.filter(|rejected| size >= *rejected && is_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_known_after_one_confirmation_for_each_topic_that_has_shown_it() {
        let (mut sizes, now) = (Sizes::default(), Instant::now());
        sizes.accepted(200);

        sizes.rejected(2000, "camera", now);
        assert_eq!((sizes.is_suspicious(2000), sizes.exceeded(2000, "camera", now)), (true, None));
        sizes.rejected(2100, "camera", now);

        assert_eq!(sizes.exceeded(3000, "camera", now), Some(2000));
        assert_eq!(sizes.exceeded(1999, "camera", now), None);
        assert_eq!(sizes.exceeded(3000, "other", now), None);
    }

    #[test]
    fn one_message_is_tried_now_and_then_and_ever_more_rarely() {
        let (mut sizes, mut now) = (Sizes::default(), Instant::now());
        sizes.rejected(2000, "camera", now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            sizes.rejected(2000, "camera", now);
            assert_eq!(sizes.exceeded(3000, "camera", now), Some(2000));
            let wait = (1..).find(|wait| sizes.exceeded(3000, "camera", now + Duration::from_secs(*wait)).is_none());
            waits.extend(wait);
            now += Duration::from_secs(3600);
        }

        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280]);
    }

    #[test]
    fn a_larger_message_that_is_taken_proves_it_wrong() {
        let (mut sizes, now) = (Sizes::default(), Instant::now());
        sizes.rejected(2000, "camera", now);
        sizes.rejected(2100, "camera", now);

        sizes.accepted(2000);

        assert!(!sizes.is_suspicious(3000));
        sizes.rejected(1000, "poison", now);
        assert!(!sizes.is_suspicious(1000), "it has taken larger ones");
    }
}
