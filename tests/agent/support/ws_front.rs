//! Puts a WebSocket before a broker of the tests that speaks plain MQTT, and frames what the broker says in chosen ways.

use super::websocket::{BINARY, CLOSE, CONTINUE, ClientFrame, PING, PONG, Request, frame, trickle};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How the front frames what the broker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A message for what comes at a time.
    Whole,
    /// A message for each byte, and a segment for each byte of that.
    Bytes,
    /// Messages of fragments of three bytes, with a PING before each, an empty fragment, and unsolicited PONGs.
    Fragments,
    /// One message without an end, in fragments of random sizes.
    Endless,
    /// Many packets in a frame, in one segment with a PING; the first frame is in one segment with the handshake's answer.
    Gathered,
}

impl Framing {
    pub const ALL: [Framing; 5] =
        [Framing::Whole, Framing::Bytes, Framing::Fragments, Framing::Endless, Framing::Gathered];
}

/// What clients did, over all connections.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub requests: Vec<Request>,
    pub pings: usize,
    pub pongs: Vec<Vec<u8>>,
    pub closes: Vec<u16>,
}

/// A port that speaks WebSocket in front of one that does not. Connections end with their sides; the port with the front.
pub struct WsFront {
    port: u16,
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

impl WsFront {
    pub fn start(broker: u16, framing: Framing) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (end, see) = (Arc::clone(&ended), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let seen = Arc::clone(&see);
                // A client that gives up in the middle of it is no failure of the front.
                thread::spawn(move || Relay::begin(stream, broker, framing, seen).and_then(|mut relay| relay.run()));
            }
        });
        Self { port, ended, seen }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for WsFront {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One connection.
struct Relay {
    client: TcpStream,
    broker: TcpStream,
    framing: Framing,
    seen: Arc<Mutex<Seen>>,
    received: Vec<u8>,
    /// Whether the message without an end has begun.
    begun: bool,
}

impl Relay {
    fn begin(mut client: TcpStream, broker: u16, framing: Framing, seen: Arc<Mutex<Seen>>) -> io::Result<Self> {
        client.set_nodelay(true)?;
        let request = Request::read(&mut client)?;
        let mut answer = request.answer().into_bytes();
        seen.lock().unwrap().requests.push(request);
        match framing {
            Framing::Bytes => trickle(&client, &answer)?,
            Framing::Gathered => {
                seen.lock().unwrap().pings += 1;
                answer.extend(frame(PING, true, b"with the answer"));
                client.write_all(&answer)?;
            }
            Framing::Whole | Framing::Fragments | Framing::Endless => client.write_all(&answer)?,
        }
        client.set_nonblocking(true)?;
        let broker = TcpStream::connect(("127.0.0.1", broker))?;
        broker.set_nonblocking(true)?;
        Ok(Self { client, broker, framing, seen, received: Vec::new(), begun: false })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let is_open = self.up()? && self.down()?;
            if !is_open {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.client.shutdown(Shutdown::Both)?;
        self.broker.shutdown(Shutdown::Both)
    }

    /// Whether the client is still there.
    fn up(&mut self) -> io::Result<bool> {
        let mut bytes = Vec::new();
        let is_open = read(&self.client, &mut bytes)?;
        self.received.extend(bytes);
        while let Some(ClientFrame { opcode, payload }) = ClientFrame::take(&mut self.received) {
            match opcode {
                BINARY => write(&self.broker, &payload)?,
                PONG => self.seen.lock().unwrap().pongs.push(payload),
                CLOSE => {
                    self.seen.lock().unwrap().closes.push(u16::from_be_bytes([payload[0], payload[1]]));
                    return Ok(false);
                }
                other => panic!("a client sent a frame with opcode {other}"),
            }
        }
        Ok(is_open)
    }

    /// Whether the broker is still there.
    fn down(&mut self) -> io::Result<bool> {
        let mut bytes = Vec::new();
        let mut is_open = read(&self.broker, &mut bytes)?;
        if !bytes.is_empty() {
            if self.framing == Framing::Gathered {
                thread::sleep(Duration::from_millis(10));
                is_open = read(&self.broker, &mut bytes)?;
            }
            self.say(&bytes)?;
        }
        if !is_open {
            write(&self.client, &frame(CLOSE, true, &1000_u16.to_be_bytes()))?;
        }
        Ok(is_open)
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.framing {
            Framing::Whole => write(&self.client, &frame(BINARY, true, bytes)),
            Framing::Bytes => bytes.iter().try_for_each(|byte| {
                let frame = frame(BINARY, true, &[*byte]);
                frame.iter().try_for_each(|byte| write(&self.client, &[*byte]))
            }),
            Framing::Fragments => self.fragments(bytes),
            Framing::Endless => self.endless(bytes),
            Framing::Gathered => {
                self.seen.lock().unwrap().pings += 1;
                write(&self.client, &[frame(BINARY, true, bytes), frame(PING, true, &[])].concat())
            }
        }
    }

    fn fragments(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut opcode = BINARY;
        for piece in bytes.chunks(3) {
            let mut seen = self.seen.lock().unwrap();
            seen.pings += 1;
            let ping = frame(PING, true, &seen.pings.to_be_bytes());
            drop(seen);
            write(&self.client, &frame(opcode, false, piece))?;
            write(&self.client, &ping)?;
            opcode = CONTINUE;
        }
        write(&self.client, &frame(PONG, true, b"nobody asked"))?;
        write(&self.client, &frame(CONTINUE, false, &[]))?;
        write(&self.client, &frame(CONTINUE, true, &[]))
    }

    fn endless(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(fastrand::usize(1..=rest.len()));
            let opcode = if std::mem::replace(&mut self.begun, true) { CONTINUE } else { BINARY };
            write(&self.client, &frame(opcode, false, piece))?;
            rest = tail;
        }
        Ok(())
    }
}

/// Reads what is there, and says whether more may come.
fn read(mut from: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    match from.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(length) => {
            bytes.extend(&buffer[..length]);
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

fn write(mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
