//! Starts the two threads, wires them together, and stops them in order.

use crate::clock::Clock;
use crate::config::Config;
use crate::message::Sample;
use crate::publisher::{Channels, End, Publisher};
use crate::pulse::Pulse;
use crate::sampler::{self, Scheduled};
use crate::spool::Spool;
use crate::status::Counters;
use crate::systemd::{Manager, Watched};
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use log::{error, info, warn};
use std::convert::Infallible;
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

/// Runs until `stop` says so, until the publisher gives up, or until a thread panics.
///
/// `manager` is told how the agent fares, and that it is alive while both threads make progress.
///
/// `housekeeping` is called about once a second, with the present moment; it returns when it wants to be called next.
pub fn run(
    config: Config,
    sources: Vec<Scheduled>,
    spool: Spool,
    stop: &Receiver<()>,
    mut manager: Manager,
    mut housekeeping: impl FnMut(Instant) -> Instant,
) -> Outcome {
    let (counters, clock) = (Arc::new(Counters::default()), Clock::new());
    let (samples, taken): (Sender<Sample>, _) = bounded(config.channel.capacity);
    let (sampler_runs, stop_sampler) = bounded::<Infallible>(0);
    let (publisher_runs, stop_publisher) = bounded::<Infallible>(0);
    let (gives_up, given_up) = bounded(1);
    let shutdown_timeout = config.shutdown_timeout;

    let (tell, told) = bounded(NEWS);
    let (tell, news) = if manager.listens() { (Some(tell), told) } else { (None, never()) };
    let watch = |name, steps| Watched { name, pulse: Arc::<Pulse>::default(), steps };
    let names = sources.iter().map(|scheduled| format!("source {}", scheduled.route.source)).collect();
    let (sampling, publishing) = (watch("sampler", names), watch("publisher", Vec::new()));

    let channels =
        Channels { samples: taken, stop: stop_publisher, gives_up, news: tell, pulse: Arc::clone(&publishing.pulse) };
    let publisher = Publisher::new(config, spool, channels, Arc::clone(&counters), clock);
    let publisher = Worker::start("publisher", move || publisher.run());
    let pulse = Arc::clone(&sampling.pulse);
    let sample = move || sampler::run(sources, &samples, &stop_sampler, &counters, &pulse, clock);
    let sampler = Worker::start("sampler", sample);

    loop {
        let now = Instant::now();
        let wake = housekeeping(now).min(manager.tick(now, &[&sampling, &publishing]));
        let wake = wake.saturating_duration_since(Instant::now());
        select! {
            recv(stop) -> _ => {
                info!("asked to stop");
                break;
            }
            recv(given_up) -> _ => break,
            recv(publisher.ended) -> _ => break,
            recv(sampler.ended) -> _ => break,
            recv(news) -> line => line.iter().for_each(|line| manager.status(line)),
            default(wake) => {}
        }
    }

    manager.stopping(shutdown_timeout + SAVING);
    // The sampler goes first, so that the publisher finds everything that was sampled in the channel.
    drop(sampler_runs);
    let sampler_ended = sampler.ends_within(shutdown_timeout.clamp(Duration::from_millis(100), SAMPLER_ENDS));
    if !sampler_ended {
        warn!("a source does not return; stopping without it");
    }
    drop(publisher_runs);
    loop {
        let wake = manager.tick(Instant::now(), &[&publishing]);
        if publisher.ends_within(wake.saturating_duration_since(Instant::now())) {
            break;
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
