//! Reaches the broker, or the proxy on the way to it, for the MQTT library, which is given a connection that is there.
//!
//! A name is looked up and its addresses are tried in threads of their own: neither a name server nor an address that does
//! not answer holds up anybody, and whoever gives an attempt up leaves it behind.

mod lookup;
mod race;
mod words;

use crate::config::{Address, Broker};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select_biased};
use lookup::{Answer, Lookups};
use race::Failed;
use rustix::io::Errno;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

pub use words::reason;

/// Addresses of one name that are tried: each may be an open file. Clusters have a handful; a name server may answer with hundreds.
const MOST_ADDRESSES: usize = 64;

/// Fruitless addresses that are remembered: those of a few names. A name server may give others each time.
const MOST_FRUITLESS: usize = 64;

/// Begins attempts, and keeps what is left of those that were given up.
#[derive(Debug, Default)]
pub struct Dialer {
    lookups: Lookups,
    /// Addresses that took a connection and did not lead to a broker, since one did: they are tried last, in this order.
    fruitless: Vec<SocketAddr>,
}

/// An attempt that is under way. Dropping it gives it up.
#[derive(Debug)]
pub struct Dial {
    outcome: Receiver<Outcome>,
    /// When it has failed by itself.
    deadline: Instant,
    /// Whoever dials notices when it is gone.
    _holder: Sender<()>,
}

/// A connection, and where it leads to; or why there is none.
pub type Outcome = Result<(OwnedFd, SocketAddr), Unreached>;

/// Why nobody could be reached. It reads as words.
#[derive(Debug, Clone)]
pub enum Unreached {
    /// The system's words for what is wrong with the name.
    Name(String),
    /// The address's zone is no network interface of this machine.
    Interface(String),
    /// No name server has answered for so long.
    NameServer(Duration),
    /// The system's words for why no thread could be had.
    Thread(String),
    /// The system's reason, where the host is an address.
    Address(Errno),
    /// What each address of a name had to say.
    Addresses(Vec<Failed>),
}

/// What a connection has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A broker has answered.
    Fruitful,
    Fruitless,
}

/// Begins to connect to a broker's address, or to the proxy or the relay on the way to it.
pub fn begin(
    dialer: &mut Dialer,
    broker: &Broker,
    address: &Address,
    ring: impl Fn() + Clone + Send + 'static,
) -> Dial {
    let (host, port) = broker.dialed(address);
    match broker.detour(host, port) {
        Some(relay) => dialer.begin(&relay.ip().to_string(), relay.port(), broker.connect_timeout, ring),
        None => dialer.begin(host.trim_matches(['[', ']']), port, broker.connect_timeout, ring),
    }
}

impl Dialer {
    /// Begins to connect to a port of a host, which is a name, or an address that may have a zone. `ring` is called when there
    /// is an outcome.
    pub fn begin(
        &mut self,
        host: &str,
        port: u16,
        timeout: Duration,
        ring: impl Fn() + Clone + Send + 'static,
    ) -> Dial {
        let (holder, given_up) = bounded(0);
        let (tell, outcome) = bounded(1);
        let deadline = Instant::now() + timeout;
        let begun = self.lookups.of(host).and_then(|answer| {
            let (tell, ring, host, last) = (tell.clone(), ring.clone(), Host::of(host), self.fruitless.clone());
            let work = move || {
                let task = Task { host, port, last, timeout, deadline, given_up };
                // Nobody listens where it was given up at this moment.
                if task.run(&answer).is_some_and(|outcome| tell.send(outcome).is_ok()) {
                    ring();
                }
            };
            thread::Builder::new().name("dialer".to_owned()).spawn(work).map(drop)
        });
        if let Err(error) = begun {
            // The channel is empty, and both ends are here.
            let _ = tell.send(Err(Unreached::Thread(error.to_string())));
            ring();
        }
        Dial { outcome, deadline, _holder: holder }
    }

    /// Notes what a connection to this address has led to.
    pub fn judge(&mut self, address: SocketAddr, verdict: Verdict) {
        match verdict {
            Verdict::Fruitful => self.fruitless.clear(),
            Verdict::Fruitless => {
                self.fruitless.retain(|other| *other != address);
                self.fruitless.push(address);
                let surplus = self.fruitless.len().saturating_sub(MOST_FRUITLESS);
                self.fruitless.drain(..surplus);
            }
        }
    }
}

impl Dial {
    /// The outcome, once there is one.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.try_recv().ok()
    }

    /// Waits for the outcome, which comes within the attempt's time; `None`: the thread has panicked.
    pub fn wait(self) -> Option<Outcome> {
        self.outcome.recv().ok()
    }

    /// What is left of the time for the whole attempt.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What is dialed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Name,
    Address,
}

impl Host {
    fn of(host: &str) -> Self {
        // No name has a colon, and an address with a zone is not one for the standard library.
        if host.contains(':') || host.parse::<IpAddr>().is_ok() { Host::Address } else { Host::Name }
    }
}

/// What the thread of an attempt knows.
struct Task {
    host: Host,
    port: u16,
    /// The addresses that are tried last, in this order.
    last: Vec<SocketAddr>,
    timeout: Duration,
    deadline: Instant,
    /// Ends when the attempt is given up.
    given_up: Receiver<()>,
}

impl Task {
    /// Waits for the addresses and tries them; `None`: it was given up.
    fn run(&self, answer: &Answer) -> Option<Outcome> {
        select_biased! {
            recv(self.given_up) -> _ => return None,
            recv(answer.over()) -> _ => {}
            default(self.deadline.saturating_duration_since(Instant::now())) => {
                return Some(Err(Unreached::NameServer(self.timeout)));
            }
        }
        let addresses = match answer.found() {
            Some(Ok(addresses)) => race::ordered(addresses, self.port, &self.last),
            Some(Err(why)) => return Some(Err(why)),
            // It panicked.
            None => return Some(Err(Unreached::Name("the look-up did not end".to_owned()))),
        };
        let is_given_up = || self.given_up.try_recv() == Err(TryRecvError::Disconnected);
        let outcome = race::run(&addresses[..addresses.len().min(MOST_ADDRESSES)], self.deadline, &is_given_up)?;
        Some(outcome.map_err(|failed| match failed[..] {
            [(_, errno)] if self.host == Host::Address => Unreached::Address(errno),
            _ => Unreached::Addresses(failed),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn everybody_who_asks_for_a_name_gets_its_addresses() {
        for round in 0..50 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut dialer = Dialer::default();

            let dials = [(); 4].map(|()| dialer.begin("localhost", port, Duration::from_secs(10), || ()));

            for dial in dials {
                let outcome = dial.wait().unwrap();
                assert!(outcome.is_ok(), "round {round}: {}", outcome.unwrap_err());
            }
        }
    }
}
