//! What stands where a value is expected and is none to YAML: a tag, an anchor, a comment. Pure.
//!
//! YAML takes `device: &gw`, `device: !gw` and `device: #7` for a device that is left out. Who wrote them meant text.

/// What stands before a value, or in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// A tag, `!!int` or `!secret`, before a value.
    Tagged,
    /// A tag, and no value.
    Tag,
    /// An anchor, and no value.
    Anchor,
    /// What looks like a value, and begins a comment.
    Comment,
}

impl Odd {
    /// What a value that is left out has in its place; `rest` gives the line of its key from the key's end.
    pub fn in_place_of_a_value<'a>(has_tag: bool, has_anchor: bool, rest: impl FnOnce() -> &'a str) -> Option<Odd> {
        match (has_tag, has_anchor) {
            (true, _) => Some(Odd::Tag),
            (false, true) => Some(Odd::Anchor),
            (false, false) => is_value_behind_a_hash(rest()).then_some(Odd::Comment),
        }
    }

    /// What to tell of it, and how to write it.
    pub fn message(self) -> &'static str {
        match self {
            Odd::Tagged => "carries a YAML tag (`!...`); write the value without, or between quotes: '!...'",
            Odd::Tag => "holds nothing, for a `!` begins a YAML tag; write the value between quotes: '!...'",
            Odd::Anchor => "holds nothing, for a `&` begins a YAML anchor; write the value between quotes: '&...'",
            Odd::Comment => {
                "holds nothing, for a `#` behind a space begins a comment; write the value between quotes: '#...', or a \
                 space behind the `#` of a comment"
            }
        }
    }
}

/// Whether `: #7` was meant for a value: one word without a space behind the `#`, or one that begins with a digit. What
/// has more words is a comment, and so is a line of `#####`.
fn is_value_behind_a_hash(rest: &str) -> bool {
    let comment = rest.trim_start_matches(['"', '\'']).strip_prefix(':').map(str::trim_start);
    let Some(comment) = comment.and_then(|rest| rest.strip_prefix('#')) else { return false };
    let value = comment.split(" #").next().unwrap_or(comment).trim_end();
    let is_word = value.starts_with(|sign: char| sign.is_alphanumeric() || "/{$%.".contains(sign));
    is_word && (!value.contains(char::is_whitespace) || value.starts_with(|sign: char| sign.is_ascii_digit()))
}
