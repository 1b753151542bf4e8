//! What may end the wait for the next attempt to connect: a route to the broker, or other credentials where it refuses us.

use super::credentials::{self, Mark};
use crate::config::Broker;
use crate::delivery::Event;
use crate::network::{Network, targets};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// What is watched.
pub enum Watch {
    Network(Network),
    Credentials(Files),
}

/// Files, as they were at the last look.
pub struct Files {
    marks: Vec<(PathBuf, Option<Mark>)>,
    next: Instant,
}

impl Watch {
    /// A route to one of the brokers that comes from now on is news.
    pub fn of_network(broker: &Broker, now: Instant) -> Self {
        Watch::Network(Network::new(Path::new("/"), now, targets(broker)))
    }

    /// A change of the files that say who we are is news.
    pub fn of_credentials(broker: &Broker, now: Instant) -> Self {
        let marks = broker.credentials().map(|path| (path.to_owned(), mark(path))).collect();
        Watch::Credentials(Files { marks, next: now + EVERY })
    }

    /// Whether it waits for brokers that refuse us.
    pub fn is_of_refusal(&self) -> bool {
        matches!(self, Watch::Credentials(_))
    }

    /// When [`Watch::look`] has something to do.
    pub fn next_look(&self) -> Instant {
        match self {
            Watch::Network(network) => network.next_look(),
            Watch::Credentials(files) => files.next,
        }
    }

    /// Looks, when that is due; what has come.
    pub fn look(&mut self, now: Instant) -> Option<Event> {
        match self {
            Watch::Network(network) => network.look(now).map(Event::NetworkBack),
            Watch::Credentials(files) => files.look(now).then_some(Event::CredentialsChanged),
        }
    }
}

impl Files {
    /// Whether one of them has changed since the last look. One that has gone is not there to be read again.
    fn look(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + EVERY;
        let mut has_changed = false;
        for (path, former) in &mut self.marks {
            let present = mark(path);
            has_changed |= present.is_some() && present != *former;
            *former = present;
        }
        has_changed
    }
}

/// Links are followed: credentials are often replaced by turning one.
fn mark(path: &Path) -> Option<Mark> {
    fs::metadata(path).ok().map(|file| credentials::mark(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_comes_back_is_news_once() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut now) = (folder.path().join("password"), Instant::now());
        fs::write(&path, "one").unwrap();
        let mut files = Files { marks: vec![(path.clone(), mark(&path))], next: now };
        let mut look = || {
            now += EVERY;
            files.look(now)
        };

        assert!(!look());
        fs::write(&path, "another").unwrap();
        assert!(look() && !look());
        fs::write(path.with_extension("new"), "another").unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        assert!(look() && !look());
        fs::remove_file(&path).unwrap();
        assert!(!look());
        fs::write(&path, "one").unwrap();
        assert!(look());
    }
}
