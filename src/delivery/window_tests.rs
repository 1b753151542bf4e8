//! The window against a model of sets.

use super::event::{Publish, UnderWay};
use super::window::Window;
use crate::message::{Format, Message, Qos, Route, Sample, Seq, Stamp, StreamId};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

fn id(seq: u64) -> Publish {
    Publish::Message(Seq(seq))
}

fn number(what: Publish) -> u64 {
    what.spooled().unwrap().0
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
                    prop_assert_eq!(window.has_room(0), waiting.len() + flying.len() + held.len() < capacity);
                    if window.has_room(0) {
                        pushed += 1;
                        window.push(id(pushed), message(pushed));
                        waiting.insert(pushed);
                    }
                }
                Step::Send => {
                    let next = window.next_to_send(|_, _| true).map(number);
                    prop_assert_eq!(next, waiting.first().copied());
                    next.into_iter().for_each(|seq| window.sent(id(seq), 1, start + Duration::from_secs(time as u64)));
                    flying.extend(waiting.pop_first());
                }
                Step::SendAhead(index) if !waiting.is_empty() => {
                    let seq = *index.get(&waiting.iter().copied().collect::<Vec<u64>>());
                    window.sent(id(seq), 1, start + Duration::from_secs(time as u64));
                    waiting.remove(&seq);
                    flying.insert(seq);
                }
                Step::SendAhead(_) => {}
                Step::Remove(index) if !flying.is_empty() => {
                    let seq = *index.get(&flying.iter().copied().collect::<Vec<u64>>());
                    prop_assert_eq!(window.remove(id(seq)).flatten().map(|message| message.seq), Some(Seq(seq)));
                    prop_assert_eq!(window.remove(id(seq)), None);
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
                    let under_way: Vec<_> = held.iter().map(|seq| UnderWay { what: id(*seq), confirmed: false }).collect();
                    window.connection_lost(&under_way);
                }
                Step::Resume(nth) => {
                    // Every nth message is gone on with.
                    let gone_on: BTreeSet<u64> = held.extract_if(.., |seq| *seq % nth == 0).collect();
                    let now = start + Duration::from_secs(time as u64);
                    prop_assert_eq!(window.resume(now, |what| number(what).is_multiple_of(nth)), gone_on.len());
                    resumed.extend(gone_on.iter().copied());
                    flying.extend(gone_on);
                }
                Step::Release => {
                    prop_assert_eq!(window.release(), held.len());
                    waiting.append(&mut held);
                }
                Step::Drop(first, length) => {
                    window.drop_waiting(&(id(first)..=id(first + length)));
                    waiting.retain(|seq| !(first..=first + length).contains(seq));
                }
            }
            prop_assert_eq!(window.in_flight(), flying.len());
            prop_assert!(window.waiting().map(|(what, _)| number(what)).eq(waiting.iter().copied()));
            let grounded: BTreeSet<u64> = waiting.union(&held).copied().collect();
            prop_assert!(window.grounded().map(|(what, _)| number(what)).eq(grounded));
            prop_assert!(window.held().map(|held| number(held.what)).eq(held.iter().copied()));
            prop_assert_eq!(window.oldest_sent().is_some(), !flying.is_empty());
            prop_assert_eq!(window.is_resuming(), !resumed.is_empty());
            let range = window.range_in_flight();
            prop_assert_eq!(range.is_some(), !(flying.is_empty() && held.is_empty()));
            prop_assert!(flying.iter().chain(&held).all(|seq| range.as_ref().unwrap().contains(&id(*seq))));
        }
    }
}

#[test]
fn the_oldest_in_flight_is_the_one_sent_first() {
    let (mut window, start) = (Window::new(3), Instant::now());
    (1..=3).for_each(|seq| window.push(id(seq), message(seq)));

    (0..3).for_each(|second| window.sent(id(second + 1), 1, start + Duration::from_secs(second)));
    window.remove(id(1));

    assert_eq!(window.oldest_sent(), Some(start + Duration::from_secs(1)));
}

#[test]
fn what_is_postponed_was_sent_later_but_never_in_the_future() {
    let (mut window, start) = (Window::new(2), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    (1..=2).for_each(|seq| window.push(id(seq), message(seq)));
    window.sent(id(1), 1, start);
    window.sent(id(2), 1, after(9));

    window.postpone(Duration::from_secs(5), after(10));

    assert_eq!(window.oldest_sent(), Some(after(5)));
    assert!(window.remove(id(1)).is_some());
    assert_eq!(window.oldest_sent(), Some(after(10)));
    assert!(window.remove(id(2)).is_some());
    assert_eq!(window.in_flight(), 0);
}

#[test]
fn the_spool_s_messages_come_before_those_from_memory_in_whatever_order_they_are_read() {
    let (mut window, start) = (Window::new(4), Instant::now());
    window.sent(Publish::Status, 1, start);
    window.push(Publish::Bypass(Seq(1)), message(1));
    window.push(id(7), message(7));
    window.push(Publish::Bypass(Seq(2)), message(2));

    let in_order = [id(7), Publish::Bypass(Seq(1)), Publish::Bypass(Seq(2))];
    assert!(window.waiting().map(|(what, _)| what).eq(in_order));
    assert!(window.has_status());
    assert_eq!((window.len(), window.last_spooled()), (3, Some(Seq(7))));
    assert!(window.take_bypass().iter().map(|message| message.seq.0).eq([1, 2]));
}
