//! What YAML reads as something else than what its author meant, or as nothing, is a problem that says how to write it.

use super::{MINIMAL, config, config_of, problem_of, problems};
use crate::config::host::Host;
use crate::config::load::inspect_text;
use std::path::Path;

/// A file with one line more, in the section that its key is of.
fn with(line: &str) -> String {
    match line.split_once(':').map(|(key, _)| key) {
        Some("username" | "password_file" | "client_id") => format!("broker:\n  url: mqtt://h\n  {line}\n"),
        _ => format!("{MINIMAL}{line}\n"),
    }
}

#[test]
fn an_anchor_a_tag_or_a_comment_in_place_of_a_value_is_a_problem() {
    const ANCHOR: &str = "write the value between quotes: '&...'";
    const TAG: &str = "write the value between quotes: '!...'";
    const TAGGED: &str = "write the value without, or between quotes: '!...'";
    const COMMENT: &str = "write the value between quotes: '#...', or a space behind the `#` of a comment";
    for (line, end) in [
        ("device: &gw", ANCHOR),
        ("device: !gw", TAG),
        ("device: #7", COMMENT),
        ("\"device\": #7", COMMENT),
        ("device: #7 # the seventh", COMMENT),
        ("username: &joe", ANCHOR),
        ("username: !joe", TAG),
        ("username: !secret x", TAGGED),
        ("username: #gw7", COMMENT),
        ("password_file: #/etc/password", COMMENT),
        ("client_id: !x", TAG),
        ("retry: &a", ANCHOR),
        ("retry: !a", TAG),
        ("status: {prometheus_textfile: &a}", ANCHOR),
        ("telemetry: {sources: &a}", ANCHOR),
        ("telemetry: {sources: !a [{name: a, type: system}]}", TAGGED),
        ("telemetry: {sources: [{name: a, type: system, topic: &a}]}", ANCHOR),
    ] {
        let problems = problems(&with(line));

        assert!(matches!(&problems[..], [one] if one.ends_with(end)), "{line}: {problems:#?}");
    }
}

#[test]
fn a_comment_behind_a_key_without_a_value_stays_one() {
    for line in [
        "device:   # none",
        "device: #none of its own",
        "device: ########",
        "username: # gw7",
        "password_file: #no password needed",
        "retry: #defaults",
        "device: ~ #7",
        "device: &a gw",
    ] {
        config(&with(line));
    }
}

#[test]
fn signs_that_nobody_sees_or_that_look_like_quotes_are_no_part_of_a_text() {
    for (value, told) in [
        ("\u{201c}gw\u{201d}", "`\u{201c}` is no quote to YAML"),
        ("\u{2018}gw\u{2019}", "`\u{2018}` is no quote to YAML"),
        ("gw\u{201d}", "`\u{201d}` is no quote to YAML"),
        ("\u{ab}gw\u{bb}", "`\u{ab}` is no quote to YAML"),
        ("g\u{202e}w", "it holds U+202E"),
        ("gw\u{200b}", "it holds U+200B"),
        ("g\u{2066}w", "it holds U+2066"),
        ("g\u{ad}w", "it holds U+00AD"),
        ("gw\u{a0}", "it holds U+00A0"),
    ] {
        for key in ["device", "username", "password_file", "client_id"] {
            let problems = problems(&with(&format!("{key}: {value}")));

            assert!(matches!(&problems[..], [one] if one.contains(told)), "{key}: {value:?}: {problems:#?}");
        }
        let topic = problem_of(&format!("telemetry: {{topic: {value}}}"));
        assert!(topic.contains(told), "{topic}");
    }
    assert_eq!(config_of("device: Joe\u{2019}s").device, "Joe\u{2019}s");
    assert_eq!(config_of("device: Ger\u{e4}t-7").device, "Ger\u{e4}t-7");
}

#[test]
fn nothing_is_replaced_in_a_path_and_what_others_would_replace_is_a_problem() {
    for (path, told) in [
        ("~/spool", "`~` is not replaced by a home folder"),
        ("~joe/spool", "`~` is not replaced by a home folder"),
        ("$HOME/spool", "a variable (`$...`) is not replaced here"),
        ("'${X}/spool'", "a variable (`$...`) is not replaced here"),
        ("/data/$X", "a variable (`$...`) is not replaced here"),
        ("/data/$(hostname)/x", "a variable (`$...`) is not replaced here"),
        ("'%h/spool'", "`%`, a specifier or variable, is not replaced here"),
        ("/data/%i", "`%`, a specifier or variable, is not replaced here"),
        ("'%APPDATA%/x'", "`%`, a specifier or variable, is not replaced here"),
        ("'/data/{device}'", "a placeholder of topics is not replaced here"),
        ("file:///data", "is an address; allowed is a path"),
    ] {
        for lines in [format!("spool: {{directory: {path}}}"), format!("logging: {{directory: {path}}}")] {
            assert!(problem_of(&lines).contains(told), "{}", problem_of(&lines));
        }
        let lines = format!("telemetry: {{sources: [{{name: a, type: file, path: {path}}}]}}");
        assert!(problem_of(&lines).contains(told), "{}", problem_of(&lines));
    }
    for path in ["/data/a$", "/data/100%", "/data/a~", "/data/~x", "'/sys/{1}'"] {
        config_of(&format!("spool: {{directory: {path}}}"));
    }
}

#[test]
fn the_root_of_all_folders_is_no_place_for_ours() {
    for path in ["/", "//", "/.", "/.."] {
        for section in ["spool", "logging"] {
            let problem = problem_of(&format!("{section}: {{directory: {path}}}"));

            assert!(problem.contains("is the root of all folders"), "{problem}");
        }
    }
}

#[test]
fn a_spool_among_the_log_files_is_warned_of() {
    let warnings = |spool: &str, log: &str| {
        let text = format!("{MINIMAL}spool: {{directory: {spool}}}\nlogging: {{directory: {log}}}\n");
        let inspection = inspect_text(&text, Path::new("test.yaml"), &super::host());
        assert!(inspection.outcome.is_ok());
        inspection.warnings.iter().filter(|warning| warning.message.contains("holds the spool as well")).count()
    };

    assert_eq!(warnings("/data", "/data/"), 1);
    assert_eq!(warnings("/data/spool", "/data"), 1);
    assert_eq!(warnings("/data", "/data/log"), 0);
    assert_eq!(warnings("/data/spool", "/data/log"), 0);
}

#[test]
fn a_folder_by_another_program_s_name_is_our_directory() {
    for section in ["spool", "logging"] {
        for key in ["path", "dir", "folder", "location"] {
            let problem = problem_of(&format!("{section}: {{{key}: /data}}"));

            assert!(problem.ends_with("unknown key; did you mean `directory`?"), "{problem}");
        }
    }
}

#[test]
fn a_host_without_a_name_of_its_own_is_warned_of_and_one_that_cannot_stand_in_is_one_problem() {
    let inspect = |name: &str| {
        let host = Host { name: Some(name.to_owned()), ..super::host() };
        inspect_text(MINIMAL, Path::new("test.yaml"), &host)
    };
    for name in ["localhost", "LOCALHOST", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "localhost6"] {
        let inspection = inspect(name);
        assert_eq!(inspection.outcome.unwrap().device, name);
        let warnings: Vec<String> = inspection.warnings.iter().map(ToString::to_string).collect();
        assert!(
            warnings.iter().any(|warning| warning.contains("as many are; set it, or name the host")),
            "{name}: {warnings:?}"
        );
    }
    assert_eq!(inspect("gateway-7").warnings, []);
    for name in ["a+b", "a/b", "a#b"] {
        let problems = Vec::from(inspect(name).outcome.unwrap_err());

        assert!(matches!(&problems[..], [one] if one.message.contains(&format!("`{name}` holds"))), "{problems:?}");
    }
}
