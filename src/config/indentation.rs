//! Columns of a file that is no YAML: which lines stand where no section and no list of those above has its keys. Pure.

use super::slips::{indentation, is_of_content, is_pair};

/// A section or a list that a line may belong to, and the column of its keys or dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Keys(usize),
    Dashes(usize),
}

impl Level {
    fn column(self) -> usize {
        match self {
            Level::Keys(column) | Level::Dashes(column) => column,
        }
    }
}

/// What is wrong with the column of the last of these lines, seen from those above.
pub(super) fn misplaced(lines: &[&str]) -> Option<String> {
    let (here, above) = lines.split_last()?;
    let mut levels = Vec::new();
    let mut before = "";
    for line in above.iter().copied().filter(|line| is_of_content(line)) {
        enter(&mut levels, line);
        before = line;
    }
    if before.is_empty() || !is_of_content(here) {
        return None;
    }
    let own = indentation(here).len();
    let open: Vec<Level> = levels.iter().copied().filter(|level| level.column() <= own).collect();
    match (is_item(here), open.last()) {
        (true, Some(Level::Dashes(column))) if *column == own => None,
        (true, _) if before.trim_end().ends_with(':') && indentation(before).len() <= own => None,
        (true, _) => Some(item(own, &levels)),
        (false, Some(Level::Dashes(column))) if *column == own && !open.contains(&Level::Keys(own)) => {
            Some(below_a_dash(here, own, &levels))
        }
        (false, Some(level)) if level.column() == own => None,
        (false, _) if before.trim_end().ends_with(':') && key_column(before) < own => None,
        (false, _) => Some(key(own, before)),
    }
}

/// Goes on to a line: closes what is deeper than it, and opens what begins on it.
fn enter(levels: &mut Vec<Level>, line: &str) {
    let own = indentation(line).len();
    levels.retain(|level| level.column() <= own);
    if !is_item(line) {
        levels.retain(|level| *level != Level::Dashes(own));
    }
    let mut column = own;
    let mut rest = line.trim_start();
    while is_item(rest) {
        push(levels, Level::Dashes(column));
        let behind = rest[1..].trim_start();
        column += rest.len() - behind.len();
        rest = behind;
    }
    if is_pair(rest) {
        push(levels, Level::Keys(column));
    }
}

fn push(levels: &mut Vec<Level>, level: Level) {
    if !levels.contains(&level) {
        levels.push(level);
    }
}

fn is_item(line: &str) -> bool {
    let line = line.trim();
    line == "-" || line.starts_with("- ")
}

/// The column of a line's first key, behind the dashes of lists.
fn key_column(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}

fn item(own: usize, levels: &[Level]) -> String {
    // Of a list whose key is deeper than this line, the line is no item.
    let is_near = |at: &usize| at.checked_sub(1).is_none_or(|key| levels[key].column() <= own);
    let last = levels.iter().rposition(|level| matches!(level, Level::Dashes(_)));
    let dashes = last.filter(is_near).map(|at| levels[at]);
    match dashes {
        Some(dashes) => format!(
            "it is indented by {}, and the `-` above by {}; the items of one list begin in the same column",
            spaces(own),
            dashes.column()
        ),
        None => {
            "it begins an item of a list where keys stand; leave out the `-`, or put the list below a key".to_owned()
        }
    }
}

fn below_a_dash(here: &str, own: usize, levels: &[Level]) -> String {
    if !is_pair(here) {
        return "it stands below the `-` of a list and has none; write `- ` before an item".to_owned();
    }
    let keys = levels.iter().rev().find(|level| matches!(level, Level::Keys(column) if *column > own));
    let deeper = keys.map_or(own + 2, |keys| keys.column());
    format!(
        "it stands below the `-` of a list; indent a key of the item by {}, as the first one is; where no list is meant, \
         leave out the `-`",
        spaces(deeper)
    )
}

fn key(own: usize, before: &str) -> String {
    let other = if is_item(before) { "the key behind the `-` before" } else { "the line before" };
    format!(
        "it is indented by {}, and {other} by {}; keys of one section begin in the same column",
        spaces(own),
        key_column(before)
    )
}

fn spaces(count: usize) -> String {
    format!("{count} {}", if count == 1 { "space" } else { "spaces" })
}
