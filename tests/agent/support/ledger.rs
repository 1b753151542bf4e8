//! What a scripted broker writes down: messages, sessions, and what its clients do wrong.

use super::mqtt::{Connect, Publish};
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
pub struct Ledger {
    pub deliveries: Vec<Publish>,
    /// What was answered with a reason not to take it.
    pub refused: Vec<Publish>,
    pub violations: Vec<String>,
    pub connects: Vec<Connect>,
    pub peak_in_flight: usize,
    pub deaths: usize,
    sessions: HashMap<String, Session>,
}

/// What the broker knows of a client id.
#[derive(Default)]
struct Session {
    /// Whether the client's next connection finds it.
    kept: bool,
    /// Counts the connections of the client id; the newest owns the session.
    connection: u64,
    /// By packet id: at QoS 2 what was not released, at QoS 1 what was not acknowledged.
    unfinished: BTreeMap<u16, Publish>,
}

/// One connection of a client id.
#[derive(Debug, Clone)]
pub struct Client {
    pub id: String,
    /// 4 is MQTT 3.1.1.
    pub version: u8,
    connection: u64,
}

impl Ledger {
    /// Notes a connection, which now owns the session, and says whether there was one.
    pub fn connect(&mut self, connect: &Connect) -> (Client, bool) {
        let session = self.sessions.entry(connect.client_id.clone()).or_default();
        let present = session.kept && !connect.clean;
        if !present {
            session.unfinished.clear();
        }
        // A clean session of 3.1.1 ends with its connection. How long one of MQTT 5 lasts is ignored.
        session.kept = !(connect.version == 4 && connect.clean);
        session.connection += 1;
        let (id, version, connection) = (connect.client_id.clone(), connect.version, session.connection);
        (Client { id, version, connection }, present)
    }

    /// Whether no newer connection has the client's id.
    pub fn owns_session(&self, client: &Client) -> bool {
        self.sessions.get(&client.id).is_some_and(|session| session.connection == client.connection)
    }

    pub fn forget_sessions(&mut self) {
        self.sessions.values_mut().for_each(|session| session.kept = false);
    }

    /// Notes that a publish with a packet id has come, and what is wrong with that. `in_flight` are its connection's
    /// packet ids.
    pub fn receive(&mut self, client: &Client, in_flight: &mut BTreeSet<u16>, publish: &Publish, maximum: u16) {
        let Some(id) = publish.packet_id else { return };
        let known = self.session(client).unfinished.get(&id).map(|known| {
            let same = (&known.topic, &known.payload, known.qos) == (&publish.topic, &publish.payload, publish.qos);
            let again = if same { "for the same message" } else { "for a different message" };
            (same, again)
        });
        let fresh = in_flight.insert(id);
        match known {
            Some((_, again)) if !fresh => self.violate(format!("packet id {id} used {again} while in use")),
            None if !fresh => self.violate(format!("packet id {id} used before its PUBCOMP")),
            Some((false, again)) => self.violate(format!("packet id {id} used {again} in a resumed session")),
            Some((true, _)) if !publish.dup => self.violate(format!("packet id {id} sent again without DUP")),
            Some(_) | None => {}
        }
        if client.version == 5 && in_flight.len() > usize::from(maximum) {
            self.violate(format!("{} in flight at a receive maximum of {maximum}", in_flight.len()));
        }
        self.peak_in_flight = self.peak_in_flight.max(in_flight.len());
    }

    pub fn violate(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Whether this is a publish at QoS 2 that came before and was not released.
    pub fn is_pending(&mut self, client: &Client, publish: &Publish) -> bool {
        let unfinished = &self.session(client).unfinished;
        let known = publish.packet_id.and_then(|id| unfinished.get(&id));
        publish.qos == 2 && known.is_some_and(|known| known.qos == 2)
    }

    /// Keeps the packet id until it is released or acknowledged.
    pub fn hold(&mut self, client: &Client, publish: &Publish) {
        if let Some(id) = publish.packet_id {
            self.session(client).unfinished.insert(id, publish.clone());
        }
    }

    /// Forgets a packet id of QoS 2; `false`: there was none.
    pub fn release(&mut self, client: &Client, id: u16) -> bool {
        let unfinished = &mut self.session(client).unfinished;
        unfinished.get(&id).is_some_and(|known| known.qos == 2) && unfinished.remove(&id).is_some()
    }

    /// Forgets all packet ids of QoS 2.
    pub fn forget_exchanges(&mut self, client: &Client) {
        self.session(client).unfinished.retain(|_, known| known.qos != 2);
    }

    /// Forgets a packet id of QoS 1.
    pub fn acknowledge(&mut self, client: &Client, id: u16) {
        let unfinished = &mut self.session(client).unfinished;
        if unfinished.get(&id).is_some_and(|known| known.qos == 1) {
            unfinished.remove(&id);
        }
    }

    fn session(&mut self, client: &Client) -> &mut Session {
        self.sessions.get_mut(&client.id).expect("a connected client has a session")
    }
}
