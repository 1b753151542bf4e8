//! The YAML text as a tree whose every node knows its line.
//!
//! `serde_yaml` tells lines only of what it refuses, and it refuses at the first problem; so the structure comes from
//! the events of `saphyr-parser`, and `serde_yaml` reads the leaves: it decides what is a number, a truth value or
//! text. A test holds the two together over the shipped file.
//!
//! The tree is at most [`DEPTH_MAX`] levels high, aliases included, so walking and dropping it cannot overflow the stack.
//! An alias shares its anchor's node, so a few lines cannot grow into gigabytes; and it has at most [`NODES_MAX`] nodes,
//! aliases included, so walking it takes no time either.

use super::odd::Odd;
use super::problem::Problem;
use super::slips;
use crate::foreign;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};
use std::collections::HashMap;
use std::rc::Rc;

/// Our own schema is four levels high.
pub(super) const DEPTH_MAX: usize = 32;

/// Nodes of a document, those counted again that an alias repeats. A hundred times what our schema has.
const NODES_MAX: usize = 50_000;

/// The longest piece of the user's text that a problem repeats, in characters.
const ECHO_MAX: usize = 60;

/// What is replaced in text.
pub(super) const PLACEHOLDERS: [&str; 3] = ["{device}", "{source}", "{stream}"];

#[derive(Debug)]
pub(super) struct Node {
    /// Counted from 1.
    pub line: usize,
    pub content: Content,
    /// What stands before it, or in its place, that is no value.
    pub odd: Option<Odd>,
    /// Levels below and including this one.
    height: usize,
    /// Nodes below and including this one.
    count: usize,
}

#[derive(Debug)]
pub(super) enum Content {
    Scalar { text: String, value: Scalar },
    List(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    /// As written; `None`: the key is a list or a mapping.
    pub key: Option<String>,
    pub line: usize,
    pub node: Rc<Node>,
}

/// What `serde_yaml` makes of a leaf.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Nothing,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text,
}

impl Node {
    pub fn is_nothing(&self) -> bool {
        matches!(self.content, Content::Scalar { value: Scalar::Nothing, .. })
    }

    /// A leaf as it would be without quotes, for people put them around numbers and truth values as well.
    pub fn unquoted(&self) -> Option<(&str, Scalar)> {
        match &self.content {
            Content::Scalar { text, value: Scalar::Text } => {
                let text = text.trim();
                // What is more than one word is no number, whatever YAML would make of the words.
                let value = if text.contains(char::is_whitespace) { Scalar::Text } else { plain(text) };
                Some((text, value))
            }
            Content::Scalar { text, value } => Some((text, value.clone())),
            Content::List(_) | Content::Mapping(_) => None,
        }
    }

    /// The placeholder that stands here without quotes, which YAML takes for a mapping.
    fn bare_placeholder(&self) -> Option<&'static str> {
        let Content::Mapping(entries) = &self.content else { return None };
        let [Entry { key: Some(key), node, .. }] = &entries[..] else { return None };
        let is_it = |placeholder: &&str| placeholder.trim_matches(['{', '}']) == key && node.is_nothing();
        PLACEHOLDERS.into_iter().find(is_it)
    }

    /// The node in the words of a problem.
    pub fn found(&self) -> String {
        if let Some(placeholder) = self.bare_placeholder() {
            return format!("`{placeholder}` without quotes, which is a mapping in YAML; write \"{placeholder}\"");
        }
        match &self.content {
            Content::Scalar { value: Scalar::Nothing, .. } => "nothing".to_owned(),
            Content::Scalar { text, .. } => echo(text),
            Content::List(_) => "a list".to_owned(),
            Content::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

/// The user's own text between backquotes, short and without control characters.
pub(super) fn echo(text: &str) -> String {
    match foreign::secret_at(text) {
        Some(_) => printable(text),
        None => format!("`{}`", printable(text)),
    }
}

/// The text without what could disturb a terminal, fill a screen, or give away a password that was put in an address.
pub(super) fn printable(text: &str) -> String {
    foreign::shortened(text, ECHO_MAX)
}

/// Reads the first document of `text`, and all that is wrong with the document as YAML.
pub(super) fn grow(text: &str) -> Result<(Rc<Node>, Vec<Problem>), Problem> {
    if let Some(at) = text.find('\0') {
        let line = text[..at].matches('\n').count() + 1;
        let what = "the file holds NULs from here on, as a power cut leaves them; delete them, or write the file anew";
        return Err(problem(line, what.to_owned()));
    }
    let mut tree = Tree { lines: text.lines().collect(), ..Tree::default() };
    // The parser places an empty last value behind the last line, and counts a lone carriage return as a line end.
    let last = text.lines().count().max(1);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| not_yaml(text, &error, last))?;
        let line = span.start.line().clamp(1, last);
        if !tree.accept(event, line, span)? {
            break;
        }
    }
    let root = tree.root.ok_or_else(empty)?;
    Ok((root, tree.problems))
}

/// What is said of a file that holds nothing.
pub(super) fn empty() -> Problem {
    problem(1, "the file is empty; at least `broker.url` must be given".to_owned())
}

fn not_yaml(text: &str, error: &ScanError, last: usize) -> Problem {
    let mark = error.marker();
    let line = mark.line().clamp(1, last);
    match slips::slip(text, line, error.info()) {
        Some((place, what)) if place != line => problem(place, format!("not valid YAML: {what}")),
        slip => {
            let what = slip.map_or_else(|| slips::unknown(&foreign::shown(error.info())), |(_, what)| what);
            problem(line, format!("column {}: not valid YAML: {what}", mark.col() + 1))
        }
    }
}

fn problem(line: usize, message: String) -> Problem {
    Problem { line: Some(line), key: String::new(), message }
}

/// A list or a mapping whose end has not come yet.
struct Open {
    line: usize,
    odd: Option<Odd>,
    anchor: usize,
    /// Nodes so far, this one included.
    count: usize,
    children: Children,
}

enum Children {
    List(Vec<Rc<Node>>),
    /// The key that waits for its value, after the finished entries.
    Mapping(Vec<Entry>, Option<(Option<String>, usize)>),
}

#[derive(Default)]
struct Tree<'a> {
    lines: Vec<&'a str>,
    /// Where the last leaf ends, which may be a key.
    end: Marker,
    open: Vec<Open>,
    /// By the parser's number, which counts from 1.
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    problems: Vec<Problem>,
}

impl Tree<'_> {
    /// Returns whether the next event is wanted.
    fn accept(&mut self, event: Event<'_>, line: usize, span: Span) -> Result<bool, Problem> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "a second YAML document begins here; a configuration is one document";
                self.problems.push(problem(line, message.to_owned()));
                return Ok(false);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor) else {
                    return Err(problem(line, "the alias stands inside what it refers to".to_owned()));
                };
                let node = Rc::clone(target);
                self.attach(node)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = if style == ScalarStyle::Plain { plain(&text) } else { Scalar::Text };
                let is_left_out = text.is_empty() && style == ScalarStyle::Plain;
                let odd = if is_left_out {
                    Odd::in_place_of_a_value(tag.is_some(), anchor != 0, || self.behind_the_key())
                } else {
                    tag.map(|_| Odd::Tagged)
                };
                let content = Content::Scalar { text: text.into_owned(), value };
                self.end = span.end;
                self.finish(Node { line, content, odd, height: 1, count: 1 }, anchor)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(Open {
                    line,
                    odd: tag.map(|_| Odd::Tagged),
                    anchor,
                    count: 1,
                    children: Children::List(Vec::new()),
                })?;
            }
            Event::MappingStart(anchor, tag) => {
                let children = Children::Mapping(Vec::new(), None);
                self.begin(Open { line, odd: tag.map(|_| Odd::Tagged), anchor, count: 1, children })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                // The parser pairs beginnings and ends.
                let Some(Open { line, odd, anchor, count, children }) = self.open.pop() else { return Ok(true) };
                let (content, height) = match children {
                    Children::List(items) => {
                        let height = items.iter().map(|item| item.height).max();
                        (Content::List(items), height)
                    }
                    Children::Mapping(entries, _) => {
                        let height = entries.iter().map(|entry| entry.node.height).max();
                        (Content::Mapping(entries), height)
                    }
                };
                self.finish(Node { line, content, odd, height: 1 + height.unwrap_or(0), count }, anchor)?;
            }
        }
        Ok(true)
    }

    /// The line of the key whose value comes next, from the key's end; empty for an item of a list.
    fn behind_the_key(&self) -> &str {
        let Some(Children::Mapping(_, Some(_))) = self.open.last().map(|open| &open.children) else { return "" };
        let line = self.end.line().checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or("");
        line.char_indices().nth(self.end.col()).map_or("", |(at, _)| &line[at..])
    }

    fn begin(&mut self, open: Open) -> Result<(), Problem> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(open.line));
        }
        self.open.push(open);
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node)
    }

    fn attach(&mut self, node: Rc<Node>) -> Result<(), Problem> {
        if self.open.len() + node.height > DEPTH_MAX + 1 {
            return Err(too_deep(node.line));
        }
        if let Some(open) = self.open.last_mut() {
            open.count += node.count;
            if open.count > NODES_MAX {
                return Err(problem(
                    node.line,
                    format!("the file holds too much; at most {NODES_MAX} keys and values are read"),
                ));
            }
        }
        match self.open.last_mut().map(|open| &mut open.children) {
            None => self.root = Some(node),
            Some(Children::List(items)) => items.push(node),
            Some(Children::Mapping(entries, waiting)) => match waiting.take() {
                Some((key, line)) => entries.push(Entry { key, line, node }),
                None => {
                    let key = match &node.content {
                        Content::Scalar { text, .. } => Some(text.clone()),
                        Content::List(_) | Content::Mapping(_) => None,
                    };
                    *waiting = Some((key, node.line));
                }
            },
        }
        Ok(())
    }
}

fn too_deep(line: usize) -> Problem {
    problem(line, format!("lists and mappings are nested too deeply; at most {DEPTH_MAX} levels are read"))
}

/// Lets `serde_yaml` say what an unquoted scalar is.
fn plain(text: &str) -> Scalar {
    // A scalar over several lines is text in every schema; alone it would be read as something else.
    if text.contains('\n') {
        return Scalar::Text;
    }
    // A word is text but for three, and most values are words: asking takes a thousand times as long.
    let is_special = ["null", "true", "false"].iter().any(|word| word.eq_ignore_ascii_case(text));
    if text.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_special {
        return Scalar::Text;
    }
    // As an item of a list, for at the beginning of a document `---` and `%` would have a meaning of their own.
    match serde_yaml::from_str::<[serde_yaml::Value; 1]>(&format!("- {text}")) {
        Ok([serde_yaml::Value::Null]) => Scalar::Nothing,
        Ok([serde_yaml::Value::Bool(value)]) => Scalar::Bool(value),
        Ok([serde_yaml::Value::Number(number)]) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .map(Scalar::Integer)
            .or_else(|| number.as_f64().map(Scalar::Float))
            .unwrap_or(Scalar::Text),
        _ => Scalar::Text,
    }
}
