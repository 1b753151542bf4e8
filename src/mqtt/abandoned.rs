//! Clients whose connect was given up before the library answered it.
//!
//! The library's threads may be at it, under a lock. Whoever frees a client then waits as well, so such a client is told without
//! the lock not to connect any more, and freed when its connect has answered.

use super::rings::Pending;
use paho_mqtt::{AsyncClient, Token};
use paho_mqtt_sys::attempt;

/// Clients that are not freed yet.
#[derive(Default)]
pub struct Abandoned {
    clients: Vec<Client>,
}

struct Client {
    connection: u64,
    client: AsyncClient,
    /// It holds the client as well: it must not be the last one to do so (see [`free`]).
    connecting: Pending<Token>,
    answered: bool,
}

impl Abandoned {
    /// Gives up a connect that was not answered: no CONNECT is written for it any more.
    pub fn add(&mut self, connection: u64, client: AsyncClient, connecting: Pending<Token>) {
        attempt::abandon_all();
        self.clients.push(Client { connection, client, connecting, answered: false });
    }

    /// Notes that the connect of this connection was answered after all.
    pub fn answered(&mut self, connection: u64) {
        let answered = self.clients.iter_mut().find(|client| client.connection == connection);
        answered.into_iter().for_each(|client| client.answered = true);
    }

    /// Whether the library may still be at a connect that was given up: it may hold its lock, and whoever makes another
    /// client would wait for it.
    pub fn has_unanswered(&self) -> bool {
        self.clients.iter().any(|client| !client.answered)
    }

    /// Frees what was answered. Waits for the library's lock: not while a connect is under way.
    pub fn free_answered(&mut self) {
        for Client { client, connecting, .. } in self.clients.extract_if(.., |client| client.answered) {
            free(client);
            drop(connecting);
        }
    }
}

/// Frees a client whose connect was answered.
///
/// The token of a connect holds the client. Where the library lets go of the token last, in a thread that has locked the
/// library, the client's end waits for that lock for ever. So this waits for the lock first, under which the library told
/// of the connect and lets go of the token.
pub fn free(client: AsyncClient) {
    client.is_connected();
    drop(client);
}
