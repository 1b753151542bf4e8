//! Tries the addresses of a name: one after the other, each without waiting long for the ones before (RFC 8305).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long an address may take before the next one is tried beside it: RFC 8305, section 5.
const NEXT: Duration = Duration::from_millis(250);

/// How often whoever gave up is asked.
const LOOK: Duration = Duration::from_millis(250);

/// An address that could not be connected to, and the system's reason. [`Errno::TIMEDOUT`]: it did not answer in time.
pub type Failed = (SocketAddr, Errno);

/// The addresses as they are to be tried: in the resolver's order, but the families by turns (RFC 8305, section 4), each once,
/// and those of `last` at the end, in its order.
pub fn ordered(addresses: Vec<SocketAddr>, port: u16, last: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_ipv4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered: Vec<SocketAddr> = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            break;
        }
        for mut address in pair.into_iter().flatten() {
            address.set_port(port);
            if !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
    ordered.sort_by_key(|address| last.iter().position(|other| other == address));
    ordered
}

/// Connects to the first of the addresses that takes a connection; `None`: `is_given_up` said so.
pub fn run(
    addresses: &[SocketAddr],
    deadline: Instant,
    is_given_up: &dyn Fn() -> bool,
) -> Option<Result<(OwnedFd, SocketAddr), Vec<Failed>>> {
    let mut race = Race { waiting: addresses.iter().copied(), next: Instant::now(), running: vec![], failed: vec![] };
    loop {
        if is_given_up() {
            return None;
        }
        race.start();
        let now = Instant::now();
        if now >= deadline {
            race.time_out();
        }
        if race.running.is_empty() {
            return Some(Err(race.failed));
        }
        let next = if race.waiting.len() > 0 { race.next } else { deadline };
        race.wait(next.min(deadline).saturating_duration_since(now).min(LOOK));
        if let Some(winner) = race.winner() {
            return Some(Ok(winner));
        }
    }
}

struct Race<I> {
    waiting: I,
    /// When the next address is tried.
    next: Instant,
    running: Vec<(SocketAddr, OwnedFd, Progress)>,
    failed: Vec<Failed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    UnderWay,
    /// It has succeeded or failed.
    Over,
}

impl<I: ExactSizeIterator<Item = SocketAddr>> Race<I> {
    /// Tries the next address when its time has come, or when there is nothing else to wait for.
    fn start(&mut self) {
        while self.running.is_empty() || Instant::now() >= self.next {
            let Some(address) = self.waiting.next() else { return };
            match begin(address) {
                Ok(socket) => {
                    self.running.push((address, socket, Progress::UnderWay));
                    self.next = Instant::now() + NEXT;
                }
                Err(errno) => self.failed.push((address, errno)),
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        let timeout = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
        let mut sockets: Vec<PollFd> =
            self.running.iter().map(|(_, socket, _)| PollFd::new(socket, PollFlags::OUT)).collect();
        // A signal interrupts it; then it is asked again.
        let ready = poll(&mut sockets, Some(&timeout)).unwrap_or(0) > 0;
        let over: Vec<bool> = sockets.iter().map(|socket| ready && !socket.revents().is_empty()).collect();
        for ((_, _, progress), over) in self.running.iter_mut().zip(over) {
            *progress = if over { Progress::Over } else { Progress::UnderWay };
        }
    }

    /// The first connection that has come about. Where one has failed, the next address is tried at once.
    fn winner(&mut self) -> Option<(OwnedFd, SocketAddr)> {
        while let Some(over) = self.running.iter().position(|(_, _, progress)| *progress == Progress::Over) {
            let (address, socket, _) = self.running.remove(over);
            match sockopt::socket_error(&socket) {
                Ok(Ok(())) => return Some((socket, address)),
                Ok(Err(errno)) | Err(errno) => {
                    self.failed.push((address, errno));
                    self.next = Instant::now();
                }
            }
        }
        None
    }

    /// Nobody has answered in time.
    fn time_out(&mut self) {
        let unanswered = self.running.drain(..).map(|(address, ..)| address).chain(self.waiting.by_ref());
        self.failed.extend(unanswered.map(|address| (address, Errno::TIMEDOUT)));
    }
}

/// Begins to connect.
fn begin(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(errno) => Err(errno),
    }
}
