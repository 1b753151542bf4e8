//! Every code with which a broker refuses a connection: trying again helps, or the agent ends with code 77 and says why.

use crate::support::{Gateway, Script, Scripted, Settings, log_files};
use std::time::Duration;

#[derive(Debug, PartialEq, Eq)]
enum Then {
    Retry,
    Exit,
}
use Then::{Exit, Retry};

fn refused_with(protocol: &'static str, rows: &[(u8, Then)]) {
    for (code, then) in rows {
        let broker = Scripted::start(Script { connect_code: *code, ..Script::default() });
        let gateway = Gateway::new(&broker.url(), &Settings { protocol, ..Settings::default() });

        let agent = gateway.start();
        agent.wait_for_output(if *then == Exit { "exiting with code 77" } else { "retrying in" });
        let output = agent.output();
        let is_refusal = output.contains("the broker refused the connection");
        let names_code = protocol == "3.1.1" || output.contains(&format!("(0x{code:02x})"));

        println!("{protocol} {code:#04x}: {then:?}");
        assert!(is_refusal && names_code, "{code:#04x}: {output}");
        if *then == Exit {
            assert_eq!(agent.wait().code(), Some(77), "{code:#04x}");
            assert_eq!(broker.connects().len(), 1, "{code:#04x}");
        }
    }
}

/// MQTT 3.1.1, table 3.1.
#[test]
fn every_return_code_of_mqtt_3_1_1() {
    refused_with("3.1.1", &[(1, Exit), (2, Exit), (3, Retry), (4, Exit), (5, Exit)]);
}

/// MQTT 5, section 3.2.2.2.
#[test]
fn every_reason_code_of_mqtt_5() {
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
            (0x9c, Retry),
            (0x9d, Retry),
            (0x9f, Retry),
        ],
    );
}

#[test]
fn a_second_client_with_our_id_is_told_plainly_and_starts_no_race() {
    let broker = Scripted::start(Script::default());
    let retry = "{initial_delay: 500ms, factor: 2, max_delay: 1h, jitter: 0}";
    let settings = Settings { retry, ..Settings::default() };
    let [first, second] = [(); 2].map(|()| Gateway::new(&broker.url(), &settings));

    let agents = [first.start(), second.start()];
    agents[0].wait_for_output("taken over");
    std::thread::sleep(Duration::from_secs(4));
    let connections = [&first, &second]
        .map(|gateway| log_files(&gateway.logs(), "debug.log.").concat().matches("connected to").count());
    assert!(agents.into_iter().all(|agent| agent.stop().code() == Some(0)));

    println!("{connections:?} connections in 4 s");
    assert!(connections.iter().all(|count| *count <= 8), "{connections:?}");
}
