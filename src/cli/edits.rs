//! Notices edits of the configuration file while the agent runs, and judges them.
//!
//! A judgement has a thread of its own ([`super::judgement`]): the file that it hangs in holds up nobody else.
//!
//! The host's name belongs to it where no device is named: it may be set after the start.
//!
//! Guarantees that only what `packhorse check` finds no problem in is applied, and nothing that an editor is still
//! writing. It goes by the file's content alone: its time is worth nothing where no clock is set.

use super::judgement::{self, Answer, Judge, Judgement};
use crate::agent::Edit;
use crate::config::{self, Config, Problem, Problems};
use crate::foreign;
use log::{error, info, warn};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the file is read.
const LOOK: Duration = Duration::from_secs(5);

/// For how long a file has to be as it is: an editor may write it in pieces.
const SETTLED: Duration = Duration::from_secs(1);

/// How often a judgement that takes its time is asked for.
const ASK: Duration = Duration::from_millis(500);

/// What a configuration follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What is in the file.
    pub content: Vec<u8>,
    pub host_name: Option<String>,
}

/// The configuration file, and what of it is applied.
#[derive(Debug)]
pub struct Edits {
    path: PathBuf,
    applied: Config,
    /// What `applied` follows from.
    text: Text,
    /// What else was there at the last look.
    seen: Option<Result<Text, String>>,
    judge: Judge,
    /// The judgement of what was seen, once it was begun.
    judgement: Option<Judgement>,
    /// What was last said to be wrong with the file.
    said: Option<Problems>,
    next: Instant,
    /// Somebody waits for an answer.
    asked: bool,
}

impl Edits {
    /// `applied` is what follows from `text`, which the file `path` held.
    pub fn new(path: &Path, text: Text, applied: Config, now: Instant) -> Self {
        let (path, judge) = (path.to_owned(), Judge::new(path));
        Self { path, applied, text, seen: None, judge, judgement: None, said: None, next: now + LOOK, asked: false }
    }

    /// When to look next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Has the next look be at once, and tell what it finds in any case. Who asks has finished writing.
    pub fn ask(&mut self, now: Instant) {
        (self.next, self.asked) = (now, true);
    }

    /// Looks whether the file was edited, when that is due; what follows from it.
    pub fn look(&mut self, now: Instant) -> Option<Edit> {
        if now < self.next {
            return None;
        }
        self.next = now + LOOK;
        let text = |content| Text { content, host_name: config::host_name() };
        let present = config::bytes(&self.path).map(text).map_err(|error| error.to_string());
        if present.as_ref() == Ok(&self.text) {
            (self.seen, self.judgement) = (None, None);
            return self.say(None);
        }
        if self.seen.as_ref() != Some(&present) {
            (self.seen, self.judgement) = (Some(present.clone()), None);
            if !self.asked {
                self.next = now + SETTLED;
                return None;
            }
        }
        let text = match present {
            Ok(text) => text,
            Err(error) => return self.say(Some(judgement::of_file(&self.path, error))),
        };
        match self.judge(&text.content, now) {
            Answer::Pending => {
                self.next = now + ASK;
                None
            }
            Answer::Late(problems) | Answer::Given(Err(problems)) => self.say(Some(problems)),
            Answer::Given(Ok((config, warnings))) => self.accept(text, config, &warnings),
        }
    }

    /// Goes by what was judged to be right.
    fn accept(&mut self, text: Text, config: Box<Config>, warnings: &[Problem]) -> Option<Edit> {
        let former = std::mem::replace(&mut self.text, text);
        let (was_edited, changes_nothing) = (former.content != self.text.content, *config == self.applied);
        self.seen = None;
        // Who asks has the answer in the line below, but where there is none: then it is that nothing is new.
        self.asked &= !was_edited && changes_nothing;
        match (was_edited, changes_nothing) {
            (true, true) => info!("configuration file edited; nothing in it changes what the agent does"),
            (true, false) => info!("configuration file edited"),
            (false, true) => {}
            (false, false) => info!("the host's name has changed, which stands in for `device` name={}", config.device),
        }
        if changes_nothing {
            return self.say(None);
        }
        warn_of(&self.path, warnings);
        self.said = None;
        self.applied.clone_from(&config);
        Some(Edit::Apply(config))
    }

    /// What the present content is worth.
    fn judge(&mut self, content: &[u8], now: Instant) -> Answer {
        let begun = match self.judgement.take() {
            Some(begun) => begun,
            None => match self.judge.begin(content.to_vec(), self.applied.clone(), now) {
                Ok(begun) => begun,
                Err(problems) => return Answer::Given(Err(problems)),
            },
        };
        let answer = begun.ask(now);
        if !matches!(answer, Answer::Given(_)) {
            self.judgement = Some(begun);
        }
        answer
    }

    /// Says what is wrong with the file, or that nothing is any more: once, and to whoever asks.
    fn say(&mut self, problems: Option<Problems>) -> Option<Edit> {
        let asked = std::mem::take(&mut self.asked);
        match (&problems, asked) {
            (None, true) if self.said.is_none() => {
                info!("configuration file is as applied");
                return None;
            }
            (Some(_), true) => {}
            _ if problems == self.said => return None,
            _ => {}
        }
        let summary = problems.as_ref().map(summary);
        match &problems {
            Some(problems) => {
                for problem in problems {
                    error!("configuration not applied, the former one stays: {}:{problem}", foreign::path(&self.path));
                }
            }
            None => info!("configuration file is as applied again"),
        }
        self.said = problems;
        Some(Edit::Problem(summary))
    }
}

/// As much of a dotted key as is ours: what stands where a key should be may be a secret as well.
fn known(key: &str) -> &str {
    let schema = config::keys();
    let is_ours = |key: &str| {
        let generic: String = key.chars().filter(|character| !character.is_ascii_digit()).collect();
        schema.contains(generic.trim_end_matches("[]")) || schema.contains(&generic)
    };
    let ends = key.match_indices('.').map(|(end, _)| end).chain([key.len()]);
    ends.map(|end| &key[..end]).take_while(|part| is_ours(part)).last().unwrap_or("a key that is not known")
}

/// Logs what works and is probably not meant.
pub fn warn_of(path: &Path, warnings: &[Problem]) {
    for warning in warnings {
        warn!("{}:{warning}", foreign::path(path));
    }
}

/// What is wrong, in one line that may go to the broker: without what is in the file, which may be a secret in a wrong
/// place.
fn summary(problems: &Problems) -> String {
    let mut places = problems.iter().map(|Problem { line, key, message }| match (line, key.as_str()) {
        (Some(line), "") => format!("line {line}"),
        (Some(line), key) => format!("line {line}, {}", known(key)),
        (None, "") => format!("the file {message}"),
        (None, key) => known(key).to_owned(),
    });
    let first = places.next().unwrap_or_default();
    let more = places.count();
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    format!("configuration not applied: {first}{more}; the log says why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A file with a configuration, and what watches it.
    struct Watched {
        folder: TempDir,
        edits: Edits,
        now: Instant,
    }

    impl Watched {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (path, now) = (folder.path().join("config.yaml"), Instant::now());
            let content = text(&folder, "10s");
            fs::write(&path, &content).unwrap();
            let applied = config::inspect(&path).outcome.unwrap();
            let text = Text { content: content.into(), host_name: config::host_name() };
            Self { edits: Edits::new(&path, text, applied, now), folder, now }
        }

        fn write(&self, content: &str) {
            fs::write(&self.edits.path, content).unwrap();
        }

        /// Looks each time it wants to for this long; what followed.
        fn wait(&mut self, time: Duration) -> Vec<Edit> {
            let end = self.now + time;
            let mut followed = Vec::new();
            while self.edits.next() <= end {
                self.now = self.edits.next();
                followed.extend(self.edits.look(self.now));
            }
            self.now = end;
            followed
        }
    }

    fn text(folder: &TempDir, interval: &str) -> String {
        let path = folder.path().display();
        format!(
            "broker: {{url: \"mqtt://localhost\"}}\ntelemetry: {{interval: {interval}}}\nspool: {{directory: {path}}}\n\
             logging: {{directory: {path}}}\n"
        )
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_file_that_stays_is_no_edit() {
        let mut watched = Watched::new();

        assert!(watched.wait(60 * SECOND).is_empty());
    }

    #[test]
    fn a_name_that_the_host_got_while_the_agent_started_is_followed() {
        let mut watched = Watched::new();
        let Edits { path, text, applied, .. } = &watched.edits;
        let present = applied.device.clone();
        let read = Text { host_name: Some("localhost".to_owned()), ..text.clone() };
        let begun = Config { device: "localhost".to_owned(), ..applied.clone() };
        watched.edits = Edits::new(&path.clone(), read, begun, watched.now);

        let followed = watched.wait(LOOK + SETTLED);

        let [Edit::Apply(config)] = &followed[..] else { panic!("{followed:?}") };
        assert_eq!(config.device, present);
    }

    #[test]
    fn an_edit_is_applied_once_within_a_few_seconds() {
        let mut watched = Watched::new();

        watched.write(&text(&watched.folder, "20s"));
        let followed = watched.wait(LOOK + SETTLED);

        let [Edit::Apply(config)] = &followed[..] else { panic!("{followed:?}") };
        assert_eq!(config.telemetry.interval, 20 * SECOND);
        assert!(watched.wait(60 * SECOND).is_empty());
    }

    #[test]
    fn a_file_that_is_being_written_is_left_alone() {
        let mut watched = Watched::new();

        // Whatever is there so far could be a configuration.
        for pieces in 1..10 {
            watched.write(&format!("{}# {}", text(&watched.folder, "20s"), "x".repeat(pieces)));
            assert!(watched.wait(SETTLED / 2).is_empty());
        }

        assert_eq!(watched.wait(LOOK + SETTLED).len(), 1);
    }

    #[test]
    fn who_asks_gets_an_edit_at_once_and_every_answer() {
        let mut watched = Watched::new();
        let ask = |watched: &mut Watched| {
            watched.edits.ask(watched.now);
            watched.wait(Duration::from_millis(999))
        };

        assert!(ask(&mut watched).is_empty());
        watched.write(&text(&watched.folder, "never"));
        assert!(matches!(ask(&mut watched)[..], [Edit::Problem(Some(_))]));
        assert!(matches!(ask(&mut watched)[..], [Edit::Problem(Some(_))]), "it is told again");
        watched.write(&text(&watched.folder, "20s"));
        assert!(matches!(ask(&mut watched)[..], [Edit::Apply(_)]));
        assert!(watched.wait(60 * SECOND).is_empty());
    }

    #[test]
    fn a_comment_changes_nothing() {
        let mut watched = Watched::new();

        watched.write(&format!("{}# A comment.\n", text(&watched.folder, "10s")));

        assert!(watched.wait(60 * SECOND).is_empty());
    }

    #[test]
    fn a_bad_edit_is_told_once_and_so_is_its_end() {
        let mut watched = Watched::new();

        watched.write(&text(&watched.folder, "never"));
        let told = watched.wait(60 * SECOND);
        watched.write(&text(&watched.folder, "10s"));
        let ended = watched.wait(60 * SECOND);

        let [Edit::Problem(Some(problem))] = &told[..] else { panic!("{told:?}") };
        assert!(problem == "configuration not applied: line 2, telemetry.interval; the log says why", "{problem}");
        assert!(matches!(ended[..], [Edit::Problem(None)]), "{ended:?}");
    }

    #[test]
    fn a_file_that_has_gone_is_a_problem_until_it_is_back() {
        let mut watched = Watched::new();

        fs::remove_file(&watched.edits.path).unwrap();
        let gone = watched.wait(60 * SECOND);
        watched.write(&text(&watched.folder, "20s"));
        let back = watched.wait(60 * SECOND);

        let [Edit::Problem(Some(problem))] = &gone[..] else { panic!("{gone:?}") };
        assert!(problem.starts_with("configuration not applied: the file cannot be read: No such file"), "{problem}");
        assert!(matches!(back[..], [Edit::Apply(_)]), "{back:?}");
    }
}
