//! Common slips in YAML: what is wrong at the place where the parser gave up, and how to write it. Pure.
//!
//! Nothing of the file is repeated but our own placeholders: what breaks the YAML may be a secret in a wrong place.

use super::tree::{DEPTH_MAX, PLACEHOLDERS};
use super::{hints, indentation};
use crate::foreign;

/// Lines of a file, and bytes of a line, that slips are looked for in.
const LINES_MAX: usize = 2000;
const LINE_MAX: usize = 500;

/// What is wrong in a text that is no YAML, and on which line, counted from 1; `line` is where the parser gave up, and `said` are its
/// words. `None`: no slip that is known.
pub(super) fn slip(text: &str, line: usize, said: &str) -> Option<(usize, String)> {
    if said.contains("recursion limit") {
        return Some((
            line,
            format!("lists and mappings are nested too deeply; at most {DEPTH_MAX} levels are read; delete brackets"),
        ));
    }
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
    let place = Place { lines, here, before: before.unwrap_or(""), said };
    place.signs().or_else(|| place.quotes()).or_else(|| place.brackets()).or_else(|| place.pairs(line))
}

/// Where the parser gave up.
struct Place<'a> {
    lines: &'a [&'a str],
    here: &'a str,
    /// The last line before that has more than space and a comment; empty where there is none.
    before: &'a str,
    /// The parser's words.
    said: &'a str,
}

impl Place<'_> {
    /// The line that has this, as a subject.
    fn which(&self, is_it: impl Fn(&str) -> bool) -> Option<&'static str> {
        [("it", self.here), ("the line before", self.before)]
            .into_iter()
            .find(|(_, line)| is_it(line))
            .map(|(which, _)| which)
    }

    /// Signs that have no place where they stand.
    fn signs(&self) -> Option<String> {
        if let Some(placeholder) = [self.here, self.before].into_iter().find_map(bare_placeholder) {
            return Some(format!(
                "{placeholder} stands here without quotes; write the value between quotes: \"...{placeholder}...\""
            ));
        }
        if let Some(which) =
            self.which(|line| ["<<<<<<< ", "=======", ">>>>>>> "].iter().any(|mark| line.starts_with(mark)))
        {
            return Some(format!("{which} is the mark of a merge that was not finished; keep one of the two versions"));
        }
        if let Some(which) = self.which(|line| line.contains('\u{feff}')) {
            return Some(format!("{which} holds a byte order mark (U+FEFF), which nobody sees; type the line anew"));
        }
        if let Some(sign) =
            [self.here, self.before].into_iter().filter(|line| !is_pair(line)).find_map(hints::odd_colon)
        {
            return Some(format!(
                "`{sign}` (U+{:04X}) is no colon to YAML; write `:` and a space behind the key",
                u32::from(sign)
            ));
        }
        if let Some((which, sign)) = [("its", self.here), ("the line before's", self.before)]
            .into_iter()
            .find_map(|(which, line)| behind_colon(line).map(|sign| (which, sign)))
        {
            let sign = if sign == '\t' { "a tab".to_owned() } else { format!("U+{:04X}", u32::from(sign)) };
            return Some(format!("{sign} stands behind {which} `:`, which is no space; type a space there"));
        }
        if self.here.starts_with('%') || self.said.contains("directive") || self.said.contains("<document start>") {
            return Some("a line that begins with `%` is a directive to YAML; write `KEY: VALUE` there".to_owned());
        }
        None
    }

    /// Quotes, and what needs them.
    fn quotes(&self) -> Option<String> {
        let (here, said) = (self.here, self.said);
        let unfinished = if is_of_content(here) { here } else { self.before };
        if said.contains("escape") || said.contains("hexadecimal") {
            return Some(
                "a `\\` between double quotes begins an escape; write the value between single quotes".to_owned(),
            );
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
        if let Some(which) = self.which(is_item_without_space) {
            return Some(format!("{which} has no space behind the `-` of a list; write `- `"));
        }
        let value = value(here)?;
        if value.starts_with("- ") && here.contains(": - ") {
            return Some(
                "a list begins on the line below its key; text that begins with `-` needs quotes: '- ...'".to_owned(),
            );
        }
        let first = value.chars().next().filter(|first| "@`%*&!|>,".contains(*first))?;
        let shown = if first == '`' { "a backtick".to_owned() } else { format!("`{first}`") };
        Some(format!("a value that begins with {shown} needs quotes: '{first}...'"))
    }

    /// Brackets of lists and mappings on one line.
    fn brackets(&self) -> Option<String> {
        let above = &self.lines[..self.lines.iter().position(|line| std::ptr::eq(*line, self.here))? + 1];
        if let Some((bracket, other)) = closed_too_often(above) {
            return Some(format!("a `{bracket}` has no `{other}` before it; delete it, or write text between quotes"));
        }
        if let Some((bracket, other)) = open_bracket(self.lines) {
            return Some(format!(
                "a `{bracket}` on line {} has no `{other}`; close it, or write text between quotes",
                bracket_line(self.lines, bracket)
            ));
        }
        if value(self.here).is_some_and(is_bracketed_with_more) {
            return Some("text stands behind the bracket that ends a list or a mapping; delete it, or write quotes around all of it".to_owned());
        }
        if self.said.contains("indentation") {
            return Some("what stands in brackets goes on here; indent it deeper than its key".to_owned());
        }
        if self.said.contains("flow") {
            let how = "write a `,` between two keys, as in `{name: a, type: b}`, and quotes around a value with a `:` and a space in it";
            return Some(format!("a comma is missing between the brackets; {how}"));
        }
        None
    }

    /// Lines that are no `KEY: VALUE`, or stand in the wrong column.
    fn pairs(&self, line: usize) -> Option<String> {
        let (here, said) = (self.here, self.said);
        let is_about_keys = said.contains("simple key") || said.contains("mapping values");
        if is_about_keys && !self.before.is_empty() && !is_pair(self.before) {
            return Some("the line before is no `KEY: VALUE`; write a `:` and a space behind the key".to_owned());
        }
        if let Some(how) = indentation::misplaced(&self.lines[..line]) {
            return Some(how);
        }
        if value(here).is_some_and(|value| value.contains(": ") || value.ends_with(':')) {
            return Some("a value with a `:` and a space in it needs quotes: \"...\"".to_owned());
        }
        if !here.contains(':')
            || here.split_once(':').is_some_and(|(_, rest)| !rest.is_empty() && !rest.starts_with(' '))
        {
            return Some("it is no `KEY: VALUE`; write a `:` and a space behind the key".to_owned());
        }
        None
    }
}

/// What is told of a slip that is not known; `said`: the parser's words.
pub(super) fn unknown(said: &str) -> String {
    format!(
        "YAML ends here ({said}); write `KEY: VALUE` on lines of their own, keys of one section in the same column, and quotes \
         around text with signs such as `: # , [ ] {{ }}`"
    )
}

/// The sign behind a line's first `:` that looks like a space and is none.
fn behind_colon(line: &str) -> Option<char> {
    let sign = line.split_once(':')?.1.chars().next()?;
    let is_odd = sign == '\t' || (sign.is_whitespace() && !sign.is_ascii()) || foreign::is_invisible(sign);
    is_odd.then_some(sign)
}

/// Whether a value is a list or a mapping in brackets with more behind it: `[mqtt://h](mqtt://h)`.
fn is_bracketed_with_more(value: &str) -> bool {
    let mut depth = 0_usize;
    for (at, sign) in value.char_indices().filter(|(at, _)| quote_at(value, *at).is_none()) {
        match sign {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let rest = value[at + sign.len_utf8()..].trim_start();
            return at > 0 && !rest.is_empty() && !rest.starts_with('#');
        }
    }
    false
}

/// A bracket that is closed more often than opened, and its other half.
fn closed_too_often(lines: &[&str]) -> Option<(char, char)> {
    [('}', '{'), (']', '[')].into_iter().find(|(close, open)| {
        let count = |wanted| lines.iter().map(|line| brackets(line, wanted)).sum::<usize>();
        count(*close) > count(*open)
    })
}

/// Whether a line has more than space and a comment.
pub(super) fn is_of_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

pub(super) fn indentation(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
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
pub(super) fn is_pair(line: &str) -> bool {
    let line = line.trim();
    line.contains(": ") || line.ends_with(':') || line.starts_with("- ")
}

/// Whether a line was to be the first of a list's item.
fn is_item_without_space(line: &str) -> bool {
    let item = line.trim_start().strip_prefix('-');
    let begins = |sign: char| sign.is_alphabetic() || "{[\"'".contains(sign);
    item.is_some_and(|item| item.starts_with(begins) && item.contains(':'))
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
