//! Brokers that take nothing, all but one message, or everything, and what caution makes of them.

use super::caution::*;
use crate::delivery::Publish;
use crate::message::Seq;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const SUSPECT: Publish = Publish::Message(Seq(1));
const OTHER: Publish = Publish::Message(Seq(2));

fn over(first: Publish) -> Flight {
    Flight { first: Some(first), alone: true, resuming: false, with_status: false }
}

/// What was published over which connection, until the suspect was acknowledged or a verdict was there, or so many
/// connections were made. `takes`: whether the broker acknowledges something over the nth connection, or ends it.
fn tell(
    control: Control,
    connections: u32,
    takes: impl Fn(u32, Publish) -> bool,
) -> (Vec<(u32, Publish)>, Option<Verdict>) {
    let mut caution = Caution::default();
    let mut published = Vec::new();
    for connection in 0..connections {
        caution.connected();
        let verdict = loop {
            let what = if caution.passed_over().is_some() { OTHER } else { SUSPECT };
            if what == OTHER {
                caution.published(OTHER, control);
            }
            published.push((connection, what));
            if !takes(connection, what) {
                break caution.ended(over(what), control);
            }
            caution.answered(what);
            if what == SUSPECT {
                return (published, None);
            }
        };
        if let Verdict::Guilty(_) = verdict {
            return (published, Some(verdict));
        }
    }
    (published, Some(Verdict::Open))
}

fn count(published: &[(u32, Publish)], what: Publish) -> usize {
    published.iter().filter(|(_, published)| *published == what).count()
}

#[test]
fn a_message_is_guilty_when_the_broker_takes_another_one_each_time_and_not_this_one() {
    let (published, verdict) = tell(Control::Free, 100, |_, what| what == OTHER);

    assert_eq!(verdict, Some(Verdict::Guilty(SUSPECT)));
    // One try makes it a suspect.
    assert_eq!((count(&published, SUSPECT), count(&published, OTHER)), (7, 3));
}

#[test]
fn one_that_could_only_be_overtaken_by_its_like_has_more_tries() {
    let (published, verdict) = tell(Control::SameTopic, 100, |_, what| what == OTHER);

    assert_eq!(verdict, Some(Verdict::Guilty(SUSPECT)));
    assert_eq!((count(&published, SUSPECT), count(&published, OTHER)), (12, 3));
}

#[test]
fn nothing_is_guilty_while_there_is_nothing_to_compare_it_with() {
    let (published, verdict) = tell(Control::None, 1000, |_, _| false);

    assert_eq!((verdict, count(&published, OTHER)), (Some(Verdict::Open), 0));
}

#[test]
fn a_control_that_did_not_help_comes_again_ever_more_rarely_where_it_is_of_the_same_topic() {
    let (published, _) = tell(Control::SameTopic, 130, |_, _| false);

    let controls: Vec<u32> = published.iter().filter(|(_, what)| *what == OTHER).map(|(at, _)| *at).collect();
    assert_eq!(controls, [9, 26, 59, 124]);
}

#[test]
fn a_session_that_is_gone_on_with_has_more_tries() {
    let mut caution = Caution::default();
    let flight = Flight { first: Some(SUSPECT), alone: false, resuming: true, with_status: false };

    let verdicts: Vec<Verdict> = (0..11).map(|_| caution.ended(flight, Control::Free)).collect();

    assert_eq!(verdicts.iter().position(|verdict| *verdict == Verdict::Control), Some(10));
    assert!(!caution.resumes(SUSPECT) && !caution.resumes(OTHER));
    caution.answered(Publish::Status);
    assert!(caution.resumes(SUSPECT) && !caution.resumes(OTHER));
}

#[test]
fn a_status_message_that_connections_end_over_is_left_out_of_the_fourth() {
    let status_alone = Flight { first: None, alone: false, resuming: false, with_status: true };
    let mut caution = Caution::default();

    let mut left_out = Vec::new();
    for connection in 0..8 {
        caution.connected();
        left_out.push(caution.is_without_status());
        match (caution.is_without_status(), connection % 2) {
            (true, _) => caution.answered(SUSPECT),
            (false, 0) => drop(caution.ended(status_alone, Control::Free)),
            (false, _) => drop(caution.blamed(status_alone)),
        }
    }

    assert_eq!(left_out, [false, false, false, true, false, false, false, true]);
    caution.answered(Publish::Status);
    caution.connected();
    assert!(!caution.is_without_status());
}

#[test]
fn a_status_message_that_is_not_taken_ends_the_wait_for_it_and_not_the_one_for_a_message() {
    let status_alone = Flight { first: None, alone: false, resuming: false, with_status: true };
    for (planned, waits) in [(Control::Status, false), (Control::Free, true), (Control::SameTopic, true)] {
        let mut caution = Caution::default();
        while caution.ended(over(SUSPECT), planned) != Verdict::Control {}

        caution.ended(status_alone, planned);

        assert_eq!(caution.passed_over().is_some(), waits, "{planned:?}");
    }
}

#[test]
fn others_in_flight_are_no_proof() {
    let mut caution = Caution::default();
    let flight = Flight { first: Some(SUSPECT), alone: false, resuming: false, with_status: false };

    assert!((0..100).all(|_| caution.ended(flight, Control::Free) == Verdict::Open));
}

#[test]
fn trouble_of_another_kind_acquits() {
    let mut caution = Caution::default();
    for _ in 0..4 {
        caution.ended(over(SUSPECT), Control::Free);
    }
    for _ in 0..2 {
        caution.answered(OTHER);
        assert_eq!(caution.ended(over(SUSPECT), Control::Free), Verdict::Control);
    }

    caution.answered(OTHER);
    caution.interrupted();

    assert_eq!(caution.ended(over(SUSPECT), Control::Free), Verdict::Open);
    assert_eq!(caution.passed_over(), None);
}

#[test]
fn one_message_at_a_time_waits_for_the_status_message_and_for_the_connection_to_last() {
    let now = Instant::now();
    let (soon, past) = (Some(now + Duration::from_secs(1)), Some(now));
    let mut caution = Caution::default();
    assert!(caution.allows(9, true, None, now));

    caution.ended(over(SUSPECT), Control::Free);

    assert!(caution.allows(0, false, past, now));
    assert!(!caution.allows(1, false, past, now) && !caution.allows(0, true, past, now));
    assert!(!caution.allows(0, false, soon, now) && !caution.allows(0, false, None, now));
    assert_eq!((caution.until(soon, now), caution.until(past, now)), (soon, None));
}

#[test]
fn the_best_control_is_of_another_topic_and_was_not_tried() {
    let messages = |topics: &[&'static str]| -> Vec<(Publish, &'static str)> {
        (1..).zip(topics).map(|(seq, topic)| (Publish::Message(Seq(seq)), *topic)).collect()
    };
    let mut caution = Caution::default();
    let choose = |caution: &Caution, topics| {
        let chosen = caution.choose(SUSPECT, "t", messages(topics).into_iter());
        chosen.map(|(what, control)| (what, control == Control::Free))
    };
    let message = |seq| Publish::Message(Seq(seq));

    assert_eq!(choose(&caution, &["t"]), None);
    assert_eq!(choose(&caution, &["t", "t", "t"]), Some((message(2), false)));
    assert_eq!(choose(&caution, &["t", "t", "u", "v"]), Some((message(3), true)));
    let topics = &["t", "u", "u"];
    for tried in [2, 3, 2, 3] {
        while caution.ended(over(SUSPECT), Control::Free) != Verdict::Control {}
        assert_eq!(choose(&caution, topics), Some((message(tried), true)));
        caution.published(message(tried), Control::Free);
        caution.ended(over(message(tried)), Control::Free);
    }
}

proptest! {
    #[test]
    fn a_broker_that_takes_nothing_for_a_while_has_nothing_set_aside(
        length in 0u32..300,
        control in prop_oneof![Just(Control::None), Just(Control::Free), Just(Control::SameTopic)],
    ) {
        let (published, verdict) = tell(control, 1000, |connection, _| connection >= length);

        prop_assert_eq!(verdict, None);
        prop_assert_eq!(published.last().map(|(connection, _)| *connection), Some(length));
    }

    #[test]
    fn a_poison_is_found_out_whatever_happened_before(
        length in 0u32..100,
        control in prop_oneof![Just(Control::Free), Just(Control::SameTopic)],
    ) {
        let broker = |connection, what| connection >= length && what == OTHER;
        let (_, verdict) = tell(control, 1000, broker);

        prop_assert_eq!(verdict, Some(Verdict::Guilty(SUSPECT)));
    }
}
