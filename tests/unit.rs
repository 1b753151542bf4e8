//! The systemd unit, as systemd-analyze sees it: nothing to complain of, and a sandbox that is nearly closed.

mod skips;

use skips::skip;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder with the unit, in which the program is the built one, and with the manual page.
fn installed() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(Path::new(ROOT).join("systemd/packhorse.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/packhorse "));
    let unit = unit.replace("/usr/bin/packhorse", env!("CARGO_BIN_EXE_packhorse"));
    fs::write(folder.path().join("packhorse.service"), unit).unwrap();
    let page = Command::new(env!("CARGO_BIN_EXE_packhorse")).arg("man").output().unwrap();
    fs::create_dir_all(folder.path().join("man/man1")).unwrap();
    fs::write(folder.path().join("man/man1/packhorse.1"), page.stdout).unwrap();
    folder
}

/// `None` where there is no systemd, which is said.
fn analyze(folder: &TempDir, arguments: &[&str]) -> Option<Output> {
    let mut analyze = Command::new("systemd-analyze");
    let unit = folder.path().join("packhorse.service");
    let output = analyze.env("MANPATH", folder.path().join("man")).args(arguments).arg(unit).output();
    if output.is_err() {
        skip("systemd-analyze is not installed");
    }
    output.ok()
}

fn add_the_example(folder: &TempDir) {
    let place = folder.path().join("packhorse.service.d");
    fs::create_dir(&place).unwrap();
    fs::copy(Path::new(ROOT).join("systemd/devices.conf"), place.join("devices.conf")).unwrap();
}

#[test]
fn systemd_has_nothing_to_complain_of() {
    let folder = installed();
    for example in [false, true] {
        if example {
            add_the_example(&folder);
        }
        let Some(output) = analyze(&folder, &["verify"]) else { return };

        let complaints = String::from_utf8_lossy(&output.stderr);
        // Other units of the machine are looked at as well.
        let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("packhorse")).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }
}

#[test]
fn the_sandbox_leaves_little_open() {
    let folder = installed();
    // In tenths, of 10.
    let Some(output) = analyze(&folder, &["security", "--no-pager", "--offline=true", "--threshold=15"]) else {
        return;
    };

    let table = String::from_utf8_lossy(&output.stdout);
    println!("{}", table.lines().last().unwrap_or_default());
    assert_eq!(output.status.code(), Some(0), "{table}");
}

#[test]
fn the_example_opens_devices_and_little_else() {
    let folder = installed();
    add_the_example(&folder);
    let Some(output) = analyze(&folder, &["security", "--no-pager", "--offline=true", "--threshold=25"]) else {
        return;
    };

    let table = String::from_utf8_lossy(&output.stdout);
    println!("{}", table.lines().last().unwrap_or_default());
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.contains("char-i2c"), "the drop-in was read: {table}");
}

/// Runs another test of this file on a machine without any tools; how it ends, and what it says.
fn without_tools(test: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // The names of tests must be known whatever thread they run in.
    command.args(["--exact", test, "--show-output", "--test-threads", "1"]).env("PATH", "").env_remove("PACKHORSE_CI");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_skip_fails_where_none_is_expected() {
    let test = "the_sandbox_leaves_little_open";

    let (passed, said) = without_tools(test, &[]);
    assert!(passed && said.contains("skipped: systemd-analyze is not installed"), "{said}");

    let (passed, said) = without_tools(test, &[("PACKHORSE_CI", "1")]);
    let problem = format!("{test} is skipped, and tests/skips/skips.txt does not list it: systemd-analyze is not");
    assert!(!passed && said.contains(&problem), "{said}");
}
