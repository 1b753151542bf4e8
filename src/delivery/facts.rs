//! What the core knows of the connection, for who asks how the agent fares. Pure; nothing is decided here.

use super::Delivery;
use super::connection::Connection;
use super::event::Publish;
use super::standing::{State, Wait};
use crate::clock::Reading;
use crate::message::{Seq, Stamp};
use std::time::{Duration, Instant};

/// Where the connection stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Waiting,
    Connecting,
    Connected,
    /// It is being ended, and another one follows or the agent stops.
    Closing,
    /// There will be no further attempt.
    Over,
}

/// The connection as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub phase: Phase,
    /// Of the broker that is connected to, or tried next.
    pub address: String,
    /// Since when there is a connection; where there is none, since when there is none.
    pub since: Instant,
    /// Whether the broker had a session of ours; `None`: there is no connection.
    pub session_present: Option<bool>,
    /// How many publishes may be in flight; `None`: there is no connection.
    pub limit: Option<usize>,
    /// How many are.
    pub in_flight: usize,
    /// Attempts that failed since a connection last proved itself.
    pub failures: u32,
    /// When the next attempt is due, and what is waited for; `None`: none is waited for.
    pub next_attempt: Option<(Instant, Wait)>,
    /// The last failure: its words, and when it was noticed.
    pub last_loss: Option<(String, Instant)>,
    /// What the broker refuses altogether, and why.
    pub refused: Option<String>,
}

impl Delivery {
    /// How the connection stands.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            phase: self.connection.phase(),
            address: self.connection.members.present().to_string(),
            since: self.story.since(),
            session_present: self.connection.limit().map(|_| self.connection.accepted.session_present),
            limit: self.connection.limit(),
            in_flight: self.window.in_flight(),
            failures: self.connection.backoff.failures(),
            next_attempt: self.connection.next_attempt(),
            last_loss: self.connection.last_failure.clone(),
            refused: self.refusals.summary(),
        }
    }

    /// How long ago a sample was taken, as far as is known by now.
    #[must_use]
    pub fn waited(&self, taken: Stamp, now: Reading) -> Duration {
        self.times.waited(taken, now)
    }

    /// When the sample of a message of the spool was taken; `None`: it is not in memory.
    #[must_use]
    pub fn sampled_at(&self, seq: Seq) -> Option<Stamp> {
        self.window.get(Publish::Message(seq)).map(|message| message.sample.taken)
    }
}

impl Connection {
    fn phase(&self) -> Phase {
        match self.state {
            State::Waiting { .. } => Phase::Waiting,
            State::Connecting { .. } => Phase::Connecting,
            State::Connected { .. } => Phase::Connected,
            State::Disconnecting { .. } | State::Closing { .. } => Phase::Closing,
            State::Over => Phase::Over,
        }
    }

    fn next_attempt(&self) -> Option<(Instant, Wait)> {
        if let State::Waiting { until, wait } = self.state { Some((until, wait)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Connected, Lost};
    use super::super::{Action, Event, Now, Remains, Times};
    use super::*;
    use crate::config::{self, Limits};
    use std::path::Path;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(at: Instant) -> Now {
        Now { at, clock: Reading { wall: 1_700_000_000_000, boot: 100_000 } }
    }

    /// Does what is due; whether a connection is attempted.
    fn connects(delivery: &mut Delivery, now: Now) -> bool {
        let mut connects = false;
        while let Some(action) = delivery.next_action(now) {
            match action {
                Action::Connect { .. } => connects = true,
                Action::Read => delivery.on(Event::NothingToRead, now),
                Action::Compose => delivery.on(Event::Status(None), now),
                _ => {}
            }
        }
        connects
    }

    #[test]
    fn an_outage_shows_since_when_why_and_when_the_next_attempt_is_due() {
        let config = "device: d\nbroker: {url: \"mqtt://b\"}\nretry: {initial_delay: 40s, jitter: 0}";
        let start = Instant::now();
        let config = config::parse(config, Path::new("c")).unwrap();
        let mut delivery = Delivery::new(config, Times::new(1, Vec::new()), 0, 7, start);
        let lose = |delivery: &mut Delivery, words: &str, now| {
            let why = Lost::Passing(words.to_owned());
            delivery.on(Event::Lost { why, remains: Remains::default() }, now);
            connects(delivery, now)
        };
        assert_eq!((delivery.facts().phase, delivery.facts().last_loss), (Phase::Waiting, None));

        assert!(connects(&mut delivery, at(start)));
        assert_eq!(delivery.facts().phase, Phase::Connecting);
        let connected = Connected { session_present: true, at_qos_2: false, limits: Limits::NONE };
        delivery.on(Event::Connected { connected, backlog: 0 }, at(start + SECOND));
        let facts = delivery.facts();
        assert_eq!((facts.phase, facts.since, facts.session_present), (Phase::Connected, start + SECOND, Some(true)));

        assert!(lose(&mut delivery, "one", at(start + 2 * SECOND)), "the first failure is retried at once");
        lose(&mut delivery, "two", at(start + 3 * SECOND));
        let facts = delivery.facts();

        assert_eq!((facts.phase, facts.since, facts.session_present), (Phase::Waiting, start + 2 * SECOND, None));
        assert_eq!(facts.last_loss, Some(("two".to_owned(), start + 3 * SECOND)));
        assert_eq!(facts.next_attempt, Some((start + 43 * SECOND, Wait::Reach)));
        assert_eq!((facts.failures, facts.limit, facts.address.as_str()), (2, None, "mqtt://b:1883"));
    }
}
