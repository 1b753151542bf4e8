//! What the program's file has so that a mistake in its C part ends it instead of being used: read from the file, as the
//! system's loader reads it.
//!
//! `PACKHORSE_BINARY` names another file than the one that was built with the tests: `make test` the release binary,
//! `make test-arm` those for ARM.

mod skips;

use skips::skip;
use std::process::Command;

fn binary() -> String {
    std::env::var("PACKHORSE_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_packhorse").to_owned())
}

/// What binutils' readelf says, which comes with the compiler.
fn readelf(options: &[&str]) -> String {
    let output = Command::new("readelf").args(["--wide"]).args(options).arg(binary()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The functions that it takes from the C library.
fn imports() -> Vec<String> {
    let symbols = readelf(&["--dyn-syms"]);
    let names = symbols.lines().filter(|line| line.contains(" UND ")).filter_map(|line| line.split_whitespace().nth(7));
    names.map(|name| name.split('@').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn it_is_loaded_where_nobody_can_guess() {
    let header = readelf(&["--file-header"]);
    assert!(header.lines().any(|line| line.trim().starts_with("Type:") && line.contains("DYN")), "{header}");
}

#[test]
fn no_stack_is_executable() {
    let segments = readelf(&["--program-headers"]);
    let stack = segments.lines().find(|line| line.contains("GNU_STACK")).expect("a line for the stack");
    // Flags, then the alignment.
    let flags: Vec<&str> = stack.split_whitespace().skip(6).collect();
    assert_eq!(flags.first(), Some(&"RW"), "{stack}");
}

#[test]
fn what_leads_to_functions_of_libraries_is_read_only_before_it_runs() {
    assert!(readelf(&["--program-headers"]).contains("GNU_RELRO"));
    let dynamic = readelf(&["--dynamic"]);
    assert!(dynamic.contains("BIND_NOW") || dynamic.contains("Flags: NOW"), "{dynamic}");
}

#[test]
fn a_stack_that_is_overwritten_is_noticed() {
    let imports = imports();
    assert!(imports.iter().any(|name| name == "__stack_chk_fail"), "{imports:?}");
}

#[test]
fn calls_that_write_past_a_buffer_are_noticed() {
    if std::env::var_os("PACKHORSE_BINARY").is_none() {
        skip("a debug build's C part is not optimised, and has none; PACKHORSE_BINARY names a release binary");
        return;
    }
    let imports = imports();
    let checked: Vec<&String> = imports.iter().filter(|name| name.ends_with("_chk")).collect();
    println!("{checked:?}");
    // The C part copies by memcpy and writes text by snprintf.
    for expected in ["__memcpy_chk", "__snprintf_chk"] {
        assert!(checked.iter().any(|name| *name == expected), "no {expected} among {checked:?}");
    }
}
