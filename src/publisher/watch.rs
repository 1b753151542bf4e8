//! What may end the wait for the next attempt to connect: a route to a broker, or other content of the files that an attempt
//! reads.

use super::credentials::{self, Mark};
use crate::config::Broker;
use crate::delivery::{Event, Wait};
use crate::named;
use crate::network::{Network, targets};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Bytes of the largest of the files: what one with certificates may have.
const SIZE_MAX: usize = 1024 * 1024;

/// What is watched.
#[derive(Default)]
pub struct Watch {
    /// While a broker may be out of reach.
    network: Option<Network>,
    files: Vec<File>,
    /// When the files are looked at next; `None`: nothing is waited for.
    next: Option<Instant>,
}

/// A file, as it was at the last look.
struct File {
    path: PathBuf,
    mark: Option<Mark>,
    /// Of what it holds; `None`: it cannot be read. Enough to tell two contents apart, and says next to nothing of a password.
    checksum: Option<u32>,
}

impl Watch {
    /// A round of attempts begins: what is in the files from now on, and was not before, is news. An attempt may have read
    /// them before they changed, so they are not looked at when it has failed.
    pub fn round_begins(&mut self, broker: &Broker) {
        let former = std::mem::take(&mut self.files);
        let file = |path: &Path| File::new(path, former.iter().find(|file| file.path == path));
        self.files = broker.files().map(file).collect();
    }

    /// Watches for what may end this wait; `None`: nothing is waited for. A route that comes from now on is news.
    pub fn follow(&mut self, wait: Option<Wait>, broker: &Broker, now: Instant) {
        self.next = wait.map(|_| self.next.unwrap_or(now));
        self.network = match wait {
            None | Some(Wait::Acceptance) => None,
            Some(Wait::Reach) => {
                self.network.take().or_else(|| Some(Network::new(Path::new("/"), now, targets(broker))))
            }
        };
    }

    /// When [`Watch::look`] has something to do.
    pub fn next_look(&self) -> Option<Instant> {
        self.network.as_ref().map(Network::next_look).into_iter().chain(self.next).min()
    }

    /// Looks, when that is due; what has come.
    pub fn look(&mut self, now: Instant) -> Option<Event> {
        if let Some(route) = self.network.as_mut().and_then(|network| network.look(now)) {
            return Some(Event::NetworkBack(route));
        }
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        self.next = Some(now + EVERY);
        let mut has_changed = false;
        self.files.iter_mut().for_each(|file| has_changed |= file.look());
        has_changed.then_some(Event::CredentialsChanged)
    }
}

impl File {
    /// The present content, which is read where the file is not as it was.
    fn new(path: &Path, former: Option<&File>) -> Self {
        let mark = mark(path);
        let known = former.filter(|former| former.mark == mark).and_then(|former| former.checksum);
        let checksum = if mark.is_some() { known.or_else(|| checksum(path)) } else { None };
        File { path: path.to_owned(), mark, checksum }
    }

    /// Whether it holds something else than at the last look. What has gone, and comes back as it was, does not: the same
    /// answer to the same question may count against us.
    fn look(&mut self) -> bool {
        let present = File::new(&self.path, Some(self));
        let is_news = present.checksum.is_some() && present.checksum != self.checksum;
        self.mark = present.mark;
        self.checksum = present.checksum.or(self.checksum);
        is_news
    }
}

/// Links are followed: credentials are often replaced by turning one.
fn mark(path: &Path) -> Option<Mark> {
    fs::metadata(path).ok().map(|file| credentials::mark(&file))
}

fn checksum(path: &Path) -> Option<u32> {
    named::read(path, SIZE_MAX).ok().map(|bytes| crc32c::crc32c(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// A watch over a password's file that holds this, before the first attempt; and the file.
    fn watched(folder: &Path, content: &str) -> (Watch, Broker, PathBuf) {
        let file = folder.join("password");
        fs::write(&file, content).unwrap();
        let text = format!("broker: {{url: \"mqtt://h\", username: u, password_file: {}}}", file.display());
        (Watch::default(), config::parse(&text, Path::new("c")).unwrap().broker, file)
    }

    /// Whether the next look at the files finds news.
    fn finds(watch: &mut Watch) -> bool {
        let now = watch.next.unwrap();
        watch.look(now).is_some_and(|event| matches!(event, Event::CredentialsChanged))
    }

    #[test]
    fn a_file_that_is_written_replaced_or_comes_back_is_news_once_and_the_same_content_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watch, broker, path) = watched(folder.path(), "one");
        watch.round_begins(&broker);
        for wait in [Wait::Acceptance, Wait::Reach] {
            watch.follow(Some(wait), &broker, Instant::now());
            assert!(!finds(&mut watch));
        }
        let write = |path: &Path, content: &str| fs::write(path, content).unwrap();

        write(&path, "another");
        assert!(finds(&mut watch) && !finds(&mut watch));
        write(&path, "another");
        assert!(!finds(&mut watch), "the same content");
        write(&path.with_extension("new"), "one");
        fs::rename(path.with_extension("new"), &path).unwrap();
        assert!(finds(&mut watch) && !finds(&mut watch));
        fs::remove_file(&path).unwrap();
        assert!(!finds(&mut watch));
        write(&path, "one");
        assert!(!finds(&mut watch), "what was there before");
        fs::remove_file(&path).unwrap();
        assert!(!finds(&mut watch));
        write(&path, "two");
        assert!(finds(&mut watch));
    }

    #[test]
    fn what_changes_during_an_attempt_or_after_one_without_the_file_is_news() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watch, broker, path) = watched(folder.path(), "wrong");
        watch.round_begins(&broker);
        fs::write(&path, "right").unwrap();

        watch.follow(Some(Wait::Acceptance), &broker, Instant::now());
        assert!(finds(&mut watch));

        fs::remove_file(&path).unwrap();
        watch.round_begins(&broker);
        watch.follow(Some(Wait::Reach), &broker, Instant::now());
        assert!(!finds(&mut watch));
        fs::write(&path, "right").unwrap();
        assert!(finds(&mut watch));
    }
}
