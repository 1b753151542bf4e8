//! Brokers that refuse us or are away: when they are asked again, and what is logged meanwhile.

use super::*;

/// When the brokers that refuse us are asked again, in seconds.
fn asked_again(bench: &mut Bench, times: usize) -> Vec<u64> {
    bench.turn();
    let ask = |_| {
        let why = Lost::Refused("not authorized".to_owned());
        bench.on(Event::Lost { why, remains: Remains::default() });
        assert!(bench.turn().is_empty(), "nobody gives up");
        let lost = bench.now.at;
        loop {
            let wait = bench.delivery.deadline(bench.now).expect("it is asked again") - bench.now.at;
            bench.pass(wait);
            match &bench.turn()[..] {
                [Action::Connect { .. }] => return (bench.now.at - lost).as_secs(),
                // The log told of the outage.
                actions => assert!(actions.is_empty(), "{actions:?}"),
            }
        }
    };
    (0..times).map(ask).collect()
}

#[test]
fn a_broker_that_refuses_us_is_asked_ever_more_rarely_and_soon_after_what_it_refused_has_changed() {
    let mut bench = Bench::new("retry: {jitter: 0}\n");
    assert_eq!(asked_again(&mut bench, 6), [60, 120, 240, 480, 900, 900]);

    bench.on(Event::Lost { why: Lost::Refused("no".to_owned()), remains: Remains::default() });
    bench.turn();
    bench.on(Event::CredentialsChanged);

    assert!(matches!(bench.turn()[..], [Action::Connect { .. }]));
    assert_eq!(asked_again(&mut bench, 2), [60, 120]);
}

#[test]
fn the_back_off_grows_while_a_message_that_connections_may_end_over_has_tries_left_and_none_comes_about() {
    for is_accepted in [false, true] {
        let mut bench = Bench::new("retry: {jitter: 0, initial_delay: 1s, max_delay: 1m, at_max: hold}\n");
        bench.put(message(1), "t", None);
        bench.connect(false);
        let end = |bench: &mut Bench, why: &str| {
            let under_way = vec![UnderWay { what: message(1), confirmed: false }];
            let why = if why == "cut" { Lost::Ended(why.to_owned()) } else { Lost::Passing(why.to_owned()) };
            bench.on(Event::Lost { why, remains: Remains { under_way, first: 0, backlog: 1 } });
        };
        for _ in 0..5 {
            end(&mut bench, "cut");
            bench.turn();
            bench.pass(Duration::from_secs(60));
            bench.connect(true);
        }
        end(&mut bench, "cut");
        assert!(bench.delivery.suspects.has_more_tries());

        let mut attempts = 0;
        for _ in 0..600 {
            if bench.turn().iter().any(|action| matches!(action, Action::Connect { .. })) {
                attempts += 1;
                if is_accepted {
                    bench.on(Event::Connected { connected: connected(true), backlog: 1 });
                    bench.turn();
                }
                end(&mut bench, "server shutting down");
            }
            bench.pass(Duration::from_secs(1));
        }

        assert!((10..20).contains(&attempts), "{attempts} attempts in ten minutes: {:#?}", bench.log);
    }
}

#[test]
fn who_is_in_a_hurry_ends_a_back_off_and_a_wait_after_a_refusal() {
    let passing = || Lost::Passing("away".to_owned());
    for why in [passing as fn() -> Lost, || Lost::Refused("no".to_owned())] {
        let mut bench = Bench::new("retry: {jitter: 0, initial_delay: 1m, at_max: hold}\n");
        bench.turn();
        for _ in 0..4 {
            bench.on(Event::Lost { why: why(), remains: Remains::default() });
            bench.turn();
            let wait = bench.delivery.deadline(bench.now).map_or(Duration::ZERO, |at| at - bench.now.at);
            bench.pass(wait);
            bench.turn();
        }
        bench.on(Event::Lost { why: why(), remains: Remains::default() });
        assert!(!bench.turn().iter().any(|action| matches!(action, Action::Connect { .. })));

        bench.on(Event::Hurry);

        assert!(matches!(bench.turn()[..], [Action::Connect { .. }]));
    }
}

#[test]
fn a_broker_that_refuses_us_ends_the_agent_where_it_is_told_to() {
    let mut bench = Bench::new("retry: {on_refusal: exit}\n");
    bench.turn();

    bench.on(Event::Lost { why: Lost::Refused("no".to_owned()), remains: Remains::default() });

    assert!(matches!(bench.turn()[..], [Action::GiveUp(GiveUp::Refused(_))]));
}

#[test]
fn a_file_that_cannot_be_used_is_waited_for_whatever_a_refusal_or_the_longest_delay_leads_to() {
    let mut bench = Bench::new("retry: {on_refusal: exit, at_max: exit, max_delay: 2s, jitter: 0}\n");
    for _ in 0..5 {
        bench.turn();
        bench.on(Event::Lost { why: Lost::Unusable("gone".to_owned()), remains: Remains::default() });
        assert!(bench.turn().is_empty(), "nobody gives up");

        bench.on(Event::CredentialsChanged);

        assert!(matches!(bench.turn()[..], [Action::Connect { .. }]));
    }
}

#[test]
fn an_outage_is_told_every_ten_minutes_and_its_end_says_how_long_it_took() {
    let mut bench = Bench::new("status: {topic: ~}\nretry: {initial_delay: 1m, factor: 1, jitter: 0, at_max: hold}\n");
    bench.connect(false);
    bench.pass(Duration::from_secs(3 * 3600));
    bench.lose(&[]);
    bench.turn();
    let lost = bench.log.iter().find(|line| line.starts_with("connection lost"));
    assert!(lost.unwrap().ends_with("backlog 0, connected for 3h)"), "{lost:?}");
    bench.lose(&[]);
    (1..=30).for_each(|seq| bench.put(message(seq), "t", None));
    bench.log.clear();

    let mut waited = Duration::ZERO;
    while waited < Duration::from_secs(3000) {
        let next = bench.delivery.deadline(bench.now).unwrap();
        let step = next - bench.now.at;
        assert!(step <= Duration::from_secs(600) && !step.is_zero());
        bench.pass(step);
        waited += step;
        if bench.turn().iter().any(|action| matches!(action, Action::Connect { .. })) {
            bench.lose(&[]);
        }
    }
    let told: Vec<&String> = bench.log.iter().filter(|line| line.starts_with("no connection to")).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[1].starts_with("no connection to mqtt://b:1883 for 20m: connection lost; next attempt "), "{told:?}");
    assert!(told[1].ends_with("; messages waiting: 30"), "{told:?}");

    bench.log.clear();
    let connected = Connected { session_present: false, at_qos_2: true, limits: Limits::NONE };
    bench.on(Event::Connected { connected, backlog: 30 });
    assert_eq!(published(&bench.turn()).len(), 30);
    bench.pass(Duration::from_secs(3));
    (1..=30).for_each(|seq| bench.on(Event::Acknowledged(message(seq))));
    bench.turn();
    let back = bench.log.iter().find(|line| line.starts_with("connected to mqtt://b:1883"));
    assert!(back.unwrap().ends_with("after=\"50m\""), "{back:?}");
    assert_eq!(bench.log.last().unwrap(), "drained; 30 messages in 3.0 s (10 a second)");
    bench.pass(Duration::from_secs(6000));
    bench.turn();
    assert_eq!(bench.delivery.story.deadline(), None, "a connection wakes nobody up for this");
}

#[test]
fn what_expired_is_told_by_number_and_range() {
    let mut bench = Bench::new(NO_STATUS);
    (1..=50).for_each(|seq| bench.put(message(seq), "t", Some(Duration::from_secs(1))));
    bench.pass(Duration::from_secs(60));
    bench.put(message(51), "t", None);
    bench.log.clear();

    bench.connect(false);

    let told: Vec<&String> = bench.log.iter().filter(|line| line.contains("too old")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], "messages dropped, too old rule=expiry count=50 seq=1..50");
}

#[test]
fn drops_among_messages_that_are_sent_are_few_lines_and_news_again_after_ten_quiet_minutes() {
    let mut bench = Bench::new(NO_STATUS);
    let interleaved = |bench: &mut Bench, first: u64| {
        for seq in first..first + 100 {
            bench.put(message(seq), "t", (seq % 2 == 0).then_some(Duration::from_secs(1)));
        }
        bench.pass(Duration::from_secs(60));
    };
    let told = |bench: &mut Bench| bench.log.drain(..).filter(|line| line.contains("too old")).collect::<Vec<_>>();

    interleaved(&mut bench, 1);
    bench.connect(false);
    bench.pass(Duration::from_secs(11));
    bench.turn();
    let first = told(&mut bench);
    (1..=100).for_each(|seq| bench.on(Event::Acknowledged(message(seq))));
    bench.pass(Duration::from_secs(601));
    bench.turn();
    interleaved(&mut bench, 101);
    bench.turn();
    let second = told(&mut bench);

    assert!(first.len() <= 3, "{first:?}");
    assert_eq!(first.last().unwrap(), "messages dropped, too old rule=expiry count=50 seq=2..100");
    assert_eq!(second[0], "messages dropped, too old rule=expiry count=1 seq=102..102");
}
