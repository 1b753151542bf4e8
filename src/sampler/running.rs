//! One source while it is sampled: its grid, the reading that is under way, and what is remembered from tick to tick.

use super::helpers::{Done, Helpers, Job, Reading, Sensor, Ticket};
use super::history::History;
use super::{ON_TIME, Scheduled};
use crate::burst::Burst;
use crate::clock::{self, Clock};
use crate::config::SourceKind;
use crate::message::{Route, Sample};
use crate::report;
use crate::schedule::Grid;
use crate::status::Counters;
use log::{debug, info, log};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What there is of the sensor.
enum State {
    Free(Sensor),
    /// A helper has it, or will, and should be back by then.
    Read(Ticket, Instant),
    /// A helper has it and is late: what it brings is thrown away.
    Late(Ticket),
}

pub struct Running {
    state: State,
    route: Arc<Route>,
    interval: Duration,
    timeout: Duration,
    kind: SourceKind,
    grid: Grid,
    /// The grid's next tick.
    next: Option<Instant>,
    failures: Burst,
    /// Readings that were late.
    late: Burst,
    missed: Burst,
    /// Ticks in a row that were on time.
    on_time: u32,
    history: History,
}

impl Running {
    /// A source whose first tick is now.
    pub fn new(scheduled: Scheduled, now: Instant) -> Self {
        let Scheduled { source, route, interval, timeout, kind } = scheduled;
        let [failures, late, missed] = std::array::from_fn(|_| Burst::default());
        let grid = Grid::new(now, interval);
        let (state, next) = (State::Free(source), grid.next());
        let history = History::default();
        Self { state, route, interval, timeout, kind, grid, next, failures, late, missed, on_time: 0, history }
    }

    /// The same sensor on another grid, or under another route.
    pub fn rescheduled(self, scheduled: Scheduled, now: Instant) -> Self {
        let Self { state, failures, late, history, .. } = self;
        Self { state, failures, late, history, ..Self::new(scheduled, now) }
    }

    /// Whether another source would do the same.
    pub fn is(&self, other: &Scheduled) -> bool {
        let Scheduled { route, interval, timeout, kind, .. } = other;
        (&self.route, &self.interval, &self.timeout, &self.kind) == (route, interval, timeout, kind)
    }

    /// Whether another source would read the same, and a reading is under way.
    pub fn reads_as(&self, other: &Scheduled) -> bool {
        let is_free = matches!(self.state, State::Free(_));
        !is_free && self.route.source == other.route.source && self.kind == other.kind
    }

    pub fn name(&self) -> &str {
        &self.route.source
    }

    /// Whether its last reading was late.
    pub fn hangs(&self) -> bool {
        self.late.is_on()
    }

    /// How it fares.
    pub fn report(&self, now: clock::Reading) -> report::Source {
        self.history.report(self.name(), self.interval, self.hangs(), now)
    }

    pub fn waits_for(&self, ticket: Ticket) -> bool {
        matches!(self.state, State::Read(other, _) | State::Late(other) if other == ticket)
    }

    /// When there is something to do: a tick, or the end of the patience with a reading.
    pub fn due(&self) -> Option<Instant> {
        let deadline = match self.state {
            State::Read(_, deadline) => Some(deadline),
            State::Free(_) | State::Late(_) => None,
        };
        self.next.into_iter().chain(deadline).min()
    }

    /// It is not sampled any more. A reading that no helper has begun is not begun.
    pub fn leave(&self, helpers: &Helpers) {
        if let State::Read(ticket, _) = self.state {
            drop(helpers.withdraw(ticket));
        }
    }

    /// Counts a reading that has not returned in time as a failure.
    pub fn look_at_deadline(&mut self, now: Instant, helpers: &Helpers, counters: &Counters) {
        let State::Read(ticket, deadline) = self.state else { return };
        if now < deadline {
            return;
        }
        counters.failed_samples.add(1);
        let limit = humantime::format_duration(self.timeout);
        let (name, level) = (&self.route.source, self.late.failed());
        let why = match helpers.withdraw(ticket) {
            Some(sensor) => {
                self.state = State::Free(sensor);
                format!("no thread was free to read it for {limit}")
            }
            None => {
                self.state = State::Late(ticket);
                format!("the source hangs: no reading within {limit} (timeout)")
            }
        };
        self.history.failed(&why);
        log!(level, "sample failed: {why} source={name}");
    }

    /// Takes the tick that is due, if one is. The sample of a source that cannot block is there at once.
    pub fn tick(&mut self, helpers: &mut Helpers, counters: &Counters, clock: Clock) -> Option<Sample> {
        // Asked for each source: those before it may have taken their time.
        let now = Instant::now();
        let due = self.grid.take(now)?;
        self.next = self.grid.next();
        let is_busy = !matches!(self.state, State::Free(_));
        let missed = due.missed + u64::from(is_busy);
        self.count_missed(missed, counters);
        self.history.begins(now.saturating_duration_since(self.tick_before().unwrap_or(now)), missed);
        let State::Free(sensor) = &mut self.state else { return None };
        if !sensor.may_block() {
            let reading = Reading::take(sensor, clock);
            return self.sample(reading, counters);
        }
        let ticket = Ticket(TICKETS.fetch_add(1, Ordering::Relaxed));
        let deadline = self.deadline(now);
        if let State::Free(sensor) = std::mem::replace(&mut self.state, State::Read(ticket, deadline)) {
            helpers.begin(Job { ticket, sensor }, now);
        }
        None
    }

    /// When a reading that begins now for the newest tick is late. Counted from the tick: with the timeout of an interval, it
    /// is late before the next tick counts as missed. Half of the timeout is there for a tick that was taken late.
    fn deadline(&self, now: Instant) -> Instant {
        let tick = self.tick_before().unwrap_or(now);
        let after = |begin: Instant, time| begin.checked_add(time).unwrap_or(now);
        after(tick, self.timeout).max(after(now, self.timeout / 2))
    }

    /// The newest tick that was taken.
    fn tick_before(&self) -> Option<Instant> {
        self.next.and_then(|next| next.checked_sub(self.interval))
    }

    fn count_missed(&mut self, missed: u64, counters: &Counters) {
        let name = &self.route.source;
        if missed > 0 {
            self.on_time = 0;
            counters.missed_ticks.add(missed);
            // That it hangs has been logged.
            if matches!(self.state, State::Late(_)) {
                debug!("ticks missed, for the source hangs source={name} count={missed}");
            } else {
                log!(self.missed.failed(), "ticks missed source={name} count={missed}");
            }
        } else {
            self.on_time = self.on_time.saturating_add(1);
            if self.on_time >= ON_TIME
                && let Some(times) = self.missed.ended()
            {
                info!("samples are on time again source={name} late={times}");
            }
        }
    }

    /// Takes what the helper brings back.
    pub fn returned(&mut self, done: Done, counters: &Counters) -> Option<Sample> {
        match std::mem::replace(&mut self.state, State::Free(done.sensor)) {
            State::Late(_) => {
                debug!("a late reading is thrown away source={}", self.route.source);
                None
            }
            State::Read(..) | State::Free(_) => self.sample(done.reading, counters),
        }
    }

    /// The sample of a reading that came in time.
    fn sample(&mut self, reading: Result<Reading, impl Display>, counters: &Counters) -> Option<Sample> {
        let name = &self.route.source;
        if let Some(late) = self.late.ended() {
            info!("source answers again source={name} late={late}");
        }
        match reading {
            Ok(Reading { taken, data }) => {
                counters.sampled.add(1);
                self.history.sampled(taken, &data);
                if let Some(failures) = self.failures.ended() {
                    info!("source works again source={name} failures={failures}");
                }
                Some(Sample { route: Arc::clone(&self.route), taken, data })
            }
            Err(error) => {
                counters.failed_samples.add(1);
                self.history.failed(&error.to_string());
                let level = self.failures.failed();
                log!(level, "sample failed; trying again at the next tick source={name} error={error}");
                None
            }
        }
    }
}

/// Tickets are unique in the process, so that what returns late is never taken for something else.
static TICKETS: AtomicU64 = AtomicU64::new(0);
