//! Files that are no YAML, or YAML of an unexpected shape.

use super::super::load::inspect;
use super::super::tree::{Content, Node, Scalar, grow};
use super::{MINIMAL, SHIPPED, config, config_of, problem_of, problems};
use serde_yaml::Value;
use std::path::Path;

#[test]
fn the_tree_holds_what_serde_yaml_reads() {
    let mut texts = vec![SHIPPED.to_owned(), config(SHIPPED).to_yaml()];
    texts.push("a: [1, -2, 0x1f, 1e3, .inf, ~, null, '', \"5\", 'off', off, yes, true, 007, 1_000, ---x, a b]".into());
    texts.push("a: |\n  two\n  lines\nb: one\n  and two\n\n  and three\nc:\n- x\n-\n- &q {y: z}\n- *q\n".into());
    for text in texts {
        let value: Value = serde_yaml::from_str(&text).unwrap();

        let (root, problems) = grow(&text).unwrap();

        assert_eq!(problems, []);
        assert!(same(&root, &value), "{text}\n{root:#?}\n{value:#?}");
    }
}

fn same(node: &Node, value: &Value) -> bool {
    match (&node.content, value) {
        (Content::Scalar { value: Scalar::Nothing, .. }, Value::Null) => true,
        (Content::Scalar { value: Scalar::Bool(ours), .. }, Value::Bool(theirs)) => ours == theirs,
        (Content::Scalar { value: Scalar::Integer(ours), .. }, Value::Number(theirs)) => {
            theirs.as_i64().map(i128::from) == Some(*ours) || theirs.as_u64().map(i128::from) == Some(*ours)
        }
        (Content::Scalar { value: Scalar::Float(ours), .. }, Value::Number(theirs)) => theirs.as_f64() == Some(*ours),
        (Content::Scalar { text, value: Scalar::Text }, Value::String(theirs)) => text == theirs,
        (Content::List(ours), Value::Sequence(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Content::Mapping(ours), Value::Mapping(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .all(|entry| theirs.get(entry.key.clone().unwrap()).is_some_and(|it| same(&entry.node, it)))
        }
        _ => false,
    }
}

#[test]
fn a_syntax_error_names_line_and_column() {
    for (text, place) in [
        ("broker:\n  url: mqtt://localhost\n bad\n", "3: column 2: not valid YAML:"),
        ("broker:\n\turl: mqtt://localhost\n", "2: column 2: not valid YAML:"),
        ("broker: {url: mqtt://localhost\n", "1: column 1: not valid YAML:"),
        ("broker: 'url\n", "1: column 9: not valid YAML:"),
        ("broker: *nowhere\n", "1: column 9: not valid YAML:"),
    ] {
        let problems = problems(text);

        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with(place), "{text}: {problems:?}");
    }
}

#[test]
fn a_file_without_keys_is_a_clear_problem() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "~\n"] {
        assert_eq!(problems(text), ["1: the file is empty; at least `broker.url` must be given"], "{text:?}");
    }
    assert_eq!(problems("- a\n"), ["1: the file holds a list; allowed are lines of `KEY: VALUE`"]);
    assert_eq!(problems("\nhello\n"), ["2: the file holds `hello`; allowed are lines of `KEY: VALUE`"]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_without_a_line() {
    let folder = tempfile::tempdir().unwrap();

    for path in [folder.path(), &folder.path().join("missing.yaml")] {
        let problems = inspect(path).outcome.unwrap_err();

        let text = problems.to_string();
        assert!(text.starts_with(&format!("{}: cannot be read: ", path.display())), "{text}");
    }
}

#[test]
fn endless_files_are_refused() {
    let problems = inspect(Path::new("/dev/zero")).outcome.unwrap_err();

    assert!(problems.to_string().contains("it is a device, and must be an ordinary file"), "{problems}");
}

#[test]
fn bad_utf_8_names_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin-1.yaml");
    std::fs::write(&path, b"broker:\n  url: mqtt://caf\xE9\n").unwrap();

    let problems = inspect(&path).outcome.unwrap_err();

    assert!(problems.to_string().contains("latin-1.yaml:2: column 18: not UTF-8"), "{problems}");
}

#[test]
fn a_file_of_two_bytes_a_character_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windows.yaml");
    let bytes: Vec<u8> = "\u{FEFF}broker: {}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, bytes).unwrap();

    let problems = inspect(&path).outcome.unwrap_err().to_string();

    assert!(
        problems.ends_with("windows.yaml: is in UTF-16, as some editors of Windows save it; save it in UTF-8"),
        "{problems}"
    );
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windows.yaml");
    std::fs::write(&path, format!("\u{FEFF}{}", SHIPPED.replace('\n', "\r\n"))).unwrap();

    let config = super::super::inspect(&path).outcome.unwrap();

    assert_eq!(config.broker.addresses[0].to_string(), "mqtt://localhost:1883");
}

#[test]
fn a_key_given_twice_is_a_problem_wherever_it_stands() {
    assert_eq!(problem_of("device: a\ndevice: b"), "3: device: is given twice, the first time on line 2");
    assert_eq!(
        problem_of("retry:\n  factor: 2\n  factor: 2"),
        "4: retry.factor: is given twice, the first time on line 3"
    );
    assert_eq!(
        problem_of("telemetry: {sources: [{name: a, type: system,\n name: b}]}"),
        "3: telemetry.sources[0].name: is given twice, the first time on line 2"
    );
}

#[test]
fn an_unknown_key_names_the_nearest_or_all_that_are_allowed() {
    for (lines, problem) in [
        ("retry: {intial_delay: 2s}", "2: retry.intial_delay: unknown key; did you mean `initial_delay`?"),
        ("Device: a", "2: Device: unknown key; did you mean `device`?"),
        // A key that looks like the name of a secret is still named.
        (
            "logging: {password: x}",
            "2: `logging.password`: unknown key; allowed here: `directory`, `rotate_every`, `keep_files`, `max_file_size`, `debug`, `info`, `sample`, `paho`, `console`",
        ),
        ("logging: {keep-files: 3}", "2: logging.keep-files: unknown key; did you mean `keep_files`?"),
        ("delivery: {zzz: 3}", "2: delivery.zzz: unknown key; allowed here: `window`, `ack_timeout`, `max_rate`"),
        ("channel: {<<: {capacity: 3}}", "2: channel.<<: merge keys are not read; write the keys out"),
        ("channel: {[a]: 3}", "2: channel: has a list or a mapping for a key; a key is text"),
    ] {
        assert_eq!(problem_of(lines), problem);
    }
    assert_eq!(
        problems("broker: {ulr: x}"),
        [
            "1: broker.url: is missing; give the broker's address, such as `mqtt://localhost:1883`",
            "1: broker.ulr: unknown key; did you mean `url`?"
        ]
    );
}

#[test]
fn a_section_whose_keys_are_all_commented_out_keeps_the_defaults() {
    assert_eq!(config_of("retry:\nlogging:\n  # debug: false\nspool: ~"), config(MINIMAL));
}

#[test]
fn a_section_that_is_no_mapping_is_one_problem() {
    assert_eq!(problems("broker: 5").len(), 1);
    assert!(problem_of("spool: [a]").starts_with("2: spool: found a list; allowed is a mapping"));
    assert!(problem_of("telemetry: {sources: [board]}").starts_with("2: telemetry.sources[0]: found `board`; allowed"));
    assert!(
        problem_of("telemetry: {sources: board}").starts_with("2: telemetry.sources: found `board`; allowed: a list")
    );
}

#[test]
fn a_problem_at_the_very_end_has_a_line_of_the_file() {
    let empty_item = problems(&format!("{MINIMAL}telemetry:\n  sources:\n  -\n"));
    // A line to YAML, but to no editor of today.
    let carriage_return = problems("broker: {url: mqtt://h}\rzzz: 1");

    assert!(empty_item.iter().all(|problem| problem.starts_with("4: telemetry.sources[0].")), "{empty_item:?}");
    assert!(carriage_return[0].starts_with("1: zzz: unknown key"), "{carriage_return:?}");
}

#[test]
fn an_alias_stands_for_what_its_anchor_holds() {
    let config = config_of("retry: {initial_delay: &short 5s, max_delay: *short}");

    assert_eq!(config.retry.initial_delay, config.retry.max_delay);
}

#[test]
fn hostile_nesting_is_refused_without_overflowing_the_stack() {
    let mut ladder = String::from("a0: &a0 [x]\n");
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for step in 1..10_000 {
        ladder += &format!("a{step}: &a{step} [*a{}]\n", step - 1);
        let six = vec![format!("*a{}", step - 1); 6].join(",");
        laughs += &format!("a{step}: &a{step} [{six}]\n");
    }
    for text in [
        "[".repeat(200_000),
        "{a: ".repeat(50_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
        ladder,
        laughs,
        "a: &a [*a]\n".to_owned(),
    ] {
        let problems = problems(&text);

        assert_eq!(problems.len(), 1, "{}", &text[..20]);
    }
}

#[test]
fn tags_and_further_documents_are_refused() {
    assert_eq!(
        problem_of("device: !secret a"),
        "2: device: carries a YAML tag (`!...`); write the value without, or between quotes: '!...'"
    );
    assert!(problem_of("retry: !!map {}").contains("carries a YAML tag"));
    assert_eq!(problem_of("---\ndevice: a"), "2: a second YAML document begins here; a configuration is one document");
    assert_eq!(config_of("..."), config(MINIMAL));
}

#[test]
fn control_characters_of_the_file_do_not_reach_the_terminal() {
    let problem = problem_of("retry: {\"\\e[31m\": 1, at_max: exit}");

    assert!(!problem.contains('\u{1b}'), "{problem:?}");
}
