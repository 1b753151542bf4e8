//! Several brokers: which one is tried, and that nothing is lost on the way from one to the other.

use crate::support::{
    Broker, Gateway, Judgement, Script, Scripted, Settings, Subscriber, log_files, scale, wait_until,
};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A back-off that a test would notice.
const SLOW: &str = "{initial_delay: 1h, factor: 1, max_delay: 1h, at_max: hold}";

/// The brokers that the agent was connected to, as these log files tell.
fn connects(gateway: &Gateway, files: &str) -> Vec<String> {
    let log = log_files(&gateway.logs(), files).concat();
    log.lines().filter_map(|line| Some(line.split_once("connected to ")?.1.split(' ').next()?.to_owned())).collect()
}

#[test]
fn the_next_broker_is_tried_at_once_and_the_first_is_preferred_again_later() {
    let [mut first, mut second] = [Broker::start(), Broker::start()];
    let urls = [first.url(), second.url()];
    let subscribers = [&first, &second].map(|broker| Subscriber::start(&broker.url(), "telemetry/#"));
    let gateway = Gateway::with_brokers(&urls, &Settings { retry: SLOW, ..Settings::default() });
    let agent = gateway.start();

    subscribers[0].wait_for_count(50);
    first.kill();
    subscribers[1].wait_for_count(50);
    // Being back is no reason to leave a connection that works.
    first.run();
    let before = subscribers[1].arrivals().len();
    subscribers[1].wait_for_count(before + 200);
    let stayed = connects(&gateway, "info.log.");
    second.stop();
    let before = subscribers[0].arrivals().len();
    subscribers[0].wait_for_count(before + 50);
    assert_eq!(agent.stop().code(), Some(0));

    assert_eq!(stayed, urls);
    assert_eq!(connects(&gateway, "info.log."), [urls[0].clone(), urls[1].clone(), urls[0].clone()]);
    let log = log_files(&gateway.logs(), "info.log.").concat();
    assert!(log.contains(&format!("; retrying {} in 0.0 s", urls[1])), "{log}");
}

#[test]
fn the_back_off_counts_rounds() {
    let urls: Vec<String> = (0..3).map(|_| Broker::absent("").url()).collect();
    let retry = "{initial_delay: 300ms, factor: 1, max_delay: 300ms, at_max: hold, jitter: 0}";
    let gateway = Gateway::with_brokers(&urls, &Settings { retry, ..Settings::default() });
    let agent = gateway.start();

    let attempts = || {
        let log = log_files(&gateway.logs(), "debug.log.").concat();
        let lines = log.lines().filter_map(|line| Some(line.split_once("connecting to ")?.1.to_owned()));
        lines.collect::<Vec<_>>()
    };
    wait_until("four rounds", || attempts().len() >= 12);
    agent.kill();

    let expected = (0..4).flat_map(|round| urls.iter().map(move |url| format!("{url} (attempt {})", round + 1)));
    assert_eq!(attempts()[..12], expected.collect::<Vec<_>>());
}

#[test]
fn a_round_ends_in_giving_up_when_the_delay_passes_its_limit() {
    let urls: Vec<String> = (0..2).map(|_| Broker::absent("").url()).collect();
    let retry = "{initial_delay: 50ms, factor: 2, max_delay: 100ms, at_max: exit, jitter: 0}";
    let gateway = Gateway::with_brokers(&urls, &Settings { retry, ..Settings::default() });

    assert_eq!(gateway.start().wait().code(), Some(69));
}

#[test]
fn a_broker_that_refuses_us_is_passed_over_and_only_all_of_them_end_the_agent() {
    let refusing = || Scripted::start(Script { connect_code: 0x87, ..Script::default() });
    let [first, second] = [refusing(), Scripted::start(Script::default())];
    let gateway = Gateway::with_brokers(&[first.url(), second.url()], &Settings::default());
    let agent = gateway.start();
    wait_until("the second takes messages", || second.deliveries().len() > 20);
    assert_eq!(agent.stop().code(), Some(0));
    assert_eq!(first.connects().len(), 1);

    let gateway = Gateway::with_brokers(&[first.url(), refusing().url()], &Settings::default());
    // The second one is gone already; a broker that is away refuses nobody.
    let agent = gateway.start();
    wait_until("the first is asked again", || first.connects().len() > 3);
    assert_eq!(agent.stop().code(), Some(0));

    let other = refusing();
    let gateway = Gateway::with_brokers(&[first.url(), other.url()], &Settings::default());
    gateway.edit("at_max: hold", "at_max: hold, on_refusal: exit");
    assert_eq!(gateway.start().wait().code(), Some(77));
    assert_eq!(other.connects().len(), 1);
}

#[test]
fn a_broker_that_sends_us_elsewhere_is_left_for_the_next() {
    for code in [0x9c, 0x9d] {
        let moved = Scripted::start(Script { connect_code: code, ..Script::default() });
        let other = Scripted::start(Script::default());
        let settings = Settings { retry: SLOW, ..Settings::default() };
        let gateway = Gateway::with_brokers(&[moved.url(), other.url()], &settings);
        let agent = gateway.start();

        wait_until("the other takes messages", || other.deliveries().len() > 20);

        assert_eq!(agent.stop().code(), Some(0));
        assert_eq!(moved.connects().len(), 1);
    }
}

/// Two brokers that know nothing of each other. What one has, nobody asks the other for.
fn between_strangers(qos: u8, protocol: &'static str) {
    let mut brokers = [Broker::start(), Broker::start()];
    let urls = brokers.each_ref().map(Broker::url);
    let subscribers = urls.each_ref().map(|url| Subscriber::start(url, "telemetry/#"));
    let settings = Settings { qos, protocol, interval: "2ms", ..Settings::default() };
    let gateway = Gateway::with_brokers(&urls, &settings);
    let mut agent = gateway.start();
    let arrived = || subscribers.each_ref().map(Subscriber::arrivals).concat();
    let (rounds, mut resumed) = (scale(6, 40), Vec::new());

    for round in 0..rounds {
        let (now, next) = (round % 2, (round + 1) % 2);
        let before = subscribers[now].arrivals().len();
        subscribers[now].wait_for_count(before + 20);
        if round % 3 == 2 {
            agent.kill();
            agent = gateway.start();
        }
        let since = Instant::now();
        // In order: mosquitto loses what it acknowledged when it is killed.
        brokers[now].stop();
        // Not what arrives: something may still be on its way from an earlier round.
        wait_until("the agent goes over", || connects(&gateway, "debug.log.").last() == Some(&urls[next]));
        resumed.push(since.elapsed());
        brokers[now].run();
    }

    assert_eq!(agent.stop().code(), Some(0));
    let accepted = gateway.accepted();
    let agent = gateway.start();
    wait_until("everything arrives", || {
        let seqs: BTreeSet<u64> = arrived().iter().map(|arrival| arrival.identity().1).collect();
        accepted.iter().cloned().flatten().all(|seq| seqs.contains(&seq))
    });
    assert_eq!(agent.stop().code(), Some(0));
    let judgement = Judgement::of(&arrived());
    resumed.sort();
    println!(
        "{rounds} changes of broker at QoS {qos}: {:?} to resume, {:?} at most",
        resumed[rounds / 2],
        resumed[rounds - 1]
    );
    let missing: Vec<u64> = accepted.into_iter().flatten().filter(|seq| !judgement.seqs.contains(seq)).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    // A session does not follow us: what was in flight is repeated, and no more.
    let window = rounds * usize::from(settings.window) + rounds / 3 * usize::from(settings.window);
    assert!(judgement.duplicates <= window, "{} duplicates", judgement.duplicates);
}

/// Asking a broker that is not there is no change of broker.
#[test]
fn a_broker_that_is_not_there_costs_nothing_at_qos_2() {
    let slow = Script { acknowledge_after: Some(Duration::from_millis(50)), ..Script::default() };
    let broker = Scripted::start(slow);
    let settings = Settings { qos: 2, window: 20, interval: "2ms", ..Settings::default() };
    let absent = Broker::absent("").url();
    let gateway = Gateway::with_brokers(&[broker.url(), absent.clone()], &settings);
    let agent = gateway.start();
    let asked =
        || log_files(&gateway.logs(), "debug.log.").concat().matches(&format!("connecting to {absent}")).count();

    for _ in 0..scale(4, 40) {
        let arrived = broker.deliveries().len();
        wait_until("more messages arrive", || broker.deliveries().len() > arrived + 20);
        let before = asked();
        broker.die(Duration::from_millis(500));
        wait_until("the other broker is asked", || asked() > before);
    }
    let arrived = broker.deliveries().len();
    wait_until("more messages arrive", || broker.deliveries().len() > arrived + 20);

    assert_eq!(agent.stop().code(), Some(0));
    assert_eq!(broker.violations(), Vec::<String>::new());
    Judgement::of(&broker.arrivals()).assert_no_duplicates();
}

#[test]
fn nothing_is_lost_between_two_brokers_at_qos_1() {
    between_strangers(1, "5");
}

#[test]
fn nothing_is_lost_between_two_brokers_at_qos_2() {
    between_strangers(2, "5");
}

#[test]
fn nothing_is_lost_between_two_brokers_at_qos_2_over_mqtt_3_1_1() {
    between_strangers(2, "3.1.1");
}
