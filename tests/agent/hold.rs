//! A broker that refuses us: sampling and spooling go on, it is asked again seldom, and at once when what it may have
//! refused has changed.

use crate::support::{
    Agent, Broker, Connect, Gateway, Judgement, Script, Scripted, Settings, count, stays, wait_until,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const NOT_AUTHORIZED: u8 = 0x87;

/// A broker that takes only those who connect like this.
fn broker_for(is_welcome: impl Fn(&Connect) -> bool + Send + 'static) -> Scripted {
    let broker = Scripted::start(Script::default());
    broker.change(move |script| {
        script.authorize = Box::new(move |connect| if is_welcome(connect) { 0 } else { NOT_AUTHORIZED });
    });
    broker
}

/// A broker that wants this password.
fn broker_with_password(password: &'static str) -> Scripted {
    broker_for(move |connect| connect.password.as_deref() == Some(password))
}

/// A gateway that has this password in a file.
fn gateway(broker: &Scripted, password: &str) -> (Gateway, PathBuf) {
    gateway_of(&[broker.url()], password)
}

/// The same with several brokers. One that is away is tried again after an hour.
fn gateway_of(urls: &[String], password: &str) -> (Gateway, PathBuf) {
    let retry = "{initial_delay: 1h, factor: 1, max_delay: 1h, at_max: hold}";
    let gateway = Gateway::with_brokers(urls, &Settings { interval: "20ms", retry, ..Settings::default() });
    let file = gateway.logs().with_extension("password");
    fs::write(&file, password).unwrap();
    gateway.edit("protocol: 5,", &format!("protocol: 5, username: me, password_file: {},", file.display()));
    (gateway, file)
}

/// Waits until the broker has refused the agent, and the agent has sampled for a while after that.
fn is_refused_and_samples_on(agent: &Agent, gateway: &Gateway, broker: &Scripted) {
    agent.wait_for_output("sampling goes on; asking again in ");
    let before = gateway.accepted_count();
    wait_until("sampling goes on", || gateway.accepted_count() > before + 100);
    assert_eq!(broker.connects().len(), 1, "it is not asked again soon");
}

/// Everything that was sampled has arrived, once the broker has let the agent in.
fn everything_arrives(agent: Agent, gateway: &Gateway, broker: &Scripted) {
    wait_until("the backlog arrives", || broker.deliveries().len() + 10 >= gateway.accepted_count());
    // What is accepted from now on may wait in the spool when the agent has stopped.
    let accepted = gateway.accepted();
    wait_until("everything accepted arrives", || broker.deliveries().len() >= count(&accepted));
    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of(&broker.arrivals()).assert_complete(&accepted);
}

#[test]
fn sampling_goes_on_while_the_password_is_wrong_and_a_right_one_is_used_at_once() {
    let broker = broker_with_password("right");
    let (gateway, file) = gateway(&broker, "wrong");
    let agent = gateway.start();
    is_refused_and_samples_on(&agent, &gateway, &broker);

    fs::write(&file, "right").unwrap();

    everything_arrives(agent, &gateway, &broker);
    assert_eq!(broker.connects().len(), 2);
}

#[test]
fn a_password_file_that_comes_late_or_is_replaced_is_noticed() {
    let broker = broker_with_password("right");
    let (gateway, file) = gateway(&broker, "wrong");
    let agent = gateway.start();
    is_refused_and_samples_on(&agent, &gateway, &broker);

    fs::write(file.with_extension("new"), "wrong as well").unwrap();
    fs::rename(file.with_extension("new"), &file).unwrap();
    wait_until("it is asked again", || broker.connects().len() == 2);
    fs::remove_file(&file).unwrap();
    fs::write(&file, "right").unwrap();

    everything_arrives(agent, &gateway, &broker);
}

#[test]
fn a_file_that_cannot_be_used_stops_nothing_and_the_next_one_is_used_at_once() {
    type Spoil = fn(&Path);
    let utf_16 = |path: &Path| {
        fs::write(path, "\u{FEFF}right".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
    };
    for (spoil, words) in [
        ((|path| fs::remove_file(path).unwrap()) as Spoil, "No such file"),
        (utf_16, "is in UTF-16"),
        (|path| fs::write(path, "").unwrap(), "is empty; it must hold the password"),
        (|path| fs::write(path, "\u{FEFF}\r\n").unwrap(), "is empty; it must hold the password"),
        (|path| fs::write(path, [0; 32]).unwrap(), "is empty but for NULs"),
    ] {
        let broker = broker_with_password("right");
        let (gateway, file) = gateway(&broker, "right");
        gateway.edit("at_max: hold", "on_refusal: exit, at_max: exit");
        spoil(&file);
        let agent = gateway.start();
        agent.wait_for_output("sampling goes on; asking again in ");
        assert!(broker.connects().is_empty());
        assert!(agent.output().contains(words), "{}", agent.output());

        fs::write(&file, "right").unwrap();

        everything_arrives(agent, &gateway, &broker);
    }
}

#[test]
fn the_same_password_written_again_is_no_reason_to_ask_again() {
    let broker = broker_with_password("right");
    let (gateway, file) = gateway(&broker, "wrong");
    let agent = gateway.start();
    is_refused_and_samples_on(&agent, &gateway, &broker);

    stays("it is not asked again", Duration::from_secs(7), || {
        fs::write(file.with_extension("new"), "wrong").unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
        broker.connects().len() == 1
    });
    fs::write(&file, "right").unwrap();

    everything_arrives(agent, &gateway, &broker);
}

#[test]
fn a_password_that_is_put_right_while_the_wrong_one_is_judged_is_noticed() {
    let broker = broker_with_password("right");
    broker.change(|script| script.connack_after = Some(Duration::from_secs(1)));
    let (gateway, file) = gateway(&broker, "wrong");
    let agent = gateway.start();

    wait_until("the broker is asked", || broker.connects().len() == 1);
    fs::write(&file, "right").unwrap();

    everything_arrives(agent, &gateway, &broker);
}

#[test]
fn a_right_password_is_used_at_once_although_another_broker_is_away() {
    for refuses_first in [true, false] {
        let broker = broker_with_password("right");
        let mut urls = [broker.url(), Broker::absent("").url()];
        if !refuses_first {
            urls.reverse();
        }
        let (gateway, file) = gateway_of(&urls, "wrong");
        let agent = gateway.start();
        // The first round is followed by another one at once.
        wait_until("the second round is over", || gateway.logged("retrying") == 4);

        fs::write(&file, "right").unwrap();

        everything_arrives(agent, &gateway, &broker);
    }
}

#[test]
fn an_edit_asks_the_broker_again_at_once() {
    for (from, to) in
        [("username: me", "username: you"), ("keep_alive: 5s", "keep_alive: 6s"), ("interval: 20ms", "interval: 30ms")]
    {
        let broker = Scripted::start(Script { connect_code: NOT_AUTHORIZED, ..Script::default() });
        let (gateway, _) = gateway(&broker, "right");
        let agent = gateway.start();
        is_refused_and_samples_on(&agent, &gateway, &broker);

        broker.change(|script| script.connect_code = 0);
        gateway.edit(from, to);

        everything_arrives(agent, &gateway, &broker);
    }
}

#[test]
fn a_stop_while_the_broker_refuses_us_keeps_everything() {
    let broker = Scripted::start(Script { connect_code: NOT_AUTHORIZED, ..Script::default() });
    let (gateway, _) = gateway(&broker, "wrong");
    let agent = gateway.start();
    is_refused_and_samples_on(&agent, &gateway, &broker);
    assert_eq!(agent.stop().code(), Some(0));

    broker.change(|script| script.connect_code = 0);
    let agent = gateway.start();

    everything_arrives(agent, &gateway, &broker);
}

#[test]
fn a_password_is_read_as_its_author_meant_it() {
    for written in ["\u{FEFF}right\r\n", "right \t\n\n", "\u{FEFF}right"] {
        let broker = broker_with_password("right");
        let (gateway, _) = gateway(&broker, written);

        let agent = gateway.start();

        wait_until("messages arrive", || !broker.deliveries().is_empty());
        assert_eq!(agent.stop().code(), Some(0), "{written:?}");
    }
}

#[test]
fn a_password_in_utf_16_is_named() {
    let broker = broker_with_password("right");
    let (gateway, file) = gateway(&broker, "");
    fs::write(file, "\u{FEFF}right".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();

    let agent = gateway.start();

    agent.wait_for_output("password` is in UTF-16, as some editors of Windows save it; save it in UTF-8");
    assert_eq!(agent.stop().code(), Some(0));
}
