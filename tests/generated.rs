//! What the program says of itself for shells and for `man`.

mod skips;

use skips::skip;
use std::process::{Command, Output};

const README: &str = include_str!("../README.md");

fn packhorse(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_packhorse")).args(arguments).output().unwrap()
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = packhorse(&["completions", shell]);

        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        for command in ["run", "check", "sample", "status", "retry", "drain", "completions", "man"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

/// What bash offers when the tabulator is pressed behind this line, in a folder of its own: it has a configuration with four sources.
fn completed_by_bash(line: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let config = |sources: &str| format!("broker: {{url: mqtt://127.0.0.1:1}}\ntelemetry:\n  sources:\n{sources}");
    let named = |name: &str| format!("    - {{name: {name}, type: simulated}}\n");
    let names = ["board", "boiler", "\"boiler room\"", "\"rack:1\""].map(named).concat();
    std::fs::write(folder.path().join("config.yaml"), config(&names)).unwrap();
    std::fs::write(folder.path().join("other.yaml"), config(&named("attic"))).unwrap();
    // Readline's part: words as it divides them, and what it calls the function with.
    let script = r#"
        PATH="$1:$PATH"; source <(packhorse completions bash) || exit 1
        COMP_LINE="$2" COMP_POINT=${#2}
        eval "COMP_WORDS=( $(sed -E 's/([=:])/ "\1" /g' <<<"$2") )"
        [[ "$2" == *" " ]] && COMP_WORDS+=("")
        [[ "$2" == *: ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        function=$(complete -p packhorse | sed 's/.*-F \([^ ]*\).*/\1/')
        current="${COMP_WORDS[COMP_CWORD]}"
        [[ "$current" == : ]] && current=""
        "$function" packhorse "$current" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_packhorse")).parent().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).arg(programs).arg(line).current_dir(folder.path());
    let output = bash.env_remove("PACKHORSE_CONFIG").output().unwrap();
    let offered = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    offered.lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_the_names_of_the_sources_of_the_configuration_on_the_line() {
    for (line, expected) in [
        ("packhorse sample ", &["board", "boiler", "boiler\\ room", "rack:1"][..]),
        ("packhorse sample bo", &["board", "boiler", "boiler\\ room"]),
        ("packhorse sample board boi", &["boiler", "boiler\\ room"]),
        ("packhorse sample x", &[]),
        ("packhorse sample rack:", &["1"]),
        ("packhorse --config other.yaml sample ", &["attic"]),
        ("packhorse -c other.yaml sample ", &["attic"]),
        ("packhorse sample --config=other.yaml ", &["attic"]),
        ("packhorse --config no.yaml sample ", &[]),
    ] {
        assert_eq!(completed_by_bash(line), expected, "{line:?}");
    }
}

#[test]
fn bash_completes_commands_options_and_files_as_before() {
    for (line, expected) in [
        ("packhorse sam", &["sample"][..]),
        ("packhorse sample --li", &["--list"]),
        ("packhorse sample --config oth", &["other.yaml"]),
        ("packhorse completions ba", &["bash"]),
        ("packhorse spool re", &["requeue"]),
        ("packhorse spool st", &["stat"]),
        ("packhorse spool export --format ", &["jsonl", "csv"]),
        ("packhorse spool requeue --dry", &["--dry-run"]),
    ] {
        assert_eq!(completed_by_bash(line), expected, "{line:?}");
    }
}

/// The program's folder at the front of the search path.
fn search_path() -> String {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_packhorse")).parent().unwrap();
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default())
}

/// What a shell says that runs `script` in a folder with a configuration; `None` where it is not installed.
fn shell_says(shell: &str, arguments: &[&str]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let sources = "telemetry: {sources: [{name: board, type: simulated}, {name: boiler, type: simulated}]}\n";
    std::fs::write(folder.path().join("config.yaml"), format!("broker: {{url: mqtt://127.0.0.1:1}}\n{sources}"))
        .unwrap();
    let mut command = Command::new("timeout");
    command.args(["30", shell]).args(arguments).current_dir(folder.path());
    command.env("PATH", search_path()).env("HOME", folder.path()).env_remove("PACKHORSE_CONFIG").env("TERM", "dumb");
    let output = command.output().unwrap();
    // What `timeout` says of a program that is not there.
    if output.status.code() == Some(127) {
        skip(&format!("{shell} is not installed"));
        return None;
    }
    assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn fish_completes_commands_and_the_names_of_sources() {
    let script = r#"packhorse completions fish | source; or exit 1
        for line in $argv; complete -C $line | string replace -r '\t.*' ''; echo .; end"#;
    let lines = [
        "packhorse sam",
        "packhorse sample bo",
        "packhorse -c config.yaml sample bo",
        "packhorse -c no.yaml sample bo",
    ];
    let Some(said) = shell_says("fish", &[&["--no-config", "-c", script][..], &lines].concat()) else { return };

    let offered: Vec<Vec<&str>> = said.split(".\n").map(|part| part.lines().collect()).collect();
    let names = ["board", "boiler"];
    assert_eq!(offered, [&["sample"][..], &names, &names, &[], &[]]);
}

#[test]
fn zsh_completes_commands_and_the_names_of_sources() {
    // A terminal, in which the tabulator is pressed behind each line until what is expected stands there.
    let script = r#"
        zmodload zsh/zpty || exit 1
        packhorse completions zsh > _packhorse
        zpty shell zsh -f -i
        ask() { zpty -w shell "PS1= PROMPT_EOL_MARK=; $1" }
        ask "fpath=($PWD \$fpath); autoload -Uz compinit; compinit -u -d $PWD/dump; unsetopt list_ambiguous; bindkey '^I' complete-word"
        for line expected in "$@"; do
            ask "echo re''ady"
            zpty -r -m shell said '*ready*' || exit 1
            zpty -w -n shell "$line"$'\t'
            zpty -r -m shell said "$expected" || exit 1
            zpty -w -n shell $'\x15'
        done
    "#;
    let expected = ["packhorse sam", "*sample*", "packhorse sample bo", "*board*boiler*"];

    let _ = shell_says("zsh", &[&["-f", "-c", script, "zsh"][..], &expected].concat());
}

/// What the README quotes of `systemctl status`, the program says.
#[test]
fn the_readme_quotes_what_the_program_says() {
    fn sources(folder: &std::path::Path) -> String {
        let text = |entry: std::fs::DirEntry| match entry.path() {
            folder if folder.is_dir() => sources(&folder),
            file => std::fs::read_to_string(file).unwrap_or_default(),
        };
        std::fs::read_dir(folder).unwrap().map(|entry| text(entry.unwrap())).collect()
    }
    let code = sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let seen: Vec<&str> = README.lines().filter(|line| line.starts_with("| `Status: ")).collect();
    assert!(seen.len() >= 3, "{seen:?}");

    let quoted = seen.iter().flat_map(|row| row.split('|').nth(1).unwrap().split('"').skip(1).step_by(2));
    for words in quoted.flat_map(|message| message.split("...")).filter(|words| !words.is_empty()) {
        assert!(code.contains(words.trim()), "the program never says {words:?}");
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
    let rows = README
        .lines()
        .skip_while(|line| *line != "| code | meaning |")
        .skip(2)
        .map_while(|line| line.strip_prefix("| "));
    let codes: Vec<&str> = rows.map(|row| row.split(' ').next().unwrap()).collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    for part in ["run", "check", "sample", "status", "retry", "drain", "completions", "PACKHORSE_CONFIG", "SIGHUP"]
        .iter()
        .chain(&codes)
    {
        assert!(page.contains(&format!("\\fB{part}\\fR")), "{part} in {page}");
    }
    for section in ["COMMANDS", "OPTIONS", "\"EXIT STATUS\"", "ENVIRONMENT", "SIGNALS", "FILES", "EXAMPLES"] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section} in {page}");
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

/// Every command, and what is below it, as `packhorse help` has them.
fn commands() -> Vec<Vec<String>> {
    let (mut all, mut seen) = (vec![vec![]], 0);
    while let Some(command) = all.get(seen).cloned() {
        seen += 1;
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = String::from_utf8(packhorse(&arguments).stdout).unwrap();
        let rows = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names = rows.filter_map(|row| row.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
        all.extend(names.filter(|name| *name != "help").map(|name| [&command[..], &[name.to_owned()]].concat()));
    }
    all
}

#[test]
fn every_help_fits_into_80_columns_wherever_it_goes_and_ends_with_exit_codes_and_documentation() {
    let commands = commands();
    assert!(commands.iter().any(|command| command.join(" ") == "spool requeue") && commands.len() >= 8, "{commands:?}");
    for (command, columns) in
        commands.iter().flat_map(|command| [(command, None), (command, Some("80")), (command, Some("200"))])
    {
        for flag in ["-h", "--help"] {
            let mut packhorse = Command::new(env!("CARGO_BIN_EXE_packhorse"));
            packhorse.args(command).arg(flag).env_remove("COLUMNS").env("PACKHORSE_CONFIG", "/long".repeat(30));
            let output = packhorse.envs(columns.map(|columns| ("COLUMNS", columns))).output().unwrap();

            let help = String::from_utf8(output.stdout).unwrap();
            let widest = help.lines().max_by_key(|line| line.chars().count()).unwrap_or_default();
            assert!(
                !help.is_empty() && widest.chars().count() <= 80,
                "{command:?} {flag}, COLUMNS={columns:?}: {widest}"
            );
            assert!(help.contains("\nExample:\n  packhorse "), "{command:?} {flag}: {help}");
            if flag == "--help" {
                let end = help.split_once("\nExit codes:\n   0  ").expect("exit codes").1;
                let documentation = "\n\nDocumentation: man packhorse, /usr/share/doc/packhorse/README.md\n";
                assert!(end.contains("\n  64  wrong command line\n") && end.ends_with(documentation), "{end}");
            }
        }
    }
}

#[test]
fn the_readme_and_the_help_say_the_same_of_the_exit_codes() {
    let help = String::from_utf8(packhorse(&["--help"]).stdout).unwrap();
    let codes = help.split_once("\nExit codes:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let words = codes.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = README
        .lines()
        .skip_while(|line| *line != "| code | meaning |")
        .skip(2)
        .map_while(|line| line.strip_prefix("| "));

    let readme = rows.map(|row| row.trim_end_matches(" |").replace(" | ", " ")).collect::<Vec<_>>().join(" ");

    assert_eq!(words, readme);
}
