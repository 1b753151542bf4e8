//! The list of sources: the keys that every source has, and those of each type.

use super::azure::Hub;
use super::profile::Rules;
use super::read::{MILLISECOND, SECOND, format, interval, qos};
use super::section::{Role, Section};
use super::tree::{Content, Node, echo};
use super::value::{self, LONGEST, Reading, Refusal};
use super::{ReadAs, Source, SourceKind};
use crate::message::{Format, Qos};
use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

/// What a source takes from around it where it has no value of its own.
pub(super) struct Inherited<'a> {
    pub device: &'a str,
    pub interval: Duration,
    /// With its placeholders.
    pub topic: &'a str,
    pub qos: Qos,
    pub format: Format,
    pub hub: &'a Hub,
    /// What the broker is known to refuse.
    pub rules: &'a Rules,
    /// The status message's topic.
    pub status: Option<&'a str>,
    /// Bytes that topics may still have, of [`TOPICS_MAX`].
    pub room: Cell<usize>,
}

impl Inherited<'_> {
    /// The topic, where there is room for it beside the others.
    fn admit(&self, topic: String) -> Reading<String> {
        match self.room.get().checked_sub(topic.len()) {
            None => value::because(format!(
                "is too much beside the other topics; all of them have at most {TOPICS_MAX} bytes"
            )),
            Some(left) => {
                self.room.set(left);
                Ok(topic)
            }
        }
    }
}

/// The `type` of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    System,
    File,
    Simulated,
}

const TYPES: [(&str, Type); 3] = [("system", Type::System), ("file", Type::File), ("simulated", Type::Simulated)];

/// Types that the README announces.
const TYPES_TO_COME: [&str; 1] = ["command"];

/// Sources of a device. A gateway has some dozens.
const SOURCES_MAX: usize = 1000;

/// Bytes of all their topics, for placeholders can make a few bytes many.
pub(super) const TOPICS_MAX: usize = 1024 * 1024;

pub(super) fn sources(telemetry: &mut Section<'_>, inherited: &Inherited<'_>) -> Vec<Source> {
    let (mut names, mut topics): (HashMap<String, usize>, Topics) = (HashMap::new(), HashMap::new());
    let given = telemetry.list("sources", SOURCES_MAX, |section| {
        let source = source(section, inherited);
        let line = section.line();
        if !source.name.is_empty() {
            if let Some(earlier) = names.get(&source.name) {
                let message = format!("is the name of another source already, on line {earlier}; each needs its own");
                section.problem("name", message);
            } else {
                names.insert(source.name.clone(), line);
            }
            look_at_topic(section, inherited, &source, &mut topics);
        }
        source
    });
    match given {
        Some(sources) => {
            if sources.is_empty() {
                telemetry
                    .problem("sources", "has no source; allowed: at least one, such as `{name: board, type: system}`");
            }
            sources
        }
        None => {
            let board = board(inherited);
            if inherited.status == Some(&*board.topic) {
                telemetry.problem("topic", ON_STATUS);
            }
            vec![board]
        }
    }
}

const ON_STATUS: &str = "is that of the status message, which is retained there; give it a topic of its own";

/// The topics of the sources so far: the name and the line of the first one, and how many have it.
type Topics = HashMap<String, (String, usize, usize)>;

/// Messages of one topic that are not of one kind.
fn look_at_topic(section: &mut Section<'_>, inherited: &Inherited<'_>, source: &Source, topics: &mut Topics) {
    if inherited.status == Some(&*source.topic) {
        section.problem("topic", ON_STATUS);
    }
    let (first, line, count) =
        topics.entry(source.topic.clone()).or_insert_with(|| (source.name.clone(), section.line(), 0));
    *count += 1;
    // Once for each topic. With an IoT hub there is no other one.
    if *count == 2 && !source.topic.is_empty() && !inherited.hub.is_wanted() {
        let message =
            format!("is that of source {} on line {line} as well: only the payload tells them apart", echo(first));
        section.warning("topic", message);
    }
}

/// The source of a configuration that names none.
fn board(inherited: &Inherited<'_>) -> Source {
    let name = "board".to_owned();
    Source {
        // A topic that cannot be filled in has been reported where it stands.
        topic: fill_in(inherited.topic, inherited.device, &name).unwrap_or_default(),
        name,
        kind: SourceKind::System,
        interval: inherited.interval,
        timeout: timeout(inherited.interval),
        qos: inherited.qos,
        retain: false,
        format: inherited.format,
        expiry: None,
    }
}

/// The patience with a reading of a source that does not say: its interval. No more than ten seconds, for who has a slow
/// sensor knows it, and no less than a tenth of one, for a machine that is busy is no sensor that hangs.
fn timeout(interval: Duration) -> Duration {
    interval.clamp(100 * MILLISECOND, 10 * SECOND)
}

fn source(section: &mut Section<'_>, inherited: &Inherited<'_>) -> Source {
    let name = section.value("name", |node| {
        let name = value::text(node)?;
        value::name(&name).map(|()| name)
    });
    section.missing("name", "give the source a name of its own, such as `board`");
    let name = name.unwrap_or_default();
    let kind = kind(section);
    let interval = section.value("interval", interval).unwrap_or(inherited.interval);
    let own_timeout = section.optional("timeout", |node| value::duration(node, MILLISECOND..=LONGEST));
    let own_topic = section.value("topic", |node| {
        let written = value::text(node)?;
        let topic = inherited.admit(fill_in(&written, inherited.device, &name)?)?;
        value::topic(&topic, &written).map(|()| topic)
    });
    let own_topic =
        own_topic.and_then(|own| inherited.hub.settle(section, "topic", Some(own), |device| device.topic(&[])));
    let topic = own_topic.unwrap_or_else(|| inherited_topic(section, inherited, &name));
    let own_qos = section.value("qos", qos);
    inherited.rules.check_qos(section, own_qos);
    let retain = section.value("retain", value::truth).unwrap_or(false);
    inherited.hub.has_no(section, "retain", retain, "the hub retains no messages");
    Source {
        topic,
        kind,
        interval,
        timeout: own_timeout.unwrap_or(timeout(interval)),
        qos: own_qos.unwrap_or(inherited.qos),
        retain,
        format: section.value("format", format).unwrap_or(inherited.format),
        expiry: section.optional("expiry", |node| value::whole_seconds(node, Duration::from_secs(1)..=LONGEST)),
        name,
    }
}

/// The common topic with the names filled in. A name can still make it too long.
fn inherited_topic(section: &mut Section<'_>, inherited: &Inherited<'_>, name: &str) -> String {
    let topic = fill_in(inherited.topic, inherited.device, name).and_then(|topic| inherited.admit(topic));
    if section.has("topic") || topic.as_ref().is_ok_and(String::is_empty) {
        return topic.unwrap_or_default();
    }
    let fits = topic.as_ref().map_err(Refusal::clone).and_then(|topic| value::topic(topic, inherited.topic));
    if let Err(Refusal::Because(why) | Refusal::Allowed(why)) = fits {
        section.problem("topic", format!("is taken from `telemetry.topic` and then {why}"));
    }
    topic.unwrap_or_default()
}

fn fill_in(topic: &str, device: &str, source: &str) -> Reading<String> {
    value::replace(topic, &[("device", device), ("source", source)])
}

fn kind(section: &mut Section<'_>) -> SourceKind {
    let kind = section.value("type", kind_word);
    section.missing("type", "allowed: `system`, `file`, `simulated`");
    let finite = |node: &Node| value::number(node, |_| true, "a number");
    let path = own(section, kind, Type::File, "path", value::path);
    let words = [("auto", ReadAs::Auto), ("number", ReadAs::Number), ("text", ReadAs::Text)];
    let read_as = own(section, kind, Type::File, "as", |node| value::choice(node, &words));
    let scale = own(section, kind, Type::File, "scale", finite);
    let offset = own(section, kind, Type::File, "offset", finite);
    let unit = own(section, kind, Type::File, "unit", value::text);
    let seed = own(section, kind, Type::Simulated, "seed", |node| value::integer(node, 0..=u64::MAX));
    match kind {
        Some(Type::File) => {
            match &path {
                Some(path) => section.names("path", Role::SourceFile, path),
                None if section.has("path") => {}
                None => section.problem("path", "is missing; a source of type `file` reads the file of that name"),
            }
            let scales = scale.is_some_and(|scale| scale.to_bits() != 1.0f64.to_bits());
            if read_as == Some(ReadAs::Text) && (scales || offset.is_some_and(|offset| offset != 0.0)) {
                section.problem("as", "is `text`, which cannot be scaled; leave out `scale` and `offset`");
            }
            SourceKind::File {
                read_as: read_as.unwrap_or(ReadAs::Auto),
                path: path.unwrap_or_default(),
                scale: scale.unwrap_or(1.0),
                offset: offset.unwrap_or(0.0),
                unit,
            }
        }
        Some(Type::Simulated) => SourceKind::Simulated { seed },
        Some(Type::System) | None => SourceKind::System,
    }
}

fn kind_word(node: &Node) -> Reading<Type> {
    if let Content::Scalar { text, .. } = &node.content
        && TYPES_TO_COME.contains(&text.as_str())
    {
        let sentence = format!("`{text}` is not supported yet; allowed: `system`, `file`, `simulated`");
        return Err(Refusal::Because(sentence));
    }
    value::choice(node, &TYPES)
}

/// A key that only sources of the type `owner` have.
fn own<T>(
    section: &mut Section<'_>,
    kind: Option<Type>,
    owner: Type,
    key: &'static str,
    read: impl FnOnce(&Node) -> Reading<T>,
) -> Option<T> {
    let value = section.optional(key, read);
    match kind {
        Some(kind) if kind != owner && section.has(key) => {
            let word = |wanted| TYPES.iter().find(|(_, kind)| *kind == wanted).map_or("", |(word, _)| word);
            section.problem(key, format!("belongs to type `{}`; this source is of type `{}`", word(owner), word(kind)));
            None
        }
        _ => value,
    }
}
