//! Looks names up. The system's resolver cannot be interrupted and may take minutes, so each look-up has a thread, which is
//! left to itself where it takes too long. Whoever asks for the same name again meanwhile waits for the same answer.

use super::Unreached;
use crossbeam_channel::{Receiver, bounded};
use rustix::net::{self, AddressFamily, SocketType};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// Look-ups that may be under way at once, of as many names. Each holds a thread until the resolver gives up.
const MOST: usize = 8;

/// What the standard library puts before the resolver's own words.
const PREFIX: &str = "failed to lookup address information: ";

/// The addresses of a name, or why there are none. The ports are 0.
pub type Found = Result<Vec<SocketAddr>, Unreached>;

/// What a look-up gives to everybody who asked.
#[derive(Debug, Clone)]
pub struct Answer {
    found: Arc<OnceLock<Found>>,
    over: Receiver<()>,
}

impl Answer {
    /// Closes when the look-up is over.
    pub fn over(&self) -> &Receiver<()> {
        &self.over
    }

    /// What was found; `None`: it is not over, or has panicked.
    pub fn found(&self) -> Option<Found> {
        self.found.get().cloned()
    }
}

/// The look-ups that are under way.
#[derive(Debug, Default)]
pub struct Lookups {
    running: Vec<Lookup>,
}

#[derive(Debug)]
struct Lookup {
    host: String,
    answer: Answer,
    thread: JoinHandle<()>,
}

impl Lookups {
    /// The addresses of a host, when they are known. An address is known at once.
    ///
    /// # Errors
    /// The system's where no thread can be had, or too many look-ups do not end.
    pub fn of(&mut self, host: &str) -> io::Result<Answer> {
        let (end, over) = bounded(0);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Answer { found: Arc::new(OnceLock::from(Ok(vec![SocketAddr::new(address, 0)]))), over });
        }
        let answer = Answer { found: Arc::default(), over };
        // What was answered while nobody waited is too old.
        self.running.retain(|lookup| !lookup.thread.is_finished());
        if let Some(lookup) = self.running.iter().find(|lookup| lookup.host == host) {
            return Ok(lookup.answer.clone());
        }
        if self.running.len() >= MOST {
            return Err(io::Error::other(format!("{MOST} names are being looked up and no answer comes")));
        }
        let (name, found) = (host.to_owned(), Arc::clone(&answer.found));
        let work = move || {
            // Its channel closes when this thread is through, or panics.
            let _end = end;
            // Nobody else sets it.
            let _ = found.set(look_up(&name));
        };
        let thread = thread::Builder::new().name("lookup".to_owned()).spawn(work)?;
        self.running.push(Lookup { host: host.to_owned(), answer: answer.clone(), thread });
        Ok(answer)
    }
}

fn look_up(host: &str) -> Found {
    // The resolver would say no more than that the name is unknown.
    if let Some((_, zone)) = host.split_once('%')
        && !has_interface(zone)
    {
        return Err(Unreached::Interface(zone.to_owned()));
    }
    let found = (host, 0).to_socket_addrs().map(Vec::from_iter);
    found.map_err(|error| {
        let words = error.to_string();
        Unreached::Name(words.strip_prefix(PREFIX).unwrap_or(&words).to_owned())
    })
}

/// Whether there is a network interface of this name, or of this number.
fn has_interface(zone: &str) -> bool {
    let index = || {
        let socket = net::socket(AddressFamily::INET6, SocketType::DGRAM, None)?;
        net::netdevice::name_to_index(socket, zone)
    };
    zone.parse::<u32>().is_ok() || index().is_ok()
}
