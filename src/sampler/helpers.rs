//! Threads that take readings which may block, so that a sensor that hangs holds up no other one.
//!
//! Guarantees: a reading that hangs holds one thread and nothing else, and nobody waits for it. There are few threads while
//! readings return: more are started only when readings wait and none has returned for [`STUCK`], and never more than the
//! limit. One that has had nothing to do for [`IDLE`] ends. The supervisor, which owns [`Helpers`], never blocks.

use crate::burst::Burst;
use crate::clock::Clock;
use crate::message::Stamp;
use crate::source::Source;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use log::{Level, info, warn};
use serde_json::Value;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Readings that wait while none returns for this long need another helper. Files of the kernel answer within a tenth of
/// it, also on a Raspberry Pi.
const STUCK: Duration = Duration::from_millis(2);
/// How long no helper is started after one could not be. Whoever limits threads does not change that by the millisecond.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a helper waits for something to do. Longer than most intervals, so that it is not started anew at each tick.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of a helper's stack. A reading opens a file and reads it into the heap.
const STACK: usize = 128 * 1024;
/// Helpers beyond one for each source: for readings that hang in sources which an edit took away.
const LEFT_BEHIND: usize = 8;

/// What there is to say of a source that panics.
pub const PANICKED: &str = "the source panicked; please report this";

/// A source that can be sampled in any thread.
pub type Sensor = Box<dyn Source + Send>;

/// Names one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// A reading that is to be taken.
pub struct Job {
    pub ticket: Ticket,
    pub sensor: Sensor,
}

/// A reading that has returned.
pub struct Done {
    pub ticket: Ticket,
    pub sensor: Sensor,
    pub reading: Result<Reading, String>,
}

/// What a source gave, and when it was asked.
pub struct Reading {
    pub taken: Stamp,
    /// One JSON object in UTF-8.
    pub data: Vec<u8>,
}

impl Reading {
    /// Takes one, now.
    pub fn take(sensor: &mut Sensor, clock: Clock) -> Result<Self, String> {
        let taken = clock.now();
        let data = sensor.sample().map_err(|error| error.to_string())?;
        Ok(Self { taken, data: Value::Object(data).to_string().into_bytes() })
    }
}

/// What supervisor and helpers share.
#[derive(Default)]
struct Shared {
    /// Readings that no helper has begun.
    waiting: VecDeque<Job>,
    /// Helpers with nothing to do; the one that was busy last is the last, so that others come to their end.
    idle: Vec<(u64, Sender<Job>)>,
    helpers: usize,
}

/// The supervisor's side of them.
pub struct Helpers {
    shared: Arc<Mutex<Shared>>,
    tell: Sender<Done>,
    done: Receiver<Done>,
    clock: Clock,
    limit: usize,
    started: u64,
    /// When the last reading returned, or the first of those that wait began to.
    progress: Instant,
    /// Before this no helper is started.
    not_before: Instant,
    not_started: Burst,
}

impl Helpers {
    /// None yet.
    pub fn new(clock: Clock, now: Instant) -> Self {
        let (tell, done) = unbounded();
        let (shared, not_started) = (Arc::default(), Burst::default());
        let (limit, progress, not_before) = (LEFT_BEHIND, now, now);
        Self { shared, tell, done, clock, limit, started: 0, progress, not_before, not_started }
    }

    /// So many sources need helpers.
    pub fn serve(&mut self, sources: usize) {
        self.limit = sources + LEFT_BEHIND;
    }

    /// Where readings return.
    pub fn done(&self) -> &Receiver<Done> {
        &self.done
    }

    /// Has a reading taken as soon as a helper is free.
    pub fn begin(&mut self, job: Job, now: Instant) {
        let mut shared = lock(&self.shared);
        if let Some((_, helper)) = shared.idle.pop() {
            // It has room for one, and waits for it.
            let _ = helper.send(job);
            return;
        }
        if shared.waiting.is_empty() {
            self.progress = now;
        }
        shared.waiting.push_back(job);
        let is_first = shared.helpers == 0;
        drop(shared);
        if is_first && now >= self.not_before {
            self.start(1, now);
        }
    }

    /// Takes back a reading that no helper has begun.
    pub fn withdraw(&self, ticket: Ticket) -> Option<Sensor> {
        let mut shared = lock(&self.shared);
        let at = shared.waiting.iter().position(|job| job.ticket == ticket)?;
        shared.waiting.remove(at).map(|job| job.sensor)
    }

    /// A reading has returned.
    pub fn returned(&mut self, now: Instant) {
        self.progress = now;
    }

    /// When [`Helpers::tend`] has something to do, unless a reading returns before.
    pub fn due(&self) -> Option<Instant> {
        let shared = lock(&self.shared);
        let waits = !shared.waiting.is_empty() && shared.helpers < self.limit;
        waits.then(|| self.not_before.max(self.progress + STUCK))
    }

    /// Starts helpers where all that are there seem to hang.
    pub fn tend(&mut self, now: Instant) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        let (waiting, helpers) = {
            let shared = lock(&self.shared);
            (shared.waiting.len(), shared.helpers)
        };
        self.progress = now;
        // Twice as many each time: a hundred sensors that hang must not hold up the others for long.
        self.start(helpers.max(1).min(waiting).min(self.limit.saturating_sub(helpers)), now);
    }

    fn start(&mut self, count: usize, now: Instant) {
        for _ in 0..count {
            self.started += 1;
            let (id, shared, tell, clock) = (self.started, Arc::clone(&self.shared), self.tell.clone(), self.clock);
            lock(&self.shared).helpers += 1;
            let builder = thread::Builder::new().name("helper".to_owned()).stack_size(STACK);
            if let Err(error) = builder.spawn(move || help(id, &shared, &tell, clock)) {
                lock(&self.shared).helpers -= 1;
                self.not_before = now + AGAIN;
                // It is tried every second.
                if self.not_started.failed() == Level::Warn {
                    warn!("no thread can be started to read a source error={error}");
                }
                return;
            }
        }
        if let Some(times) = self.not_started.ended() {
            info!("threads to read sources can be started again failures={times}");
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.waiting.clear();
        // Whose channel closes ends. One that hangs ends with the process, or finds nobody to tell.
        shared.idle.clear();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The life of a helper.
fn help(id: u64, shared: &Mutex<Shared>, tell: &Sender<Done>, clock: Clock) {
    loop {
        let job = match next(id, shared) {
            Ok(job) => job,
            Err(given) => match wait(id, shared, &given) {
                Some(job) => job,
                None => break,
            },
        };
        let Job { ticket, mut sensor } = job;
        let reading = catch_unwind(AssertUnwindSafe(|| Reading::take(&mut sensor, clock)));
        let reading = reading.unwrap_or_else(|_| Err(PANICKED.to_owned()));
        if tell.send(Done { ticket, sensor, reading }).is_err() {
            break;
        }
    }
    lock(shared).helpers -= 1;
}

/// The next reading that waits, or where one will be given.
fn next(id: u64, shared: &Mutex<Shared>) -> Result<Job, Receiver<Job>> {
    let mut shared = lock(shared);
    shared.waiting.pop_front().ok_or_else(|| {
        let (give, given) = bounded(1);
        shared.idle.push((id, give));
        given
    })
}

/// Waits for something to do; `None`: it has been long enough.
fn wait(id: u64, shared: &Mutex<Shared>, given: &Receiver<Job>) -> Option<Job> {
    match given.recv_timeout(IDLE) {
        Ok(job) => Some(job),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            let mut shared = lock(shared);
            match shared.idle.iter().position(|(idle, _)| *idle == id) {
                Some(at) => {
                    shared.idle.remove(at);
                    None
                }
                // It was chosen at this very moment, or nobody is there any more.
                None => {
                    drop(shared);
                    given.recv().ok()
                }
            }
        }
    }
}
