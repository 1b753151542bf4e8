//! Properties and strings of MQTT 5, right and wrong.

use super::forge::number;
use fastrand::Rng;

/// How a property's value is written (MQTT 5, section 2.2.2.2).
#[derive(Clone, Copy)]
enum Form {
    Byte,
    Two,
    Four,
    Number,
    Binary,
    Text,
    Pair,
}

/// Every property.
const PROPERTIES: [(u8, Form); 27] = [
    (0x01, Form::Byte),
    (0x02, Form::Four),
    (0x03, Form::Text),
    (0x08, Form::Text),
    (0x09, Form::Binary),
    (0x0b, Form::Number),
    (0x11, Form::Four),
    (0x12, Form::Text),
    (0x13, Form::Two),
    (0x15, Form::Text),
    (0x16, Form::Binary),
    (0x17, Form::Byte),
    (0x18, Form::Four),
    (0x19, Form::Byte),
    (0x1a, Form::Text),
    (0x1c, Form::Text),
    (0x1f, Form::Text),
    (0x21, Form::Two),
    (0x22, Form::Two),
    (0x23, Form::Two),
    (0x24, Form::Byte),
    (0x25, Form::Byte),
    (0x26, Form::Pair),
    (0x27, Form::Four),
    (0x28, Form::Byte),
    (0x29, Form::Byte),
    (0x2a, Form::Byte),
];

/// What a CONNACK may have and what changes nothing of what the client may send: the topic alias maximum, whether there are
/// wildcards, subscription identifiers and shared subscriptions, the keep-alive, what it says in words.
const HARMLESS: [u8; 9] = [0x12, 0x1a, 0x1c, 0x1f, 0x22, 0x26, 0x28, 0x29, 0x2a];

pub struct Forgery<'a>(pub &'a mut Rng);

impl Forgery<'_> {
    /// A length and some properties.
    pub fn properties(&mut self) -> Vec<u8> {
        let count = match self.0.u8(0..20) {
            0..8 => 0,
            8..18 => self.0.usize(1..4),
            18 => self.0.usize(4..40),
            _ => 1000,
        };
        let mut content = Vec::new();
        let repeated = *self.0.choice(&PROPERTIES).unwrap();
        for _ in 0..count {
            let (id, form) = if count == 1000 { repeated } else { *self.0.choice(&PROPERTIES).unwrap() };
            content.push(if self.one_in(30) { self.0.u8(..) } else { id });
            self.value(form, count, &mut content);
        }
        if self.one_in(10) {
            content.truncate(self.0.usize(0..=content.len()));
        }
        [self.length(content.len()), content].concat()
    }

    /// Properties of a CONNACK that a client takes.
    pub fn harmless(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        for id in HARMLESS.into_iter().filter(|_| self.0.u8(0..4) == 0).collect::<Vec<_>>() {
            content.push(id);
            match id {
                0x22 => content.extend([0, 10]),
                0x28..=0x2a => content.push(self.0.u8(0..2)),
                0x26 => content.extend(b"\0\x03key\0\x05value"),
                _ => content.extend(b"\0\x04text"),
            }
        }
        [number(content.len()), content].concat()
    }

    fn length(&mut self, length: usize) -> Vec<u8> {
        match self.0.u8(0..40) {
            0 => number(length + 1),
            1 => number(length.saturating_sub(1)),
            2 => number(self.0.usize(0..300)),
            3 => vec![0xff, 0xff, 0xff, 0x7f],
            4 => vec![0xff, 0xff, 0xff, 0xff, 0x7f],
            5 => vec![0x80, 0x80, 0],
            6 => vec![0xff],
            _ => number(length),
        }
    }

    fn value(&mut self, form: Form, count: usize, to: &mut Vec<u8>) {
        match form {
            Form::Byte => to.push(if self.one_in(4) { self.0.u8(..) } else { self.0.u8(0..2) }),
            Form::Two => to.extend(self.boundary().to_be_bytes()[2..].iter()),
            Form::Four => to.extend(self.boundary().to_be_bytes()),
            Form::Number => {
                let value = self.0.u16(..);
                to.extend(self.length(usize::from(value)));
            }
            // A thousand long ones would be a packet that is too large, which is another test.
            Form::Binary | Form::Text if count > 10 => to.extend(b"\0\x02ab"),
            Form::Pair if count > 10 => to.extend(b"\0\x02ab\0\x01c"),
            Form::Binary | Form::Text => to.extend(self.text()),
            Form::Pair => to.extend([self.text(), self.text()].concat()),
        }
    }

    fn boundary(&mut self) -> u32 {
        *self.0.choice(&[0, 1, 2, 10, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX]).unwrap()
    }

    /// A string with its length.
    pub fn text(&mut self) -> Vec<u8> {
        let text: Vec<u8> = match self.0.u8(0..24) {
            0 => vec![],
            1 => b"a\0b".to_vec(),
            2 => b"\0".to_vec(),
            3 => vec![0xff, 0xfe],
            4 => vec![0xed, 0xa0, 0x80],
            5 => vec![b'a', 0xc3],
            6 => vec![0xf4, 0x90, 0x80, 0x80],
            7 => "\u{ffff}\u{1}".as_bytes().to_vec(),
            8 => vec![b't'; 65535],
            9 => [vec![b't'; 65534], vec![0]].concat(),
            10 => b"#".to_vec(),
            11 => "\u{10ffff}\u{20ac}".as_bytes().to_vec(),
            _ => vec![b's'; self.0.usize(1..30)],
        };
        let length = match self.0.u8(0..30) {
            0 => text.len() + 1,
            1 => text.len().saturating_sub(1),
            2 => 0xffff,
            _ => text.len(),
        };
        [&u16::try_from(length.min(0xffff)).unwrap().to_be_bytes()[..], &text].concat()
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.0.u8(0..count) == 0
    }
}
