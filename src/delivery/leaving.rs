//! How a connection is left in order: for another configuration, for new credentials, to resume a session, or for good.

use super::Delivery;
use super::action::{Action, Now, Remains};
use super::condemned::Condemned;
use super::connection::Connection;
use super::effect::effect;
use super::rate::Rate;
use super::refusals::Refusals;
use crate::config::Config;
use log::Level;
use std::time::Instant;

/// Another configuration, which waits for the connection.
#[derive(Debug)]
pub struct Pending {
    config: Config,
    keeps_connection: bool,
}

/// The stop of the agent.
#[derive(Debug)]
pub struct Stop {
    until: Instant,
    is_complete: bool,
}

impl Stop {
    /// A stop that waits for what is in flight until then.
    pub fn new(until: Instant) -> Self {
        Self { until, is_complete: false }
    }

    /// When nothing more is waited for.
    pub fn until(&self) -> Instant {
        self.until
    }
}

impl Delivery {
    /// Another configuration is to be taken over.
    pub(super) fn reconfigure(&mut self, config: Config, has_session: bool) {
        let effect = effect(&self.config, &config);
        let keeps_connection = effect.keeps_connection && (has_session || !effect.needs_session);
        self.pending = Some(Pending { config, keeps_connection });
    }

    /// Takes another configuration over when the connection allows it, or leaves the connection that is in its way.
    pub(super) fn check_change(&mut self, now: Now) {
        let is_free = self.connection.is_idle();
        let Some(pending) = self.pending.take_if(|pending| pending.keeps_connection || is_free) else {
            if self.pending.is_some() {
                self.connection.leave();
            }
            return;
        };
        // An attempt that was the last one would stay it.
        let (action, text) = if pending.keeps_connection && !self.connection.is_over() {
            (Action::Apply, "configuration changed")
        } else {
            (Action::Reconnect, "configuration changed; connecting anew")
        };
        self.take_over(pending.config);
        if self.connection.is_refused() {
            self.connection.retry_now(now.at);
        }
        self.actions.push_back(action);
        self.log(Level::Info, text.to_owned());
    }

    fn take_over(&mut self, config: Config) {
        self.window.set_capacity(usize::from(config.delivery.window));
        self.pace.rate = config.delivery.max_rate.map(Rate::new);
        self.config = config;
    }

    /// The former connection is closed, and there is another configuration.
    pub(super) fn reconfigured(&mut self, remains: &Remains, now: Now) {
        self.window.connection_lost(&remains.under_way);
        // Another broker may take what the former one did not.
        self.suspects.reset();
        self.unanswered.reset();
        self.condemned = Condemned::default();
        self.refusals = Refusals::new(&self.config.retry);
        self.sizes = Self::sizes(&self.config);
        self.presence.lost();
        self.connection = Connection::new(&self.config, remains.first, now.at);
    }

    /// Ends a connection whose time is over, once everything that was published over it is acknowledged: nothing has to be
    /// published again. How long that may take is `ack_timeout`'s to say. Until the next connection subscribers know that
    /// nobody is here, for the broker forgets our will by this.
    pub(super) fn check_leaving(&mut self, now: Now) {
        if self.connection.is_leaving() && self.window.in_flight() == 0 && !self.say_goodbye(now) {
            self.connection.disconnect(now.at);
            self.actions.push_back(Action::Disconnect);
        }
    }

    /// The connection has ended as planned.
    pub(super) fn disconnected(&mut self, remains: &Remains, now: Now) {
        self.connection.disconnected(now.at);
        self.presence.lost();
        self.window.connection_lost(&remains.under_way);
        if self.stop.is_some() {
            self.complete_stop();
        } else {
            self.end_session_of_condemned();
        }
    }

    /// Waits for what is in flight, says goodbye, disconnects.
    pub(super) fn check_stop(&mut self, now: Now) {
        let Some(stop) = &self.stop else { return };
        if stop.is_complete {
            return;
        }
        let is_late = now.at >= stop.until;
        let is_connected = self.connection.limit().is_some();
        if !is_connected && (!self.connection.is_disconnecting() || is_late) {
            return self.complete_stop();
        }
        if is_connected && is_late && !self.has_room_at_broker() {
            // The broker takes nothing more, and publishes our will when the process ends without a word.
            return self.complete_stop();
        }
        let is_done = self.window.in_flight() == 0 || is_late;
        if is_connected && is_done && (!self.say_goodbye(now) || is_late) {
            self.connection.disconnect(now.at);
            self.actions.push_back(Action::Disconnect);
        }
    }

    /// Nothing more is waited for.
    pub(super) fn complete_stop(&mut self) {
        if let Some(stop) = self.stop.as_mut().filter(|stop| !stop.is_complete) {
            stop.is_complete = true;
            self.actions.push_back(Action::Stopped);
        }
    }
}
