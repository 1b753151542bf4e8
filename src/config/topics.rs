//! Topics and what is put into them.

/// What `{…}` in a template stands for.
pub struct Placeholders<'a> {
    pub device: &'a str,
    /// `None` where there is no source to speak of.
    pub source: Option<&'a str>,
    pub stream: Stream,
}

/// Whether `{stream}` may be in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// It stays, for only the spool knows it.
    Kept,
    Unknown,
}

/// Replaces the placeholders of a template.
pub fn expand(template: &str, placeholders: &Placeholders<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, after)) = behind.split_once('}') else {
            return Err("has a `{` without a `}`".to_owned());
        };
        match (name, placeholders.source) {
            ("device", _) => text.push_str(placeholders.device),
            ("source", Some(source)) => text.push_str(source),
            ("stream", _) if placeholders.stream == Stream::Kept => text.push_str("{stream}"),
            _ => return Err(format!("`{{{name}}}` is unknown; allowed: {}", allowed(placeholders))),
        }
        rest = after;
    }
    Ok(text + rest)
}

fn allowed(placeholders: &Placeholders<'_>) -> String {
    let mut allowed = vec!["{device}"];
    allowed.extend(placeholders.source.map(|_| "{source}"));
    allowed.extend((placeholders.stream == Stream::Kept).then_some("{stream}"));
    allowed.join(", ")
}

/// A source's topic.
pub fn topic(template: &str, device: &str, source: &str) -> Result<String, String> {
    expand(template, &Placeholders { device, source: Some(source), stream: Stream::Unknown }).and_then(check_topic)
}

/// Whether a topic may be published to (MQTT 5, section 4.7).
pub fn check_topic(topic: String) -> Result<String, String> {
    if topic.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if topic.contains(['+', '#']) {
        return Err("must not have `+` or `#` in it: these are for subscriptions".to_owned());
    }
    if topic.chars().any(char::is_control) {
        return Err("must not have control characters in it".to_owned());
    }
    if topic.len() > usize::from(u16::MAX) {
        return Err(format!("must be at most {} bytes", u16::MAX));
    }
    Ok(topic)
}

/// Whether a name may stand as one level of a topic.
pub fn check_level(name: &str) -> Result<(), String> {
    let fits = !name.is_empty() && name.len() <= 1024;
    if fits && !name.contains(['/', '+', '#', '{', '}']) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err("must be 1 to 1024 bytes without / + # { } and control characters, for it stands in topics".to_owned())
}
