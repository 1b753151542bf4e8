//! Notices what two devices with the same client id look like: connections that carry messages, and that the other side ends
//! again and again after a short while. Many brokers do not say why. Pure.

use super::event::Lost;
use std::time::{Duration, Instant};

/// A connection is short that ends within this. Two clients that push each other out do so at the latest when the other one's
/// back-off is over, which begins with seconds.
const SHORT: Duration = Duration::from_secs(60);

/// So many short connections in a row are no accident.
const MANY: u32 = 3;

/// The short connections in a row.
#[derive(Debug, Default)]
pub struct Rivals {
    row: u32,
    /// When the present connection began.
    since: Option<Instant>,
    /// What the broker has taken over it.
    taken: Taken,
}

/// What the broker has taken over a connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Taken {
    #[default]
    Nothing,
    /// The status message, which is all that is acknowledged where messages are published at QoS 0.
    Status,
    Messages,
}

impl Rivals {
    /// The broker has accepted a connection.
    pub fn connected(&mut self, now: Instant) {
        (self.since, self.taken) = (Some(now), Taken::Nothing);
    }

    /// The broker has taken a message over the present connection.
    pub fn carries(&mut self) {
        self.taken = Taken::Messages;
    }

    /// The broker has taken the status message over the present connection.
    pub fn carries_status(&mut self) {
        if self.taken == Taken::Nothing {
            self.taken = Taken::Status;
        }
    }

    /// Something is not answered that the present connection may have ended over: that the status message was taken says
    /// nothing.
    pub fn may_be_over_a_message(&mut self) {
        if self.taken == Taken::Status {
            self.taken = Taken::Nothing;
        }
    }

    /// The connection has ended, or none came about; what to look at, where it looks like it.
    pub fn lost(&mut self, lost: &Lost, now: Instant, client_id: &str) -> Option<String> {
        // An attempt that fails says nothing: the broker may be away for another reason.
        let since = self.since.take()?;
        let is_short = matches!(lost, Lost::Ended(_)) && self.taken != Taken::Nothing && now < since + SHORT;
        self.row = if is_short { self.row.saturating_add(1) } else { 0 };
        (self.row >= MANY).then(|| {
            format!(
                "; it ends soon after messages were taken, again and again, as when another device has the same client id \
                 (`broker.client_id` is `{client_id}`)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Fault;

    const SECOND: Duration = Duration::from_secs(1);

    /// Whether the last of these connections gives a hint: how long each lasted, whether it carried anything, and how it ended.
    fn hints(connections: &[(Duration, bool, Lost)]) -> bool {
        let (mut rivals, mut now, mut hint) = (Rivals::default(), Instant::now(), None);
        for (lasted, carried, lost) in connections {
            rivals.connected(now);
            if *carried {
                rivals.carries();
            }
            now += *lasted;
            hint = rivals.lost(lost, now, "gateway-7");
        }
        hint.is_some_and(|hint| hint.contains("`broker.client_id` is `gateway-7`"))
    }

    #[test]
    fn three_short_connections_that_carried_messages_give_the_hint_and_nothing_less() {
        let ended = || Lost::Ended("x".to_owned());
        let short = || (SECOND, true, ended());

        assert!(hints(&[short(), short(), short()]));
        assert!(!hints(&[short(), short()]));
        assert!(!hints(&[short(), (SHORT, true, ended()), short(), short()]));
        assert!(!hints(&[short(), (SECOND, false, ended()), short(), short()]));
        assert!(!hints(&[short(), (SECOND, true, Lost::Blamed(Fault::Other, "x".to_owned())), short(), short()]));
    }

    #[test]
    fn a_status_message_counts_unless_something_else_waits_for_an_answer() {
        let hints = |is_over_a_message: bool, takes_messages: bool| {
            let (mut rivals, now) = (Rivals::default(), Instant::now());
            let hint = |_| {
                rivals.connected(now);
                if takes_messages {
                    rivals.carries();
                }
                rivals.carries_status();
                if is_over_a_message {
                    rivals.may_be_over_a_message();
                }
                rivals.lost(&Lost::Ended("x".to_owned()), now + SECOND, "c")
            };
            (0..3).filter_map(hint).count()
        };

        assert_eq!([hints(false, false), hints(true, false), hints(false, true), hints(true, true)], [1, 0, 1, 1]);
    }

    #[test]
    fn an_attempt_that_fails_in_between_changes_nothing() {
        let (mut rivals, now) = (Rivals::default(), Instant::now());
        let mut lost = || {
            rivals.connected(now);
            rivals.carries();
            let hint = rivals.lost(&Lost::Ended("x".to_owned()), now + SECOND, "c");
            assert_eq!(rivals.lost(&Lost::Passing("refused".to_owned()), now + SECOND, "c"), None);
            hint
        };

        assert_eq!((lost(), lost()), (None, None));
        assert!(lost().is_some());
    }
}
