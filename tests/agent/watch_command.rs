//! `packhorse status --watch`, on terminals and without one.

use crate::support::{Broker, Gateway, Said, Settings, ask, is_healthy, wait_for_report};
use serde_json::Value;
use std::process::{Command, Stdio};

/// What a terminal of this size shows that `status --watch` runs in for a while; how it ends, and all that it wrote.
fn on_a_terminal(gateway: &Gateway, environment: &[(&str, &str)], [columns, rows]: [u16; 2]) -> (i32, String) {
    let watch = gateway.command(&["status", "--watch", "--every", "100ms"]);
    let words: Vec<String> = std::iter::once(watch.get_program())
        .chain(watch.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    // bsdutils' `script` gives it a terminal; SIGINT is what Ctrl-C is.
    let inner = format!(
        "stty cols {columns} rows {rows}; exec timeout --preserve-status --foreground -s INT 2 {}",
        words.join(" ")
    );
    let mut script = Command::new("script");
    script.args(["-qec", &inner, "/dev/null"]).stdin(Stdio::null());
    script.env("RUNTIME_DIRECTORY", gateway.folder()).env("TERM", "xterm").env_remove("NO_COLOR");
    let output = script.envs(environment.iter().copied()).output().expect("Debian's bsdutils bring script");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The pictures that were drawn one over the other, as lines without what moves the cursor.
fn pictures(written: &str) -> Vec<Vec<String>> {
    let bare = |line: &str| line.replace("\x1b[K", "").replace("\x1b[J", "").trim_end().to_owned();
    let whole = written.split_once("\x1b[2J").expect("it begins with an empty screen").1;
    let whole = whole.split("\x1b[?25h").next().unwrap();
    let drawn = whole.split("\x1b[H").filter(|picture| !picture.is_empty());
    drawn.map(|picture| picture.split("\r\n").map(bare).collect()).collect()
}

#[test]
fn a_watch_draws_over_what_is_there_within_80_columns_and_gives_the_terminal_back() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", ..Settings::default() });
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);

    for size @ [_, rows] in [[80, 24], [200, 50], [80, 8]] {
        let (code, written) = on_a_terminal(&gateway, &[("NO_COLOR", "1")], size);
        let pictures = pictures(&written);

        assert_eq!(code, 0, "{written:?}");
        assert!(written.starts_with("\x1b[?1049h") && written.trim_end().ends_with("\x1b[?1049l"), "{written:?}");
        assert!(pictures.len() >= 5, "{pictures:#?}");
        for picture in pictures {
            assert!(picture.len() <= usize::from(rows), "{picture:#?}");
            assert!(picture.iter().all(|line| line.chars().count() <= 80 && !line.contains('\x1b')), "{picture:#?}");
            assert!(picture[0].starts_with("gateway-7: healthy, running for "), "{picture:#?}");
        }
    }
    let (_, written) = on_a_terminal(&gateway, &[], [80, 24]);
    assert!(written.contains("gateway-7: \x1b[1;32mhealthy\x1b[0m, running"), "{written:?}");
    assert_eq!(agent.stop().code(), Some(0));

    let (code, written) = on_a_terminal(&gateway, &[], [80, 24]);
    assert!(code == 0 && written.contains("\x1b[1;31mnot running\x1b[0m"), "{written:?}");
}

#[test]
fn a_watch_without_a_terminal_prints_one_report_after_the_other() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let agent = gateway.start();
    wait_for_report(&gateway, "it is healthy", is_healthy);
    let watch = |arguments: &[&str]| {
        let program = gateway.command(&[]).get_program().to_owned();
        let mut timeout = Command::new("timeout");
        timeout.args(["--preserve-status", "-s", "INT", "1"]).arg(program).arg("--config").arg(gateway.config());
        let output = timeout.env("RUNTIME_DIRECTORY", gateway.folder()).args(arguments).output().unwrap();
        let said = Said::from(output);
        assert!(said.code == 0 && !said.out.contains('\x1b'), "{said:?}");
        said.out
    };

    let text = watch(&["status", "--watch", "--every", "100ms"]);
    let json = watch(&["status", "--watch", "--every", "100ms", "--json"]);

    assert!(text.matches("gateway-7: healthy, running for ").count() >= 3, "{text}");
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 3 && lines.iter().all(is_healthy), "{json}");
    assert_eq!(agent.stop().code(), Some(0));
    assert!(watch(&["status", "--watch", "--every", "100ms"]).contains("packhorse: not running: no agent runs"));
    assert_eq!(ask(&gateway, &["status", "--watch", "--every", "1ms"]).code, 64);
}
