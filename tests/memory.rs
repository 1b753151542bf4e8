//! What `packhorse check` takes for hostile configurations: bounded memory and time, whatever a file says.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// KiB of data that the process may have at a time, its stacks and libraries included.
const DATA_MAX: u32 = 64 * 1024;

const BROKER: &str = "broker: {url: mqtt://localhost}\n";

/// The exit code of a check that has no more than [`DATA_MAX`], and how long it took.
fn check(text: &[u8]) -> (Option<i32>, String, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    let began = Instant::now();
    let output = limited(&path).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap(), began.elapsed())
}

fn limited(config: &Path) -> Command {
    let binary = std::env::var_os("PACKHORSE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_packhorse").into());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -d {DATA_MAX}; exec \"$0\" --config \"$1\" check")]).arg(binary).arg(config);
    command
}

#[test]
fn no_configuration_takes_more_than_64_mib() {
    let size = 250_000;
    let filled = |unit: &str| unit.repeat(size / unit.len());
    let sources = |count: usize, rest: &str| {
        (0..count).map(|index| format!("{{name: s{index}, type: system{rest}}}")).collect::<Vec<_>>().join(", ")
    };
    let (name, short) = ("n".repeat(60_000), "n".repeat(5000));
    for (what, text) in [
        (
            "a placeholder 20,000 times",
            format!(
                "{BROKER}telemetry: {{sources: [{{name: {name}, type: system, topic: '{}'}}]}}",
                "{source}".repeat(20_000)
            ),
        ),
        (
            "a topic 8,000 times",
            format!("{BROKER}device: {name}\ntelemetry: {{sources: [{}]}}", sources(4000, ", topic: '{device}'")),
        ),
        (
            "an inherited topic",
            format!("{BROKER}telemetry: {{topic: '{short}/{{source}}', sources: [{}]}}", sources(5000, "")),
        ),
        (
            "aliases of aliases",
            format!(
                "{BROKER}{}",
                (1..30)
                    .map(|level| format!("x{level}: &a{level} [{}]\n", format!("*a{},", level - 1).repeat(50)))
                    .collect::<String>()
                    .replace("*a0,", "1,")
            ),
        ),
        (
            "a list of aliases",
            format!(
                "{BROKER}x: &a {{{}}}\ntelemetry: {{sources: [{}]}}",
                (0..9000).map(|key| format!("k{key}: 1, ")).collect::<String>(),
                "*a,".repeat(30_000)
            ),
        ),
        ("nesting in lists", format!("{BROKER}x: {}", filled("["))),
        ("nesting in mappings", format!("{BROKER}x: {}", filled("{a: "))),
        (
            "nesting in blocks",
            format!("{BROKER}x:\n{}", (1..700).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>()),
        ),
        ("dashes", format!("{BROKER}x:\n  {}", filled("- "))),
        ("unknown keys", (0..4000).map(|key| format!("key{key}: 1\n")).collect()),
        ("small values", format!("{BROKER}x: [{}]", filled("1,"))),
        ("empty lines", filled("\n")),
        ("anchors", format!("{BROKER}x: [{}]", (0..20_000).map(|anchor| format!("&a{anchor} 1,")).collect::<String>())),
        ("one long text", format!("{BROKER}device: {}", filled("d"))),
        ("one long key", format!("{BROKER}{}: 1", filled("k"))),
        ("quotes", format!("{BROKER}x: {}", filled("'"))),
        ("tags", format!("{BROKER}x: {}", filled("!"))),
        ("comments", format!("{BROKER}{}", filled("#\n"))),
        ("documents", filled("---\n")),
    ] {
        let (code, stderr, took) = check(text.as_bytes());

        assert!(matches!(code, Some(0 | 78)), "{what}: {code:?} {}", stderr.get(..300).unwrap_or(&stderr));
        assert!(took < Duration::from_secs(60), "{what} took {took:?}");
        println!("{what}: {took:?}, {} bytes of problems", stderr.len());
    }
}

#[test]
fn a_configuration_that_is_too_large_is_refused_unread() {
    let (code, stderr, _) = check(&vec![b'#'; 100 << 20]);

    assert_eq!(code, Some(78));
    assert!(stderr.contains("is too large: it has 104857600 bytes, and at most 262144 bytes are allowed"), "{stderr}");
}

#[test]
fn the_limit_of_these_tests_holds() {
    let script = format!("ulimit -d {DATA_MAX}; exec head -c 200000000 /dev/zero | tail");

    let output = Command::new("sh").args(["-c", &script]).output().unwrap();

    assert!(!output.status.success(), "{output:?}");
}
