//! A TCP relay between a client and a broker that harms what passes it, as a test demands.

use super::event_loop::{EventLoop, Service};
use super::loopback::{How, Listener, Port, finish, is_at_end, reset};
use super::mqtt::PacketKind;
use super::pipe::{CutAfter, Direction, Fate, Passage, Pipe, Rules};
use rustix::event::{PollFd, PollFlags};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// A running relay. All its methods act on what has not passed yet; they have acted when they return. Dropping it ends
/// its thread and its connections.
pub struct Proxy {
    relay: EventLoop<Relay>,
    url: String,
}

impl Proxy {
    /// A relay to a port of this machine, on which nobody needs to listen yet: a client whose connection cannot be
    /// relayed is reset.
    pub fn start(target_port: u16) -> Self {
        let port = Port::reserve();
        let url = port.url();
        let listener = Some(port.listen());
        let (lines, drains, rules) = (Vec::new(), Vec::new(), Rules::default());
        Self { relay: EventLoop::start(Relay { port, listener, target_port, lines, drains, rules, cuts: 0 }), url }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Ends all present connections, on both sides; what was under way in them is lost. New ones are relayed.
    pub fn cut(&self, how: How) {
        self.relay.ask(move |relay| relay.cut(how));
    }

    /// Ends a connection, once, when this many more bytes have passed, counted over all connections: the one that the
    /// last byte passed in. With 0, right before the next byte.
    pub fn cut_after(&self, direction: Direction, bytes: u64, how: How) {
        self.relay.ask(move |relay| relay.rules.cut_after = Some(CutAfter { direction, left: bytes, how }));
    }

    /// Resets a connection, once, right before the next packet of this kind that has not begun to pass. What came before
    /// it is passed on.
    pub fn cut_before(&self, kind: PacketKind) {
        self.relay.ask(move |relay| relay.rules.cut_before = Some(kind));
    }

    /// Swallows what should pass, ends of connections included, until [`heal`](Self::heal). A connection that lost
    /// something stays dead afterwards; one that did not, and new ones, are relayed again.
    pub fn black_hole(&self, directions: impl IntoIterator<Item = Direction>) {
        self.set(directions, Passage::Swallowed);
    }

    /// Holds back what should pass, until [`heal`](Self::heal): then all of it comes, late.
    pub fn stall(&self, directions: impl IntoIterator<Item = Direction>) {
        self.set(directions, Passage::Stalled);
    }

    /// Ends black holes and stalls. Everything else stays as it was set.
    pub fn heal(&self) {
        self.set(Direction::BOTH, Passage::Open);
    }

    /// Refuses new connections; present ones live on.
    pub fn refuse(&self) {
        self.relay.ask(|relay| relay.listener = None);
    }

    /// Accepts connections again, on the same port.
    pub fn accept(&self) {
        self.relay.ask(|relay| {
            relay.listener.get_or_insert_with(|| relay.port.listen());
        });
    }

    /// Holds everything back for this time on its way, in each direction; however much is under way at a time.
    pub fn delay(&self, delay: Duration) {
        self.relay.ask(move |relay| relay.rules.delay = delay);
    }

    /// Passes at most this much, per connection and direction. `u64::MAX` stands for no limit.
    pub fn throttle(&self, bytes_per_second: u64) {
        assert!(bytes_per_second > 0, "that would be a stall");
        self.relay.ask(move |relay| relay.rules.bytes_per_second = bytes_per_second);
    }

    /// How many connections were ended by one of the cuts.
    pub fn cuts(&self) -> usize {
        self.relay.ask(|relay| relay.cuts)
    }

    /// How many bytes were passed on.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.relay.ask(move |relay| relay.rules.passed[direction as usize])
    }

    /// How many packets of this kind were passed on, or had begun to be.
    pub fn packets(&self, kind: PacketKind) -> u64 {
        self.relay.ask(move |relay| relay.rules.packets[kind as usize])
    }

    fn set(&self, directions: impl IntoIterator<Item = Direction>, passage: Passage) {
        for direction in directions {
            self.relay.ask(move |relay| relay.rules.passages[direction as usize] = passage);
        }
    }
}

/// What the thread owns.
struct Relay {
    port: Port,
    listener: Option<Listener>,
    target_port: u16,
    lines: Vec<Line>,
    /// Ends of connections that are read to their end and not relayed.
    drains: Vec<TcpStream>,
    rules: Rules,
    cuts: usize,
}

impl Service for Relay {
    fn interests<'a>(&'a self, sockets: &mut Vec<PollFd<'a>>) -> Option<Instant> {
        sockets.extend(self.listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        sockets.extend(self.drains.iter().map(|drain| PollFd::new(drain, PollFlags::IN)));
        let now = Instant::now();
        let mut deadlines = Vec::new();
        for line in &self.lines {
            for direction in Direction::BOTH {
                let (source, sink, pipe) = line.way(direction);
                if pipe.takes_more(now) {
                    sockets.push(PollFd::new(source, PollFlags::IN));
                }
                if pipe.blocked {
                    sockets.push(PollFd::new(sink, PollFlags::OUT));
                } else if self.rules.passages[direction as usize] != Passage::Stalled {
                    deadlines.extend(pipe.due());
                }
            }
        }
        deadlines.into_iter().min()
    }

    fn serve(&mut self, now: Instant) {
        while let Some(client) = self.listener.as_ref().and_then(Listener::accept) {
            self.connect(client);
        }
        for mut line in std::mem::take(&mut self.lines) {
            let fates = Direction::BOTH.map(|direction| line.pump(direction, &mut self.rules, now));
            if let Some(how) =
                fates.into_iter().find_map(|fate| if let Fate::Cut(how) = fate { Some(how) } else { None })
            {
                self.end(line, how);
            } else if fates.contains(&Fate::Broken) {
                line.reset();
            } else if fates != [Fate::Over, Fate::Over] {
                self.lines.push(line);
            }
        }
        self.drains.retain(|drain| !is_at_end(drain));
    }
}

impl Relay {
    fn connect(&mut self, client: TcpStream) {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, self.target_port)) {
            Ok(broker) => {
                broker.set_nonblocking(true).unwrap();
                broker.set_nodelay(true).unwrap();
                self.lines.push(Line { client, broker, up: Pipe::default(), down: Pipe::default() });
            }
            Err(_) if self.rules.passages.contains(&Passage::Swallowed) => self.drains.push(client),
            Err(_) => reset(&client),
        }
    }

    fn cut(&mut self, how: How) {
        for line in std::mem::take(&mut self.lines) {
            self.end(line, how);
        }
        match how {
            How::Reset => self.drains.drain(..).for_each(|drain| reset(&drain)),
            How::Finish => self.drains.iter().for_each(finish),
        }
    }

    fn end(&mut self, line: Line, how: How) {
        self.cuts += 1;
        match how {
            How::Reset => line.reset(),
            How::Finish => {
                finish(&line.client);
                finish(&line.broker);
                self.drains.extend([line.client, line.broker]);
            }
        }
    }
}

/// One relayed connection.
struct Line {
    client: TcpStream,
    broker: TcpStream,
    up: Pipe,
    down: Pipe,
}

impl Line {
    /// Source, sink and what is between them.
    fn way(&self, direction: Direction) -> (&TcpStream, &TcpStream, &Pipe) {
        match direction {
            Direction::Up => (&self.client, &self.broker, &self.up),
            Direction::Down => (&self.broker, &self.client, &self.down),
        }
    }

    fn pump(&mut self, direction: Direction, rules: &mut Rules, now: Instant) -> Fate {
        let (source, sink, pipe) = match direction {
            Direction::Up => (&self.client, &self.broker, &mut self.up),
            Direction::Down => (&self.broker, &self.client, &mut self.down),
        };
        pipe.fill(source, rules.delay, now);
        match rules.passages[direction as usize] {
            Passage::Stalled => pipe.hold(),
            Passage::Open if !pipe.torn => pipe.forward(sink, direction, rules, now),
            Passage::Open | Passage::Swallowed => pipe.swallow(now),
        }
    }

    fn reset(self) {
        reset(&self.client);
        reset(&self.broker);
    }
}
