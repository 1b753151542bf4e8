//! Where the connection to the broker stands. Pure.

use std::time::Instant;

/// Where the connection stands.
#[derive(Debug)]
pub enum State {
    /// Waiting for the next attempt, or for what it waits for to come sooner.
    Waiting { until: Instant, wait: Wait },
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
    /// The connection is being ended in order.
    Disconnecting {
        /// When it counts as ended, whatever the library says.
        deadline: Instant,
    },
    /// The shell was asked to close the connection, which may have proved itself.
    Closing { held: bool },
    /// No further attempts.
    Over,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// That the broker can be reached.
    Reach,
    /// That the brokers do not refuse us any more.
    Acceptance,
}

/// Whether there is a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// No attempt to connect has ended yet.
    Unknown,
    Away,
    /// The broker's place in the configuration.
    Connected(usize),
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
    /// How many publishes may be in flight; `None`: not connected.
    pub fn limit(&self) -> Option<usize> {
        match *self {
            State::Connected { stay: Stay::Over, .. } => Some(0),
            State::Connected { limit, .. } => Some(limit),
            State::Waiting { .. }
            | State::Connecting { .. }
            | State::Disconnecting { .. }
            | State::Closing { .. }
            | State::Over => None,
        }
    }

    /// When time asks for something.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            State::Waiting { until, wait: _ } => Some(*until),
            State::Connecting { deadline, .. } | State::Disconnecting { deadline } => Some(*deadline),
            State::Connected { proof, stay, .. } => {
                let proof = if let Proof::By(at) = proof { Some(*at) } else { None };
                let stay = if let Stay::Until(at) = stay { Some(*at) } else { None };
                proof.into_iter().chain(stay).min()
            }
            State::Closing { .. } | State::Over => None,
        }
    }

    /// Whether the connection has proved itself.
    pub fn has_held(&self) -> bool {
        matches!(self, State::Connected { proof: Proof::Given, .. } | State::Closing { held: true })
    }

    /// From when on the present connection has lasted for a while.
    pub fn lasting(&self) -> Option<Instant> {
        if let State::Connected { lasting, .. } = *self { Some(lasting) } else { None }
    }
}
