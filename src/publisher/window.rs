//! The messages that were read from the spool and are not acknowledged yet: in flight, or about to be. Pure.

use crate::message::{Message, Seq};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// At most `capacity` messages, in order of seq, and those that a former process had on their way.
#[derive(Debug)]
pub struct Window {
    capacity: usize,
    messages: BTreeMap<Seq, Entry>,
    /// Nothing below this waits.
    unsent: Seq,
    /// What is in flight, in the order in which it was sent.
    in_flight: BTreeSet<(Instant, Seq)>,
    /// Messages that are held.
    held: usize,
    /// Messages that were resumed and are in flight.
    resumed: usize,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    state: State,
    /// How often the broker has refused it.
    refused: u32,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be sent.
    Waiting,
    /// Sent over the present connection.
    InFlight { sent: Instant, resumed: bool },
    /// On its way in the session that the broker keeps: to be resumed with it, and not sent as a new message.
    Held,
}

impl Window {
    /// A window for this many messages, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            messages: BTreeMap::new(),
            unsent: Seq::FIRST,
            in_flight: BTreeSet::new(),
            held: 0,
            resumed: 0,
        }
    }

    /// Holds at most this many messages from now on, at least one. Those beyond stay until they are acknowledged.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
    }

    /// Whether another message is to be pushed.
    pub fn has_room(&self) -> bool {
        self.messages.len() < self.capacity
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many messages are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether messages of a former connection are in flight. Others have to wait for them, for the library may still
    /// be sending them, and first arrivals come in order.
    pub fn is_resuming(&self) -> bool {
        self.resumed > 0
    }

    /// Adds a message that waits. Messages come in order of seq.
    pub fn push(&mut self, message: Message) {
        debug_assert!(self.last().is_none_or(|last| last < message.seq));
        self.messages.insert(message.seq, Entry { message, state: State::Waiting, refused: 0 });
    }

    /// The highest message.
    pub fn last(&self) -> Option<Seq> {
        self.messages.last_key_value().map(|(last, _)| *last)
    }

    /// The lowest message that waits.
    pub fn next_to_send(&self) -> Option<&Message> {
        let mut from_there = self.messages.range(self.unsent..);
        from_there.find(|(_, entry)| entry.state == State::Waiting).map(|(_, entry)| &entry.message)
    }

    /// Notes that a message that waits was sent: [`Window::next_to_send`], or one before others that wait longer.
    pub fn sent(&mut self, seq: Seq, now: Instant) {
        let was_next = self.next_to_send().is_some_and(|next| next.seq == seq);
        if let Some(entry) = self.messages.get_mut(&seq).filter(|entry| entry.state == State::Waiting) {
            entry.state = State::InFlight { sent: now, resumed: false };
            self.in_flight.insert((now, seq));
            if was_next {
                self.unsent = seq.next();
            }
        }
    }

    /// Counts everything in flight as sent so much later, but not later than `now`.
    pub fn postpone(&mut self, by: Duration, now: Instant) {
        for entry in self.messages.values_mut() {
            if let State::InFlight { sent, .. } = &mut entry.state {
                *sent = (*sent + by).min(now);
            }
        }
        self.in_flight =
            std::mem::take(&mut self.in_flight).into_iter().map(|(sent, seq)| ((sent + by).min(now), seq)).collect();
    }

    /// Takes out a message in flight that was acknowledged, set aside or dropped. `None`: it is not in flight.
    pub fn remove(&mut self, seq: Seq) -> Option<Message> {
        let State::InFlight { sent, resumed } = self.messages.get(&seq)?.state else { return None };
        self.in_flight.remove(&(sent, seq));
        self.resumed -= usize::from(resumed);
        self.messages.remove(&seq).map(|entry| entry.message)
    }

    /// Takes out a message that is not in flight.
    pub fn discard(&mut self, seq: Seq) {
        if let Some(entry) = self.messages.get(&seq).filter(|entry| !matches!(entry.state, State::InFlight { .. })) {
            self.held -= usize::from(entry.state == State::Held);
            self.messages.remove(&seq);
        }
    }

    /// Takes out everything, in order of seq.
    pub fn drain(&mut self) -> impl Iterator<Item = Message> {
        let emptied = std::mem::replace(self, Self::new(self.capacity));
        emptied.messages.into_values().map(|entry| entry.message)
    }

    /// The messages in flight, in order of seq.
    pub fn flying(&self) -> impl Iterator<Item = Seq> + '_ {
        let in_flight = self.messages.iter().filter(|(_, entry)| matches!(entry.state, State::InFlight { .. }));
        in_flight.map(|(seq, _)| *seq)
    }

    /// The messages that wait, in order of seq.
    pub fn waiting(&self) -> impl Iterator<Item = &Message> {
        self.messages.values().filter(|entry| entry.state == State::Waiting).map(|entry| &entry.message)
    }

    /// The messages that are not in flight, in order of seq.
    pub fn grounded(&self) -> impl Iterator<Item = &Message> {
        let grounded = self.messages.values().filter(|entry| !matches!(entry.state, State::InFlight { .. }));
        grounded.map(|entry| &entry.message)
    }

    /// The messages that are held, in order of seq.
    pub fn held(&self) -> impl Iterator<Item = Seq> + '_ {
        let none_held = self.held == 0;
        let messages = self.messages.iter().take(if none_held { 0 } else { usize::MAX });
        messages.filter(|(_, entry)| entry.state == State::Held).map(|(seq, _)| *seq)
    }

    /// Notes that the broker refused a message, and how often it did so by now. It stays where it is.
    pub fn refused(&mut self, seq: Seq) -> Option<u32> {
        let entry = self.messages.get_mut(&seq)?;
        entry.refused += 1;
        Some(entry.refused)
    }

    /// Forgets how often messages were refused.
    pub fn forgive(&mut self) {
        self.messages.values_mut().for_each(|entry| entry.refused = 0);
    }

    /// Notes that a message that was resumed is not on its way any more, and will be published as any other. It stays
    /// in flight.
    pub fn resumed(&mut self, seq: Seq) {
        if let Some(Entry { state: State::InFlight { resumed, .. }, .. }) = self.messages.get_mut(&seq) {
            self.resumed -= usize::from(std::mem::take(resumed));
        }
    }

    /// A message of this window.
    pub fn get(&self, seq: Seq) -> Option<&Message> {
        self.messages.get(&seq).map(|entry| &entry.message)
    }

    /// The connection is gone: what was in flight waits again, at the head and in order. What is on its way in the
    /// session is held.
    pub fn connection_lost(&mut self, is_under_way: impl Fn(Seq) -> bool) {
        self.held = 0;
        for (seq, entry) in &mut self.messages {
            entry.state = if is_under_way(*seq) { State::Held } else { State::Waiting };
            self.held += usize::from(entry.state == State::Held);
        }
        self.unsent = Seq::FIRST;
        self.in_flight.clear();
        self.resumed = 0;
    }

    /// The broker goes on with the session: what was held is in flight again, where it was not left out; how many.
    pub fn resume(&mut self, now: Instant, resumes: impl Fn(Seq) -> bool) -> usize {
        let mut resumed = 0;
        let held = self.messages.iter_mut().filter(|(seq, entry)| entry.state == State::Held && resumes(**seq));
        for (seq, entry) in held {
            entry.state = State::InFlight { sent: now, resumed: true };
            self.in_flight.insert((now, *seq));
            resumed += 1;
        }
        self.held -= resumed;
        self.resumed += resumed;
        resumed
    }

    /// The broker has forgotten the session: what was held waits; how many.
    pub fn release(&mut self) -> usize {
        for entry in self.messages.values_mut().filter(|entry| entry.state == State::Held) {
            entry.state = State::Waiting;
        }
        self.unsent = Seq::FIRST;
        std::mem::take(&mut self.held)
    }

    /// Takes out messages that wait and were dropped from the spool.
    pub fn drop_waiting(&mut self, range: &RangeInclusive<Seq>) {
        let in_range = self.messages.range(range.clone());
        let waiting = in_range.filter(|(_, entry)| entry.state == State::Waiting);
        let dropped: Vec<Seq> = waiting.map(|(seq, _)| *seq).collect();
        for seq in dropped {
            self.messages.remove(&seq);
        }
    }

    /// A range that has all messages in it that are in flight or held.
    pub fn range_in_flight(&self) -> Option<RangeInclusive<Seq>> {
        if self.in_flight.is_empty() && self.held == 0 {
            return None;
        }
        let (first, last) = (self.messages.first_key_value()?.0, self.messages.last_key_value()?.0);
        Some(*first..=*last)
    }

    /// When the oldest message in flight was sent.
    pub fn oldest_sent(&self) -> Option<Instant> {
        self.in_flight.first().map(|(sent, _)| *sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Format, Qos, Route, Sample, Stamp, StreamId};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    fn message(seq: u64) -> Message {
        let route = Route {
            device: String::new(),
            source: String::new(),
            topic: "t".to_owned(),
            qos: Qos::AtLeastOnce,
            retain: false,
            format: Format::Json,
            expiry: None,
        };
        let taken = Stamp { wall: 0, boot: 0, boot_id: 0, synchronised: true };
        let sample = Sample { route: Arc::new(route), taken, data: Vec::new() };
        Message { stream: StreamId(1), seq: Seq(seq), sample }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Send,
        SendAhead(prop::sample::Index),
        Remove(prop::sample::Index),
        Lose(u64),
        Resume(u64),
        Release,
        Drop(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            4 => Just(Step::Send),
            1 => any::<prop::sample::Index>().prop_map(Step::SendAhead),
            3 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => (1u64..5).prop_map(Step::Lose),
            1 => (1u64..4).prop_map(Step::Resume),
            1 => Just(Step::Release),
            1 => (0u64..60, 0u64..10).prop_map(|(first, length)| Step::Drop(first, length)),
        ]
    }

    proptest! {
        #[test]
        fn it_sends_in_order_and_forgets_nothing(capacity in 1usize..8, steps in proptest::collection::vec(step(), 0..120)) {
            let mut window = Window::new(capacity);
            let (mut waiting, mut flying, mut held) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let mut resumed = BTreeSet::new();
            let start = Instant::now();
            let mut pushed = 0;

            for (time, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push => {
                        prop_assert_eq!(window.has_room(), waiting.len() + flying.len() + held.len() < capacity);
                        if window.has_room() {
                            pushed += 1;
                            window.push(message(pushed));
                            waiting.insert(pushed);
                        }
                    }
                    Step::Send => {
                        let next = window.next_to_send().map(|message| message.seq.0);
                        prop_assert_eq!(next, waiting.first().copied());
                        next.into_iter().for_each(|seq| window.sent(Seq(seq), start + Duration::from_secs(time as u64)));
                        flying.extend(waiting.pop_first());
                    }
                    Step::SendAhead(index) if !waiting.is_empty() => {
                        let seq = *index.get(&waiting.iter().copied().collect::<Vec<u64>>());
                        window.sent(Seq(seq), start + Duration::from_secs(time as u64));
                        waiting.remove(&seq);
                        flying.insert(seq);
                    }
                    Step::SendAhead(_) => {}
                    Step::Remove(index) if !flying.is_empty() => {
                        let seq = *index.get(&flying.iter().copied().collect::<Vec<u64>>());
                        prop_assert_eq!(window.remove(Seq(seq)).map(|message| message.seq), Some(Seq(seq)));
                        prop_assert_eq!(window.remove(Seq(seq)), None);
                        flying.remove(&seq);
                        resumed.remove(&seq);
                    }
                    Step::Remove(_) => {}
                    Step::Lose(nth) => {
                        // Every nth message that was in flight is on its way in the session.
                        held.extend(flying.iter().copied().filter(|seq| seq % nth == 0));
                        waiting.extend(flying.iter().copied().filter(|seq| !held.contains(seq)));
                        flying.clear();
                        resumed.clear();
                        window.connection_lost(|seq| held.contains(&seq.0));
                    }
                    Step::Resume(nth) => {
                        // Every nth message is gone on with.
                        let gone_on: BTreeSet<u64> = held.extract_if(.., |seq| *seq % nth == 0).collect();
                        let now = start + Duration::from_secs(time as u64);
                        prop_assert_eq!(window.resume(now, |seq| seq.0 % nth == 0), gone_on.len());
                        resumed.extend(gone_on.iter().copied());
                        flying.extend(gone_on);
                    }
                    Step::Release => {
                        prop_assert_eq!(window.release(), held.len());
                        waiting.append(&mut held);
                    }
                    Step::Drop(first, length) => {
                        window.drop_waiting(&(Seq(first)..=Seq(first + length)));
                        waiting.retain(|seq| !(first..=first + length).contains(seq));
                    }
                }
                prop_assert_eq!(window.in_flight(), flying.len());
                prop_assert!(window.waiting().map(|message| message.seq.0).eq(waiting.iter().copied()));
                let grounded: BTreeSet<u64> = waiting.union(&held).copied().collect();
                prop_assert!(window.grounded().map(|message| message.seq.0).eq(grounded));
                prop_assert!(window.held().map(|seq| seq.0).eq(held.iter().copied()));
                prop_assert_eq!(window.oldest_sent().is_some(), !flying.is_empty());
                prop_assert_eq!(window.is_resuming(), !resumed.is_empty());
                let range = window.range_in_flight();
                prop_assert_eq!(range.is_some(), !(flying.is_empty() && held.is_empty()));
                prop_assert!(flying.iter().chain(&held).all(|seq| range.as_ref().unwrap().contains(&Seq(*seq))));
            }
        }
    }

    #[test]
    fn the_oldest_in_flight_is_the_one_sent_first() {
        let (mut window, start) = (Window::new(3), Instant::now());
        (1..=3).for_each(|seq| window.push(message(seq)));

        (0..3).for_each(|second| window.sent(Seq(second + 1), start + Duration::from_secs(second)));
        window.remove(Seq(1));

        assert_eq!(window.oldest_sent(), Some(start + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_postponed_was_sent_later_but_never_in_the_future() {
        let (mut window, start) = (Window::new(2), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        (1..=2).for_each(|seq| window.push(message(seq)));
        window.sent(Seq(1), start);
        window.sent(Seq(2), after(9));

        window.postpone(Duration::from_secs(5), after(10));

        assert_eq!(window.oldest_sent(), Some(after(5)));
        assert!(window.remove(Seq(1)).is_some());
        assert_eq!(window.oldest_sent(), Some(after(10)));
        assert!(window.remove(Seq(2)).is_some());
        assert_eq!(window.in_flight(), 0);
    }
}
