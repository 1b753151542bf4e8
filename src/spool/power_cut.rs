//! What a power cut leaves, and that it is enough.
//!
//! A simulated medium watches a real folder. It learns from every flush what the real medium would hold by then: a
//! file's content when the file was flushed, the folder's names when the folder was. At a cut it makes up what is found
//! afterwards: of each file, every sector of 512 bytes as it was flushed last or as it was written since; of each name,
//! the file that it named at the last flush or the one that it names now. A deleted file may be back, a new one gone,
//! and one that was renamed be found under both names or under none.
//!
//! The cut comes just before one of the flushes, in the middle of whatever the spool is doing, or between two calls. So
//! does the end of a process, after which the next one finds everything written, and goes on from what it finds.

use super::tests::{config, folder, open, samples};
use super::*;
use crate::message::Sample;
use proptest::prelude::*;
use proptest::sample::Index;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{self, AssertUnwindSafe};

const SECTOR: usize = 512;

thread_local! {
    /// The medium under this test's spool; the other tests have none.
    static MEDIUM: RefCell<Option<Medium>> = const { RefCell::new(None) };
}

/// A file or folder is about to be flushed. Does not return when the process ends here.
pub(super) fn flushing(file: &File) {
    let flushed = MEDIUM.with_borrow_mut(|medium| medium.as_mut().map_or(Ok(()), |medium| medium.flush(file)));
    if let Err(killed) = flushed {
        panic::resume_unwind(Box::new(killed));
    }
}

/// The medium of a simulation in this thread, for others than the spool's own tests.
pub mod simulation {
    use super::{BTreeSet, End, Medium, fs};
    use std::path::Path;

    /// Watches a folder, all of which is on the medium.
    pub fn watch(directory: &Path, seed: u64) {
        Medium::watch(directory, &End { kills: BTreeSet::new(), cut: u32::MAX, seed });
    }

    /// Cuts the power: the folder holds what the medium has then. The spool must be closed.
    pub fn cut(directory: &Path) {
        let image = Medium::end();
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_type().unwrap().is_dir() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        for (name, content) in image {
            fs::write(directory.join(name), content).unwrap();
        }
    }
}

/// The process has ended, by a signal or a power cut.
#[derive(Debug)]
pub(super) struct Killed;

/// Lets a process do something.
pub(super) fn unless_killed<T>(run: impl FnOnce() -> T) -> Result<T, Killed> {
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(|cause| match cause.downcast::<Killed>() {
        Ok(killed) => *killed,
        Err(failure) => panic::resume_unwind(failure),
    })
}

/// The files of a folder and their content.
pub(super) type Image = BTreeMap<OsString, Vec<u8>>;

#[derive(Debug)]
pub(super) struct Medium {
    directory: PathBuf,
    /// The files that were seen, by inode.
    files: BTreeMap<u64, Watched>,
    /// The names on the medium, and the inodes that they name.
    names: BTreeMap<OsString, u64>,
    flushes: u32,
    end: End,
    random: fastrand::Rng,
    /// What is found after the cut, once it has come.
    image: Option<Image>,
}

#[derive(Debug)]
struct Watched {
    /// Held open, so that what was written can be read when the file is deleted, and its inode is not used again.
    file: File,
    flushed: Vec<u8>,
}

impl Medium {
    /// Watches a folder, all of which is on the medium.
    pub fn watch(directory: &Path, end: &End) {
        let mut medium = Medium {
            directory: directory.to_owned(),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            flushes: 0,
            end: end.clone(),
            random: fastrand::Rng::with_seed(end.seed),
            image: None,
        };
        medium.names = medium.present_names();
        medium.files.values_mut().for_each(|watched| watched.flushed = content(&watched.file));
        MEDIUM.set(Some(medium));
    }

    fn is_cut() -> bool {
        MEDIUM.with_borrow(|medium| medium.as_ref().is_some_and(|medium| medium.image.is_some()))
    }

    /// Cuts the power unless that has happened; what is found afterwards.
    pub fn end() -> Image {
        let mut medium = MEDIUM.take().expect("a folder is watched");
        medium.image.take().unwrap_or_else(|| medium.cut())
    }

    /// What is found after a cut where the medium has written nothing but what was flushed.
    fn flushed() -> Image {
        MEDIUM.with_borrow(|medium| {
            let medium = medium.as_ref().expect("a folder is watched");
            let content = |(name, inode): (&OsString, &u64)| (name.clone(), medium.files[inode].flushed.clone());
            medium.names.iter().map(content).collect()
        })
    }

    fn flush(&mut self, file: &File) -> Result<(), Killed> {
        let names = self.present_names();
        if self.flushes == self.end.cut {
            self.image = Some(self.cut());
            return Err(Killed);
        }
        self.flushes += 1;
        if self.end.kills.contains(&self.flushes) {
            return Err(Killed);
        }
        let metadata = file.metadata().unwrap();
        if metadata.ino() == self.directory.metadata().unwrap().ino() {
            self.names = names;
        } else if let Some(watched) = self.files.get_mut(&metadata.ino()) {
            watched.flushed = content(file);
        }
        Ok(())
    }

    fn present_names(&mut self) -> BTreeMap<OsString, u64> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&self.directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                continue;
            }
            let inode = entry.metadata().unwrap().ino();
            let watch = || Watched { file: File::open(entry.path()).unwrap(), flushed: Vec::new() };
            self.files.entry(inode).or_insert_with(watch);
            names.insert(entry.file_name(), inode);
        }
        names
    }

    fn cut(&mut self) -> Image {
        let present = self.present_names();
        let names: BTreeSet<_> = self.names.keys().chain(present.keys()).cloned().collect();
        let mut image = Image::new();
        for name in names {
            let (before, now) = (self.names.get(&name), present.get(&name));
            if let Some(inode) = if self.random.bool() { before } else { now } {
                let file = &self.files[inode];
                let content = mix(&file.flushed, &content(&file.file), &mut self.random);
                image.insert(name, content);
            }
        }
        image
    }
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What a file holds of which some sectors were not flushed.
fn mix(flushed: &[u8], written: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = flushed.to_vec();
    if random.bool() {
        bytes.resize(written.len(), 0);
    }
    // Of the sectors written none, a few, half, most or all are on the medium.
    let likelihood = [0.0, 0.1, 0.5, 0.9, 1.0][random.usize(..5)];
    for (old, new) in bytes.chunks_mut(SECTOR).zip(written.chunks(SECTOR)) {
        if *old != *new && random.f64() < likelihood {
            let length = old.len().min(new.len());
            old[..length].copy_from_slice(&new[..length]);
        }
    }
    bytes
}

/// How a life ends. Counts flushes.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// Where processes end.
    pub kills: BTreeSet<u32>,
    /// Where the power is cut.
    pub cut: u32,
    /// Chooses what the cut leaves.
    pub seed: u64,
}

#[derive(Debug, Clone)]
enum Step {
    /// Samples with data of about these sizes.
    Append(Vec<usize>),
    Commit,
    /// Asks for so many messages.
    GiveOut(usize),
    /// Finishes one of the messages that were given out, and so many behind it, or every so many.
    Finish(Index, usize, usize),
    /// Finishes so many messages, the oldest first.
    FinishOldest(usize),
    Trim,
    SyncJournal,
    /// The process is killed and started again; the power stays.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![20 => 0usize..200, 20 => 0usize..4000, 1 => Just(70_000usize)];
    prop_oneof![
        6 => proptest::collection::vec(size, 1..30).prop_map(Step::Append),
        4 => Just(Step::Commit),
        3 => (1usize..300).prop_map(Step::GiveOut),
        4 => (any::<Index>(), 1usize..300, 1usize..4).prop_map(|(index, count, every)| Step::Finish(index, count, every)),
        2 => (1usize..200).prop_map(Step::FinishOldest),
        4 => Just(Step::Trim),
        2 => Just(Step::SyncJournal),
        3 => Just(Step::Restart),
    ]
}

prop_compose! {
    /// What happens from one start of the machine to the power cut.
    fn life()(
        steps in proptest::collection::vec(step(), 0..80),
        kills in proptest::collection::btree_set(1u32..60, 0..6),
        cut in 0u32..60,
        seed: u64,
    ) -> (Vec<Step>, End) {
        (steps, End { kills, cut, seed })
    }
}

/// What is known about the spool's messages. Sets of finished ones hold the numbers.
#[derive(Debug, Default)]
struct Model {
    samples_made: u64,
    /// The sample behind each seq that the spool may hold now.
    appended: BTreeMap<u64, Sample>,
    /// All seqs below were accepted.
    accepted_end: u64,
    /// Everything that was ever given out, and so may have been published.
    given_out: BTreeMap<u64, Sample>,
    /// The journal may say that these are finished.
    maybe_finished: BTreeSet<u64>,
    /// The journal must say that these are finished.
    surely_finished: BTreeSet<u64>,
    /// Given out by this process and not finished.
    in_flight: Vec<u64>,
    /// Finished by this process.
    finished: Vec<u64>,
    /// The last seq that this process gave out.
    last: u64,
}

impl Model {
    /// Checks that a spool that was opened is beyond everything accepted.
    fn begin(&mut self, spool: &Spool) {
        let next = spool.writer.next().0;
        assert!(next >= self.accepted_end, "seq {next} is next; below {} all were accepted", self.accepted_end);
        self.appended.split_off(&next);
        (self.in_flight, self.finished, self.last) = (Vec::new(), Vec::new(), 0);
    }

    /// Takes what the spool gives out, at most so many messages, and checks each.
    fn give_out(&mut self, spool: &mut Spool, count: usize) {
        for _ in 0..count {
            let Some(message) = spool.next(Instant::now(), |lost| panic!("{lost:?} are lost")).unwrap() else {
                self.pass_over(self.accepted_end);
                return;
            };
            let seq = message.seq.0;
            assert!(seq > self.last, "seq {seq} comes after {}", self.last);
            self.pass_over(seq);
            assert!(!self.surely_finished.contains(&seq), "finished message {seq} comes out again");
            assert_eq!(Some(&message.sample), self.appended.get(&seq), "message {seq} is another one");
            let published = self.given_out.entry(seq).or_insert_with(|| message.sample.clone());
            assert_eq!(&message.sample, published, "seq {seq} names two messages");
            self.maybe_finished.remove(&seq);
            // No message is given out that is not accepted.
            self.accepted_end = self.accepted_end.max(seq + 1);
            self.in_flight.push(seq);
            self.last = seq;
        }
    }

    /// What did not come out up to `end` must be finished. The journal said so when it was opened, and was flushed.
    fn pass_over(&mut self, end: u64) {
        for seq in self.last + 1..end {
            assert!(self.maybe_finished.contains(&seq), "accepted message {seq} is missing");
            self.surely_finished.insert(seq);
        }
    }

    fn append(&mut self, spool: &mut Spool, sizes: &[usize]) {
        let first = spool.writer.next().0;
        assert!(first >= self.accepted_end);
        let mut samples = samples(self.samples_made..self.samples_made + sizes.len() as u64);
        self.samples_made += sizes.len() as u64;
        for (sample, size) in samples.iter_mut().zip(sizes) {
            sample.data.splice(1..1, format!("\"pad\":\"{}\",", "x".repeat(*size)).into_bytes());
        }

        self.appended.extend((first..).zip(samples.iter().cloned()));
        let appended = spool.append(&samples, None, Instant::now());

        assert_eq!((appended.taken, appended.dropped_newest, appended.error), (samples.len(), 0, None));
        let dropped: Vec<u64> =
            appended.dropped_oldest.iter().flat_map(|range| range.start().0..=range.end().0).collect();
        self.in_flight.retain(|seq| !dropped.contains(seq));
        self.maybe_finished.extend(&dropped);
        self.surely_finished.extend(&dropped);
    }

    fn commit(&mut self, spool: &mut Spool) {
        if let Some(accepted) = spool.commit().unwrap() {
            self.accepted_end = accepted.end().0 + 1;
        }
    }

    fn finish(&mut self, spool: &mut Spool, first: usize, count: usize, every: usize) {
        let chosen: BTreeSet<u64> = self.in_flight.iter().skip(first).take(count).step_by(every).copied().collect();
        self.in_flight.retain(|seq| !chosen.contains(seq));
        for seq in &chosen {
            spool.finish(Seq(*seq), Instant::now());
        }
        self.maybe_finished.extend(&chosen);
        self.finished.extend(chosen);
    }

    fn take(&mut self, spool: &mut Spool, step: &Step) {
        match step {
            Step::Append(sizes) => self.append(spool, sizes),
            Step::Commit => self.commit(spool),
            Step::GiveOut(count) => self.give_out(spool, *count),
            Step::Finish(index, count, every) => {
                let first = index.index(self.in_flight.len().max(1));
                self.finish(spool, first, *count, *every);
            }
            Step::FinishOldest(count) => self.finish(spool, 0, *count, 1),
            Step::Trim => spool.trim().unwrap(),
            Step::SyncJournal => {
                spool.sync_journal().unwrap();
                self.surely_finished.extend(&self.finished);
            }
            Step::Restart => panic::resume_unwind(Box::new(Killed)),
        }
    }

    /// One process: it takes steps until there are no more or it is killed.
    fn process<'a>(
        &mut self,
        config: &config::Spool,
        steps: &mut impl Iterator<Item = &'a Step>,
    ) -> Result<(), Killed> {
        let mut spool = unless_killed(|| open(config).unwrap())?;
        self.begin(&spool);
        for step in steps {
            if let Err(killed) = unless_killed(|| self.take(&mut spool, step)) {
                // What was dropped to make room, if it was appending.
                self.maybe_finished.extend(self.appended.keys().filter(|seq| spool.is_finished(Seq(**seq))));
                return Err(killed);
            }
        }
        Ok(())
    }

    /// Everything until the power is cut; what is on the medium then.
    fn live(&mut self, config: &config::Spool, steps: &[Step], end: &End) -> Image {
        Medium::watch(&config.directory, end);
        let first = [Step::GiveOut(usize::MAX), Step::Append(vec![10, 20, 30]), Step::Commit];
        let mut steps = first.iter().chain(steps);
        while self.process(config, &mut steps).is_err() && !Medium::is_cut() {}
        Medium::end()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn a_power_cut_keeps_everything_accepted(
        lives in proptest::collection::vec(life(), 1..4), max_size in prop_oneof![Just(256 * 1024), Just(1024 * 1024)],
    ) {
        let mut model = Model::default();
        let mut image = Image::new();
        let calm = End { kills: BTreeSet::new(), cut: u32::MAX, seed: 0 };

        for (steps, end) in lives.into_iter().chain([(vec![Step::GiveOut(usize::MAX)], calm)]) {
            let folder = folder();
            for (name, content) in &image {
                fs::write(folder.path().join(name), content).unwrap();
            }
            let small = config::Spool { max_size, ..config(folder.path()) };

            image = model.live(&small, &steps, &end);

            let damaged = image.keys().find(|name| name.to_string_lossy().ends_with(".damaged"));
            prop_assert_eq!(damaged, None, "a torn write is taken for damage");
        }
    }
}

/// How many messages come out of a spool that is found like this.
fn unfinished(image: &Image) -> usize {
    let folder = folder();
    for (name, content) in image {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let medium = MEDIUM.take();
    let mut spool = open(&config(folder.path())).unwrap();
    let mut count = 0;
    while spool.next(Instant::now(), |lost| panic!("{lost:?} are lost")).unwrap().is_some() {
        count += 1;
    }
    MEDIUM.set(medium);
    count
}

#[test]
fn a_power_cut_repeats_no_more_than_was_finished_of_late() {
    let folder = folder();
    let calm = End { kills: BTreeSet::new(), cut: u32::MAX, seed: 0 };
    Medium::watch(folder.path(), &calm);
    let mut spool = open(&config(folder.path())).unwrap();
    let (messages, begin) = (3500, Instant::now());
    spool.append(&samples(0..messages), None, Instant::now());
    spool.commit().unwrap();
    assert_eq!(spool.segments.len(), 1, "no segment's end flushes the journal");

    let mut left = usize::try_from(messages).unwrap();
    while let Some(message) = spool.next(Instant::now(), |lost| panic!("{lost:?} are lost")).unwrap() {
        spool.finish(message.seq, Instant::now());
        spool.trim().unwrap();
        spool.bound_repeats(begin).unwrap();
        left -= 1;
        if left % 333 == 0 {
            let repeated = unfinished(&Medium::flushed()) - left;
            assert!(repeated < usize::try_from(unflushed::MOST).unwrap(), "{repeated} are repeated");
        }
    }

    assert_ne!(unfinished(&Medium::flushed()), 0);
    assert!(spool.repeats_due().is_some_and(|due| due <= Instant::now() + unflushed::LATEST));
    assert!(!spool.bound_repeats(begin).unwrap(), "a few that were just finished can wait");
    assert!(spool.bound_repeats(Instant::now() + unflushed::SOON).unwrap());
    assert_eq!(unfinished(&Medium::flushed()), 0);
    assert_eq!(spool.repeats_due(), None, "there is nothing to wake up for");
    Medium::end();
}
