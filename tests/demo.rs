//! The demo as its user sees it: messages appear, Ctrl-C ends it, nothing is left behind.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_demo_shows_messages_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut demo = Command::new(root.join("scripts/demo.sh"))
        .arg(env!("CARGO_BIN_EXE_packhorse"))
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let group = Pid::from_child(&demo);
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);

    // Ctrl-C reaches the whole group, as from a terminal. The lines end when everything that could write them has.
    let message = lines.find(|line| line.starts_with("telemetry/") && line.contains("\"source\":\"board\""));
    kill_process_group(group, Signal::INT).unwrap();
    let rest: Vec<String> = lines.collect();
    let status = demo.wait().unwrap();

    assert!(message.unwrap().contains("\"load1\":"));
    assert_eq!(status.code(), Some(0), "{rest:?}");
    assert!(rest.last().unwrap().contains("nothing is left behind"), "{rest:?}");
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0);
}
