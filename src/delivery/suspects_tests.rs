//! Brokers that take nothing, all but one message, or everything, and what suspects makes of them.

use super::case::{Control, Kind};
use super::event::Publish;
use super::suspects::*;
use crate::message::Seq;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const SUSPECT: Publish = Publish::Message(Seq(1));
const OTHER: Publish = Publish::Message(Seq(2));

fn over(first: Publish) -> Flight {
    Flight { first: Some(first), alone: true, kind: Kind::Unknown, resuming: false, with_status: false }
}

/// What was published over which connection, until the suspect was acknowledged or a verdict was there, or so many
/// connections were made. `takes`: whether the broker acknowledges something over the nth connection, or ends it.
fn tell(
    control: Control,
    connections: u32,
    takes: impl Fn(u32, Publish) -> bool,
) -> (Vec<(u32, Publish)>, Option<Verdict>) {
    let mut suspects = Suspects::default();
    let mut published = Vec::new();
    for connection in 0..connections {
        suspects.connected();
        let verdict = loop {
            let what = if suspects.passed_over().is_some() { OTHER } else { SUSPECT };
            if what == OTHER {
                suspects.published(OTHER, control);
            }
            published.push((connection, what));
            if !takes(connection, what) {
                break suspects.ended(over(what), control);
            }
            suspects.accepted(what);
            if what == SUSPECT {
                return (published, None);
            }
        };
        if let Verdict::Guilty(..) = verdict {
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

    assert!(matches!(verdict, Some(Verdict::Guilty(SUSPECT, _))), "{verdict:?}");
    // One try makes it a suspect.
    assert_eq!((count(&published, SUSPECT), count(&published, OTHER)), (7, 3));
}

#[test]
fn one_that_could_only_be_overtaken_by_its_like_has_more_tries() {
    let (published, verdict) = tell(Control::SameTopic, 100, |_, what| what == OTHER);

    assert!(matches!(verdict, Some(Verdict::Guilty(SUSPECT, _))), "{verdict:?}");
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
    let mut suspects = Suspects::default();
    let flight = Flight { first: Some(SUSPECT), alone: false, kind: Kind::Unknown, resuming: true, with_status: false };

    let verdicts: Vec<Verdict> = (0..11).map(|_| suspects.ended(flight, Control::Free)).collect();

    assert_eq!(verdicts.iter().position(|verdict| *verdict == Verdict::Control), Some(10));
    assert!(!suspects.resumes(SUSPECT) && !suspects.resumes(OTHER));
    suspects.accepted(Publish::Status);
    assert!(suspects.resumes(SUSPECT) && !suspects.resumes(OTHER));
}

#[test]
fn a_status_message_that_connections_end_over_is_left_out_of_the_fourth() {
    let status_alone = Flight { first: None, alone: false, kind: Kind::Unknown, resuming: false, with_status: true };
    let mut suspects = Suspects::default();

    let mut left_out = Vec::new();
    for _ in 0..8 {
        suspects.connected();
        left_out.push(suspects.is_without_status());
        match suspects.is_without_status() {
            true => suspects.accepted(SUSPECT),
            false => drop(suspects.ended(status_alone, Control::Free)),
        }
    }

    assert_eq!(left_out, [false, false, false, true, false, false, false, true]);
    suspects.accepted(Publish::Status);
    suspects.connected();
    assert!(!suspects.is_without_status());
}

#[test]
fn a_status_message_that_is_not_taken_ends_the_wait_for_it_and_not_the_one_for_a_message() {
    let status_alone = Flight { first: None, alone: false, kind: Kind::Unknown, resuming: false, with_status: true };
    for (planned, waits) in [(Control::Status, false), (Control::Free, true), (Control::SameTopic, true)] {
        let mut suspects = Suspects::default();
        while suspects.ended(over(SUSPECT), planned) != Verdict::Control {}

        suspects.ended(status_alone, planned);

        assert_eq!(suspects.passed_over().is_some(), waits, "{planned:?}");
    }
}

#[test]
fn others_in_flight_are_no_proof() {
    let mut suspects = Suspects::default();
    let flight =
        Flight { first: Some(SUSPECT), alone: false, kind: Kind::Unknown, resuming: false, with_status: false };

    assert!((0..100).all(|_| suspects.ended(flight, Control::Free) == Verdict::Open));
}

#[test]
fn trouble_of_another_kind_acquits() {
    let mut suspects = Suspects::default();
    for _ in 0..4 {
        suspects.ended(over(SUSPECT), Control::Free);
    }
    for _ in 0..2 {
        suspects.accepted(OTHER);
        assert_eq!(suspects.ended(over(SUSPECT), Control::Free), Verdict::Control);
    }

    suspects.accepted(OTHER);
    suspects.interrupted();

    assert_eq!(suspects.ended(over(SUSPECT), Control::Free), Verdict::Open);
    assert_eq!(suspects.passed_over(), None);
}

#[test]
fn one_message_at_a_time_waits_for_the_status_message_and_for_the_connection_to_last() {
    let now = Instant::now();
    let (soon, past) = (Some(now + Duration::from_secs(1)), Some(now));
    let mut suspects = Suspects::default();
    assert!(suspects.allows(10, None, now));

    suspects.ended(over(SUSPECT), Control::Free);

    assert!(suspects.allows(0, past, now));
    assert!(!suspects.allows(1, past, now));
    assert!(!suspects.allows(0, soon, now) && !suspects.allows(0, None, now));
    assert_eq!((suspects.until(soon, now), suspects.until(past, now)), (soon, None));
}

#[test]
fn the_best_control_is_of_another_topic_and_neither_tried_nor_doubtful() {
    let messages = |topics: &[&'static str]| -> Vec<(Publish, &'static str)> {
        (1..).zip(topics).map(|(seq, topic)| (Publish::Message(Seq(seq)), *topic)).collect()
    };
    let mut suspects = Suspects::default();
    let message = |seq| Publish::Message(Seq(seq));
    let choose_without = |suspects: &Suspects, topics, doubtful: &[u64]| {
        let is_doubtful = |what| doubtful.iter().any(|seq| what == message(*seq));
        let chosen = suspects.choose(SUSPECT, "t", messages(topics).into_iter(), is_doubtful);
        chosen.map(|(what, control)| (what, control == Control::Free))
    };
    let choose = |suspects: &Suspects, topics| choose_without(suspects, topics, &[]);

    assert_eq!(choose(&suspects, &["t"]), None);
    assert_eq!(choose(&suspects, &["t", "t", "t"]), Some((message(2), false)));
    assert_eq!(choose(&suspects, &["t", "t", "u", "v"]), Some((message(3), true)));
    assert_eq!(choose_without(&suspects, &["t", "t", "u", "v"], &[3]), Some((message(4), true)));
    assert_eq!(choose_without(&suspects, &["t", "t", "u"], &[3]), Some((message(2), false)));
    assert_eq!(choose_without(&suspects, &["t", "t", "u"], &[2, 3]), Some((message(3), true)));
    let topics = &["t", "u", "u"];
    for tried in [2, 3, 2, 3] {
        while suspects.ended(over(SUSPECT), Control::Free) != Verdict::Control {}
        assert_eq!(choose(&suspects, topics), Some((message(tried), true)));
        suspects.published(message(tried), Control::Free);
        suspects.ended(over(message(tried)), Control::Free);
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

        prop_assert!(matches!(verdict, Some(Verdict::Guilty(SUSPECT, _))), "{verdict:?}");
    }
}
