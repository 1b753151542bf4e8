//! Common slips in YAML: what is wrong at the place where the parser gave up, and how to write it. Pure.
//!
//! Nothing of the file is repeated but our own placeholders: what breaks the YAML may be a secret in a wrong place.

use super::tree::PLACEHOLDERS;

/// Lines of a file, and bytes of a line, that slips are looked for in.
const LINES_MAX: usize = 2000;
const LINE_MAX: usize = 500;

/// What is wrong in this line, counted from 1, of a text that is no YAML; `said` are the parser's words. `None`: no slip that is
/// known.
pub(super) fn slip(text: &str, line: usize, said: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    // What no person wrote has no slips, and looking takes time in proportion to the square of a line.
    if lines.len() > LINES_MAX || lines.iter().any(|line| line.len() > LINE_MAX) {
        return None;
    }
    let here = *lines.get(line.checked_sub(1)?)?;
    let before = lines[..line - 1].iter().rev().copied().find(|line| is_of_content(line));
    let unfinished = before.filter(|_| !is_of_content(here)).unwrap_or(here);
    if indentation(here).contains('\t') {
        return Some("it is indented by a tab; YAML takes spaces alone".to_owned());
    }
    if let Some(placeholder) = [here, before.unwrap_or("")].into_iter().find_map(bare_placeholder) {
        return Some(format!(
            "{placeholder} stands here without quotes; write the value between quotes: \"...{placeholder}...\""
        ));
    }
    if said.contains("escape") {
        return Some("a `\\` between double quotes begins an escape; write the value between single quotes".to_owned());
    }
    if said.contains("quoted scalar") || has_open_quote(unfinished) {
        return Some("a quote is opened and not closed; end the value by the same quote".to_owned());
    }
    if let Some(first) = value(here).and_then(|value| value.chars().next()).filter(|first| "@`%*&!|>".contains(*first))
    {
        return Some(format!("a value that begins with `{first}` needs quotes: '{first}...'"));
    }
    if let Some((bracket, other)) = open_bracket(&lines) {
        return Some(format!(
            "a `{bracket}` on line {} has no `{other}`; close it, or write text between quotes",
            bracket_line(&lines, bracket)
        ));
    }
    if let Some(before) = before
        && let Some(how) = misplaced(here, before, &lines[..line - 1])
    {
        return Some(how);
    }
    if value(here).is_some_and(|value| value.contains(": ") || value.ends_with(':')) {
        return Some("a value with a `:` and a space in it needs quotes: \"...\"".to_owned());
    }
    if said.contains("simple key") && before.is_some_and(|before| !before.contains(':')) {
        return Some("the line before is no `KEY: VALUE`; write a `:` and a space behind the key".to_owned());
    }
    if !here.contains(':') || here.split_once(':').is_some_and(|(_, rest)| !rest.is_empty() && !rest.starts_with(' ')) {
        return Some("it is no `KEY: VALUE`; write a `:` and a space behind the key".to_owned());
    }
    None
}

/// Whether a line has more than space and a comment.
fn is_of_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The column of a line's first key, behind the dashes of lists.
fn column(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}

/// What stands behind the line's first key, or behind its dash.
fn value(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_prefix("- ").unwrap_or(line);
    let value = line.split_once(": ").map_or(if line.contains(':') { "" } else { line }, |(_, value)| value).trim();
    (!value.is_empty()).then_some(value)
}

/// A placeholder that no quotes are around, which YAML takes for a mapping.
fn bare_placeholder(line: &str) -> Option<&'static str> {
    PLACEHOLDERS
        .into_iter()
        .find(|placeholder| line.match_indices(placeholder).any(|(at, _)| quote_at(line, at).is_none()))
}

/// The quote that this place of the line is inside of.
fn quote_at(line: &str, at: usize) -> Option<char> {
    let mut open = None;
    let mut former = ' ';
    for character in line[..at].chars() {
        match (open, character) {
            (None, '#') if former == ' ' => return None,
            // Only where a value begins: `it's` has none.
            (None, '"' | '\'') if " [{,:-".contains(former) => open = Some(character),
            (Some(quote), character) if quote == character && former != '\\' => open = None,
            _ => {}
        }
        former = character;
    }
    open
}

fn has_open_quote(line: &str) -> bool {
    quote_at(line, line.len()).is_some()
}

/// A bracket of the text that is not closed, and its other half.
fn open_bracket(lines: &[&str]) -> Option<(char, char)> {
    [('{', '}'), ('[', ']')].into_iter().find(|(open, close)| {
        let count = |wanted| lines.iter().map(|line| brackets(line, wanted)).sum::<usize>();
        count(*open) > count(*close)
    })
}

fn bracket_line(lines: &[&str], open: char) -> usize {
    lines.iter().rposition(|line| brackets(line, open) > 0).map_or(0, |index| index + 1)
}

/// How often a bracket stands in a line outside of quotes and comments.
fn brackets(line: &str, wanted: char) -> usize {
    let code = line.find(" #").map_or(line, |comment| &line[..comment]);
    let code = if code.trim_start().starts_with('#') { "" } else { code };
    code.match_indices(wanted).filter(|(at, _)| quote_at(code, *at).is_none()).count()
}

/// What is wrong with the indentation of a line, seen from the one before.
fn misplaced(here: &str, before: &str, above: &[&str]) -> Option<String> {
    let (own, former) = (column(here), column(before));
    let opens = before.trim_end().ends_with(':');
    let told = |what: &str| {
        Some(format!(
            "it is indented by {own} {}, and the line before by {former}; {what}",
            if own == 1 { "space" } else { "spaces" }
        ))
    };
    if own > former && !opens {
        return told("keys of one section begin in the same column");
    }
    let fits = above
        .iter()
        .filter(|line| is_of_content(line))
        .any(|line| column(line) == own || indentation(line).len() == own);
    if own < former && !fits {
        return told("keys of one section begin in the same column");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tree::grow;

    #[test]
    fn a_slip_is_named_with_its_line_and_how_to_write_it() {
        for (text, line, words) in [
            (
                "broker:\n  url: mqtt://h\n   client_id: a\n",
                3,
                "indented by 3 spaces, and the line before by 2; keys of one",
            ),
            (
                "broker:\n  url: mqtt://h\n client_id: a\n",
                3,
                "indented by 1 space, and the line before by 2; keys of one",
            ),
            (
                "broker:\n  url: mqtt://h\n    client_id: a\n",
                3,
                "indented by 4 spaces, and the line before by 2; keys of one",
            ),
            (
                "telemetry:\n  sources:\n    - name: a\n     type: system\n",
                4,
                "indented by 5 spaces, and the line before by 6",
            ),
            ("broker:\n\turl: mqtt://h\n", 2, "it is indented by a tab; YAML takes spaces alone"),
            (
                "telemetry:\n  topic: {device}/x\n",
                2,
                "{device} stands here without quotes; write the value between quotes",
            ),
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
            ("device: \"C:\\data\"\n", 1, "a `\\` between double quotes begins an escape"),
        ] {
            let problem = grow(text).expect_err(text);

            assert!(problem.message.contains(words), "{text}\n{problem}");
            assert!(problem.line == Some(line), "{text}\n{problem}");
        }
    }
}
