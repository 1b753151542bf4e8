//! Every code with which a broker refuses or ends a connection: whether the agent tries again, tries another broker
//! first, sets a message aside, or ends with code 77.

use crate::support::{ALWAYS, Gateway, Response, Script, Scripted, Settings, stays, wait_until};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Retry,
    Elsewhere,
    SetAside,
    Exit,
}
use Then::{Elsewhere, Exit, Retry, SetAside};

fn refused_with(protocol: &'static str, rows: &[(u8, Then)]) {
    for (code, then) in rows {
        let refusing = || Scripted::start(Script { connect_code: *code, ..Script::default() });
        let (broker, other) = (refusing(), refusing());
        // One round of the two brokers, and then a pause that no test waits for.
        let retry = "{initial_delay: 1h, max_delay: 1h, on_refusal: exit}";
        let settings = Settings { protocol, retry, ..Settings::default() };
        let gateway = Gateway::with_brokers(&[broker.url(), other.url()], &settings);

        let agent = gateway.start();
        agent.wait_for_output(if *then == Exit { "exiting with code 77" } else { "retrying " });
        let output = agent.output();
        let is_refusal = output.contains("the broker refused the connection");
        let names_code = protocol == "3.1.1" || output.contains(&format!("(0x{code:02x})"));

        println!("{protocol} {code:#04x}: {then:?}");
        assert!(is_refusal && names_code && !output.contains("General failure"), "{code:#04x}: {output}");
        if *then == Exit {
            assert_eq!(agent.wait().code(), Some(77), "{code:#04x}");
            assert_eq!((broker.connects().len(), other.connects().len()), (1, 1), "{code:#04x}");
        }
    }
}

/// MQTT 3.1.1, table 3.1.
#[test]
fn every_return_code_of_mqtt_3_1_1() {
    refused_with("3.1.1", &[(1, Exit), (2, Exit), (3, Retry), (4, Exit), (5, Exit), (6, Retry), (0x87, Retry)]);
}

/// MQTT 5, section 3.2.2.2.
#[test]
fn every_reason_code_of_connack() {
    refused_with(
        "5",
        &[
            (0x80, Retry),
            (0x81, Retry),
            (0x82, Retry),
            (0x83, Retry),
            (0x84, Exit),
            (0x85, Exit),
            (0x86, Exit),
            (0x87, Exit),
            (0x88, Retry),
            (0x89, Retry),
            (0x8a, Exit),
            (0x8c, Exit),
            (0x90, Retry),
            (0x95, Retry),
            (0x97, Retry),
            (0x99, Retry),
            (0x9a, Retry),
            (0x9b, Retry),
            (0x9c, Elsewhere),
            (0x9d, Elsewhere),
            (0x9f, Retry),
        ],
    );
}

/// As NATS 2.9 does, with `20 02 00 01`. MQTT 5 has no CONNACK without properties, and no such codes in it.
#[test]
fn a_broker_that_refuses_mqtt_5_in_the_words_of_3_1_1_is_understood() {
    for (code, then, means) in [(1, Exit, 0x84), (2, Exit, 0x85), (3, Retry, 0x88), (4, Exit, 0x86), (5, Exit, 0x87)] {
        let broker = Scripted::start(Script { connect_code: code, connack_form: Some(4), ..Script::default() });
        let retry = "{initial_delay: 1h, max_delay: 1h, on_refusal: exit}";
        let gateway = Gateway::new(&broker.url(), &Settings { protocol: "5", retry, ..Settings::default() });

        let agent = gateway.start();
        agent.wait_for_output(if then == Exit { "exiting with code 77" } else { "retrying " });

        let output = agent.output();
        assert!(output.contains("the broker refused the connection to mqtt://"), "{output}");
        assert!(output.contains(&format!("(0x{means:02x})")), "{output}");
        assert_eq!(output.contains("`broker.protocol: 3.1.1`"), code == 1, "{output}");
        if then == Exit {
            assert_eq!(agent.wait().code(), Some(77), "{code}");
        }
    }
}

/// Over a connection that has proved itself, the broker ends it over a message.
fn ended_with(code: u8, then: Then) {
    let brokers = [(); 2].map(|()| Scripted::start(Script::default()));
    let retry = "{initial_delay: 10ms, factor: 1, max_delay: 10ms, at_max: hold, jitter: 0}";
    let gateway =
        Gateway::with_brokers(&brokers.each_ref().map(Scripted::url), &Settings { retry, ..Settings::default() });
    gateway.edit("seed: 7}", "seed: 7}, {name: poison, type: simulated, interval: 100ms}");
    let agent = gateway.start();
    wait_until("the connection has proved itself", || brokers[0].deliveries().len() > 50);

    let times = if then == SetAside { ALWAYS } else { 1 };
    for broker in brokers.iter().take(if then == SetAside { 2 } else { 1 }) {
        let response = Response::Disconnect(code);
        broker.change(move |script| {
            *script = std::mem::take(script).react(|publish| publish.topic.ends_with("poison"), response, times);
        });
    }
    agent.wait_for_output(&format!("(0x{code:02x})"));
    match then {
        Retry => wait_until("the first is tried again", || brokers[0].connects().len() > 1),
        Elsewhere => wait_until("the second is tried", || !brokers[1].connects().is_empty()),
        SetAside => agent.wait_for_output("set aside"),
        Exit => unreachable!("no DISCONNECT ends the agent"),
    }

    println!("DISCONNECT {code:#04x}: {then:?}");
    let output = agent.output();
    assert!(then != Retry || brokers[1].connects().is_empty(), "{output}");
    assert_eq!(output.contains("set aside"), then == SetAside, "{output}");
    assert!(output.contains(&format!("the broker ended the connection to {}: ", brokers[0].url())), "{output}");
    assert_eq!(agent.stop().code(), Some(0));
}

/// MQTT 5, section 3.14.2.1: those that a broker may send.
#[test]
fn every_reason_code_of_disconnect() {
    for (code, then) in [
        (0x80, Retry),
        (0x81, SetAside),
        (0x82, SetAside),
        (0x83, Retry),
        (0x87, SetAside),
        (0x89, Retry),
        (0x8b, Retry),
        (0x8d, Retry),
        (0x8e, Retry),
        (0x8f, Retry),
        (0x90, SetAside),
        (0x93, Retry),
        (0x94, Retry),
        (0x95, SetAside),
        (0x96, Retry),
        (0x97, Retry),
        (0x98, Retry),
        (0x99, SetAside),
        (0x9a, SetAside),
        (0x9b, SetAside),
        (0x9c, Elsewhere),
        (0x9d, Elsewhere),
        (0x9e, Retry),
        (0x9f, Retry),
        (0xa0, Retry),
        (0xa1, Retry),
        (0xa2, Retry),
    ] {
        ended_with(code, then);
    }
}

#[test]
fn a_second_client_with_our_id_is_told_plainly_and_starts_no_race() {
    let broker = Scripted::start(Script::default());
    let retry = "{initial_delay: 500ms, factor: 2, max_delay: 1h, jitter: 0}";
    let settings = Settings { retry, ..Settings::default() };
    let [first, second] = [(); 2].map(|()| Gateway::new(&broker.url(), &settings));

    let agents = [first.start(), second.start()];
    // Which one comes first is anybody's guess.
    wait_until("one is told", || agents.iter().any(|agent| agent.output().contains("taken over")));
    let connections = || [&first, &second].map(|gateway| gateway.logged("connected to"));
    stays("there is no race", Duration::from_secs(4), || connections().iter().all(|count| *count <= 8));
    let connections = connections();
    assert!(agents.into_iter().all(|agent| agent.stop().code() == Some(0)));

    println!("{connections:?} connections in 4 s");
}
