//! What the program says of itself for shells and for `man`.

mod skips;

use skips::skip;
use std::process::{Command, Output};

fn packhorse(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_packhorse")).args(arguments).output().unwrap()
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = packhorse(&["completions", shell]);

        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        for command in ["run", "check", "sample", "completions", "man"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn an_unknown_shell_is_a_wrong_command_line() {
    let output = packhorse(&["completions", "fishy"]);

    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("fish"));
}

#[test]
fn the_manual_page_has_all_commands_and_exit_codes_and_man_finds_nothing_wrong() {
    let output = packhorse(&["man"]);

    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for part in ["run", "check", "sample", "completions", "64", "69", "70", "74", "77", "78"] {
        assert!(page.contains(&format!("\\fB{part}\\fR")), "{part} in {page}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packhorse.1");
    std::fs::write(&file, page).unwrap();
    // As Debian's lintian asks.
    let checked = Command::new("man").args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&file).output();
    match checked {
        Ok(checked) => assert!(checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr)),
        Err(_) => skip("man is not installed"),
    }
}
