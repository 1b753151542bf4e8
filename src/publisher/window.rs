//! The messages that were read from the spool and are not acknowledged yet: in flight, or about to be. Pure.

use crate::message::{Message, Seq};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Instant;

/// At most `capacity` messages, in order of seq. Those in flight come before those that wait.
#[derive(Debug)]
pub struct Window {
    capacity: usize,
    messages: BTreeMap<Seq, Entry>,
    /// Everything below this is in flight, everything from here on waits.
    unsent: Seq,
    in_flight: usize,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    /// When it was sent over the present connection.
    sent: Option<Instant>,
    /// How often the broker has refused it.
    refused: u32,
}

impl Window {
    /// A window for this many messages, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), messages: BTreeMap::new(), unsent: Seq::FIRST, in_flight: 0 }
    }

    /// Whether another message may be pushed.
    pub fn has_room(&self) -> bool {
        self.messages.len() < self.capacity
    }

    /// How many messages are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Adds a message that waits. Messages come in order of seq.
    pub fn push(&mut self, message: Message) {
        debug_assert!(self.has_room() && self.messages.last_key_value().is_none_or(|(last, _)| *last < message.seq));
        self.messages.insert(message.seq, Entry { message, sent: None, refused: 0 });
    }

    /// The lowest message that waits.
    pub fn next_to_send(&self) -> Option<&Message> {
        self.messages.range(self.unsent..).next().map(|(_, entry)| &entry.message)
    }

    /// Notes that [`Window::next_to_send`] was sent.
    pub fn sent(&mut self, now: Instant) {
        if let Some((seq, entry)) = self.messages.range_mut(self.unsent..).next() {
            entry.sent = Some(now);
            self.unsent = seq.next();
            self.in_flight += 1;
        }
    }

    /// Takes out a message in flight that was acknowledged, set aside or dropped. `None`: it is not in flight.
    pub fn remove(&mut self, seq: Seq) -> Option<Message> {
        let entry = self.messages.get(&seq).filter(|entry| entry.sent.is_some())?;
        debug_assert!(entry.message.seq < self.unsent);
        self.in_flight -= 1;
        self.messages.remove(&seq).map(|entry| entry.message)
    }

    /// Notes that the broker refused a message in flight, and how often it did so by now. It stays in flight until
    /// it is removed or sent again.
    pub fn refused(&mut self, seq: Seq) -> Option<u32> {
        let entry = self.messages.get_mut(&seq)?;
        entry.refused += 1;
        Some(entry.refused)
    }

    /// A message of this window.
    pub fn get(&self, seq: Seq) -> Option<&Message> {
        self.messages.get(&seq).map(|entry| &entry.message)
    }

    /// The connection is gone: whatever was in flight waits again, at the head and in order.
    pub fn connection_lost(&mut self) {
        for entry in self.messages.values_mut() {
            entry.sent = None;
        }
        self.unsent = Seq::FIRST;
        self.in_flight = 0;
    }

    /// Takes out messages that wait and were dropped from the spool.
    pub fn drop_waiting(&mut self, range: &RangeInclusive<Seq>) {
        let dropped: Vec<Seq> = self.messages.range(range.clone()).map(|(seq, _)| *seq).collect();
        for seq in dropped.into_iter().filter(|seq| *seq >= self.unsent) {
            self.messages.remove(&seq);
        }
    }

    /// The lowest and the highest message in flight.
    pub fn range_in_flight(&self) -> Option<RangeInclusive<Seq>> {
        let first = self.messages.first_key_value().filter(|(seq, _)| **seq < self.unsent)?.0;
        let last = self.messages.range(..self.unsent).next_back()?.0;
        Some(*first..=*last)
    }

    /// When the oldest message in flight was sent.
    pub fn oldest_sent(&self) -> Option<Instant> {
        self.messages.first_key_value().and_then(|(_, entry)| entry.sent)
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
        let taken = Stamp { wall: 0, boot: 0, boot_id: 0 };
        let sample = Sample { route: Arc::new(route), taken, data: Vec::new() };
        Message { stream: StreamId(1), seq: Seq(seq), sample }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Send,
        Remove(prop::sample::Index),
        Lose,
        Drop(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            4 => Just(Step::Send),
            3 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => Just(Step::Lose),
            1 => (0u64..60, 0u64..10).prop_map(|(first, length)| Step::Drop(first, length)),
        ]
    }

    proptest! {
        #[test]
        fn it_sends_in_order_and_forgets_nothing(capacity in 1usize..8, steps in proptest::collection::vec(step(), 0..120)) {
            let mut window = Window::new(capacity);
            let (mut waiting, mut flying) = (BTreeSet::new(), BTreeSet::new());
            let start = Instant::now();
            let mut pushed = 0;

            for (time, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push => {
                        prop_assert_eq!(window.has_room(), waiting.len() + flying.len() < capacity);
                        if window.has_room() {
                            pushed += 1;
                            window.push(message(pushed));
                            waiting.insert(pushed);
                        }
                    }
                    Step::Send => {
                        let next = window.next_to_send().map(|message| message.seq.0);
                        prop_assert_eq!(next, waiting.first().copied());
                        window.sent(start + Duration::from_secs(time as u64));
                        flying.extend(waiting.pop_first());
                    }
                    Step::Remove(index) if !flying.is_empty() => {
                        let seq = *index.get(&flying.iter().copied().collect::<Vec<u64>>());
                        prop_assert_eq!(window.remove(Seq(seq)).map(|message| message.seq), Some(Seq(seq)));
                        prop_assert_eq!(window.remove(Seq(seq)), None);
                        flying.remove(&seq);
                    }
                    Step::Remove(_) => {}
                    Step::Lose => {
                        window.connection_lost();
                        waiting.append(&mut flying);
                    }
                    Step::Drop(first, length) => {
                        window.drop_waiting(&(Seq(first)..=Seq(first + length)));
                        waiting.retain(|seq| !(first..=first + length).contains(seq));
                    }
                }
                prop_assert_eq!(window.in_flight(), flying.len());
                prop_assert_eq!(window.oldest_sent().is_some(), !flying.is_empty());
                let range = flying.first().map(|first| Seq(*first)..=Seq(*flying.last().unwrap()));
                prop_assert_eq!(window.range_in_flight(), range);
            }
        }
    }

    #[test]
    fn the_oldest_in_flight_is_the_one_sent_first() {
        let (mut window, start) = (Window::new(3), Instant::now());
        (1..=3).for_each(|seq| window.push(message(seq)));

        (0..3).for_each(|second| window.sent(start + Duration::from_secs(second)));
        window.remove(Seq(1));

        assert_eq!(window.oldest_sent(), Some(start + Duration::from_secs(1)));
    }
}
