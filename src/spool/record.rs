//! Records: the bytes of one message, or of one route, inside a segment. Pure; knows no files.
//!
//! ```text
//! offset size
//!  0     2    check of the six bytes below: where a record begins and how long it is can be trusted although its
//!             body is damaged
//!  2     1    kind: 1 route, 2 message, 3 padding
//!  3     1    flags: bit 0 "settled", see [`Frame::settled`]; bit 1, of a message, "synchronised", see [`Stamp`]
//!  4     4    length of the body in bytes
//!  8     4    CRC32C over the eight bytes above and the body
//! 12     …    body
//! ```
//!
//! All numbers are little-endian. Both checksums are seeded with the segment's first seq, so a record of another
//! segment is never taken for one of this. A route's body: id (4), qos (1), retain (1), format (1), zero (1), expiry in
//! seconds (4, zero: none), then device, source and topic, each with its length (2) before it. A message's body: seq
//! less the segment's first (4), wall clock (6, signed), boot clock (6), boot id (4), route id (4), data. Padding's
//! body means nothing.
//!
//! A message names its route by number. The number is made from the route's content and each segment repeats the
//! routes that it uses, so a damaged route can be learned from any other segment.

use crate::message::{Format, Qos, Route, Sample, Seq, Stamp};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a frame before its body.
pub const FRAME: usize = 12;
/// Bytes of a message's body before its data.
const MESSAGE: usize = 24;
/// Bytes of a clock's milliseconds: enough for the years from 2,489 before to 6,429 after Christ.
const CLOCK: usize = 6;
const KIND_ROUTE: u8 = 1;
const KIND_MESSAGE: u8 = 2;
const KIND_PADDING: u8 = 3;
const MAX_WALL: i64 = (1 << (8 * CLOCK - 1)) - 1;
const MIN_WALL: i64 = -MAX_WALL - 1;
const MAX_BOOT: u64 = (1 << (8 * CLOCK)) - 1;
/// What padding's body consists of: no record ends with a zero byte.
const PADDING: u8 = 0xff;
const FLAG_SETTLED: u8 = 1;
const FLAG_SYNCHRONISED: u8 = 2;

/// Names a route inside the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteId(pub u32);

impl RouteId {
    /// The number that a route gets when it is free: a checksum of its content.
    pub fn of(route: &Route) -> RouteId {
        let mut body = Vec::new();
        put_route(&mut body, RouteId(0), route);
        RouteId(crc32c::crc32c(&body))
    }
}

/// What makes one segment's records differ from those of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    first: Seq,
    /// What the checksums go on from.
    sum: u32,
}

impl Seed {
    /// The seed of the segment that begins with `first`.
    pub fn of(first: Seq) -> Seed {
        Seed { first, sum: crc32c::crc32c(&first.0.to_le_bytes()) }
    }
}

/// Whether everything before a record was on the medium when the record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Yes,
    No,
}

/// A message as its record holds it: the route is a number yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage<'a> {
    pub seq: Seq,
    pub taken: Stamp,
    pub route: RouteId,
    pub data: &'a [u8],
}

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    Route(RouteId, Arc<Route>),
    Message(StoredMessage<'a>),
    Padding,
}

/// A record whose checksum held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    pub content: Content<'a>,
    /// Bytes from this record's first to the next record's first.
    pub length: usize,
    /// `Yes`: everything before this record was on the medium when it was written, so a hole before it is damage
    /// and no torn write.
    pub settled: Settled,
}

impl Frame<'_> {
    /// The message's number; `None`: it is no message.
    pub fn seq(&self) -> Option<Seq> {
        match &self.content {
            Content::Message(message) => Some(message.seq),
            Content::Route(..) | Content::Padding => None,
        }
    }
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    Record(Frame<'a>),
    /// Zeros: nothing was written here yet.
    End,
    /// The bytes stop before the record does; it needs this many in all.
    Incomplete(usize),
    /// Anything else.
    Damaged,
}

/// Bytes that the record of a message with `data` bytes of data takes.
pub fn message_length(data: usize) -> usize {
    FRAME + MESSAGE + data
}

/// Bytes that the record of a route takes.
pub fn route_length(route: &Route) -> usize {
    FRAME + 12 + 6 + route.device.len() + route.source.len() + route.topic.len()
}

/// Appends the record of a sample that becomes message `seq`, which the segment may hold. Clocks beyond what the record
/// has room for become the nearest that it has.
pub fn encode_message(out: &mut Vec<u8>, seed: Seed, settled: Settled, seq: Seq, route: RouteId, sample: &Sample) {
    let start = begin(out, KIND_MESSAGE, settled);
    if sample.taken.synchronised {
        out[start + 3] |= FLAG_SYNCHRONISED;
    }
    let place = u32::try_from(seq.0 - seed.first.0).expect("a segment holds fewer than 2^32 messages");
    out.extend_from_slice(&place.to_le_bytes());
    out.extend_from_slice(&sample.taken.wall.clamp(MIN_WALL, MAX_WALL).to_le_bytes()[..CLOCK]);
    out.extend_from_slice(&sample.taken.boot.min(MAX_BOOT).to_le_bytes()[..CLOCK]);
    out.extend_from_slice(&sample.taken.boot_id.to_le_bytes());
    out.extend_from_slice(&route.0.to_le_bytes());
    out.extend_from_slice(&sample.data);
    finish(out, seed, start);
}

/// Appends the record that says what `id` means.
pub fn encode_route(out: &mut Vec<u8>, seed: Seed, settled: Settled, id: RouteId, route: &Route) {
    let start = begin(out, KIND_ROUTE, settled);
    put_route(out, id, route);
    finish(out, seed, start);
}

/// Appends a record of `length` bytes, at least [`FRAME`] and one, that says nothing.
pub fn encode_padding(out: &mut Vec<u8>, seed: Seed, settled: Settled, length: usize) {
    let start = begin(out, KIND_PADDING, settled);
    out.resize(start + length, PADDING);
    finish(out, seed, start);
}

/// Reads the record at the start of `bytes`. Never panics, whatever they are.
pub fn decode(bytes: &[u8], seed: Seed) -> Decoded<'_> {
    let Some(head) = bytes.get(..FRAME) else {
        return if bytes.iter().all(|byte| *byte == 0) { Decoded::End } else { Decoded::Incomplete(FRAME) };
    };
    if head.iter().all(|byte| *byte == 0) {
        return Decoded::End;
    }
    let Some(length) = length_of(head, seed) else {
        return Decoded::Damaged;
    };
    let Some(body) = bytes.get(FRAME..length) else {
        return Decoded::Incomplete(length);
    };
    if checksum(seed, &head[..8], body) != u32_at(head, 8) {
        return Decoded::Damaged;
    }
    let content = match head[2] {
        KIND_ROUTE => get_route(body).map(|(id, route)| Content::Route(id, Arc::new(route))),
        KIND_MESSAGE => get_message(body, seed.first, head[3] & FLAG_SYNCHRONISED != 0).map(Content::Message),
        KIND_PADDING => Some(Content::Padding),
        _ => None,
    };
    let settled = if head[3] & FLAG_SETTLED == 0 { Settled::No } else { Settled::Yes };
    content.map_or(Decoded::Damaged, |content| Decoded::Record(Frame { content, length, settled }))
}

/// How many bytes the record at the start of `bytes` takes; `None` where no record begins. Cheap, for the search
/// behind a damaged record.
pub fn length_of(bytes: &[u8], seed: Seed) -> Option<usize> {
    let head = bytes.get(..FRAME)?;
    let check = u16::from_le_bytes([head[0], head[1]]);
    (check == head_check(seed, &head[2..8])).then(|| FRAME.saturating_add(u32_at(head, 4) as usize))
}

/// Whether the record at the start of `bytes` is padding, as far as its head can be trusted, whatever its body is.
pub fn is_padding(bytes: &[u8], seed: Seed) -> bool {
    length_of(bytes, seed).is_some() && bytes[2] == KIND_PADDING
}

fn begin(out: &mut Vec<u8>, kind: u8, settled: Settled) -> usize {
    let start = out.len();
    let flags = match settled {
        Settled::Yes => FLAG_SETTLED,
        Settled::No => 0,
    };
    out.extend_from_slice(&[0, 0, kind, flags]);
    out.extend_from_slice(&[0; 8]);
    start
}

fn finish(out: &mut [u8], seed: Seed, start: usize) {
    let (head, body) = out[start..].split_at_mut(FRAME);
    let length = u32::try_from(body.len()).expect("a record is smaller than 4 GiB");
    head[4..8].copy_from_slice(&length.to_le_bytes());
    let check = head_check(seed, &head[2..8]);
    head[..2].copy_from_slice(&check.to_le_bytes());
    let sum = checksum(seed, &head[..8], body);
    head[8..12].copy_from_slice(&sum.to_le_bytes());
}

fn head_check(seed: Seed, head: &[u8]) -> u16 {
    let [low, high, ..] = crc32c::crc32c_append(seed.sum, head).to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn checksum(seed: Seed, head: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed.sum, head), body)
}

fn put_route(out: &mut Vec<u8>, id: RouteId, route: &Route) {
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&[route.qos as u8, u8::from(route.retain), route.format as u8, 0]);
    let expiry = route.expiry.map_or(0, |expiry| u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX));
    out.extend_from_slice(&expiry.to_le_bytes());
    for text in [&route.device, &route.source, &route.topic] {
        let length = u16::try_from(text.len()).expect("the configuration admits topics of at most 65,535 bytes");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

fn get_route(body: &[u8]) -> Option<(RouteId, Route)> {
    let head = body.get(..12)?;
    let mut rest = &body[12..];
    let mut text = || {
        let length = usize::from(u16::from_le_bytes(rest.get(..2)?.try_into().ok()?));
        let text = std::str::from_utf8(rest.get(2..2 + length)?).ok()?;
        rest = &rest[2 + length..];
        Some(text.to_owned())
    };
    let (device, source, topic) = (text()?, text()?, text()?);
    // What the configuration refuses was never written, and the MQTT library takes no such topic.
    if topic.is_empty() || topic.contains(['+', '#', '\0']) {
        return None;
    }
    let route = Route {
        device,
        source,
        topic,
        qos: Qos::try_from(head[4]).ok()?,
        retain: head[5] != 0,
        format: match head[6] {
            1 => Format::Json,
            _ => return None,
        },
        expiry: Some(u32_at(head, 8)).filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into())),
    };
    Some((RouteId(u32_at(head, 0)), route))
}

fn get_message(body: &[u8], first: Seq, synchronised: bool) -> Option<StoredMessage<'_>> {
    let (head, data) = body.split_at_checked(MESSAGE)?;
    let unused = 64 - 8 * CLOCK;
    // Shifted up and down again, so that the sign is kept.
    let wall = (u48_at(head, 4) << unused).cast_signed() >> unused;
    Some(StoredMessage {
        seq: Seq(first.0.checked_add(u32_at(head, 0).into())?),
        taken: Stamp { wall, boot: u48_at(head, 10), boot_id: u32_at(head, 16), synchronised },
        route: RouteId(u32_at(head, 20)),
        data,
    })
}

fn u48_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]])) << 32
}

/// Four bytes as a number; the caller has checked that they are there.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Eight bytes as a number; the caller has checked that they are there.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_route()(
            device in "\\PC{0,12}", source in "\\PC{0,12}", topic in "[^\\pC+#]{1,40}", qos in 0u8..3, retain: bool,
            expiry in proptest::option::of(1u32..),
        ) -> Route {
            Route {
                device, source, topic, qos: Qos::try_from(qos).unwrap(), retain, format: Format::Json,
                expiry: expiry.map(|seconds| Duration::from_secs(seconds.into())),
            }
        }
    }

    prop_compose! {
        fn any_sample()(
            route in any_route(), wall in MIN_WALL..=MAX_WALL, boot in 0..=MAX_BOOT, boot_id: u32,
            synchronised: bool, data in proptest::collection::vec(any::<u8>(), 0..300),
        ) -> Sample {
            Sample { route: Arc::new(route), taken: Stamp { wall, boot, boot_id, synchronised }, data }
        }
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(
            sample in any_sample(), first in 0..=u64::MAX - u64::from(u32::MAX), place: u32, route: u32,
        ) {
            let seed = Seed::of(Seq(first));
            let seq = first + u64::from(place);
            let mut bytes = Vec::new();

            encode_message(&mut bytes, seed, Settled::Yes, Seq(seq), RouteId(route), &sample);
            let decoded = decode(&bytes, seed);

            prop_assert_eq!(bytes.len(), message_length(sample.data.len()));
            let content = Content::Message(StoredMessage {
                seq: Seq(seq), taken: sample.taken, route: RouteId(route), data: &sample.data,
            });
            prop_assert_eq!(decoded, Decoded::Record(Frame { content, length: bytes.len(), settled: Settled::Yes }));
        }

        #[test]
        fn a_clock_far_off_becomes_the_nearest_that_a_record_holds(mut sample in any_sample(), wall: i64, boot: u64) {
            let seed = Seed::of(Seq(1));
            let mut bytes = Vec::new();
            sample.taken = Stamp { wall, boot, ..sample.taken };

            encode_message(&mut bytes, seed, Settled::No, Seq(1), RouteId(1), &sample);

            let Decoded::Record(Frame { content: Content::Message(read), .. }) = decode(&bytes, seed) else {
                return Err(TestCaseError::fail("no message"));
            };
            prop_assert_eq!(read.taken.wall, wall.clamp(MIN_WALL, MAX_WALL));
            prop_assert_eq!(read.taken.boot, boot.min(MAX_BOOT));
        }

        #[test]
        fn a_route_is_read_as_it_was_written(route in any_route()) {
            let seed = Seed::of(Seq(7));
            let id = RouteId::of(&route);
            let mut bytes = Vec::new();

            encode_route(&mut bytes, seed, Settled::No, id, &route);
            let decoded = decode(&bytes, seed);

            prop_assert_eq!(bytes.len(), route_length(&route));
            let content = Content::Route(id, Arc::new(route));
            prop_assert_eq!(decoded, Decoded::Record(Frame { content, length: bytes.len(), settled: Settled::No }));
        }

        #[test]
        fn padding_has_the_length_that_was_asked_for(length in FRAME + 1..4096) {
            let seed = Seed::of(Seq(7));
            let mut bytes = Vec::new();

            encode_padding(&mut bytes, seed, Settled::No, length);

            prop_assert!(is_padding(&bytes, seed) && bytes.last() != Some(&0));
            let expected = Frame { content: Content::Padding, length, settled: Settled::No };
            prop_assert_eq!(decode(&bytes, seed), Decoded::Record(expected));
        }

        #[test]
        fn a_changed_byte_is_noticed(sample in any_sample(), at: prop::sample::Index, flip in 1u8..) {
            let seed = Seed::of(Seq(1));
            let mut bytes = Vec::new();
            encode_message(&mut bytes, seed, Settled::No, Seq(1), RouteId(1), &sample);

            let at = at.index(bytes.len());
            bytes[at] ^= flip;

            prop_assert!(!matches!(decode(&bytes, seed), Decoded::Record(_)));
        }

        #[test]
        fn a_record_of_another_segment_is_not_taken_for_one_of_this(sample in any_sample(), first: u64, other: u64) {
            prop_assume!(Seed::of(Seq(first)).sum != Seed::of(Seq(other)).sum);
            let mut bytes = Vec::new();
            encode_message(&mut bytes, Seed::of(Seq(first)), Settled::No, Seq(first), RouteId(1), &sample);

            prop_assert_eq!(decode(&bytes, Seed::of(Seq(other))), Decoded::Damaged);
        }

        #[test]
        fn a_cut_record_says_how_long_it_is(sample in any_sample(), cut: prop::sample::Index) {
            let seed = Seed::of(Seq(1));
            let mut bytes = Vec::new();
            encode_message(&mut bytes, seed, Settled::No, Seq(1), RouteId(1), &sample);

            let cut = FRAME + cut.index(bytes.len() - FRAME);

            prop_assert_eq!(decode(&bytes[..cut], seed), Decoded::Incomplete(bytes.len()));
        }

        #[test]
        fn no_bytes_whatever_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), seed: u64) {
            decode(&bytes, Seed::of(Seq(seed)));
        }
    }

    #[test]
    fn zeros_are_the_end() {
        assert_eq!(decode(&[0; 64], Seed::of(Seq(1))), Decoded::End);
        assert_eq!(decode(&[0; 3], Seed::of(Seq(1))), Decoded::End);
        assert_eq!(decode(&[], Seed::of(Seq(1))), Decoded::End);
    }
}
