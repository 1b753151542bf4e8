//! Whatever a folder holds, a spool opens in it, takes messages and delivers them: no content makes it panic, run for
//! ever, or take memory without bound.
//!
//! What is forged has the right checksums over wrong content, for random bytes seldom come past the first check.

use super::tests::{append, config, drain, folder, open, samples, seqs};
use super::*;
use proptest::prelude::*;
use record::{RouteId, Seed, Settled};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Numbers at which something ends or begins.
fn number() -> impl Strategy<Value = u64> {
    let edges = [1, 2, 1 << 31, 1 << 32, Seq::LAST.0, 1 << 53, 1 << 63, u64::MAX];
    let edge = (prop::sample::select(edges.to_vec()), -3i64..=3).prop_map(|(edge, by)| edge.wrapping_add_signed(by));
    prop_oneof![3 => edge, 3 => 0u64..300, 1 => any::<u64>()]
}

/// A file of the folder.
#[derive(Debug, Clone)]
enum Forged {
    /// First seq, stream, and the records behind the header: place, length of data, kind.
    Segment(u64, u32, Vec<(u32, usize, Piece)>),
    /// Generation, low, ranges, entries.
    Journal(u64, u64, Vec<(u64, u64)>, Vec<(u64, u64)>),
    /// Generation, stream, slots: id, seq, stage.
    Exchanges(u64, u32, Vec<(u16, u64, u8)>),
    /// Under this name stand these bytes.
    Bytes(String, Vec<u8>),
    Sparse(String),
    Folder(String),
    Pipe(String),
}

#[derive(Debug, Clone, Copy)]
enum Piece {
    Message(Settled),
    Route,
    /// Only the head of a record, which promises so much data.
    Head,
    Hole,
    Padding,
}

fn name() -> impl Strategy<Value = String> {
    let known = ["journal", "journal.new", "exchanges", "boots", "boots.new", "rejected", "requeue", "requeue.new"];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        number().prop_map(|first| format!("{first:020}.seg")),
        number().prop_map(|first| format!("{first:020}.new")),
        number().prop_map(|first| format!("{first:020}.seg.damaged")),
    ]
}

fn forged() -> impl Strategy<Value = Forged> {
    let place = prop_oneof![0u32..40, Just(u32::MAX), Just(1 << 31), any::<u32>()];
    let piece = prop_oneof![
        4 => Just(Piece::Message(Settled::No)),
        2 => Just(Piece::Message(Settled::Yes)),
        1 => Just(Piece::Route),
        1 => Just(Piece::Head),
        1 => Just(Piece::Hole),
        1 => Just(Piece::Padding),
    ];
    let pieces = proptest::collection::vec((place, 1usize..700, piece), 0..60);
    let pairs = || proptest::collection::vec((number(), number()), 0..20);
    let slots = proptest::collection::vec((any::<u16>(), number(), 0u8..4), 0..20);
    let stream = || prop::sample::select(vec![1u32, 2]);
    prop_oneof![
        5 => (number(), stream(), pieces).prop_map(|(first, stream, pieces)| Forged::Segment(first, stream, pieces)),
        4 => (number(), number(), pairs(), pairs()).prop_map(|(generation, low, ranges, entries)| {
            Forged::Journal(generation, low, ranges, entries)
        }),
        2 => (number(), stream(), slots).prop_map(|(generation, stream, slots)| {
            Forged::Exchanges(generation, stream, slots)
        }),
        2 => (name(), proptest::collection::vec(any::<u8>(), 0..2000)).prop_map(|(name, bytes)| Forged::Bytes(name, bytes)),
        1 => name().prop_map(Forged::Sparse),
        1 => name().prop_map(Forged::Folder),
        1 => name().prop_map(Forged::Pipe),
    ]
}

fn segment(first: u64, stream: u32, pieces: &[(u32, usize, Piece)]) -> Vec<u8> {
    let header = segment::Header { stream: StreamId(stream), first: Seq(first), size: 64 * 1024 };
    let mut content = header.encode().to_vec();
    let seed = Seed::of(Seq(first));
    for (place, length, piece) in pieces {
        let mut sample = samples([u64::from(*place)]).remove(0);
        sample.data.resize(*length, b' ');
        match piece {
            Piece::Message(settled) => {
                let Some(seq) = first.checked_add(u64::from(*place)) else { continue };
                record::encode_message(&mut content, seed, *settled, Seq(seq), RouteId(7), &sample);
            }
            Piece::Route => record::encode_route(&mut content, seed, Settled::No, RouteId(7), &sample.route),
            Piece::Head => {
                let mut whole = Vec::new();
                record::encode_padding(&mut whole, seed, Settled::No, length * 80 + 13);
                content.extend(&whole[..12]);
            }
            Piece::Hole => content.resize(content.len() + length, 0),
            Piece::Padding => record::encode_padding(&mut content, seed, Settled::No, length + 13),
        }
    }
    let mut file = Vec::new();
    sector::seal(&mut file, &content, 0, Seq(first));
    file.resize(file.len().max(64 * 1024), 0);
    file
}

impl Forged {
    fn put(&self, directory: &Path) {
        let at = |name: &str| {
            let path = directory.join(name);
            // Writing to a pipe that was forged before would wait for its reader.
            let _ = fs::remove_file(&path);
            path
        };
        // Where another forged thing has the name, it stays.
        let _ = match self {
            Forged::Segment(first, stream, pieces) => {
                fs::write(at(&format!("{first:020}.seg")), segment(*first, *stream, pieces))
            }
            Forged::Journal(generation, low, ranges, entries) => {
                fs::write(at("journal"), journal::tests::forge(1, *generation, *low, ranges, entries))
            }
            Forged::Exchanges(generation, stream, slots) => {
                fs::write(at("exchanges"), exchanges::tests::forge(*generation, *stream, slots))
            }
            Forged::Bytes(name, bytes) => fs::write(at(name), bytes),
            // As far as a file may reach, with nothing on the disk.
            Forged::Sparse(name) => File::create(at(name)).and_then(|file| {
                file.set_len(i64::MAX.unsigned_abs()).or_else(|_| file.set_len(1 << 43))?;
                file.write_all_at(b"PKHORSE", 6)
            }),
            Forged::Folder(name) => fs::create_dir(at(name)).and_then(|()| fs::write(at(name).join("x"), "x")),
            Forged::Pipe(name) => mkfifoat(CWD, at(name), Mode::RUSR | Mode::WUSR).map_err(io::Error::from),
        };
    }
}

/// Opens the folder twice, with new messages each time, all of which are delivered.
fn serves(directory: &Path) {
    let config = config::Spool { max_size: 1 << 40, ..config(directory) };
    for round in 0..2 {
        let start = Instant::now();
        let mut spool = open(&config).unwrap();
        let written = samples(round * 100..round * 100 + 100);
        let accepted = append(&mut spool, &written);
        let (messages, lost) = drain_within(&mut spool, Duration::from_secs(20));
        let new: Vec<_> = messages.iter().filter(|message| accepted.contains(&message.seq)).collect();
        assert!(new.iter().map(|message| &message.sample).eq(&written), "{accepted:?} were accepted: {new:?}");
        assert!(lost.iter().all(|range| range.end() < accepted.start()), "{lost:?} before {accepted:?}");
        spool.boots().note(7, 1_700_000_000_000).unwrap();
        let mut exchanges = spool.exchanges(&[7], 1).unwrap();
        exchanges.iter_mut().for_each(|exchanges| exchanges.establish().unwrap());
        spool.set_aside(&messages[0], "a reason").unwrap();
        let finished = messages.len() / 2;
        messages[..finished].iter().for_each(|message| spool.finish(message.seq, Instant::now()));
        spool.trim().unwrap();
        spool.sync_journal().unwrap();
        assert!(start.elapsed() < Duration::from_secs(40), "it took {:?}", start.elapsed());
    }
}

/// As [`drain`], with ranges of what is lost, which may be long.
fn drain_within(spool: &mut Spool, time: Duration) -> (Vec<Message>, Vec<RangeInclusive<Seq>>) {
    let (mut messages, mut lost, start) = (Vec::new(), Vec::new(), Instant::now());
    while let Some(message) = spool.next(Instant::now(), |range| lost.push(range)).unwrap() {
        messages.push(message);
        assert!(start.elapsed() < time, "still reading after {} messages", messages.len());
    }
    (messages, lost)
}

/// How many folders are tried.
fn cases() -> ProptestConfig {
    let soak = std::env::var_os("PACKHORSE_SOAK").is_some();
    ProptestConfig::with_cases(if soak { 20_000 } else { 40 })
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn whatever_a_folder_holds_new_messages_are_delivered(
        forged in proptest::collection::vec(forged(), 1..6), own in prop_oneof![Just(0u64), 1u64..200],
    ) {
        let folder = folder();
        if own > 0 {
            append(&mut open(&config::Spool { max_size: 1 << 20, ..config(folder.path()) }).unwrap(), &samples(0..own));
        }
        forged.iter().for_each(|forged| forged.put(folder.path()));

        serves(folder.path());
    }
}

#[test]
fn a_record_that_uses_up_a_segment_s_numbers_does_not_stop_the_next_ones() {
    for place in [u32::MAX, u32::MAX - 1, 1 << 31, 2000] {
        let folder = folder();
        let piece = [(0, 20, Piece::Message(Settled::Yes)), (place, 20, Piece::Message(Settled::Yes))];
        Forged::Segment(1, 1, piece.to_vec()).put(folder.path());

        let mut spool = open(&config(folder.path())).unwrap();
        append(&mut spool, &samples(0..50));

        let (messages, lost) = drain(&mut spool);
        assert!(seqs(&messages).ends_with(&(3..=52).collect::<Vec<_>>()) && lost.len() <= 2, "{lost:?}");
    }
}

#[test]
fn a_segment_full_of_heads_does_not_take_hours() {
    let folder = folder();
    let name = segment::path(folder.path(), Seq(1));
    let seed = Seed::of(Seq(1));
    let mut whole = Vec::new();
    record::encode_padding(&mut whole, seed, Settled::No, 2 * 1024 * 1024);
    let header = segment::Header { stream: StreamId(1), first: Seq(1), size: 4 * 1024 * 1024 }.encode();
    let content = [header.as_slice(), &whole[..12].repeat(300_000)].concat();
    let mut file = Vec::new();
    sector::seal(&mut file, &content, 0, Seq(1));
    fs::write(name, file).unwrap();

    serves(folder.path());
}

/// The first numbers to try: around where a number is believed by itself, by a segment's word, and not at all.
fn edges() -> impl Iterator<Item = u64> {
    let edges = [Seq::LAST.0 / 2, Seq::LAST.0 - 100_000, Seq::LAST.0];
    edges.into_iter().flat_map(|edge| edge - 1..=edge + 2)
}

#[test]
fn whatever_numbers_a_folder_names_what_is_accepted_after_them_is_delivered_after_restarts() {
    for edge in edges() {
        let forgeries = [
            Forged::Journal(1, edge, vec![], vec![]),
            Forged::Journal(1, 1, vec![], vec![(5, edge)]),
            Forged::Bytes(format!("{edge:020}.seg"), vec![]),
            Forged::Segment(edge, 1, vec![]),
            Forged::Exchanges(1, 1, vec![(1, edge, 1)]),
        ];
        for forged in forgeries {
            let folder = folder();
            // The exchanges are those of this stream.
            Forged::Segment(1, 1, vec![(1, 10, Piece::Message(Settled::No))]).put(folder.path());
            forged.put(folder.path());
            let config = config::Spool { max_size: 1 << 20, ..config(folder.path()) };
            let (mut spool, written) = (open(&config).unwrap(), samples(0..6000));
            let before = spool.segments.len();
            let accepted = append(&mut spool, &written);
            assert!(spool.segments.len() > before, "a segment is filled");
            drop(spool);
            // The second time, half of them are finished and their segments gone.
            for from in [0, written.len() / 2] {
                let mut spool = open(&config).unwrap();
                let (messages, _) = drain_within(&mut spool, Duration::from_secs(20));
                let new = messages.iter().filter(|message| accepted.contains(&message.seq));
                assert!(new.map(|message| &message.sample).eq(&written[from..]), "{forged:?}: {accepted:?}");
                let half = accepted.start().0 + written.len() as u64 / 2;
                messages
                    .iter()
                    .filter(|message| message.seq.0 < half)
                    .for_each(|message| spool.finish(message.seq, Instant::now()));
                spool.trim().unwrap();
                spool.sync_journal().unwrap();
            }
        }
    }
}
