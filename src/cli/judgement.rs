//! Judges a configuration in a thread of its own: an edit, and for `packhorse check`.
//!
//! The judgement opens every file that the configuration names. One of them may be on a network mount whose server is gone,
//! and hang for ever: whoever waits for the judgement must not. A thread that hangs is left to itself; it ends when
//! the system lets it.

use super::check;
use crate::config::{self, Config, NamedFile, Problem, Problems, Role};
use crate::foreign;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a judgement may take: an SD card that is busy, or a network mount that is slow, answers within this.
const LIMIT: Duration = Duration::from_secs(10);

/// How long whoever asks waits for a judgement that is usually there at once.
const GLANCE: Duration = Duration::from_millis(100);

/// Threads that may hang at once: each holds some memory until the system lets it end.
const MOST_HANGING: usize = 8;

/// What the file says, where that can be applied, and what of it gives something away.
pub type Verdict = Result<(Box<Config>, Vec<Problem>), Problems>;

/// What a judgement says when it is asked.
#[derive(Debug)]
pub enum Answer {
    /// Ask again.
    Pending,
    /// It does not come in time, which is a problem of the file that is being looked at. It may come later.
    Late(Problems),
    Given(Verdict),
}

/// Is told of each file before it is looked at, and of the problems that there are by then.
pub type LookingAt<'a> = dyn Fn(&NamedFile, &[Problem]) + 'a;

/// How far a judgement has come.
#[derive(Debug)]
struct Place {
    /// What is being looked at.
    file: NamedFile,
    so_far: Vec<Problem>,
}

/// Starts judgements, and knows how many have not returned.
#[derive(Debug)]
pub struct Judge {
    path: PathBuf,
    running: Arc<AtomicUsize>,
}

/// A judgement that was started.
#[derive(Debug)]
pub struct Judgement {
    path: PathBuf,
    verdict: Receiver<Verdict>,
    place: Arc<Mutex<Option<Place>>>,
    deadline: Instant,
}

impl Judge {
    /// One that judges the configuration file `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), running: Arc::default() }
    }

    /// Begins to judge a `content` of the file, beside what is `applied`.
    ///
    /// # Errors
    /// A problem where no thread can be had for it.
    pub fn begin(&self, content: Vec<u8>, applied: Config, now: Instant) -> Result<Judgement, Problems> {
        let path = self.path.clone();
        self.begin_with(now, move |looking_at| judge(&path, &content, &applied, looking_at))
    }

    /// Begins what `judge` does. It tells of each file before it looks at it.
    ///
    /// # Errors
    /// A problem where no thread can be had for it.
    pub fn begin_with(
        &self,
        now: Instant,
        judge: impl FnOnce(&LookingAt) -> Verdict + Send + 'static,
    ) -> Result<Judgement, Problems> {
        if self.running.load(Ordering::Relaxed) >= MOST_HANGING {
            let message = format!("cannot be judged: {MOST_HANGING} former judgements hang in files that they opened");
            return Err(of_file(&self.path, message));
        }
        let (tell, verdict) = bounded(1);
        let place = Arc::new(Mutex::new(None));
        let (noted, running) = (Arc::clone(&place), Running::of(&self.running));
        let work = move || {
            let verdict = judge(&|file, so_far| {
                let place = Place { file: file.clone(), so_far: so_far.to_vec() };
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
            });
            drop(running);
            // Nobody listens where the file was edited again in the meantime.
            let _ = tell.send(verdict);
        };
        thread::Builder::new()
            .name("judgement".to_owned())
            .spawn(work)
            .map_err(|error| of_file(&self.path, format!("cannot be judged: no thread can be started: {error}")))?;
        Ok(Judgement { path: self.path.clone(), verdict, place, deadline: now + LIMIT })
    }
}

impl Judgement {
    /// Asks for the verdict, and waits for it a moment.
    pub fn ask(&self, now: Instant) -> Answer {
        let wait = if now < self.deadline { GLANCE } else { Duration::ZERO };
        match self.ask_within(wait) {
            Some(verdict) => Answer::Given(verdict),
            None if now < self.deadline => Answer::Pending,
            None => Answer::Late(self.late()),
        }
    }

    /// Waits for the verdict for as long as it may take.
    ///
    /// # Errors
    /// Every problem; or the file that does not answer, and the problems found before it.
    pub fn wait(self) -> Verdict {
        match self.ask_within(LIMIT) {
            Some(verdict) => verdict,
            None => Err(self.late()),
        }
    }

    /// The verdict, where it comes within this time.
    fn ask_within(&self, wait: Duration) -> Option<Verdict> {
        match self.verdict.recv_timeout(wait) {
            Ok(verdict) => Some(verdict),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                let message = "cannot be judged: the thread panicked; please report this";
                Some(Err(of_file(&self.path, message.to_owned())))
            }
        }
    }

    fn late(&self) -> Problems {
        let limit = humantime::format_duration(LIMIT);
        match &*self.place.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Place { file: NamedFile { path, line, key, .. }, so_far }) => {
                let message =
                    format!("`{}` does not answer: looking at it takes more than {limit}", foreign::path(path));
                let late = Problem { line: Some(*line), key: key.clone(), message };
                Problems::one(&self.path, late).with(so_far.clone())
            }
            None => {
                of_file(&self.path, format!("cannot be judged within {limit}: a file that it names does not answer"))
            }
        }
    }
}

/// Counts for as long as it lives, a panic included.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A problem of the configuration file as a whole.
pub fn of_file(path: &Path, message: String) -> Problems {
    Problems::one(path, Problem { line: None, key: String::new(), message })
}

fn judge(path: &Path, content: &[u8], applied: &Config, looking_at: &LookingAt) -> Verdict {
    let mut inspection = config::inspect_bytes(content, path);
    // A sensor that is unplugged keeps no start from its work, so it keeps no edit from being applied; and one that hangs must not.
    inspection.files.retain(|file| file.role != Role::SourceFile);
    let config = Box::new(inspection.outcome.clone()?);
    if *config == *applied {
        return Ok((config, Vec::new()));
    }
    let check::Findings { mut problems, warnings } = check::findings(path, &inspection, looking_at);
    if config.spool.directory != applied.spool.directory {
        let named = inspection.files.iter().find(|file| file.role == Role::SpoolDirectory);
        problems.push(Problem {
            line: named.map(|file| file.line),
            key: "spool.directory".to_owned(),
            message: format!(
                "cannot be another folder while messages are in `{}`; stop the agent, move the folder, start the agent",
                applied.spool.directory.display()
            ),
        });
    }
    Problems::none_of(path, problems).map(|()| (config, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> NamedFile {
        let (path, key) = (PathBuf::from("/mnt/dead/temperature"), "sources[0].path".to_owned());
        NamedFile { path, key, line: 7, role: Role::SourceFile }
    }

    #[test]
    fn what_hangs_is_named_in_time_and_believed_when_it_returns() {
        let (judge, now) = (Judge::new(Path::new("config.yaml")), Instant::now());
        let (release, hanging) = bounded::<()>(0);
        let hang = move |looking_at: &LookingAt| {
            let former = Problem { line: Some(3), key: "retry.factor".to_owned(), message: "is wrong".to_owned() };
            looking_at(&named(), &[former]);
            let _ = hanging.recv();
            Err(of_file(Path::new("config.yaml"), "has returned".to_owned()))
        };

        let judgement = judge.begin_with(now, hang).unwrap();

        assert!(matches!(judgement.ask(now), Answer::Pending));
        let Answer::Late(late) = judgement.ask(now + LIMIT) else { panic!("it hangs") };
        let late = late.to_string();
        assert!(late.contains("config.yaml:7") && late.contains("/mnt/dead/temperature"), "{late}");
        assert!(late.contains("config.yaml:3: retry.factor: is wrong"), "{late}");
        drop(release);
        let given = (0..100).find_map(|_| match judgement.ask(now) {
            Answer::Given(verdict) => Some(verdict),
            Answer::Pending | Answer::Late(_) => None,
        });
        assert!(given.unwrap().unwrap_err().to_string().contains("has returned"));
    }

    #[test]
    fn so_many_may_hang_and_no_more() {
        let (judge, now) = (Judge::new(Path::new("config.yaml")), Instant::now());
        let (release, hanging) = bounded::<()>(0);
        let begin = || {
            let hanging = hanging.clone();
            judge.begin_with(now, move |_| {
                let _ = hanging.recv();
                Err(of_file(Path::new("config.yaml"), String::new()))
            })
        };

        let hanging: Vec<_> = (0..MOST_HANGING).map(|_| begin().unwrap()).collect();

        assert!(begin().is_err());
        drop(release);
        let returned = |judgement: &Judgement| (0..100).any(|_| matches!(judgement.ask(now), Answer::Given(_)));
        assert!(hanging.iter().all(returned));
        assert!(begin().is_ok());
    }
}
