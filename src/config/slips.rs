//! Common slips in YAML: what is wrong at the place where the parser gave up, and how to write it. Pure.
//!
//! Nothing of the file is repeated but our own placeholders: what breaks the YAML may be a secret in a wrong place.

use super::tree::PLACEHOLDERS;

/// Lines of a file, and bytes of a line, that slips are looked for in.
const LINES_MAX: usize = 2000;
const LINE_MAX: usize = 500;

/// What is wrong in a text that is no YAML, and on which line, counted from 1; `line` is where the parser gave up, and `said` are its
/// words. `None`: no slip that is known.
pub(super) fn slip(text: &str, line: usize, said: &str) -> Option<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    // What no person wrote has no slips, and looking takes time in proportion to the square of a line.
    if lines.len() > LINES_MAX || lines.iter().any(|line| line.len() > LINE_MAX) {
        return None;
    }
    let above = line.checked_sub(1)?;
    // The parser names the line whose value would go on behind the tab.
    let by_tab = |line: &&str| indentation(line).contains('\t') && is_of_content(line);
    let last = if said.contains("a tab") { lines.len() } else { line };
    if let Some(behind) = lines.get(above..last)?.iter().position(by_tab) {
        return Some((line + behind, "it is indented by a tab; YAML takes spaces alone".to_owned()));
    }
    slip_at(&lines, line, said).map(|what| (line, what))
}

/// What is wrong on a line, or on the one before.
fn slip_at(lines: &[&str], line: usize, said: &str) -> Option<String> {
    let here = *lines.get(line - 1)?;
    let before = lines[..line - 1].iter().rev().copied().find(|line| is_of_content(line));
    let unfinished = before.filter(|_| !is_of_content(here)).unwrap_or(here);
    if let Some(placeholder) = [here, before.unwrap_or("")].into_iter().find_map(bare_placeholder) {
        return Some(format!(
            "{placeholder} stands here without quotes; write the value between quotes: \"...{placeholder}...\""
        ));
    }
    if said.contains("escape") {
        return Some("a `\\` between double quotes begins an escape; write the value between single quotes".to_owned());
    }
    if said.starts_with("comments must") {
        return Some("a comment needs a space before its `#`".to_owned());
    }
    if let Some(how) = behind_quote(here) {
        return Some(how.to_owned());
    }
    if said.contains("quoted scalar") || has_open_quote(unfinished) {
        return Some("a quote is opened and not closed; end the value by the same quote".to_owned());
    }
    if let Some(which) = [("it", here), ("the line before", before.unwrap_or(""))]
        .into_iter()
        .find(|(_, line)| is_item_without_space(line))
    {
        return Some(format!("{} has no space behind the `-` of a list; write `- `", which.0));
    }
    if let Some(first) = value(here).and_then(|value| value.chars().next()).filter(|first| "@`%*&!|>".contains(*first))
    {
        return Some(format!("a value that begins with `{first}` needs quotes: '{first}...'"));
    }
    if let Some((bracket, other)) = open_bracket(lines) {
        return Some(format!(
            "a `{bracket}` on line {} has no `{other}`; close it, or write text between quotes",
            bracket_line(lines, bracket)
        ));
    }
    if (said.contains("simple key") || said.contains("mapping values")) && before.is_some_and(|before| !is_pair(before))
    {
        return Some("the line before is no `KEY: VALUE`; write a `:` and a space behind the key".to_owned());
    }
    if let Some(before) = before
        && let Some(how) = misplaced(here, before, &lines[..line - 1])
    {
        return Some(how);
    }
    if value(here).is_some_and(|value| value.contains(": ") || value.ends_with(':')) {
        return Some("a value with a `:` and a space in it needs quotes: \"...\"".to_owned());
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

/// How to write a value that goes on behind the quote that ends it.
fn behind_quote(line: &str) -> Option<&'static str> {
    let goes_on = |(at, quote): (usize, char)| {
        let rest = line[at + 1..].trim();
        let ends = rest.is_empty() || rest.starts_with([',', ']', '}', '#']) || rest == ":" || rest.starts_with(": ");
        // Two single quotes between such stand for one.
        let is_closing = quote_at(line, at) == Some(quote) && quote_at(line, at + 1).is_none();
        (is_closing && !ends && !rest.starts_with('\'')).then_some((quote, rest))
    };
    let (quote, rest) = line.char_indices().filter(|(_, sign)| "\"'".contains(*sign)).find_map(goes_on)?;
    Some(if rest.ends_with(quote) {
        "the value holds the quote that is around it; write it between the other kind of quotes"
    } else {
        "text stands behind the quote that ends the value; write quotes around all of it, or none"
    })
}

/// Whether a line could be one of a section: `KEY: VALUE`, or an item of a list.
fn is_pair(line: &str) -> bool {
    let line = line.trim();
    line.contains(": ") || line.ends_with(':') || line.starts_with("- ")
}

/// Whether a line was to be the first of a list's item.
fn is_item_without_space(line: &str) -> bool {
    let item = line.trim_start().strip_prefix('-');
    item.is_some_and(|item| item.starts_with(|sign: char| sign.is_alphabetic()) && item.contains(':'))
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
}
