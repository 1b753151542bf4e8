//! A broker that never answers a message, or the rest of its exchange, and takes others.

use super::brokers::{Account, Fate, SESSIONS, Session};
use super::*;

/// A broker that never answers one message, and takes others.
struct Mute {
    what: Publish,
    /// What the session has of it when a connection has ended; `None`: it is published anew.
    held: Option<UnderWay>,
    connections: u32,
    taken: Vec<Publish>,
}

impl Mute {
    fn new(what: Publish, held: Option<UnderWay>) -> Self {
        Self { what, held, connections: 0, taken: Vec::new() }
    }

    fn remains(&self) -> Remains {
        Remains { under_way: self.held.into_iter().collect(), first: 0, backlog: 0 }
    }

    /// What becomes of the message: an hour passes, ten seconds at a time.
    fn meets(&mut self, bench: &mut Bench) -> Option<Action> {
        for _ in 0..360 {
            for action in bench.turn() {
                match action {
                    Action::Connect { .. } => {
                        self.connections += 1;
                        let connected =
                            Connected { session_present: self.held.is_some(), at_qos_2: true, limits: Limits::NONE };
                        bench.on(Event::Connected { connected, backlog: 1 });
                    }
                    Action::Publish { what, .. } if what != self.what => {
                        self.taken.push(what);
                        bench.on(Event::Acknowledged(what));
                    }
                    Action::Close(why) => bench.on(Event::Lost { why, remains: self.remains() }),
                    Action::Disconnect => bench.on(Event::Disconnected(self.remains())),
                    Action::End(what, How::Completed) | Action::SetAside { what, .. } if what == self.what => {
                        return Some(action);
                    }
                    _ => {}
                }
            }
            bench.pass(Duration::from_secs(10));
        }
        None
    }
}

/// A session that has message 1 on its way, of topic `t`, with many messages behind it.
fn mute_in_a_session(topic: &str, confirmed: bool) -> (Mute, Bench) {
    let mut bench = Bench::new("status: {topic: here}\n");
    bench.put(message(1), "t", None);
    bench.connect(false);
    let mute = Mute::new(message(1), Some(UnderWay { what: message(1), confirmed }));
    bench.on(Event::Lost { why: Lost::Passing("cut".to_owned()), remains: mute.remains() });
    (2..1000).for_each(|seq| bench.put(message(seq), topic, None));
    (mute, bench)
}

#[test]
fn a_confirmed_exchange_that_the_broker_never_completes_is_finished_after_three_connections() {
    let (mut mute, mut bench) = mute_in_a_session("other", true);

    let end = mute.meets(&mut bench);

    assert!(matches!(end, Some(Action::End(_, How::Completed))), "{end:?}, {:#?}", bench.log);
    assert_eq!(mute.connections, 3);
}

#[test]
fn a_confirmed_exchange_that_the_broker_never_completes_is_finished_where_it_fills_the_window() {
    for more in ["status: {topic: here}\n", NO_STATUS] {
        let mut bench = Bench::new(&format!("{more}delivery: {{window: 1}}\n"));
        bench.put(message(1), "t", None);
        bench.connect(false);
        let mut mute = Mute::new(message(1), Some(UnderWay { what: message(1), confirmed: true }));
        bench.on(Event::Lost { why: Lost::Passing("cut".to_owned()), remains: mute.remains() });
        (2..10).for_each(|seq| bench.put(message(seq), "other", None));

        let end = mute.meets(&mut bench);

        assert!(matches!(end, Some(Action::End(_, How::Completed))), "{more}{end:?}, {:#?}", bench.log);
    }
}

#[test]
fn a_message_that_the_broker_never_answers_is_set_aside_where_it_takes_others_of_the_topic() {
    let (mut resumed, mut bench) = mute_in_a_session("t", false);
    let end = resumed.meets(&mut bench);
    assert!(matches!(end, Some(Action::SetAside { .. })), "{end:?}, {:#?}", bench.log);
    assert_eq!(resumed.connections, 3);

    let mut bench = Bench::new(NO_STATUS);
    (1..1000).for_each(|seq| bench.put(message(seq), "t", None));
    let mut anew = Mute::new(message(7), None);
    let end = anew.meets(&mut bench);
    assert!(matches!(end, Some(Action::SetAside { .. })), "{end:?}, {:#?}", bench.log);
    assert!(bench.delivery.unanswered.struck().is_empty(), "it leaves nothing behind");
}

#[test]
fn a_message_that_the_broker_does_not_answer_waits_where_it_takes_none_of_the_topic_and_holds_up_no_other() {
    let (mut mute, mut bench) = mute_in_a_session("other", false);

    assert!(mute.meets(&mut bench).is_none(), "{:#?}", bench.log);

    assert!(mute.taken.contains(&message(999)), "{:?}", mute.taken);
}

#[test]
fn a_status_message_that_is_never_answered_is_left_out_after_three_connections() {
    let mut bench = Bench::new("status: {topic: here}\n");
    let mut mute = Mute::new(STATUS, None);
    for seq in 1..1000 {
        bench.put(message(seq), "t", None);
    }
    mute.meets(&mut bench);

    let leaves_out = bench.log.iter().any(|line| line.contains("going without it"));
    assert!(leaves_out && mute.connections == 4, "{} connections: {:#?}", mute.connections, bench.log);
}

#[test]
fn a_topic_that_the_broker_never_answers_holds_no_other_up_and_is_tried_again() {
    let mut bench = Bench::new(NO_STATUS);
    (1..1000).for_each(|seq| bench.put(message(seq), if seq % 2 == 0 { "mute" } else { "t" }, None));
    let is_mute = |what: Publish| what.spooled().is_some_and(|seq| seq.0 % 2 == 0);
    let (mut taken, mut tried) = (0, 0);

    for _ in 0..720 {
        for action in bench.turn() {
            match action {
                Action::Connect { .. } => {
                    let connected = Connected { session_present: false, at_qos_2: true, limits: Limits::NONE };
                    bench.on(Event::Connected { connected, backlog: 1 });
                }
                Action::Publish { what, .. } if is_mute(what) => tried += 1,
                Action::Publish { what, .. } => {
                    taken += 1;
                    bench.on(Event::Acknowledged(what));
                }
                Action::Close(why) => {
                    bench.on(Event::Lost { why, remains: Remains { under_way: Vec::new(), first: 0, backlog: 0 } });
                }
                Action::SetAside { what, .. } => panic!("{what:?} is set aside: {:#?}", bench.log),
                _ => {}
            }
        }
        bench.pass(Duration::from_secs(10));
    }

    assert_eq!(taken, 500, "{:#?}", bench.log);
    let summary = bench.delivery.refused_altogether().unwrap();
    assert!(summary.contains("every message of mute: no acknowledgement for 45s"), "{summary}");
    assert!(tried > 100, "a window's worth, then one now and then: {tried}");
}

#[test]
fn a_message_that_is_never_answered_blocks_nothing_where_it_fills_the_window() {
    for (more, session) in
        ["status: {topic: here}\n", NO_STATUS].into_iter().flat_map(|more| SESSIONS.map(|session| (more, session)))
    {
        let mut bench = Bench::new(&format!("{more}delivery: {{window: 1}}\n"));
        (1..100).for_each(|seq| bench.put(message(seq), "t", None));
        let fate = |what| if what == message(7) { Fate::Mute } else { Fate::Taken };

        let account = Account::of(&mut bench, Duration::from_secs(24 * 3600), session, fate);

        assert_eq!(account.set_aside, [message(7)], "{more}{:#?}", bench.log);
        assert_eq!(account.taken.iter().filter(|what| what.spooled().is_some()).count(), 98, "{more}");
    }
}

#[test]
fn however_many_messages_are_never_answered_others_get_past_them() {
    for (window, session) in [3, 20, 100].into_iter().flat_map(|window| SESSIONS.map(|session| (window, session))) {
        let mut bench = Bench::new(&format!("{NO_STATUS}delivery: {{window: {window}}}\n"));
        (1..=300).for_each(|seq| bench.put(message(seq), "t", None));
        let is_mute = |what: Publish| what.spooled().is_some_and(|seq| seq.0 % 10 == 0);
        let fate = |what| if is_mute(what) { Fate::Mute } else { Fate::Taken };

        let account = Account::of(&mut bench, Duration::from_secs(8 * 3600), session, fate);

        assert_eq!(account.taken.len(), 270, "window {window}");
        assert!(account.set_aside.iter().all(|what| is_mute(*what)));
        // The rest has nothing after it that is taken.
        assert!(window == 100 || account.set_aside.len() >= 10, "window {window}: {}", account.set_aside.len());
    }
}

#[test]
fn messages_that_are_never_answered_and_fill_the_window_with_their_session_hold_nothing_up() {
    for more in ["status: {topic: here}\n", NO_STATUS] {
        let mut bench = Bench::new(&format!("{more}delivery: {{window: 3}}\n"));
        (1..=300).for_each(|seq| bench.put(message(seq), if seq % 2 == 0 { "t" } else { "u" }, None));
        let is_mute = |what: Publish| what.spooled().is_some_and(|seq| seq.0 <= 3);
        let fate = |what| if is_mute(what) { Fate::Mute } else { Fate::Taken };

        let account = Account::of(&mut bench, Duration::from_secs(24 * 3600), Session::Kept, fate);

        assert_eq!(account.taken.iter().filter(|what| what.spooled().is_some()).count(), 297, "{more}{:#?}", bench.log);
        assert!(account.set_aside.iter().all(|what| is_mute(*what)), "{more}{:?}", account.set_aside);
    }
}

#[test]
fn a_topic_that_is_never_answered_and_fills_the_window_with_its_session_holds_no_other_up() {
    for (more, window) in ["status: {topic: here}\n", NO_STATUS].into_iter().flat_map(|more| [(more, 3), (more, 20)]) {
        let retry = "retry: {max_delay: 1m, at_max: hold}\n";
        let mut bench = Bench::new(&format!("{more}{retry}delivery: {{window: {window}}}\n"));
        (1..=300).for_each(|seq| bench.put(message(seq), if seq > 30 && seq % 2 == 0 { "good" } else { "mute" }, None));
        let is_good = |what: Publish| what.spooled().is_some_and(|seq| seq.0 > 30 && seq.0 % 2 == 0);
        let fate = |what| if is_good(what) || what == STATUS { Fate::Taken } else { Fate::Mute };

        let mute = Account::of(&mut bench, Duration::from_secs(2 * 3600), Session::Kept, fate);
        let good = mute.taken.iter().filter(|what| is_good(**what)).count();
        assert_eq!((good, mute.set_aside.len()), (135, 0), "{more}{:#?}", bench.log);

        let answers = mute.go_on(&mut bench, Duration::from_secs(3600), Session::Kept, |_| Fate::Taken);
        let taken = answers.taken.iter().filter(|what| what.spooled().is_some()).count();
        assert_eq!((taken, answers.set_aside.len()), (300, 0), "{more}{:#?}", bench.log);
        let late = answers.taken.iter().filter(|what| what.spooled().is_some() && !is_good(**what));
        // Among three, those behind the first are resumed before it where nothing else could be compared with it.
        assert!(window == 3 || late.is_sorted(), "{more}{:?}", answers.taken);
    }
}

#[test]
fn what_is_written_at_qos_0_is_no_proof_that_a_mute_link_takes_anything() {
    for session in SESSIONS {
        let mut bench = Bench::new(&format!("{NO_STATUS}delivery: {{window: 4}}\n"));
        (1..=300).for_each(|seq| match seq % 2 {
            0 => bench.put_at(Qos::AtMostOnce, message(seq), "written", None),
            _ => bench.put(message(seq), "asked", None),
        });

        let mute = Account::of(&mut bench, Duration::from_secs(3600), session, |_| Fate::Mute);
        let told = bench.log.iter().find(|line| line.contains("refuses every message"));
        assert_eq!((told, mute.set_aside.len()), (None, 0), "{session:?}");

        let good = mute.go_on(&mut bench, Duration::from_secs(3600), session, |_| Fate::Taken);
        let is_asked = |what: &&Publish| what.spooled().is_some_and(|seq| seq.0 % 2 == 1);
        let taken: Vec<&Publish> = good.taken.iter().filter(is_asked).collect();
        assert_eq!((taken.len(), good.set_aside.len()), (150, 0), "{session:?} {:#?}", bench.log);
        assert!(taken.is_sorted(), "{session:?} {taken:?}");
    }
}
