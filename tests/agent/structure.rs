//! What the division into a core that decides and a shell that acts has put right, on the built binary.

use crate::support::{
    ALWAYS, Agent, Death, Delivery, Exchanges, Gateway, Judgement, PacketKind, Point, Response, STATUS, Script,
    Scripted, Settings, SmallDisk, wait_until,
};
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn stop(agent: Agent) {
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn an_exchange_that_the_broker_confirmed_and_cannot_complete_blocks_nothing() {
    use Exchanges::{Lost, Unanswered};
    let cases = [(Lost, true), (Lost, false), (Unanswered, true), (Unanswered, false)];
    let cases = cases.into_iter().flat_map(|case| [(case, "5", 1), (case, "3.1.1", 5)]);
    for ((exchanges, status), protocol, window) in cases {
        let death = Death::at(PacketKind::Pubrel, Point::BeforeWriting);
        let broker = Scripted::start(Script { exchanges, ..Script::default() }.die(death));
        let settings = Settings { protocol, qos: 2, window, interval: "20ms", ..Settings::default() };
        let gateway = Gateway::new(&broker.url(), &settings);
        if status {
            gateway.turn_status_on();
        }
        gateway.edit("max_delay: 1s", "max_delay: 100ms");
        gateway.edit("ack_timeout: 2s", "ack_timeout: 1s");

        let agent = gateway.start();
        agent.wait_for_output("never completes the exchange; it counts as complete");
        broker.wait_for_more(20);
        stop(agent);

        Judgement::of(&broker.arrivals().into_iter().filter(|arrival| arrival.topic != STATUS).collect::<Vec<_>>())
            .assert_no_duplicates();
        assert_eq!(gateway.rejected(), Vec::<PathBuf>::new());
    }
}

/// The number of a message.
fn seq_of(publish: &Delivery) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(&publish.payload).ok()?["seq"].as_u64()
}

#[test]
fn a_message_that_the_broker_never_answers_is_set_aside_and_blocks_nothing() {
    for (protocol, qos) in [("5", 1), ("3.1.1", 1), ("5", 2), ("3.1.1", 2)] {
        let is_ignored = |publish: &Delivery| seq_of(publish) == Some(25);
        let broker = Scripted::start(Script::default().react(is_ignored, Response::Ignore, ALWAYS));
        let settings = Settings { protocol, qos, interval: "20ms", ..Settings::default() };
        let gateway = Gateway::new(&broker.url(), &settings);
        gateway.edit("ack_timeout: 2s", "ack_timeout: 1s");

        let agent = gateway.start();
        wait_until("it is set aside", || gateway.rejected().len() == 1);
        broker.wait_for_more(20);
        stop(agent);

        assert_eq!(gateway.rejected().len(), 1, "and no other one");
        let judgement = Judgement::of(&broker.arrivals());
        assert_eq!(judgement.disorder, Vec::<String>::new());
        assert!(!judgement.seqs.contains(&25) && judgement.seqs.contains(&100), "{:?}", judgement.seqs);
    }
}

#[test]
fn a_broker_that_takes_no_retained_will_gets_one_that_it_takes() {
    for (code, takes) in [(0x9a, "a last will that is not retained"), (0x9b, "a last will at QoS 0")] {
        let broker = Scripted::start(Script::default());
        broker.change(move |script| {
            script.authorize = Box::new(move |connect| {
                let fits = if code == 0x9a { !connect.will_retain } else { connect.will_qos == 0 };
                if fits { 0 } else { code }
            });
        });
        let gateway = Gateway::new(&broker.url(), &Settings { interval: "20ms", ..Settings::default() });
        gateway.turn_status_on();

        let agent = gateway.start();
        agent.wait_for_output(&format!("connecting again with {takes}"));
        broker.wait_for_more(10);
        stop(agent);
    }
}

#[test]
fn messages_too_large_for_a_broker_that_cannot_say_so_are_set_aside_at_once_after_two() {
    let is_large = |publish: &Delivery| publish.payload.len() > 1024;
    let broker = Scripted::start(Script::default().react(is_large, Response::Close, ALWAYS));
    let settings = Settings { protocol: "3.1.1", qos: 1, interval: "10ms", ..Settings::default() };
    let gateway = Gateway::new(&broker.url(), &settings);
    gateway.turn_status_on();
    gateway.add_text_source("large", &"x".repeat(1500), "100ms");
    gateway.edit("max_delay: 1s", "max_delay: 100ms");

    let agent = gateway.start();
    agent.wait_for_output("connections end over packets of");
    let connects = broker.connects().len();
    let begin = Instant::now();
    let aside = gateway.rejected().len();
    wait_until("twenty more are set aside", || gateway.rejected().len() >= aside + 20);
    broker.wait_for_more(100);

    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(broker.connects().len(), connects, "no connection ends over them any more");
    stop(agent);
}

#[test]
fn a_connection_that_is_lost_during_a_stop_does_not_decide_how_the_agent_ends() {
    let broker = Scripted::start(Script { acknowledge_after: None, ..Script::default() });
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "20ms", ..Settings::default() });
    gateway.edit("max_delay: 1s, at_max: hold", "max_delay: 50ms, at_max: exit");

    let agent = gateway.start();
    wait_until("something is in flight", || !broker.deliveries().is_empty());
    agent.signal(Signal::TERM);
    agent.wait_for_output("stopping in_flight");
    broker.die(Duration::from_secs(5));

    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn a_full_disk_holds_no_refused_message_up_and_it_is_set_aside_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let is_poison = |publish: &Delivery| publish.topic.ends_with("poison");
    let broker = Scripted::start(Script::default().react(is_poison, Response::Answer(0x99), ALWAYS));
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "5ms", ..Settings::default() });
    gateway.put_spool_on(&disk, "4MiB");
    gateway.add_text_source("poison", "poison", "50ms");

    let agent = gateway.start();
    broker.wait_for_more(50);
    disk.fill();
    agent.wait_for_output("cannot set messages aside");
    let before = broker.deliveries().iter().filter(|publish| !publish.topic.ends_with("poison")).count();
    wait_until("others arrive", || {
        broker.deliveries().iter().filter(|publish| !publish.topic.ends_with("poison")).count() >= before + 200
    });
    let connects = broker.connects().len();
    disk.free();
    agent.wait_for_output("can set messages aside again");

    assert_eq!(connects, 1, "no connection was given up for it");
    stop(agent);
}

#[test]
fn a_topic_that_is_not_authorized_holds_no_other_up_however_many_of_its_messages_wait() {
    let is_refused = |publish: &Delivery| publish.topic.ends_with("refused");
    let broker = Scripted::start(Script::default().react(is_refused, Response::Answer(0x87), ALWAYS));
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "5ms", ..Settings::default() });
    gateway.add_text_source("refused", "x", "2ms");

    let agent = gateway.start();
    let others = || broker.deliveries().iter().filter(|publish| !publish.topic.ends_with("refused")).count();
    // By then twice as many messages and more wait as the window and the memory would hold.
    wait_until("others arrive", || others() >= 1200);
    agent.wait_for_output("the broker refuses every message of");

    stop(agent);
    assert_eq!(gateway.rejected(), Vec::<PathBuf>::new());
}

#[test]
fn what_goes_past_a_full_disk_keeps_to_the_rate_and_the_expiry() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let broker = Scripted::start(Script::default());
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "5ms", ..Settings::default() });
    gateway.put_spool_on(&disk, "4MiB");
    gateway.edit("window: 100", "window: 100, max_rate: 10");
    gateway.edit("seed: 7}", "seed: 7, expiry: 1s}");

    let agent = gateway.start();
    broker.wait_for_more(5);
    disk.fill();
    agent.wait_for_output("publishing from memory");
    agent.wait_for_output("messages dropped, too old");
    let (begin, before) = (Instant::now(), broker.deliveries().len());
    broker.wait_for_more(30);
    let (took, after) = (begin.elapsed(), broker.deliveries().len());

    // Ten more, for clock and broker are not read in the same moment.
    let allowed = took.as_secs_f64() * 10.0 + 10.0;
    assert!(((after - before) as f64) <= allowed, "{} in {took:?}", after - before);
    disk.free();
    stop(agent);
}
