//! The C library's own parsers below MQTT, which packhorse added: the frames of a WebSocket (`WebSocketFrames.c`) and the head
//! of an HTTP response (`HttpHead.c`). Whatever comes, and however it is split, they make the same of it.

#[allow(dead_code, reason = "the agent's tests use the rest")]
#[path = "agent/support/websocket.rs"]
mod websocket;

// Brings the C library along.
use paho_mqtt_sys as _;
use proptest::prelude::*;
use std::ffi::{c_char, c_int, c_uint};
use websocket::frame;

/// `WebSocketFrames` of WebSocketFrames.h.
#[repr(C)]
struct Frames {
    header: [u8; 10],
    header_len: usize,
    left: u64,
    opcode: c_int,
    in_payload: c_int,
    in_message: c_int,
    over: c_int,
    control: [u8; 125],
    control_len: usize,
    code: c_int,
    error: *const c_char,
}

/// `HttpHead` of HttpHead.h.
#[repr(C)]
struct Head {
    text: *mut c_char,
    length: usize,
    room: usize,
}

unsafe extern "C" {
    fn WebSocketFrames_begin(frames: *mut Frames);
    fn WebSocketFrames_take(
        frames: *mut Frames,
        input: *const u8,
        input_len: usize,
        used: *mut usize,
        output: *mut u8,
        output_len: usize,
        made: *mut usize,
    ) -> c_uint;
    fn HttpHead_add(head: *mut Head, bytes: *const u8, count: usize, used: *mut usize) -> c_uint;
    fn HttpHead_status(head: *const Head, phrase: *mut c_char, room: usize) -> c_int;
    fn HttpHead_free(head: *mut Head);
}

const PING: u32 = 1;
const CLOSE: u32 = 2;
const ERROR: u32 = 3;

/// What came out of a stream of frames.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    bytes: Vec<u8>,
    pings: Vec<Vec<u8>>,
    /// The event that ended it, and its code.
    end: Option<(u32, i32)>,
}

/// Takes frames apart that come in these pieces, with so much room for output at a time.
fn take(pieces: &[&[u8]], room: usize) -> Outcome {
    let mut frames = std::mem::MaybeUninit::<Frames>::uninit();
    // The library fills in all of it.
    let mut frames = unsafe {
        WebSocketFrames_begin(frames.as_mut_ptr());
        frames.assume_init()
    };
    let mut outcome = Outcome::default();
    for piece in pieces {
        // Of exactly their sizes, for a sanitizer to see what is touched beyond them.
        let (mut rest, mut output) = (piece.to_vec().into_boxed_slice(), vec![0; room].into_boxed_slice());
        while !rest.is_empty() && outcome.end.is_none() {
            let (mut used, mut made) = (0, 0);
            let event = unsafe {
                let (out, out_len) = (output.as_mut_ptr(), output.len());
                WebSocketFrames_take(&mut frames, rest.as_ptr(), rest.len(), &mut used, out, out_len, &mut made)
            };
            assert!(
                used <= rest.len() && made <= room && (used > 0 || made > 0 || event != 0),
                "{used} {made} {event}"
            );
            outcome.bytes.extend(&output[..made]);
            match event {
                0 => {}
                PING => outcome.pings.push(frames.control[..frames.control_len].to_vec()),
                CLOSE | ERROR => outcome.end = Some((event, frames.code)),
                other => panic!("event {other}"),
            }
            rest = rest[used..].to_vec().into_boxed_slice();
        }
    }
    outcome
}

/// Cuts bytes at these places, in hundredths of their length.
fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place * bytes.len() / 100).collect();
    places.push(bytes.len());
    places.sort_unstable();
    let mut from = 0;
    places.into_iter().map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect()
}

/// A fragment, and what the control frame behind it holds.
type Fragment = (Vec<u8>, Option<Vec<u8>>);

/// Messages of fragments, with a PING behind some.
fn messages() -> impl Strategy<Value = Vec<Vec<Fragment>>> {
    let sizes = prop_oneof![8 => 0..20_usize, 2 => 120..130_usize, 1 => 65_530..65_540_usize];
    let payload = sizes.prop_flat_map(|size| prop::collection::vec(any::<u8>(), size));
    let ping = prop::option::of(prop::collection::vec(any::<u8>(), 0..=125));
    prop::collection::vec(prop::collection::vec((payload, ping), 1..4), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_payload_of_all_messages_is_one_stream(
        messages in messages(),
        places in prop::collection::vec(0..=100_usize, 0..10),
        room in 1..200_usize,
    ) {
        let (mut stream, mut expected) = (Vec::new(), Outcome::default());
        for message in &messages {
            for (index, (payload, ping)) in message.iter().enumerate() {
                let opcode = if index == 0 { 2 } else { 0 };
                stream.extend(frame(opcode, index + 1 == message.len(), payload));
                expected.bytes.extend(payload);
                if let Some(ping) = ping {
                    stream.extend(frame(9, true, ping));
                    stream.extend(frame(10, true, b"nobody asked"));
                    expected.pings.push(ping.clone());
                }
            }
        }
        stream.extend(frame(8, true, b"\x03\xe9bye"));
        stream.extend(b"what follows a close is nothing");
        expected.end = Some((CLOSE, 1001));

        prop_assert_eq!(take(&cut(&stream, &places), room), expected);
    }

    #[test]
    fn whatever_comes_means_the_same_however_it_is_split(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 2, 0x80, 0x82, 0x88, 0x89, 125, 126, 127, 3])],
            0..300
        ),
        places in prop::collection::vec(0..=100_usize, 0..10),
        room in 1..50_usize,
    ) {
        let whole = take(&[&bytes], 1000);

        prop_assert_eq!(&take(&cut(&bytes, &places), room), &whole);
        prop_assert_eq!(&take(&bytes.chunks(1).collect::<Vec<_>>(), 1), &whole);
        prop_assert!(whole.bytes.len() <= bytes.len());
    }

    #[test]
    fn a_head_ends_at_its_empty_line_however_it_is_split(
        lines in prop::collection::vec("[ -~\\x00]{1,40}", 0..20),
        behind in prop::collection::vec(any::<u8>(), 0..50),
        places in prop::collection::vec(0..=100_usize, 0..10),
    ) {
        let head = format!("HTTP/1.1 204 No Content\r\n{}\r\n", lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
        let bytes = [head.as_bytes(), &behind].concat();
        let mut read = Head { text: std::ptr::null_mut(), length: 0, room: 0 };
        let (mut consumed, mut state) = (0, 0);

        for piece in cut(&bytes, &places) {
            let mut used = 0;
            if state == 0 {
                state = unsafe { HttpHead_add(&mut read, piece.as_ptr(), piece.len(), &mut used) };
            }
            consumed += used;
        }

        prop_assert_eq!((state, consumed), (1, head.len()));
        let mut phrase = [0 as c_char; 8];
        prop_assert_eq!(unsafe { HttpHead_status(&read, phrase.as_mut_ptr(), phrase.len()) }, 204);
        prop_assert_eq!(phrase.map(|character| character as u8), *b"No Cont\0");
        unsafe { HttpHead_free(&mut read) };
    }
}
