//! Starts the two threads, wires them together, and stops them in order.

mod desk;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::Question;
use crate::message::{Route, Sample};
use crate::publisher::{Change, Channels, End, Order, publisher};
use crate::pulse::Pulse;
use crate::sampler::{self, Plan, Scheduled};
use crate::spool::Spool;
use crate::status::Counters;
use crate::systemd::{Manager, Watched};
use crossbeam_channel::{Receiver, Sender, bounded, never, select, unbounded};
use desk::{Asking, Desk};
use log::{error, info, warn};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a stop waits for a sample that is being taken.
const SAMPLER_ENDS: Duration = Duration::from_millis(500);

/// What a stop may take beyond `shutdown_timeout`: the sampler's end, and a slow disk that takes the rest.
const SAVING: Duration = Duration::from_secs(10);

/// Lines about how the agent fares that may wait for the main thread.
const NEWS: usize = 4;

/// How an agent ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was asked to, and everything accepted is on the medium.
    Stopped,
    /// The retry delay passed `retry.max_delay`: why the last attempt failed.
    GaveUp(String),
    /// The broker refuses credentials, client id or protocol version: its words.
    Refused(String),
    /// It was asked to, but the disk did not take everything: its words.
    Unsaved(String),
    /// This thread panicked, and the other one has saved what it had.
    Panicked(&'static str),
}

/// A thread, and a channel that closes when it ends, however it ends.
struct Worker<T> {
    name: &'static str,
    thread: JoinHandle<T>,
    ended: Receiver<Infallible>,
}

impl<T: Send + 'static> Worker<T> {
    fn start(name: &'static str, work: impl FnOnce() -> T + Send + 'static) -> Self {
        let (alive, ended) = bounded::<Infallible>(0);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _alive = alive;
                work()
            })
            .expect("the system has room for two threads at start");
        Self { name, thread, ended }
    }

    /// Whether the thread ends within this time.
    fn ends_within(&self, timeout: Duration) -> bool {
        self.ended.recv_timeout(timeout).is_err_and(|error| error.is_disconnected())
    }

    /// What the thread gave; the name of the thread when it panicked.
    fn join(self) -> Result<T, &'static str> {
        self.thread.join().map_err(|_| self.name)
    }
}

/// What an agent runs with.
pub struct Start {
    pub config: Config,
    /// The file that it is from.
    pub file: PathBuf,
    pub sources: Vec<Scheduled>,
    pub spool: Spool,
    /// New ones.
    pub counters: Arc<Counters>,
}

/// What others ask for: signals, and commands. The other ends live as long as the process.
pub struct Asked {
    /// The name of the signal that stops the agent.
    pub stop: Receiver<String>,
    /// The configuration is to be read at once, and the broker to be tried without waiting.
    pub reload: Receiver<()>,
    /// How the agent fares, and the like.
    pub questions: Receiver<Question>,
}

/// Why there is housekeeping to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It is time.
    Due,
    /// Somebody asked for it.
    Asked,
}

/// What became of the configuration's file.
#[derive(Debug)]
pub enum Edit {
    /// It says something else now, which is to be applied. The spool's folder is the same.
    Apply(Box<Config>),
    /// It says what cannot be applied, and why; `None`: that is over.
    Problem(Option<String>),
}

/// What the main thread has to do with the others while they run.
struct Control {
    config: Config,
    manager: Manager,
    plans: Sender<sampler::Order>,
    orders: Sender<Order>,
    sampling: Watched,
    publishing: Watched,
    desk: Desk,
}

impl Control {
    /// Answers a question, without waiting for the other threads.
    fn answer(&self, question: Question) {
        let asking = Asking { sampler: Some(&self.plans), publisher: Some(&self.orders) };
        self.desk.answer(question, &self.config, asking, &[&self.sampling, &self.publishing]);
    }

    /// Does what follows from an edit.
    fn follow(&mut self, edit: Edit) {
        let problem = match edit {
            Edit::Apply(config) => {
                self.change(*config);
                None
            }
            Edit::Problem(problem) => {
                self.order(Order::Problem(problem.clone()));
                problem
            }
        };
        self.desk.problem.clone_from(&problem);
        self.manager.problem(problem);
    }

    /// Has both threads go on by another configuration. What is in the channel between them comes first.
    fn change(&mut self, config: Config) {
        let (sources, capacity) = (Scheduled::all(&config), config.channel.capacity);
        let channel = (capacity != self.config.channel.capacity).then(|| bounded(capacity));
        let (samples, taken) = channel.unzip();
        // The publisher first: when its channel closes, it has to know of the next one.
        self.order(Order::Change(Box::new(Change {
            config: config.clone(),
            routes: routes(&sources),
            samples: taken,
        })));
        // A thread that has ended is noticed elsewhere.
        let _ = self.plans.send(sampler::Order::Follow(Plan { sources, samples }));
        self.desk.applied = Instant::now();
        self.config = config;
    }

    fn order(&self, order: Order) {
        // As above.
        let _ = self.orders.send(order);
    }
}

/// The routes of these sources.
#[must_use]
pub fn routes(sources: &[Scheduled]) -> Vec<Arc<Route>> {
    sources.iter().map(|scheduled| Arc::clone(&scheduled.route)).collect()
}

/// Runs until it is `asked` to stop, until the publisher gives up, or until a thread panics.
///
/// `manager` is told how the agent fares, and that it is alive while both threads make progress.
///
/// `housekeeping` is called every few seconds and when somebody asks, with the present moment; it returns when it wants to be called next, and
/// what became of the configuration's file.
pub fn run(
    start: Start,
    asked: &Asked,
    manager: Manager,
    mut housekeeping: impl FnMut(Occasion, Instant) -> (Instant, Option<Edit>),
) -> Outcome {
    let Start { config, file, sources, spool, counters } = start;
    let clock = Clock::new();
    let desk = Desk::new(&file, Arc::clone(&counters), clock);
    let (samples, taken): (Sender<Sample>, _) = bounded(config.channel.capacity);
    // Edits are few, and the main thread must not wait for a thread that hangs.
    let ((plans, planned), (orders, ordered), (hangs, hanging)) = (unbounded(), unbounded(), unbounded());
    let (gives_up, given_up) = bounded(1);

    let (tell, told) = bounded(NEWS);
    let (tell, news) = if manager.listens() { (Some(tell), told) } else { (None, never()) };
    let watch = |name| Watched { name, pulse: Arc::<Pulse>::default() };
    let (sampling, publishing) = (watch("sampler"), watch("publisher"));

    let channels = Channels {
        samples: taken,
        orders: ordered,
        hanging,
        gives_up,
        news: tell,
        pulse: Arc::clone(&publishing.pulse),
    };
    let publish = publisher(config.clone(), spool, channels, Arc::clone(&counters), clock);
    let publisher = Worker::start("publisher", publish);
    let pulse = Arc::clone(&sampling.pulse);
    let sample = move || sampler::run(sources, samples, &planned, &hangs, &counters, &pulse, clock);
    let sampler = Worker::start("sampler", sample);

    let mut control = Control { config, manager, plans, orders, sampling, publishing, desk };
    let mut occasion = Occasion::Due;
    loop {
        let now = Instant::now();
        let (wake, edit) = housekeeping(occasion, now);
        edit.into_iter().for_each(|edit| control.follow(edit));
        // Behind the edit, which may lead to another broker.
        if occasion == Occasion::Asked {
            control.order(Order::Hurry);
        }
        occasion = Occasion::Due;
        let wake = wake.min(control.manager.tick(now, &[&control.sampling, &control.publishing]));
        let wake = wake.saturating_duration_since(Instant::now());
        select! {
            recv(asked.stop) -> signal => {
                info!("asked to stop signal={}", signal.as_deref().unwrap_or("none"));
                break;
            }
            recv(asked.reload) -> _ => {
                info!("asked to read the configuration and to try the broker signal=SIGHUP");
                occasion = Occasion::Asked;
            }
            recv(given_up) -> _ => break,
            recv(publisher.ended) -> _ => break,
            recv(sampler.ended) -> _ => break,
            recv(asked.questions) -> question => question.into_iter().for_each(|question| control.answer(question)),
            recv(news) -> line => line.iter().for_each(|line| control.manager.status(line)),
            default(wake) => {}
        }
    }

    let Control { config, mut manager, plans, orders, publishing, mut desk, .. } = control;
    desk.is_stopping = true;
    manager.stopping(config.shutdown_timeout + SAVING);
    // The sampler goes first, so that the publisher finds everything that was sampled in the channel.
    drop(plans);
    let sampler_ended = sampler.ends_within(config.shutdown_timeout.clamp(Duration::from_millis(100), SAMPLER_ENDS));
    if !sampler_ended {
        warn!("the sampler does not return; stopping without it");
    }
    drop(orders);
    loop {
        let wake = manager.tick(Instant::now(), &[&publishing]);
        select! {
            recv(publisher.ended) -> _ => break,
            recv(asked.questions) -> question => question.into_iter().for_each(|question| {
                desk.answer(question, &config, Asking { sampler: None, publisher: None }, &[&publishing]);
            }),
            default(wake.saturating_duration_since(Instant::now())) => {}
        }
    }
    let end = publisher.join();
    // A sampler that hangs in a source ends with the process.
    let sampled = if sampler_ended { sampler.join() } else { Ok(()) };
    match (end, sampled) {
        (Err(thread), _) | (Ok(_), Err(thread)) => {
            error!("thread panicked thread={thread}");
            Outcome::Panicked(thread)
        }
        (Ok(End::Stopped), Ok(())) => Outcome::Stopped,
        (Ok(End::Unsaved(error)), Ok(())) => Outcome::Unsaved(error),
        (Ok(End::GaveUp(reason)), Ok(())) => Outcome::GaveUp(reason),
        (Ok(End::Refused(reason)), Ok(())) => Outcome::Refused(reason),
    }
}
