//! ARCHITECTURE.md's table of rooms, held against the code: which module may use which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What the modules of a room may use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Everything,
    /// The modules of the rows below, and those of its own.
    Below(BTreeSet<String>),
    /// These, and those of its own row.
    These(BTreeSet<String>),
}

/// Every module of the table, and what it may use.
type Rooms = BTreeMap<String, Allowed>;

/// A module that is used, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    module: String,
    file: PathBuf,
    /// Counted from 1.
    line: usize,
    /// Of the module that is used.
    used: String,
}

/// The rooms of the table whose head is `| where | what lives there | may use |`.
fn rooms(text: &str) -> Rooms {
    let table = text.lines().skip_while(|line| !line.starts_with("| where |")).skip(2);
    let rows: Vec<(Vec<String>, String)> = table.map_while(row).filter(|(modules, _)| !modules.is_empty()).collect();
    let mut rooms = Rooms::new();
    for (number, (modules, may_use)) in rows.iter().enumerate() {
        let own = modules.iter().cloned();
        let allowed = match may_use.as_str() {
            "everything" => Allowed::Everything,
            "all below" => Allowed::Below(rows[number..].iter().flat_map(|(modules, _)| modules.clone()).collect()),
            "-" => Allowed::These(own.collect()),
            list => Allowed::These(list.split(", ").map(str::to_owned).chain(own).collect()),
        };
        for module in modules {
            assert_eq!(rooms.insert(module.clone(), allowed.clone()), None, "{module} has two rows");
        }
    }
    let known: Vec<&String> = rooms.keys().collect();
    for (module, allowed) in &rooms {
        if let Allowed::These(used) = allowed {
            let strange = used.iter().find(|used| !rooms.contains_key(*used));
            assert_eq!(strange, None, "`{module}` may use what is no module; these are: {known:?}");
        }
    }
    rooms
}

/// The modules of a row, which are the files and folders of `src/` in its first cell, and its last cell.
fn row(line: &str) -> Option<(Vec<String>, String)> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let [places, _, may_use] = cells[..] else { panic!("a row has three cells: {line}") };
    let names = places.split(", ").map(|place| place.trim_matches('`'));
    let modules = names.filter(|place| place.ends_with(".rs") || Path::new(ROOT).join("src").join(place).is_dir());
    Some((modules.map(|place| module(Path::new(place))).collect(), may_use.to_owned()))
}

/// The module of the top that a file below `src/` belongs to.
fn module(file: &Path) -> String {
    let first = file.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches('/').trim_end_matches(".rs").to_owned()
}

/// Every file below `src/`, but for those that a test module declares.
fn sources(folder: &Path, tests: &mut BTreeSet<PathBuf>, found: &mut Vec<(PathBuf, String)>) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, tests, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            tests.extend(test_modules(&path, &text));
            found.push((path, text));
        }
    }
}

/// Where the modules are that a file declares under `#[cfg(test)]`, without `.rs`.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap();
    let folder = if ["mod", "lib", "main"].map(Some).contains(&stem.to_str()) {
        path.parent().unwrap().to_owned()
    } else {
        path.with_extension("")
    };
    let lines: Vec<&str> = text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
    let name = |pair: &[&str]| Some(pair[1].trim().strip_suffix(';')?.rsplit_once("mod ")?.1.to_owned());
    declared.filter_map(name).map(|name| folder.join(name)).collect()
}

/// The lines of a file that are no comments and under no `#[cfg(test)]`, with their numbers. Relies on rustfmt: what opens
/// on one line is closed by a line that is indented alike.
fn code(text: &str) -> Vec<(usize, &str)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim() == "#[cfg(test)]" {
            let Some((_, item)) = lines.find(|(_, line)| !line.trim_start().starts_with("#[")) else { break };
            if item.ends_with(['{', '(']) {
                lines.find(|(_, line)| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with(['}', ')'])));
            }
        } else if !line.trim_start().starts_with("//") {
            kept.push((number + 1, line));
        }
    }
    kept
}

/// The modules of the top that a line of code names, by `crate::` or by more `super::` than the file's module is deep.
/// rustfmt keeps `use crate::{...}` as it was written, so that is not taken apart but refused.
fn used(line: &str, depth: usize) -> Vec<&str> {
    let up = "super::".repeat(depth);
    let paths = line.match_indices("crate::").chain(line.match_indices(&up));
    let whole = paths.filter(|(at, _)| !line[..*at].ends_with('$'));
    let names = whole.map(|(at, path)| {
        let rest = &line[at + path.len()..];
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap()
    });
    names.collect()
}

/// How many modules a file's own one is below the top.
fn depth(file: &Path) -> usize {
    file.components().count() - usize::from(file.ends_with("mod.rs"))
}

fn uses() -> Vec<Use> {
    let src = Path::new(ROOT).join("src");
    let (mut tests, mut files) = (BTreeSet::new(), Vec::new());
    sources(&src, &mut tests, &mut files);
    let is_test = |path: &Path| tests.iter().any(|test| path.with_extension("") == *test || path.starts_with(test));
    let mut uses = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| !is_test(path)) {
        let file = path.strip_prefix(&src).unwrap();
        for (line, code) in code(text) {
            for used in used(code, depth(file)) {
                assert!(!used.is_empty(), "src/{}:{line}: a `use crate::` for each module, please", file.display());
                let used = used.to_owned();
                uses.push(Use { module: module(file), file: file.to_owned(), line, used });
            }
        }
    }
    uses
}

/// What is used and must not be.
fn problems(rooms: &Rooms, uses: &[Use]) -> Vec<String> {
    let problem = |Use { module, file, line, used }: &Use| {
        let place = format!("src/{}:{line}", file.display());
        let Some(allowed) = rooms.get(module) else {
            return Some(format!("{place}: ARCHITECTURE.md has no row for `{module}`"));
        };
        let list = match allowed {
            Allowed::Everything => return None,
            Allowed::Below(list) | Allowed::These(list) => list,
        };
        let is_fine = used == module || list.contains(used);
        let allowed = list.iter().filter(|other| *other != module).cloned().collect::<Vec<_>>().join(", ");
        (!is_fine).then(|| format!("{place}: `{module}` uses `{used}`; ARCHITECTURE.md allows it: {allowed}"))
    };
    uses.iter().filter_map(problem).collect()
}

/// Modules that use each other, over others or at once: the first such round, if there is one.
fn cycle(uses: &[Use]) -> Option<Vec<String>> {
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Use { module, used, .. } in uses.iter().filter(|it| it.used != it.module) {
        graph.entry(module).or_default().insert(used);
    }
    let mut finished = BTreeSet::new();
    graph.keys().find_map(|module| round(&graph, module, &mut Vec::new(), &mut finished))
}

fn round<'a>(
    graph: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    module: &'a str,
    path: &mut Vec<&'a str>,
    finished: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|other| *other == module) {
        return Some(path[start..].iter().chain([&module]).map(ToString::to_string).collect());
    }
    if finished.contains(module) {
        return None;
    }
    path.push(module);
    let found = graph.get(module).into_iter().flatten().find_map(|used| round(graph, used, path, finished));
    path.pop();
    finished.insert(module);
    found
}

#[test]
fn every_module_uses_only_what_architecture_md_allows() {
    let rooms = rooms(&fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap());
    let uses = uses();
    assert!(uses.len() > 200, "only {} uses were found", uses.len());

    let problems = problems(&rooms, &uses);

    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn no_modules_use_each_other() {
    let found = cycle(&uses());

    assert_eq!(found.map(|round| round.join(" -> ")), None);
}

#[test]
fn every_module_has_a_row() {
    let rooms = rooms(&fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap());
    let files = fs::read_dir(Path::new(ROOT).join("src")).unwrap();
    let modules: BTreeSet<String> = files.map(|file| module(Path::new(&file.unwrap().file_name()))).collect();

    let rows: BTreeSet<String> = rooms.into_keys().chain(["lib".to_owned()]).collect();

    assert_eq!(rows, modules);
}

/// A table with a row each for `agent` and `burst`, and one for `clock` and `status`.
fn example() -> Rooms {
    rooms(
        "| where | what lives there | may use |\n|---|---|---|\n| `agent.rs` | a | all below |\n\
         | `status.rs`, `clock.rs` | b | burst |\n| `burst.rs` | c | - |\n| `debian/` | d | - |\n\nMore.\n",
    )
}

fn a_use(module: &str, used: &str) -> Use {
    Use { module: module.to_owned(), file: format!("{module}.rs").into(), line: 7, used: used.to_owned() }
}

#[test]
fn what_the_table_does_not_allow_is_found() {
    let rooms = example();

    for (module, used) in [("agent", "burst"), ("status", "clock"), ("clock", "burst"), ("burst", "burst")] {
        assert_eq!(problems(&rooms, &[a_use(module, used)]), [""; 0], "{module} uses {used}");
    }
    for (module, used, problem) in [
        ("status", "agent", "src/status.rs:7: `status` uses `agent`; ARCHITECTURE.md allows it: burst, clock"),
        ("burst", "clock", "src/burst.rs:7: `burst` uses `clock`; ARCHITECTURE.md allows it: "),
        ("config", "burst", "src/config.rs:7: ARCHITECTURE.md has no row for `config`"),
    ] {
        assert_eq!(problems(&rooms, &[a_use(module, used)]), [problem]);
    }
}

#[test]
fn a_round_of_modules_is_found() {
    let line = [a_use("a", "b"), a_use("a", "c"), a_use("b", "c"), a_use("b", "b")];
    assert_eq!(cycle(&line), None);

    let round = [a_use("a", "b"), a_use("b", "c"), a_use("c", "d"), a_use("d", "b")];
    assert_eq!(cycle(&round).unwrap(), ["b", "c", "d", "b"]);
}

#[test]
fn tests_and_comments_use_what_they_like() {
    let text = "//! crate::a\nuse crate::b::C;\n#[cfg(test)]\nuse crate::d;\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod e;\n\
                fn f() {\n    crate::g::h(crate::i::j);\n    #[cfg(test)]\n    {\n        crate::k();\n    }\n}\n\
                #[cfg(test)]\nmod tests {\n    use crate::l;\n}\nuse crate::m;\n";

    let found: Vec<(usize, &str)> = code(text)
        .into_iter()
        .flat_map(|(line, code)| used(code, 1).into_iter().map(move |used| (line, used)))
        .collect();

    assert_eq!(found, [(2, "b"), (9, "g"), (9, "i"), (19, "m")]);
}

#[test]
fn a_way_over_the_module_above_is_no_way_around() {
    assert_eq!(depth(Path::new("spool/mod.rs")), 1);
    assert_eq!(depth(Path::new("spool/exchanges/notes.rs")), 3);
    assert_eq!(used("use super::super::config::Config;", 2), ["config"]);
    assert_eq!(used("use super::reader::Reader;", 2), [""; 0]);
}
