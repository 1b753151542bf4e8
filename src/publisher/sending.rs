//! What the publisher sends next: from the spool in order, and from memory what the spool does not take.

use super::Publisher;
use super::caution::Control;
use crate::delivery::Dated;
use crate::delivery::rate::Rate;
use crate::delivery::{NotPublished, Publish};
use crate::message::{Message, Qos, Seq};
use crate::payload::Outgoing;
use crate::status::Counter;
use log::{info, log};
use std::time::{Duration, Instant};

/// The quality of service at which a message shows whether the broker takes anything: at QoS 0 nothing would.
pub(super) fn as_control(qos: Qos) -> Qos {
    qos.max(Qos::AtLeastOnce)
}

impl Publisher {
    /// Whether a message of the spool may be published, if there is one.
    pub(super) fn can_send(&self) -> bool {
        self.may_send() && (self.window.has_room() || self.window.next_to_send().is_some())
    }

    /// Whether the connection and the broker take another publish.
    pub(super) fn may_send(&self) -> bool {
        let in_flight = self.in_flight();
        self.connection.limit().is_some_and(|limit| in_flight < limit)
            && !self.window.is_resuming()
            && !self.has_to_resume()
            && self.caution.allows(
                in_flight,
                self.connection.awaited_status().is_some(),
                self.connection.lasting(),
                Instant::now(),
            )
    }

    /// How many messages are in flight, from the spool and from memory.
    pub(super) fn in_flight(&self) -> usize {
        self.window.in_flight() + self.bypass.window().in_flight()
    }

    /// Publishes in order until the window is full, the spool is empty or the rate is reached.
    pub(super) fn publish_waiting(&mut self) {
        self.rate_due = None;
        while self.can_send() {
            let now = Instant::now();
            // A long backlog of messages that are too old is dropped in one go.
            self.pulse.works(now);
            let Some((seq, control)) = self.next_message(now) else { return };
            let Some(message) = self.window.get(seq) else { return };
            let waited = self.times.waited(message.sample.taken);
            if let Some(counter) = self.outdated(message, waited) {
                counter.add(1);
                self.drop_outdated(seq, waited);
                continue;
            }
            self.rate_due = self.rate.as_ref().and_then(Rate::next).filter(|next| now < *next);
            if self.rate_due.is_some() {
                return;
            }
            let outgoing = self.outgoing(message, control);
            match self.connection.publish(Publish::Message(seq), outgoing) {
                Ok(()) => self.window.sent(seq, now),
                Err(NotPublished::TooLarge(reason)) => {
                    if self.set_aside(seq, &reason) {
                        continue;
                    }
                    return;
                }
                Err(NotPublished::Lost(lost)) => {
                    self.not_published(lost);
                    return;
                }
            }
            if let Some(control) = control {
                self.caution.published(Publish::Message(seq), control);
            }
            self.counters.published.add(1);
            if let Some(dropped) = self.outdated.ended() {
                info!("messages dropped, too old count={dropped}");
            }
            if let Some(rate) = &mut self.rate {
                rate.published(now);
            }
        }
    }

    /// Publishes what the spool does not take, when everything else has left: the disk that fails must not keep a
    /// message from a broker that is there.
    pub(super) fn publish_from_memory(&mut self) {
        if !self.intake.is_failing() {
            self.bypass.ended();
        }
        while self.may_send() && self.rate_due.is_none() {
            let now = Instant::now();
            if self.bypass.window().next_to_send().is_none() {
                let only_way = self.intake.is_failing() && self.window.next_to_send().is_none();
                let Some(sample) = only_way.then(|| self.intake.take_oldest()).flatten() else { return };
                self.bypass.push(sample);
            }
            let Some((seq, control)) = self.next_from_memory() else { return };
            let Some(message) = self.bypass.window().get(seq) else { return };
            match self.connection.publish(Publish::Bypass(seq), self.outgoing(message, control)) {
                Ok(()) => self.bypass.window_mut().sent(seq, now),
                Err(NotPublished::TooLarge(reason)) => {
                    self.bypass.window_mut().sent(seq, now);
                    self.bypass_refused(seq, &reason);
                    continue;
                }
                Err(NotPublished::Lost(lost)) => {
                    self.not_published(lost);
                    return;
                }
            }
            if let Some(control) = control {
                self.caution.published(Publish::Bypass(seq), control);
            }
            self.counters.published.add(1);
            self.counters.from_memory.add(1);
            self.rate.iter_mut().for_each(|rate| rate.published(now));
            self.rate_due = self.rate.as_ref().and_then(Rate::next).filter(|next| now < *next);
        }
    }

    /// The message of the spool that is published next, if there is one; as what, where it is to show whether the broker
    /// takes anything.
    fn next_message(&mut self, now: Instant) -> Option<(Seq, Option<Control>)> {
        if self.caution.passed_over().is_some() {
            let Some((Publish::Message(seq), control)) = self.next_control() else { return None };
            return Some((seq, Some(control)));
        }
        if self.window.next_to_send().is_none() && !self.read_on(now) {
            return None;
        }
        self.window.next_to_send().map(|message| (message.seq, None))
    }

    /// As [`Publisher::next_message`], of the messages in memory.
    fn next_from_memory(&self) -> Option<(Seq, Option<Control>)> {
        if self.caution.passed_over().is_some() {
            let Some((Publish::Bypass(seq), control)) = self.next_control() else { return None };
            return Some((seq, Some(control)));
        }
        self.bypass.window().next_to_send().map(|message| (message.seq, None))
    }

    /// What a message is published as.
    fn outgoing(&self, message: &Message, control: Option<Control>) -> Outgoing {
        let outgoing = self.times.render(message, Dated::IfKnown);
        let qos = if control.is_some() { as_control(outgoing.qos) } else { outgoing.qos };
        Outgoing { qos, ..outgoing }
    }

    /// Moves the next message from the spool into the window; whether there was one.
    pub(super) fn read_on(&mut self, now: Instant) -> bool {
        if !self.reading.is_due(now) {
            return false;
        }
        let counters = &self.counters;
        let next = self.spool.next(now, |range| counters.damaged.add(range.end().0 - range.start().0 + 1));
        match next {
            Ok(message) => {
                self.reading.worked();
                let found = message.is_some();
                message.into_iter().for_each(|message| self.window.push(message));
                found
            }
            Err(error) => {
                self.reading.failed(now, &error);
                false
            }
        }
    }

    fn drop_outdated(&mut self, seq: Seq, waited: Duration) {
        let level = self.outdated.failed();
        log!(level, "message dropped, too old seq={seq} waited={}", humantime::format_duration(waited));
        self.window.drop_waiting(&(seq..=seq));
        self.spool.finish(seq, Instant::now());
    }

    /// The counter of the rule by which a message is too old; `None`: it is not.
    fn outdated(&self, message: &Message, waited: Duration) -> Option<&Counter> {
        if message.sample.route.expiry.is_some_and(|expiry| waited >= expiry) {
            return Some(&self.counters.dropped_expired);
        }
        self.config.spool.max_age.is_some_and(|age| waited >= age).then_some(&self.counters.dropped_max_age)
    }
}
