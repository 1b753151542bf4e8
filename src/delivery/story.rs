//! How an outage is told in the log: how long a connection lasted, a line every ten minutes without one, for how long
//! there was none, and how what waited has drained. Pure; wakes nobody up while there is a connection.

use super::event::Publish;
use std::fmt;
use std::time::{Duration, Instant};

/// How often an outage is told of: a day of it is 144 lines.
const EVERY: Duration = Duration::from_secs(600);
/// An outage that lasted for this long is worth a line at its end, however often connections come and go.
const WORTH_TELLING: Duration = Duration::from_secs(60);

/// The present connection, or the present outage.
#[derive(Debug)]
pub struct Story {
    /// Since when there is no connection, though there should be; `None`: there is one, or it is replaced as planned.
    away: Option<Instant>,
    /// When the next line about that is due.
    next: Instant,
    /// When the last connection came about; `None`: there was none.
    connected: Option<Instant>,
    drain: Option<Drain>,
}

/// What waited when the connection came about, on its way to the broker.
#[derive(Debug)]
struct Drain {
    since: Instant,
    /// Messages of the spool that waited then and are not over.
    left: u64,
    delivered: u64,
}

/// A time in words, in whole seconds.
pub struct Rounded(pub Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from_secs(self.0.as_secs())).fmt(f)
    }
}

impl Story {
    /// There is no connection yet.
    pub fn new(now: Instant) -> Self {
        Self { away: Some(now), next: now + EVERY, connected: None, drain: None }
    }

    /// There is a connection, and so many messages of the spool wait; how long there was none.
    pub fn connected(&mut self, backlog: u64, window: usize, now: Instant) -> Option<Duration> {
        let away = self.away.take().map(|since| now.saturating_duration_since(since));
        let was_outage = away.is_some() && self.connected.is_some();
        // A start delivers its first samples without a word.
        let is_told = was_outage || backlog > window as u64;
        self.drain = (backlog > 0 && is_told).then_some(Drain { since: now, left: backlog, delivered: 0 });
        self.connected = Some(now);
        away
    }

    /// There is no connection; how long it had lasted, where there was one.
    pub fn lost(&mut self, now: Instant) -> Option<Duration> {
        self.drain = None;
        if self.away.is_some() {
            return None;
        }
        (self.away, self.next) = (Some(now), now + EVERY);
        self.connected.map(|since| now.saturating_duration_since(since))
    }

    /// Since when there is a connection, or there is none.
    pub fn since(&self) -> Instant {
        self.away.or(self.connected).unwrap_or(self.next)
    }

    /// When a line about the outage is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.away.map(|_| self.next)
    }

    /// For how long there has been no connection, when that is to be told now. The next line follows in ten minutes.
    pub fn look(&mut self, now: Instant) -> Option<Duration> {
        let away = self.away.filter(|_| now >= self.next)?;
        self.next = now + EVERY;
        Some(now.saturating_duration_since(away))
    }

    /// A message has been delivered, or is over in another way.
    pub fn over(&mut self, what: Publish, is_delivered: bool) {
        if let Some(drain) = self.drain.as_mut().filter(|_| what.spooled().is_some()) {
            drain.left = drain.left.saturating_sub(1);
            drain.delivered += u64::from(is_delivered);
        }
    }

    /// So many messages were dropped to make room.
    pub fn dropped(&mut self, count: u64) {
        if let Some(drain) = &mut self.drain {
            drain.left = drain.left.saturating_sub(count);
        }
    }

    /// What to say once all that waited is over, and what came since is on its way.
    pub fn drained(&mut self, backlog: u64, in_flight: usize, now: Instant) -> Option<String> {
        let Drain { since, delivered, .. } =
            self.drain.take_if(|drain| drain.left == 0 && backlog <= in_flight as u64)?;
        let time = now.saturating_duration_since(since).as_secs_f64();
        let rate = delivered as f64 / time.max(0.001);
        Some(format!("drained; {delivered} messages in {time:.1} s ({rate:.0} a second)"))
    }
}

/// Whether the end of an outage is told, however often there was one before.
pub fn is_worth_telling(away: Option<Duration>) -> bool {
    away.is_some_and(|away| away >= WORTH_TELLING)
}
