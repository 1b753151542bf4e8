//! Slips in YAML: each is named with its line, and how to write it, in our words and not in the parser's.

use super::super::tree::grow;
use proptest::prelude::*;

#[test]
fn a_slip_is_named_with_its_line_and_how_to_write_it() {
    for (text, line, words) in [
        (
            "broker:\n  url: mqtt://h\n   client_id: a\n",
            3,
            "indented by 3 spaces, and the line before by 2; keys of one",
        ),
        ("broker:\n  url: mqtt://h\n client_id: a\n", 3, "indented by 1 space, and the line before by 2; keys of one"),
        (
            "broker:\n  url: mqtt://h\n    client_id: a\n",
            3,
            "indented by 4 spaces, and the line before by 2; keys of one",
        ),
        (
            "telemetry:\n  sources:\n    - name: a\n     type: system\n",
            4,
            "indented by 5 spaces, and the key behind the `-` before by 6",
        ),
        ("broker:\n\turl: mqtt://h\n", 2, "it is indented by a tab; YAML takes spaces alone"),
        ("telemetry:\n  topic: {device}/x\n", 2, "{device} stands here without quotes; write the value between quotes"),
        ("telemetry: {topic: a/{device}/{source}}\n", 1, "{device} stands here without quotes"),
        (
            "broker:\n  client_id: '{device}'\nstatus: {topic: s/{device}, interval: 1s}\n",
            3,
            "{device} stands here without quotes",
        ),
        ("broker: 'url\n", 1, "a quote is opened and not closed"),
        ("broker: {url: \"mqtt://h}\n", 1, "a quote is opened and not closed"),
        ("broker: {url: mqtt://h\n", 1, "a `{` on line 1 has no `}`"),
        ("telemetry:\n  sources: [{name: a, type: system}\nspool: {}\n", 3, "a `[` on line 2 has no `]`"),
        ("broker: {url: mqtt://h}\ndevice: @home\n", 2, "a value that begins with `@` needs quotes: '@...'"),
        ("broker: *nowhere\n", 1, "a value that begins with `*` needs quotes"),
        ("device: %x\n", 1, "a value that begins with `%` needs quotes"),
        ("device: a: b\n", 1, "a value with a `:` and a space in it needs quotes"),
        (
            "broker:\n  url: mqtt://h\n  username\n  client_id: a\n",
            4,
            "the line before is no `KEY: VALUE`; write a `:` and a space",
        ),
        ("broker:\n  url: mqtt://h\n\tclient_id: a\n", 3, "it is indented by a tab; YAML takes spaces alone"),
        ("broker:\n  url: mqtt://h\n\n\t# x\n  \tclient_id: a\n", 5, "it is indented by a tab"),
        ("broker:\n  urls:\n    - mqtt://h\n\t- mqtt://i\n", 4, "it is indented by a tab"),
        ("broker:\n  url:mqtt://h\n  client_id: a\n", 3, "the line before is no `KEY: VALUE`"),
        ("broker:\n  url:mqtt://h\n  tls: {ca_file: a}\n", 3, "the line before is no `KEY: VALUE`"),
        ("broker:\n  client_id: a\n  url:mqtt://h\n  username: a\n", 4, "the line before is no `KEY: VALUE`"),
        ("device:a\nbroker:\n  url: mqtt://h\n", 2, "the line before is no `KEY: VALUE`"),
        ("sources:\n  -name: a\n   type: system\n", 3, "the line before has no space behind the `-` of a list"),
        ("sources:\n  -name: a\n    type: system\n", 3, "the line before has no space behind the `-` of a list"),
        ("sources:\n  - name: b\n    type: a\n  -name: a\n", 4, "it has no space behind the `-` of a list"),
        ("username: \"a\"b\n", 1, "text stands behind the quote that ends the value"),
        ("broker: {username: 'a' b, url: c}\n", 1, "text stands behind the quote that ends the value"),
        ("url: \"mqtt://h\":1883\n", 1, "text stands behind the quote that ends the value"),
        ("username: 'it's'\n", 1, "write it between the other kind of quotes"),
        ("username: 'it''s\n", 1, "a quote is opened and not closed"),
        ("username: \"a\"# c\n", 1, "a comment needs a space before its `#`"),
        ("device: \"C:\\data\"\n", 1, "a `\\` between double quotes begins an escape"),
    ] {
        let problem = grow(text).expect_err(text);

        assert!(problem.message.contains(words), "{text}\n{problem}");
        assert!(problem.line == Some(line), "{text}\n{problem}");
    }
}

#[test]
fn whatever_breaks_the_yaml_is_told_in_our_words() {
    for (text, line, words) in [
        (
            "broker:\n  url: mqtt://h\ntelemetry:\n   interval: 1s\n  sources:\n    - {name: a}\n",
            5,
            "indented by 2 spaces, and the line before by 3",
        ),
        ("sources:\n    - name: a\n    type: b\n", 3, "below the `-` of a list; indent a key of the item by 6 spaces"),
        ("broker:\n  - url: mqtt://h\n  username: x\n", 3, "where no list is meant, leave out the `-`"),
        ("- device: gw\nbroker:\n  url: mqtt://h\n", 2, "where no list is meant, leave out the `-`"),
        ("device: gw\n- broker:\n", 2, "leave out the `-`, or put the list below a key"),
        ("broker:\n  urls:\n    - a\n   - b\n", 4, "indented by 3 spaces, and the `-` above by 4"),
        (
            "t:\n  sources:\n    - name: a\n      type: b\n  - name: c\n    type: d\n",
            5,
            "indented by 2 spaces, and the `-` above by 4",
        ),
        (
            "t:\n  sources:\n    - name: a\n      type: b\n      - name: c\n",
            5,
            "indented by 6 spaces, and the `-` above by 4",
        ),
        ("broker:\n  urls:\n    - a\n    mqtt://b\n", 4, "below the `-` of a list and has none; write `- `"),
        ("device: - gw\n", 1, "text that begins with `-` needs quotes: '- ...'"),
        ("topic: ,x\n", 1, "a value that begins with `,` needs quotes: ',...'"),
        ("device: `gw`\n", 1, "a value that begins with a backtick needs quotes: '`...'"),
        ("url: [mqtt://h](mqtt://h)\nusername: a\n", 1, "text stands behind the bracket"),
        ("device: gw\n\0\0\0\0", 2, "the file holds NULs from here on, as a power cut leaves them"),
        ("device: g\0w\n", 1, "the file holds NULs"),
        ("device: gw\n\0broker: {url: mqtt://h}\n", 2, "the file holds NULs"),
        ("device:\tgw\n", 1, "a tab stands behind its `:`, which is no space"),
        ("device:\u{a0}gw\nbroker:\n", 2, "U+00A0 stands behind the line before's `:`"),
        ("interval\u{ff1a} 1s\nqos: 1\n", 2, "`\u{ff1a}` (U+FF1A) is no colon to YAML; write `:`"),
        ("- {name: wind type: simulated}\n", 1, "a comma is missing between the brackets; write a `,`"),
        ("broker: {url: mqtt://h}}\n", 1, "a `}` has no `{` before it; delete it"),
        ("broker:\n  url: mqtt://h\n}\n", 3, "a `}` has no `{` before it; delete it"),
        ("device: ]\n", 1, "a `]` has no `[` before it; delete it"),
        ("sources: [{name: a,\ntype: b}]\n", 2, "indent it deeper than its key"),
        ("<<<<<<< HEAD\ndevice: gw\n=======\n", 2, "the mark of a merge that was not finished"),
        ("device: gw\n\u{feff}broker: {}\n", 2, "a byte order mark (U+FEFF), which nobody sees"),
        ("%FOO\ndevice: gw\n", 2, "is a directive to YAML; write `KEY: VALUE`"),
        ("device: \"\\uZZZZ\"\n", 1, "a `\\` between double quotes begins an escape"),
        ("-{name: a, type: b}\n", 1, "has no space behind the `-` of a list"),
    ] {
        let problem = grow(text).expect_err(text);

        assert!(problem.message.contains(words), "{text}\n{problem}");
        assert!(problem.line == Some(line), "{text}\n{problem}");
    }
    let deep = grow(&format!("a: {}", "[".repeat(5000))).unwrap_err();
    assert!(deep.message.contains("nested too deeply; at most 32 levels"), "{deep}");
    let unknown = grow(&format!("{}topic: ,x\n", "# many lines\n".repeat(3000))).unwrap_err();
    assert!(unknown.message.contains("write `KEY: VALUE` on lines of their own"), "{unknown}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_problem_of_the_yaml_is_told_in_the_parser_s_words_alone(text in "([a-c]: |- |  |[a-z]{1,3}|\n|[\\[\\]{},:#&*!|>'\"%@`\t-]){0,24}") {
        if let Err(problem) = grow(&text) {
            for words in ["not valid YAML: while ", "not valid YAML: did not", "not valid YAML: found", "not valid YAML: invalid"] {
                prop_assert!(!problem.message.contains(words), "{text:?}: {problem}");
            }
        }
    }
}
