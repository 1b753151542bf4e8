//! Brokers that do not answer, or end connections, for some messages or all, and what becomes of the others.

use super::*;

#[test]
fn a_link_that_dies_after_the_status_message_says_nothing_of_a_topic() {
    let mut bench = Bench::new("status: {topic: here}\n");
    bench.put(message(1), "t", None);
    assert_eq!(bench.connect(false), [STATUS, message(1)]);
    bench.on(Event::Acknowledged(STATUS));
    bench.pass(Duration::from_secs(50));

    let Some(Action::Close(why)) = bench.turn().into_iter().find(|action| matches!(action, Action::Close(_))) else {
        panic!("it is not closed");
    };
    bench.on(Event::Lost { why, remains: Remains { under_way: Vec::new(), first: 0, backlog: 1 } });

    assert_eq!(bench.delivery.refused_altogether(), None);
}

#[test]
fn an_exceeded_quota_of_a_topic_holds_no_other_up_and_costs_no_message() {
    let mut bench = Bench::new(NO_STATUS);
    (1..200).for_each(|seq| bench.put(message(seq), if seq % 2 == 0 { "full" } else { "t" }, None));
    let mut flying = VecDeque::from(bench.connect(false));
    let (mut taken, mut refused) = (0, 0);

    for _ in 0..100 {
        while let Some(what) = flying.pop_front() {
            if what.spooled().is_some_and(|seq| seq.0 % 2 == 0) {
                refused += 1;
                bench.on(Event::Refused(what, Refusal::ForNow("quota exceeded".to_owned())));
            } else {
                taken += 1;
                bench.on(Event::Acknowledged(what));
            }
        }
        bench.pass(Duration::from_secs(1));
        let actions = bench.turn();
        let costs = |action: &Action| matches!(action, Action::Close(_) | Action::SetAside { .. });
        assert!(!actions.iter().any(costs), "{actions:?}");
        flying = published(&actions).into();
    }

    assert_eq!(taken, 100, "{:#?}", bench.log);
    assert!((51..70).contains(&refused), "those in flight, then one now and then: {refused}");
}

#[test]
fn a_message_that_is_refused_while_no_other_waits_does_not_stand_for_the_broker() {
    let mut bench = Bench::new(NO_STATUS);
    bench.put(message(1), "t", None);
    let mut flying = VecDeque::from(bench.connect(false));
    let mut set_aside = None;

    for seq in 2..20 {
        while let Some(what) = flying.pop_front() {
            let refusal = Refusal::Flatly(Scope::Broker, "no".to_owned());
            bench.on(if what == message(1) { Event::Refused(what, refusal) } else { Event::Acknowledged(what) });
            for action in bench.turn() {
                match action {
                    Action::Publish { what, .. } => flying.push_back(what),
                    Action::SetAside { what, .. } => set_aside = set_aside.or(Some((what, seq))),
                    _ => {}
                }
            }
        }
        bench.put(message(seq), "t", None);
        bench.pass(Duration::from_millis(100));
        flying.extend(published(&bench.turn()));
    }

    // It was refused, and twice more after another one was taken.
    assert_eq!(set_aside, Some((message(1), 4)), "{:#?}", bench.log);
    assert!(!bench.log.iter().any(|line| line.contains("every message")), "{:#?}", bench.log);
}

/// A message at QoS 1 that is refused, behind which only messages at QoS 0 come, one in 100 ms: what is set aside, how many
/// others were published, and how many of them so that they were answered.
fn refused_among_messages_at_qos_0(topic: &str, scope: Scope) -> (Vec<Publish>, usize, usize) {
    let mut bench = Bench::new(NO_STATUS);
    bench.put(message(1), topic, None);
    let mut flying = VecDeque::from(bench.connect(false));
    let (mut set_aside, mut arrived, mut answered) = (Vec::new(), 0, 0);

    for seq in 2..600 {
        bench.put_at(Qos::AtMostOnce, message(seq), "t", None);
        bench.pass(Duration::from_millis(100));
        loop {
            for action in bench.turn() {
                match action {
                    Action::Publish { what, outgoing } => {
                        answered += usize::from(what != message(1) && outgoing.qos > Qos::AtMostOnce);
                        flying.push_back(what);
                    }
                    Action::SetAside { what, .. } => set_aside.push(what),
                    _ => {}
                }
            }
            let Some(what) = flying.pop_front() else { break };
            let refusal = Refusal::Flatly(scope, "no".to_owned());
            arrived += usize::from(what != message(1));
            bench.on(if what == message(1) { Event::Refused(what, refusal) } else { Event::Acknowledged(what) });
        }
    }
    (set_aside, arrived, answered)
}

#[test]
fn a_refused_message_among_others_at_qos_0_is_set_aside_and_holds_them_up_for_seconds_at_most() {
    for (topic, scope) in [("t", Scope::Topic), ("t", Scope::Broker), ("of its own", Scope::Broker)] {
        let (set_aside, arrived, answered) = refused_among_messages_at_qos_0(topic, scope);

        assert_eq!((set_aside, arrived > 500), (vec![message(1)], true), "{topic}, {scope:?}: {arrived} arrived");
        // Those that are to show that the broker takes others.
        assert!((1..10).contains(&answered), "{topic}, {scope:?}: {answered} answered");
    }
}

/// What a broker does with a message.
pub(super) enum Fate {
    Taken,
    Ends(fn() -> Lost),
    Mute,
}

/// Whether the broker keeps the session between connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    Kept,
    Forgotten,
}

/// What has become of messages.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub taken: Vec<Publish>,
    pub set_aside: Vec<Publish>,
    connections: u32,
    /// What the session has on its way.
    under_way: Vec<Publish>,
    /// Which of several brokers is away.
    away: Option<usize>,
}

impl Account {
    /// Lets a broker of such a fate for each message meet the core for so long. It reads in order, and answers at once.
    pub(super) fn of(bench: &mut Bench, time: Duration, session: Session, fate: impl Fn(Publish) -> Fate) -> Self {
        Self::default().go_on(bench, time, session, fate)
    }

    /// As [`Account::of`], with what has become of messages before.
    pub(super) fn go_on(
        self,
        bench: &mut Bench,
        time: Duration,
        session: Session,
        fate: impl Fn(Publish) -> Fate,
    ) -> Self {
        let (mut account, step) = (self, Duration::from_millis(500));
        let end = bench.now.at + time;
        while bench.now.at < end && (account.connections == 0 || bench.has_messages()) {
            let mut actions = VecDeque::from(bench.turn());
            while let Some(action) = actions.pop_front() {
                match action {
                    Action::Connect { member, .. } if account.away == Some(member) => {
                        account.connections += 1;
                        let why = Lost::Passing("no connection: refused".to_owned());
                        bench.on(Event::Lost { why, remains: account.remains(session) });
                    }
                    Action::Connect { .. } => account.connect(bench, session, &fate),
                    // It is written, which is all that anybody knows.
                    Action::Publish { what, outgoing } if outgoing.qos == Qos::AtMostOnce => {
                        bench.on(Event::Acknowledged(what));
                    }
                    Action::Publish { what, .. } => {
                        account.under_way.push(what);
                        if !account.meet(bench, what, session, &fate) {
                            actions.retain(|action| !matches!(action, Action::Publish { .. }));
                        }
                    }
                    Action::Close(why) => bench.on(Event::Lost { why, remains: account.remains(session) }),
                    Action::Disconnect => bench.on(Event::Disconnected(account.remains(session))),
                    Action::SetAside { what, .. } => account.set_aside.push(what),
                    Action::Abandon(what) => account.under_way.retain(|other| *other != what),
                    Action::ForgetSession => account.under_way.clear(),
                    _ => {}
                }
                actions.extend(bench.turn());
            }
            bench.pass(step);
        }
        account
    }

    fn remains(&self, session: Session) -> Remains {
        let under_way = if session == Session::Kept { self.under_way.as_slice() } else { &[] };
        let under_way = under_way.iter().map(|what| UnderWay { what: *what, confirmed: false }).collect();
        Remains { under_way, first: 0, backlog: 0 }
    }

    /// The library sends what the session has, but for what is left out.
    fn connect(&mut self, bench: &mut Bench, session: Session, fate: &impl Fn(Publish) -> Fate) {
        self.connections += 1;
        let left_out = bench.delivery.left_out();
        let resumed: Vec<_> = self.under_way.iter().copied().filter(|what| !left_out.contains(what)).collect();
        let connected = Connected { session_present: session == Session::Kept, at_qos_2: true, limits: Limits::NONE };
        bench.on(Event::Connected { connected, backlog: 1 });
        match session {
            Session::Kept => drop(resumed.into_iter().all(|what| self.meet(bench, what, session, fate))),
            Session::Forgotten => self.under_way.clear(),
        }
    }

    /// The broker gets this; whether the connection lasts.
    fn meet(&mut self, bench: &mut Bench, what: Publish, session: Session, fate: &impl Fn(Publish) -> Fate) -> bool {
        match fate(what) {
            Fate::Taken => {
                self.taken.push(what);
                self.under_way.retain(|other| *other != what);
                bench.on(Event::Acknowledged(what));
                true
            }
            Fate::Ends(why) => {
                bench.on(Event::Lost { why: why(), remains: self.remains(session) });
                false
            }
            Fate::Mute => true,
        }
    }
}

pub(super) const SESSIONS: [Session; 2] = [Session::Kept, Session::Forgotten];
const NOT_AUTHORIZED: fn() -> Lost = || Lost::Blamed(Fault::Other, "not authorized (0x87)".to_owned());
const CLOSED: fn() -> Lost = || Lost::Ended("connection lost".to_owned());

#[test]
fn a_broker_that_ends_every_connection_over_messages_has_nothing_set_aside_whatever_it_says() {
    for why in [NOT_AUTHORIZED, CLOSED] {
        let mut bench = Bench::new(NO_STATUS);
        (1..1000).for_each(|seq| bench.put(message(seq), "t", None));

        let bad = Account::of(&mut bench, Duration::from_secs(3600), Session::Forgotten, |_| Fate::Ends(why));
        let good = Account::of(&mut bench, Duration::from_secs(4 * 3600), Session::Forgotten, |_| Fate::Taken);

        assert_eq!((bad.set_aside.len(), good.set_aside.len()), (0, 0), "{}", why());
        assert_eq!(good.taken.len(), 999, "{}", why());
    }
}

#[test]
fn a_message_that_connections_end_over_holds_others_up_for_minutes_at_most() {
    for (session, more) in
        SESSIONS.into_iter().flat_map(|session| [NO_STATUS, "status: {topic: here}\n"].map(|more| (session, more)))
    {
        let mut bench = Bench::new(more);
        (1..1000).for_each(|seq| bench.put(message(seq), if seq % 2 == 0 { "a" } else { "b" }, None));
        let fate = |what| if what == message(50) { Fate::Ends(CLOSED) } else { Fate::Taken };

        let account = Account::of(&mut bench, Duration::from_secs(300), session, fate);

        let taken = account.taken.iter().filter(|what| what.spooled().is_some()).count();
        assert_eq!((taken, account.set_aside), (998, vec![message(50)]), "{more}{:#?}", bench.log);
    }
}

#[test]
fn a_broker_that_takes_no_packet_as_large_as_ours_has_nothing_set_aside() {
    let mut bench = Bench::new(NO_STATUS);
    (1..1000).for_each(|seq| bench.put(message(seq), "t", None));
    bench.turn();
    let limits = Limits { packet_size: 100, ..Limits::NONE };
    bench.on(Event::Connected { connected: Connected { limits, ..connected(false) }, backlog: 1 });
    let mut aside = 0;
    for _ in 0..1000 {
        aside += bench.turn().iter().filter(|action| matches!(action, Action::SetAside { .. })).count();
        bench.pass(Duration::from_secs(1));
    }

    assert_eq!(aside, 0);
    assert!(bench.log.iter().any(|line| line.contains("the broker refuses every message")), "{:#?}", bench.log);
}

#[test]
fn a_topic_over_whose_messages_connections_end_holds_no_other_up() {
    for (why, session) in [NOT_AUTHORIZED, CLOSED].into_iter().flat_map(|why| SESSIONS.map(|session| (why, session))) {
        for more in ["status: {topic: here}\n", NO_STATUS] {
            let mut bench = Bench::new(&format!("{more}retry: {{max_delay: 10s, at_max: hold}}\n"));
            (1..1000).for_each(|seq| bench.put(message(seq), if seq % 2 == 0 { "bad" } else { "good" }, None));
            let is_bad = |what: Publish| what.spooled().is_some_and(|seq| seq.0 % 2 == 0);
            let fate = |what| if is_bad(what) { Fate::Ends(why) } else { Fate::Taken };

            let account = Account::of(&mut bench, Duration::from_secs(1200), session, fate);

            let taken = account.taken.iter().filter(|what| what.spooled().is_some()).count();
            assert_eq!(taken, 500, "{} {more} {}: {:#?}", why(), account.connections, bench.log);
            assert!(account.set_aside.len() <= 2, "{} {more} {:?}", why(), account.set_aside);
            assert!(bench.delivery.refused_altogether().is_some_and(|summary| summary.contains("bad")), "{}", why());
            assert!(account.connections < 500, "{} {more} {}", why(), account.connections);
        }
    }
}

#[test]
fn a_broker_that_says_of_two_messages_that_they_are_too_large_is_not_asked_about_others_as_large() {
    let mut bench = Bench::new(NO_STATUS);
    (1..1000).for_each(|seq| bench.put(message(seq), if seq % 2 == 0 { "a/long/topic" } else { "t" }, None));
    let is_large = |what: Publish| what.spooled().is_some_and(|seq| seq.0 % 2 == 0);
    let too_large = || Lost::Blamed(Fault::Size, "packet too large (0x95)".to_owned());
    let fate = |what| if is_large(what) { Fate::Ends(too_large) } else { Fate::Taken };

    let account = Account::of(&mut bench, Duration::from_secs(3600), Session::Forgotten, fate);

    assert_eq!((account.taken.len(), account.set_aside.len()), (500, 499));
    assert!(account.connections < 40, "{}", account.connections);
}

#[test]
fn a_message_that_connections_end_over_is_set_aside_and_no_other_one_of_its_topic() {
    for (why, session) in [NOT_AUTHORIZED, CLOSED].into_iter().flat_map(|why| SESSIONS.map(|session| (why, session))) {
        for more in ["status: {topic: here}\n", NO_STATUS] {
            let mut bench = Bench::new(&format!("{more}retry: {{max_delay: 60s, at_max: hold}}\n"));
            (1..100).for_each(|seq| bench.put(message(seq), "t", None));
            let is_bad = |what| (7..11).any(|seq| what == message(seq));
            let fate = |what| if is_bad(what) { Fate::Ends(why) } else { Fate::Taken };

            let account = Account::of(&mut bench, Duration::from_secs(24 * 3600), session, fate);

            assert_eq!(account.set_aside, (7..11).map(message).collect::<Vec<_>>(), "{} {more}", why());
            assert_eq!(account.taken.iter().filter(|what| what.spooled().is_some()).count(), 95, "{}", why());
        }
    }
}

#[test]
fn a_message_that_connections_end_over_is_set_aside_although_one_of_several_brokers_is_away() {
    for (away, session) in [0, 1, 2].into_iter().flat_map(|away| SESSIONS.map(|session| (away, session))) {
        let mut bench = Bench::at("urls: [\"mqtt://a\", \"mqtt://b\", \"mqtt://c\"]", "status: {topic: here}\n");
        (1..100).for_each(|seq| bench.put(message(seq), "t", None));
        let fate = |what| if what == message(7) { Fate::Ends(CLOSED) } else { Fate::Taken };

        let brokers = Account { away: Some(away), ..Account::default() };
        let account = brokers.go_on(&mut bench, Duration::from_secs(600), session, fate);

        let taken = account.taken.iter().filter(|what| what.spooled().is_some()).count();
        assert_eq!((taken, account.set_aside), (98, vec![message(7)]), "{away} {session:?} {:#?}", bench.log);
        assert!(account.connections < 40, "{away} {session:?} {}", account.connections);
    }
}

#[test]
fn a_control_that_connections_end_over_as_well_gives_way_to_one_that_was_not_tried() {
    for session in SESSIONS {
        let more = format!("{NO_STATUS}delivery: {{window: 1}}\nretry: {{max_delay: 10s, at_max: hold}}\n");
        let mut bench = Bench::new(&more);
        (1..100).for_each(|seq| bench.put(message(seq), ["a", "b", "b"][usize::try_from(seq % 3).unwrap_or(0)], None));
        let is_bad = |what| (3..=5).any(|seq| what == message(seq));
        let fate = |what| if is_bad(what) { Fate::Ends(CLOSED) } else { Fate::Taken };

        let account = Account::of(&mut bench, Duration::from_secs(1800), session, fate);

        assert_eq!(account.taken.len(), 96, "{session:?} {:#?}", bench.log);
        assert!(account.set_aside.iter().all(|what| is_bad(*what)), "{session:?} {:?}", account.set_aside);
    }
}

#[test]
fn what_one_of_several_brokers_refuses_is_not_set_aside_because_another_one_takes_its_like() {
    let brokers = "urls: [\"mqtt://a\", \"mqtt://b\"]";
    let mut bench = Bench::at(brokers, &format!("{NO_STATUS}retry: {{max_delay: 10s, at_max: hold}}\n"));
    (1..100).for_each(|seq| bench.put(message(seq), "t", None));
    for member in (0..40).map(|round| round % 2) {
        for _ in 0..20 {
            for action in bench.turn() {
                match action {
                    Action::Connect { .. } => {
                        bench.on(Event::Connected { connected: connected(false), backlog: 1 });
                    }
                    Action::Publish { what, .. } if bench.delivery.connection.member() == 0 => {
                        let why = Refusal::Flatly(Scope::Topic, "not authorized (0x87)".to_owned());
                        bench.on(Event::Refused(what, why));
                    }
                    Action::Publish { what, .. } if what.spooled().is_some_and(|seq| seq.0 % 5 == 0) => {
                        bench.on(Event::Acknowledged(what));
                    }
                    Action::SetAside { what, .. } => panic!("{what:?} {:#?}", bench.log),
                    _ => {}
                }
            }
            bench.pass(Duration::from_secs(1));
        }
        bench.lose(&[]);
        assert!(member < 2);
    }
}
