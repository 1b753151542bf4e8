//! What a new connection resumes of the session, and what it leaves out. Pure.

use super::Delivery;
use super::action::{Action, Now};
use super::event::{Connected, Publish, UnderWay};
use crate::burst::Burst;
use crate::planted::{Planted, is_planted};
use log::Level;
use std::collections::BTreeSet;
use std::time::Instant;

impl Delivery {
    /// The broker accepted the connection.
    pub(super) fn connected(&mut self, connected: Connected, backlog: u64, now: Now) {
        self.backlog = backlog;
        let away = self.story.connected(backlog, usize::from(self.config.delivery.window), now.at);
        let log = self.connection.connected(connected, now.at, backlog, away);
        self.actions.push_back(log);
        if connected.session_present && !is_planted(Planted::ResumedPublishedAnew) {
            let left_out = self.left_out();
            let resumed = self.window.resume(now.at, |what| !left_out.contains(&what));
            self.log(Level::Debug, format!("session resumed in_flight={resumed}"));
            for what in self.window.flying() {
                if let Some(message) = self.window.get(what) {
                    self.refusals.sent(what, &message.sample.route.topic);
                }
            }
            // A later connection resumes what this one leaves out, but a status message is old by then.
            if self.window.has_status() && !self.window.status_in_flight() {
                self.window.take(Publish::Status);
                self.actions.push_back(Action::Abandon(Publish::Status));
            }
        } else {
            self.end_condemned();
            let released = self.window.release();
            if released > 0 {
                let text =
                    format!("the broker has forgotten our session; {released} messages in flight are published again");
                self.log(Level::Warn, text);
            }
        }
        self.suspects.connected();
        self.refusals.connected(self.connection.member());
        self.unanswered.connected(self.connection.limit());
        self.quota = Burst::default();
        self.takes_messages = false;
        if self.suspects.is_without_status() {
            let topic = &self.config.status.topic;
            let text =
                format!("connections end over the status message; going without it over this one topic={topic:?}");
            self.log(Level::Warn, text);
        }
        if self.config.status.topic.is_some() {
            self.presence.connected(now.at);
        }
    }

    /// What the session has on its way and the next connection does not resume.
    #[must_use]
    pub fn left_out(&self) -> BTreeSet<Publish> {
        let resumed: BTreeSet<Publish> = self.resumable().collect();
        self.window.held().map(|held| held.what).filter(|what| !resumed.contains(what)).collect()
    }

    /// What the session has on its way and a connection resumes now, in order: no more publishes than the newest connection
    /// has taken at a time, and of what is doubtful only so much that others get past it.
    pub(super) fn resumable(&self) -> impl Iterator<Item = Publish> + '_ {
        let (limit, room) = self.unanswered.limits();
        let mut counted = self.window.counted();
        let is_none_held = self.window.held().next().is_none();
        let flying = self.window.flying().take(if is_none_held { 0 } else { usize::MAX });
        let mut doubtful = flying.filter(|what| self.is_doubtful(*what)).count();
        let resumed = self.window.held().filter(move |UnderWay { what, confirmed }| {
            let is_doubtful = self.is_doubtful(*what);
            let has_room = (*confirmed || counted < limit) && (!is_doubtful || doubtful < room);
            let is_resumed = has_room && self.resumes(*what);
            counted += usize::from(is_resumed && !confirmed);
            doubtful += usize::from(is_resumed && is_doubtful);
            is_resumed
        });
        resumed.map(|held| held.what)
    }

    /// Whether nothing is held against resuming this.
    fn resumes(&self, what: Publish) -> bool {
        let message = self.window.get(what);
        let waits = message.is_some_and(|message| self.refusals.leaves_out(what, &message.sample.route.topic));
        self.suspects.resumes(what) && !waits && !self.condemned.contains(what)
    }

    /// Until when nothing follows what was resumed; `None`: nothing was. The library may still be sending it, and first
    /// arrivals come in order. But what the broker does not answer in half of the time it has must not hold up the rest.
    pub(super) fn resumed_first_until(&self) -> Option<Instant> {
        let oldest = self.window.oldest_sent().filter(|_| self.window.is_resuming());
        let timeout = self.config.delivery.ack_timeout;
        Some(oldest? + timeout / 2)
    }
}
