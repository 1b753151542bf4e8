//! Goes on by another configuration while the agent runs.
//!
//! Nothing is lost or sent twice by it: a connection that has to be another one ends as planned, after everything in
//! flight was acknowledged, and the spool and what is in memory stay as they are.

use super::Publisher;
use super::caution::Caution;
use crate::config::Config;
use crate::delivery::Publish;
use crate::delivery::rate::Rate;
use crate::message::{Qos, Route, Sample};
use crate::status;
use crossbeam_channel::Receiver;
use log::info;
use std::sync::Arc;
use std::time::Instant;

/// What the publisher is asked to do while it runs.
pub enum Order {
    /// Go on by another configuration.
    Change(Box<Change>),
    /// Tell in the status that the configuration's file cannot be applied, and why; `None`: that is over.
    Problem(Option<String>),
}

/// Another configuration.
pub struct Change {
    /// Its spool has the same folder.
    pub config: Config,
    /// Its routes.
    pub routes: Vec<Arc<Route>>,
    /// The channel that follows when the present one is closed; `None`: it stays.
    pub samples: Option<Receiver<Sample>>,
}

/// A change that waits for the connection to end.
#[derive(Debug)]
pub struct Pending {
    config: Config,
    /// Whether the former status topic was told that nobody is there any more.
    parted: bool,
}

impl Publisher {
    /// Does what the main thread asks for.
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Change(change) => {
                let Change { config, routes, samples } = *change;
                if let Some(samples) = samples {
                    self.intake.follow(samples, config.channel.capacity);
                }
                self.spool.change(&config.spool, &routes);
                self.file.problem = None;
                self.change = Some(Pending { config, parted: false });
            }
            Order::Problem(problem) => {
                self.file.problem = problem;
                self.status_is_due();
            }
        }
    }

    /// Goes on with the channel that follows the one that has closed; whether there is one. The order that brings it was
    /// given before the other end was let go of, and may not have been heard yet.
    pub(super) fn follow_channel(&mut self) -> bool {
        let orders = self.orders.clone();
        orders.try_iter().for_each(|order| self.obey(order));
        self.intake.turn_to_next()
    }

    /// When a change can be made; `None`: not now.
    pub(super) fn change_due(&self) -> Option<Instant> {
        let change = self.change.as_ref()?;
        let free = self.connection.limit().is_none() && !self.connection.is_between();
        (free || self.keeps_connection(&change.config)).then(Instant::now)
    }

    /// Makes the change that waits, or has the connection end that is in its way. Must come before the next attempt to
    /// connect.
    pub(super) fn change_over(&mut self) {
        if self.change_due().is_some() {
            if let Some(Pending { config, .. }) = self.change.take() {
                self.go_on_by(config);
            }
        } else if self.change.is_some() {
            self.connection.leave();
        }
    }

    /// Whether the present connection serves this configuration as well.
    fn keeps_connection(&self, config: &Config) -> bool {
        let Config { device, broker, retry, delivery, status, .. } = &self.config;
        let needs_session = config.telemetry.sources.iter().any(|source| source.qos == Qos::ExactlyOnce);
        *device == config.device
            && *broker == config.broker
            && *retry == config.retry
            && delivery.window == config.delivery.window
            && status.topic == config.status.topic
            && (self.connection.session().is_some() || !needs_session)
    }

    fn go_on_by(&mut self, config: Config) {
        // An attempt that was the last one would stay it.
        let keeps_connection = self.keeps_connection(&config) && !self.connection.is_over();
        self.config = config;
        if !keeps_connection {
            let will = status::offline(&self.config, self.started);
            self.connection.change(&self.config, &self.spool, will, self.times.boot_id());
            let session = self.connection.session();
            self.window.connection_lost(|seq| session.is_some_and(|session| session.contains(Publish::Message(seq))));
            self.bypass.window_mut().connection_lost(|_| false);
            // Another broker may take what the former one did not.
            self.caution = Caution::default();
            self.window.forgive();
            self.bypass.window_mut().forgive();
        }
        let delivery = &self.config.delivery;
        self.window.set_capacity(usize::from(delivery.window));
        self.bypass.window_mut().set_capacity(usize::from(delivery.window));
        self.rate = delivery.max_rate.map(Rate::new);
        self.file.applied = self.times.now();
        self.status_is_due();
        info!("configuration changed{}", if keeps_connection { "" } else { "; connecting anew" });
    }

    /// Publishes the status at once, where there is a connection.
    fn status_is_due(&mut self) {
        self.next_status = self.next_status.map(|_| Instant::now());
    }

    /// Says goodbye where nobody may come back to: on a status topic or at a broker that the change gives up. Once; whether
    /// that has to be waited for.
    pub(super) fn part(&mut self) -> bool {
        let Some(change) = &mut self.change else { return false };
        let Config { broker, status, .. } = &change.config;
        let stays = *broker == self.config.broker && status.topic == self.config.status.topic;
        if std::mem::replace(&mut change.parted, true) || stays {
            return false;
        }
        self.publish_offline().unwrap_or_else(|lost| {
            self.not_published(lost);
            true
        })
    }
}
