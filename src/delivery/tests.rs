//! The core as a whole: what it has the shell do, for what happened.

mod brokers;
mod exactly_once;
mod mute;
mod outages;

use super::*;
use crate::clock::Reading;
use crate::config::{self, Limits};
use crate::message::{Format, Qos, Route, Sample, StreamId};
use std::path::Path;
use std::sync::Arc;

const STATUS: Publish = Publish::Status;

fn message(seq: u64) -> Publish {
    Publish::Message(Seq(seq))
}

/// A core, and a shell that does nothing but write down what it is told.
struct Bench {
    delivery: Delivery,
    now: Now,
    /// What the store has.
    store: VecDeque<(Publish, Message)>,
    log: Vec<String>,
}

impl Bench {
    fn new(more: &str) -> Self {
        Self::at("url: \"mqtt://b\"", more)
    }

    /// As [`Bench::new`], with other brokers.
    fn at(brokers: &str, more: &str) -> Self {
        let text = format!("device: d\nbroker: {{{brokers}}}\n{more}");
        let config = config::parse(&text, Path::new("test.yaml")).expect("a configuration");
        let now = Now { at: Instant::now(), clock: Reading { wall: 1_700_000_000_000, boot: 100_000 } };
        let delivery = Delivery::new(config, Times::new(1, Vec::new()), 0, 7, now.at);
        Self { delivery, now, store: VecDeque::new(), log: Vec::new() }
    }

    /// The store has this, of a topic, with an expiry.
    fn put(&mut self, what: Publish, topic: &str, expiry: Option<Duration>) {
        self.put_at(Qos::AtLeastOnce, what, topic, expiry);
    }

    /// As [`Bench::put`], at this quality of service.
    fn put_at(&mut self, qos: Qos, what: Publish, topic: &str, expiry: Option<Duration>) {
        let route = Route {
            device: "d".to_owned(),
            source: "s".to_owned(),
            topic: topic.to_owned(),
            qos,
            retain: false,
            format: Format::Json,
            expiry,
        };
        let Reading { wall, boot } = self.now.clock;
        let taken = Stamp { wall, boot, boot_id: 1, synchronised: true };
        let sample = Sample { route: Arc::new(route), taken, data: b"{}".to_vec() };
        let (Publish::Message(seq) | Publish::Bypass(seq)) = what else { panic!("no message") };
        self.store.push_back((what, Message { stream: StreamId(1), seq, sample }));
    }

    fn on(&mut self, event: Event) {
        self.delivery.on(event, self.now);
    }

    fn pass(&mut self, time: Duration) {
        let passed = u64::try_from(time.as_millis()).unwrap();
        self.now.at += time;
        self.now.clock = Reading { wall: self.now.clock.wall + passed as i64, boot: self.now.clock.boot + passed };
    }

    /// Does what the core says, and answers what it asks; the actions that remain.
    fn turn(&mut self) -> Vec<Action> {
        self.on(Event::Turn { backlog: self.store.len() as u64 });
        let mut actions = Vec::new();
        while let Some(action) = self.delivery.next_action(self.now) {
            match action {
                Action::Read => {
                    let read = self.store.pop_front();
                    self.on(read.map_or(Event::NothingToRead, |(what, message)| Event::Read(what, message)));
                }
                Action::Compose => {
                    let status = status::last_will(self.delivery.config());
                    self.on(Event::Status(status));
                }
                Action::TakeStalls(_) => self.on(Event::Stalled(Duration::ZERO)),
                Action::Log(_, text) => self.log.push(text),
                action => actions.push(action),
            }
        }
        actions
    }

    /// There is a connection; what is published over it at once.
    fn connect(&mut self, session_present: bool) -> Vec<Publish> {
        self.turn();
        self.on(Event::Connected { connected: connected(session_present), backlog: 0 });
        published(&self.turn())
    }

    /// Whether a message waits, or is in flight.
    fn has_messages(&self) -> bool {
        !self.store.is_empty() || self.delivery.window.len() > 0
    }

    /// The connection ends without a word; what the session has on its way.
    fn lose(&mut self, under_way: &[Publish]) {
        let under_way = under_way.iter().map(|what| UnderWay { what: *what, confirmed: false }).collect();
        let remains = Remains { under_way, first: 0, backlog: 0 };
        self.on(Event::Lost { why: Lost::Ended("connection lost".to_owned()), remains });
    }
}

fn published(actions: &[Action]) -> Vec<Publish> {
    let what = actions.iter().map(|action| if let Action::Publish { what, .. } = action { Some(*what) } else { None });
    what.flatten().collect()
}

fn connected(session_present: bool) -> Connected {
    Connected { session_present, at_qos_2: true, limits: Limits::NONE }
}

const NO_STATUS: &str = "status: {topic: ~}\n";

#[test]
fn what_is_in_flight_from_memory_at_the_end_of_a_stop_is_given_back() {
    let mut bench = Bench::new(NO_STATUS);
    bench.put(Publish::Bypass(Seq(1)), "t", None);
    assert_eq!(bench.connect(false), [Publish::Bypass(Seq(1))]);
    bench.on(Event::Stop(bench.now.at + Duration::from_secs(1)));
    assert!(bench.turn().is_empty(), "its acknowledgement is waited for");

    bench.pass(Duration::from_secs(2));
    let end = bench.turn();

    assert!(matches!(end[..], [Action::Disconnect, Action::Stopped]), "{end:?}");
    assert_eq!(bench.delivery.give_back().len(), 1);
}

#[test]
fn a_held_status_message_that_a_connection_leaves_out_is_abandoned() {
    let mut bench = Bench::new("status: {topic: here}\n");
    bench.connect(false);
    for _ in 0..2 {
        bench.lose(&[STATUS]);
        bench.pass(Duration::from_secs(600));
        bench.connect(true);
    }
    bench.lose(&[STATUS]);
    bench.pass(Duration::from_secs(600));
    bench.turn();
    bench.on(Event::Connected { connected: connected(true), backlog: 0 });

    let actions = bench.turn();

    assert!(matches!(actions[..], [Action::Abandon(STATUS)]), "{actions:?}");
    assert!(!bench.delivery.window.has_status());
}

#[test]
fn what_was_left_out_for_a_status_message_that_is_refused_is_resumed_without_anything_else_happening() {
    let mut bench = Bench::new("status: {topic: here}\n");
    bench.put(message(1), "t", None);
    bench.connect(false);
    bench.on(Event::Acknowledged(STATUS));
    for _ in 0..20 {
        if bench.delivery.suspects.passed_over().is_some() {
            break;
        }
        bench.lose(&[message(1)]);
        bench.pass(Duration::from_secs(600));
        bench.turn();
        bench.on(Event::Connected { connected: connected(true), backlog: 0 });
    }
    assert_eq!(published(&bench.turn()), [STATUS]);
    bench.on(Event::Refused(STATUS, Refusal::Flatly(Scope::Topic, "no (0x87)".to_owned())));
    assert!(bench.turn().is_empty(), "the connection has not lasted yet");

    let lasting = bench.delivery.connection.lasting().expect("it is connected");
    bench.pass(lasting - bench.now.at);

    assert_eq!(published(&bench.turn()), [STATUS], "the goodbye");
    assert_eq!(bench.log.last().map(String::as_str), Some("connecting anew to resume the session"));
}

#[test]
fn no_connection_ends_over_a_message_that_did_not_leave() {
    let mut bench = Bench::new(NO_STATUS);
    bench.put(message(1), "t", None);
    assert_eq!(bench.connect(false), [message(1)]);

    bench.on(Event::NotSent(message(1)));
    assert_eq!(bench.delivery.in_flight(), 0);
    bench.lose(&[]);

    assert_eq!(bench.delivery.suspects.suspect(), None);
    bench.pass(Duration::from_secs(600));
    assert_eq!(bench.connect(false), [message(1)]);
}

#[test]
fn a_suspect_that_expires_holds_nothing_up() {
    let mut bench = Bench::new(NO_STATUS);
    bench.put(message(1), "t", Some(Duration::from_secs(60)));
    bench.put(message(2), "t", None);
    bench.put(message(3), "t", None);
    bench.connect(false);
    bench.lose(&[]);
    assert_eq!(bench.delivery.suspects.suspect(), Some(message(1)));

    bench.pass(Duration::from_secs(90));
    bench.connect(false);
    bench.pass(Duration::from_secs(90));
    bench.turn();

    assert_eq!(bench.delivery.suspects.suspect(), None);
    assert_eq!(bench.delivery.in_flight(), 2);
}

#[test]
fn a_suspect_that_is_dropped_to_make_room_holds_nothing_up() {
    let mut bench = Bench::new(NO_STATUS);
    bench.put(message(1), "t", None);
    bench.put(message(2), "t", None);
    bench.connect(false);
    bench.lose(&[]);

    bench.on(Event::Dropped(Seq(1)..=Seq(1)));

    assert_eq!(bench.delivery.suspects.suspect(), None);
}

#[test]
fn what_was_refused_and_is_given_back_is_forgotten() {
    let mut bench = Bench::new(NO_STATUS);
    bench.put(Publish::Bypass(Seq(1)), "t", None);
    bench.connect(false);
    bench.on(Event::Refused(Publish::Bypass(Seq(1)), Refusal::Flatly(Scope::Topic, "no".to_owned())));
    bench.lose(&[]);

    assert_eq!(bench.delivery.give_back().len(), 1);

    let what = format!("{:?}", bench.delivery.refusals);
    assert!(!what.contains("Bypass"), "{what}");
}

/// A broker that takes what is not of the topic, and refuses that; how many it took.
fn deliver_all_but(bench: &mut Bench, refused: &str) -> usize {
    let (mut taken, mut flying) = (0, bench.connect(false));
    while !flying.is_empty() {
        for what in flying {
            let topic = &bench.delivery.window.get(what).expect("it is in flight").sample.route.topic;
            if topic == refused {
                bench.on(Event::Refused(what, Refusal::Flatly(Scope::Topic, "no (0x87)".to_owned())));
            } else {
                bench.on(Event::Acknowledged(what));
                taken += 1;
            }
        }
        flying = published(&bench.turn());
    }
    taken
}

#[test]
fn thousands_of_messages_of_a_refused_topic_hold_no_others_up() {
    let mut bench = Bench::new(NO_STATUS);
    for seq in 1..=7000 {
        bench.put(message(seq), if seq % 2 == 0 { "t" } else { "refused" }, None);
    }

    assert_eq!(deliver_all_but(&mut bench, "refused"), 3500);
}

#[test]
fn where_more_are_refused_than_can_be_kept_track_of_the_others_wait_and_the_log_says_so_once() {
    let mut bench = Bench::new(NO_STATUS);
    for seq in 1..=12_000 {
        bench.put(message(seq), if seq % 2 == 0 { "t" } else { "refused" }, None);
    }

    let taken = deliver_all_but(&mut bench, "refused");

    assert!((3900..=4100).contains(&taken), "{taken}");
    (0..3).for_each(|_| drop(bench.turn()));
    assert_eq!(bench.log.iter().filter(|line| line.contains("those behind wait as well")).count(), 1);
    // What the spool drops makes room.
    bench.on(Event::Dropped(Seq(1)..=Seq(4000)));
    assert!(!published(&bench.turn()).is_empty());
}

#[test]
fn large_messages_of_a_refused_topic_do_not_fill_the_memory() {
    let mut bench = Bench::new(NO_STATUS);
    for seq in 1..=2000 {
        bench.put(message(seq), "refused", None);
        let (_, message) = bench.store.back_mut().expect("it was put there");
        message.sample.data = vec![b'1'; 100_000];
    }

    deliver_all_but(&mut bench, "refused");

    assert!((100..=150).contains(&bench.delivery.held_in_memory()), "{}", bench.delivery.held_in_memory());
}

#[test]
fn messages_that_wait_before_those_in_flight_may_be_dropped() {
    let mut bench = Bench::new(NO_STATUS);
    (1..=10).for_each(|seq| bench.put(message(seq), if seq <= 5 { "refused" } else { "t" }, None));
    bench.connect(false);
    for seq in 1..=5 {
        bench.on(Event::Refused(message(seq), Refusal::Flatly(Scope::Topic, "no (0x87)".to_owned())));
    }
    bench.turn();

    assert_eq!(bench.delivery.range_in_flight(), Some(Seq(6)..=Seq(10)));
}

/// A core that takes messages of topic "t" for too large, for connections ended over two of them.
fn bench_with_a_size(more: &str) -> Bench {
    let mut bench = Bench::new(more);
    let now = bench.now.at;
    (0..2).for_each(|_| bench.delivery.size_limit().rejected(10, "t", now));
    bench.put(message(1), "t", None);
    bench
}

#[test]
fn a_status_message_that_is_taken_proves_that_messages_as_large_are_not_too_large() {
    let mut bench = bench_with_a_size("status: {topic: here}\n");
    assert!(bench.connect(false).contains(&STATUS));

    bench.on(Event::Acknowledged(STATUS));
    bench.put(message(2), "t", None);

    assert_eq!(published(&bench.turn()), [message(2)]);
}

#[test]
fn a_message_that_is_taken_for_too_large_is_tried_after_a_while() {
    let mut bench = bench_with_a_size(NO_STATUS);
    assert_eq!(bench.connect(false), []);

    bench.pass(Duration::from_secs(120));
    bench.put(message(2), "t", None);
    assert_eq!(published(&bench.turn()), [message(2)]);
    bench.on(Event::Acknowledged(message(2)));
    bench.put(message(3), "t", None);

    assert_eq!(published(&bench.turn()), [message(3)], "it was taken");
}

#[test]
fn a_topic_whose_backlog_is_refused_does_not_stand_for_the_broker() {
    let mut bench = Bench::new(NO_STATUS);
    (1..1000).for_each(|seq| bench.put(message(seq), "refused", None));
    bench.put(message(1000), "taken", None);
    let mut flying = VecDeque::from(bench.connect(false));
    let mut is_taken = false;

    for _ in 0..1000 {
        while let Some(what) = flying.pop_front() {
            is_taken |= what == message(1000);
            let refusal = Refusal::Flatly(Scope::Broker, "no".to_owned());
            bench.on(if what == message(1000) { Event::Acknowledged(what) } else { Event::Refused(what, refusal) });
        }
        flying = published(&bench.turn()).into();
        if is_taken || flying.is_empty() {
            break;
        }
    }

    assert!(is_taken, "{:?}", bench.log);
    assert_eq!(bench.delivery.refused_altogether(), None);
}
