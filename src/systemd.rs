//! What systemd is told: that the agent is ready, how it fares, that it stops, and that it is alive (`sd_notify(3)`).
//!
//! Guarantees that nothing happens where systemd does not ask for it: without `$NOTIFY_SOCKET` no socket is made, and
//! without `$WATCHDOG_USEC` nothing is fed. Relies on one owner, the main thread, which is the one that may be held up
//! by a manager that does not read, for a second.

use crate::burst::Burst;
use crate::pulse::Pulse;
use log::{debug, error, info, log};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a message may wait for room in the manager's queue.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long nothing is due where there is no watchdog.
const NEVER: Duration = Duration::from_secs(3600);

/// The service manager, as far as it wants to be told.
#[derive(Debug, Default)]
pub struct Manager {
    mailbox: Option<Mailbox>,
    watchdog: Option<Watchdog>,
    /// What was last said of the agent, to be said again after a thread has come back.
    status: String,
    /// Why the configuration's file cannot be applied.
    problem: Option<String>,
    unheard: Burst,
}

/// Where messages to the manager go.
#[derive(Debug)]
struct Mailbox {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// A thread that has to make progress.
#[derive(Debug)]
pub struct Watched {
    pub name: &'static str,
    pub pulse: Arc<Pulse>,
}

/// When the watchdog is fed, and when it no longer is.
#[derive(Debug)]
struct Watchdog {
    /// The manager ends us when it has heard nothing for this long. A single step of a thread may take as long; then we
    /// stop feeding, and are ended half of it to all of it later.
    limit: Duration,
    next: Instant,
    /// Threads whose silence has been told.
    hangs: bool,
}

impl Manager {
    /// The manager that the environment names, if any: `$NOTIFY_SOCKET`, and `$WATCHDOG_USEC` where `$WATCHDOG_PID` is
    /// absent or ours.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::new(|name| std::env::var_os(name), Instant::now())
    }

    fn new(variable: impl Fn(&str) -> Option<OsString>, now: Instant) -> Self {
        let Some(path) = variable("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return Self::default() };
        let mailbox = match Mailbox::new(&path) {
            Ok(mailbox) => mailbox,
            Err(error) => {
                error!("the service manager cannot be told anything socket={} error={error}", path.display());
                return Self::default();
            }
        };
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let ours = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let limit = number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0).map(Duration::from_micros);
        let watchdog = limit.map(|limit| Watchdog { limit, next: now, hangs: false });
        Self { mailbox: Some(mailbox), watchdog, ..Self::default() }
    }

    /// Whether there is anyone to tell.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.mailbox.is_some()
    }

    /// The agent is ready: its spool is open.
    pub fn ready(&mut self) {
        self.tell("READY=1");
    }

    /// How the agent fares, in one line.
    pub fn status(&mut self, status: &str) {
        status.clone_into(&mut self.status);
        self.tell_status();
    }

    /// That the configuration's file cannot be applied, and why; `None`: that is over.
    pub fn problem(&mut self, problem: Option<String>) {
        if problem != self.problem {
            self.problem = problem;
            self.tell_status();
        }
    }

    fn tell_status(&mut self) {
        let said = Some(&self.status).filter(|status| !status.is_empty()).into_iter().chain(&self.problem);
        let said: Vec<&str> = said.map(String::as_str).collect();
        self.tell(&format!("STATUS={}", said.join("; ")));
    }

    /// The agent stops, which takes this long at most. The manager's own patience is extended where it is shorter.
    pub fn stopping(&mut self, within: Duration) {
        let limit = humantime::format_duration(Duration::from_secs(within.as_secs()));
        self.tell(&format!(
            "STOPPING=1\nSTATUS=stopping; messages on their way get {limit} at most\nEXTEND_TIMEOUT_USEC={}",
            within.as_micros()
        ));
    }

    /// Feeds the watchdog when that is due and all of these threads make progress; when to be called next.
    pub fn tick(&mut self, now: Instant, threads: &[&Watched]) -> Instant {
        let Some(watchdog) = &mut self.watchdog else { return now + NEVER };
        if now < watchdog.next {
            return watchdog.next;
        }
        watchdog.next = now + watchdog.limit / 2;
        let (next, limit, hung) = (watchdog.next, watchdog.limit, watchdog.hangs);
        let hanging = threads.iter().find(|thread| thread.pulse.silence(now) > limit);
        watchdog.hangs = hanging.is_some();
        match hanging {
            None => {
                if hung {
                    info!("all threads make progress again");
                    self.tell_status();
                }
                self.tell("WATCHDOG=1");
            }
            Some(thread) => {
                let what = thread.silence(now);
                if !hung {
                    error!("{what}; not telling the service manager any more that all is well");
                }
                self.tell(&format!("STATUS={what}"));
            }
        }
        next
    }

    fn tell(&mut self, message: &str) {
        let Some(mailbox) = &self.mailbox else { return };
        match mailbox.send(message) {
            Ok(()) => {
                if let Some(times) = self.unheard.ended() {
                    info!("the service manager can be told again unheard={times}");
                }
            }
            Err(error) => log!(self.unheard.failed(), "the service manager cannot be told error={error}"),
        }
        debug!("told the service manager: {}", message.replace('\n', " "));
    }
}

impl Watched {
    fn silence(&self, now: Instant) -> String {
        let seconds = self.pulse.silence(now).as_secs();
        format!("the {} thread has not come back for {seconds} s", self.name)
    }
}

impl Mailbox {
    /// `path` as in `$NOTIFY_SOCKET`: a file, or a name in the abstract namespace after `@`.
    fn new(path: &OsStr) -> io::Result<Self> {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, address })
    }

    fn send(&self, message: &str) -> io::Result<()> {
        self.socket.send_to_addr(message.as_bytes(), &self.address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A manager's end of the socket.
    struct Ear {
        socket: UnixDatagram,
        folder: TempDir,
    }

    impl Ear {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self { socket, folder }
        }

        fn manager(&self, more: &[(&str, &str)], now: Instant) -> Manager {
            let path = self.folder.path().join("notify").into_os_string();
            let more = |name: &str| more.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            Manager::new(|name| if name == "NOTIFY_SOCKET" { Some(path.clone()) } else { more(name) }, now)
        }

        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 1024];
            std::iter::from_fn(|| {
                let length = self.socket.recv(&mut buffer).ok()?;
                Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
            })
            .collect()
        }
    }

    fn watched(name: &'static str) -> Watched {
        Watched { name, pulse: Arc::default() }
    }

    #[test]
    fn the_watchdog_is_fed_every_half_limit_while_all_threads_make_progress() {
        let (ear, now) = (Ear::new(), Instant::now());
        let mut manager = ear.manager(&[("WATCHDOG_USEC", "60000000")], now);
        let (sampler, publisher) = (watched("sampler"), watched("publisher"));

        for second in 0..=120 {
            let at = now + Duration::from_secs(second);
            sampler.pulse.works(at);
            publisher.pulse.rests_until(at + LIMIT);
            manager.tick(at, &[&sampler, &publisher]);
        }

        assert_eq!(ear.heard(), ["WATCHDOG=1"; 5]);
    }

    #[test]
    fn a_thread_that_is_silent_beyond_the_limit_ends_the_feeding_and_is_named() {
        let (ear, now) = (Ear::new(), Instant::now());
        let mut manager = ear.manager(&[("WATCHDOG_USEC", "60000000")], now);
        let (sampler, publisher) = (watched("sampler"), watched("publisher"));
        publisher.pulse.rests();
        manager.status("connected");
        sampler.pulse.works(now);

        let mut at = now;
        while at < now + 2 * LIMIT {
            at = manager.tick(at, &[&sampler, &publisher]);
        }

        let heard = ear.heard();
        assert_eq!(heard[..4], ["STATUS=connected", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"], "{heard:?}");
        assert!(heard[4].starts_with("STATUS=the sampler thread has not come back for "));
        assert!(heard[4..].iter().all(|message| message.starts_with("STATUS=")), "{heard:?}");

        sampler.pulse.works(at);
        manager.tick(at, &[&sampler, &publisher]);

        assert_eq!(ear.heard(), ["STATUS=connected", "WATCHDOG=1"]);
    }

    #[test]
    fn a_problem_with_the_configuration_stands_behind_the_status_until_it_is_over() {
        let ear = Ear::new();
        let mut manager = ear.manager(&[], Instant::now());

        manager.problem(Some("not applied".to_owned()));
        manager.status("connected");
        manager.problem(None);

        assert_eq!(ear.heard(), ["STATUS=not applied", "STATUS=connected; not applied", "STATUS=connected"]);
    }

    #[test]
    fn without_variables_nothing_is_told_and_nothing_is_due() {
        let (now, mut manager) = (Instant::now(), Manager::new(|_| None, Instant::now()));
        manager.ready();
        assert!(!manager.listens());
        assert!(manager.tick(now, &[]) >= now + NEVER);

        let ear = Ear::new();
        for other in [&[][..], &[("WATCHDOG_USEC", "0")], &[("WATCHDOG_USEC", "9"), ("WATCHDOG_PID", "1")]] {
            let mut manager = ear.manager(other, now);
            assert!(manager.tick(now, &[]) >= now + NEVER, "{other:?}");
            assert!(ear.heard().is_empty());
        }
    }

    #[test]
    fn a_stop_says_how_long_it_may_take() {
        let ear = Ear::new();

        ear.manager(&[], Instant::now()).stopping(Duration::from_secs(90));

        let heard = ear.heard().concat();
        assert!(heard.starts_with("STOPPING=1\n") && heard.ends_with("\nEXTEND_TIMEOUT_USEC=90000000"), "{heard}");
    }

    #[test]
    fn a_socket_of_the_abstract_namespace_is_reached() {
        let name = format!("packhorse-test-{}", fastrand::u64(..));
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let path = |variable: &str| (variable == "NOTIFY_SOCKET").then(|| format!("@{name}").into());

        Manager::new(path, Instant::now()).ready();

        let mut buffer = [0; 64];
        assert_eq!(socket.recv(&mut buffer).unwrap(), b"READY=1".len());
    }
}
