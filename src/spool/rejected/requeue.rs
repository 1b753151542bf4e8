//! Puts what was set aside back into the spool, as new messages at the end of the backlog.
//!
//! A file is removed when its message is on the medium. What happens when the process ends between the two is told by an
//! intent: before messages are appended, a file names them and the numbers that they will get. Whoever opens the spool
//! next, the agent included, looks at these numbers before anything else is done with the spool: a message that stands
//! there was put back, and its file is removed; any other file stays for the next time.

use super::form::{self, Unusable};
use crate::message::{Sample, Seq, StreamId};
use crate::own;
use crate::spool::finished::Finished;
use crate::spool::folder;
use crate::spool::reader::{Reader, Step};
use crate::spool::segment::sync_directory;
use crate::spool::{Spool, medium};
use log::{info, warn};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Messages that one intent names: they are in memory at once.
const BATCH: usize = 64;
/// The largest file that is read, in bytes: a message of the largest segment, twice, with every byte of it escaped.
const FILE_MAX: u64 = 4 * crate::spool::segment::LARGEST;
/// The largest intent, in bytes.
const INTENT_MAX: u64 = 64 * 1024;

/// A file in `rejected/`.
#[derive(Debug)]
pub struct SetAside {
    pub path: PathBuf,
    /// The message in it, or why there is none that can be put back.
    pub sample: Result<Sample, String>,
}

/// What became of what was set aside.
#[derive(Debug, Default)]
pub struct Requeued {
    /// Messages that are in the spool again.
    pub messages: u64,
    /// Files that stay, and why.
    pub unusable: Vec<(PathBuf, String)>,
    /// Files that stay because of `stopped`.
    pub waiting: u64,
    /// Why the rest was not put back.
    pub stopped: Option<String>,
}

/// What stands in `rejected/` of a spool, in the order of stream and seq; what has no such name comes last.
///
/// # Errors
/// The medium's.
pub fn files(spool: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = spool.join("rejected");
    match directory.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        // A link leads to what is not ours.
        Ok(_) => return Ok(Vec::new()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    }
    let names: io::Result<Vec<_>> =
        fs::read_dir(&directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names = names?;
    names.sort_by_cached_key(|name| {
        (name.to_str().and_then(number_of).map_or((1, None), |number| (0, Some(number))), name.clone())
    });
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// Looks into a file.
#[must_use]
pub fn look(path: PathBuf) -> SetAside {
    let has_a_number = path.file_name().and_then(|name| name.to_str()).and_then(number_of).is_some();
    let sample = if has_a_number {
        text(&path).and_then(|text| form::read(&text).map_err(|unusable: Unusable| unusable.to_string()))
    } else {
        Err("is no file that packhorse wrote: its name is not STREAM-SEQ.json".to_owned())
    };
    SetAside { path, sample }
}

fn text(path: &Path) -> Result<Vec<u8>, String> {
    let read = || {
        let mut text = Vec::new();
        own::read(path)?.take(FILE_MAX + 1).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|error: io::Error| error.to_string())?;
    if text.len() as u64 > FILE_MAX { Err(format!("has more than {FILE_MAX} bytes")) } else { Ok(text) }
}

/// The stream and the seq in a file's name.
fn number_of(name: &str) -> Option<(u32, u64)> {
    let (stream, seq) = name.strip_suffix(".json")?.split_once('-')?;
    let is_right = stream.len() == 8 && seq.len() == 20 && seq.bytes().all(|byte| byte.is_ascii_digit());
    Some((u32::from_str_radix(stream, 16).ok().filter(|_| is_right)?, seq.parse().ok()?))
}

impl Spool {
    /// Puts everything in `rejected/` back, in order, and drops nothing for it: it stops where the spool is full.
    ///
    /// # Errors
    /// The medium's, before anything was done or after a batch: what was put back is told by the next opening.
    pub fn requeue(&mut self, now: Instant) -> io::Result<Requeued> {
        if Intent::path(&self.directory).symlink_metadata().is_ok() {
            return Err(io::Error::other("what a former run has put back cannot be told from the rest"));
        }
        let (mut requeued, files) = (Requeued::default(), files(&self.directory)?);
        let mut files = files.into_iter().map(look);
        loop {
            let mut batch = Vec::new();
            for SetAside { path, sample } in files.by_ref().take(BATCH) {
                match sample {
                    Ok(sample) => batch.push((path, sample)),
                    Err(why) => requeued.unusable.push((path, why)),
                }
            }
            if batch.is_empty() && files.len() == 0 {
                return Ok(requeued);
            }
            let (count, stopped) = self.put_back(&batch, now)?;
            requeued.messages += count as u64;
            if let Some(why) = stopped {
                requeued.waiting = (batch.len() - count) as u64;
                for SetAside { path, sample } in files {
                    match sample {
                        Ok(_) => requeued.waiting += 1,
                        Err(why) => requeued.unusable.push((path, why)),
                    }
                }
                requeued.stopped = Some(why);
                return Ok(requeued);
            }
        }
    }

    /// Puts messages back and removes their files; how many, and why not the rest.
    fn put_back(&mut self, batch: &[(PathBuf, Sample)], now: Instant) -> io::Result<(usize, Option<String>)> {
        if batch.is_empty() {
            return Ok((0, None));
        }
        let names = batch.iter().filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect();
        Intent { stream: self.stream, first: self.writer.next(), names }.write(&self.directory)?;
        let (mut count, mut stopped) = (0, None);
        for (_, sample) in batch {
            let appended = self.append(std::slice::from_ref(sample), None, now);
            count += appended.taken - usize::try_from(appended.dropped_newest).unwrap_or(appended.taken);
            stopped = appended
                .error
                .or((appended.dropped_newest > 0).then(|| "the spool is full (spool.max_size)".to_owned()));
            if stopped.is_some() {
                break;
            }
        }
        self.commit()?;
        remove_files(&self.directory, batch[..count].iter().map(|(path, _)| path.as_path()))?;
        Intent::remove(&self.directory)?;
        Ok((count, stopped))
    }

    /// Finishes what a run that was interrupted has begun. To be called before anything else is done with the spool. What
    /// cannot be told is put back once more by the next run rather than lost.
    pub(in crate::spool) fn settle_requeue(&mut self) {
        let settled = match Intent::read(&self.directory) {
            Ok(None) => return,
            Ok(Some(intent)) => self.settle(&intent),
            Err(error) => Err(error),
        };
        if let Err(error) = settled.and_then(|()| Intent::remove(&self.directory)) {
            warn!("cannot tell what an interrupted requeue has put back error={error}");
        }
    }

    fn settle(&mut self, intent: &Intent) -> io::Result<()> {
        let found = if intent.stream == self.stream {
            self.accepted_from(intent.first, intent.names.len())?
        } else {
            BTreeMap::new()
        };
        let directory = self.directory.join("rejected");
        let is_back = |(seq, name): &(u64, &String)| {
            let sample = look(directory.join(name)).sample;
            sample.is_ok_and(|sample| found.get(seq) == Some(&sample))
        };
        let back: Vec<PathBuf> =
            (intent.first.0..).zip(&intent.names).filter(is_back).map(|(_, name)| directory.join(name)).collect();
        info!("an interrupted requeue had put messages back count={}", back.len());
        remove_files(&self.directory, back.iter().map(PathBuf::as_path))
    }

    /// The accepted messages of so many numbers, finished ones too.
    fn accepted_from(&self, first: Seq, count: usize) -> io::Result<BTreeMap<u64, Sample>> {
        let (mut reader, finished) =
            (Reader::new(&self.directory, self.stream, first, self.writer.routes()), Finished::below(first));
        let (mut found, end) = (BTreeMap::new(), first.0.saturating_add(count as u64));
        loop {
            match reader.step(&self.segments, &finished, self.limit(), |_| None)? {
                Step::Message(message) if message.seq.0 < end => {
                    found.insert(message.seq.0, message.sample);
                }
                Step::Lost(range) if range.end().0 < end => {}
                Step::Message(_) | Step::Lost(_) | Step::End => return Ok(found),
            }
        }
    }
}

/// Removes files for good: a power cut does not bring them back.
fn remove_files<'a>(spool: &Path, paths: impl Iterator<Item = &'a Path>) -> io::Result<()> {
    for path in paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match sync_directory(&spool.join("rejected")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced,
    }
}

/// Which files are about to become which messages.
#[derive(Debug, PartialEq, Eq)]
struct Intent {
    stream: StreamId,
    /// The number of the first one; the others follow.
    first: Seq,
    names: Vec<String>,
}

impl Intent {
    fn path(spool: &Path) -> PathBuf {
        spool.join("requeue")
    }

    /// Makes it durable.
    fn write(&self, spool: &Path) -> io::Result<()> {
        let text = json!({"stream": self.stream.0, "first": self.first.0, "files": self.names}).to_string();
        let text = format!("{text}\n{:08x}\n", crc32c::crc32c(text.as_bytes()));
        folder::replace(spool, "requeue", &text).inspect_err(|_| drop(fs::remove_file(spool.join("requeue.new"))))
    }

    /// `None`: there is none, or nothing that was written by us.
    fn read(spool: &Path) -> io::Result<Option<Intent>> {
        let bytes = match medium::read(&Self::path(spool), INTENT_MAX) {
            Ok(content) => content.bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if own::is_planted(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let intent = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        if intent.is_none() {
            warn!("an interrupted requeue has left nothing that can be read");
            Self::remove(spool)?;
        }
        Ok(intent)
    }

    fn parse(text: &str) -> Option<Intent> {
        let (text, sum) = text.trim_end().split_once('\n')?;
        if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(text.as_bytes()) {
            return None;
        }
        let intent: Map<String, Value> = serde_json::from_str(text).ok()?;
        let names = intent.get("files")?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
        // A name leads nowhere else.
        let names: Vec<String> = names.filter(|name| number_of(name).is_some()).take(BATCH).collect();
        let first = Seq(intent.get("first")?.as_u64().filter(|first| (1..Seq::LAST.0).contains(first))?);
        Some(Intent { stream: StreamId(u32::try_from(intent.get("stream")?.as_u64()?).ok()?), first, names })
    }

    fn remove(spool: &Path) -> io::Result<()> {
        fs::remove_file(Self::path(spool))?;
        sync_directory(spool)
    }
}

#[cfg(test)]
#[path = "requeue_tests.rs"]
mod tests;
