//! `packhorse retry`: what the running agent waits for is tried at once.

use super::Failure;
use super::agents::Target;
use crate::control::Request;
use crate::report::{Connection, State};
use std::path::Path;

/// Asks the agent not to wait, and prints what it waited for.
///
/// # Errors
/// As [`Target::ask`].
pub fn run(config: Option<&Path>) -> Result<(), Failure> {
    let report = Target::of(config)?.ask(Request::Retry)?.report;
    super::print(&format!("{}\n", outcome(report.connection.as_ref())))
}

/// What became of the wait.
fn outcome(connection: Option<&Connection>) -> String {
    let Some(connection) = connection else {
        return "asked; the agent is busy, and tries once it comes to it".to_owned();
    };
    let address = &connection.address;
    match (connection.state, connection.next_attempt_seconds) {
        (State::Waiting | State::Refused, Some(seconds)) => {
            format!("connecting to {address} now; it would have waited for another {seconds:.0} s")
        }
        (State::Waiting | State::Refused, None) => format!("connecting to {address} now"),
        (State::Connecting, _) => format!("an attempt to connect to {address} is under way"),
        (State::Connected, _) if connection.refused.is_some() => {
            format!("connected to {address}; what it refuses is tried again now")
        }
        (State::Connected, _) => format!("connected to {address}; there is no wait to end"),
        (State::Closing, _) => format!("the connection to {address} is being replaced"),
        (State::Over, _) => "the agent makes no further attempts: it is about to end".to_owned(),
    }
}
