//! The demo as its user sees it: messages flow, the broker goes and comes back, nothing is lost, nothing is left behind.

use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

struct Demo {
    child: Child,
    temporary: TempDir,
}

impl Demo {
    /// A demo with so many seconds of messages before and after the outage, and of that.
    fn start(flow: &str, outage: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let child = Command::new(root.join("scripts/demo.sh"))
            .arg(env!("CARGO_BIN_EXE_packhorse"))
            .env("TMPDIR", temporary.path())
            .envs([("DEMO_FLOW", flow), ("DEMO_OUTAGE", outage)])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { child, temporary }
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.child.stdout.take().unwrap()).lines().map(Result::unwrap)
    }

    /// Its end has nothing behind it, and a last line that says that nothing was lost.
    fn ends(mut self, lines: &[String]) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{lines:?}");
        assert_eq!(self.temporary.path().read_dir().unwrap().count(), 0);
        let last = lines.last().unwrap();
        let figures: Vec<&str> = last.split(", ").collect();
        let number = |figure: &str| figure.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        assert_eq!(figures.len(), 4, "{last}");
        assert!(number(figures[0]) > 0 && number(figures[0]) == number(figures[1]), "{last}");
        assert!(last.starts_with("accepted ") && last.contains(", lost 0, duplicated "), "{last}");
        assert!(lines[lines.len() - 2].contains("nothing is left behind"), "{lines:?}");
    }
}

#[test]
fn the_demo_shows_a_backlog_that_grows_and_drains_and_loses_nothing() {
    let mut demo = Demo::start("2", "3");

    // The lines end when everything that could write them has.
    let lines: Vec<String> = demo.lines().collect();

    let waiting =
        |line: &String| line.strip_prefix("--- no broker for ")?.split(": ").nth(1)?.split(' ').next()?.parse().ok();
    let backlog: Vec<u64> = lines.iter().filter_map(waiting).collect();
    assert!(backlog.len() == 3 && backlog[2] > backlog[0], "{backlog:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("telemetry/demo/board ") && line.contains("\"load1\":")),
        "{lines:?}"
    );
    demo.ends(&lines);
}

#[test]
fn ctrl_c_ends_the_demo_during_the_outage_with_the_same_last_line() {
    let mut demo = Demo::start("1", "60");
    let group = Pid::from_child(&demo.child);
    let mut lines = demo.lines();

    // Ctrl-C reaches the whole group, as from a terminal.
    let outage = lines.find(|line| line.starts_with("--- no broker for 2 s"));
    kill_process_group(group, Signal::INT).unwrap();
    let rest: Vec<String> = lines.collect();

    assert!(outage.is_some());
    demo.ends(&rest);
}
