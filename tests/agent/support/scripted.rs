//! A broker that writes down what it is responsible for, and fails where a script says.

use super::event_loop::{EventLoop, Service};
use super::ledger::{Client, Ledger};
use super::loopback::{Listener, Port, finish, is_at_end, reset};
use super::mqtt::{Connect, Packet, PacketKind, Publish, answer, connack, packet};
use super::script::{Exchanges, Point, Response, Script};
use super::subscriber::Arrival;
use super::wait_until;
use rustix::event::{PollFd, PollFlags};
use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// MQTT 5's reason codes of what the broker finds by itself.
const SESSION_TAKEN_OVER: u8 = 0x8e;
const PACKET_ID_NOT_FOUND: u8 = 0x92;
const PACKET_TOO_LARGE: u8 = 0x95;

/// From this reason code on, a message is not taken.
const FIRST_REFUSAL: u8 = 0x80;

/// A running broker for clients that only publish. Dropping it ends its thread and its connections.
///
/// Its sessions outlive everything but [`forget_sessions`](Self::forget_sessions) and a client's clean start.
pub struct Scripted {
    server: EventLoop<Server>,
    port: u16,
    url: String,
}

impl Scripted {
    pub fn start(script: Script) -> Self {
        let port = Port::reserve();
        let (number, url, listener) = (port.number(), port.url(), Some(port.listen()));
        let (back_at, connections, drains, ledger) = (None, Vec::new(), Vec::new(), Ledger::default());
        let server = EventLoop::start(Server { port, listener, back_at, connections, drains, script, ledger });
        Self { server, port: number, url }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Changes the script for what comes from now on.
    pub fn change(&self, change: impl FnOnce(&mut Script) + Send + 'static) {
        self.server.ask(|server| change(&mut server.script));
    }

    /// Dies now, for so long.
    pub fn die(&self, away: Duration) {
        self.server.ask(move |server| server.die(away));
    }

    /// Lets the next connection of every client find no session. Present connections keep theirs.
    pub fn forget_sessions(&self) {
        self.server.ask(|server| server.ledger.forget_sessions());
    }

    /// Every message at the moment the broker became responsible for it, in order, over all connections and deaths: at
    /// QoS 0 and 1 each PUBLISH, at QoS 2 each PUBLISH whose packet id was not pending.
    pub fn deliveries(&self) -> Vec<Publish> {
        self.server.ask(|server| server.ledger.deliveries.clone())
    }

    /// Waits until so many messages more have arrived than now.
    pub fn wait_for_more(&self, count: usize) {
        let before = self.deliveries().len();
        wait_until(&format!("{count} more messages arrive"), || self.deliveries().len() >= before + count);
    }

    /// The deliveries, whose payloads must be JSON, as a subscriber would have them.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.deliveries().into_iter().map(arrival).collect()
    }

    /// What the broker answered with a reason not to take it, as [`arrivals`](Self::arrivals).
    pub fn refused(&self) -> Vec<Arrival> {
        self.server.ask(|server| server.ledger.refused.clone()).into_iter().map(arrival).collect()
    }

    /// What clients did and must not do. A DUP on what was never sent before is not among it.
    pub fn violations(&self) -> Vec<String> {
        self.server.ask(|server| server.ledger.violations.clone())
    }

    /// The most publishes above QoS 0 that were received on one connection and not completely acknowledged at a time.
    pub fn peak_in_flight(&self) -> usize {
        self.server.ask(|server| server.ledger.peak_in_flight)
    }

    /// All CONNECTs, refused ones too.
    pub fn connects(&self) -> Vec<Connect> {
        self.server.ask(|server| server.ledger.connects.clone())
    }

    /// How often the broker died.
    pub fn deaths(&self) -> usize {
        self.server.ask(|server| server.ledger.deaths)
    }
}

fn arrival(delivery: Publish) -> Arrival {
    Arrival {
        topic: delivery.topic,
        qos: delivery.qos,
        retained: delivery.retain,
        payload: serde_json::from_slice(&delivery.payload).expect("payloads are JSON"),
        content_type: delivery.content_type,
        expiry: delivery.expiry,
        user_properties: delivery.user_properties,
    }
}

/// What the thread owns.
struct Server {
    port: Port,
    listener: Option<Listener>,
    /// When a dead broker lives again.
    back_at: Option<Instant>,
    connections: Vec<Connection>,
    /// Closed connections that their clients have not closed yet.
    drains: Vec<TcpStream>,
    script: Script,
    ledger: Ledger,
}

/// What becomes of a connection.
enum Fate {
    Alive,
    /// The client has ended it.
    Over,
    /// FIN, after a DISCONNECT with this reason code where the protocol has one.
    Close(Option<u8>),
    Die(Duration),
}

impl Service for Server {
    fn interests<'a>(&'a self, sockets: &mut Vec<PollFd<'a>>) -> Option<Instant> {
        sockets.extend(self.listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        sockets.extend(self.drains.iter().map(|drain| PollFd::new(drain, PollFlags::IN)));
        for connection in &self.connections {
            let flags = if connection.blocked { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            sockets.push(PollFd::new(&connection.stream, flags));
        }
        let ready = self.connections.iter().filter(|connection| !connection.blocked);
        ready.filter_map(|connection| Some(connection.outgoing.front()?.due)).chain(self.back_at).min()
    }

    fn serve(&mut self, now: Instant) {
        if self.back_at.is_some_and(|back_at| back_at <= now) {
            (self.back_at, self.listener) = (None, Some(self.port.listen()));
        }
        while let Some(stream) = self.listener.as_ref().and_then(Listener::accept) {
            self.connections.push(Connection::new(stream));
        }
        let mut connections = std::mem::take(&mut self.connections).into_iter();
        while let Some(mut connection) = connections.next() {
            match self.attend(&mut connection, now) {
                Fate::Alive => self.connections.push(connection),
                Fate::Over => {}
                Fate::Close(code) => self.close(connection, code),
                Fate::Die(away) => {
                    self.connections.push(connection);
                    self.connections.extend(connections.by_ref());
                    self.die(away);
                }
            }
        }
        let ledger = &self.ledger;
        let is_former = |connection: &mut Connection| connection.client().is_some_and(|it| !ledger.owns_session(it));
        for former in self.connections.extract_if(.., is_former).collect::<Vec<_>>() {
            self.close(former, Some(SESSION_TAKEN_OVER));
        }
        self.drains.retain(|drain| !is_at_end(drain));
    }
}

impl Server {
    fn die(&mut self, away: Duration) {
        self.ledger.deaths += 1;
        self.listener = None;
        self.back_at = Some(Instant::now() + away);
        self.connections.drain(..).for_each(|connection| reset(&connection.stream));
        self.drains.drain(..).for_each(|drain| reset(&drain));
    }

    fn close(&mut self, mut connection: Connection, code: Option<u8>) {
        if let (Some(code), Some(5)) = (code, connection.client().map(|client| client.version)) {
            // The client may be gone.
            let _ = connection.stream.write_all(&packet((PacketKind::Disconnect as u8) << 4, &[code]));
        }
        finish(&connection.stream);
        self.drains.push(connection.stream);
    }

    /// Receives, answers and sends what there is.
    fn attend(&mut self, connection: &mut Connection, now: Instant) -> Fate {
        let is_over = connection.receive();
        loop {
            match self.send(connection, now) {
                Fate::Alive => {}
                fate => return fate,
            }
            let Some(packet) = connection.next_packet() else { break };
            match self.handle(connection, &packet, now) {
                Fate::Alive => {}
                fate => return fate,
            }
        }
        if is_over { Fate::Over } else { Fate::Alive }
    }

    fn send(&mut self, connection: &mut Connection, now: Instant) -> Fate {
        connection.blocked = false;
        while let Some(packet) = connection.outgoing.front_mut().filter(|packet| packet.due <= now) {
            match connection.stream.write(&packet.bytes) {
                Ok(written) => drop(packet.bytes.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.blocked = true;
                    return Fate::Alive;
                }
                Err(_) => return Fate::Over,
            }
            if !packet.bytes.is_empty() {
                continue;
            }
            let Some(Outgoing { completes, then, .. }) = connection.outgoing.pop_front() else { continue };
            if let (Some(id), Some(client)) = (completes, connection.client()) {
                self.ledger.acknowledge(client, id);
                connection.in_flight.remove(&id);
            }
            match then {
                Then::GoOn => {}
                Then::Accept => connection.accept(),
                Then::Close => return Fate::Close(None),
                Then::Die(away) => return Fate::Die(away),
            }
        }
        Fate::Alive
    }

    fn handle(&mut self, connection: &mut Connection, packet: &Packet, now: Instant) -> Fate {
        if let Some(maximum) = self.script.maximum_packet_size.filter(|maximum| packet.size > *maximum as usize) {
            self.ledger.violate(format!("a packet of {} bytes; at most {maximum} are taken", packet.size));
            return Fate::Close(Some(PACKET_TOO_LARGE));
        }
        let handled = match (connection.client().cloned(), packet.kind()) {
            (None, Some(PacketKind::Connect)) => self.connect(connection, packet, now),
            (Some(client), Some(PacketKind::Publish)) => self.publish(connection, &client, packet, now),
            (Some(client), Some(PacketKind::Pubrel)) => self.release(connection, &client, packet, now),
            (Some(_), Some(PacketKind::Pingreq)) => {
                let pong = self::packet((PacketKind::Pingresp as u8) << 4, &[]);
                connection.outgoing.push_back(Outgoing { due: now, bytes: pong, completes: None, then: Then::GoOn });
                Some(Fate::Alive)
            }
            (Some(_), Some(PacketKind::Disconnect)) => Some(Fate::Over),
            (None | Some(_), _) => None,
        };
        handled.unwrap_or_else(|| {
            self.ledger.violate(format!("malformed or out of place: 0x{:02x} {:02x?}", packet.first, packet.body));
            Fate::Close(None)
        })
    }

    fn connect(&mut self, connection: &mut Connection, packet: &Packet, now: Instant) -> Option<Fate> {
        let connect = Connect::decode(packet)?;
        let (mut client, mut present, mut then) = (None, false, Then::Close);
        let code = match self.script.connect_code {
            0 => (self.script.authorize)(&connect),
            code => code,
        };
        if code == 0 {
            let (accepted, there_is_one) = self.ledger.connect(&connect);
            if self.script.exchanges != Exchanges::Kept {
                self.ledger.forget_exchanges(&accepted);
            }
            present = self.script.session_present.unwrap_or(there_is_one);
            (client, then) = (Some(accepted), Then::Accept);
        }
        if let Some(patience) = self.script.connack_after {
            let Script { receive_maximum, maximum_packet_size, .. } = self.script;
            let version = self.script.connack_form.unwrap_or(connect.version);
            let bytes = connack(version, present, code, receive_maximum, maximum_packet_size);
            connection.outgoing.push_back(Outgoing { due: now + patience, bytes, completes: None, then });
        }
        connection.phase = Phase::Connecting(client);
        self.ledger.connects.push(connect);
        Some(Fate::Alive)
    }

    fn publish(&mut self, connection: &mut Connection, client: &Client, packet: &Packet, now: Instant) -> Option<Fate> {
        let publish = Publish::decode(packet, client.version)?;
        self.ledger.receive(client, &mut connection.in_flight, &publish, self.script.receive_maximum);
        let is_pending = self.ledger.is_pending(client, &publish);
        let death = self.script.death(PacketKind::Publish);
        if let Some((Point::BeforeWriting, away)) = death {
            return Some(Fate::Die(away));
        }
        let response = if is_pending { None } else { self.script.reaction(&publish) };
        let code = match response {
            Some(Response::Close) => return Some(Fate::Close(None)),
            Some(Response::Ignore) => return Some(Fate::Alive),
            Some(Response::Disconnect(code)) => return Some(Fate::Close(Some(code))),
            Some(Response::Say(bytes)) => {
                let bytes = bytes(client.version, publish.packet_id.unwrap_or(0));
                connection.outgoing.push_back(Outgoing { due: now, bytes, completes: None, then: Then::GoOn });
                // It takes nothing more over this connection: what follows would overtake the message.
                connection.phase = Phase::Connecting(None);
                return Some(Fate::Alive);
            }
            Some(Response::Answer(code)) => code,
            None => 0,
        };
        if !is_pending {
            // MQTT 3.1.1 completes the exchange of what is not taken, too.
            if code < FIRST_REFUSAL || client.version == 4 {
                self.ledger.hold(client, &publish);
            }
            let ledger = if code < FIRST_REFUSAL { &mut self.ledger.deliveries } else { &mut self.ledger.refused };
            ledger.push(publish.clone());
        }
        let Some(id) = publish.packet_id else {
            return Some(death.map_or(Fate::Alive, |(_, away)| Fate::Die(away)));
        };
        let is_last = publish.qos == 1 || (code >= FIRST_REFUSAL && client.version == 5);
        let kind = if publish.qos == 1 { PacketKind::Puback } else { PacketKind::Pubrec };
        Some(self.answer(connection, answer(kind, client.version, id, code), is_last.then_some(id), death, now))
    }

    fn release(&mut self, connection: &mut Connection, client: &Client, packet: &Packet, now: Instant) -> Option<Fate> {
        let id = packet.id()?;
        let death = self.script.death(PacketKind::Pubrel);
        if let Some((Point::BeforeWriting, away)) = death {
            return Some(Fate::Die(away));
        }
        let code = match (self.ledger.release(client, id), self.script.exchanges) {
            (true, _) => 0,
            (false, Exchanges::Kept) => PACKET_ID_NOT_FOUND,
            (false, Exchanges::Lost) => return Some(Fate::Close(None)),
            (false, Exchanges::Unanswered) => return Some(Fate::Alive),
        };
        Some(self.answer(connection, answer(PacketKind::Pubcomp, client.version, id, code), Some(id), death, now))
    }

    /// Answers when the script says, unless death comes before.
    fn answer(
        &self,
        connection: &mut Connection,
        bytes: Vec<u8>,
        completes: Option<u16>,
        death: Option<(Point, Duration)>,
        now: Instant,
    ) -> Fate {
        let then = match death {
            Some((Point::BeforeWriting | Point::BeforeAcknowledging, away)) => return Fate::Die(away),
            Some((Point::AfterAcknowledging, away)) => Then::Die(away),
            None => Then::GoOn,
        };
        if let Some(patience) = self.script.acknowledge_after {
            connection.outgoing.push_back(Outgoing { due: now + patience, bytes, completes, then });
        }
        Fate::Alive
    }
}

struct Connection {
    stream: TcpStream,
    phase: Phase,
    received: Vec<u8>,
    outgoing: VecDeque<Outgoing>,
    /// The client takes nothing at present.
    blocked: bool,
    /// Packet ids of what is not completely acknowledged.
    in_flight: BTreeSet<u16>,
}

enum Phase {
    /// CONNECT has not come.
    Fresh,
    /// CONNACK has not been sent: what comes now waits. None: the client is refused.
    Connecting(Option<Client>),
    Connected(Client),
}

struct Outgoing {
    due: Instant,
    bytes: Vec<u8>,
    /// The packet id that is free afterwards.
    completes: Option<u16>,
    then: Then,
}

/// What follows when a packet has been sent.
enum Then {
    GoOn,
    Accept,
    Close,
    Die(Duration),
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let (received, outgoing, in_flight) = (Vec::new(), VecDeque::new(), BTreeSet::new());
        Self { stream, phase: Phase::Fresh, received, outgoing, blocked: false, in_flight }
    }

    fn client(&self) -> Option<&Client> {
        match &self.phase {
            Phase::Fresh => None,
            Phase::Connecting(client) => client.as_ref(),
            Phase::Connected(client) => Some(client),
        }
    }

    fn accept(&mut self) {
        if let Phase::Connecting(Some(client)) = &self.phase {
            self.phase = Phase::Connected(client.clone());
        }
    }

    /// Takes what has come, and says whether no more will.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(length) => self.received.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    fn next_packet(&mut self) -> Option<Packet> {
        match self.phase {
            Phase::Fresh | Phase::Connected(_) => Packet::take(&mut self.received),
            Phase::Connecting(_) => None,
        }
    }
}
