//! SIGHUP, what the log says of the others, and that none ends the agent unasked.

use crate::support::{Agent, Broker, Gateway, PATIENCE, Script, Scripted, Settings, Subscriber};
use crate::support::{full_pipe, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const READ: &str = "asked to read the configuration and to try the broker signal=SIGHUP";

/// A gateway that waits for an hour after its second failure.
fn patient(url: &str) -> Gateway {
    let retry = "{initial_delay: 1h, max_delay: 1h, at_max: hold}";
    let more = "logging: {directory: LOGS, console: debug}\nstatus: {topic: ~}".to_owned();
    Gateway::new(url, &Settings { retry, interval: "20ms", more, ..Settings::default() })
}

#[test]
fn a_hangup_stops_nothing_and_has_the_configuration_read_at_once() {
    let broker = Scripted::start(Script::default());
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();

    agent.signal(Signal::HUP);
    agent.wait_for_output("configuration file is as applied");
    gateway.edit("window: 100", "window: many");
    agent.signal(Signal::HUP);
    agent.wait_for_output("delivery.window: found `many`");
    gateway.edit("window: many", "window: 50");
    agent.signal(Signal::HUP);
    agent.wait_for_output("configuration file edited");
    broker.wait_for_more(100);

    assert!(agent.output().contains(READ), "{}", agent.output());
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_hangup_ends_a_back_off() {
    let mut broker = Broker::absent("allow_anonymous true");
    let gateway = patient(&broker.url());
    let agent = gateway.start();
    agent.wait_for_output("retrying in 3");

    broker.run();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    agent.signal(Signal::HUP);

    subscriber.wait_for_count(10);
    agent.wait_for_output("asked not to wait; connecting at once");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_hangup_asks_a_broker_again_that_has_refused_us() {
    let broker = Scripted::start(Script { connect_code: 0x87, ..Script::default() });
    let gateway = patient(&broker.url());
    let agent = gateway.start();
    agent.wait_for_output("asking again in ");

    broker.change(|script| script.connect_code = 0);
    agent.signal(Signal::HUP);

    wait_until("messages arrive", || !broker.deliveries().is_empty());
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let broker = Broker::absent("");
    let gateway = patient(&broker.url());
    let agent = gateway.start_ignoring_hangups();

    agent.signal(Signal::HUP);
    agent.signal(Signal::TERM);
    agent.wait_for_output("asked to stop signal=SIGTERM");

    assert!(!agent.output().contains("SIGHUP"), "{}", agent.output());
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn the_log_names_the_signal_that_stops() {
    for (signal, name) in
        [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM"), (Signal::QUIT, "SIGQUIT"), (Signal::XCPU, "SIGXCPU")]
    {
        let broker = Broker::absent("");
        let gateway = patient(&broker.url());
        let agent = gateway.start();

        agent.signal(signal);

        agent.wait_for_output(&format!("asked to stop signal={name}"));
        assert_eq!(agent.wait().code(), Some(0));
    }
}

#[test]
fn the_unit_reloads_by_a_hangup() {
    let unit = include_str!("../../systemd/packhorse.service");
    assert!(unit.lines().any(|line| line == "ExecReload=/bin/sh -c 'kill -HUP ${MAINPID}'"), "{unit}");
}

/// logrotate's usual line for a daemon is `kill -USR1`.
#[test]
fn signals_that_ask_for_nothing_are_named_and_end_nothing() {
    let broker = Scripted::start(Script::default());
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    let names = ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "XFSZ", "RTMIN", "RTMIN+3"];

    for name in names {
        kill(&agent, name);
        agent.wait_for_output(&format!("it asks for nothing here signal=SIG{name} times=1\n"));
    }
    for _ in 0..100 {
        agent.signal(Signal::USR1);
    }
    broker.wait_for_more(100);

    assert_eq!(agent.output().matches("it asks for nothing here").count(), names.len());
    assert_eq!(agent.stop().code(), Some(0));
}

/// By a shell's own, which knows every name.
fn kill(agent: &Agent, name: &str) {
    let status = Command::new("bash").args(["-c", &format!("kill -{name} {}", agent.id())]).status().unwrap();
    assert!(status.success(), "{name}");
}

/// The configuration has so many sources that reading it takes much longer than what comes before.
#[test]
fn a_hangup_while_the_agent_starts_ends_nothing() {
    let broker = Scripted::start(Script::default());
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let more: String = (0..500).map(|number| format!(", {{name: s{number}, type: simulated, interval: 1h}}")).collect();
    gateway.edit("seed: 7}", &format!("seed: 7}}{more}"));
    let agent = gateway.launch();
    // What the runtime does before the program begins.
    wait_until("the program begins", || agent.ignores(Signal::PIPE));
    let begun = agent.cpu_ticks();
    wait_until("it works for 10 ms", || agent.cpu_ticks() >= begun + 2);
    assert!(!gateway.logs().exists(), "this came too late");

    for signal in [Signal::HUP, Signal::USR1] {
        agent.signal(signal);
    }

    agent.wait_for_output(READ);
    agent.wait_for_output("signal=SIGUSR1 times=1");
    broker.wait_for_more(10);
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn commands_that_end_by_themselves_end_by_the_usual_signals() {
    for signal in [Signal::HUP, Signal::USR1, Signal::INT, Signal::TERM] {
        let (_nobody_reads, writer) = full_pipe();
        // A shell has what it runs in the background ignore SIGINT, this test among it.
        let mut command = Command::new("env");
        command.args(["--default-signal", env!("CARGO_BIN_EXE_packhorse"), "man"]);
        let mut child = command.stdout(writer).spawn().unwrap();
        let stat = format!("/proc/{}/wchan", child.id());
        wait_until("it waits for its reader", || fs::read_to_string(&stat).is_ok_and(|what| what.contains("pipe")));

        kill_process(Pid::from_child(&child), signal).unwrap();

        let status = wait_for("it ends", PATIENCE, || child.try_wait().unwrap());
        assert_eq!(status.signal(), Some(signal.as_raw()));
    }
}
