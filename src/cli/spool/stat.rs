//! `packhorse spool stat`: what a spool holds, and in which state it is.

use super::progress::Progress;
use super::visit::{self, Look};
use super::{Failure, fail};
use crate::clock::{Clock, rfc3339};
use crate::config::Config;
use crate::delivery::Times;
use crate::foreign;
use crate::message::{Message, Route, Seq};
use crate::payload::Time;
use crate::spool::{self, Damage, Facts, Holder, Sight, View};
use bytesize::ByteSize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Sources and topics that are told apart; the rest is counted together.
const ROWS: usize = 1000;
/// Pieces of damage that are told; the rest is counted.
const PIECES: usize = 100;

/// Some of the messages.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    messages: u64,
    /// Of their records.
    bytes: u64,
}

/// What a look through the spool has found.
#[derive(Default)]
struct Found {
    all: Count,
    by_route: HashMap<Arc<Route>, Count>,
    others: Count,
    oldest: Option<(Seq, Time)>,
    newest: Option<(Seq, Time)>,
    damage: Vec<Damage>,
    pieces: usize,
    lost: u64,
}

/// Prints it.
///
/// # Errors
/// A folder that is not there or cannot be read.
pub fn run(config: &Config, json: bool) -> Result<(), Failure> {
    let directory = &config.spool.directory;
    let Look { mut view, facts, times } = visit::open(config)?;
    let found = look(&mut view, &facts, &times).map_err(|error| visit::refused(&error, directory))?;
    let rejected = spool::set_aside_files(directory)
        .map_err(|error| fail(format!("spool {}: {error}", foreign::path(&directory.join("rejected")))))?
        .len();
    let text = if json {
        format!("{}\n", object(config, &facts, &found, rejected))
    } else {
        text(config, &facts, &found, rejected)
    };
    crate::cli::print(&text)
}

fn look(view: &mut View, facts: &Facts, times: &Times) -> Result<Found, spool::OpenError> {
    let (mut found, mut progress) = (Found::default(), Progress::of(facts.waiting));
    loop {
        match view.look_on()? {
            Sight::End => return Ok(found),
            Sight::Damage(damage) => found.damaged(damage),
            Sight::Message(message) => {
                progress.step();
                found.message(&message, times);
            }
        }
    }
}

impl Count {
    fn add(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

impl Found {
    fn message(&mut self, message: &Message, times: &Times) {
        let bytes = spool::record_length(&message.sample);
        self.all.add(bytes);
        let seen = (message.seq, times.of(message.sample.taken));
        self.oldest.get_or_insert(seen);
        self.newest = Some(seen);
        let route = &message.sample.route;
        let has_room = self.by_route.len() < ROWS;
        match self.by_route.get_mut(route) {
            Some(count) => count.add(bytes),
            None if has_room => self.by_route.entry(Arc::clone(route)).or_default().add(bytes),
            None => self.others.add(bytes),
        }
    }

    fn damaged(&mut self, damage: Damage) {
        self.pieces += 1;
        self.lost += damage.lost_messages();
        if self.damage.len() < PIECES {
            self.damage.push(damage);
        }
    }

    /// In the order of their names.
    fn rows(&self) -> Vec<(&Route, Count)> {
        let mut rows: Vec<_> = self.by_route.iter().map(|(route, count)| (&**route, *count)).collect();
        rows.sort_by(|(one, _), (other, _)| {
            (&one.source, &one.topic, one.qos).cmp(&(&other.source, &other.topic, other.qos))
        });
        rows
    }
}

/// How old something is, where that is known.
fn age(time: Time) -> Option<Duration> {
    let passed = u64::try_from(Clock::new().read().wall.checked_sub(time.wall)?).ok()?;
    Some(Duration::from_secs(passed / 1000)).filter(|_| time.certain)
}

fn text(config: &Config, facts: &Facts, found: &Found, rejected: usize) -> String {
    let mut text = String::new();
    let mut row = |head: &str, rest: &str| {
        let _ = writeln!(text, "{head:<12} {rest}");
    };
    let directory = &config.spool.directory;
    row("folder", &foreign::path(directory));
    let stream = facts.stream.map_or("none yet".to_owned(), |stream| stream.to_string());
    row("stream", &format!("{stream}, format {}", facts.format));
    row("agent", &visit::caution(facts.holder).unwrap_or_else(|| "none uses this spool".to_owned()));
    let bytes = |bytes: u64| ByteSize::b(bytes).to_string();
    let room = bytes(config.spool.max_size);
    row("segments", &format!("{} files, {} (spool.max_size: {room})", facts.segments, bytes(facts.bytes)));
    row("waiting", &format!("{}, {}", super::counted(found.all.messages), bytes(found.all.bytes)));
    for (head, seen) in [("oldest", found.oldest), ("newest", found.newest)] {
        if let Some((seq, time)) = seen {
            let mark = if time.certain { "" } else { "~" };
            let age = age(time)
                .map_or("its age is not known".to_owned(), |age| format!("{} old", humantime::format_duration(age)));
            row(head, &format!("seq {seq}, {mark}{}, {age}", rfc3339(time.wall)));
        }
    }
    for (route, count) in found.rows() {
        let (source, topic) = (foreign::shown(&route.source), foreign::shown(&route.topic));
        row(
            "source",
            &format!(
                "{source} topic={topic} qos={} messages={} bytes={}",
                route.qos as u8, count.messages, count.bytes
            ),
        );
    }
    if found.others.messages > 0 {
        row("source", &format!("others messages={} bytes={}", found.others.messages, found.others.bytes));
    }
    row(
        "finished",
        &format!(
            "all below seq {}, {} above; the next message gets seq {}",
            facts.low, facts.finished_above, facts.next
        ),
    );
    let how = if rejected > 0 { " (`packhorse spool requeue` puts them back)" } else { "" };
    row("rejected", &format!("{}{how}", super::counted(rejected as u64)));
    row("copies", &format!("{} of damaged segments, {}", facts.copies.0, bytes(facts.copies.1)));
    if found.pieces == 0 {
        row("damage", "none");
    }
    found.damage.iter().for_each(|damage| row("damage", &visit::described(damage)));
    if found.pieces > 0 {
        row("damage", &format!("{} in all, {} lost", found.pieces, super::counted(found.lost)));
    }
    text
}

fn object(config: &Config, facts: &Facts, found: &Found, rejected: usize) -> Value {
    let seen = |seen: Option<(Seq, Time)>| {
        seen.map(|(seq, time)| {
            let age = age(time).map(|age| age.as_secs());
            json!({"seq": seq.0, "time": rfc3339(time.wall), "time_is_certain": time.certain, "age_s": age})
        })
    };
    let rows = found.rows().into_iter().map(|(route, count)| {
        let (source, topic) = (foreign::shown(&route.source), foreign::shown(&route.topic));
        json!({"source": source, "topic": topic, "qos": route.qos as u8, "messages": count.messages, "bytes": count.bytes})
    });
    let (holds, process) = match facts.holder {
        Holder::Nobody => (Some(false), None),
        Holder::Process(process) => (Some(true), Some(process)),
        Holder::Unknown => (None, None),
    };
    let path = |path: &Path| foreign::path(path);
    let damage = found.damage.iter().map(|damage| {
        let lost = damage.lost.as_ref().map(|lost| json!({"first": lost.start().0, "last": lost.end().0}));
        let file = damage.file.as_ref().map(|file| path(file));
        json!({"file": file, "at": damage.at, "bytes": damage.bytes, "lost": lost, "what": damage.what})
    });
    json!({
        "folder": path(&config.spool.directory),
        "stream": facts.stream.map(|stream| stream.to_string()),
        "format": facts.format,
        "agent": {"uses_it": holds, "pid": process},
        "may_be_outdated": facts.holder.may_write(),
        "segments": facts.segments,
        "bytes": facts.bytes,
        "max_size": config.spool.max_size,
        "waiting": {
            "messages": found.all.messages,
            "bytes": found.all.bytes,
            "oldest": seen(found.oldest),
            "newest": seen(found.newest),
            "by_source": rows.collect::<Vec<_>>(),
            "of_others": {"messages": found.others.messages, "bytes": found.others.bytes},
        },
        "finished": {"below_seq": facts.low.0, "above": facts.finished_above},
        "next_seq": facts.next.0,
        "journal_is_good": facts.has_journal,
        "rejected": rejected,
        "copies": {"files": facts.copies.0, "bytes": facts.copies.1},
        "damage": {"pieces": found.pieces, "messages_lost": found.lost, "places": damage.collect::<Vec<_>>()},
    })
}
