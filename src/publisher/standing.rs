//! Where the connection to the broker stands.

use crate::network::{Network, Target};
use std::path::Path;
use std::time::{Duration, Instant};

/// Where the connection stands.
#[derive(Debug)]
pub enum State {
    /// Waiting for the next attempt, or for the network to come back.
    Waiting {
        until: Instant,
        network: Network,
    },
    Connecting {
        deadline: Instant,
        /// Of the connection that may come about.
        stay: Stay,
    },
    Connected {
        /// How many publishes may be in flight.
        limit: usize,
        /// From here on, an acknowledged message proves the connection.
        lasting: Instant,
        proof: Proof,
        stay: Stay,
    },
    /// The connection is being ended as planned, for another one.
    Reconnecting {
        /// When it counts as ended, whatever the library says.
        deadline: Instant,
    },
    Disconnecting,
    /// No further attempts.
    Over,
}

/// How long a connection is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until something goes wrong.
    Unbounded,
    /// Until then; a planned reconnect follows.
    Until(Instant),
    /// No more: nothing new is published, and what is in flight is waited for.
    Over,
}

/// Whether a connection has shown that it carries messages. Until then its loss counts as a failed attempt, so a
/// broker that accepts and drops cannot make the agent spin.
#[derive(Debug, PartialEq, Eq)]
pub enum Proof {
    /// Given when nothing has gone wrong until then.
    By(Instant),
    Given,
}

impl State {
    /// Waiting for an attempt that is due after `delay`, or for a route to one of the targets.
    pub fn waiting(delay: Duration, targets: &[Target]) -> Self {
        let now = Instant::now();
        State::Waiting { until: now + delay, network: Network::new(Path::new("/"), now, targets.to_vec()) }
    }

    /// How many publishes may be in flight; `None`: not connected.
    pub fn limit(&self) -> Option<usize> {
        match *self {
            State::Connected { stay: Stay::Over, .. } => Some(0),
            State::Connected { limit, .. } => Some(limit),
            State::Waiting { .. }
            | State::Connecting { .. }
            | State::Reconnecting { .. }
            | State::Disconnecting
            | State::Over => None,
        }
    }

    /// When time asks for something.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            State::Waiting { until, network } => Some(network.next_look().min(*until)),
            State::Connecting { deadline, .. } | State::Reconnecting { deadline } => Some(*deadline),
            State::Connected { proof, stay, .. } => {
                let proof = if let Proof::By(at) = proof { Some(*at) } else { None };
                let stay = if let Stay::Until(at) = stay { Some(*at) } else { None };
                proof.into_iter().chain(stay).min()
            }
            State::Disconnecting | State::Over => None,
        }
    }

    /// From when on the present connection has lasted for a while.
    pub fn lasting(&self) -> Option<Instant> {
        match *self {
            State::Connected { lasting, .. } => Some(lasting),
            State::Waiting { .. }
            | State::Connecting { .. }
            | State::Reconnecting { .. }
            | State::Disconnecting
            | State::Over => None,
        }
    }
}
