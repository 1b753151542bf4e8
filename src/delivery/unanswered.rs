//! What the broker leaves unanswered although it answers what came later: a message, or the rest of an exchange at QoS 2,
//! that a broker never answers would otherwise be sent over one connection after the other for ever. Pure.
//!
//! A broker that takes something else shows that it is alive, but not that it could have taken this: what belongs to a topic
//! may have to wait for a queue that has lost its majority, while other topics are answered. So a message is to blame only
//! where another one of its own topic was taken after it. An exchange that is confirmed has nothing to wait for.

use super::event::Publish;

/// Over how many connections something must stay unanswered while the broker takes others.
const STRIKES: u32 = 3;

/// What is known of the oldest publish in flight.
#[derive(Debug, Default)]
pub struct Unanswered {
    /// A publish that was the oldest when the broker took a later one, over the present connection; whether one of those
    /// was of its topic.
    passed: Option<(Publish, bool)>,
    /// What stayed unanswered last, and over how many connections.
    strikes: Option<(Publish, u32)>,
}

/// What would have to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// The publish itself.
    ForReceipt,
    /// The rest of an exchange that the broker has confirmed by PUBREC, or a status message: any other answer shows that the
    /// broker could have given this one.
    ForNothingElse,
}

impl Unanswered {
    /// There is a new connection.
    pub fn connected(&mut self) {
        self.passed = None;
    }

    /// The broker has taken something that was sent after `oldest`, which is in flight still.
    pub fn passed(&mut self, oldest: Publish, is_of_its_topic: bool) {
        let before = self.passed.is_some_and(|passed| passed == (oldest, true));
        self.passed = Some((oldest, before || is_of_its_topic));
    }

    /// Whether the broker has taken something over the present connection that was sent after this.
    pub fn is_passed(&self, oldest: Publish) -> bool {
        self.passed.is_some_and(|(passed, _)| passed == oldest)
    }

    /// The connection has ended because this was not answered in time; whether it never will be.
    pub fn ended(&mut self, what: Publish, waits: Waits) -> bool {
        let passed = self.passed.take().filter(|(passed, _)| *passed == what);
        if !passed.is_some_and(|(_, of_its_topic)| of_its_topic || waits == Waits::ForNothingElse) {
            return false;
        }
        let before = self.strikes.filter(|(struck, _)| *struck == what).map_or(0, |(_, times)| times);
        self.strikes = Some((what, before + 1)).filter(|(_, times)| *times < STRIKES);
        self.strikes.is_none()
    }

    /// A publish has reached its end.
    pub fn over(&mut self, what: Publish) {
        self.strikes = self.strikes.filter(|(struck, _)| *struck != what);
    }

    /// Another broker, or the same one with another configuration, may answer what the former one did not.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}
