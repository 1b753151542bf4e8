//! A relay between the agent under test and the broker, which harms connections without touching the network. It only
//! moves bytes, so TLS, its check of the broker's name, WebSockets and proxies work through it as without it.

use rustix::net::sockopt::set_socket_linger;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How late a connection notices what becomes of it.
const LOOK: Duration = Duration::from_millis(20);
/// How long one side may not take what the other one sends, before the connection counts as broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Passage {
    Open,
    /// They are held back, and pass later.
    Held,
    /// They vanish, and so does what would end a connection. Such a connection has to be cut afterwards.
    Swallowed,
    /// No connection is taken.
    Closed,
}

impl Passage {
    fn of(number: u8) -> Self {
        let all = [Passage::Open, Passage::Held, Passage::Swallowed, Passage::Closed];
        all.into_iter().find(|passage| *passage as u8 == number).unwrap_or(Passage::Open)
    }
}

/// A running relay. Its threads end with the process.
#[derive(Debug)]
pub struct Relay {
    line: Arc<Line>,
    /// Host, port, and where the relay listens for it.
    pub detours: Vec<(String, u16, SocketAddr)>,
}

/// What all connections have in common.
#[derive(Debug, Default)]
struct Line {
    passage: AtomicU8,
    /// Counts the cuts: connections of before are ended.
    cuts: AtomicU64,
}

impl Line {
    fn passage(&self) -> Passage {
        Passage::of(self.passage.load(Ordering::Relaxed))
    }
}

impl Relay {
    /// A relay to each of these hosts and ports.
    ///
    /// # Errors
    /// No port of this machine can be had.
    pub fn start(targets: impl IntoIterator<Item = (String, u16)>) -> io::Result<Self> {
        let line = Arc::new(Line::default());
        let mut detours: Vec<(String, u16, SocketAddr)> = Vec::new();
        for (host, port) in targets {
            if detours.iter().any(|(other, number, _)| (other, *number) == (&host, port)) {
                continue;
            }
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let through = listener.local_addr()?;
            let (shared, target) = (Arc::clone(&line), host.clone());
            thread::Builder::new().name("relay".to_owned()).spawn(move || accept(&listener, &target, port, &shared))?;
            detours.push((host, port, through));
        }
        Ok(Self { line, detours })
    }

    pub fn set(&self, passage: Passage) {
        self.line.passage.store(passage as u8, Ordering::Relaxed);
    }

    /// Ends every present connection: what is on its way in it is lost.
    pub fn cut(&self) {
        self.line.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

fn accept(listener: &TcpListener, host: &str, port: u16, line: &Arc<Line>) {
    for client in listener.incoming().filter_map(Result::ok) {
        let cuts = line.cuts.load(Ordering::Relaxed);
        match line.passage() {
            Passage::Closed => reset(&client),
            Passage::Swallowed => {
                let line = Arc::clone(line);
                begin(move || swallow(client, &line, cuts));
            }
            Passage::Open | Passage::Held => {
                let (line, target) = (Arc::clone(line), (host.trim_matches(['[', ']']).to_owned(), port));
                begin(move || match TcpStream::connect((target.0.as_str(), target.1)) {
                    Ok(broker) => relay(client, broker, &line, cuts),
                    Err(_) => reset(&client),
                });
            }
        }
    }
}

/// Does something beside the rest. A machine that has no thread for it lets the connection end, as a bad network would.
fn begin(work: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name("relayed".to_owned()).spawn(work);
}

fn relay(client: TcpStream, broker: TcpStream, line: &Arc<Line>, cuts: u64) {
    let both = || -> io::Result<(TcpStream, TcpStream)> {
        for stream in [&client, &broker] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK))?;
            stream.set_write_timeout(Some(PATIENCE))?;
        }
        Ok((client.try_clone()?, broker.try_clone()?))
    };
    let Ok((up_from, up_to)) = both() else { return };
    let shared = Arc::clone(line);
    begin(move || pump(up_from, up_to, &shared, cuts));
    pump(broker, client, line, cuts);
}

/// Moves bytes one way until there are no more, or the connection is cut.
fn pump(mut from: TcpStream, mut to: TcpStream, line: &Line, cuts: u64) {
    let (mut buffer, mut is_torn) = (vec![0; 16 * 1024], false);
    let is_cut = || line.cuts.load(Ordering::Relaxed) != cuts;
    loop {
        let read = from.read(&mut buffer);
        while line.passage() == Passage::Held && !is_cut() {
            thread::sleep(LOOK);
        }
        let is_swallowed = line.passage() == Passage::Swallowed;
        let moved = match read {
            _ if is_cut() => Err(ErrorKind::ConnectionReset.into()),
            Err(error) if is_nothing(&error) => Ok(()),
            // The other side does not hear of the end.
            Ok(0) if is_swallowed || is_torn => {
                thread::sleep(LOOK);
                Ok(())
            }
            Ok(0) => {
                // The other one may have ended, too.
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(_) if is_swallowed || is_torn => {
                is_torn = true;
                Ok(())
            }
            Ok(count) => to.write_all(&buffer[..count]),
            Err(error) => Err(error),
        };
        if moved.is_err() {
            reset(&from);
            reset(&to);
            // The thread of the other way holds both as well: this wakes it.
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// Takes what a client says until the next cut.
fn swallow(mut client: TcpStream, line: &Line, cuts: u64) {
    let mut buffer = [0; 1024];
    let _ = client.set_read_timeout(Some(LOOK));
    while line.cuts.load(Ordering::Relaxed) == cuts {
        match client.read(&mut buffer) {
            Ok(0) => thread::sleep(LOOK),
            Err(error) if !is_nothing(&error) => return,
            Ok(_) | Err(_) => {}
        }
    }
    reset(&client);
}

/// Whether it only means that there is nothing to read yet.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Has the end of a connection be a reset, once nobody holds it any more.
fn reset(stream: &TcpStream) {
    // It has ended already where this fails.
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay to a listener, and both ends of a connection through it.
    fn connected() -> (Relay, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::start([("127.0.0.1".to_owned(), listener.local_addr().unwrap().port())]).unwrap();
        let client = TcpStream::connect(relay.detours[0].2).unwrap();
        let broker = listener.accept().unwrap().0;
        for stream in [&client, &broker] {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        (relay, client, broker)
    }

    fn passes(from: &mut TcpStream, to: &mut TcpStream) {
        from.write_all(b"hello").unwrap();
        let mut read = [0; 5];
        to.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"hello");
    }

    #[test]
    fn bytes_pass_both_ways_and_a_cut_ends_both() {
        let (relay, mut client, mut broker) = connected();
        passes(&mut client, &mut broker);
        passes(&mut broker, &mut client);

        relay.cut();

        for mut stream in [client, broker] {
            assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
        }
    }

    #[test]
    fn what_is_held_back_comes_later() {
        let (relay, mut client, mut broker) = connected();
        relay.set(Passage::Held);
        client.write_all(b"late").unwrap();
        broker.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(is_nothing(&broker.read(&mut [0]).unwrap_err()));

        relay.set(Passage::Open);

        broker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut read = [0; 4];
        broker.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"late");
    }

    #[test]
    fn nothing_comes_out_of_a_black_hole() {
        let (relay, mut client, mut broker) = connected();
        relay.set(Passage::Swallowed);
        client.write_all(b"gone").unwrap();
        drop(client);

        broker.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(is_nothing(&broker.read(&mut [0]).unwrap_err()));
        relay.cut();
        broker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();

        assert!(matches!(broker.read(&mut [0]), Ok(0) | Err(_)));
    }

    #[test]
    fn a_closed_relay_takes_no_connection() {
        let (relay, ..) = connected();
        relay.set(Passage::Closed);

        let mut client = TcpStream::connect(relay.detours[0].2).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();

        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    }
}
