//! Thread 2: takes samples from the channel into the spool, and publishes from there to the broker.
//!
//! One loop waits for whatever comes first: a sample, an order, a ring of the MQTT library, a deadline. It tells the core,
//! [`Delivery`], what happened, and does what that says; it decides nothing itself. It owns the spool and the connection,
//! so nothing needs a lock.
//!
//! What it guarantees: a message is published only after it was accepted, and leaves the spool only after the broker
//! acknowledged it or a rule of the configuration dropped it, which is counted and logged. The journal is written before
//! every publish.

mod broker;
mod clock;
mod credentials;
mod disk;
mod intake;
mod link;
mod meter;
mod news;
mod orders;
mod report;
mod shell;
#[cfg(test)]
mod simulator;
mod store;
mod watch;

use crate::clock::{Clock, instant, sleep};
use crate::config::Config;
use crate::delivery::{Action, Delivery, Event, Now};
use crate::spool::{Missing, Spool};
use crate::status::Counters;
use broker::Broker;
use clock::ClockWatch;
use credentials::Credentials;
use crossbeam_channel::{RecvError, never, select};
use link::Link;
use log::{info, warn};
use meter::Meter;
use news::{Announcer, Standing};
use shell::{Shell, StatusNow};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use watch::Watch;

pub use orders::{Change, Channels, End, Order};

/// How long the loop sleeps when nothing at all is due.
const IDLE: Duration = Duration::from_secs(3600);
/// How long a failing disk is tried when everything else has ended.
const LAST_TRIES: Duration = Duration::from_millis(500);

/// The publisher, before its thread runs.
pub struct Publisher<L> {
    shell: Shell<L>,
    credentials: Credentials,
    channels: Channels,
    announcer: Announcer,
    meter: Meter,
}

/// A publisher that takes from `channels.samples` into `spool`, and publishes from there.
pub fn publisher(
    config: Config,
    spool: Spool,
    channels: Channels,
    counters: Arc<Counters>,
    clock: Clock,
) -> impl FnOnce() -> End + Send {
    let clock = ClockWatch::new(clock, spool.boots());
    let link = Broker::new(&config, &spool, clock.boot_id());
    let publisher = Publisher::new(config, spool, link, channels, counters, clock, fastrand::u64(..));
    move || publisher.run()
}

impl<L: Link> Publisher<L> {
    fn new(
        config: Config,
        spool: Spool,
        link: L,
        channels: Channels,
        counters: Arc<Counters>,
        clock: ClockWatch,
        seed: u64,
    ) -> Self {
        let started = clock.stamp();
        let meter = Meter::new(clock.now().at);
        let (samples, capacity) = (channels.samples.clone(), config.channel.capacity);
        let shell = Shell {
            delivery: Delivery::new(config, clock.times(), link.first(), seed, clock.now().at),
            store: Store::new(spool, samples, capacity, Arc::clone(&counters)),
            link,
            clock,
            watch: Watch::default(),
            status: StatusNow { started, applied: started, problem: None, hanging: Vec::new() },
            counters,
            end: End::Stopped,
            gives_up: channels.gives_up.clone(),
            pulse: Arc::clone(&channels.pulse),
        };
        Self { shell, credentials: Credentials::default(), channels, announcer: Announcer::default(), meter }
    }

    /// Runs until a channel is closed and what was in flight is acknowledged or `shutdown_timeout` has passed.
    fn run(mut self) -> End {
        self.credentials.look(&self.shell.delivery.config().broker, instant());
        self.shell.read_back(self.shell.clock.now());
        let mut turned = self.turn();
        loop {
            let now = self.shell.clock.now();
            self.tell_news(now);
            let deadline = self.deadline(turned).unwrap_or(now.at + IDLE).min(self.shell.store.next_look());
            self.channels.pulse.rests_until(deadline);
            select! {
                recv(self.channels.orders) -> order => match order {
                    Ok(order) => self.apply(order),
                    Err(RecvError) => break,
                },
                recv(self.shell.store.intake.samples()) -> sample => match sample {
                    Ok(sample) => self.shell.store.intake.push(sample),
                    Err(RecvError) if self.follow_channel() => {}
                    Err(RecvError) => break,
                },
                recv(self.channels.hanging) -> hanging => self.note_hanging(hanging),
                recv(self.shell.link.rings()) -> ring => if let Ok(ring) = ring {
                    self.shell.hear(ring);
                },
                default(deadline.saturating_duration_since(instant())) => {}
            }
            self.channels.pulse.works(instant());
            turned = self.turn();
        }
        self.stop();
        self.shell.end
    }

    /// Notes which sources hang, for the status message and the service manager.
    fn note_hanging(&mut self, hanging: Result<Vec<String>, RecvError>) {
        match hanging {
            Ok(hanging) => {
                self.shell.status.hanging = hanging;
                self.shell.delivery.on(Event::StatusChanged, self.shell.clock.now());
            }
            // The sampler has ended.
            Err(RecvError) => self.channels.hanging = never(),
        }
    }

    /// Takes in what has come, then does what the core says; the moment to ask [`Publisher::deadline`] with.
    fn turn(&mut self) -> Now {
        self.shell.hear_all();
        let now = self.shell.clock.now();
        self.look_after_files(now);
        for range in self.shell.store.take_in(self.shell.delivery.range_in_flight(), now.at) {
            self.shell.delivery.on(Event::Dropped(range), now);
        }
        // The disk may have taken its time: what has come meanwhile counts before any deadline does.
        let now = self.shell.clock.now();
        self.shell.hear_all();
        if let Some(beginning) = self.shell.clock.look(now.at) {
            self.shell.delivery.on(Event::BootBegan(beginning), now);
        }
        if let Some(event) = self.shell.watch.look(now.at) {
            self.shell.delivery.on(event, now);
        }
        self.shell.store.set_aside_late(now.at);
        self.shell.store.bound_repeats(now.at);
        self.shell.delivery.on(Event::Turn { backlog: self.shell.store.waiting() }, now);
        self.shell.act();
        self.meter.look(&self.shell.counters, now.at);
        // An attempt may have failed by now.
        self.shell.watch();
        now
    }

    /// Notices what was deleted or replaced: files of the spool, and those that the next connection needs.
    fn look_after_files(&mut self, now: Now) {
        if !self.shell.store.is_to_look(now.at) {
            return;
        }
        let Shell { store, delivery, .. } = &mut self.shell;
        match store.look(|seq| delivery.has(seq), now.at) {
            Ok(lost) if lost.is_empty() => {}
            Ok(lost) => {
                lost.into_iter().for_each(|range| self.shell.delivery.on(Event::Dropped(range), now));
                self.shell.delivery.on(Event::StatusChanged, now);
            }
            Err(taken) => return self.shell.abandon_spool(&taken),
        }
        // What is over is not noted again.
        self.shell.write_journal(now);
        self.shell.link.put_back_notes(self.shell.store.spool.directory());
        self.shell.clock.put_back();
        self.credentials.look(&self.shell.delivery.config().broker, now.at);
    }

    /// The earliest moment at which something has to be done. `turned`: when the last turn began, for what was due by then
    /// is done or waits for something else, and what was due later has not been looked at.
    fn deadline(&self, turned: Now) -> Option<Instant> {
        let deadlines = [
            self.shell.store.deadline(turned.at),
            self.shell.delivery.deadline(turned),
            self.shell.clock.deadline(),
            self.announcer.due(),
            self.shell.watch.next_look(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Does what the main thread asks for.
    fn apply(&mut self, order: Order) {
        let now = self.shell.clock.now();
        match order {
            Order::Change(change) => {
                let Change { config, routes, samples } = *change;
                if let Some(samples) = samples {
                    self.shell.store.intake.follow(samples, config.channel.capacity);
                }
                self.shell.store.spool.change(&config.spool, &routes);
                self.shell.status.problem = None;
                let has_session = self.shell.link.has_session();
                self.shell.delivery.on(Event::Reconfigure { config: Box::new(config), has_session }, now);
            }
            Order::Problem(problem) => {
                self.shell.status.problem = problem;
                self.shell.delivery.on(Event::StatusChanged, now);
            }
            Order::Hurry => self.shell.delivery.on(Event::Hurry, now),
            Order::Report(reply) => drop(reply.try_send(report::of(&self.shell, &self.meter, now))),
        }
    }

    /// Turns to the channel that follows the one that has closed; whether there is one. The order that brings it was
    /// given before the other end was let go of, and may not have been heard yet.
    fn follow_channel(&mut self) -> bool {
        while let Ok(order) = self.channels.orders.try_recv() {
            self.apply(order);
        }
        self.shell.store.intake.turn_to_next()
    }

    /// Tells how the agent fares, when that is news.
    fn tell_news(&mut self, now: Now) {
        let Some(news) = &self.channels.news else { return };
        let in_flight = u64::try_from(self.shell.delivery.spooled_in_flight()).unwrap_or(u64::MAX);
        let standing = Standing {
            reach: self.shell.delivery.reach(),
            disk_fails: self.shell.store.is_failing(),
            refused: self.shell.delivery.refused_altogether(),
            hanging: news::hanging(&self.shell.status.hanging),
            waiting: self.shell.store.waiting().saturating_sub(in_flight),
        };
        if let Some(line) = self.announcer.look(now.at, standing, || self.shell.delivery.detail())
            && news.try_send(line).is_err()
        {
            // It is told at the next turn.
            self.announcer = Announcer::default();
        }
    }

    /// Makes everything safe, waits for what is in flight, says goodbye.
    fn stop(&mut self) {
        // First of all, for whoever stops us may lose patience. What fails here is tried again below.
        let delivery = &self.shell.delivery;
        if let Err(taken @ Missing::Taken) =
            self.shell.store.put_back(|seq| delivery.has(seq), self.shell.clock.now().at)
        {
            self.shell.abandon_spool(&taken);
        }
        let _ = self.shell.store.save(self.shell.delivery.range_in_flight(), self.shell.clock.now().at);
        let backlog = self.shell.store.waiting();
        info!("stopping in_flight={} backlog={backlog}", self.shell.delivery.in_flight());
        // The broker's time begins when the disk has taken its own.
        let deadline = self.shell.clock.now().at + self.shell.delivery.config().shutdown_timeout;
        // What is acknowledged needs no wait.
        self.shell.hear_all();
        self.shell.delivery.on(Event::Stop(deadline), self.shell.clock.now());
        self.wait_for_the_broker(deadline);
        let messages = self.shell.delivery.give_back();
        self.shell.store.give_back(messages);
        match self.save(deadline.max(instant() + LAST_TRIES)) {
            Ok(()) => {
                self.shell.link.put_back_notes(self.shell.store.spool.directory());
                self.shell.link.end_session();
            }
            Err(error) => {
                warn!("not everything is safe on the disk error={error}");
                if self.shell.end == End::Stopped {
                    self.shell.end = End::Unsaved(error);
                }
            }
        }
        self.judge_the_rest();
        self.shell.store.intake.tell_rest();
        info!("stopped backlog={}", self.shell.store.waiting());
    }

    /// Looks a last time whether what is left is where the next process looks for it: whatever is in memory alone is lost now.
    fn judge_the_rest(&mut self) {
        let put_back = self.shell.store.put_back(|_| false, self.shell.clock.now().at);
        let why = match (put_back, self.shell.store.lost()) {
            (Ok(()), 0) => return,
            (Ok(()), lost) => format!("{lost} messages were lost with files that were taken away from the spool"),
            (Err(error), _) => format!("the spool's files were taken away: {error}"),
        };
        if self.shell.end == End::Stopped {
            warn!("{why}");
            self.shell.end = End::Unsaved(why);
        }
    }

    /// Does what the core says until the stop is complete.
    fn wait_for_the_broker(&mut self, deadline: Instant) {
        loop {
            self.shell.hear_all();
            let now = self.shell.clock.now();
            self.channels.pulse.works(now.at);
            match self.shell.delivery.next_action(now) {
                Some(Action::Stopped) => return,
                Some(action) => self.shell.perform(action, now),
                None => {
                    self.channels.pulse.rests_until(deadline);
                    if let Some(ring) = self.shell.link.wait(deadline) {
                        self.shell.hear(ring);
                    }
                }
            }
        }
    }

    /// Puts everything on the medium; why that did not work until the deadline.
    fn save(&mut self, deadline: Instant) -> Result<(), String> {
        loop {
            self.channels.pulse.works(instant());
            match self.shell.store.save(self.shell.delivery.range_in_flight(), self.shell.clock.now().at) {
                Err(_) if instant() < deadline => sleep(LAST_TRIES / 5),
                result => return result,
            }
        }
    }
}
