//! Answers what is asked of the agent: the main thread says what it knows, and has the others say their part to whoever
//! asks, so that it waits for nobody.

use crate::clock::{Clock, is_synchronised, rfc3339};
use crate::config::Config;
use crate::control::{Answer, Question, Request};
use crate::foreign;
use crate::publisher::Order;
use crate::report::{self, Agent, Configuration, Health, Publishing, Report, Source, Thread, judge, seconds};
use crate::sampler;
use crate::status::{Counters, CountersNow};
use crate::systemd::Watched;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A thread that has been silent for this long is not asked: it would find a heap of questions when it comes back.
const HANGS: Duration = Duration::from_secs(1);

/// What the main thread knows.
pub struct Desk {
    file: String,
    started: Instant,
    /// When the present configuration was handed on.
    pub applied: Instant,
    /// Why what is in its file by now cannot be applied.
    pub problem: Option<String>,
    pub is_stopping: bool,
    counters: Arc<Counters>,
    clock: Clock,
}

/// The other threads, as far as they can be asked.
pub struct Asking<'a> {
    pub sampler: Option<&'a Sender<sampler::Order>>,
    pub publisher: Option<&'a Sender<Order>>,
}

/// What others will say; `None`: they were not asked.
struct Parts {
    sources: Option<Receiver<Vec<Source>>>,
    publishing: Option<Receiver<Publishing>>,
}

impl Desk {
    /// For an agent that starts now, with the configuration of this file.
    pub fn new(file: &Path, counters: Arc<Counters>, clock: Clock) -> Self {
        let now = Instant::now();
        let file = std::path::absolute(file).map_or_else(|_| foreign::path(file), |file| foreign::path(&file));
        Self { file, started: now, applied: now, problem: None, is_stopping: false, counters, clock }
    }

    /// Answers a question. `threads`: those that should make progress.
    pub fn answer(&self, question: Question, config: &Config, asking: Asking<'_>, threads: &[&Watched]) {
        let now = Instant::now();
        let mut report = self.report(config, threads, now);
        let parts = ask(&asking, threads, now);
        if let (Request::Retry, Some(publisher)) = (question.request, asking.publisher) {
            // Behind the question, whose answer says what was waited for.
            let _ = publisher.send(Order::Hurry);
        }
        let answer: Answer = Box::new(move |deadline| {
            complete(&mut report, parts, deadline);
            judge(&mut report);
            serde_json::to_vec(&report).expect("plain values can be written as JSON")
        });
        // Whoever asked may be gone.
        let _ = question.reply.try_send(answer);
    }

    /// What this thread knows.
    fn report(&self, config: &Config, threads: &[&Watched], now: Instant) -> Report {
        let wall = self.clock.read().wall;
        let ago = |at: Instant| i64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(i64::MAX);
        let time = |at: Instant| rfc3339(wall.saturating_sub(ago(at)));
        Report {
            health: Health::Healthy,
            reasons: Vec::new(),
            time: rfc3339(wall),
            agent: Agent {
                device: foreign::shown(&config.device),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                process: std::process::id(),
                since: time(self.started),
                uptime_seconds: seconds(now.saturating_duration_since(self.started)),
                is_stopping: self.is_stopping,
            },
            configuration: Configuration {
                file: self.file.clone(),
                since: time(self.applied),
                problem: self.problem.clone(),
            },
            clock: report::Clock { is_synchronised: is_synchronised() },
            threads: threads.iter().map(|thread| silence(thread, now)).collect(),
            connection: None,
            waiting: None,
            rates: None,
            spool: None,
            sources: None,
            counters: CountersNow::from(&*self.counters),
        }
    }
}

fn silence(thread: &Watched, now: Instant) -> Thread {
    Thread { name: thread.name.to_owned(), silent_seconds: seconds(thread.pulse.silence(now)) }
}

/// Has the threads say how they fare, but for those that hang.
fn ask(asking: &Asking<'_>, threads: &[&Watched], now: Instant) -> Parts {
    let comes_back = |name| threads.iter().any(|thread| thread.name == name && thread.pulse.silence(now) < HANGS);
    let sources = asking.sampler.filter(|_| comes_back("sampler")).and_then(|sampler| {
        let (reply, said) = bounded(1);
        sampler.send(sampler::Order::Report(reply)).ok().map(|()| said)
    });
    let publishing = asking.publisher.filter(|_| comes_back("publisher")).and_then(|publisher| {
        let (reply, said) = bounded(1);
        publisher.send(Order::Report(reply)).ok().map(|()| said)
    });
    Parts { sources, publishing }
}

/// Waits for what the others say, as long as there is time.
fn complete(report: &mut Report, parts: Parts, deadline: Instant) {
    report.sources = parts.sources.and_then(|sources| sources.recv_deadline(deadline).ok());
    if let Some(said) = parts.publishing.and_then(|publishing| publishing.recv_deadline(deadline).ok()) {
        let Publishing { connection, waiting, rates, spool } = said;
        report.connection = Some(connection);
        report.waiting = Some(waiting);
        report.rates = Some(rates);
        report.spool = Some(spool);
    }
}
