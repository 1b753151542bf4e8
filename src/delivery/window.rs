//! What was read from the store and is not over yet: in flight, or about to be. One window for all: messages of the spool,
//! messages from memory, and the status message. Pure.

use super::entry::{Entry, Sent, State};
use super::event::{Publish, UnderWay};
use crate::message::{Message, Seq};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Bytes of messages that may be held where more than the window's are read: 4,000 of the usual size, and what a gateway
/// with little memory has to spare.
const MORE_BYTES: usize = 4 * 1024 * 1024;

/// Messages that are held at most: each may leave a gap in what is finished, and the spool's journal holds 4,094 rows of that.
pub const MOST: usize = 4000;

/// Some `capacity` messages in order of their ids, and what a former process had on its way.
#[derive(Debug)]
pub struct Window {
    capacity: usize,
    /// In order of their ids. They come at the back and go at the front, nearly always.
    entries: VecDeque<Entry>,
    /// Bytes of the messages' data.
    bytes: usize,
    /// Nothing below this waits.
    unsent: Publish,
    /// Nothing below this waits and may be sent, by the rule of [`Window::next_to_send`] as it was last.
    passed: Publish,
    /// What is in flight and since when, in the order in which it was sent: it is acknowledged in this order nearly always.
    in_flight: VecDeque<(Instant, Publish)>,
    /// How many are held.
    held: usize,
    /// How many were resumed and are in flight.
    resumed: usize,
    /// How many of these need nothing but the broker's PUBCOMP.
    released: usize,
}

impl Window {
    /// A window for this many messages, at least one and at most [`MOST`].
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, MOST),
            entries: VecDeque::new(),
            bytes: 0,
            unsent: Publish::FIRST,
            passed: Publish::FIRST,
            in_flight: VecDeque::new(),
            held: 0,
            resumed: 0,
            released: 0,
        }
    }

    /// Holds this many messages from now on, at least one. Those beyond stay until they are over.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.clamp(1, MOST);
    }

    /// Whether another message may be read, where `more` than the capacity are allowed, of some size together.
    pub fn has_room(&self, more: usize) -> bool {
        let most = (self.capacity + more).min(MOST);
        self.len() < self.capacity || (self.len() < most && self.bytes < MORE_BYTES)
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len() - usize::from(self.has_status())
    }

    /// How many publishes are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many of those in flight count at the broker. A PUBREL that is sent again does not (MQTT 5, 4.9).
    pub fn counted(&self) -> usize {
        self.in_flight.len() - self.released
    }

    /// How many messages of the spool are in flight.
    pub fn spooled_in_flight(&self) -> usize {
        self.in_flight.iter().filter(|(_, what)| what.spooled().is_some()).count()
    }

    /// Whether the status message is in flight or held: another one must not be published meanwhile.
    pub fn has_status(&self) -> bool {
        self.status().is_some()
    }

    /// Whether the status message is in flight.
    pub fn status_in_flight(&self) -> bool {
        self.status().is_some_and(|entry| matches!(entry.state, State::InFlight(_)))
    }

    /// Whether a status message that a former connection had begun to send is in flight.
    pub fn is_status_resumed(&self) -> bool {
        self.status().is_some_and(|entry| entry.state == State::InFlight(Sent::Again))
    }

    /// The status message: nothing has a higher id.
    fn status(&self) -> Option<&Entry> {
        self.entries.back().filter(|entry| entry.what == Publish::Status)
    }

    /// Makes a place for the status message, where it has none.
    fn admit_status(&mut self) {
        if !self.has_status() {
            self.entries.push_back(Entry::waiting(Publish::Status, None));
        }
    }

    /// Whether publishes of a former connection are in flight. Others have to wait for them, for the library may still
    /// be sending them, and first arrivals come in order.
    pub fn is_resuming(&self) -> bool {
        self.resumed > 0
    }

    /// Adds a message that waits.
    pub fn push(&mut self, what: Publish, message: Message) {
        self.bytes += message.sample.data.len();
        let entry = Entry::waiting(what, Some(message));
        match self.place(what) {
            Ok(place) => self.entries[place] = entry,
            Err(place) => self.entries.insert(place, entry),
        }
        self.may_be_next(what);
    }

    /// Where this is; `Err`: where it would be. Each publish asks a dozen times, and mostly the numbers have no gaps.
    fn place(&self, what: Publish) -> Result<usize, usize> {
        if self.entries.back().is_none_or(|last| last.what < what) {
            return Err(self.entries.len());
        }
        match self.entries.front().and_then(|first| first.what.distance(what)) {
            Some(place) if self.entries.get(place).is_some_and(|entry| entry.what == what) => Ok(place),
            _ => self.entries.binary_search_by_key(&what, |entry| entry.what),
        }
    }

    fn entry(&self, what: Publish) -> Option<&Entry> {
        self.entries.get(self.place(what).ok()?)
    }

    fn entry_mut(&mut self, what: Publish) -> Option<&mut Entry> {
        self.place(what).ok().and_then(|place| self.entries.get_mut(place))
    }

    /// This waits, and may be the next to be sent.
    fn may_be_next(&mut self, what: Publish) {
        self.unsent = self.unsent.min(what);
        self.passed = self.passed.min(what);
    }

    /// The highest message of the spool.
    pub fn last_spooled(&self) -> Option<Seq> {
        self.entries.iter().rev().find_map(|entry| entry.what.spooled())
    }

    /// The lowest message that waits and may be sent. Where the rule changes, [`Window::reconsider`] comes before: what may
    /// not be sent is not looked at again.
    pub fn next_to_send(&mut self, may: impl Fn(Publish, &Message) -> bool) -> Option<Publish> {
        let from = self.passed.max(self.unsent);
        let next = self.messages(from, |state| state == State::Waiting).find(|(what, message)| may(*what, message));
        let next = next.map(|(what, _)| what);
        let end = next.or_else(|| self.entries.back().map(|entry| entry.what.next()));
        self.passed = end.unwrap_or(Publish::FIRST);
        next
    }

    /// Other messages may be sent than before.
    pub fn reconsider(&mut self) {
        self.passed = Publish::FIRST;
    }

    /// Notes that a message that waits, or the status message, was sent as a packet of `size` bytes.
    pub fn sent(&mut self, what: Publish, size: usize, now: Instant) {
        if what == Publish::Status {
            self.admit_status();
        }
        let was_next = self.waiting().next().is_some_and(|(next, _)| next == what);
        if let Some(entry) = self.entry_mut(what).filter(|entry| entry.state == State::Waiting) {
            entry.state = State::InFlight(Sent::Anew);
            entry.size = size;
            self.in_flight.push_back((now, what));
            if was_next {
                self.unsent = what.next();
            }
        }
    }

    /// This is not in flight any more.
    fn end_flight(&mut self, what: Publish, sent: Sent) {
        if let Some(place) = self.in_flight.iter().position(|(_, other)| *other == what) {
            self.in_flight.remove(place);
        }
        self.resumed -= usize::from(sent != Sent::Anew);
        self.released -= usize::from(sent == Sent::Released);
    }

    /// Bytes of the packet that this was sent as; 0 before.
    pub fn size_of(&self, what: Publish) -> usize {
        self.entry(what).map_or(0, |entry| entry.size)
    }

    /// Counts everything in flight as sent so much later, but not later than `now`.
    pub fn postpone(&mut self, by: Duration, now: Instant) {
        self.in_flight.iter_mut().for_each(|(sent, _)| *sent = (*sent + by).min(now));
    }

    /// Takes out what is in flight and has been acknowledged or refused. `None`: it is not in flight; `Some(None)`: it was the
    /// status message.
    pub fn remove(&mut self, what: Publish) -> Option<Option<Message>> {
        let State::InFlight(_) = self.entry(what)?.state else { return None };
        Some(self.take(what))
    }

    /// Takes out a message, whatever its state.
    pub fn take(&mut self, what: Publish) -> Option<Message> {
        let place = self.place(what).ok()?;
        let entry = self.entries.remove(place)?;
        self.bytes -= entry.message.as_ref().map_or(0, |message| message.sample.data.len());
        match entry.state {
            State::Waiting => {}
            State::InFlight(sent) => self.end_flight(what, sent),
            State::Held { .. } => self.held -= 1,
        }
        entry.message
    }

    /// A message in flight was refused or did not leave, or one that is held leaves the session: it waits to be sent again.
    pub fn recalled(&mut self, what: Publish) {
        let Some(entry) = self.entry_mut(what) else { return };
        match std::mem::replace(&mut entry.state, State::Waiting) {
            State::InFlight(sent) => self.end_flight(what, sent),
            State::Held { .. } => self.held -= 1,
            State::Waiting => {}
        }
        self.may_be_next(what);
    }

    /// The messages in flight, in order of their ids.
    pub fn flying(&self) -> impl Iterator<Item = Publish> + '_ {
        let messages = self.entries.iter().filter(|entry| entry.message.is_some());
        messages.filter(|entry| matches!(entry.state, State::InFlight(_))).map(|entry| entry.what)
    }

    /// The messages that wait, in order of their ids.
    pub fn waiting(&self) -> impl Iterator<Item = (Publish, &Message)> {
        self.messages(self.unsent, |state| state == State::Waiting)
    }

    /// The messages that wait or are held, in order of their ids; without those that the broker has confirmed.
    pub fn grounded(&self) -> impl Iterator<Item = (Publish, &Message)> {
        self.messages(Publish::FIRST, |state| matches!(state, State::Waiting | State::Held { confirmed: false }))
    }

    /// The messages from this id on that are in such a state, in order of their ids.
    fn messages(&self, from: Publish, is: impl Fn(State) -> bool) -> impl Iterator<Item = (Publish, &Message)> {
        let (Ok(first) | Err(first)) = self.place(from);
        let chosen = self.entries.range(first..).filter(move |entry| is(entry.state));
        chosen.filter_map(|entry| Some((entry.what, entry.message.as_ref()?)))
    }

    /// What is held, in order of ids.
    pub fn held(&self) -> impl Iterator<Item = UnderWay> + '_ {
        let none_held = self.held == 0;
        let entries = self.entries.iter().take(if none_held { 0 } else { usize::MAX });
        entries.filter_map(|entry| match entry.state {
            State::Held { confirmed } => Some(UnderWay { what: entry.what, confirmed }),
            State::Waiting | State::InFlight(_) => None,
        })
    }

    /// A message of this window.
    pub fn get(&self, what: Publish) -> Option<&Message> {
        self.entry(what)?.message.as_ref()
    }

    /// The connection is gone: what was in flight waits again, at the head and in order. What is on its way in the
    /// session is held. The status message that is not is forgotten.
    pub fn connection_lost(&mut self, under_way: &[UnderWay]) {
        if under_way.iter().any(|held| held.what == Publish::Status) {
            self.admit_status();
        } else {
            self.take(Publish::Status);
        }
        self.entries.iter_mut().for_each(|entry| entry.state = State::Waiting);
        for UnderWay { what, confirmed } in under_way {
            if let Some(entry) = self.entry_mut(*what) {
                entry.state = State::Held { confirmed: *confirmed };
            }
        }
        self.held = self.entries.iter().filter(|entry| entry.state != State::Waiting).count();
        self.may_be_next(Publish::FIRST);
        self.in_flight.clear();
        (self.resumed, self.released) = (0, 0);
    }

    /// The broker resumes the session: what was held is in flight again, where it was not left out; how many.
    pub fn resume(&mut self, now: Instant, resumes: impl Fn(Publish) -> bool) -> usize {
        let mut resumed = 0;
        for entry in &mut self.entries {
            let State::Held { confirmed } = entry.state else { continue };
            if resumes(entry.what) {
                entry.state = State::InFlight(if confirmed { Sent::Released } else { Sent::Again });
                self.in_flight.push_back((now, entry.what));
                self.released += usize::from(confirmed);
                resumed += 1;
            }
        }
        self.held -= resumed;
        self.resumed += resumed;
        resumed
    }

    /// The broker has forgotten the session: what was held waits; how many. The status message is composed anew.
    pub fn release(&mut self) -> usize {
        let mut released = 0;
        for entry in self.entries.iter_mut().filter(|entry| matches!(entry.state, State::Held { .. })) {
            entry.state = State::Waiting;
            released += 1;
        }
        self.held = 0;
        self.may_be_next(Publish::FIRST);
        if self.status().is_some_and(|entry| entry.state == State::Waiting) {
            self.take(Publish::Status);
            released -= 1;
        }
        released
    }

    /// Takes out messages that wait and were dropped from the spool; which.
    pub fn drop_waiting(&mut self, range: &RangeInclusive<Publish>) -> Vec<Publish> {
        let waiting = self.entries.iter().filter(|entry| entry.state == State::Waiting);
        let dropped: Vec<Publish> = waiting.map(|entry| entry.what).filter(|what| range.contains(what)).collect();
        for what in &dropped {
            self.take(*what);
        }
        dropped
    }

    /// Takes out the messages from memory, in order.
    pub fn take_bypass(&mut self) -> Vec<Message> {
        let ids = self.entries.iter().map(|entry| entry.what);
        let from_memory: Vec<Publish> = ids.filter(|what| matches!(what, Publish::Bypass(_))).collect();
        from_memory.into_iter().filter_map(|what| self.take(what)).collect()
    }

    /// A range that has all messages of the spool in it that are in flight or held.
    pub fn range_in_flight(&self) -> Option<RangeInclusive<Publish>> {
        if self.in_flight.is_empty() && self.held == 0 {
            return None;
        }
        let spooled = self.entries.iter().filter(|entry| entry.what.spooled().is_some());
        let mut busy = spooled.filter(|entry| entry.state != State::Waiting).map(|entry| entry.what);
        let first = busy.next()?;
        Some(first..=busy.next_back().unwrap_or(first))
    }

    /// Whether a message was sent that no former connection had begun to send.
    pub fn has_sent_anew(&self) -> bool {
        let status = self.status_in_flight() && !self.is_status_resumed();
        self.in_flight.len() > self.resumed + usize::from(status)
    }

    /// What is in flight, and since when, in the order of sending.
    pub fn in_flight_since(&self) -> impl Iterator<Item = (Instant, Publish)> + '_ {
        self.in_flight.iter().copied()
    }

    /// Since when this is in flight; `None`: it is not.
    pub fn sent_at(&self, what: Publish) -> Option<Instant> {
        self.in_flight_since().find(|(_, other)| *other == what).map(|(sent, _)| sent)
    }

    /// The oldest publish in flight.
    pub fn oldest(&self) -> Option<Publish> {
        self.in_flight.front().map(|(_, what)| *what)
    }

    /// When the oldest publish in flight was sent.
    pub fn oldest_sent(&self) -> Option<Instant> {
        self.in_flight.front().map(|(sent, _)| *sent)
    }
}
