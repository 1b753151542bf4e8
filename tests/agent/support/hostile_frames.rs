//! What a WebSocket server should not send, and what it may and few do.

use super::websocket::{BINARY, CLOSE, CONTINUE, PING, PONG, Request, TEXT, frame};
use fastrand::Rng;

/// The bit of a frame's first byte that says that the message ends with it.
const FINAL: u8 = 0x80;

/// An answer to the request that a client should not take; in a few cases it may.
pub fn response(rng: &mut Rng, request: &Request) -> Vec<u8> {
    let good = request.answer().into_bytes();
    match rng.u8(0..12) {
        0 => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        1 => b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nsorry".to_vec(),
        2 => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        3 => request.answer().replace(&request.accept(), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=").into_bytes(),
        4 => b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec(),
        5 => good[..rng.usize(0..good.len())].to_vec(),
        6 => [b"HTTP/1.1 101 Switching Protocols\r\nX: ".to_vec(), vec![b'x'; 100_000], b"\r\n\r\n".to_vec()].concat(),
        7 => (0..rng.usize(1..500)).map(|_| rng.u8(..)).collect(),
        8 => String::from_utf8_lossy(&good).replace("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept:").into_bytes(),
        9 => String::from_utf8_lossy(&good)
            .replace("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: \r\nX: ")
            .into_bytes(),
        10 => [b"HTTP/1.1 101 \0\r\n".to_vec(), vec![b'\r'; 2000]].concat(),
        _ => {
            let mut bytes = good;
            let position = rng.usize(0..bytes.len());
            bytes[position] ^= 1 << rng.u8(0..8);
            bytes
        }
    }
}

/// A message in several frames, control frames in between (section 5.4).
pub fn fragments(rng: &mut Rng, message: &[u8]) -> Vec<u8> {
    let count = rng.usize(2..5);
    let pieces: Vec<&[u8]> = message.chunks(message.len().div_ceil(count).max(1)).collect();
    let mut frames = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let opcode = if index == 0 { BINARY } else { CONTINUE };
        let last = index + 1 == pieces.len();
        frames.extend(frame(opcode, last, piece));
        if rng.u8(0..4) == 0 {
            frames.extend(frame(*rng.choice(&[PING, PONG]).unwrap(), true, b"between"));
        }
    }
    frames
}

/// One frame or a few that break a rule of section 5 somewhere.
pub fn frames(rng: &mut Rng) -> Vec<u8> {
    let payload: Vec<u8> = (0..rng.usize(0..200)).map(|_| rng.u8(..)).collect();
    let lies = |opcode: u8, length: u64| [&[FINAL | opcode, 127][..], &length.to_be_bytes(), &payload].concat();
    match rng.u8(0..20) {
        0 => lies(BINARY, u64::MAX),
        1 => lies(BINARY, u64::MAX >> 1),
        2 => lies(BINARY, 1 << 32),
        3 => lies(BINARY, 10_000_000),
        // Longer than a control frame may be, and than it has to be said.
        4 => frame(*rng.choice(&[PING, PONG, CLOSE]).unwrap(), true, &[b'x'; 200]),
        5 => lies(*rng.choice(&[PING, CLOSE, BINARY]).unwrap(), payload.len() as u64),
        6 => frame(TEXT, true, &payload),
        7 => frame(CONTINUE, true, &payload),
        8 => [frame(BINARY, false, &payload), frame(BINARY, true, &payload)].concat(),
        9 => frame(*rng.choice(&[PING, PONG, CLOSE]).unwrap(), false, b"no fragments"),
        // Masked, which a server never does.
        10 => [&[FINAL | BINARY, 0x80 | 5, 1, 2, 3, 4][..], b"hello"].concat(),
        11 => frame(rng.u8(0..8) << 4 | BINARY, true, &payload),
        12 => frame(rng.u8(3..8), true, &payload),
        13 => frame(rng.u8(11..16), true, &payload),
        14 => frame(CLOSE, true, &payload[..payload.len().min(rng.usize(0..4))]),
        15 => (0..200).flat_map(|_| frame(PING, true, &[b'p'; 125])).collect(),
        16 => (0..200).flat_map(|_| frame(BINARY, true, &[])).collect(),
        17 => (0..200).flat_map(|_| frame(CONTINUE, false, &[])).collect(),
        18 => {
            let mut bytes = frame(BINARY, true, &payload);
            bytes.truncate(rng.usize(0..bytes.len()));
            bytes
        }
        _ => payload,
    }
}
