//! Brokers that refuse one message, a topic, or everything, and what is made of that.

use super::event::{Publish, Scope};
use super::refusals::{Judgement, Refusals};
use crate::config::{AtMax, OnRefusal, Retry};
use crate::message::Seq;
use std::time::{Duration, Instant};

const POISON: Publish = Publish::Message(Seq(1));
const OTHER: Publish = Publish::Message(Seq(2));
const TOPIC: &str = "t";

fn refusals() -> Refusals {
    let (initial_delay, max_delay) = (Duration::from_secs(2), Duration::from_secs(60));
    let stable_after = initial_delay;
    let (at_max, on_refusal) = (AtMax::Exit, OnRefusal::Exit);
    Refusals::new(&Retry { initial_delay, factor: 2.0, max_delay, at_max, on_refusal, jitter: 0.0, stable_after })
}

fn refuse(refusals: &mut Refusals, what: Publish) -> Judgement {
    refusals.sent(what, TOPIC);
    refusals.refused(what, TOPIC, Scope::Broker, "no")
}

/// Holds what is to be held; for how long.
fn settle(refusals: &mut Refusals, now: Instant, others: bool) -> Vec<Duration> {
    refusals.settle(now, || 0.5, |_| others).into_iter().map(|hold| hold.until - now).collect()
}

#[test]
fn a_message_is_set_aside_only_when_others_were_accepted_each_time() {
    let mut refusals = refusals();
    assert_eq!(refuse(&mut refusals, POISON), Judgement::Again);
    assert_eq!(refuse(&mut refusals, POISON), Judgement::Again, "nothing was accepted in between");

    refusals.accepted(OTHER, TOPIC);
    assert_eq!(refuse(&mut refusals, POISON), Judgement::Again);
    refusals.accepted(OTHER, TOPIC);

    assert_eq!(refuse(&mut refusals, POISON), Judgement::SetAside);
}

#[test]
fn three_refusals_in_a_row_ask_for_a_message_that_was_not_refused() {
    let mut refusals = refusals();
    let now = Instant::now();
    (0..3).for_each(|_| assert_eq!(refuse(&mut refusals, POISON), Judgement::Again));

    assert_eq!(settle(&mut refusals, now, true), []);

    assert!(!refusals.allows(POISON, TOPIC) && refusals.allows(OTHER, "another"));
    refusals.sent(OTHER, "another");
    assert!(!refusals.allows(Publish::Message(Seq(3)), "another"), "one is enough");
    refusals.accepted(OTHER, "another");
    assert!(refusals.allows(POISON, TOPIC));
}

#[test]
fn a_message_of_the_refused_topic_is_the_control_only_where_no_other_waits() {
    let mut refusals = refusals();
    (0..3).for_each(|_| assert_eq!(refuse(&mut refusals, POISON), Judgement::Again));

    refusals.settle(Instant::now(), || 0.5, |is_sought| is_sought(OTHER, "another"));
    assert!(!refusals.allows(OTHER, TOPIC) && refusals.allows(OTHER, "another"));
    refusals.settle(Instant::now(), || 0.5, |is_sought| is_sought(OTHER, TOPIC));
    assert!(refusals.allows(OTHER, TOPIC));
}

#[test]
fn a_broker_that_refuses_everything_is_asked_ever_more_rarely_and_nothing_is_set_aside() {
    let (mut refusals, mut now) = (refusals(), Instant::now());
    (0..3).for_each(|_| assert_eq!(refuse(&mut refusals, POISON), Judgement::Again));
    let mut delays = Vec::new();

    for _ in 0..6 {
        assert_eq!(refuse(&mut refusals, OTHER), Judgement::Again);
        let held = settle(&mut refusals, now, true);
        delays.extend(held.iter().map(Duration::as_secs));
        assert!(!refusals.allows(POISON, TOPIC) && !refusals.allows(OTHER, TOPIC));
        assert!(refusals.summary().is_some_and(|summary| summary.contains("no")));
        now = refusals.deadline().unwrap();
        assert_eq!(settle(&mut refusals, now, true), []);
        assert!(refusals.allows(POISON, TOPIC), "one is tried");
        assert_eq!(refuse(&mut refusals, POISON), Judgement::Again);
    }

    assert_eq!(delays, [2, 4, 8, 16, 32, 60]);
    assert_eq!(refusals.accepted(OTHER, TOPIC), [None]);
    assert_eq!(refusals.summary(), None);
}

#[test]
fn a_topic_that_is_not_authorized_holds_no_other_up() {
    let (mut refusals, now) = (refusals(), Instant::now());
    for _ in 0..3 {
        refusals.sent(POISON, TOPIC);
        assert_eq!(refusals.refused(POISON, TOPIC, Scope::Topic, "no"), Judgement::Again);
        // What another topic's messages show does not count.
        refusals.accepted(OTHER, "other");
    }

    assert_eq!(settle(&mut refusals, now, false), [Duration::from_secs(2)]);

    assert!(!refusals.allows(POISON, TOPIC) && refusals.allows(OTHER, "other"));
    assert_eq!(refusals.accepted(POISON, TOPIC), [Some(TOPIC.to_owned())]);
}

#[test]
fn a_probe_that_another_scope_refuses_is_no_more_waited_for() {
    let (mut refusals, now) = (refusals(), Instant::now());
    // A topic is not authorized, and the broker refuses everything else: both wait.
    for _ in 0..3 {
        refusals.sent(POISON, TOPIC);
        refusals.refused(POISON, TOPIC, Scope::Topic, "no");
    }
    for _ in 0..3 {
        refusals.sent(OTHER, "other");
        refusals.refused(OTHER, "other", Scope::Broker, "no");
    }
    settle(&mut refusals, now, false);
    assert!(!refusals.allows(POISON, TOPIC) && !refusals.allows(OTHER, "other"));

    // One message is the try of both, and each time only one of them has its answer.
    let mut now = now;
    for round in 0..20 {
        now += Duration::from_secs(60);
        settle(&mut refusals, now, false);
        let scope = if round % 2 == 0 { Scope::Topic } else { Scope::Broker };
        if refusals.allows(POISON, TOPIC) {
            refusals.sent(POISON, TOPIC);
            refusals.refused(POISON, TOPIC, scope, "no");
        }
        settle(&mut refusals, now, false);
        let is_open = refusals.allows(POISON, TOPIC) || refusals.allows(OTHER, "other");
        assert!(is_open || refusals.deadline().is_some(), "round {round}: nothing is tried any more");
    }
}
