//! What all connections of a configuration have in common, and the sessions at the brokers that go with it.

use crate::config::{BrokerProfile, Config, Sessions};
use crate::message::StreamId;
use crate::mqtt::Session;
use crate::mqtt::{Link, Terms, session_name};
use crate::payload::Outgoing;
use crate::spool::Spool;
use log::warn;
use std::io;

/// The name of our session at the broker.
fn client_id(config: &Config, stream: StreamId) -> String {
    config.broker.client_id.replace("{stream}", &stream.to_string())
}

/// The names of our sessions at the brokers, and what all connections have in common. `former`: the names and the session of
/// the former ones, which goes on where it is the same.
pub fn terms(
    config: &Config,
    spool: &Spool,
    will: Option<Outgoing>,
    boot_id: u32,
    former: Option<(&[u32], &Session)>,
) -> (Vec<u32>, Terms) {
    let client_id = client_id(config, spool.stream());
    let name = |address| session_name(&config.broker, &client_id, address);
    let sessions: Vec<u32> = config.broker.addresses.iter().map(name).collect();
    let session = match former {
        Some((names, former)) if names == sessions => Some(former.clone()),
        _ => {
            former.into_iter().for_each(|(_, former)| former.forget_invalid());
            session(config, &sessions, spool, boot_id).unwrap_or_else(|error| {
                warn!("messages in flight cannot be noted; QoS 2 may repeat some after a reconnect error={error}");
                None
            })
        }
    };
    (sessions, Terms { broker: config.broker.clone(), client_id, window: config.delivery.window, will, session })
}

/// The member that a round begins with: the first one, unless messages are in flight at another one at QoS 2. Only there
/// they can be finished without a repetition.
pub fn first(link: &Link, sessions: &[u32]) -> usize {
    let busy = link.session().and_then(Session::busy_with);
    busy.and_then(|busy| sessions.iter().position(|session| *session == busy)).unwrap_or(0)
}

/// The session that outlives connections, where messages are published at QoS 2.
///
/// # Errors
/// The medium's: nothing can be noted for now.
pub fn session(config: &Config, names: &[u32], spool: &Spool, boot_id: u32) -> io::Result<Option<Session>> {
    let sessions = |address| BrokerProfile::of(&config.broker, address).sessions;
    let exchanges = if config.broker.addresses.iter().any(|address| sessions(address) == Sessions::Resumed) {
        spool.exchanges(names, boot_id)
    } else {
        spool.end_exchanges().map(|()| None)
    };
    Ok(exchanges?.map(|exchanges| Session::new(exchanges, config.broker.protocol)))
}
